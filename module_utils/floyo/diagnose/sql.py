"""The questions, as SQL (pure). Catalogues and counters only: no question reads a row of the application.

Where a question would wait for a lock that a migration holds, it has a second form that does not.
"""

from __future__ import annotations

__all__ = [
    "BLOAT_COLUMNS", "DATABASE", "FACTS", "FOREIGN_KEYS", "FREEZE", "HOLDERS", "INDEXES", "INDEX_DEFINITIONS",
    "SEQUENCES", "STATEMENT_COLUMNS", "STATEMENT_NAMES", "TABLES", "activity", "sizes", "statements",
]  # fmt: skip

_OURS = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp%'"

FACTS = """
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS version_num,
 current_database()::text AS database, session_user::text AS "user", pg_is_in_recovery() AS in_recovery,
 (SELECT oid FROM pg_database WHERE datname = current_database())::int8 AS database_oid,
 extract(epoch FROM clock_timestamp())::float8 AS now,
 extract(epoch FROM pg_postmaster_start_time())::float8 AS started,
 pg_has_role(session_user, 'pg_read_all_stats', 'USAGE') AS sees_all,
 current_setting('max_connections')::int AS max_connections,
 current_setting('superuser_reserved_connections')::int
  + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved,
 current_setting('track_counts')::bool AS track_counts, current_setting('autovacuum')::bool AS autovacuum,
 current_setting('autovacuum_vacuum_threshold')::float8 AS vacuum_threshold,
 current_setting('autovacuum_vacuum_scale_factor')::float8 AS vacuum_scale,
 current_setting('autovacuum_max_workers')::int AS max_workers,
 current_setting('autovacuum_freeze_max_age')::int8 AS freeze_max_age,
 current_setting('block_size')::int AS block_size,
 (SELECT count(*) FROM pg_stat_replication) AS replicas
"""

DATABASE = """
SELECT blks_hit, blks_read, deadlocks, temp_bytes, extract(epoch FROM stats_reset)::float8 AS reset,
 pg_database_size(current_database()) AS bytes
FROM pg_stat_database WHERE datname = current_database()
"""

# "started" is the second at which the session began, for its identity; the text keeps the microseconds, by which it is
# matched.
_ACTIVITY = """
SELECT pid, datname::text, usename::text, application_name, host(client_addr) AS client, backend_type, state,
 wait_event_type, wait_event, left(query, 2000) AS query,
 floor(extract(epoch FROM backend_start))::int8 AS started, backend_start::text AS backend_start,
 xact_start::text AS xact_start, query_start::text AS query_start,
 extract(epoch FROM clock_timestamp() - CASE WHEN state = 'active' THEN query_start ELSE state_change END)::float8 AS seconds,
 extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction,
 extract(epoch FROM clock_timestamp() - CASE WHEN wait_event_type = 'Lock' THEN coalesce(
  {waits}, query_start) END)::float8 AS waits,
 CASE WHEN wait_event_type = 'Lock' THEN pg_blocking_pids(pid) END AS blocked_by,
 age(backend_xmin) AS xmin_age, pid = pg_backend_pid() AS mine
FROM pg_stat_activity a
"""


def activity(version: int) -> str:
    """Since when somebody waits for a lock is known from version 14 on; before, since when the statement runs."""
    waits = "(SELECT min(l.waitstart) FROM pg_locks l WHERE l.pid = a.pid AND NOT l.granted)"
    return _ACTIVITY.replace("{waits}", waits if version >= 140000 else "query_start")


HOLDERS = """
SELECT 'replication slot ' || slot_name AS holder, greatest(age(xmin), age(catalog_xmin)) AS age FROM pg_replication_slots
UNION ALL
SELECT 'prepared transaction ' || gid, age(transaction) FROM pg_prepared_xacts
"""

TABLES = f"""
SELECT c.oid::int8 AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
 c.reltuples::float8 AS rows, c.relpages::int8 AS pages, c.reltoastrelid::int8 AS toast,
 age(c.relfrozenxid) AS xid_age, mxid_age(c.relminmxid) AS mxid_age, c.reloptions AS options, c.relispartition AS partition,
 pg_stat_get_live_tuples(c.oid) AS live, pg_stat_get_dead_tuples(c.oid) AS dead,
 pg_stat_get_numscans(c.oid) AS seq_scans, pg_stat_get_tuples_returned(c.oid) AS seq_rows,
 extract(epoch FROM greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid)))::float8 AS vacuumed,
 extract(epoch FROM greatest(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid)))::float8 AS analyzed
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS} AND c.relkind IN ('r', 'm', 'p')
"""  # noqa: S608

INDEXES = f"""
SELECT i.indexrelid::int8 AS oid, i.indrelid::int8 AS "table", n.nspname::text AS schema, ic.relname::text AS name,
 am.amname::text AS method, i.indisunique AS "unique", i.indisprimary AS "primary", i.indisvalid AND i.indisready AS valid,
 i.indisreplident AS identity, i.indnkeyatts AS key_columns, i.indkey::text AS columns, i.indclass::text AS classes,
 i.indcollation::text AS collations, i.indoption::text AS orders, pg_get_expr(i.indexprs, i.indrelid) AS expressions,
 pg_get_expr(i.indpred, i.indrelid) AS predicate, ic.relispartition AS partition, ic.relpages::int8 AS pages,
 pg_stat_get_numscans(i.indexrelid) AS scans, con.conname::text AS "constraint",
 EXISTS (SELECT FROM pg_locks l WHERE l.relation = i.indrelid AND l.mode = 'ShareUpdateExclusiveLock'
  AND NOT i.indisvalid) AS building
FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_namespace n ON n.oid = ic.relnamespace
 JOIN pg_am am ON am.oid = ic.relam
 LEFT JOIN pg_constraint con ON con.conindid = i.indexrelid AND con.contype IN ('p', 'u', 'x')
WHERE {_OURS} AND ic.relkind = 'i'
"""  # noqa: S608

INDEX_DEFINITIONS = "SELECT o::int8 AS oid, pg_get_indexdef(o) AS definition FROM unnest(%s::oid[]) o"

FOREIGN_KEYS = f"""
SELECT con.conrelid::int8 AS "table", con.conname::text AS name, con.conkey AS columns, con.confrelid::int8 AS target,
 (SELECT array_agg(a.attname::text ORDER BY k.ord) FROM unnest(con.conkey) WITH ORDINALITY k (num, ord)
  JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.num) AS names
FROM pg_constraint con JOIN pg_class c ON c.oid = con.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {_OURS} AND con.contype = 'f' AND con.conparentid = 0
"""  # noqa: S608

FREEZE = """
SELECT datname::text AS database, age(datfrozenxid) AS xid_age, mxid_age(datminmxid) AS mxid_age FROM pg_database
WHERE datallowconn ORDER BY 2 DESC
"""

SEQUENCES = f"""
SELECT n.nspname::text AS schema, c.relname::text AS name, s.seqmin AS least, s.seqmax AS most, s.seqincrement AS step,
 s.seqcycle AS cycles, a.atttypid::regtype::text AS column_type,
 CASE WHEN o.oid IS NOT NULL THEN format('%I.%I', o.relname, a.attname) END AS owner,
 CASE WHEN has_sequence_privilege(c.oid, 'SELECT, USAGE') THEN pg_sequence_last_value(c.oid) END AS last,
 has_sequence_privilege(c.oid, 'SELECT, USAGE') AS readable
FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
  AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
 LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 LEFT JOIN pg_class o ON o.oid = d.refobjid
WHERE {_OURS}
"""  # noqa: S608

# pg_stats shows only what the account may read; of the largest tables, since it is slow.
BLOAT_COLUMNS = """
SELECT schemaname::text AS schema, tablename::text AS name, sum((1 - null_frac) * avg_width)::float8 AS width,
 max(null_frac)::float8 AS nulls, count(*) AS columns
FROM pg_stats WHERE (schemaname, tablename) IN (SELECT * FROM unnest(%s::name[], %s::name[])) AND NOT inherited
GROUP BY 1, 2
"""

STATEMENT_NAMES = """
SELECT n.nspname::text AS schema, x.extversion AS version FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace
WHERE x.extname = 'pg_stat_statements'
"""

STATEMENT_COLUMNS = """
SELECT array_agg(attname::text) AS columns FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
"""

# What older versions call otherwise, the newest name first.
_STATEMENT_COLUMNS = {
    "total_ms": ("total_exec_time", "total_time"),
    "mean_ms": ("mean_exec_time", "mean_time"),
    "worst_ms": ("max_exec_time", "max_time"),
    "read_ms": ("shared_blk_read_time", "blk_read_time"),
    "plan_ms": ("total_plan_time",),
}


def statements(schema: str, columns: list[str]) -> str:
    """The statements of a database. Which columns there are depends on the version that the extension was last updated to."""
    chosen = [
        f"s.{found} AS {name}"
        for name, names in _STATEMENT_COLUMNS.items()
        for found in [next((word for word in names if word in columns), None)]
        if found
    ]
    top = " AND s.toplevel" if "toplevel" in columns else ""
    return (
        f"SELECT s.queryid::text AS id, pg_get_userbyid(s.userid)::text AS usename, left(s.query, 4000) AS query, s.calls, s.rows,"  # noqa: S608
        f" s.shared_blks_hit AS hits, s.shared_blks_read AS reads, s.temp_blks_written AS temp, {', '.join(chosen)}"
        f' FROM "{schema}".pg_stat_statements s WHERE s.dbid = %s::oid{top}'
    )


def sizes(*, exact: bool) -> str:
    """Bytes of tables, of their TOAST, and of indexes.

    Each one that is measured has to be opened, and waits where somebody rebuilds it. So in the exact form those are, that
    are large or have changed since they were counted; the other form opens none.
    """
    counted = "c.relpages::int8 * current_setting('block_size')::int"
    changed = "coalesce(i.indrelid, c.oid)"
    measured = (
        f"CASE WHEN c.relpages >= 8 OR pg_stat_get_mod_since_analyze({changed}) > 0"
        f" OR (c.relpages = 0 AND pg_stat_get_live_tuples({changed}) > 0) THEN pg_relation_size(c.oid) ELSE {counted} END"
    )
    return (
        f"SELECT c.oid::int8 AS oid, {measured if exact else counted} AS bytes"  # noqa: S608
        " FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'm', 'i', 't') AND c.oid >= 16384 AND NOT (c.relkind = 'i' AND n.nspname = 'pg_toast')"
    )
