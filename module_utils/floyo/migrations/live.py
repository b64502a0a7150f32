"""What a verdict on migrations asks the live database: sizes, indexes, who has which table (SQL text and its reading)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ..text import shorten
from .lint import Live, live_from

__all__ = ["lock_name", "read_live", "without_values"]

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
_ANY_LITERAL = re.compile(r"'(?:[^']|'')*(?:'|$)|\$(\w*)\$.*?(?:\$\1\$|$)", re.DOTALL)


def read_live(query: Callable[[str], Sequence[Sequence[Any]]]) -> Live:
    """``query`` sends SQL and returns rows."""
    query("SELECT set_config('lock_timeout', '3000ms', false)")
    holders = [_holder(row) for row in query(_HOLDERS_SQL)]
    return live_from(query(_TABLES_SQL), query(_INDEXES_SQL), holders)


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
