"""Runs inside the Python of a release's own virtual environment and works alembic for the module on the other end.

It is sent as text to that Python's standard input, so it imports nothing of this package. One JSON request a line comes in and
one JSON answer a line goes out on a socket that nobody else has (its number is the first argument): what the application
prints, logs or reads can not get in between. Lines with ``progress`` come before the answer to a step. It ends when the socket's
other end is gone, after the revision it is working on.
"""

from __future__ import annotations

import io
import json
import os
import socket
import sys
import threading
import time
import traceback
from typing import Any, Callable, Optional

__all__ = ["main"]

_POLL = 0.1
_TELL = 1.0
_TEXT_LIMIT = 4000
_FOREIGN_SCHEMAS = "n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"


class Failure(Exception):
    """An answer that is no success: a kind, a message, and facts."""

    def __init__(self, kind: str, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.answer = {"kind": kind, "message": message, **facts}


# --- our own connection ----------------------------------------------------------------------------------------------


class Side:
    """A connection of our own in autocommit, by the application's driver: reads state, holds the lock, watches the steps.

    Drivers that only speak asyncio get an event loop in a thread.
    """

    def __init__(self, url: str, name: str) -> None:
        import sqlalchemy
        from sqlalchemy.engine import make_url
        from sqlalchemy.pool import NullPool

        self._text = sqlalchemy.text
        self.lost = ""
        parsed = make_url(url)
        driver = parsed.get_driver_name()
        options: dict[str, Any] = {"timeout": 10} if driver in ("asyncpg", "pg8000") else {"connect_timeout": 10}
        if getattr(parsed.get_dialect(), "is_async", False) and driver != "psycopg":
            import asyncio

            from sqlalchemy.ext.asyncio import create_async_engine

            self._loop: Any = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, daemon=True).start()
            engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=options)
            self._connection = self._wait(engine.connect().start())
        else:
            self._loop = None
            plain = sqlalchemy.create_engine(
                url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=options
            )
            self._connection = plain.connect()
        self.query("SELECT set_config('application_name', :name, false)", name=name)
        self.pid = self.query("SELECT pg_backend_pid()")[0][0]
        told = self._told_pid()
        if told not in (None, self.pid):
            # A pooler makes up a number for the connection, for the server's own may change under it.
            raise Failure("pooler", "a connection pooler is between: locks and settings belong to one connection")

    def _told_pid(self) -> Optional[int]:
        """The process that the server named when it let us in; None where the driver does not tell."""
        if self._loop is None:
            raw = self._connection.connection.driver_connection
        else:
            raw = self._wait(self._connection.get_raw_connection()).driver_connection
        if hasattr(raw, "get_server_pid"):  # asyncpg
            return int(raw.get_server_pid())
        return getattr(getattr(raw, "info", None), "backend_pid", None)

    def _wait(self, work: Any) -> Any:
        import asyncio

        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def query(self, sql: str, **values: Any) -> list[list[Any]]:
        try:
            return self._query(sql, **values)
        except Exception as error:
            if getattr(error, "connection_invalidated", False):
                self.lost = self.lost or str(getattr(error, "orig", error)).strip()
            if self.lost:  # whatever is said of the connection from then on
                raise Failure("lost", self.lost) from error
            raise

    def _query(self, sql: str, **values: Any) -> list[list[Any]]:
        work = self._connection.execute(self._text(sql), values)
        result = work if self._loop is None else self._wait(work)
        return [list(row) for row in result.fetchall()] if result.returns_rows else []

    def close(self) -> None:
        if self._loop is None:
            self._connection.close()
        else:
            self._wait(self._connection.close())


# --- errors as facts -------------------------------------------------------------------------------------------------


def describe(error: BaseException, versions: list[str]) -> dict[str, Any]:
    """An exception as JSON: what the database said when it was the database, where in the revision when it was not."""
    facts: dict[str, Any] = {"type": type(error).__name__, "message": str(error).strip()[:_TEXT_LIMIT]}
    original = getattr(error, "orig", None)
    if original is not None:
        facts["statement"] = (getattr(error, "statement", None) or "")[:_TEXT_LIMIT]
        cause = original
        while getattr(cause, "sqlstate", None) is None and cause.__cause__ is not None:
            cause = cause.__cause__  # asyncpg's error is behind SQLAlchemy's imitation of a DBAPI
        facts["sqlstate"] = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
        diagnostics = getattr(cause, "diag", None)
        facts["message"] = (getattr(diagnostics, "message_primary", None) or str(cause)).strip()[:_TEXT_LIMIT]
        facts["detail"] = getattr(diagnostics, "message_detail", None) or getattr(cause, "detail", None) or ""
        facts["hint"] = getattr(diagnostics, "message_hint", None) or getattr(cause, "hint", None) or ""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if any(os.path.abspath(frame.filename).startswith(place + os.sep) for place in versions):
            facts.update(file=frame.filename, line=frame.lineno)
            break
    if isinstance(error, SyntaxError) and "file" not in facts:
        facts.update(file=error.filename or "", line=error.lineno or 0)
    return facts


def guarded(kind: str, work: Callable[[], Any], versions: list[str]) -> Any:
    """Run the application's code; whatever it raises, exits included, becomes a Failure of ``kind``."""
    try:
        return work()
    except Failure:
        raise
    except BaseException as error:
        raise Failure(kind, **describe(error, versions)) from error


# --- one step --------------------------------------------------------------------------------------------------------


class Observer:
    """What a step does to the tables that were there before it: locks and since when, rows, new files."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.before = self._tables()
        self.seen: dict[tuple[int, str], float] = {}
        self.rows: dict[str, list[int]] = {}

    def _tables(self) -> dict[int, list[Any]]:
        rows = self.side.query(
            "SELECT c.oid::int8, n.nspname || '.' || c.relname, c.relfilenode::int8 FROM pg_class c"
            f" JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm') AND {_FOREIGN_SCHEMAS}"
        )
        return {row[0]: row[1:] for row in rows}

    @staticmethod
    def _locks(pid: str) -> str:
        return (
            f"SELECT relation::int8, mode FROM pg_locks WHERE pid = {pid} AND granted AND locktype = 'relation'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )

    def _note(self, rows: Any) -> None:
        for oid, mode in rows:
            if oid in self.before and mode != "AccessShareLock":
                self.seen.setdefault((oid, mode), time.monotonic())

    def look(self, pid: int) -> None:
        """From outside, again and again."""
        self._note(self.side.query(self._locks(str(pid))))

    def look_inside(self, connection: Any) -> None:
        """At the end of its transaction, which still has all its locks and knows the rows it has changed."""
        from sqlalchemy import text

        self._note(connection.execute(text(self._locks("pg_backend_pid()"))).fetchall())
        changed = connection.execute(
            text("SELECT schemaname || '.' || relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_xact_user_tables")
        ).fetchall()
        self.rows = {table: [int(count) for count in counts] for table, *counts in changed if any(counts)}

    def result(self) -> dict[str, Any]:
        """After the step."""
        end, after = time.monotonic(), self._tables()
        return {
            "locks": [
                {"table": self.before[oid][0], "mode": mode, "seconds": round(end - since, 3)}
                for (oid, mode), since in self.seen.items()
            ],
            "rows": self.rows,
            "rewritten": [row[0] for oid, row in self.before.items() if oid in after and after[oid][1] != row[1]],
        }


# What commands tell of themselves, by the server's version: what, table, phase, done, of how much, of what.
# A name is not looked up by to_regclass: that would want a lock.
_REPORTS = (
    (
        120000,
        "SELECT p.pid, p.command, c.relname, p.phase, CASE WHEN p.tuples_total > 0 THEN p.tuples_done ELSE p.blocks_done END,"
        " CASE WHEN p.tuples_total > 0 THEN p.tuples_total ELSE p.blocks_total END,"
        " CASE WHEN p.tuples_total > 0 THEN 'entries' ELSE 'blocks' END"
        " FROM pg_stat_progress_create_index p LEFT JOIN pg_class c ON c.oid = p.relid",
    ),
    (
        120000,
        "SELECT p.pid, p.command, c.relname, p.phase, p.heap_blks_scanned, p.heap_blks_total, 'blocks'"
        " FROM pg_stat_progress_cluster p LEFT JOIN pg_class c ON c.oid = p.relid",
    ),
    (
        90600,
        "SELECT p.pid, 'VACUUM', c.relname, p.phase, p.heap_blks_scanned, p.heap_blks_total, 'blocks'"
        " FROM pg_stat_progress_vacuum p LEFT JOIN pg_class c ON c.oid = p.relid",
    ),
    (
        140000,
        "SELECT p.pid, p.command, c.relname, '', p.bytes_processed, p.bytes_total, 'bytes'"
        " FROM pg_stat_progress_copy p LEFT JOIN pg_class c ON c.oid = p.relid",
    ),
)


class Meter:
    """What of a step can be seen from outside while it runs. Nothing of it waits for a table."""

    def __init__(self, side: Side, server_version: int) -> None:
        self.side = side
        parts = [sql for version, sql in _REPORTS if server_version >= version]
        self._reports = (
            "SELECT command, relname, phase, done, total, unit FROM (" + " UNION ALL ".join(parts) + ")"
            " r (pid, command, relname, phase, done, total, unit) WHERE pid = {}"
        )
        self.started = time.monotonic()
        self._wal = self.wal()
        self._before = self._counts()
        self._tables: set[int] = set()
        self._doing: tuple[Any, float] = (None, 0.0)

    def wal(self) -> int:
        """Bytes of WAL that the server has written since it was made."""
        return int(self.side.query("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8")[0][0])

    def written(self) -> int:
        return self.wal() - self._wal

    def _counts(self, some: str = "") -> dict[int, list[Any]]:
        rows = self.side.query(
            "SELECT c.oid::int8, n.nspname || '.' || c.relname, pg_stat_get_tuples_inserted(c.oid)"
            " + pg_stat_get_tuples_updated(c.oid) + pg_stat_get_tuples_deleted(c.oid),"
            " greatest(c.reltuples::int8, pg_stat_get_live_tuples(c.oid)) FROM pg_class c"
            f" JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND {_FOREIGN_SCHEMAS}{some}"
        )
        return {row[0]: row[1:] for row in rows}

    def note(self, pid: int) -> None:
        """Again and again: which tables the step has its hands on. A batch is short."""
        held = self.side.query(Observer._locks(str(pid)) + " AND mode = 'RowExclusiveLock'")
        self._tables |= {row[0] for row in held if row[0] in self._before}

    def look(self, pid: int) -> dict[str, Any]:
        """Rows count where the step has, or had, its hands on the table, and only those of transactions that have ended."""
        names = ", ".join(map(str, sorted(self._tables)))
        counts = self._counts(f" AND c.oid IN ({names})") if names else {}
        return {
            "seconds": round(time.monotonic() - self.started, 1),
            "doing": self._report(pid),
            "rows": {row[0]: max(0, row[1] - self._before[oid][1]) for oid, row in counts.items()},
            "live_rows": {row[0]: row[2] for row in counts.values()},
            "wal": self.written(),
        }

    def _report(self, pid: int) -> Optional[dict[str, Any]]:
        rows = self.side.query(self._reports.format(pid))
        if not rows:
            return None
        what, table, phase, done, total, unit = rows[0]
        if self._doing[0] != (what, table, phase):
            self._doing = ((what, table, phase), time.monotonic())
        seconds = round(time.monotonic() - self._doing[1], 1)
        report = {"what": what, "table": table or "", "phase": phase, "done": done, "total": total, "unit": unit}
        return {**report, "seconds": seconds}


def _metered(side: Side, server_version: int) -> Optional[Meter]:
    """None where the server does not tell: that is no reason not to migrate."""
    try:
        return Meter(side, server_version)
    except Failure:
        raise
    except Exception:  # noqa: BLE001 (any driver's error)
        return None


class Watch(threading.Thread):
    """While a step runs: who blocks it, how far it is, and the end of its time."""

    def __init__(
        self,
        side: Side,
        seconds: float,
        observer: Optional[Observer] = None,
        tell: Optional[Callable[[dict[str, Any]], None]] = None,
        meter: Optional[Meter] = None,
    ) -> None:
        super().__init__(daemon=True)
        self.side = side
        self.observer = observer
        self.tell, self.meter = tell, meter
        self._told = time.monotonic()
        self.until = time.monotonic() + seconds
        self.pid: Optional[int] = None
        self.blockers: list[list[Any]] = []
        self.timed_out = False
        self.broken = ""
        self._stop_event = threading.Event()

    def run(self) -> None:
        while not self._stop_event.wait(_POLL if self.observer is None else _POLL / 5):
            if self.pid is None:
                continue
            try:
                self.look(self.pid)
            except Exception as error:  # noqa: BLE001 (any driver's error; the step goes on and reports it)
                self.broken = str(error)
                return

    def look(self, pid: int) -> None:
        if self.observer is not None:
            self.observer.look(pid)
        # A prepared transaction has no session: its pid is 0.
        blockers = self.side.query(
            "SELECT b.pid, a.application_name, a.usename, coalesce(a.state, ''),"
            " round(extract(epoch FROM now() - a.xact_start))::int, left(a.query, 300)"
            f" FROM unnest(pg_blocking_pids({pid})) b (pid) LEFT JOIN pg_stat_activity a USING (pid) ORDER BY a.xact_start"
        )
        self.blockers = blockers or self.blockers
        self._measure(pid, blockers)
        if time.monotonic() > self.until and not self.timed_out:
            self.timed_out = True
            self.side.query(f"SELECT pg_cancel_backend({pid})")

    def _measure(self, pid: int, blockers: list[list[Any]]) -> None:
        """Tell how far it is, now and then. Whoever can not be told that is still to be watched."""
        if self.meter is None or self.tell is None:
            return
        try:
            self.meter.note(pid)
            if time.monotonic() < self._told + _TELL:
                return
            facts = self.meter.look(pid)
        except Failure:
            raise  # the connection is gone
        except Exception:  # noqa: BLE001 (any driver's error)
            self.meter = None
            return
        self._told = time.monotonic()
        self.tell({**facts, "blockers": blockers})

    def end(self) -> None:
        self._stop_event.set()
        if self.is_alive():
            self.join()


class Work:
    """The requests. Each method takes the request and returns the answer's facts."""

    def __init__(self) -> None:
        self.url = ""
        self.side: Optional[Side] = None
        self.name = "floyo:migrate"
        self.table = "alembic_version"
        self.schema = ""
        self.config_files: dict[str, str] = {}
        self.versions: list[str] = []
        self.tell: Callable[[dict[str, Any]], None] = lambda facts: None
        self._scripts: Any = None
        self._config: Any = None

    # the application's alembic

    def _load(self) -> None:
        if self._scripts is not None:
            return
        guarded("environment", self._load_scripts, self.versions)

    def _load_scripts(self) -> None:
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        options: dict[str, Any] = {"file_": self.config_files.get("ini"), "output_buffer": io.StringIO()}
        if self.config_files.get("toml"):
            options["toml_file"] = self.config_files["toml"]
        self._config = Config(**options)
        if self.url:
            # For an env.py that reads the configuration and not the environment.
            self._config.set_main_option("sqlalchemy.url", self.url.replace("%", "%%"))
        self._scripts = ScriptDirectory.from_config(self._config)

    def open(self, request: dict[str, Any]) -> dict[str, Any]:
        """Where everything is. Tells which alembic and SQLAlchemy the release has."""
        self.url, self.name = request["url"], request["application_name"]
        self.table, self.schema = request["version_table"], request["version_table_schema"]
        self.config_files, self.versions = request["config"], request["versions"]
        try:
            import alembic
            import sqlalchemy
        except ImportError as error:
            raise Failure(
                "environment", f"the release's Python cannot import {error.name}", type="ImportError"
            ) from error
        return {"alembic": alembic.__version__, "sqlalchemy": sqlalchemy.__version__, "python": sys.version.split()[0]}

    def graph(self, request: dict[str, Any]) -> dict[str, Any]:
        """The graph as alembic reads it, which imports every revision file."""
        self._load()

        def read() -> dict[str, Any]:
            found = {}
            for entry in self._scripts.walk_revisions("base", "heads"):
                down = entry.down_revision or ()
                found[entry.revision] = [down] if isinstance(down, str) else sorted(down)
            return {"heads": sorted(self._scripts.get_heads()), "revisions": found}

        return dict(guarded("environment", read, self.versions))

    # the database

    def _connected(self) -> Side:
        if self.side is None:
            try:
                self.side = Side(self.url, self.name)
            except ImportError as error:  # no driver, or no greenlet for one that speaks asyncio
                raise Failure("environment", **describe(error, [])) from error
            except Failure:
                raise
            except Exception as error:
                raise Failure("connection", **describe(error, [])) from error
        return self.side

    def state(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the database says, by SQL alone."""
        side = self._connected()
        tables = side.query(
            "SELECT n.nspname, c.relname, pg_table_is_visible(c.oid), has_table_privilege(c.oid, 'SELECT')"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            f" WHERE c.relkind IN ('r', 'p') AND {_FOREIGN_SCHEMAS}"
            " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"
        )
        found = [row for row in tables if row[1] == self.table and (row[0] == self.schema or not self.schema)]
        if len(found) > 1:
            # Without a schema alembic uses what the search path finds.
            found = [row for row in found if row[2]] or found
        if len(found) > 1:
            places = ", ".join(sorted(row[0] for row in found))
            raise Failure("ambiguous", f"{self.table} is in several schemas: {places}", schemas=places)
        heads: list[str] = []
        if found:
            schema, table, _, readable = found[0]
            if not readable:
                raise Failure("privilege", f"the role may not read {schema}.{table}")
            heads = [row[0] for row in side.query(f'SELECT version_num FROM "{schema}"."{table}" ORDER BY 1')]
        about = side.query("SELECT current_database(), session_user::text, current_setting('server_version_num')::int")[
            0
        ]
        return {
            "heads": heads,
            "version_table": f"{found[0][0]}.{found[0][1]}" if found else "",
            "tables": len(tables) - len(found),
            "database": about[0],
            "user": about[1],
            "server_version": about[2],
            "invalid_indexes": self._invalid_indexes(side),
        }

    @staticmethod
    def _invalid_indexes(side: Side) -> list[str]:
        rows = side.query(
            "SELECT n.nspname || '.' || c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            f" JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT i.indisvalid AND {_FOREIGN_SCHEMAS} ORDER BY 1"
        )
        return [row[0] for row in rows]

    def query(self, request: dict[str, Any]) -> dict[str, Any]:
        """SQL of the module's own (the lock, its holder) on our connection, which stays open."""
        return {"rows": self._connected().query(request["sql"])}

    # migrations

    def _run(self, fn: Callable[..., Any], revision: str, **options: Any) -> None:
        from alembic.runtime.environment import EnvironmentContext

        with EnvironmentContext(self._config, self._scripts, fn=fn, destination_rev=revision, **options):
            self._scripts.run_env()

    def _step_of(self, revision: str, direction: str) -> Any:
        from alembic.runtime.migration import MigrationStep

        make = MigrationStep.upgrade_from_script if direction == "up" else MigrationStep.downgrade_from_script
        return make(self._scripts.revision_map, self._scripts.get_revision(revision))

    def step(self, request: dict[str, Any]) -> dict[str, Any]:
        """Apply or take back exactly one revision, through the application's env.py."""
        self._load()
        side = self._connected()
        observer = Observer(side) if request.get("observe") else None
        meter = _metered(side, request["server_version"])
        watch = Watch(side, request["seconds"], observer, self.tell, meter)
        calls = 0

        def steps(heads: Any, context: Any) -> list[Any]:
            nonlocal calls
            calls += 1
            if calls > 1:
                raise Failure("unsupported", "env.py runs the migrations more than once (a schema for each tenant?)")
            self._prepare(context, sorted(heads or ()), request, watch)
            step = self._step_of(request["revision"], request["direction"])
            if observer is not None:
                step.migration_fn = self._observed(step.migration_fn, observer, context)
            return [step]

        started = time.monotonic()
        watch.start()
        try:
            guarded("migration", lambda: self._run(steps, request["revision"]), self.versions)
        except Failure as failure:
            watch.end()
            failure.answer.update(blockers=watch.blockers, timed_out=watch.timed_out, started=calls > 0)
            raise
        finally:
            watch.end()
        if not calls:
            raise Failure("unsupported", "env.py did not call context.run_migrations()")
        seconds = round(time.monotonic() - started, 3)
        observed = observer.result() if observer is not None else None
        facts = {"seconds": seconds, "blockers": watch.blockers, "watch": watch.broken, "observed": observed}
        return {**facts, "wal": meter.written() if meter else 0}

    @staticmethod
    def _observed(work: Callable[..., Any], observer: Observer, context: Any) -> Callable[..., Any]:
        def run(**options: Any) -> None:
            work(**options)
            observer.look_inside(context.connection)

        return run

    def _prepare(self, context: Any, heads: list[str], request: dict[str, Any], watch: Watch) -> None:
        """On env.py's own connection, before the migration: the right database, the expected heads, a lock timeout."""
        from sqlalchemy import text

        if context.connection is None or context.as_sql:
            raise Failure("unsupported", "env.py runs offline although a connection is asked for")
        # Our lock can only be seen from the same database of the same server.
        pid, locked, user = context.connection.execute(
            text(
                "SELECT pg_backend_pid(), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                " AND pid = :pid AND database = (SELECT oid FROM pg_database WHERE datname = current_database())),"
                " session_user::text"
            ),
            {"pid": watch.side.pid},
        ).fetchone()
        if not locked:
            watch.side.query("SELECT 1")  # the lock goes with the connection, which may be gone
            raise Failure("database", "env.py connects to another database than the one it was given")
        if user != request["user"]:
            raise Failure("database", f"env.py connects as role {user} and not as {request['user']}")
        if heads != sorted(request["expected"]):
            shown = ", ".join(heads) or "none"
            raise Failure("heads", f"env.py finds the revisions {shown} in its version table", heads=heads)
        settings = {
            "lock_timeout": f"{int(request['lock_timeout'] * 1000)}ms",
            "application_name": self.name,
        }
        if request.get("ends_with_us") and request["server_version"] >= 140000:
            # When a rehearsal is killed, the server shall not go on with its statement.
            settings["client_connection_check_interval"] = "1000ms"
        for setting, value in settings.items():
            words = {"setting": setting, "value": value}
            context.connection.execute(text("SELECT set_config(:setting, :value, false)"), words)
        watch.pid = pid

    def generate(self, request: dict[str, Any]) -> dict[str, Any]:
        """A new revision file from what the models say and the database has not. No file when they agree."""
        self._load()
        self._connected()

        def drop_empty(_context: Any, _revision: Any, directives: list[Any]) -> None:
            if directives and directives[0].upgrade_ops.is_empty():
                directives[:] = []

        def make() -> list[str]:
            from alembic import command

            self._config.stdout = io.StringIO()
            made = command.revision(
                self._config,
                message=request["message"],
                autogenerate=True,
                head=request["head"] or "head",
                process_revision_directives=drop_empty,
            )
            scripts = made if isinstance(made, list) else [made]
            return [script.path for script in scripts if script is not None]

        return {"files": guarded("generate", make, self.versions)}

    def preview(self, request: dict[str, Any]) -> dict[str, Any]:
        """The SQL of each step, from the revisions that the database has now. Nothing is sent to it."""
        self._load()
        scripts = []
        for entry in request["steps"]:
            buffer = io.StringIO()
            self._config.output_buffer = buffer
            try:
                guarded("migration", lambda entry=entry: self._render(entry), self.versions)  # type: ignore[misc]
            except Failure as failure:
                scripts.append({"revision": entry["revision"], "sql": "", "error": failure.answer})
            else:
                scripts.append({"revision": entry["revision"], "sql": buffer.getvalue().strip(), "error": None})
        return {"scripts": scripts}

    def _render(self, entry: dict[str, Any]) -> None:
        def steps(_heads: Any, _context: Any) -> list[Any]:
            return [self._step_of(entry["revision"], entry["direction"])]

        self._run(steps, entry["revision"], as_sql=True, starting_rev=entry["heads"] or None)


def serve(channel: socket.socket) -> None:
    """Answer requests until the other end closes."""
    work = Work()

    def tell(facts: dict[str, Any]) -> None:
        # The step's own thread is silent until its watch has ended.
        try:
            channel.sendall(json.dumps({"progress": facts}, default=str).encode() + b"\n")
        except OSError:
            work.tell = lambda facts: None  # nobody listens any more; the revision goes on to its end

    work.tell = tell
    with channel, channel.makefile("r", encoding="utf-8") as requests:
        for line in requests:
            request = json.loads(line)
            try:
                answer = {"ok": True, **getattr(work, request["op"])(request)}
            except Failure as failure:
                answer = {"ok": False, **failure.answer}
            except Exception as error:  # noqa: BLE001 (a lost connection or a defect: the other end must hear of it)
                answer = {"ok": False, "kind": "helper", **describe(error, [])}
            try:
                channel.sendall(json.dumps(answer, default=str).encode() + b"\n")
            except OSError:
                return


def main() -> None:
    """``python - <socket number>``"""
    number = int(sys.argv[1])
    os.set_inheritable(number, False)
    sys.argv = ["alembic"]
    serve(socket.socket(fileno=number))
    # The application may have left threads behind; nothing of ours is unfinished.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
