"""Asks the monitoring endpoints, HAProxy, the log and the database for figures (client)."""

from __future__ import annotations

import contextlib
import re
import socket
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from ..errors import ConnectionLost, FloyoError, Unusable
from ..haproxy import counters
from ..http import Answer, Client, Pending, RequestFailed, parse_object, safe_url
from ..logs.files import log_files, matching
from ..logs.lines import duration_of, parse
from ..logs.scan import Question, words_for
from ..postgres.url import parse_url, scrub
from ..text import shorten

PSYCOPG_IMPORT_ERROR: Optional[str] = None
try:
    import psycopg
except ImportError:
    PSYCOPG_IMPORT_ERROR = traceback.format_exc()

__all__ = ["Endpoint", "ask_all", "log_figures", "proxy_figures", "query_figures"]

_STATUS = re.compile(rb"\b(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) /\S*(?: HTTP/[\d.]+\"?)? ([1-5]\d\d)\b")
_MOST_SAMPLES = 200_000

_BY_STATUS = {
    401: ("UNAUTHORIZED", "answers 401: no valid token", "set floyo_admin_token to an administrator's token"),
    403: (
        "FORBIDDEN",
        "answers 403: the token is not an administrator's",
        "set floyo_admin_token to an administrator's",
    ),
    404: ("NOT_FOUND", "answers 404", "correct the path; an older release may not have it"),
    429: ("RATE_LIMITED", "answers 429: too many requests", "exempt 127.0.0.1 from the application's rate limit"),
}


class Endpoint:
    """One monitoring endpoint under the paths that it may have, the likeliest first."""

    def __init__(self, client: Client, base_url: str, paths: Sequence[str]) -> None:
        self._client = client
        self._urls = [path if "://" in path else f"{base_url.rstrip('/')}/{path.lstrip('/')}" for path in paths]

    def begin(self) -> Pending:
        return self._client.start(self._urls[0])

    def end(self, pending: Pending) -> dict[str, Any]:
        """The answer's object. A path that is not there makes way for the next one, which is kept."""
        answer = pending.result()
        while answer.status == 404 and len(self._urls) > 1:
            del self._urls[0]
            answer = self._client.get(self._urls[0])
        if not 200 <= answer.status < 300:
            raise _refused(answer)
        return parse_object(answer)


def _refused(answer: Answer) -> RequestFailed:
    code, what, hint = _BY_STATUS.get(
        answer.status, ("STATUS", f"answers {answer.status}", "read the unit's journal for the cause")
    )
    if 300 <= answer.status < 400:
        code, what, hint = "REDIRECTED", f"redirects ({answer.status})", "ask the application itself, not a proxy"
    return RequestFailed(
        f"{safe_url(answer.url)} {what}", code=code, url=answer.url, status=answer.status, next_step=hint
    )


def ask_all(endpoints: Mapping[str, Endpoint]) -> dict[str, Any]:
    """``{name: object or FloyoError}``; all are under way before the first answer is read."""
    pending = {name: endpoint.begin() for name, endpoint in endpoints.items()}
    answers: dict[str, Any] = {}
    for name, request in pending.items():
        try:
            answers[name] = endpoints[name].end(request)
        except FloyoError as error:
            answers[name] = error
    return answers


# --- the proxy -------------------------------------------------------------------------------------------------------


def proxy_figures(path: str, frontend: str) -> dict[str, Any]:
    """HAProxy's counters of a frontend since it started, and which process it is."""
    info = dict(line.split(": ", 1) for line in _say(path, "show info").splitlines() if ": " in line)
    found = counters(_say(path, "show stat"), frontend)
    if not found:
        raise Unusable(
            f"HAProxy has no frontend {frontend}",
            code="NO_FRONTEND",
            expected="the frontend that users come through",
            next_step="correct frontend; haproxy.cfg names them",
        )
    return {**found, "process": info.get("Pid", ""), "seconds": float(info.get("Uptime_sec") or 0)}


def _say(path: str, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(path)
            connection.sendall(f"{command}\n".encode())
            parts: list[bytes] = []
            while True:
                part = connection.recv(65536)
                if not part:
                    return b"".join(parts).decode(errors="replace")
                parts.append(part)
        except OSError as error:
            raise ConnectionLost(
                f"HAProxy does not answer on {path}: {error.strerror or error}",
                code="PROXY_SILENT",
                expected="its admin socket, read as root",
                next_step="systemctl status haproxy",
            ) from error


# --- the log ---------------------------------------------------------------------------------------------------------


def log_figures(path: str, since: float) -> dict[str, Any]:
    """Requests by their answer, and latencies, of a log that tells every request. Raises when it tells only errors."""
    requests = client_errors = server_errors = 0
    samples: dict[str, list[float]] = {}
    kept = 0
    question = Question(since=since)
    for file in log_files(path, rotated=True):
        if file.modified < since:
            continue
        for raw in matching(file, words_for(question, ["slow"])):
            match = _STATUS.search(raw)
            if not match:
                continue
            line = parse(raw)
            if line.epoch is None or line.epoch < since:
                continue
            status = int(match[1])
            requests += 1
            client_errors += 400 <= status < 500
            server_errors += status >= 500
            told = duration_of(line)
            if told and kept < _MOST_SAMPLES:
                samples.setdefault(told[1].replace(" ", ":", 1), []).append(told[0])
                kept += 1
    if requests == client_errors + server_errors:
        raise Unusable(
            f"{path} tells no request that went well"
            + (f", and {server_errors} answered with 5xx" if server_errors else ""),
            code="LOG_PARTIAL",
            expected="a line for every request",
            next_step="ask the proxy for rates, or let the application log every request",
        )
    return {
        "requests": requests,
        "client_errors": client_errors,
        "server_errors": server_errors,
        "endpoints": {name: _distribution(values) for name, values in samples.items()},
    }


def _distribution(values: list[float]) -> dict[str, float]:
    values.sort()

    def at(part: float) -> float:
        return values[max(0, -int(-part * len(values) // 1) - 1)]

    return {
        "count": len(values),
        "p50": at(0.50),
        "p95": at(0.95),
        "p99": at(0.99),
        "max": values[-1],
        "avg": sum(values) / len(values),
    }


# --- the database ----------------------------------------------------------------------------------------------------


def query_figures(database_url: str, role: str, statistics_database: str) -> dict[str, Any]:
    """What pg_stat_statements counts of this database's statements, without their texts; of one role when named.

    The extension's view covers all databases; it may be in another one than the application's.
    """
    if PSYCOPG_IMPORT_ERROR:
        raise Unusable(
            "the Python package psycopg is not installed for this interpreter",
            code="PSYCOPG_MISSING",
            next_step="apt-get install python3-psycopg",
        )
    url = parse_url(database_url)
    settings: dict[str, Any] = {"connect_timeout": "5", **url.conninfo(), "application_name": "floyo-ops slo"}
    settings["options"] = "-c statement_timeout=5000 -c lock_timeout=1000 -c default_transaction_read_only=on"
    # Of the names that psycopg and libpq know, the one that parse_url gives.
    wanted = str(settings["dbname"])
    with _explained(url.password or ""):
        for name in dict.fromkeys((wanted, statistics_database or wanted)):
            with psycopg.connect(**{**settings, "dbname": name}, autocommit=True) as connection:
                where = connection.execute(
                    "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
                    " WHERE e.extname = 'pg_stat_statements'"
                ).fetchone()
                if where is not None:
                    return _statements(connection, '"' + str(where[0]).replace('"', '""') + '"', wanted, role)
    raise Unusable(
        f"neither {wanted} nor {statistics_database} has the extension pg_stat_statements",
        code="NO_STATISTICS",
        next_step="playbooks/provision.yml sets it up",
    )


def _statements(connection: Any, schema: str, database: str, role: str) -> dict[str, Any]:
    version = connection.info.server_version
    kind = "_exec_time" if version >= 130000 else "_time"
    rows = connection.execute(
        f"SELECT s.userid || '/' || s.queryid, s.calls, s.mean{kind}, s.stddev{kind}, s.min{kind}, s.max{kind}"  # noqa: S608 - our own words
        f" FROM {schema}.pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid"
        " LEFT JOIN pg_roles r ON r.oid = s.userid"
        " WHERE d.datname = %(database)s AND s.calls > 0 AND (%(role)s = '' OR r.rolname = %(role)s)",
        {"database": database, "role": role},
    ).fetchall()
    since = None
    if version >= 140000:
        told = connection.execute(
            f"SELECT stats_reset FROM {schema}.pg_stat_statements_info"  # noqa: S608 - our own words
        ).fetchone()
        since = told[0].isoformat(timespec="seconds") if told and told[0] else None
    names = ("calls", "mean_ms", "deviation_ms", "min_ms", "max_ms")
    # The identity is for those who look again; the texts stay with the server.
    return {"statements": [{"id": row[0], **dict(zip(names, map(float, row[1:])))} for row in rows], "since": since}


@contextlib.contextmanager
def _explained(password: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise ConnectionLost(
            f"the database's statistics cannot be read: {shorten(scrub(str(error), password))}",
            code="DATABASE_SILENT",
            next_step="ansible-playbook playbooks/database_connections.yml",
        ) from error
