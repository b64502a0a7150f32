"""Client for the application's HTTP endpoints: one GET, bounded in time and size, every failure with its own reason.

A server may answer too late, too slowly, too much, half, or something else than it should. ``requests`` bounds the wait
for each packet and not the whole request (and not the name look-up), so the request runs in a thread of its own:
whoever asked stops waiting when the time is over, whatever the server is doing, and closes the socket.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlsplit, urlunsplit

from .errors import FloyoError, Unusable
from .text import shorten

REQUESTS_IMPORT_ERROR: Optional[str] = None
_TLS_ERRORS: tuple[type[Exception], ...] = (ssl.SSLError,)
try:
    import requests
    import urllib3
    from requests.adapters import HTTPAdapter
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    # urllib3 1.x, which Debian 12 has, compares the host name itself and raises an error of its own.
    _TLS_ERRORS += (urllib3.exceptions.SSLError,)
except ImportError:
    REQUESTS_IMPORT_ERROR = traceback.format_exc()
    HTTPAdapter = object  # type: ignore[assignment,misc]

__all__ = ["Answer", "Client", "Pending", "RequestFailed", "parse_object", "require_requests", "safe_url"]

_CHUNK = 16384
_HEADER_SAFE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


class RequestFailed(FloyoError):
    """A GET that brought no usable answer. ``code`` is the reason, ``status`` the HTTP status when there was one."""

    def __init__(
        self, message: str, *, code: str, url: str, latency_ms: float = 0.0, status: int | None = None, **rest: Any
    ) -> None:
        super().__init__(message, code=code, **rest)
        self.url = url
        self.latency_ms = latency_ms
        self.status = status


@dataclass(frozen=True)
class Answer:
    """A complete answer, whatever its status."""

    url: str
    status: int
    latency_ms: float
    body: bytes
    headers: Mapping[str, str]


def require_requests() -> None:
    """Say what to install when python3-requests is not there."""
    if REQUESTS_IMPORT_ERROR:
        raise Unusable(
            "the Python package requests is not installed for this interpreter",
            code="REQUESTS_MISSING",
            expected="python3-requests on the host that runs the module",
            next_step="apt-get install python3-requests, or delegate the task to a host that has it",
            exception=REQUESTS_IMPORT_ERROR,
        )


def safe_url(url: str) -> str:
    """``url`` as it may be shown: no user, password, query or fragment."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return shorten(urlunsplit((parts.scheme, host, parts.path, "", "")))
    except ValueError:
        return "(not a URL)"


def parse_object(answer: Answer) -> dict[str, Any]:
    """The JSON object in ``answer``; RequestFailed with code NOT_JSON for anything else."""
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):  # RecursionError: thousands of nested brackets
        value = None
        kind = answer.headers.get("Content-Type", "")
        found = f"{shorten(kind, 60) or 'no content type'}, {len(answer.body)} bytes"
    else:
        found = f"JSON of type {type(value).__name__}"
    if not isinstance(value, dict):
        raise RequestFailed(
            f"{safe_url(answer.url)} answered {answer.status} with something that is not a JSON object ({found})",
            code="NOT_JSON",
            url=answer.url,
            status=answer.status,
            latency_ms=answer.latency_ms,
            expected='a JSON object such as {"status": "healthy"}',
            next_step="ask the path with curl: another program may listen on this port, or a proxy may have answered",
        )
    return value


@dataclass
class Client:
    """What all requests to one application share.

    ``timeout`` bounds a whole request in seconds, from the name look-up to the last byte. Redirects are not followed: a
    health path that redirects is not the application's answer. The environment's proxies and ~/.netrc are not used.
    """

    timeout: float = 5.0
    max_bytes: int = 1 << 20
    validate_certs: bool = True
    ca_path: str = ""
    token: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_requests()
        if self.timeout <= 0:
            raise Unusable(
                f"a timeout of {self.timeout} s allows no answer", code="TIMEOUT_INVALID", expected="above 0"
            )
        if self.ca_path and not Path(self.ca_path).exists():
            raise Unusable(
                f"the CA bundle {self.ca_path} does not exist",
                code="CA_MISSING",
                next_step="correct ca_path, or leave it out",
            )
        # requests would quote a refused value, and with it the token, in its error.
        for name, value in self.request_headers().items():
            if not (_HEADER_SAFE.fullmatch(name) and _HEADER_SAFE.fullmatch(value)):
                raise Unusable(
                    f"the header {shorten(name, 40)} holds characters that no HTTP header can carry",
                    code="HEADER_INVALID",
                    expected="printable ASCII on one line",
                    next_step="look for a line break at the end of the token",
                )

    def get(self, url: str, *, timeout: float | None = None) -> Answer:
        """One GET; RequestFailed when no complete answer came."""
        return self.start(url, timeout=timeout).result()

    def start(self, url: str, *, timeout: float | None = None) -> Pending:
        """Begin a GET and return at once; several can be under way together."""
        parts = urlsplit(url)
        try:
            # A user and password in a URL would be shown with the task's arguments; and they displace the token.
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
            usable = usable and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise Unusable(
                f"{safe_url(url)} is not an address that can be asked",
                code="URL_INVALID",
                expected="http://host:port/path or https://host/path, without a user and password",
                next_step="correct the address; a secret goes into the token",
            )
        return Pending(self, url, self.timeout if timeout is None else min(timeout, self.timeout))

    def request_headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "floyo-ops"}
        headers.update({str(name): str(value) for name, value in self.headers.items()})
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return headers

    def trust(self) -> bool | str:
        """What requests' ``verify`` gets: the given bundle, else the system's store, else the one requests brings."""
        if not self.validate_certs:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the caller has said so
            return False
        paths = ssl.get_default_verify_paths()
        return self.ca_path or paths.cafile or paths.capath or True


class Pending:
    """A GET under way."""

    def __init__(self, client: Client, url: str, timeout: float) -> None:
        self.url = url
        self.timeout = timeout
        self._client = client
        self._begun = time.monotonic()
        self._progress = _Progress()
        self._done = threading.Event()
        self._answer: Answer | None = None
        self._error: BaseException | None = None
        # A daemon: a look-up that hangs in the C library must not keep the process alive.
        threading.Thread(target=self._work, daemon=True).start()

    def result(self) -> Answer:
        """Wait for the answer, at most until the timeout that began with the request."""
        if not self._done.wait(max(0.0, self._begun + self.timeout - time.monotonic())):
            # Judged before the close: its end of file can pass for the end of the header and move the phase on.
            late = self._late()
            self._progress.close()
            raise late
        if self._error is not None:
            raise self._explain(self._error)
        if self._answer is None:
            raise AssertionError("a request ended without an answer and without an error")
        return self._answer

    def _work(self) -> None:
        try:
            self._answer = self._request()
        except BaseException as error:  # noqa: BLE001 - crosses to the asking thread, where result() raises it
            self._error = error
        finally:
            self._done.set()

    def _request(self) -> Answer:
        client = self._client
        with requests.Session() as session:
            session.trust_env = False
            for scheme in ("http://", "https://"):
                session.mount(scheme, _Adapter(self._progress))
            response = session.get(
                self.url,
                headers=client.request_headers(),
                timeout=self.timeout,
                verify=client.trust(),
                allow_redirects=False,
                stream=True,
            )
            self._progress.phase = "body"
            body = bytearray()
            for chunk in response.iter_content(_CHUNK):
                body += chunk
                if len(body) > client.max_bytes:
                    raise self._failure(
                        "TOO_LARGE",
                        f"sent more than {client.max_bytes} bytes",
                        "look at what the path serves; a health answer is small",
                        status=response.status_code,
                    )
            announced = response.headers.get("Content-Length", "")
            # urllib3 1.x, which Debian 12 has, does not compare the two itself.
            if announced.isdecimal() and response.raw.tell() < int(announced):
                raise http.client.IncompleteRead(bytes(body), int(announced) - response.raw.tell())
            return Answer(self.url, response.status_code, self._elapsed(), bytes(body), response.headers)

    def _elapsed(self) -> float:
        return round((time.monotonic() - self._begun) * 1000, 1)

    def _failure(self, code: str, what: str, next_step: str, *, status: int | None = None) -> RequestFailed:
        return RequestFailed(
            f"{safe_url(self.url)} {what}",
            code=code,
            url=self.url,
            latency_ms=self._elapsed(),
            status=status,
            next_step=next_step,
        )

    def _late(self) -> RequestFailed:
        seconds = f"{self.timeout:.3g} s"
        phase = self._progress.phase
        if phase == "body":
            return self._failure(
                "SLOW",
                f"began to answer but was not done after {seconds}",
                "look at the load of the host and the application",
            )
        what = {
            "connect": f"accepted no connection within {seconds} (name look-up and TCP)",
            "tls": f"did not finish the TLS handshake within {seconds}",
            "wait": f"took the request and sent no complete header within {seconds}",
        }[phase]
        hint = {"connect": "check the host, the port and the firewall"}.get(
            phase, "the process hangs or is overloaded: read the unit's journal"
        )
        return self._failure("TIMEOUT", what, hint)

    def _explain(self, error: BaseException) -> BaseException:
        """The RequestFailed that says what ``error`` means; an error that is none of the network's stays what it is."""
        if not isinstance(
            error, (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
        ):
            return error
        chain = _origins(error)
        if _first(chain, TimeoutError, socket.timeout):
            return self._late()
        for kinds, code, what, hint in _EXPLANATIONS:
            cause = _first(chain, *kinds)
            if cause is not None:
                failure = self._failure(code, what.format(cause=_sentence(cause)), hint)
                failure.__cause__ = error
                return failure
        failure = self._failure("FAILED", f"could not be asked: {_sentence(error)}", "ask the path with curl -v")
        failure.__cause__ = error
        return failure


# Tried in this order, each against the error and everything that led to it.
_EXPLANATIONS: tuple[tuple[tuple[type[BaseException], ...], str, str, str], ...] = (
    ((socket.gaierror,), "DNS", "has a host name that does not resolve ({cause})", "check the name and the resolver"),
    (
        (ssl.SSLCertVerificationError,),
        "TLS",
        "shows a certificate that is not trusted: {cause}",
        "check name, issuer and end date of the certificate; a private CA needs ca_path",
    ),
    (
        _TLS_ERRORS,
        "TLS",
        "does not complete a TLS handshake: {cause}",
        "check the host name, and that the port speaks TLS",
    ),
    (
        (ConnectionRefusedError,),
        "REFUSED",
        "refuses connections: nothing listens there",
        "systemctl status of the unit, and its journal",
    ),
    (
        (http.client.RemoteDisconnected,),
        "CLOSED",
        "closed the connection without an answer",
        "read the unit's journal: the process may have crashed on the request",
    ),
    (
        (http.client.IncompleteRead,),
        "TRUNCATED",
        "broke off in the middle of its answer",
        "read the unit's journal: the process may have died while it answered",
    ),
    (
        (ConnectionResetError, BrokenPipeError, ConnectionAbortedError),
        "RESET",
        "reset the connection",
        "read the unit's journal: the process may have crashed on the request",
    ),
    (
        (http.client.HTTPException,),
        "NOT_HTTP",
        "answered something that is not HTTP ({cause})",
        "check the port, and whether it speaks https",
    ),
    ((OSError,), "UNREACHABLE", "cannot be reached: {cause}", "check address, route and firewall"),
)


def _origins(error: BaseException) -> list[BaseException]:
    """What led to ``error``; requests and urllib3 pass it on as cause, context, argument or reason.

    requests' own errors are left out: they are OSErrors by class and would be taken for the network's.
    """
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and not any(item is seen for seen in found):
            found.append(item)
            waiting += [item.__cause__, item.__context__, getattr(item, "reason", None), *item.args]
    return [item for item in found if not isinstance(item, requests.RequestException)]


def _first(chain: list[BaseException], *kinds: type[BaseException]) -> BaseException | None:
    return next((item for item in chain if isinstance(item, kinds)), None)


def _sentence(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return shorten(error.verify_message.rstrip("."))
    if isinstance(error, ssl.SSLError):
        return shorten((error.reason or str(error)).replace("_", " ").lower())
    if isinstance(error, _TLS_ERRORS):
        return shorten(error)
    if isinstance(error, OSError) and error.strerror:
        return shorten(error.strerror)
    return shorten(type(error).__name__)


class _Progress:
    """How far a request got, and its socket while it has one."""

    def __init__(self) -> None:
        self.phase = "connect"
        self.socket: socket.socket | None = None

    def close(self) -> None:
        """Wake the thread that reads: nobody waits for it any more."""
        if self.socket is not None:
            with contextlib.suppress(OSError):  # closed already, or in the middle of the handshake
                self.socket.shutdown(socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    """requests' transport with connections that report their progress."""

    def __init__(self, progress: _Progress) -> None:
        self._progress = progress
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {
            "http": _reporting(HTTPConnectionPool, self._progress),
            "https": _reporting(HTTPSConnectionPool, self._progress),
        }


def _reporting(pool: Any, progress: _Progress) -> Any:
    """``pool`` whose connections write into ``progress``."""

    class Connection(pool.ConnectionCls):
        def _new_conn(self) -> socket.socket:
            progress.socket = super()._new_conn()
            progress.phase = "tls"
            return progress.socket

        def connect(self) -> None:
            super().connect()
            progress.socket = self.sock
            progress.phase = "wait"

    return type(pool.__name__, (pool,), {"ConnectionCls": Connection})
