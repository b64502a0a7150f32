"""What a backup asks the server: state, rights, lock, snapshot, counts (client: psycopg 3)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import ConnectionLost, FloyoError, Refused, TimedOut, Unusable
from ..postgres.driver import driver
from ..postgres.lock import application_name, describe_holder, holder_sql, lock_key, others_sql, try_lock_sql
from ..postgres.url import DatabaseUrl, scrub
from ..text import shorten
from .schema import OBJECTS_SQL, USER_SCHEMAS, fingerprint, not_of_extension

__all__ = ["Counts", "Server", "Table", "quoted_table"]

# What the server may be set to; a long dump or a long wait is none of it. Names that it does not know are passed over.
_SETTINGS = {
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    "row_security": "off",
    "search_path": "pg_catalog",
    "standard_conforming_strings": "on",
    "default_transaction_deferrable": "off",
    # How values look as text, of which the hashes of tables are made.
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
}
_EARLIER_RUN_GRACE = 5.0
_LISTED = 10


@dataclass(frozen=True)
class Table:
    oid: int
    schema: str
    name: str
    partitioned: bool

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Counts:
    """Rows and hash of each table."""

    rows: dict[str, int]
    hashes: dict[str, str]


class Server:
    """One connection. It holds the lock and the snapshot; both end with it, whatever ends us."""

    def __init__(self, url: DatabaseUrl, what: str = "backup") -> None:
        """``what`` we do is in our connection's name."""
        self._url = url
        self._psycopg = driver()
        with self._explained("connect"):
            self._connection = self._psycopg.connect(
                **{
                    "connect_timeout": "10",
                    "keepalives_idle": "30",
                    **url.conninfo(),
                    "application_name": application_name(what),
                },
                autocommit=True,
            )
        self.reset()

    def reset(self) -> None:
        """The settings that our statements count on."""
        names = ", ".join("(%s, %s)" for _ in _SETTINGS)
        self._rows(
            "SELECT set_config(s.name, v.value, false) FROM pg_catalog.pg_settings s"
            f" JOIN (VALUES {names}) v (name, value) ON v.name = s.name",
            [word for pair in _SETTINGS.items() for word in pair],
        )

    def close(self) -> None:
        self._connection.close()

    def cancel(self) -> None:
        """End the statement that another thread waits for."""
        self._connection.cancel()

    def _rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._explained("ask the server"):
            cursor = self._connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def execute(self, statement: str) -> None:
        self._rows(statement)

    def limit(self, *, lock_timeout: float, deadline: float) -> None:
        """From now on no statement waits longer for a table, and none runs past the deadline."""
        left = max(1, int((deadline - time.monotonic()) * 1000))
        settings = {"lock_timeout": max(1, int(lock_timeout * 1000)), "statement_timeout": left}
        for name, value in settings.items():
            self._rows("SELECT set_config(%s, %s, false)", [name, f"{value}ms"])

    # --- what it is ---------------------------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """Version, identity, clock. ``host`` and ``port`` are where we are connected: the programs must go there too."""
        row = self._rows(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int, current_database(),"
            " session_user::text, pg_is_in_recovery(), extract(epoch FROM clock_timestamp())::float8,"
            " (SELECT system_identifier::text FROM pg_control_system()), pg_encoding_to_char(encoding), datcollate,"
            " pg_backend_pid() FROM pg_database WHERE datname = current_database()"
        )[0]
        names = (
            "version",
            "version_num",
            "database",
            "user",
            "in_recovery",
            "clock",
            "system_identifier",
            "encoding",
            "collate",
        )
        info = self._connection.info
        return {
            **dict(zip(names, row)),
            # A pooler makes up a number for the connection, for the server's own may change under it.
            "pooled": row[9] != info.backend_pid,
            "host": info.host,
            "port": info.port,
        }

    def unreadable(self) -> list[str]:
        """What a dump by this account would fail on or, worse, leave out."""
        relations = self._rows(
            "SELECT format('%I.%I', n.nspname, c.relname), CASE"
            " WHEN NOT has_schema_privilege(n.oid, 'USAGE') THEN 'no USAGE on its schema'"
            " WHEN row_security_active(c.oid) THEN 'row security hides rows'"
            " ELSE 'no SELECT' END"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            f" WHERE {USER_SCHEMAS} AND c.relkind IN ('r', 'p', 'S') AND ({not_of_extension('pg_class', 'c.oid')}"
            # Some extensions want rows of their tables dumped, and pg_dump reads those too.
            " OR EXISTS (SELECT FROM pg_extension x WHERE c.oid = ANY (x.extconfig)))"
            " AND (NOT has_schema_privilege(n.oid, 'USAGE') OR NOT has_table_privilege(c.oid, 'SELECT')"
            " OR row_security_active(c.oid)) ORDER BY 1"
        )
        objects = self._rows(
            "SELECT count(*) FROM pg_largeobject_metadata m WHERE NOT pg_has_role(m.lomowner, 'USAGE')"
            " AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
            " AND NOT EXISTS (SELECT FROM aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT'"
            " AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))"
        )[0][0]
        return [f"{name} ({why})" for name, why in relations] + (
            [f"{objects} large objects (no SELECT)"] if objects else []
        )

    # --- the lock -----------------------------------------------------------------------------------------------------

    def take_lock(self, database: str, deadline: float) -> None:
        """The lock that migrations and backups of all hosts share, by the deadline; or the name of who has it."""
        self._take(lock_key(database), f"another run works on database {database}", deadline)
        # The lock of a killed run is free at once; its pg_dump may still hold tables.
        until = max(deadline, time.monotonic() + _EARLIER_RUN_GRACE)
        while True:
            left = [describe_holder(row) for row in self._rows(others_sql("dump"))]
            if not left:
                return
            if time.monotonic() >= until:
                raise Refused(
                    f"the dump of an earlier run is still at work: {left[0]['text']}",
                    code="EARLIER_RUN_ACTIVE",
                    expected="no other dump of this database by us",
                    next_step=f"wait for it, or end it: SELECT pg_terminate_backend({left[0]['pid']})",
                    holders=left,
                )
            time.sleep(0.5)

    def _take(self, key: int, what: str, deadline: float) -> None:
        pause = 0.1
        while not self._rows(try_lock_sql(key))[0][0]:
            if time.monotonic() >= deadline:
                holders = [describe_holder(row) for row in self._rows(holder_sql(key))]
                raise Refused(
                    f"{what}: " + (", ".join(holder["text"] for holder in holders) or "it has just ended"),
                    code="LOCK_HELD",
                    expected="the lock within lock_wait",
                    next_step="wait for it, then run the same command again",
                    holders=holders,
                )
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(pause * 1.5, 2.0)

    # --- one moment of the database -----------------------------------------------------------------------------------

    @contextmanager
    def snapshot(self) -> Iterator[str]:
        """A transaction that sees one moment. Yields the name by which pg_dump sees the same."""
        self._rows("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield self._rows("SELECT pg_export_snapshot()")[0][0]
        finally:
            if not self._connection.closed:
                self._rows("ROLLBACK")

    def tables(self) -> list[Table]:
        """The application's tables whose rows a dump holds, and partitioned ones above them."""
        rows = self._rows(
            "SELECT c.oid::int8, n.nspname, c.relname, c.relkind = 'p' FROM pg_class c"
            f" JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {USER_SCHEMAS} AND c.relkind IN ('r', 'p')"
            f" AND {not_of_extension('pg_class', 'c.oid')} ORDER BY 2, 3"
        )
        return [Table(*row) for row in rows]

    def hold(self, tables: Sequence[Table]) -> None:
        """Keep them from being rewritten until the snapshot ends: TRUNCATE and ALTER ignore snapshots.

        pg_dump takes the same locks. Ours stay until the rows are counted.
        """
        names = ", ".join(quoted_table(table) for table in tables)
        if not names:
            return
        try:
            self._rows(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
        except FloyoError as error:
            if error.details.get("sqlstate") != "55P03":
                raise
            self._rows("ROLLBACK")
            raise self.locked(tables) from error

    def locked(self, tables: Sequence[Table]) -> Refused:
        """The error that says who keeps a table to himself, or waits to."""
        blockers = self._blockers([table.oid for table in tables])
        return Refused(
            "a table is locked: " + ("; ".join(blockers) or "whoever held it has just let go"),
            code="TABLE_LOCKED",
            expected="every table readable within lock_timeout",
            next_step="end that transaction or wait for it, then run the same command again",
            blockers=blockers,
        )

    def _blockers(self, oids: Sequence[int]) -> list[str]:
        rows = self._rows(
            "SELECT DISTINCT l.relation::regclass::text, a.pid, coalesce(nullif(a.application_name, ''), 'unnamed'), a.usename,"
            " coalesce(a.state, 'unknown'), round(extract(epoch FROM clock_timestamp() - a.xact_start))::int"
            " FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
            " WHERE l.mode = 'AccessExclusiveLock' AND l.relation = ANY (%s::oid[])"
            " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1, 2",
            [list(oids)],
        )
        return [
            f"{table} by pid {pid} ({name}, user {user}, {state}, in a transaction for {seconds or 0} s)"
            for table, pid, name, user, state, seconds in rows[:_LISTED]
        ]

    def describe(self, tables: Sequence[Table], version_table: str) -> dict[str, Any]:
        """What the manifest says of the database, but for the counts."""
        leaves = [table.oid for table in tables if not table.partitioned]
        sizes = self._rows(
            "SELECT coalesce(sum(pg_table_size(o)), 0)::int8, pg_database_size(current_database()),"
            " (SELECT count(*) FROM pg_largeobject_metadata),"
            " CASE WHEN EXISTS (SELECT FROM pg_largeobject_metadata) THEN pg_table_size('pg_largeobject') ELSE 0 END"
            " FROM unnest(%s::oid[]) o",
            [leaves],
        )[0]
        return {
            "table_bytes": int(sizes[0] + sizes[3]),
            "database_bytes": sizes[1],
            "large_objects": sizes[2],
            "alembic": self._heads(tables, version_table),
            "schema": fingerprint(self._rows(OBJECTS_SQL)),
            "sequences": self._sequences(),
            "extensions": dict(self._rows("SELECT extname, extversion FROM pg_extension ORDER BY 1")),
            "extension_schemas": dict(
                self._rows("SELECT extname, nspname FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace")
            ),
            # Owners, holders of rights, subjects of policies.
            "roles": [
                row[0]
                for row in self._rows(
                    "SELECT DISTINCT r.rolname FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid"
                    " WHERE s.refclassid = 'pg_authid'::regclass"
                    " AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
                    " UNION SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database() ORDER BY 1"
                )
            ],
        }

    def _sequences(self) -> dict[str, list[Any]]:
        """How far each has come, and its step. No snapshot holds them: a dump has this or what came after."""
        rows = self._rows(
            "SELECT n.nspname || '.' || c.relname, pg_sequence_last_value(c.oid), s.seqincrement FROM pg_sequence s"
            " JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
            f" WHERE {USER_SCHEMAS} AND NOT s.seqcycle AND {not_of_extension('pg_class', 'c.oid')}"
        )
        return {name: [last, step] for name, last, step in rows}

    def _heads(self, tables: Sequence[Table], version_table: str) -> dict[str, Any]:
        schema, _, name = version_table.rpartition(".")
        found = [table for table in tables if table.name == name and schema in ("", table.schema)]
        found = [table for table in found if table.schema == "public"] or found
        if len(found) > 1:
            raise Unusable(
                f"{name} is in several schemas: {', '.join(table.schema for table in found)}",
                code="VERSION_TABLE_AMBIGUOUS",
                expected="one version table",
                next_step="set version_table to schema.table",
            )
        if not found:
            return {"heads": [], "version_table": ""}
        rows = self._rows(f"SELECT version_num FROM {quoted_table(found[0])} ORDER BY 1")
        return {"heads": [row[0] for row in rows], "version_table": str(found[0])}

    def about_rows(self) -> int:
        """How many rows the tables hold, as the statistics say: no table is read."""
        return int(self._rows("SELECT coalesce(sum(n_live_tup), 0)::int8 FROM pg_stat_user_tables")[0][0])

    def counts(self, tables: Sequence[Table]) -> Counts:
        """Of each table its rows, exactly, and a sum of their hashes, which no order changes. In the snapshot."""
        rows, hashes = {}, {}
        for table in tables:
            if not table.partitioned:
                (found,) = self._rows(
                    "SELECT count(*), coalesce(sum(hashtextextended((t.*)::text, 0)), 0)::text"
                    f" FROM ONLY {quoted_table(table)} t"
                )
                rows[str(table)], hashes[str(table)] = found
        return Counts(rows, hashes)

    def admit(self, role: str) -> None:
        """Rights for an application that reads and writes rows and no more, as role floyo_postgres gives them."""
        whom, owner = _name(role), _name(self._rows("SELECT current_user::text")[0][0])
        schemas = [row[0] for row in self._rows(f"SELECT nspname FROM pg_namespace n WHERE {USER_SCHEMAS} ORDER BY 1")]
        rights = (("TABLES", "SELECT, INSERT, UPDATE, DELETE"), ("SEQUENCES", "USAGE, SELECT, UPDATE"))
        for schema in map(_name, schemas):
            self._rows(f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC")
            self._rows(f"GRANT USAGE ON SCHEMA {schema} TO {whom}")
            for kind, words in rights:
                self._rows(f"GRANT {words} ON ALL {kind} IN SCHEMA {schema} TO {whom}")
                self._rows(
                    f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT {words} ON {kind} TO {whom}"
                )

    def owner_of_public(self) -> str:
        """Empty when there is no such schema."""
        rows = self._rows("SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = 'public'")
        return str(rows[0][0]) if rows else ""

    def become(self, role: str) -> None:
        """Work as another role, until the connection ends."""
        self._rows(f"SET ROLE {_name(role)}")

    def status_of(self, transaction: int) -> str:
        """``in progress``, ``committed`` or ``aborted``."""
        return str(self._rows("SELECT txid_status(%s)", [transaction])[0][0])

    def analyze(self) -> None:
        """Statistics do not come with a restore; without them the first queries are slow."""
        self._rows("ANALYZE")

    # --- errors -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """psycopg's errors as ours. ``sqlstate`` is among the details."""
        try:
            yield
        except self._psycopg.Error as error:
            raise self._explanation(what, error) from error

    def _explanation(self, what: str, error: Any) -> FloyoError:
        said = scrub(shorten(getattr(error.diag, "message_primary", None) or error, 400), self._url.password)
        state = error.sqlstate or ""
        facts: Mapping[str, Any] = {"sqlstate": state}
        if what == "connect":
            login = "authentication failed" in said or "no password supplied" in said or "pg_hba.conf" in said
            return ConnectionLost(
                f"{self._url} cannot be used: {said}",
                code="DATABASE_LOGIN" if login else "DATABASE_UNREACHABLE",
                expected="a login with the owner's account" if login else "a server that answers",
                next_step="compare user and password of database_url with the server's role and pg_hba.conf"
                if login
                else "systemctl status postgresql on the database host; is max_connections reached?",
                **facts,
            )
        if state == "57014":
            return TimedOut(
                "a statement was cancelled: " + said,
                code="BACKUP_TIMEOUT",
                expected="the whole run within timeout",
                next_step="look for load on the database, or run again with a longer timeout",
                **facts,
            )
        if state == "53100":
            return Refused(
                f"the server's disk is full: {said}",
                code="DISK_FULL",
                expected="room for the server's data",
                next_step="give its data directory more room, or drop databases kept by earlier restores (state pruned)",
                **facts,
            )
        if self._lost(error):
            return ConnectionLost(
                f"the connection to {self._url} was lost: {said}",
                code="DATABASE_LOST",
                expected="a server that stays up during the backup",
                next_step="read the server's log, then run the same command again",
                **facts,
            )
        hint = scrub(shorten(error.diag.message_hint or ""), self._url.password)
        return FloyoError(f"the server refuses to answer: {said}", code="DATABASE_FAILED", next_step=hint, **facts)

    def _lost(self, error: Any) -> bool:
        return isinstance(error, self._psycopg.OperationalError) and bool(self._connection.closed)


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def quoted_table(table: Table) -> str:
    return f"{_name(table.schema)}.{_name(table.name)}"
