"""What module alembic_migrate does: reads the state, plans, applies one revision at a time (glue)."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Optional

from ..backup.databases import asides
from ..environment_file import parse_environment_file
from ..errors import ConnectionLost, FloyoError, Refused, TimedOut, Unusable
from ..postgres.lock import application_name, describe_holder, holder_sql, lock_key, others_sql, try_lock_sql
from ..postgres.url import DatabaseUrl, parse_url
from ..text import shorten
from .client import Helper, HelperFailure
from .generated import Generation
from .graph import read_graph
from .lineage import Lineage
from .lint import Live, judge
from .live import count_uses, read_live, without_values
from .locks import statements_of
from .rehearsed import Rehearsal, measured, read_record
from .rows import rows_of
from .running import Running, read_running
from .state import brief, forward, status_of, target_of

__all__ = ["migrate"]

# Errors of the server that a second try may not meet: lock_not_available, deadlock_detected.
_TRANSIENT = ("55P03", "40P01")
_CANCELLED = "57014"
# What drivers raise when the server is gone and has said nothing.
_GONE = ("OperationalError", "InterfaceError")


def migrate(parameters: Mapping[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Carry out the module's parameters and return its result."""
    if parameters["state"] == "generated":
        return Generation(parameters, lambda changed: _Run(changed, check_mode=False)).result()
    return _Run(parameters, check_mode=check_mode).result()


class _Run:
    """One run of the module."""

    def __init__(self, parameters: Mapping[str, Any], *, check_mode: bool) -> None:
        self.asked = parameters
        self.check_mode = check_mode
        self.release_dir = Path(parameters["release_dir"])
        self.project = self.release_dir / (parameters["project_dir"] or "")
        if not self.project.is_dir():
            raise Unusable(
                f"{self.project} is no directory",
                code="RELEASE_UNKNOWN",
                expected="the directory of a staged release (and project_dir inside it)",
                next_step="stage the release, or correct release_dir",
            )
        self.url: Optional[DatabaseUrl] = parse_url(parameters["database_url"]) if parameters["database_url"] else None
        if self.url is not None and parameters["state"] == "rehearsed":
            self.url = self.scratch(self.url, parameters["scratch"])
        self.deadline = time.monotonic() + parameters["timeout"]
        self.config = parameters["alembic_config"]
        self.graph = read_graph(str(self.project), self.config) if self.config else {"heads": [], "revisions": []}
        self.lineage = Lineage(self.graph["revisions"])
        self.known = Lineage([*self.graph["revisions"], *parameters["known_revisions"]])
        self.state: dict[str, Any] = {"heads": [], "version_table": "", "tables": 0, "invalid_indexes": []}
        self.applied: list[dict[str, Any]] = []
        self.running = Running(parameters["progress"])
        self.versions: dict[str, Any] = {}

    @staticmethod
    def scratch(url: DatabaseUrl, name: str) -> DatabaseUrl:
        """The URL of a copy; no other database can be rehearsed in."""
        if [aside.kind for aside in asides(url.database, [name])] != ["rehearsal"]:
            raise Refused(
                f"{name or 'no database'} is no copy of {url.database} for a rehearsal",
                code="NO_SCRATCH",
                expected=f"a database made by pg_backup (state cloned), such as {url.database}__rehearsal_0123456789ab",
                next_step="run playbooks/migration_rehearse.yml, or pg_backup with state cloned first",
            )
        return replace(url, database=name)

    # --- the states of the module -------------------------------------------------------------------------------------

    def result(self) -> dict[str, Any]:
        if self.asked["state"] == "verified":
            return self.verified()
        if self.url is None:
            raise Unusable(
                "database_url is empty", code="DATABASE_URL_UNUSABLE", expected="the owner's URL of the database"
            )
        with self.helper() as helper:
            self.read(helper)
            if self.asked["state"] == "info":
                return {**self.facts(changed=False), "running": read_running(self.asked["progress"])}
            if self.asked["state"] == "preview":
                return self.preview(helper)
            if self.asked["state"] == "linted":
                return self.linted(helper)
            if self.asked["state"] == "rehearsed":
                return self.rehearsed(helper)
            return self.moved(helper)

    def verified(self) -> dict[str, Any]:
        """The graph without a database: as the files say, and as the release's own alembic loads it."""
        self.one_head()
        if len(self.lineage):
            with self.helper() as helper:
                self.cross_check(helper)
        facts = {"status": "unchecked" if len(self.lineage) else "no_revisions", "changed": False, **self.versions}
        return {**facts, "heads": self.graph["heads"], "revisions": self.graph["revisions"]}

    def preview(self, helper: Helper) -> dict[str, Any]:
        plan, held = self.plan()
        sql = []
        if plan:
            self.cross_check(helper)
            steps, applied = [], self.applied_set()
            for entry in plan:
                steps.append({**entry, "heads": self.lineage.tips(applied)})
                applied = applied ^ {entry["revision"]}
            for script in self.asked_of(helper, "preview", steps=steps)["scripts"]:
                failure = script.pop("error")
                sql.append(
                    {**script, "renderable": failure is None, "reason": shorten(failure["message"]) if failure else ""}
                )
        return self.facts(changed=False, plan=plan, held=held, sql=sql)

    def linted(self, helper: Helper) -> dict[str, Any]:
        """The SQL of what is pending, judged by what the live database is like at this moment."""
        facts = self.preview(helper)
        server = self.state["server_version"] // 10000
        if not facts["plan"]:  # nothing is asked for nothing
            return {
                **facts,
                "lint": judge([], Live(), violations={}, limits={}),
                "live": asdict(Live()),
                "server_major": server,
            }
        kinds = {entry["revision"]: entry["class"] for entry in facts["plan"]}
        scripts = [{**script, "class": kinds[script["revision"]]} for script in facts["sql"]]

        def query(sql: str) -> list[list[Any]]:
            rows: list[list[Any]] = self.asked_of(helper, "query", sql=sql)["rows"]
            return rows

        live = read_live(query)
        named = {hold.table.lower() for one in scripts for part in statements_of(one["sql"]) for hold in part.holds}
        # alembic's own table is none that anybody waits for.
        live = live.only(name for name in named if name.rpartition(".")[2] != self.asked["version_table"].lower())
        count_uses(query, live, live.may_be_hot(self.asked["limits"]))
        live.free = self.asked["data_free"] if self.asked["data_free"] >= 0 else None
        judged = judge(scripts, live, violations={}, limits=self.asked["limits"])
        facts["sql"] = scripts
        facts["rows"] = self.rows(facts["plan"], {one["revision"]: one for one in judged["revisions"]})
        return {**facts, "lint": judged, "live": asdict(live), "server_major": server, "changed": False}

    def rehearsed(self, helper: Helper) -> dict[str, Any]:
        """The whole chain in the copy, up and down; the copy is left for whoever made it to drop."""
        plan, _ = self.plan()
        if not plan or self.check_mode:
            return {**self.facts(changed=bool(plan), plan=plan), "rehearsal": {}, "rows": self.rows(plan, {})}
        place = Path(self.asked["record"]).parent if self.asked["record"] else Path("/")
        if not place.is_dir():
            raise Unusable(
                f"{place} is no directory", code="RECORD_MISSING", expected="a directory for the record of rehearsals"
            )
        self.cross_check(helper)
        self.take_lock(helper)
        self.read(helper)
        rehearsal = Rehearsal(self, helper)
        try:
            found = rehearsal.result(plan)
        finally:
            self.running.end()
        if self.asked["record"]:
            rehearsal.remember(self.asked["record"], self.asked["backup"])
        problem: Optional[FloyoError] = found["problem"]
        facts = {
            **self.facts(changed=True, plan=plan),
            "rows": self.rows(plan, {}, {entry["revision"]: entry for entry in found["revisions"]}),
            "rehearsal": {"backup": self.asked["backup"], "revisions": found["revisions"]},
        }
        if problem is not None:
            problem.details.update({key: value for key, value in facts.items() if key not in problem.details})
            problem.message = f"the rehearsal has failed, as the migration would: {problem.message}"
            problem.next_step += "; the live database is as it was"
            raise problem
        return facts

    def rows(
        self,
        plan: list[dict[str, Any]],
        judged: Mapping[str, Mapping[str, Any]],
        rehearsed: Optional[Mapping[str, Mapping[str, Any]]] = None,
    ) -> list[dict[str, Any]]:
        entries = [self.lineage[entry["revision"]] for entry in plan]
        return rows_of(
            entries,
            judged=judged,
            rehearsed=rehearsed if rehearsed is not None else read_record(self.asked["record"], entries),
        )

    def described(self, name: str) -> dict[str, Any]:
        return brief(self.lineage, [name])[0]

    def moved(self, helper: Helper) -> dict[str, Any]:
        """States head and revision. Whoever finds nothing to do takes no lock."""
        before = list(self.state["heads"])
        plan, held = self.plan()
        if not plan and not self.check_mode:
            self.running.sweep()  # the last revision was applied by a run that was killed after it
        if plan and not self.check_mode:
            self.cross_check(helper)
            self.take_lock(helper)
            self.read(helper)
            plan, held = self.plan()  # another host may have done it meanwhile
            try:
                for number, entry in enumerate(plan, 1):
                    self.step(helper, entry, place=(number, len(plan)))
            finally:
                self.running.end()
        after = self.state["heads"]
        if self.check_mode:
            predicted = self.applied_set()
            for entry in plan:
                predicted = predicted ^ {entry["revision"]}
            after = self.lineage.tips(predicted) if plan else before
        facts = self.facts(changed=bool(plan), plan=plan, held=held)
        return {**facts, "diff": {"before": _listed(before), "after": _listed(after)}}

    def facts(
        self,
        *,
        changed: bool,
        plan: Optional[list[dict[str, Any]]] = None,
        held: Optional[Mapping[str, str]] = None,
        sql: Optional[list[dict[str, Any]]] = None,
    ) -> dict[str, Any]:
        status = self.status()
        pending = self.lineage.ordered(set(self.lineage.revisions) - self.applied_set()) if status != "unknown" else []
        return {
            "changed": changed,
            "status": status,
            "current": self.state["heads"],
            "heads": self.graph["heads"],
            "pending": brief(self.lineage, pending),
            "plan": plan or [],
            "applied": self.applied,
            "held_back": [
                {**entry, "reason": (held or {})[entry["revision"]]} for entry in brief(self.lineage, held or {})
            ],
            "sql": sql or [],
            "rows": self.rows(brief(self.lineage, pending), {}),
            "edited": self.edited(),
            "version_table": self.state["version_table"],
            "invalid_indexes": self.state["invalid_indexes"],
            **self.versions,
        }

    # --- what is, and what is to be done ------------------------------------------------------------------------------

    def status(self) -> str:
        return status_of(self.state["heads"], self.lineage, tables=self.state["tables"], known=self.known)

    def applied_set(self) -> set[str]:
        return self.lineage.closure(self.state["heads"])

    def edited(self) -> list[str]:
        """Revisions in the database whose file is another one in this release than in a release that knew it too."""
        known: dict[str, set[str]] = {}
        for entry in self.asked["known_revisions"]:
            known.setdefault(entry["revision"], set()).add(entry.get("sha256") or "")
        ours = self.lineage.ordered(self.applied_set())
        return [name for name in ours if known.get(name, set()) - {"", self.lineage[name].get("sha256")}]

    def one_head(self) -> None:
        heads = self.graph["heads"]
        if len(heads) > 1 and not self.asked["multiple_heads"]:
            where = ", ".join(f"{name} ({self.lineage[name]['file']})" for name in heads)
            raise Refused(
                f"the release has {len(heads)} heads: {where}",
                code="MULTIPLE_HEADS",
                expected="one head",
                next_step="merge them in the application (alembic merge heads) and build again, or allow multiple_heads",
                heads=heads,
            )

    def plan(self) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """The steps in order, and what is held back."""
        status = self.status()
        looks = self.asked["state"] in ("preview", "linted", "rehearsed")
        to_revision = "" if self.asked["state"] == "head" else self.asked["revision"]
        to_head = self.asked["state"] == "head" or (looks and not to_revision)
        if status in ("unknown", "ahead", "diverged"):
            strange = [name for name in self.state["heads"] if name not in self.lineage]
            raise Refused(
                f"the database is at {', '.join(strange)}, which {self.release_dir.name} does not contain",
                code="DATABASE_" + status.upper(),
                expected=f"revisions of this release ({', '.join(self.graph['heads']) or 'it has none'})",
                next_step="run this with release_dir of the newer release that holds the revision: only its files can take it back",
                current=self.state["heads"],
                status=status,
            )
        if status == "unstamped":
            raise Refused(
                f"the database has {self.state['tables']} tables and no row in alembic's version table",
                code="DATABASE_UNSTAMPED",
                expected="an empty database, or one that says which revision it is at",
                next_step="compare the tables with the revisions and run alembic stamp <revision> by hand",
                status=status,
            )
        if to_head:
            self.one_head()
            allowed = self.asked["allow_classes"]
            if self.asked["state"] in ("linted", "rehearsed"):
                allowed = {entry["class"] for entry in self.lineage.revisions.values()}
            ahead = forward(self.lineage, self.applied_set(), self.lineage.revisions, allowed)
            return brief(self.lineage, ahead.apply, direction="up"), ahead.held
        target = target_of(self.lineage, self.applied_set(), to_revision)
        if target.direction == "down":
            self.may_go_down(target.revisions)
        elif target.direction == "up":
            held = forward(self.lineage, self.applied_set(), target.revisions, self.asked["allow_classes"]).held
            if held and not looks:
                raise Refused(
                    "; ".join(f"revision {name} {why}" for name, why in held.items()),
                    code="CLASS_NOT_ALLOWED",
                    expected="only revisions of allowed classes on the way",
                    next_step="review them, then name their classes in allow_classes",
                    held_back=[{**entry, "reason": held[entry["revision"]]} for entry in brief(self.lineage, held)],
                )
        return brief(self.lineage, target.revisions, direction=target.direction), {}

    def may_go_down(self, names: list[str]) -> None:
        """A downgrade that drops rows, does nothing, or cannot be read has to be named."""
        allowed = set(self.asked["allow_downgrades"])
        refused = {
            name: self.lineage[name]["downgrade"]
            for name in names
            if self.lineage[name]["downgrade"]["kind"] not in allowed
        }
        if not refused or self.asked["state"] in ("preview", "linted", "rehearsed"):
            return
        lost = [text for name in names for text in self.lineage[name]["downgrade"]["loses"]]
        raise Refused(
            "; ".join(f"the downgrade of {name} is {way['kind']}" for name, way in refused.items())
            + (f"; it loses {', '.join(lost)}" if lost else ""),
            code="DOWNGRADE_NOT_ALLOWED",
            expected=f"downgrades that are {' or '.join(sorted(allowed)) or 'allowed'}",
            next_step="take a verified backup, then name the kind in allow_downgrades; an irreversible one needs a restore",
            downgrades={name: dict(way) for name, way in refused.items()},
            loses=lost,
        )

    # --- the helper ---------------------------------------------------------------------------------------------------

    def helper(self) -> Helper:
        environment = {
            **self.environment("release.env", self.release_dir / "release.env"),
            **self.service_environment(),
        }
        driver = self.url.driver if self.url else ""
        for name in self.asked["database_url_env"]:
            driver = driver or _driver_of(environment.get(name, ""))
        url = self.url.for_driver(driver) if self.url else ""
        if url:
            environment.update(dict.fromkeys(self.asked["database_url_env"], url))
        helper = Helper(
            str(self.release_dir / ".venv" / "bin" / "python"),
            directory=str(self.project),
            environment=environment,
            run_as=self.asked["run_as"],
            passwords=(self.url.password,) if self.url else (),
            dies_with_us=self.asked["state"] == "rehearsed",
        )
        try:
            toml = self.config.endswith(".toml")
            self.versions = self.asked_of(
                helper,
                "open",
                url=url,
                application_name=application_name("rehearsal" if self.asked["state"] == "rehearsed" else "migrate"),
                version_table=self.asked["version_table"],
                version_table_schema=self.asked["version_table_schema"],
                config={} if not self.config else {"toml" if toml else "ini": str(self.project / self.config)},
                versions=sorted(
                    {str((self.project / entry["file"]).parent.resolve()) for entry in self.graph["revisions"]}
                ),
            )
        except BaseException:
            helper.close(kill=True)
            raise
        return helper

    def service_environment(self) -> dict[str, str]:
        name = self.asked["environment_file"]
        if name and not Path(name).is_file():
            raise Unusable(
                f"the environment file {name} is not there",
                code="ENVIRONMENT_MISSING",
                expected="the service's environment, which env.py may need",
                next_step="run playbooks/provision.yml, or correct environment_file",
            )
        return self.environment(name, Path(name)) if name else {}

    @staticmethod
    def environment(name: str, path: Path) -> dict[str, str]:
        try:
            return dict(parse_environment_file(path.read_text(encoding="utf-8")).values)
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise Unusable(f"{name} cannot be read: {error}", code="ENVIRONMENT_MISSING") from error

    def asked_of(self, helper: Helper, op: str, **values: Any) -> dict[str, Any]:
        """Ask the helper; its failures become errors that say what to do."""
        try:
            return helper.ask(op, timeout=max(5.0, self.deadline - time.monotonic()), **values)
        except HelperFailure as failure:
            raise self.explained(failure, helper) from failure

    def read(self, helper: Helper) -> None:
        self.state = self.asked_of(helper, "state")

    def cross_check(self, helper: Helper) -> None:
        """The release's alembic must see the graph that was judged; a file may make its revisions by code."""
        seen = self.asked_of(helper, "graph")
        ours = {name: sorted(entry["down_revisions"]) for name, entry in self.lineage.revisions.items()}
        if seen["revisions"] != ours:
            different = sorted(
                name for name in {*ours, *seen["revisions"]} if ours.get(name) != seen["revisions"].get(name)
            )
            raise Unusable(
                f"alembic reads other revisions than the files say: {', '.join(different[:10])}",
                code="GRAPH_DIFFERS",
                expected="revision and down_revision as literals in each file",
                next_step="look at the named revisions and at version_locations",
            )

    # --- the lock -----------------------------------------------------------------------------------------------------

    def take_lock(self, helper: Helper) -> None:
        """Wait for the database's lock, at most ``lock_wait`` seconds, then name who has it."""
        key, until, pause = lock_key(self.state["database"]), time.monotonic() + self.asked["lock_wait"], 0.1
        while not self.asked_of(helper, "query", sql=try_lock_sql(key))["rows"][0][0]:
            if time.monotonic() >= until:
                holders = [describe_holder(row) for row in self.asked_of(helper, "query", sql=holder_sql(key))["rows"]]
                raise Refused(
                    f"another run works on database {self.state['database']}: "
                    + (", ".join(holder["text"] for holder in holders) or "it has just ended"),
                    code="LOCK_HELD",
                    expected=f"the lock within {self.asked['lock_wait']:g} s",
                    next_step="wait for it, then run the same command again",
                    holders=holders,
                )
            time.sleep(min(pause, max(0.0, until - time.monotonic())))
            pause = min(pause * 1.5, 2.0)
        # A killed run frees its lock at once; its last statement may still be at work in the server.
        until = max(until, time.monotonic() + 5.0)
        while True:
            rows = self.asked_of(helper, "query", sql=others_sql("migrate"))["rows"]
            left = [describe_holder(row) for row in rows if row[5] != "idle"]
            if not left:
                return
            if time.monotonic() >= until:
                raise Refused(
                    f"a statement of an earlier run is still at work: {left[0]['text']}",
                    code="EARLIER_RUN_ACTIVE",
                    expected="no other migration in this database",
                    next_step=f"wait for it, or end it: SELECT pg_cancel_backend({left[0]['pid']})",
                    holders=left,
                )
            time.sleep(0.5)

    @property
    def observes(self) -> bool:
        return bool(self.asked["observe"] or self.asked["state"] == "rehearsed")

    # --- one revision -------------------------------------------------------------------------------------------------

    def step(self, helper: Helper, entry: Mapping[str, Any], *, place: tuple[int, int] = (1, 1)) -> None:
        """Apply or take back one revision; when the server gives no lock in time, again after a growing pause.

        ``place``: the number of this step, and of all.
        """
        name, direction = entry["revision"], entry["direction"]
        before, invalid = self.applied_set(), set(self.state["invalid_indexes"])
        attempts = max(1, self.asked["lock_attempts"]) if not self.lineage[name]["autocommit"] else 1
        usual = self.usual(name, direction)
        for attempt in range(1, attempts + 1):
            remaining = self.deadline - time.monotonic()
            if remaining <= 0:
                raise self.out_of_time(name, {})
            try:
                answer = helper.ask(
                    "step",
                    timeout=remaining + 30.0,
                    seconds=remaining,
                    revision=name,
                    direction=direction,
                    expected=self.state["heads"],
                    user=self.state["user"],
                    lock_timeout=self.asked["lock_timeout"],
                    server_version=self.state["server_version"],
                    observe=self.observes,
                    progress=self.noted(entry, place, attempt, usual),
                    ends_with_us=self.asked["state"] == "rehearsed",
                )
                break
            except HelperFailure as failure:
                pause = min(0.25 * 2**attempt, 10.0) * random.uniform(0.5, 1.5)  # noqa: S311 (spreads hosts, hides nothing)
                transient = failure.facts.get("sqlstate") in _TRANSIENT and not failure.facts.get("timed_out")
                if not transient or attempt == attempts or time.monotonic() + pause > self.deadline:
                    raise self.step_failed(helper, entry, failure, attempt, invalid) from failure
                time.sleep(pause)
        self.read(helper)
        expected = before ^ {name}
        if self.applied_set() != expected:
            raise FloyoError(
                f"revision {name} ran {direction} without an error, but the database is at {_listed(self.state['heads'])}",
                code="MIGRATION_NOT_COMMITTED",
                expected=f"it to be at {_listed(self.lineage.tips(expected))}",
                next_step="check that env.py commits: with context.begin_transaction(): context.run_migrations()",
                applied=self.applied,
            )
        self.applied.append(
            {
                "revision": name,
                "direction": direction,
                "class": entry["class"],
                "seconds": answer["seconds"],
                "attempts": attempt,
                "wal": answer["wal"],
                "rehearsed_seconds": usual["seconds"] if usual else None,
                **(measured(answer["observed"], self.asked["version_table"]) if answer["observed"] else {}),
            }
        )

    def usual(self, name: str, direction: str) -> Optional[dict[str, Any]]:
        """``seconds``, ``rows`` and ``wal`` of this step at the last rehearsal; None when there was none."""
        found = read_record(self.asked["record"], [self.lineage[name]]).get(name)
        if found is None or direction == "up":
            return found
        back = found.get("downgrade") or {}
        return {"seconds": back["seconds"]} if back and not back["error"] else None

    def noted(
        self, entry: Mapping[str, Any], place: tuple[int, int], attempt: int, usual: Optional[Mapping[str, Any]]
    ) -> Callable[[dict[str, Any]], None]:
        """What takes in how far the helper is with this step."""
        number, of = place
        about = {"revision": entry["revision"], "direction": entry["direction"], "number": number, "of": of}

        def note(sample: dict[str, Any]) -> None:
            blockers = [_blocker(row) for row in sample["blockers"]]
            self.running.note({**about, "attempt": attempt}, {**sample, "blockers": blockers}, usual)

        return note

    def step_failed(
        self, helper: Helper, entry: Mapping[str, Any], failure: HelperFailure, attempts: int, invalid: set[str]
    ) -> FloyoError:
        name, facts = entry["revision"], failure.facts
        blockers = [_blocker(row) for row in facts.get("blockers") or ()]
        left = self.invalid_after(helper) - invalid if failure.kind != "died" else set()
        details = self.details(facts, helper) | {
            "revision": name,
            "direction": entry["direction"],
            "applied": self.applied,
            "current": self.state["heads"],
            "blockers": blockers,
            "invalid_indexes": sorted(left),
        }
        if facts.get("timed_out"):
            return self.out_of_time(name, details)
        if facts.get("sqlstate") in _TRANSIENT:
            return TimedOut(
                f"revision {name} got no lock within {self.asked['lock_timeout']:g} s, {attempts} times"
                + (f"; blocked by {blockers[0]}" if blockers else ""),
                code="LOCK_TIMEOUT",
                expected="the tables free for a moment",
                next_step="let the named session end (pg_stat_activity), then run the same command again",
                **details,
            )
        if failure.kind != "migration" or _is_gone(facts):
            return self.explained(failure, helper, **details)
        where = "upgrade" if entry["direction"] == "up" else "downgrade"
        advice = "nothing of it stayed; mend the revision and deploy again"
        if left:
            advice = f"drop the invalid indexes it left ({', '.join(sorted(left))}), mend the revision, run again"
        elif self.lineage[name]["autocommit"]:
            advice = "it works outside a transaction: look what stayed of it, mend the revision, run again"
        return FloyoError(
            f"revision {name} ({shorten(entry['summary'], 60)}) failed in its {where}: {_reason(facts)}",
            code="MIGRATION_FAILED",
            expected=f"its {where} to succeed",
            next_step=advice,
            **details,
        )

    def invalid_after(self, helper: Helper) -> set[str]:
        try:
            self.read(helper)
        except FloyoError:
            return set()  # the connection is gone too: the first failure is the one to tell
        return set(self.state["invalid_indexes"])

    def out_of_time(self, name: str, details: Mapping[str, Any]) -> TimedOut:
        return TimedOut(
            f"revision {name} did not end within the {self.asked['timeout']:g} s of this run and was cancelled",
            code="MIGRATION_TIMEOUT",
            expected="all revisions within timeout",
            next_step="rehearse it on a copy to learn its time, then raise timeout",
            **{"applied": self.applied, **details},
        )

    def details(self, facts: Mapping[str, Any], helper: Helper) -> dict[str, Any]:
        """What of the helper's answer a person may see, literals of statements shortened."""
        shown = {key: facts[key] for key in ("sqlstate", "type") if facts.get(key)}
        for key in ("detail", "hint"):
            if facts.get(key):
                shown[key] = shorten(facts[key], 300)
        if facts.get("statement"):
            shown["statement"] = _statement(facts["statement"])
        if facts.get("file"):
            path = str(facts["file"])
            shown["file"] = path.removeprefix(f"{self.project.resolve()}/").removeprefix(f"{self.project}/")
            shown["line"] = facts.get("line")
        shown["output_tail"] = facts.get("output_tail") or helper.output()
        return shown

    def explained(self, failure: HelperFailure, helper: Helper, **more: Any) -> FloyoError:
        """A failure outside a migration, with what to do about it."""
        facts = failure.facts
        details = {**self.details(facts, helper), **more}
        reason = _reason(facts)
        if failure.kind == "connection":
            return ConnectionLost(
                f"no connection to {self.url}: {reason}",
                code="DATABASE_UNREACHABLE",
                expected="the database to accept the role and password of database_url",
                next_step="check that PostgreSQL runs there, its pg_hba.conf, and the role's password",
                **details,
            )
        if failure.kind == "lost" or _is_gone(facts):
            return ConnectionLost(
                f"the connection to {self.url} was lost: {reason}",
                code="CONNECTION_LOST",
                expected="it to stay until the work is done",
                next_step="run the same command again: a revision is done wholly or not at all",
                **details,
            )
        messages = {
            "environment": (
                "ENVIRONMENT_BROKEN",
                "an env.py and revisions that load",
                "mend what is named, and build again",
            ),
            "privilege": ("PRIVILEGE_MISSING", "the owner's role", "check the role in database_url"),
            "ambiguous": ("VERSION_TABLE_AMBIGUOUS", "one version table", "set version_table_schema"),
            "unsupported": (
                "ENVIRONMENT_UNSUPPORTED",
                "an env.py that runs migrations once, online",
                "see docs/migrations.md",
            ),
            "database": ("WRONG_DATABASE", f"env.py to use {self.url}", "name its variable in database_url_env"),
            "pooler": (
                "POOLER",
                "the server itself",
                "name the server's own address and port in database_url; the service may keep the pooler's",
            ),
            "generate": (
                "GENERATE_FAILED",
                "an env.py that gives alembic the models (context.configure(target_metadata=...))",
                "mend env.py and migrations/script.py.mako in the application, and name the version that has it",
            ),
            "heads": (
                "HEADS_DIFFER",
                f"revisions {_listed(self.state['heads'])}",
                "set version_table and version_table_schema",
            ),
            "died": ("HELPER_DIED", "an answer", "read output_tail; look for the out-of-memory killer in the journal"),
        }
        code, expected, advice = messages.get(failure.kind, ("HELPER_FAILED", "an answer", "read output_tail"))
        where = f" ({details['file']}, line {details['line']})" if details.get("file") else ""
        return FloyoError(
            f"{self.release_dir.name}: {reason}{where}", code=code, expected=expected, next_step=advice, **details
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "no revision"


def _is_gone(facts: Mapping[str, Any]) -> bool:
    """Whether an error of the driver says that its connection has ended: by the server's word, or without any."""
    state = facts.get("sqlstate") or ""
    return state[:2] == "08" or state[:3] == "57P" or (not state and facts.get("type") in _GONE)


def _driver_of(text: str) -> str:
    try:
        return parse_url(text).driver
    except Unusable:
        return ""  # the application's own value may be anything; it is replaced


def _reason(facts: Mapping[str, Any]) -> str:
    kind = "" if facts.get("sqlstate") or not facts.get("type") else f"{facts['type']}: "
    return kind + shorten(facts.get("message") or "no reason given", 400)


_LITERAL = re.compile(r"'((?:[^']|'')*)'")


def _statement(text: str) -> str:
    """A statement to show: long literals cut, passwords gone."""
    text = re.sub(r"(?i)(password\s+)'(?:[^']|'')*'", r"\1'***'", text)
    return shorten(_LITERAL.sub(lambda match: match.group() if len(match.group(1)) <= 24 else "'...'", text), 1000)


def _blocker(row: list[Any]) -> str:
    pid, name, user, state, seconds, query = row
    if not pid:
        return "a prepared transaction, which has no session (SELECT * FROM pg_prepared_xacts)"
    doing = f"{state}, " if state else ""
    about = f"{name or 'unnamed'}, user {user}, {doing}in a transaction for {seconds or 0} s"
    return f"pid {pid} ({about}): {without_values(query)}"
