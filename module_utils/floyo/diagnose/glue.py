"""What module pg_diagnose does (glue)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import cached_property
from typing import Any, Callable, Optional

from ..errors import ConnectionLost, FloyoError, Refused
from ..files import read_json, write_json
from ..finding import Finding, as_results, overall
from ..postgres.url import parse_url, scrub
from . import activity, indexes, judge, sql, statements
from .analyzed import analyzed
from .client import EXHAUSTED, Limits, Reserve, Session
from .ended import ended
from .judge import LIMITS

__all__ = ["ARGUMENT_SPEC", "REQUIRED_IF", "diagnose"]

SUBSETS = [
    "connections", "blocking", "long_running", "slow_queries", "sizes", "indexes", "bloat", "cache_hit", "wraparound",
    "autovacuum", "sequences",
]  # fmt: skip

ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["info", "report", "analyzed", "terminated"], "default": "report"},
    "database_url": {"type": "str", "required": True, "no_log": True},
    "reserve_url": {"type": "str", "no_log": True, "default": ""},
    "reserve_account": {"type": "str", "default": ""},
    "statistics_database": {"type": "str", "default": "postgres"},
    "subset": {"type": "list", "elements": "str", "choices": SUBSETS, "default": SUBSETS},
    "window": {"type": "float", "default": 0.0},
    "sample": {"type": "dict", "default": {}},
    "sample_file": {"type": "path", "default": ""},
    "order_by": {"type": "str", "choices": list(statements.ORDERS), "default": "total"},
    "most": {"type": "int", "default": 20},
    "measure_bloat": {"type": "bool", "default": False},
    "limits": {
        "type": "dict",
        "options": {name: {"type": "float", "default": float(value)} for name, value in LIMITS.items()},
        "apply_defaults": True,
    },
    "connect_timeout": {"type": "float", "default": 5.0},
    "statement_timeout": {"type": "float", "default": 20.0},
    "lock_timeout": {"type": "float", "default": 1.0},
    "tables": {"type": "list", "elements": "str", "default": []},
    "force": {"type": "bool", "default": False},
    "lock_wait": {"type": "float", "default": 10.0},
    "after": {"type": "float", "default": 300.0},
    "idle": {"type": "bool", "default": False},
    "sessions": {"type": "list", "elements": "str", "default": []},
    "grace": {"type": "float", "default": 10.0},
    "protect_users": {"type": "list", "elements": "str", "default": []},
    "protect_applications": {"type": "list", "elements": "str", "default": []},
}
REQUIRED_IF = [("state", "analyzed", ["tables"])]


def diagnose(parameters: Mapping[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Carry out the module's parameters and return its result; ``warnings`` are for the person."""
    url = parse_url(parameters["database_url"])
    reserve = None
    if parameters["reserve_url"]:
        reserve = Reserve(parse_url(parameters["reserve_url"], name="reserve_url"), parameters["reserve_account"])
    limits = Limits(parameters["connect_timeout"], parameters["statement_timeout"], parameters["lock_timeout"])
    state = parameters["state"]
    if state in ("info", "report"):
        try:
            session = Session(url, what="diagnose", limits=limits, reserve=reserve)
        except ConnectionLost as error:
            if error.code != EXHAUSTED:
                raise
            return _without_a_connection(error)
        with closing(session):
            return _Report(session, reserve, parameters, check_mode=check_mode).result()
    what = "analyze" if state == "analyzed" else "kill"
    with closing(Session(url, what=what, limits=limits, reserve=reserve, read_only=state != "analyzed")) as session:
        work = analyzed if state == "analyzed" else ended
        return work(session, parameters, check_mode=check_mode)


def _without_a_connection(error: FloyoError) -> dict[str, Any]:
    """That nobody gets in is what was to be found out."""
    finding = Finding(
        "connections", "fail", error.message, threshold=error.expected, next_step=error.next_step, value="exhausted"
    )
    return {
        "changed": False, "warnings": [], "connected": False, "by_reserve": False, "unseen": list(SUBSETS),
        "findings": as_results([finding]), "verdict": "fail",
    }  # fmt: skip


class _Report:
    """Each subset is asked for itself: one that cannot be answered leaves the others as they are."""

    def __init__(
        self, session: Session, reserve: Optional[Reserve], parameters: Mapping[str, Any], *, check_mode: bool
    ) -> None:
        self.session, self.reserve, self.asked, self.check_mode = session, reserve, parameters, check_mode
        self.limits: Mapping[str, float] = parameters["limits"]
        self.facts = session.rows(sql.FACTS)[0]
        self.found: list[Finding] = []
        self.warnings: list[str] = []
        self.unseen: list[str] = []
        self.sample: dict[str, Any] = {}

    def result(self) -> dict[str, Any]:
        earlier = self._earlier()
        if self.asked["window"] > 0:
            earlier = self._sampled()
            time.sleep(self.asked["window"])
        self.sample = self._sampled()
        self.earlier = earlier
        if self.asked["sample_file"] and not self.check_mode:
            write_json(self.asked["sample_file"], self.sample)
        data = {name: self._subset(name) for name in SUBSETS if name in self.asked["subset"]}
        if self.session.by_reserve:
            self.found.append(
                Finding(
                    "connections", "fail", "every ordinary connection is taken: this was seen by a reserved one",
                    threshold="a free connection", value="exhausted",
                    next_step="the table by client says who; playbooks/database_kill.yml --check lists what may be ended",
                )
            )  # fmt: skip
        report = self.asked["state"] == "report"
        return {
            "changed": False,
            "connected": True,
            "by_reserve": self.session.by_reserve,
            "server": {
                "url": str(self.session.url), "version": self.facts["version"], "in_recovery": self.facts["in_recovery"],
                "sees_all": self.facts["sees_all"], "uptime_seconds": round(self.facts["now"] - self.facts["started"]),
            },
            **data,
            "unseen": self.unseen,
            "sample": self.sample,
            "warnings": self.warnings,
            **({"findings": as_results(self.found), "verdict": overall(self.found)} if report else {}),
        }  # fmt: skip

    def _subset(self, name: str) -> Any:
        look: Callable[[], tuple[Any, Iterator[Finding]]] = getattr(self, f"see_{name}")
        try:
            data, found = look()
            self.found += found
        except FloyoError as error:
            if error.code == "DATABASE_LOST":
                raise
            self.unseen.append(name)
            self.found.append(
                Finding(
                    name, "inconclusive", f"cannot be seen: {error.message}", threshold=error.expected, confidence="low",
                    next_step=error.next_step, value=error.code,
                )
            )  # fmt: skip
            return None
        return data

    # --- samples ------------------------------------------------------------------------------------------------------

    def _earlier(self) -> Optional[Mapping[str, Any]]:
        if self.asked["sample"]:
            return dict(self.asked["sample"])
        file = self.asked["sample_file"]
        try:
            kept = read_json(file) if file else None
        except ValueError:
            self.warnings.append(f"{file} is damaged and begins anew")
            return None
        return kept if isinstance(kept, Mapping) else None

    def _sampled(self) -> dict[str, Any]:
        """The counters of this moment, of what was asked for."""
        at = self.session.rows("SELECT extract(epoch FROM clock_timestamp())::float8 AS at")[0]["at"]
        self.database = self.session.rows(sql.DATABASE)[0]
        sample: dict[str, Any] = {
            "at": at,
            "database": {key: self.database[key] for key in ("blks_hit", "blks_read", "reset")},
        }
        if "slow_queries" in self.asked["subset"]:
            try:
                self.statements, self.statement_info = self._ask_statements()
                sample.update(statements.sample_of(self.statements, self.statement_info, at))
                self.statement_error = None
            except FloyoError as error:
                self.statement_error = error
        return sample

    # --- the subsets --------------------------------------------------------------------------------------------------

    @cached_property
    def _activity(self) -> list[dict[str, Any]]:
        return self.session.rows(sql.activity(self.facts["version_num"]))

    @cached_property
    def _tables(self) -> list[dict[str, Any]]:
        return self.session.many(sql.TABLES)

    @cached_property
    def _sizes(self) -> tuple[dict[int, int], bool]:
        """Bytes by oid, and whether they are exact. Who rebuilds a table keeps it locked: then what was last counted."""
        try:
            rows, exact = self.session.many(sql.sizes(exact=True)), True
        except FloyoError as error:
            if error.code not in ("LOCK_TIMEOUT", "STATEMENT_TIMEOUT"):
                raise
            rows, exact = self.session.many(sql.sizes(exact=False)), False
        return {row["oid"]: row["bytes"] or 0 for row in rows}, exact

    @cached_property
    def _indexes_of_all(self) -> list[dict[str, Any]]:
        return self.session.many(sql.INDEXES)

    @property
    def _counted(self) -> float:
        """For how long the server has counted scans: since a reset, or since it started and lost them."""
        return float(self.facts["now"] - (self.database["reset"] or self.facts["started"]))

    def see_connections(self) -> tuple[Any, Iterator[Finding]]:
        others = [row for row in self._activity if not row["mine"]]
        states = activity.summary(others)
        data = {
            "states": states,
            "clients": activity.by_client(others),
            "room": self.facts["max_connections"] - self.facts["reserved"],
        }
        return data, judge.connections(self.facts, states, self.limits)

    def see_blocking(self) -> tuple[Any, Iterator[Finding]]:
        roots = activity.blocking_tree(self._activity)
        rows = [
            {**{key: value for key, value in session.items() if key != "blocks"}, "depth": depth}
            for depth, session in activity.flatten(roots)
        ]
        return {"tree": roots, "rows": rows}, judge.blocking(roots, self.limits)

    def see_long_running(self) -> tuple[Any, Iterator[Finding]]:
        least = min(self.limits["long_after"], self.limits["idle_after"])
        rows = [
            activity.shown(row)
            for row in self._activity
            if row["backend_type"] == "client backend" and not row["mine"] and (row["seconds"] or 0) >= least
            and (row["state"] or "").startswith(("active", "idle in transaction"))
        ]  # fmt: skip
        rows.sort(key=lambda row: -row["seconds"])
        return rows, judge.long_running(rows, self.limits, sees_all=self.facts["sees_all"])

    def _ask_statements(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """From this database, or from the one in which the extension is. The view covers all of them."""
        session, opened = self.session, False
        place = session.rows(sql.STATEMENT_NAMES)
        if not place and self.asked["statistics_database"]:
            session, opened = session.elsewhere(self.asked["statistics_database"], self.reserve), True
        try:
            place = place or session.rows(sql.STATEMENT_NAMES)
            if not place:
                raise Refused(
                    "the extension pg_stat_statements is in neither database", code="EXTENSION_MISSING",
                    expected="pg_stat_statements",
                    next_step="shared_preload_libraries = 'pg_stat_statements', restart, CREATE EXTENSION pg_stat_statements"
                    " (playbooks/provision.yml does)",
                )  # fmt: skip
            schema = place[0]["schema"]
            columns = session.rows(sql.STATEMENT_COLUMNS, [f'"{schema}".pg_stat_statements'])[0]["columns"] or []
            try:
                rows = session.rows(sql.statements(schema, columns), [self.facts["database_oid"]])
            except FloyoError as error:
                if error.details.get("sqlstate") != "55000":
                    raise
                raise Refused(
                    "pg_stat_statements is installed and not loaded", code="EXTENSION_NOT_LOADED",
                    expected="shared_preload_libraries with pg_stat_statements",
                    next_step="add it to floyo_postgres_settings, run playbooks/provision.yml: the server restarts",
                )  from error  # fmt: skip
            info: dict[str, Any] = {
                "reset": None,
                "dealloc": 0,
                "version": place[0]["version"],
                "started": self.facts["started"],
            }
            if session.rows("SELECT to_regclass(%s) IS NOT NULL AS there", [f'"{schema}".pg_stat_statements_info'])[0][
                "there"
            ]:
                info.update(
                    session.rows(
                        "SELECT dealloc, extract(epoch FROM stats_reset)::float8 AS reset"  # noqa: S608
                        f' FROM "{schema}".pg_stat_statements_info'
                    )[0]
                )
            return rows, info
        finally:
            if opened:
                session.close()

    def see_slow_queries(self) -> tuple[Any, Iterator[Finding]]:
        if self.statement_error:
            raise self.statement_error
        info, earlier = self.statement_info, self.earlier
        comparable = bool(earlier and "statements" in earlier and earlier.get("reset") == info["reset"])
        if earlier and "statements" in earlier and not comparable:
            self.warnings.append("the statistics of statements were reset since the earlier look: counted from there")
        seconds = self.sample["at"] - (earlier or {}).get("at", 0) if comparable else None
        if seconds is None:
            seconds = self.facts["now"] - info["reset"] if info["reset"] else None
        rows = statements.ranked(
            self.statements, earlier if comparable else None, order=self.asked["order_by"], most=self.asked["most"]
        )
        hidden = sum(1 for row in self.statements if row["query"] == "<insufficient privilege>")
        data = {
            "statements": rows, "windowed": comparable, "seconds": seconds, "forgotten": info["dealloc"],
            "hidden": hidden, "version": info["version"],
        }  # fmt: skip
        return data, self._judge_statements(data)

    def _judge_statements(self, data: Mapping[str, Any]) -> Iterator[Finding]:
        yield from statements.findings(
            data["statements"], seconds=data["seconds"], windowed=data["windowed"], lost=data["forgotten"],
            limits=self.limits,
        )  # fmt: skip
        if data["hidden"]:
            yield Finding(
                "rights", "inconclusive", f"{data['hidden']} statements of other accounts are hidden from this one",
                threshold="pg_read_all_stats", confidence="low",
                next_step=f'GRANT pg_monitor TO "{self.session.url.user}" (playbooks/provision.yml does)',
            )  # fmt: skip

    def _sizes_of(self, table: Mapping[str, Any]) -> dict[str, int]:
        sizes, _ = self._sizes
        mine = sum(sizes.get(index["oid"], 0) for index in self._by_table.get(table["oid"], []))
        return {"table": sizes.get(table["oid"], 0), "indexes": mine, "toast": sizes.get(table["toast"], 0)}

    @cached_property
    def _by_table(self) -> dict[int, list[dict[str, Any]]]:
        found: dict[int, list[dict[str, Any]]] = {}
        for index in self._indexes_of_all:
            found.setdefault(index["table"], []).append(index)
        return found

    def see_sizes(self) -> tuple[Any, Iterator[Finding]]:
        rows = []
        for table in self._tables:
            if table["kind"] == "p":
                continue
            parts = self._sizes_of(table)
            rows.append(
                {
                    "name": judge.table_name(table),
                    **parts,
                    "total": sum(parts.values()),
                    "rows": max(int(table["rows"]), table["live"], 0),
                }
            )
        rows.sort(key=lambda row: (-row["total"], row["name"]))
        data = {
            "database": self.database["bytes"], "tables": rows[: self.asked["most"]], "number": len(rows),
            "exact": self._sizes[1],
        }  # fmt: skip
        return data, iter(())

    def see_indexes(self) -> tuple[Any, Iterator[Finding]]:
        known = indexes.Catalogue(
            self._tables, self._indexes_of_all, self.session.rows(sql.FOREIGN_KEYS), self._sizes[0]
        )
        found = list(indexes.findings(known, facts=self.facts, counted=self._counted, limits=self.limits))
        named = {finding.object for finding in found}
        shown = [index for index in known.indexes if judge.table_name(index) in named]
        definitions = {
            row["oid"]: row["definition"]
            for row in (self.session.rows(sql.INDEX_DEFINITIONS, [[index["oid"] for index in shown]]) if shown else [])
        }
        data = {
            "number": len(known.indexes),
            "named": [
                {
                    "name": judge.table_name(index), "table": known.table(index), "bytes": known.size(index),
                    "scans": index["scans"], "definition": scrub(definitions.get(index["oid"], "")),
                }
                for index in shown
            ],
        }  # fmt: skip
        return data, iter(found)

    def see_bloat(self) -> tuple[Any, Iterator[Finding]]:
        sizes, _ = self._sizes
        tables = sorted(
            (table for table in self._tables if table["kind"] != "p" and sizes.get(table["oid"], 0)),
            key=lambda table: -sizes.get(table["oid"], 0),
        )[:50]
        widths = {
            (row["schema"], row["name"]): row
            for row in self.session.rows(
                sql.BLOAT_COLUMNS, [[table["schema"] for table in tables], [table["name"] for table in tables]]
            )
        }
        rows = []
        for table in tables:
            known = widths.get((table["schema"], table["name"]))
            if not known or table["rows"] <= 0:
                continue
            size = sizes[table["oid"]]
            header = 24 + (8 if known["nulls"] else 0)
            each = header + 4 + -(-int(known["width"]) // 8) * 8
            needed = -(-table["rows"] * each // (self.facts["block_size"] - 24)) * self.facts["block_size"]
            rows.append(
                {"table": judge.table_name(table), "bytes": size, "wasted": max(0, int(size - needed)), "method": "estimate",
                 "analyzed": table["analyzed"]}
            )  # fmt: skip
        rows.sort(key=lambda row: (-row["wasted"], row["table"]))
        if self.asked["measure_bloat"]:
            self._measure(rows)
        return rows[: self.asked["most"]], judge.bloat(rows, self.facts, self.limits)

    def _measure(self, rows: list[dict[str, Any]]) -> None:
        """With pgstattuple, what the estimate finds worst is read. That costs reading, so only when asked for."""
        place = self.session.rows(
            "SELECT n.nspname::text AS schema FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace"
            " WHERE x.extname = 'pgstattuple'"
        )
        if not place:
            self.warnings.append("bloat is estimated: the extension pgstattuple is not installed")
            return
        for row in rows[:5]:
            name = row["table"] if "." in row["table"] else f"public.{row['table']}"
            try:
                measured = self.session.rows(
                    f"SELECT table_len AS bytes, approx_free_space + dead_tuple_len AS wasted"  # noqa: S608
                    f' FROM "{place[0]["schema"]}".pgstattuple_approx(%s::regclass)',
                    [name],
                )[0]
            except FloyoError as error:
                self.warnings.append(f"bloat of {row['table']} is estimated: {error.message}")
                continue
            row.update(measured, method="pgstattuple")

    def see_cache_hit(self) -> tuple[Any, Iterator[Finding]]:
        before = (self.earlier or {}).get("database")
        comparable = bool(before and before.get("reset") == self.database["reset"])
        seconds = self.sample["at"] - (self.earlier or {})["at"] if comparable else self._counted
        data = {
            "hit": self.database["blks_hit"],
            "read": self.database["blks_read"],
            "seconds": seconds,
            "windowed": comparable,
        }
        return data, judge.cache_hit(self.database, before if comparable else None, seconds, self.limits)

    def see_wraparound(self) -> tuple[Any, Iterator[Finding]]:
        databases = self.session.rows(sql.FREEZE)
        holders = self.session.rows(sql.HOLDERS) + [
            {
                "holder": f"session {activity.session_of(row)} ({row['usename'] or row['backend_type']})",
                "age": row["xmin_age"],
            }
            for row in self._activity
            if row["xmin_age"] is not None and not row["mine"]
        ]
        holders.sort(key=lambda row: -(row["age"] or 0))
        oldest = sorted((table for table in self._tables if table["kind"] != "p"), key=lambda table: -table["xid_age"])[
            :5
        ]
        data = {
            "databases": databases, "holders": holders[:5],
            "oldest_tables": [{"table": judge.table_name(table), "xid_age": table["xid_age"]} for table in oldest],
        }  # fmt: skip
        return data, judge.wraparound(databases, holders, self.facts, self.limits)

    def see_autovacuum(self) -> tuple[Any, Iterator[Finding]]:
        tables = [table for table in self._tables if table["kind"] != "p"]
        workers = sum(1 for row in self._activity if row["backend_type"] == "autovacuum worker")
        worst = sorted(tables, key=lambda table: -table["dead"])[:5]
        data = {
            "enabled": self.facts["autovacuum"], "workers": workers, "most_workers": self.facts["max_workers"],
            "dead": [{"table": judge.table_name(table), "dead": table["dead"], "live": table["live"]} for table in worst],
        }  # fmt: skip
        return data, judge.autovacuum(tables, self.facts, self.limits)

    def see_sequences(self) -> tuple[Any, Iterator[Finding]]:
        listed = self.session.many(sql.SEQUENCES)
        rows = judge.sequence_rows(listed)
        hidden = sum(1 for row in listed if not row["readable"])
        return rows[: self.asked["most"]], judge.sequences(rows, hidden, self.limits)
