"""A Redis server, asked in small steps so that it is never held up (client: redis-py)."""

from __future__ import annotations

import errno
import importlib
import re
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Optional

from ..errors import ConnectionLost, FloyoError, Refused, TimedOut, Unusable
from ..postgres.url import scrub
from ..text import shorten
from .url import CacheUrl

__all__ = ["Cache", "reason_of"]

_HOPS = 4

_FAILURES: dict[str, tuple[type[FloyoError], str, str]] = {
    # reason: (family, expected, next step)
    "REFUSED": (ConnectionLost, "a server that listens", "systemctl status redis-server on the cache host"),
    "DNS": (ConnectionLost, "a host name that resolves", "getent hosts <host> on this host; compare REDIS_URL"),
    "UNREACHABLE": (ConnectionLost, "a host that can be reached", "ping the host; compare REDIS_URL and the firewall"),
    "TIMEOUT": (TimedOut, "an answer within timeout", "redis-cli --latency; a slow command, swapping or a firewall that drops"),
    "NO_SOCKET": (ConnectionLost, "a socket at that path", "compare unixsocket in redis.conf with REDIS_URL"),
    "SOCKET_DENIED": (ConnectionLost, "a socket this account may use", "compare unixsocketperm in redis.conf"),
    "CLOSED": (ConnectionLost, "a connection that stays open", "is TLS wanted (rediss://)? else journalctl -u redis-server"),
    "TLS": (ConnectionLost, "a TLS server with a certificate that is trusted",
            "compare rediss:// with the server's tls-port; name the CA in ca_path"),
    "NOT_REDIS": (Unusable, "a Redis server on that port", "compare host and port of REDIS_URL"),
    "NOAUTH": (Refused, "a password in the URL", "set the password in REDIS_URL"),
    "WRONGPASS": (Refused, "the account's password", "compare user and password of REDIS_URL with the server's ACL"),
    "PASSWORD_NOT_WANTED": (Refused, "a URL without a password", "the server has none: set requirepass or an ACL user there"),
    "NOPERM": (Refused, "an account with the right to it", "ACL SETUSER <user> +<command> on the server (floyo_redis_rights)"),
    "UNKNOWN_COMMAND": (Refused, "a server that has the command", "it is renamed or older: rename-command in redis.conf"),
    "READONLY": (Refused, "a primary", "this one is a replica now: run again, the primary is looked up anew"),
    "LOADING": (ConnectionLost, "a server that has read its data", "wait until it has loaded, then run again"),
    "PRIMARY_DOWN": (ConnectionLost, "a replica that reaches its primary", "look after the primary"),
    "CLUSTER_DOWN": (ConnectionLost, "a cluster whose slots are all served", "redis-cli --cluster check <host>:<port>"),
    "MOVED": (Refused, "slots that stay where they are", "the cluster is moving slots: run again when it is done"),
    "NO_DATABASE": (Unusable, "a database that the server has", "compare the number in REDIS_URL with databases in redis.conf"),
    "MAX_CLIENTS": (ConnectionLost, "a free connection", "raise maxclients; which client keeps so many open? CLIENT LIST"),
    "PROTECTED": (Refused, "a server that lets other hosts in", "protected-mode in redis.conf: set a password or bind"),
    "BUSY": (ConnectionLost, "a server that no script holds up", "SCRIPT KILL on the server"),
    "DISK": (Refused, "a server that can save", "df -h on the cache host; journalctl -u redis-server"),
    "MEMORY": (Refused, "free memory in the server", "raise floyo_redis_maxmemory"),
    "FAILED": (FloyoError, "", "journalctl -u redis-server on the cache host"),
}  # fmt: skip
# What the server says, most telling first. redis-py leaves out the first word of some answers.
_SAID = (
    ("PASSWORD_NOT_WANTED", r"without any password configured|no password is set"),
    ("WRONGPASS", r"WRONGPASS|invalid username-password|invalid password"),
    ("NOAUTH", r"NOAUTH|authentication required"),
    ("NOPERM", r"NOPERM|no permissions|has no permissions"),
    ("PROTECTED", r"DENIED|protected mode"),
    ("MAX_CLIENTS", r"max number of clients"),
    ("UNKNOWN_COMMAND", r"unknown (?:sub)?command"),
    ("READONLY", r"READONLY|read only replica|write against a read"),
    ("LOADING", r"loading the dataset"),
    ("PRIMARY_DOWN", r"MASTERDOWN|link with MASTER is down"),
    ("CLUSTER_DOWN", r"CLUSTERDOWN|cluster is down|slot not served"),
    ("MOVED", r"^(?:MOVED|ASK|TRYAGAIN) |^\d+ \S+:\d+$"),
    ("NO_DATABASE", r"DB index is out of range|SELECT is not allowed"),
    ("BUSY", r"BUSY|busy running a script"),
    ("DISK", r"MISCONF|unable to persist"),
    ("MEMORY", r"OOM|used memory > 'maxmemory'"),
    ("NOT_REDIS", r"Protocol error|Invalid response|unexpected response"),
    ("CLOSED", r"Connection closed by server|Connection lost|closed the connection|reset by peer|Broken pipe"),
)
_RIGHT = re.compile(r"'([a-z|_-]+)' command|run the '([^']+)'", re.IGNORECASE)


def reason_of(error: BaseException) -> str:
    """One word of ``_FAILURES`` for an exception of redis-py or of what it stands on."""
    text = str(error)
    for word, pattern in _SAID:
        if re.search(pattern, text, re.IGNORECASE if word != "MOVED" else 0):
            return word
    chain: list[BaseException] = []
    cause: Optional[BaseException] = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    # A server without TLS waits for the end of what it takes for a command: that is no slow server.
    if any(isinstance(link, ssl.SSLError) or "handshake" in str(link) for link in chain):
        return "TLS"
    for link in chain:
        if isinstance(link, socket.gaierror):
            return "DNS"
        if isinstance(link, ConnectionRefusedError):
            return "REFUSED"
        if isinstance(link, FileNotFoundError):
            return "NO_SOCKET"
        if isinstance(link, PermissionError):
            return "SOCKET_DENIED"
        if isinstance(link, (ConnectionResetError, BrokenPipeError)):
            return "CLOSED"
        if isinstance(link, (socket.timeout, TimeoutError)) or type(link).__name__ == "TimeoutError":
            return "TIMEOUT"
        if isinstance(link, OSError) and link.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            return "UNREACHABLE"
        if type(link).__name__ == "InvalidResponse":
            return "NOT_REDIS"
    return "FAILED"


class Cache:
    """One server, by one account. It is connected to when it is first asked."""

    def __init__(self, url: CacheUrl, *, timeout: float, validate_certs: bool = True, ca_path: str = "") -> None:
        self.url = url
        self._options = {"timeout": timeout, "validate_certs": validate_certs, "ca_path": ca_path}
        self._redis = _driver()
        words = {
            **url.connection(),
            "socket_timeout": timeout,
            "socket_connect_timeout": min(timeout, 5.0),
            # One try: who asks again and when is the caller's business, and a failure shall be told at once.
            **_one_try(self._redis),
        }
        if url.tls:
            words["ssl_cert_reqs"] = "required" if validate_certs and url.verify else "none"
            words["ssl_check_hostname"] = validate_certs and url.verify
            if ca_path:
                words["ssl_ca_certs"] = ca_path
        with self._explained():
            self._client = self._redis.Redis(**words)

    def close(self) -> None:
        self._client.close()

    def at(self, host: str, port: int) -> Cache:
        """Another server, by the same account and in the same way."""
        return Cache(replace(self.url, host=host, port=port, path=""), **self._options)  # type: ignore[arg-type]

    @property
    def place(self) -> str:
        return self.url.place

    def ask(self, *words: Any) -> Any:
        with self._explained():
            return self._client.execute_command(*words)

    def many(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Several commands in one round trip; each is one step for the server. An error of one is raised."""
        with self._explained():
            pipeline = self._client.pipeline(transaction=False)
            for words in commands:
                pipeline.execute_command(*words)
            return list(pipeline.execute())

    def ping(self) -> float:
        """Milliseconds of a round trip."""
        begin = time.perf_counter()
        self.ask("PING")
        return round((time.perf_counter() - begin) * 1000, 3)

    def info(self) -> dict[str, Any]:
        with self._explained():
            return dict(self._client.info())

    def size(self) -> int:
        return int(self.ask("DBSIZE"))

    def scan(self, pattern: str, batch: int) -> Iterator[list[bytes]]:
        """The keys that match, in many small steps. One may come twice; what is there all the time comes for sure."""
        cursor: Any = 0
        while True:
            cursor, keys = self.ask("SCAN", cursor, "MATCH", pattern, "COUNT", batch)
            if keys:
                yield list(keys)
            if int(cursor) == 0:
                return

    def primary(self, info: dict[str, Any]) -> tuple[Cache, list[str]]:
        """The server that takes writes, from this one on, and the replicas passed on the way."""
        here, passed = self, list[str]()
        while info.get("role") == "slave":
            passed.append(here.place)
            if len(passed) > _HOPS:
                raise Refused(
                    f"no primary behind {' > '.join(passed)}", code="REDIS_NO_PRIMARY", reason="NO_PRIMARY",
                    expected="a replica of a primary", next_step="redis-cli info replication on each of them",
                )  # fmt: skip
            here = here.at(str(info["master_host"]), int(info["master_port"]))
            info = here.info()
        return here, passed

    def primaries(self) -> list[Cache]:
        """Of a cluster: every server that takes writes. Each key is on one of them."""
        places = list[tuple[str, int]]()
        served = 0
        for begin, end, (host, port, *_), *_ in self.ask("CLUSTER", "SLOTS"):
            served += int(end) - int(begin) + 1
            name = (host or b"").decode()
            # A node that has met no other one does not know its own address.
            place = (self.url.host if name in ("", "?") else name, int(port))
            if place not in places:
                places.append(place)
        if served < 16384:
            raise self._failure("CLUSTER_DOWN", f"{served} of 16384 slots are served")
        return [self.at(*place) for place in sorted(places)]

    # --- errors -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (self._redis.RedisError, OSError) as error:
            raise self._failure(reason_of(error), str(error)) from error

    def _failure(self, reason: str, said: str) -> FloyoError:
        family, expected, next_step = _FAILURES[reason]
        text = scrub(shorten(said, 300), self.url.password)
        return family(
            f"Redis at {self.url}: {text}",
            code=f"REDIS_{reason}",
            reason=reason,
            expected=expected,
            next_step=next_step,
        )


def _one_try(redis: Any) -> dict[str, Any]:
    """Keywords that this version of redis-py knows."""
    words: dict[str, Any] = {}
    version = int(str(redis.__version__).partition(".")[0])
    if version >= 4:
        words["retry"] = importlib.import_module("redis.retry").Retry(
            importlib.import_module("redis.backoff").NoBackoff(), 0
        )
    if version >= 5:
        # The account may not be allowed HELLO, and INFO reads the same.
        words["protocol"] = 2
    return words


def _driver() -> Any:
    """redis-py, which Debian and Ubuntu call python3-redis."""
    try:
        return importlib.import_module("redis")
    except ImportError as error:
        raise Unusable(
            f"this host's Python has no redis-py: {shorten(error)}",
            code="DRIVER_MISSING",
            reason="DRIVER",
            expected="the package python3-redis",
            next_step="apt-get install python3-redis, or run playbooks/provision.yml",
        ) from error
