"""What a verdict on migrations asks the live database: sizes, indexes, who has which table (SQL text and its reading)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..text import shorten
from .lint import Live, live_from

__all__ = ["count_uses", "lock_name", "read_live", "without_values"]

_SCHEMAS = r"n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'"
# A table that somebody has for himself would keep us waiting for its size: what was last known of it must do.
_TABLES_SQL = (
    "SELECT n.nspname, c.relname, pg_table_is_visible(c.oid), greatest(CASE WHEN c.relkind = 'p' THEN"  # noqa: S608 (constants)
    " (SELECT sum(greatest(k.reltuples, 0)) FROM pg_partition_tree(c.oid) t JOIN pg_class k ON k.oid = t.relid WHERE t.isleaf)"
    " ELSE c.reltuples END, s.n_live_tup, 0)::int8, CASE"
    " WHEN c.relkind = 'p' THEN (SELECT coalesce(sum(k.relpages::int8) * 8192, 0) FROM pg_partition_tree(c.oid) t"
    " JOIN pg_class k ON k.oid = t.relid)"
    " WHEN EXISTS (SELECT FROM pg_locks l WHERE l.relation = c.oid AND l.mode = 'AccessExclusiveLock')"
    " THEN c.relpages::int8 * 8192 ELSE pg_total_relation_size(c.oid) END::int8"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid"
    f" WHERE c.relkind IN ('r', 'p', 'm') AND {_SCHEMAS}"
)
_INDEXES_SQL = (
    "SELECT n.nspname, c.relname, pg_table_is_visible(c.oid), m.nspname || '.' || t.relname FROM pg_index i"  # noqa: S608 (constants)
    " JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
    f" JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace m ON m.oid = t.relnamespace WHERE {_SCHEMAS}"
)
# Autovacuum gives way by itself.
_HOLDERS_SQL = (
    "SELECT n.nspname || '.' || c.relname, l.mode, a.pid, a.application_name, a.usename, coalesce(a.state, ''),"  # noqa: S608
    " coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float8, left(a.query, 300)"
    " FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation"
    " JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid() AND a.backend_type <> 'autovacuum worker'"
    f" AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND {_SCHEMAS}"
    " ORDER BY a.xact_start"
)
# Whoever is behind is told by how much; the times are null when nothing was written for a while.
_REPLICAS_SQL = (
    "SELECT coalesce(nullif(application_name, ''), 'pid ' || pid), coalesce(extract(epoch FROM replay_lag), 0)::float8,"
    " coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 0)::float8 FROM pg_stat_replication"
    " WHERE state <> 'backup' AND NOT pg_is_in_recovery() ORDER BY 2 DESC, 1"
)
_SLOTS_SQL = (
    "SELECT slot_name, active, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::float8,"
    " coalesce(to_jsonb(s) ->> 'wal_status', '') = 'lost' FROM pg_replication_slots s WHERE NOT temporary"
    " AND NOT pg_is_in_recovery() ORDER BY 3 DESC, 1"
)
# Of this database: others keep back neither a lock nor a concurrent build here. Prepared ones have no session, and no snapshot.
_TRANSACTIONS_SQL = (
    "SELECT extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds, backend_xmin IS NOT NULL, 'pid ' || pid || ' (' ||"
    " coalesce(nullif(application_name, ''), 'unnamed') || ', user ' || usename || ', ' || coalesce(state, '') || ')' AS text,"
    " left(query, 300) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
    " AND pid <> pg_backend_pid() AND backend_type = 'client backend' UNION ALL"
    " SELECT extract(epoch FROM clock_timestamp() - prepared)::float8, false, 'the prepared transaction ' || gid, ''"
    " FROM pg_prepared_xacts WHERE database = current_database() ORDER BY seconds DESC LIMIT 20"
)
_USES_SQL = (
    "SELECT schemaname || '.' || relname, (seq_scan + coalesce(idx_scan, 0) + n_tup_ins + n_tup_upd + n_tup_del)::int8"
    " FROM pg_stat_user_tables"
)
# The server passes on what a session has counted when its transaction ends, and at most once a second.
_USES_SECONDS = 2.5
_ANY_LITERAL = re.compile(r"'(?:[^']|'')*(?:'|$)|\$(\w*)\$.*?(?:\$\1\$|$)", re.DOTALL)


Query = Callable[[str], Sequence[Sequence[Any]]]


def read_live(query: Query) -> Live:
    """``query`` sends SQL and returns rows."""
    query("SELECT set_config('lock_timeout', '3000ms', false)")
    holders = [_holder(row) for row in query(_HOLDERS_SQL)]
    live = live_from(query(_TABLES_SQL), query(_INDEXES_SQL), holders)
    live.transactions = [
        {
            "seconds": round(float(seconds), 1),
            "snapshot": snapshot,
            "text": f"{text}, for {seconds:.0f} s: {without_values(sql)}".rstrip(": "),
        }
        for seconds, snapshot, text, sql in query(_TRANSACTIONS_SQL)
    ]
    live.sees_all = query("SELECT pg_has_role(session_user, 'pg_read_all_stats', 'USAGE')")[0][0]
    live.replicas = [
        {"name": name, "seconds": float(seconds), "bytes": int(size)} for name, seconds, size in query(_REPLICAS_SQL)
    ]
    live.slots = [
        {"name": name, "active": active, "bytes": int(size), "lost": lost}
        for name, active, size, lost in query(_SLOTS_SQL)
    ]
    return live


def count_uses(query: Query, live: Live, tables: Sequence[str], *, seconds: float = _USES_SECONDS) -> None:
    """Look for a moment how often these tables are used (scans, and rows that are written), and note it in ``live``."""
    if not tables:
        return

    def uses() -> dict[str, int]:
        return {name: count for name, count in query(_USES_SQL)}

    before, begin = uses(), time.monotonic()
    time.sleep(seconds)
    after, passed = uses(), time.monotonic() - begin
    for facts in live.tables.values():
        name = facts["name"]
        if name in tables and name in before and name in after:
            facts["per_second"] = round(max(0, after[name] - before[name]) / passed, 1)


def _holder(row: Sequence[Any]) -> dict[str, Any]:
    table, mode, pid, name, user, state, seconds, text = row
    doing = f"{state}, " if state else ""
    return {
        "table": table,
        "lock": lock_name(mode),
        "seconds": round(float(seconds), 1),
        "text": f"pid {pid} ({name or 'unnamed'}, user {user}, {doing}in a transaction for {seconds:.0f} s): "
        + without_values(text),
    }


def lock_name(mode: str) -> str:
    """``AccessExclusiveLock`` of pg_locks as SQL writes it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", mode.removesuffix("Lock")).upper()


def without_values(query: str) -> str:
    """Somebody else's statement: no value of it is ours to show. It may be cut inside a literal."""
    return shorten(_ANY_LITERAL.sub("'...'", query or ""), 200)
