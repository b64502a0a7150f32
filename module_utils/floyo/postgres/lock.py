"""One mutual exclusion for everything that changes or copies a database, on all hosts and controllers (pure).

A session advisory lock of PostgreSQL. Migration, backup, restore and ANALYZE take the same key, and whoever ends sessions
leaves its holder alone. The server frees it when the holder's connection ends, whatever killed it. SQL only: whoever is
connected runs it, by whatever driver.
"""

from __future__ import annotations

import hashlib
import os
import socket
from typing import Any

__all__ = [
    "LOCK_DOMAIN",
    "OURS",
    "application_name",
    "describe_holder",
    "holder_sql",
    "lock_key",
    "others_sql",
    "try_lock_sql",
]

LOCK_DOMAIN = "floyo"
# What our connections are called in pg_stat_activity: floyo:<what>@<host>:<pid>.
OURS = "floyo:"


def lock_key(database: str, *, domain: str = LOCK_DOMAIN) -> int:
    """The 64-bit key of a database. PostgreSQL keeps advisory locks of different databases apart; the name makes it plain."""
    digest = hashlib.sha256(f"{domain}:{database}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def application_name(what: str) -> str:
    """``floyo:backup@db1:4711``, at most the 63 bytes that PostgreSQL keeps."""
    host = socket.gethostname().split(".")[0]
    return f"{OURS}{what}@{host[:30]}:{os.getpid()}"[:63]


def try_lock_sql(key: int) -> str:
    return f"SELECT pg_try_advisory_lock({int(key)})"


def holder_sql(key: int) -> str:
    """One row for the holder: pid, application name, user, address, start of the connection in UTC, state."""
    low, high = key & 0xFFFFFFFF, (key >> 32) & 0xFFFFFFFF
    return (
        "SELECT a.pid, a.application_name, a.usename, coalesce(host(a.client_addr), 'local'),"  # noqa: S608 (two integers)
        " to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), coalesce(a.state, '')"
        " FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        f" WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid = {high} AND l.objid = {low}"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )


def others_sql(what: str) -> str:
    """Rows like ``holder_sql``'s for connections of the same kind that work without the lock: left behind by a killed run."""
    return (
        "SELECT pid, application_name, usename, coalesce(host(client_addr), 'local'),"  # noqa: S608 (a fixed word)
        " to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), coalesce(state, '')"
        " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        f" AND application_name LIKE '{OURS}{what}@%' AND state IS DISTINCT FROM 'idle'"
    )


def describe_holder(row: Any) -> dict[str, Any]:
    """A row of ``holder_sql`` as facts, with a sentence in ``text``."""
    pid, name, user, address, since, state = row
    facts = {"pid": pid, "application_name": name, "user": user, "address": address, "since": since, "state": state}
    what = name or "an unnamed connection"
    return {**facts, "text": f"{what} (pid {pid}, user {user}, from {address}, connected since {since} UTC)"}
