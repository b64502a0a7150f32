"""Database URLs as applications write them, turned into what libpq understands (pure, standard library only).

SQLAlchemy's ``postgresql+asyncpg://...?ssl=require`` is no URL for libpq: pg_dump would take the whole text for a database's
name and print the password. So nothing of a URL reaches a client before it has been through ``parse_url``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode

from ..errors import Unusable

__all__ = ["DatabaseUrl", "parse_url", "scrub"]

_FORM = re.compile(
    r"(?P<scheme>postgres|postgresql)(?:\+(?P<driver>[A-Za-z0-9_]+))?://"
    r"(?P<authority>[^/?#]*)(?:/(?P<database>[^?#]*))?(?:\?(?P<query>[^#]*))?"
)
# Parameters of libpq, and the environment variable by which its programs get each.
_LIBPQ = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "sslsni": "PGSSLSNI",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "channel_binding": "PGCHANNELBINDING",
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "requirepeer": "PGREQUIREPEER",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "client_encoding": "PGCLIENTENCODING",
    "options": "PGOPTIONS",
}
# Known to libpq, without a variable or set by us: dropped from the programs' environment.
_LIBPQ_ONLY = {"connect_timeout", "application_name", "keepalives", "keepalives_idle", "keepalives_interval"}
_LIBPQ_ONLY |= {"keepalives_count", "tcp_user_timeout", "hostaddr"}
# Of SQLAlchemy's drivers: they tell the application's driver something and libpq nothing.
_DRIVER_ONLY = {
    "prepared_statement_cache_size", "prepared_statement_name_func", "statement_cache_size", "command_timeout", "timeout",
    "max_cached_statement_lifetime", "max_cacheable_statement_size", "prepare_threshold", "async_fallback",
    "use_native_hstore", "executemany_mode", "server_settings", "direct_tls",
}  # fmt: skip
_SSL = {"true": "require", "1": "require", "on": "require", "false": "disable", "0": "disable", "off": "disable"}
_SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class DatabaseUrl:
    """Where a database is and who asks. ``repr`` and ``str`` show no password."""

    driver: str
    hosts: tuple[tuple[str, int], ...]
    user: str
    password: str = field(repr=False)
    database: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    driver_parameters: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        places = (
            ",".join(f"{f'[{host}]' if ':' in host else host}:{port}" for host, port in self.hosts) or "local socket"
        )
        return f"postgresql://{self.user + '@' if self.user else ''}{places}/{self.database}"

    def conninfo(self) -> dict[str, str]:
        """Keywords for ``psycopg.connect``."""
        words = {"dbname": self.database, **self.parameters}
        if self.hosts:
            words["host"] = ",".join(host for host, _ in self.hosts)
            words["port"] = ",".join(str(port) for _, port in self.hosts)
        if self.user:
            words["user"] = self.user
        if self.password:
            words["password"] = self.password
        return words

    def environment(self, *, host: str = "", port: int = 0) -> dict[str, str]:
        """The same for libpq's programs. ``host`` and ``port`` pin one of several servers.

        Environment, not arguments: only the same account and root can read it, and nothing stays behind on a disk.
        """
        words = self.conninfo()
        names = {"dbname": "PGDATABASE", "host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
        names.update(_LIBPQ)
        values = {names[word]: value for word, value in words.items() if word in names}
        if host:
            values["PGHOST"] = host
        if port:
            values["PGPORT"] = str(port)
        return values

    def for_driver(self, driver: str) -> str:
        """The URL with its password, for SQLAlchemy with ``driver`` (empty: SQLAlchemy's own default)."""
        parameters = {**self.parameters, **(self.driver_parameters if driver == self.driver else {})}
        if driver == "asyncpg" and "sslmode" in parameters:
            parameters["ssl"] = parameters.pop("sslmode")
        hosts = list(self.hosts)
        place = ""
        if len(hosts) == 1 and not hosts[0][0].startswith("/"):
            host, port = hosts[0]
            place = f"{f'[{host}]' if ':' in host else host}:{port}"
        elif hosts:
            parameters["host"] = ",".join(host for host, _ in hosts)
            parameters["port"] = ",".join(str(port) for _, port in hosts)
        account = quote(self.user, safe="") + (":" + quote(self.password, safe="") if self.password else "")
        return (
            f"postgresql{'+' + driver if driver else ''}://{account + '@' if account else ''}{place}"
            f"/{quote(self.database, safe='')}{'?' + urlencode(parameters) if parameters else ''}"
        )


def parse_url(text: str, *, name: str = "database_url") -> DatabaseUrl:
    """Read a PostgreSQL URL. Errors name the parameter ``name`` and what is wrong, never a part of the URL's secrets."""

    def unusable(what: str, expected: str = "postgresql[+driver]://user:password@host:port/database") -> Unusable:
        return Unusable(
            f"{name} cannot be used: {what}",
            code="DATABASE_URL_UNUSABLE",
            expected=expected,
            next_step=f"correct {name} in the inventory's secrets; percent-encode special characters of the password",
        )

    match = _FORM.fullmatch(text.strip())
    if not match:
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://", text.strip())
        raise unusable(
            f"its scheme is {scheme.group(1)}" if scheme and "postgres" not in scheme.group(1) else "its form"
        )
    account, at, place = match.group("authority").rpartition("@")
    if "@" in account:
        raise unusable("it holds more than one @ before the host", "%40 for an @ in the user or password")
    user, _, password = account.partition(":")
    if at and not user:
        raise unusable("it has a password and no user" if password else "its user is empty")
    query = dict(_query(match.group("query") or "", unusable))
    hosts = _hosts(unquote(place) if place.lower().startswith("%2f") else place, query, unusable)
    database = unquote(match.group("database") or "") or query.pop("dbname", "")
    query.pop("dbname", None)
    if not database:
        raise unusable("it names no database")
    if "\0" in unquote(account) + database or "\n" in unquote(account) + database:
        raise unusable("it holds a control character")
    user = unquote(user) or query.pop("user", "")
    password = unquote(password) or query.pop("password", "")
    return DatabaseUrl(
        driver=match.group("driver") or "",
        hosts=hosts,
        user=user,
        password=password,
        database=database,
        parameters={key: value for key, value in query.items() if key in _LIBPQ or key in _LIBPQ_ONLY},
        driver_parameters={key: value for key, value in query.items() if key in _DRIVER_ONLY},
    )


def _query(text: str, unusable: Callable[..., Unusable]) -> Iterable[tuple[str, str]]:
    for key, value in parse_qsl(text, keep_blank_values=True):
        if key == "ssl":
            mode = _SSL.get(value.lower(), value)
            if mode not in _SSLMODES:
                raise unusable("its parameter ssl has an unknown value", ", ".join(_SSLMODES))
            yield "sslmode", mode
        elif key == "sslmode" and value not in _SSLMODES:
            raise unusable("its parameter sslmode has an unknown value", ", ".join(_SSLMODES))
        elif (
            key in _LIBPQ
            or key in _LIBPQ_ONLY
            or key in _DRIVER_ONLY
            or key in ("host", "port", "user", "password", "dbname")
        ):
            yield key, value
        else:
            raise unusable(f"its parameter {key[:40]!r} is unknown", "parameters of libpq or of a driver")


def _hosts(place: str, query: dict[str, str], unusable: Callable[..., Unusable]) -> tuple[tuple[str, int], ...]:
    names, ports = query.pop("host", ""), query.pop("port", "")
    if place and names:
        raise unusable("it names a host twice")
    found = []
    for index, part in enumerate(place.split(",") if place else names.split(",") if names else []):
        match = re.fullmatch(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s]+)(?::(?P<port>\d+))?", part)
        if names:
            listed = ports.split(",") if ports else []
            host, port = part, listed[index] if index < len(listed) else listed[-1] if listed else "5432"
        elif match:
            host, port = match.group("host").strip("[]"), match.group("port") or ports or "5432"
        else:
            raise unusable("its host is malformed", "host, host:port or [IPv6]:port")
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise unusable("its port is no number from 1 to 65535")
        found.append((unquote(host), int(port)))
    return tuple(found)


_URL_PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s@]+@")
_NAMED_PASSWORD = re.compile(r"(?i)\b(password|passwd|pgpassword)(\s*[=:]\s*|\s+)('[^']*'|\"[^\"]*\"|[^\s,;)]+)")


def scrub(text: str, *passwords: str) -> str:
    """``text`` without passwords: those given, in plain and in URL form, and what stands where passwords stand.

    A short password such as ``app`` is also a part of honest words and paths: it goes only where it stands alone.
    """
    text = _URL_PASSWORD.sub(r"\1***@", text)
    text = _NAMED_PASSWORD.sub(
        lambda match: match.group() if _is_prose(match) else f"{match.group(1)}{match.group(2)}***", text
    )
    for password in filter(None, passwords):
        for form in {password, quote(password, safe=""), quote(password)}:
            pattern = re.escape(form) if len(form) >= 8 else rf"(?<![\w/.-]){re.escape(form)}(?![\w/.-])"
            text = re.sub(pattern, "***", text)
    return text


def _is_prose(match: re.Match[str]) -> bool:
    """ "password authentication failed for user ..." is a sentence of the server and holds no password."""
    return match.group(2).isspace() and match.group(3)[0] not in "'\""
