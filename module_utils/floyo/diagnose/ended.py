"""Sessions that are ended: asked to stop, and cut off when they do not (glue).

A pid is used again as soon as its process is gone. So whoever is cancelled or cut off is matched by pid, by the moment the
session began and by the moment its transaction began, in the statement that does it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import FloyoError, Unusable
from ..postgres.lock import holder_sql, lock_key
from . import sql
from .activity import kept_because, session_of, shown
from .client import Session

__all__ = ["ended"]

_MATCH = (
    "pid = %s AND backend_start = %s::timestamptz AND xact_start IS NOT DISTINCT FROM %s::timestamptz"
    " AND backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()"
)
_SESSION = re.compile(r"[0-9a-f]{1,16}\.[0-9a-f]{1,8}")
_FIRST_PAUSE, _PAUSE = 0.02, 0.25
# After the process was told to go, it is gone at its next look: not while it waits for a disk.
_CUT_OFF_WAIT = 10.0


def ended(session: Session, parameters: Mapping[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """The sessions concerned, what was done with each, and why not with the others."""
    return _Ending(session, parameters, check_mode=check_mode).result()


class _Ending:
    def __init__(self, session: Session, parameters: Mapping[str, Any], *, check_mode: bool) -> None:
        self.session, self.asked, self.check_mode = session, parameters, check_mode
        self.facts = session.rows(sql.FACTS)[0]
        self.named = list(parameters["sessions"])
        wrong = [name for name in self.named if not (name.isdigit() or _SESSION.fullmatch(name))]
        if wrong:
            raise Unusable(
                f"{wrong[0][:40]!r} is no session", code="SESSION_INVALID",
                expected="a session such as 6925f3a1.1267, as the list and the server's log (%c) have it, or a pid",
                next_step="ansible-playbook playbooks/database_kill.yml --check lists them",
            )  # fmt: skip

    def result(self) -> dict[str, Any]:
        rows = self._concerned()
        plan = [row for row in rows if not row["why_kept"]]
        if not self.check_mode:
            self._end(plan)
        listed = [self._as_result(row) for row in rows]
        survived = [entry for entry in listed if entry["outcome"] in ("survived", "refused")]
        if survived:
            first = survived[0]
            raise FloyoError(
                f"{len(survived)} of {len(plan)} sessions are still there, first pid {first['pid']}: {first['reason']}",
                code="SESSION_SURVIVED",
                expected="every session gone",
                next_step="run the same command again; a session of a superuser needs a superuser (reserve_url)",
                sessions=listed,
            )
        return {
            "changed": any(row.get("outcome") != "gone by itself" for row in plan),
            "warnings": self._warnings(),
            "sessions": listed,
        }

    # --- who ----------------------------------------------------------------------------------------------------------

    def _concerned(self) -> list[dict[str, Any]]:
        """Sessions that were named, or that run or idle for too long, each with the reason for which it is kept."""
        holders = [row[0] for row in self.session.tuples(holder_sql(lock_key(self.facts["database"])))]
        found = []
        for row in self.session.rows(sql.activity(self.facts["version_num"])):
            if row["mine"] or row["datname"] != self.facts["database"]:
                continue
            name = session_of(row)
            exactly, by_pid = name in self.named, str(row["pid"]) in self.named
            if self.named and not (exactly or by_pid):
                continue
            too_long = self._too_long(row)
            if not (self.named or too_long):
                continue
            why = kept_because(
                row, holders=holders, users=self.asked["protect_users"], applications=self.asked["protect_applications"],
                named=exactly,
            )  # fmt: skip
            # A pid may be another session's by now: alone it does not do away with what is just working.
            if not why and not exactly and not too_long:
                why = f"it is {row['state'] or 'hidden'} for {row['seconds'] or 0:.0f} s only: name its session if it has to go"
            found.append({**row, "name": name, "why_kept": why, "action": self._action(row)})
        return sorted(found, key=lambda row: -(row["seconds"] or 0))

    def _too_long(self, row: Mapping[str, Any]) -> bool:
        seconds = row["seconds"] or 0
        if row["state"] == "active":
            return bool(seconds > self.asked["after"])
        return bool(
            self.asked["idle"] and str(row["state"]).startswith("idle in transaction") and seconds > self.asked["after"]
        )

    @staticmethod
    def _action(row: Mapping[str, Any]) -> str:
        """Who does nothing has nothing that could be cancelled."""
        return "cancel" if row["state"] == "active" else "terminate"

    # --- how ----------------------------------------------------------------------------------------------------------

    def _end(self, plan: Sequence[dict[str, Any]]) -> None:
        cancelled = [row for row in plan if row["action"] == "cancel" and self._signal("pg_cancel_backend", row)]
        self._wait(cancelled, self.asked["grace"], self._still_runs)
        for row in cancelled:
            if "outcome" not in row and not self._still_runs(row):
                row["outcome"] = "cancelled"
        rest = [row for row in plan if "outcome" not in row]
        cut = [row for row in rest if self._signal("pg_terminate_backend", row)]
        self._wait(cut, _CUT_OFF_WAIT, self._still_there)
        for row in cut:
            row["outcome"] = "survived" if self._still_there(row) else "terminated"
            if row["outcome"] == "survived":
                row["why_kept"] = "it was told to go and is still there"

    def _signal(self, function: str, row: dict[str, Any]) -> bool:
        """Whether the session was told. One that is another by now, or gone, is let alone."""
        try:
            told = self.session.rows(
                f"SELECT {function}(pid) AS told FROM pg_stat_activity WHERE {_MATCH}",  # noqa: S608
                self._identity(row),
            )
        except FloyoError as error:
            if error.code != "NO_RIGHT":
                raise
            row.update(outcome="refused", why_kept=error.message)
            return False
        if not told:
            row["outcome"] = "gone by itself"
        return bool(told and told[0]["told"])

    @staticmethod
    def _identity(row: Mapping[str, Any]) -> list[Any]:
        return [row["pid"], row["backend_start"], row["xact_start"]]

    def _still_runs(self, row: Mapping[str, Any]) -> bool:
        """The very statement: what is cancelled outside of a transaction leaves an idle session."""
        return bool(
            self.session.rows(
                f"SELECT 1 AS there FROM pg_stat_activity WHERE {_MATCH} AND state = 'active'"  # noqa: S608
                " AND query_start IS NOT DISTINCT FROM %s::timestamptz",
                [*self._identity(row), row["query_start"]],
            )
        )

    def _still_there(self, row: Mapping[str, Any]) -> bool:
        return bool(
            self.session.rows(
                "SELECT 1 AS there FROM pg_stat_activity WHERE pid = %s AND backend_start = %s::timestamptz",
                self._identity(row)[:2],
            )
        )

    @staticmethod
    def _wait(rows: Sequence[Mapping[str, Any]], seconds: float, waited_for: Any) -> None:
        ends, pause = time.monotonic() + seconds, _FIRST_PAUSE
        while any(waited_for(row) for row in rows) and time.monotonic() < ends:
            time.sleep(min(pause, max(0.0, ends - time.monotonic())))
            pause = min(pause * 2, _PAUSE)

    # --- what is told -------------------------------------------------------------------------------------------------

    def _as_result(self, row: Mapping[str, Any]) -> dict[str, Any]:
        if "outcome" in row:
            outcome = row["outcome"]
        elif row["why_kept"]:
            outcome = "kept"
        else:
            outcome = f"would {row['action']}"
        return {**shown(row), "outcome": outcome, "reason": row["why_kept"]}

    def _warnings(self) -> list[str]:
        if self.facts["sees_all"]:
            return []
        return [
            "states of other accounts are hidden from this one (pg_read_all_stats): it may be blind to long queries"
        ]
