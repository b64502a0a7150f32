"""Redis URLs as applications and workers write them (pure, standard library only)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from ..errors import Unusable

__all__ = ["CacheUrl", "parse_url"]

_FORM = re.compile(
    r"(?P<scheme>redis|rediss|unix|redis\+socket)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?"
)
_PLACE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s]*)(?::(?P<port>\d+))?")
_TLS = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
# They tell the application's client something and us nothing.
_CLIENT_ONLY = {
    "client_name", "decode_responses", "encoding", "encoding_errors", "health_check_interval", "lib_name", "lib_version",
    "max_connections", "protocol", "retry_on_error", "retry_on_timeout", "socket_connect_timeout", "socket_keepalive",
    "socket_timeout", "socket_read_size", "ssl_check_hostname", "ssl_min_version", "timeout", "visibility_timeout",
}  # fmt: skip
_CERTIFICATES = {"none": False, "cert_none": False, "optional": True, "cert_optional": True}
_CERTIFICATES.update({"required": True, "cert_required": True})


@dataclass(frozen=True)
class CacheUrl:
    """Where a cache is and who asks. ``repr`` and ``str`` show no password."""

    host: str
    port: int
    path: str
    tls: bool
    user: str
    password: str = field(repr=False)
    database: int
    verify: bool = True
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return self.path or f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def __str__(self) -> str:
        account = self.user + "@" if self.user else ""
        scheme = "unix" if self.path else "rediss" if self.tls else "redis"
        return f"{scheme}://{account}{self.place}" + (f"?db={self.database}" if self.path else f"/{self.database}")

    def connection(self) -> dict[str, Any]:
        """Keywords for ``redis.Redis``, but for what the caller decides (timeouts, certificates)."""
        words: dict[str, Any] = {"db": self.database}
        words.update({"unix_socket_path": self.path} if self.path else {"host": self.host, "port": self.port})
        if self.user:
            words["username"] = self.user
        if self.password:
            words["password"] = self.password
        if self.tls:
            words.update({"ssl": True, **self.files})
        return words


def parse_url(text: str, *, name: str = "url") -> CacheUrl:
    """Read a Redis URL. Errors name the parameter ``name`` and what is wrong, never a part of the URL's secrets."""

    def unusable(
        what: str, expected: str = "redis://user:password@host:port/database, rediss:// or unix://"
    ) -> Unusable:
        return Unusable(
            f"{name} cannot be used: {what}",
            code="REDIS_URL_UNUSABLE",
            reason="URL",
            expected=expected,
            next_step=f"correct {name} (REDIS_URL in floyo_env_secrets); percent-encode special characters of the password",
        )

    match = _FORM.fullmatch(text.strip())
    if not match:
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://", text.strip())
        raise unusable(f"its scheme is {scheme.group(1)}" if scheme and "redis" not in scheme.group(1) else "its form")
    socket = match.group("scheme") in ("unix", "redis+socket")
    account, _, place = match.group("authority").rpartition("@")
    if "@" in account:
        raise unusable("it holds more than one @ before the host", "%40 for an @ in the user or password")
    user, _, password = account.partition(":")
    query = dict(parse_qsl(match.group("query") or "", keep_blank_values=True))
    unknown = sorted(set(query) - _TLS - _CLIENT_ONLY - {"db", "virtual_host", "username", "password", "ssl_cert_reqs"})
    if unknown:
        raise unusable(f"its parameter {unknown[0][:40]!r} is unknown", "parameters of redis-py")
    certificates = query.get("ssl_cert_reqs", "required").lower()
    if certificates not in _CERTIFICATES:
        raise unusable("its parameter ssl_cert_reqs has an unknown value", "none, optional, required")
    path = unquote(match.group("path") or "")
    number = query.get("db", query.get("virtual_host", "") if socket else path.strip("/")) or "0"
    if not number.isdigit():
        raise unusable("its database is no number", "/0 to /15")
    where = _PLACE.fullmatch(place)
    if socket and (place or not path.strip("/")):
        raise unusable("it names no socket", "unix:///run/redis/redis.sock?db=0")
    if not where or not 0 < int(where.group("port") or 6379) < 65536:
        raise unusable("its host is malformed", "host, host:port or [IPv6]:port")
    return CacheUrl(
        host="" if socket else unquote(where.group("host").strip("[]")) or "localhost",
        port=0 if socket else int(where.group("port") or 6379),
        path=path if socket else "",
        tls=match.group("scheme") == "rediss",
        user=unquote(user) or query.get("username", ""),
        password=unquote(password) or query.get("password", ""),
        database=int(number),
        verify=_CERTIFICATES[certificates],
        files={key: value for key, value in query.items() if key in _TLS},
    )
