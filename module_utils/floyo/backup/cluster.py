"""The server's databases as a whole: make one, drop one, exchange two (client: psycopg 3, in no application's database).

The exchange is one transaction. Its first statement holds the live database's lock, behind which new connections wait,
while another connection ends those that are there. So nobody is in it when it is renamed, and whatever ends us before the
commit leaves the live database as it was, under its name and open.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Optional

from ..errors import FloyoError, Refused
from ..postgres.lock import lock_key
from ..postgres.url import DatabaseUrl
from .databases import Aside, asides
from .server import Server

__all__ = ["Cluster", "Database", "quoted"]

_TICK = 0.05
# The server itself waits 5 s for sessions to end before it refuses to rename.
_STILL_USED = "55006"
_NOT_ALLOWED = "42501"
_LISTED = 5
# Sessions that we may end: the server's own rule for pg_terminate_backend.
_OURS_TO_END = (
    "((SELECT rolsuper FROM pg_roles WHERE rolname = current_user) OR pg_has_role(a.usesysid, 'USAGE')"
    " OR (pg_has_role('pg_signal_backend', 'USAGE') AND NOT (SELECT rolsuper FROM pg_roles r WHERE r.oid = a.usesysid)))"
)


@dataclass(frozen=True)
class Database:
    """What a new database must share with the one it replaces, to be made like it."""

    oid: int
    name: str
    owner: str
    encoding: str
    collate: str
    ctype: str
    provider: str  # c: the system's, i: ICU, b: the server's own
    locale: str
    tablespace: str
    size: int


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    """For statements that take no parameters. The server reads backslashes as they are (standard_conforming_strings)."""
    return "'" + text.replace("'", "''") + "'"


class Cluster(Server):
    """A connection to a database of no application; the lock on restores of one database ends with it."""

    def __init__(self, url: DatabaseUrl, what: str) -> None:
        super().__init__(url, what)
        self._what = what

    # --- what there is ------------------------------------------------------------------------------------------------

    def database(self, name: str) -> Optional[Database]:
        # Where a locale that is not the system's is kept has changed with the versions.
        locale = {True: "datlocale", False: "daticulocale"}[self.version >= 170000]
        provider = f"datlocprovider::text, coalesce({locale}, '')" if self.version >= 150000 else "'c', ''"
        rows = self._rows(
            "SELECT d.oid::int8, datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype,"  # noqa: S608 (constants)
            f" {provider}, spcname, CASE WHEN has_database_privilege(d.oid, 'CONNECT') THEN pg_database_size(d.oid) ELSE 0"
            " END FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE datname = %s",
            [name],
        )
        return Database(*rows[0]) if rows else None

    @property
    def version(self) -> int:
        return int(self._connection.info.server_version)

    def asides(self, database: str) -> list[Aside]:
        return asides(database, [row[0] for row in self._rows("SELECT datname FROM pg_database")])

    def now(self) -> float:
        return float(self._rows("SELECT extract(epoch FROM clock_timestamp())::float8")[0][0])

    # --- what we may --------------------------------------------------------------------------------------------------

    def is_superuser(self) -> bool:
        return bool(self._rows("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")[0][0])

    def lacking(self, owner: str) -> list[str]:
        """Rights that making, filling and renaming databases of ``owner`` needs and this account has not."""
        rolsuper, rolcreatedb, member = self._rows(
            "SELECT rolsuper, rolcreatedb, pg_has_role(%s, 'MEMBER') FROM pg_roles WHERE rolname = current_user",
            [owner],
        )[0]
        if rolsuper:
            return []
        return ([] if rolcreatedb else ["CREATEDB"]) + ([] if member else [f"membership in {owner}"])

    def absent_roles(self, names: Sequence[str]) -> list[str]:
        rows = self._rows(
            "SELECT n FROM unnest(%s::text[]) n WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = n) ORDER BY 1",
            [list(names)],
        )
        return [row[0] for row in rows]

    def unmakeable(self, extensions: Sequence[str]) -> tuple[list[str], list[str]]:
        """Extensions that this server lacks, and those that only a superuser may create."""
        rows = self._rows(
            "SELECT n, bool_or(v.name IS NOT NULL), bool_or(coalesce(v.trusted OR NOT v.superuser, false))"
            " FROM unnest(%s::text[]) n LEFT JOIN pg_available_extension_versions v ON v.name = n GROUP BY n ORDER BY n",
            [list(extensions)],
        )
        return [name for name, there, _ in rows if not there], [
            name for name, there, free in rows if there and not free
        ]

    def immovable(self, database: str) -> list[str]:
        """Sessions in ``database`` that this account may not end, in words."""
        return [text for _, text, mine in self._sessions(database) if not mine]

    def sessions(self, database: str) -> list[str]:
        """Sessions in ``database``, in words."""
        return [text for _, text, _ in self._sessions(database)]

    def _sessions(self, database: str) -> list[tuple[int, str, bool]]:
        rows = self._rows(
            f"SELECT a.pid, coalesce(nullif(a.application_name, ''), 'unnamed'), a.usename, {_OURS_TO_END}"  # noqa: S608 (constants)
            " FROM pg_stat_activity a WHERE a.datname = %s AND a.usesysid IS NOT NULL ORDER BY 1",
            [database],
        )
        return [(pid, f"pid {pid} ({name}, user {user})", mine) for pid, name, user, mine in rows]

    # --- one at a time ------------------------------------------------------------------------------------------------

    def take_turn(self, database: str, what: str, deadline: float) -> None:
        """The lock on ``what`` (restores, drills) of a database: nobody else does it, or sweeps what it has made."""
        self._take(
            lock_key(database, domain=f"floyo:{what}"), f"another {what} of database {database} is at work", deadline
        )

    def has_turn(self, database: str, what: str) -> bool:
        """The same at once or not at all."""
        return bool(self._rows(f"SELECT pg_try_advisory_lock({lock_key(database, domain=f'floyo:{what}')})")[0][0])

    # --- making and dropping ------------------------------------------------------------------------------------------

    def create(self, name: str, like: Database) -> None:
        """An empty database like another one, which nobody but its owner can connect to."""
        words = [f"CREATE DATABASE {quoted(name)} OWNER {quoted(like.owner)} TEMPLATE template0"]
        words.append(f"ENCODING {_literal(like.encoding)}")
        if like.tablespace != "pg_default":  # to be named it needs a right that to be used it does not
            words.append(f"TABLESPACE {quoted(like.tablespace)}")
        words.append(f"LC_COLLATE {_literal(like.collate)} LC_CTYPE {_literal(like.ctype)}")
        if like.provider == "i":
            words.append(f"LOCALE_PROVIDER icu ICU_LOCALE {_literal(like.locale)}")
        elif like.provider == "b":
            words.append(f"LOCALE_PROVIDER builtin BUILTIN_LOCALE {_literal(like.locale)}")
        self._rows(" ".join(words))
        self._rows(f"REVOKE ALL ON DATABASE {quoted(name)} FROM PUBLIC")

    def drop(self, name: str) -> None:
        """With the sessions that a killed run has left in it."""
        try:
            self._rows(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
        except FloyoError as error:
            if error.details.get("sqlstate") != _NOT_ALLOWED:
                raise
            # Somebody is in it whom we may not end, such as autovacuum. Without force the server makes that one leave,
            # and waits a little for others.
            with self._ending_sessions([name]):
                self._rows(f"DROP DATABASE IF EXISTS {quoted(name)}")

    # --- the exchange -------------------------------------------------------------------------------------------------

    def dress(self, name: str, like: Database) -> list[str]:
        """Give a database the settings of another. Returns statements that only an administrator may run."""
        refused = []
        rows = self._rows(
            "SELECT coalesce(r.rolname, ''), c FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole,"
            " unnest(s.setconfig) c WHERE s.setdatabase = %s",
            [like.oid],
        )
        for role, setting in rows:
            try:
                self._rows(_setting(name, role, setting))
            except FloyoError as error:
                if error.details.get("sqlstate") != "42501":
                    raise
                refused.append(_setting(like.name, role, setting))
        return refused

    def _open_as(self, name: str, like: Database) -> list[str]:
        """Statements that let those into a database who may connect to another."""
        rows = self._rows(
            "SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,"
            " a.privilege_type, a.is_grantable, d.datconnlimit, shobj_description(d.oid, 'pg_database')"
            " FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE d.oid = %s",
            [like.oid],
        )
        statements = [f"REVOKE ALL ON DATABASE {quoted(name)} FROM PUBLIC"]
        statements += [
            f"GRANT {right} ON DATABASE {quoted(name)} TO {whom}{' WITH GRANT OPTION' if grantable else ''}"
            for whom, right, grantable, _, _ in rows
        ]
        for limit, comment in {row[3:] for row in rows}:
            statements.append(f"ALTER DATABASE {quoted(name)} CONNECTION LIMIT {int(limit)}")
            if comment:
                statements.append(f"COMMENT ON DATABASE {quoted(name)} IS {_literal(comment)}")
        return statements

    def _close_to_all_but_the_owner(self, name: str, now: Database) -> list[str]:
        rows = self._rows(
            "SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END"
            " FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a"
            " WHERE d.oid = %s AND a.grantee <> d.datdba",
            [now.oid],
        )
        return [f"REVOKE ALL ON DATABASE {quoted(name)} FROM {whom}" for (whom,) in rows]

    def exchange(self, live: Database, incoming: str, kept: str, deadline: float) -> None:
        """``incoming`` becomes the live database, which is kept as ``kept``: all of it, or nothing."""
        statements = [
            f"ALTER DATABASE {quoted(live.name)} RENAME TO {quoted(kept)}",
            f"ALTER DATABASE {quoted(incoming)} RENAME TO {quoted(live.name)}",
            *self._open_as(live.name, live),
            *self._close_to_all_but_the_owner(kept, live),
        ]
        while True:
            try:
                with self._ending_sessions([live.name, incoming]):
                    self._transaction(statements)
                return
            except FloyoError as error:
                if error.details.get("sqlstate") not in (_STILL_USED, "55P03") or time.monotonic() >= deadline:
                    raise self._kept_busy(live.name, error) from error

    def rename(self, name: str, to: str, application_role: str) -> None:
        """Where there was no live database: the new one gets its name."""
        statements = [f"ALTER DATABASE {quoted(name)} RENAME TO {quoted(to)}"]
        if application_role:
            statements.append(f"GRANT CONNECT ON DATABASE {quoted(to)} TO {quoted(application_role)}")
        self._transaction(statements)

    def _transaction(self, statements: Sequence[str]) -> None:
        self._rows("BEGIN")
        try:
            for statement in statements:
                self._rows(statement)
            self._rows("COMMIT")
        except BaseException:
            if not self._connection.closed:
                self._rows("ROLLBACK")
            raise

    @contextmanager
    def _ending_sessions(self, databases: list[str]) -> Iterator[None]:
        """While the block runs, end the sessions in the databases again and again, from a connection of its own."""
        over = threading.Event()
        with closing(Server(self._url, self._what)) as other:

            def end() -> None:
                while not over.wait(_TICK):
                    with suppress(FloyoError):  # the rename tells who is left
                        other._rows(
                            "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a WHERE a.datname = ANY (%s)"  # noqa: S608 (constants)
                            f" AND a.usesysid IS NOT NULL AND {_OURS_TO_END}",
                            [databases],
                        )

            thread = threading.Thread(target=end, daemon=True)
            thread.start()
            try:
                yield
            finally:
                over.set()
                thread.join()

    @contextmanager
    def making_way(self, pid: int) -> Iterator[list[str]]:
        """While the block runs, end the sessions for which another one waits. The list gets those whom we may not end."""
        over, stay = threading.Event(), list[str]()
        with closing(Server(self._url, self._what)) as other:

            def end() -> None:
                while not over.wait(_TICK):
                    with suppress(FloyoError):  # what waits tells when it was too long
                        rows = other._rows(
                            "SELECT a.pid, coalesce(nullif(a.application_name, ''), 'unnamed'), coalesce(a.usename, 'the server'),"  # noqa: S608 (constants)
                            f" CASE WHEN a.usesysid IS NOT NULL AND {_OURS_TO_END} THEN pg_terminate_backend(a.pid) END"
                            " FROM unnest(pg_blocking_pids(%s)) b JOIN pg_stat_activity a ON a.pid = b",
                            [pid],
                        )
                        # Nobody is in the way any more of what has waited long enough: those who were are still to be named.
                        if rows:
                            stay[:] = [
                                f"pid {pid} ({name}, user {user})" for pid, name, user, ended in rows if not ended
                            ]

            thread = threading.Thread(target=end, daemon=True)
            thread.start()
            try:
                yield stay
            finally:
                over.set()
                thread.join()

    def _kept_busy(self, database: str, error: FloyoError) -> FloyoError:
        if error.details.get("sqlstate") not in (_STILL_USED, "55P03"):
            return error
        left = [text for _, text, _ in self._sessions(database)]
        return Refused(
            f"database {database} is still in use: " + (", ".join(left[:_LISTED]) or error.message),
            code="SESSIONS_LEFT",
            expected="no session that this account may not end",
            next_step="end them as an administrator (SELECT pg_terminate_backend(pid)), then run the same command again",
            sessions=left,
        )

    def at(self, database: str, what: str) -> Server:
        """A connection to another database of this server, by the same account."""
        return Server(replace(self._url, database=database), what)


# Settings whose value is a list of names; as one literal it would be one name.
_LISTS = ("search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries")


def _setting(database: str, role: str, setting: str) -> str:
    whom = f"ROLE {quoted(role)} IN DATABASE {quoted(database)}" if role else f"DATABASE {quoted(database)}"
    key, _, value = setting.partition("=")
    return f"ALTER {whom} SET {quoted(key)} TO {_value(key, value)}"


def _value(key: str, value: str) -> str:
    if key.lower() not in _LISTS:
        return _literal(value)
    parts = re.findall(r'"((?:[^"]|"")*)"|([^,\s]+)', value)
    return ", ".join(_literal(inner.replace('""', '"') or plain) for inner, plain in parts) or "''"
