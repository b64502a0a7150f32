"""Statistics of named tables made anew (glue)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..errors import FloyoError, Refused, Unusable
from ..postgres.lock import describe_holder, holder_sql, lock_key, try_lock_sql
from . import sql
from .client import Session
from .judge import table_name

__all__ = ["analyzed"]

_LOOK = """
SELECT c.oid::int8 AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
 pg_stat_get_mod_since_analyze(c.oid) AS changes, c.reltuples::float8 AS rows,
 extract(epoch FROM clock_timestamp() - greatest(pg_stat_get_last_analyze_time(c.oid),
  pg_stat_get_last_autoanalyze_time(c.oid)))::float8 AS age
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass(%s)
"""
_KINDS = {"r": "table", "p": "partitioned table", "m": "materialized view", "f": "foreign table"}


def analyzed(session: Session, parameters: Mapping[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """A result for each table; one that is locked or belongs to somebody else leaves the others as they are."""
    facts = session.rows(sql.FACTS)[0]
    if facts["in_recovery"]:
        raise Refused(
            "this is a replica: its statistics come from the primary", code="NOT_A_PRIMARY", expected="the primary",
            next_step="name the primary in database_url",
        )  # fmt: skip
    tables = [_found(session, name) for name in dict.fromkeys(parameters["tables"])]
    rows: list[dict[str, Any]] = []
    for table in tables:
        current = (
            not parameters["force"] and table["age"] is not None and table["changes"] == 0 and table["kind"] != "p"
        )
        rows.append(
            {
                "table": table_name(table), "result": "unchanged" if current else "would analyze",
                "reason": f"analyzed {table['age']:.0f} s ago, and no row changed since" if current else "", "seconds": 0.0,
                "sql": f'"{_escaped(table["schema"])}"."{_escaped(table["name"])}"',
            }
        )  # fmt: skip
    plan = [row for row in rows if row["result"] == "would analyze"]
    if plan and not check_mode:
        _take_lock(session, facts["database"], parameters["lock_wait"])
        for row in plan:
            row.update(_analyze(session, row["sql"]))
    listed = [{key: value for key, value in row.items() if key != "sql"} for row in rows]
    left = [row for row in listed if row["result"] in ("skipped", "failed")]
    if left:
        raise FloyoError(
            f"{len(left)} of {len(listed)} tables were not analyzed, first {left[0]['table']}: {left[0]['reason']}",
            code="NOT_ANALYZED",
            expected="new statistics of every table named",
            next_step="playbooks/database_connections.yml shows who holds a lock; only the owner of a table may analyze it",
            tables=listed,
            changed=any(row["result"] == "analyzed" for row in listed),
        )
    return {"changed": bool(plan), "warnings": [], "tables": listed}


def _escaped(name: str) -> str:
    return name.replace('"', '""')


def _found(session: Session, name: str) -> dict[str, Any]:
    for candidate in (name, f"public.{name}"):
        try:
            rows = session.rows(_LOOK, [candidate])
        except FloyoError as error:
            if error.details.get("sqlstate") not in ("42602", "42601", "0A000"):
                raise
            rows = []
        if rows and rows[0]["schema"] not in ("pg_catalog", "information_schema"):
            break
    else:
        raise Unusable(
            f"there is no table {name[:80]}", code="TABLE_UNKNOWN", expected="table or schema.table",
            next_step="ansible-playbook playbooks/database_tuning.yml lists the largest",
        )  # fmt: skip
    if rows[0]["kind"] not in _KINDS:
        raise Unusable(
            f"{name[:80]} is no table", code="TABLE_UNKNOWN", expected=", ".join(_KINDS.values()),
        )  # fmt: skip
    return rows[0]


def _take_lock(session: Session, database: str, wait: float) -> None:
    """Backup, restore and migration are alone with the database, and so are we."""
    key, ends = lock_key(database), time.monotonic() + wait
    while not session.tuples(try_lock_sql(key))[0][0]:
        if time.monotonic() >= ends:
            holders = [describe_holder(row) for row in session.tuples(holder_sql(key))]
            raise Refused(
                f"another run works on database {database}: {', '.join(holder['text'] for holder in holders) or 'it has just ended'}",
                code="LOCK_HELD",
                expected="the lock within lock_wait",
                next_step="wait for it, then run the same command again",
                holders=holders,
            )
        time.sleep(0.1)


def _analyze(session: Session, table: str) -> dict[str, Any]:
    """The server only warns of a table that it leaves out."""
    session.notices.clear()
    begin = time.monotonic()
    try:
        session.execute(f"ANALYZE {table}")
    except FloyoError as error:
        if error.code == "DATABASE_LOST":
            raise
        result = "skipped" if error.code in ("LOCK_TIMEOUT", "NO_RIGHT") else "failed"
        return {"result": result, "reason": error.message, "seconds": round(time.monotonic() - begin, 2)}
    seconds = round(time.monotonic() - begin, 2)
    left_out = [notice for notice in session.notices if "skipping" in notice or "permission denied" in notice]
    if left_out:
        return {"result": "skipped", "reason": left_out[0], "seconds": seconds}
    return {"result": "analyzed", "reason": "", "seconds": seconds}
