"""One transaction in which a dump is put into a database (client: psycopg 3).

It ends with the connection, whatever ends us: what was there before is there again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing

from ..errors import ConnectionLost, FloyoError, Refused
from .plain import Piece
from .processes import TICK
from .schema import USER_SCHEMAS
from .server import Server, Table, quoted_table

__all__ = ["Inside"]

_POWERS = ("pg_execute_server_program", "pg_read_server_files", "pg_write_server_files")
_SETTLES = 10.0
_USERS = USER_SCHEMAS.replace("%", "%%")  # beside parameters


class Inside(Server):
    _transaction = 0

    def begin(self) -> None:
        # A server that works for long looks whether somebody still waits for it: a killed run keeps no locks.
        self._rows(
            "SELECT set_config(name, '1s', false) FROM pg_settings WHERE name = 'client_connection_check_interval'"
        )
        self._rows("BEGIN")
        self._transaction = int(self._rows("SELECT txid_current()")[0][0])

    def load(self, pieces: Iterable[Piece], progress: Callable[[], None] = lambda: None) -> None:
        """Run a dump's statements. Each goes as one message of the kind that the server takes as one statement only."""
        iterator, next_tick = iter(pieces), time.monotonic() + TICK
        for piece in iterator:
            try:
                with self._explained("load"):
                    if piece.kind == "copy":
                        self._copy(piece, iterator)
                    else:
                        self._connection.execute(piece.text, binary=True, prepare=False)
            except FloyoError as error:
                if "sqlstate" in error.details:
                    error.message = f"the statement in line {piece.line}: {error.message}"
                raise
            if time.monotonic() >= next_tick:
                progress()
                next_tick = time.monotonic() + TICK

    def _copy(self, begin: Piece, iterator: Iterator[Piece]) -> None:
        with self._connection.cursor() as cursor, cursor.copy(begin.text) as copy:
            for piece in iterator:
                if piece.kind == "end":
                    return
                copy.write(piece.text)

    def commit(self) -> bool:
        """Whether the connection has lived to hear of it. When it has not, the server is asked how it has ended."""
        try:
            self._rows("COMMIT")
        except ConnectionLost:
            until = time.monotonic() + _SETTLES
            with closing(Server(self._url)) as again:
                while (status := again.status_of(self._transaction)) == "in progress" and time.monotonic() < until:
                    time.sleep(0.2)
            if status != "committed":
                raise
            return False
        return True

    # --- what may be in it --------------------------------------------------------------------------------------------

    def require_modest(self) -> None:
        """What a dump of somebody else brings along (functions, triggers) runs as this account."""
        rows = self._rows(
            "SELECT session_user::text, rolsuper OR EXISTS (SELECT FROM unnest(%s::text[]) p JOIN pg_roles r ON r.rolname = p"
            " WHERE pg_has_role(session_user, r.oid, 'MEMBER')) FROM pg_roles WHERE rolname = session_user",
            [list(_POWERS)],
        )
        user, mighty = rows[0]
        if mighty:
            raise Refused(
                f"role {user} can do more on the server than own a database",
                code="ACCOUNT_TOO_STRONG",
                expected="the owner's account in database_url, which is no superuser and reads no files of the server",
                next_step="name it: functions and triggers of the file run as whoever imports it",
            )

    def not_of(self, owner: str) -> list[str]:
        """What in the database belongs to others, and to no extension, in words."""
        sources = (
            ("pg_class c", "c.oid", "relowner", "relnamespace", "relkind IN ('r', 'p', 'v', 'm', 'S', 'f')"),
            ("pg_proc c", "c.oid", "proowner", "pronamespace", "true"),
            ("pg_type c", "c.oid", "typowner", "typnamespace", "typtype IN ('d', 'e', 'r')"),
            ("pg_namespace c", "c.oid", "c.nspowner", "c.oid", "c.nspname <> 'public'"),
        )
        parts = [
            f"SELECT pg_describe_object('{source[:-2]}'::regclass, {oid}, 0), pg_get_userbyid({whose}) FROM {source}"  # noqa: S608 (constants)
            f" JOIN pg_namespace n ON n.oid = {schema} WHERE {_USERS} AND {kinds} AND pg_get_userbyid({whose}) <> %s"
            # Neither an extension's nor a part of something else, as the constructors of a range are.
            f" AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = '{source[:-2]}'::regclass AND d.objid = {oid}"
            " AND d.deptype IN ('e', 'i'))"
            for source, oid, whose, schema, kinds in sources
        ]
        parts.append(
            "SELECT 'large object ' || oid, pg_get_userbyid(lomowner) FROM pg_largeobject_metadata"
            " WHERE pg_get_userbyid(lomowner) <> %s AND NOT pg_has_role(lomowner, 'USAGE')"
        )
        rows = self._rows(" UNION ALL ".join(parts) + " ORDER BY 1", [owner] * len(parts))
        return [f"{what} (of {whose})" for what, whose in rows]

    def extensions(self) -> list[str]:
        return [row[0] for row in self._rows("SELECT extname FROM pg_extension")]

    @property
    def pid(self) -> int:
        return int(self._rows("SELECT pg_backend_pid()")[0][0])

    def alone(self, tables: Sequence[Table]) -> None:
        """Nobody else reads or writes the tables from here on."""
        if tables:
            self._rows(f"LOCK TABLE {', '.join(map(quoted_table, tables))} IN ACCESS EXCLUSIVE MODE")

    def clear(self) -> None:
        """All of the database goes that is the current role's. Schema public stays, as in a new database."""
        self._rows("SELECT count(lo_unlink(oid)) FROM pg_largeobject_metadata")
        self._rows("DROP OWNED BY CURRENT_USER CASCADE")
