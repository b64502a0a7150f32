"""A connection that looks and never gets in the way: read-only, with limits of its own (client: psycopg 3)."""

from __future__ import annotations

import json
import os
import pwd
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Optional

from ..errors import ConnectionLost, FloyoError, Refused, TimedOut, Unusable
from ..postgres.driver import driver
from ..postgres.lock import application_name
from ..postgres.url import DatabaseUrl, scrub
from ..text import shorten
from .statements import MARK

__all__ = ["EXHAUSTED", "Limits", "Reserve", "Session"]

EXHAUSTED = "CONNECTIONS_EXHAUSTED"
# At the time of the login there is no SQLSTATE to read.
_FULL = re.compile(
    r"too many clients|connection slots are reserved|too many connections for (role|database)", re.IGNORECASE
)


@dataclass(frozen=True)
class Limits:
    """Seconds."""

    connect: float = 5.0
    statement: float = 20.0
    lock: float = 1.0


@dataclass(frozen=True)
class Reserve:
    """A way in that is kept free: an account with reserved slots, and the account of this host that may use it."""

    url: DatabaseUrl
    system_user: str = ""


class Session:
    """One connection. When no slot is left it comes in by the reserve, and ``by_reserve`` says so."""

    def __init__(
        self,
        url: DatabaseUrl,
        *,
        what: str,
        limits: Limits,
        reserve: Optional[Reserve] = None,
        read_only: bool = True,
    ) -> None:
        self.url, self._limits, self._what = url, limits, what
        self._psycopg = driver()
        self.by_reserve = False
        self.notices: list[str] = []
        try:
            self._connection = self._connect(url)
        except FloyoError as error:
            if error.code != EXHAUSTED or reserve is None:
                raise
            self._connection = self._by_reserve(reserve, error)
            self.by_reserve = True
        if self.rows("SELECT pg_backend_pid() AS pid")[0]["pid"] != self._connection.info.backend_pid:
            self.close()
            raise Refused(
                f"{url} is a connection pooler: its sessions are shared, and settings would reach others",
                code="POOLED",
                expected="the server itself",
                next_step="name the server's own address and port in database_url",
            )
        self._connection.add_notice_handler(lambda notice: self.notices.append(str(notice.message_primary)))
        settings = {
            "statement_timeout": f"{max(1, int(limits.statement * 1000))}ms",
            "lock_timeout": f"{max(1, int(limits.lock * 1000))}ms",
            "idle_in_transaction_session_timeout": "60s",
            "search_path": "pg_catalog",
            "default_transaction_read_only": "on" if read_only else "off",
            "TimeZone": "UTC",
            "DateStyle": "ISO, YMD",
        }
        for name, value in settings.items():
            self.rows("SELECT set_config(%s, %s, false)", [name, value])

    def close(self) -> None:
        self._connection.close()

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Rows by the names of their columns."""
        with self._explained():
            cursor = self._connection.execute((MARK + statement).encode(), parameters or None)
            if not cursor.description:
                return []
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]

    def many(self, statement: str) -> list[dict[str, Any]]:
        """The same for thousands of rows, whose values JSON has: the driver would take longer for them than the server."""
        text = self.tuples(f"SELECT coalesce(json_agg(q), '[]')::text FROM ({statement}) q")[0][0]  # noqa: S608
        return list(json.loads(text))

    def tuples(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of a question that gives its columns no names."""
        with self._explained():
            return list(self._connection.execute((MARK + statement).encode()).fetchall())

    def execute(self, statement: str) -> None:
        self.rows(statement)

    def elsewhere(self, database: str, reserve: Optional[Reserve] = None) -> Session:
        """Another database of the same server, by the same account."""
        other = replace(reserve, url=replace(reserve.url, database=database)) if reserve else None
        return Session(replace(self.url, database=database), what=self._what, limits=self._limits, reserve=other)

    # --- connecting ---------------------------------------------------------------------------------------------------

    def _connect(self, url: DatabaseUrl) -> Any:
        words = {
            "connect_timeout": str(max(2, int(self._limits.connect))),
            **url.conninfo(),
            "application_name": application_name(self._what),
        }
        try:
            return self._psycopg.connect(**words, autocommit=True)
        except self._psycopg.Error as error:
            raise self._refusal(url, error) from error

    def _by_reserve(self, reserve: Reserve, first: FloyoError) -> Any:
        try:
            with _as_user(reserve.system_user):
                return self._connect(reserve.url)
        except ConnectionLost as error:
            raise ConnectionLost(
                f"{first.message}; and by the reserve: {error.message}",
                code=EXHAUSTED,
                expected="a free connection, or a reserved one",
                next_step=first.next_step,
            ) from error

    def _refusal(self, url: DatabaseUrl, error: Any) -> FloyoError:
        said = scrub(shorten(error, 400), self.url.password, url.password)
        if _FULL.search(said):
            return ConnectionLost(
                f"{url}: no connection is free: {said}",
                code=EXHAUSTED,
                expected="a free connection, or a role with reserved ones",
                next_step="on the database host: runuser -u postgres -- psql -c 'SELECT usename, application_name, state,"
                " count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC'; the pool: DATABASE_POOL_SIZE",
            )
        login = "authentication failed" in said or "no password supplied" in said or "pg_hba.conf" in said
        return ConnectionLost(
            f"{url} cannot be used: {said}",
            code="DATABASE_LOGIN" if login else "DATABASE_UNREACHABLE",
            expected="a login" if login else "a server that answers",
            next_step="compare user and password of database_url with the server's role and pg_hba.conf"
            if login
            else "systemctl status postgresql on the database host",
        )

    # --- errors -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self._psycopg.Error as error:
            raise self._explanation(error) from error

    def _explanation(self, error: Any) -> FloyoError:
        said = scrub(shorten(getattr(error.diag, "message_primary", None) or error, 300), self.url.password)
        state = error.sqlstate or ""
        if isinstance(error, self._psycopg.OperationalError) and self._connection.closed:
            return ConnectionLost(
                f"the connection to {self.url} was lost: {said}", code="DATABASE_LOST", sqlstate=state,
                expected="a server that stays up", next_step="journalctl -u postgresql on the database host",
            )  # fmt: skip
        if state == "57014":
            return TimedOut(
                f"the server took too long: {said}", code="STATEMENT_TIMEOUT", sqlstate=state,
                expected=f"an answer within {self._limits.statement:g} s", next_step="look for load on the database host",
            )  # fmt: skip
        if state == "55P03":
            return TimedOut(
                f"a lock was not to be had: {said}", code="LOCK_TIMEOUT", sqlstate=state,
                expected=f"the lock within {self._limits.lock:g} s",
                next_step="ansible-playbook playbooks/database_connections.yml shows who holds it",
            )  # fmt: skip
        if state == "42501":
            return Refused(
                f"no right: {said}", code="NO_RIGHT", sqlstate=state, expected="an account that may see statistics",
                next_step=f'GRANT pg_monitor TO "{self.url.user}"',
            )  # fmt: skip
        return FloyoError(f"the server refuses to answer: {said}", code="DATABASE_FAILED", sqlstate=state)


@contextmanager
def _as_user(name: str) -> Iterator[None]:
    """The server knows by whom a socket was opened. Only while it is opened, and only from root to less."""
    if not name:
        yield
        return
    try:
        account = pwd.getpwnam(name)
    except KeyError as error:
        raise Unusable(
            f"this host has no account {name}", code="ACCOUNT_UNKNOWN", expected="an account of the host"
        ) from error
    if account.pw_uid == os.geteuid():
        yield
        return
    if os.geteuid() != 0:
        raise Refused(f"only root may work as {name}", code="NOT_ROOT", next_step="run the task with become: true")
    os.setegid(account.pw_gid)
    os.seteuid(account.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
