"""Who is connected, who waits for whom, and whom one may end (pure, standard library only)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..postgres.lock import OURS
from .redact import redact

__all__ = ["blocking_tree", "by_client", "flatten", "kept_because", "session_of", "shown", "summary"]

# Programs that copy, restore or migrate, by the names they give themselves.
_TOOLS = re.compile(
    r"(?i)^(?:pg_dump|pg_dumpall|pg_restore|pg_basebackup|pg_receivewal|alembic|barman|pgbackrest|wal-g)"
)
# Ended half way they leave something behind: an invalid index, a table that was rewritten for nothing.
_MAINTENANCE = re.compile(
    r"(?is)^\s*(create\s+(?:unique\s+)?index|reindex|vacuum|cluster|alter\s+table|refresh\s+materialized|create\s+database)\b"
)


def session_of(row: Mapping[str, Any]) -> str:
    """The identity of a session as the server's log has it in %c: start and pid, both in hexadecimal.

    The start of others' sessions is hidden from an account without pg_monitor: ``?`` stands for it, and nobody is ended
    by such a name.
    """
    start = "?" if row["started"] is None else f"{int(row['started']):x}"
    return f"{start}.{row['pid']:x}"


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the activity for people: no value of a statement."""
    return {
        "session": session_of(row),
        "pid": row["pid"],
        "user": row["usename"] or "",
        "application": row["application_name"] or "",
        "client": row["client"] or "",
        "state": row["state"] or "",
        "seconds": round(row["seconds"] or 0.0, 1),
        "waits_for": ":".join(filter(None, (row["wait_event_type"], row["wait_event"]))),
        "query": redact(row["query"] or "", 200),
    }


def is_client(row: Mapping[str, Any]) -> bool:
    """What one may not see has no kind; only a session has an account then."""
    return bool(row["backend_type"] == "client backend" or (row["backend_type"] is None and row["usename"]))


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Connections by state; those of which one may not see the state are ``hidden``."""
    return dict(Counter(row["state"] or "hidden" for row in rows if is_client(row)))


def by_client(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Connections by database, account, program and address, the most first."""
    groups: dict[tuple[str, ...], Counter[str]] = {}
    for row in rows:
        if is_client(row):
            name = re.sub(r":\d+$", "", row["application_name"] or "")
            key = (row["datname"] or "", row["usename"] or "", name, row["client"] or "local")
            groups.setdefault(key, Counter())[row["state"] or "hidden"] += 1
    return [
        {
            **dict(zip(("database", "user", "application", "client"), key)),
            "connections": sum(states.values()),
            "active": states["active"],
            "idle": states["idle"],
            "idle_in_transaction": states["idle in transaction"] + states["idle in transaction (aborted)"],
        }
        for key, states in sorted(groups.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    ]


# --- who waits for whom ----------------------------------------------------------------------------------------------


def blocking_tree(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Root blockers with those who wait for them beneath. ``blocked_by`` of a row names pids; 0 is a prepared transaction.

    Who waits for several stands under the first of them. In a circle, which the server is about to break, everyone waits:
    the lowest pid is taken for its root and marked.
    """
    known = {row["pid"]: row for row in rows}
    waiting = {row["pid"]: [pid for pid in row["blocked_by"] or [] if pid != row["pid"]] for row in rows}
    waiting = {pid: blockers for pid, blockers in waiting.items() if blockers}
    children: dict[int, list[int]] = {}
    for pid, blockers in sorted(waiting.items()):
        children.setdefault(blockers[0], []).append(pid)
    placed: set[int] = set()

    def node(pid: int, circular: bool = False) -> dict[str, Any]:
        placed.add(pid)
        row = known.get(pid)
        facts = (
            shown(row) if row else {"session": "", "pid": pid, "state": "prepared transaction" if not pid else "gone"}
        )
        below = [node(child) for child in children.get(pid, []) if child not in placed]
        open_for = round(float((row or {}).get("transaction") or 0.0), 1)
        return {**facts, "circular": circular, "waits": _waits(row), "transaction": open_for, "blocks": below}

    roots = [node(pid) for pid in sorted(set(children) - set(waiting))]
    # What is left waits in circles.
    roots += [node(pid, circular=True) for pid in sorted(waiting) if pid not in placed]
    return sorted(roots, key=lambda root: -sum(1 for _ in flatten([root])))


def _waits(row: Any) -> float:
    return round(float(row["waits"] or 0.0), 1) if row else 0.0


def flatten(roots: Iterable[Mapping[str, Any]], depth: int = 0) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(depth, session) from the roots downwards."""
    for root in roots:
        yield depth, root
        yield from flatten(root["blocks"], depth + 1)


# --- whom one may end ------------------------------------------------------------------------------------------------


def kept_because(
    row: Mapping[str, Any],
    *,
    holders: Iterable[int],
    users: Sequence[str],
    applications: Sequence[str],
    named: bool,
) -> str:
    """Why a session is not ended, or nothing. ``named``: somebody has named this very session.

    A name protects what does our own work, replication and the server's own processes from everybody.
    """
    name = str(row["application_name"] or "")
    if row["backend_type"] != "client backend":
        return f"it is no client ({row['backend_type'] or 'unknown'})"
    if name.startswith(OURS) or row["pid"] in set(holders):
        return "it is a backup, restore or migration of ours"
    if _TOOLS.match(name):
        return f"it is {name.split()[0]}"
    if row["usename"] in users:
        return f"user {row['usename']} is protected"
    if any(re.fullmatch(pattern, name) for pattern in applications):
        return f"application {name} is protected"
    work = _MAINTENANCE.match(row["query"] or "")
    if work and row["state"] == "active" and not named:
        return f"it runs {' '.join(work.group(1).upper().split())}: name its session if it has to go"
    return ""
