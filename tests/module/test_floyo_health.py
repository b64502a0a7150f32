"""floyo_health against real servers, most of which misbehave."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Handler = Callable[[socket.socket, str], None]


class Server:
    """Gives every connection to ``handler`` together with the path that was asked."""

    def __init__(self, handler: Handler, context: ssl.SSLContext | None = None) -> None:
        self._handler = handler
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.stopped = threading.Event()
        self.paths: list[str] = []
        self.requests: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed by stop()
            while True:
                connection, _peer = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # A client that gives up is what half of these tests are about.
        with contextlib.suppress(OSError), connection:
            stream = self._context.wrap_socket(connection, server_side=True) if self._context else connection
            request = b""
            while b"\r\n\r\n" not in request:
                received = stream.recv(4096)
                if not received:
                    return
                request += received
            self.requests.append(request.decode())
            path = request.split()[1].decode()
            self.paths.append(path)
            self._handler(stream, path)

    def stop(self) -> None:
        self.stopped.set()
        self._listener.close()


def answer(body: Any, status: str = "200 OK", headers: str = "") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n{headers}\r\n"
    return head.encode() + data


BODIES: dict[str, Any] = {
    "/health": {"status": "healthy", "timestamp": "2025-01-15T10:30:00Z", "version": "v1.1.0"},
    "/health/readiness": {"status": "ready", "checks": {"database": "ok", "redis": "not_configured"}},
    "/health/detailed": {
        "status": "ok",
        "checks": {"database": {"status": "ok"}, "cache": {"status": "ok", "hit_rate": 80}},
    },
    "/health/liveness": {"status": "alive"},
    "/health/migrations": {"status": "up_to_date", "pending_migrations": 0},
    "/api/health": {"status": "ok"},
}


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(handler: Handler, context: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(handler, context))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def application(serve: Callable[..., Server]) -> Callable[..., Server]:
    """An application that answers ``BODIES``; a path given as an argument answers the given bytes."""

    def start(changed: dict[str, bytes] | None = None) -> Server:
        missing = answer({"detail": "Not Found"}, "404 Not Found")
        answers = {**{path: answer(body) for path, body in BODIES.items()}, **(changed or {})}
        return serve(lambda stream, path: stream.sendall(answers.get(path, missing)))

    return start


def _url(server: Server, scheme: str = "http", host: str = "127.0.0.1") -> str:
    return f"{scheme}://{host}:{server.port}"


def _reasons(result: Any) -> dict[str, str]:
    return {check["name"]: check["reason"] for check in result["checks"]}


def test_all_endpoints_healthy(run_module: Any, application: Any) -> None:
    server = application()
    result = run_module("floyo_health", {"base_url": _url(server), "frontend_url": f"{_url(server)}/api/health"})
    assert result.rc == 0
    assert (result["verdict"], result["severity"], result["changed"], result["rounds"]) == ("healthy", "none", False, 1)
    assert sorted(server.paths) == sorted(BODIES)
    assert set(_reasons(result).values()) == {"OK"}
    assert all(check["latency_ms"] > 0 and check["status"] == 200 for check in result["checks"])


def test_only_what_is_asked(run_module: Any, application: Any) -> None:
    server = application()
    result = run_module("floyo_health", {"base_url": _url(server) + "/", "checks": ["readiness", "health"]}, check=True)
    assert [check["name"] for check in result["checks"]] == ["readiness", "health"]
    assert sorted(server.paths) == ["/health", "/health/readiness"]


def test_an_empty_path_is_not_asked(run_module: Any, application: Any) -> None:
    server = application()
    result = run_module(
        "floyo_health", {"base_url": _url(server), "paths": {"detailed": "", "migrations": "", "liveness": ""}}
    )
    assert list(_reasons(result)) == ["health", "readiness"]


def test_endpoints_are_asked_at_the_same_time(run_module: Any, serve: Any) -> None:
    together = threading.Barrier(3, timeout=20)

    def handler(stream: socket.socket, path: str) -> None:
        together.wait()  # breaks unless three requests are open at once
        stream.sendall(answer(BODIES[path]))

    server = serve(handler)
    result = run_module(
        "floyo_health",
        {"base_url": _url(server), "checks": ["health", "readiness", "detailed"], "timeout": 20, "fail_on": "never"},
    )
    assert result["verdict"] == "healthy"


# --- hostile servers: each its own reason ----------------------------------------------------------------------------


def _hang(server: list[Server]) -> Handler:
    def handler(stream: socket.socket, path: str) -> None:
        server[0].stopped.wait(30)

    return handler


def _drip_header(server: list[Server]) -> Handler:
    def handler(stream: socket.socket, path: str) -> None:
        stream.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        while not server[0].stopped.wait(0.02):
            stream.sendall(b"x")

    return handler


def _drip_body(server: list[Server]) -> Handler:
    def handler(stream: socket.socket, path: str) -> None:
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
        while not server[0].stopped.wait(0.02):
            stream.sendall(b" ")

    return handler


def _reset(server: list[Server]) -> Handler:
    def handler(stream: socket.socket, path: str) -> None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return handler


def _endless(server: list[Server]) -> Handler:
    def handler(stream: socket.socket, path: str) -> None:
        stream.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"status": "ok", "padding": "')
        while not server[0].stopped.is_set():
            stream.sendall(b"x" * 65536)

    return handler


def _bytes(data: bytes) -> Callable[[list[Server]], Handler]:
    return lambda server: lambda stream, path: stream.sendall(data)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HOSTILE: dict[str, tuple[Callable[[list[Server]], Handler], str, str]] = {
    "hangs": (_hang, "TIMEOUT", "sent no complete header within 1.5 s"),
    "drips its header": (_drip_header, "TIMEOUT", "sent no complete header"),
    "drips its body": (_drip_body, "SLOW", "was not done after 1.5 s"),
    "resets": (_reset, "RESET", "reset the connection"),
    "closes": (_bytes(b""), "CLOSED", "without an answer"),
    "is cut short": (_bytes(answer(BODIES["/health"])[:-5]), "TRUNCATED", "in the middle of its answer"),
    "is cut short in a chunk": (_bytes(CHUNKED + b'14\r\n{"status"'), "TRUNCATED", "in the middle of its answer"),
    "sends chunks that are none": (_bytes(CHUNKED + b"zz\r\n{}"), "TRUNCATED", "in the middle of its answer"),
    "sends no end": (_endless, "TOO_LARGE", "more than 65536 bytes"),
    "speaks another protocol": (_bytes(b"SSH-2.0-OpenSSH_9.2\r\n"), "NOT_HTTP", "not HTTP"),
    "sends HTML": (_bytes(answer(b"<html>It works!</html>")), "NOT_JSON", "not a JSON object"),
    "sends nothing": (_bytes(answer(b"")), "NOT_JSON", "not a JSON object"),
    "sends a list": (_bytes(answer([1, 2])), "NOT_JSON", "JSON of type list"),
    "nests without end": (_bytes(answer(b"[" * 60000)), "NOT_JSON", "not a JSON object"),
    "redirects": (
        _bytes(answer(b"", "302 Found", "Location: https://u:hidden@login.example/x?t=hidden\r\n")),
        "REDIRECTED",
        "redirects (302) to https://login.example/x",
    ),
    "answers 500": (_bytes(answer({"status": "healthy"}, "500 Internal Server Error")), "STATUS", "answers 500"),
    "answers 404": (_bytes(answer({"detail": "Not Found"}, "404 Not Found")), "STATUS", "the path is not offered"),
    "answers 401": (_bytes(answer({}, "401 Unauthorized")), "UNAUTHORIZED", "not authenticated"),
    "answers 403": (_bytes(answer({}, "403 Forbidden")), "FORBIDDEN", "lacks the right"),
    "answers 429": (_bytes(answer({}, "429 Too Many Requests")), "RATE_LIMITED", "rate limit"),
    "is a proxy without a backend": (_bytes(answer(b"<h1>no server</h1>", "503 Unavailable")), "STATUS", "answers 503"),
    "refuses service": (
        _bytes(answer({"detail": "Service not ready"}, "503 Unavailable")),
        "UNHEALTHY",
        "answers 503: Service not ready",
    ),
    "claims health and refuses": (_bytes(answer({"status": "healthy"}, "503 Unavailable")), "UNHEALTHY", "answers 503"),
    "lies": (
        _bytes(answer({"status": "healthy", "checks": {"database": {"status": "error", "message": "gone"}}})),
        "UNHEALTHY",
        "database is error (gone)",
    ),
    "says nothing": (_bytes(answer({"hello": "world"})), "NO_STATUS", "neither status nor checks"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_server(run_module: Any, serve: Any, case: str) -> None:
    handler, reason, words = HOSTILE[case]
    holder: list[Server] = []
    holder.append(serve(handler(holder)))
    # Only where the time is the point is it short: a busy machine must not turn another reason into this one.
    timeout = 1.5 if reason in ("TIMEOUT", "SLOW") else 30
    arguments = {"base_url": _url(holder[0]), "checks": ["health"], "timeout": timeout, "max_bytes": 65536}
    result = run_module("floyo_health", arguments)
    assert result.rc == 1
    (check,) = result["checks"]
    assert (check["reason"], check["ok"], result["verdict"], result["severity"]) == (reason, False, "unhealthy", "P0")
    assert words in check["message"]
    assert check["message"] in result["msg"]
    assert result["code"] == "HEALTH_UNHEALTHY"
    assert check["next_step"]
    assert "hidden" not in json.dumps(result.json)


def test_hostile_reasons_differ_from_health() -> None:
    assert {reason for _handler, reason, _words in HOSTILE.values()}.isdisjoint({"OK", "FAILED"})


def test_nothing_listens(run_module: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        result = run_module("floyo_health", {"base_url": f"http://127.0.0.1:{unused.getsockname()[1]}"})
    assert (result.rc, result["verdict"], result["severity"]) == (1, "unhealthy", "P0")
    # Optional endpoints too: nothing shows that an application is there.
    assert set(_reasons(result).values()) == {"REFUSED"}
    assert "systemctl status" in result["next_step"]


def test_name_does_not_resolve(run_module: Any) -> None:
    arguments = {"base_url": "http://no-such-host.invalid", "checks": ["health"], "timeout": 20}
    assert _reasons(run_module("floyo_health", arguments)) == {"health": "DNS"}


def test_look_up_that_hangs_is_bounded(run_module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    forever = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: forever.wait(30))
    result = run_module("floyo_health", {"checks": ["health"], "timeout": 0.3})
    forever.set()
    assert _reasons(result) == {"health": "TIMEOUT"}
    assert "accepted no connection" in result["msg"]


def test_connection_that_is_not_accepted(run_module: Any) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        result = run_module("floyo_health", {"base_url": base_url, "checks": ["health"], "timeout": 0.6})
        for filler in fillers:
            filler.close()
    assert _reasons(result) == {"health": "TIMEOUT"}


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    directory = tmp_path_factory.mktemp("tls")

    def make(name: str) -> Path:
        path = directory / f"{name}.pem"
        key = directory / f"{name}.key"
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ]
        command += [
            "-subj",
            f"/CN={name}",
            "-addext",
            f"subjectAltName=DNS:{name}",
            "-keyout",
            str(key),
            "-out",
            str(path),
        ]
        subprocess.run(command, check=True, capture_output=True)
        path.write_text(path.read_text() + key.read_text())
        return path

    return make


def _context(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def test_tls(run_module: Any, serve: Any, certificate: Any) -> None:
    pem, other = certificate("localhost"), certificate("other.example")
    good = serve(lambda stream, path: stream.sendall(answer(BODIES[path])), _context(pem))
    strange = serve(lambda stream, path: stream.sendall(answer(BODIES[path])), _context(other))

    def ask(server: Server, **arguments: Any) -> Any:
        base = {"base_url": _url(server, "https", "localhost"), "checks": ["health"], "timeout": 20, "fail_on": "never"}
        return run_module("floyo_health", {**base, **arguments})["checks"][0]

    assert ask(good, ca_path=str(pem))["reason"] == "OK"
    assert ask(good, validate_certs=False)["reason"] == "OK"
    self_signed = ask(good)
    assert self_signed["reason"] == "TLS"
    assert "self-signed certificate" in self_signed["message"] or "self signed certificate" in self_signed["message"]
    wrong_host = ask(strange, ca_path=str(other))
    assert wrong_host["reason"] == "TLS"
    # The words are the library's: OpenSSL's, or those of urllib3 1.x.
    assert re.search("not valid for 'localhost'|'localhost' doesn't match 'other.example'", wrong_host["message"])


def test_tls_port_that_speaks_plain_http(run_module: Any, serve: Any) -> None:
    class Plain(Server):
        def _serve(self, connection: socket.socket) -> None:
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = Plain(lambda stream, path: None)
    arguments = {
        "base_url": _url(server, "https", "localhost"),
        "checks": ["health"],
        "timeout": 20,
        "fail_on": "never",
    }
    check = run_module("floyo_health", arguments)["checks"][0]
    server.stop()
    assert check["reason"] == "TLS"
    assert "handshake" in check["message"]


def test_missing_ca_bundle_is_named(run_module: Any) -> None:
    result = run_module("floyo_health", {"ca_path": "/nonexistent/ca.pem"})
    assert (result.rc, result["code"]) == (1, "CA_MISSING")


# --- verdict, waiting, failing ---------------------------------------------------------------------------------------


def test_dependency_fails(run_module: Any, application: Any) -> None:
    detailed = {"status": "error", "checks": {"database": {"status": "error", "message": "Connection timeout"}}}
    server = application(
        {
            "/health/readiness": answer({"detail": "Service not ready"}, "503 Service Unavailable"),
            "/health/detailed": answer(detailed),  # 200, as the application does
        }
    )
    result = run_module("floyo_health", {"base_url": _url(server)})
    assert (result.rc, result["verdict"], result["severity"]) == (1, "unhealthy", "P1")
    assert result["causes"] == {"readiness": "dependency", "detailed": "dependency"}
    assert "database is error (Connection timeout)" in result["summary"]


@pytest.mark.parametrize(("fail_on", "rc"), [("never", 0), ("unhealthy", 0), ("degraded", 1)])
def test_warning_degrades(run_module: Any, application: Any, fail_on: str, rc: int) -> None:
    server = application({"/health/readiness": answer({"status": "ready", "checks": {"redis": "warning"}})})
    result = run_module("floyo_health", {"base_url": _url(server), "fail_on": fail_on})
    assert (result.rc, result["verdict"], result["severity"]) == (rc, "degraded", "P2")


def test_optional_endpoint_of_a_newer_release(run_module: Any, application: Any) -> None:
    missing = answer({"detail": "Not Found"}, "404 Not Found")
    server = application({"/health/liveness": missing, "/health/migrations": missing})
    result = run_module("floyo_health", {"base_url": _url(server)})
    assert result["verdict"] == "healthy"
    assert _reasons(result) == {
        "health": "OK", "readiness": "OK", "detailed": "OK", "liveness": "NOT_OFFERED", "migrations": "NOT_OFFERED",
    }  # fmt: skip


def test_not_offered_proves_nothing_alone(run_module: Any, serve: Any) -> None:
    server = serve(lambda stream, path: stream.sendall(answer(b"nginx", "404 Not Found")))
    result = run_module("floyo_health", {"base_url": _url(server), "checks": ["liveness"]})
    assert (result.rc, _reasons(result), result["severity"]) == (1, {"liveness": "STATUS"}, "P0")


def test_wrong_release(run_module: Any, application: Any) -> None:
    server = application()
    right = run_module("floyo_health", {"base_url": _url(server), "expect": {"version": "v1.1.0"}})
    wrong = run_module("floyo_health", {"base_url": _url(server), "expect": {"version": ["v1.2.0", "v1.3.0"]}})
    assert right.rc == 0
    assert (wrong.rc, _reasons(wrong)["health"], wrong["severity"]) == (1, "WRONG_RELEASE", "P1")
    assert "reports version v1.1.0, expected v1.2.0 or v1.3.0" in wrong["msg"]


def test_waits_until_healthy(run_module: Any, serve: Any) -> None:
    asked: list[str] = []

    def handler(stream: socket.socket, path: str) -> None:
        asked.append(path)
        starting = answer({"detail": "Service not ready"}, "503 Service Unavailable")
        stream.sendall(starting if len(asked) < 3 else answer(BODIES[path]))

    server = serve(handler)
    arguments = {"base_url": _url(server), "checks": ["readiness"], "wait": True, "deadline": 60}
    result = run_module("floyo_health", arguments)
    assert (result.rc, result["verdict"], result["rounds"]) == (0, "healthy", 3)


def test_waiting_ends_with_the_last_reason(run_module: Any, application: Any) -> None:
    server = application({"/health/readiness": answer({"detail": "Service not ready"}, "503 Service Unavailable")})
    arguments = {"base_url": _url(server), "checks": ["readiness"], "wait": True, "deadline": 3}
    result = run_module("floyo_health", arguments)
    assert (result.rc, _reasons(result)) == (1, {"readiness": "UNHEALTHY"})
    assert result["rounds"] > 1
    assert f"{result['rounds']} rounds" in result["msg"]


# --- what is sent and shown ------------------------------------------------------------------------------------------


def test_token_and_headers_are_sent_and_not_shown(run_module: Any, application: Any) -> None:
    server = application()
    arguments = {"checks": ["health"], "token": "s3cret-t0ken", "headers": {"Host": "floyo.example"}}
    result = run_module("floyo_health", {"base_url": _url(server), **arguments})
    assert "Bearer s3cret-t0ken" in server.requests[0]
    assert "Host: floyo.example" in server.requests[0]
    assert "s3cret" not in json.dumps(result.json)


def test_token_with_a_line_break_is_refused_without_showing_it(run_module: Any) -> None:
    result = run_module("floyo_health", {"token": "s3cret-t0ken\nX-Evil: 1"})
    assert (result.rc, result["code"]) == (1, "HEADER_INVALID")
    assert "s3cret" not in json.dumps(result.json) + result.stderr


def test_proxies_of_the_environment_are_not_used(
    run_module: Any, application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert run_module("floyo_health", {"base_url": _url(application())})["verdict"] == "healthy"


def test_bodies_on_request(run_module: Any, application: Any) -> None:
    arguments = {"base_url": _url(application()), "checks": ["detailed"], "return_bodies": True}
    assert run_module("floyo_health", arguments)["checks"][0]["body"] == BODIES["/health/detailed"]
    assert "body" not in run_module("floyo_health", {**arguments, "return_bodies": False})["checks"][0]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"checks": ["frontend"]}, "NO_ADDRESS"),
        ({"checks": []}, "NO_ADDRESS"),
        ({"paths": {"detailed": ""}, "checks": ["detailed"]}, "NO_ADDRESS"),
        ({"checks": ["readiness"], "expect": {"version": "v1"}}, "EXPECT_WITHOUT_HEALTH"),
        ({"base_url": "ftp://host"}, "URL_INVALID"),
        ({"base_url": "http://host:port"}, "URL_INVALID"),
        ({"base_url": "host:8000"}, "URL_INVALID"),
        ({"base_url": "http://user:password@host"}, "URL_INVALID"),
        ({"timeout": 0}, "TIMEOUT_INVALID"),
    ],
)
def test_arguments_that_cannot_work(run_module: Any, arguments: dict[str, Any], code: str) -> None:
    result = run_module("floyo_health", arguments)
    assert (result.rc, result["code"]) == (1, code)


def test_missing_requests_is_said(run_module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible.module_utils.floyo import http

    monkeypatch.setattr(http, "REQUESTS_IMPORT_ERROR", "Traceback ...")
    result = run_module("floyo_health", {})
    assert (result.rc, result["code"]) == (1, "REQUESTS_MISSING")
    assert "python3-requests" in result["msg"]
