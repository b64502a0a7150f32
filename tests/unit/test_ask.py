"""The host program's question, to servers that answer in every way there is."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from ansible.module_utils.floyo.hostprog.ask import ask

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that sends the pieces of an answer, with ``pause`` seconds between them, and closes unless ``stays``."""
    over, threads = threading.Event(), []

    def start(*pieces: bytes, pause: float = 0.0, stays: bool = False) -> str:
        server = socket.create_server(("127.0.0.1", 0))

        def answer() -> None:
            with server, contextlib.suppress(OSError):  # who asked may have had enough
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    for piece in pieces:
                        connection.sendall(piece)
                        over.wait(pause)
                    if stays:
                        over.wait(60)

        threads.append(threading.Thread(target=answer))
        threads[-1].start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/health?deep=1"

    yield start
    over.set()
    for thread in threads:
        thread.join()


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([OK + b'\r\n{"status": "ok"}'], (200, {"status": "ok"})),
        ([OK, b"content-LENGTH: 4\r\n\r", b"\ntr", b"ue"], (200, True)),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n", b"2;x=y\r\n2]\r\n0\r\n\r\n"], (200, [1, 2])),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\nnone\r\n0\r\n\r\n"], (200, None)),
        ([b"HTTP/1.1 503 Service Unavailable\r\n\r\n{\"detail\": \"no\"}"], (503, {"detail": "no"})),
        ([b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://elsewhere.invalid/x\r\n\r\n"], (307, None)),
        ([b"HTTP/1.0 200 OK\r\n\r\nnot json"], (200, None)),
        ([b"HTTP/1.0 200 OK\r\n\r\n\xff\xfe"], (200, None)),
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], (0, None)),
        ([b""], (0, None)),
        ([b"HTTP/1.0 200 OK\r\n\r\n", b"x" * 200000], (200, None)),
    ],
)  # fmt: skip
def test_answers(serve: Serve, pieces: list[bytes], expected: tuple[int, object]) -> None:
    assert ask(serve(*pieces), timeout=5) == expected


@pytest.mark.parametrize(
    "pieces", [[OK + b"Content-Length: 2\r\n\r\n{}"], [OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]]
)
def test_a_server_that_keeps_the_connection_is_not_waited_for(serve: Serve, pieces: list[bytes]) -> None:
    assert ask(serve(*pieces, stays=True), timeout=60) == (200, {})


def test_a_server_that_drips_is_given_up_at_the_deadline(serve: Serve) -> None:
    """Each byte comes in time, and the whole never does."""
    assert ask(serve(OK + b"\r\n", *[b" "] * 40, pause=0.05, stays=True), timeout=0.4) == (0, None)


class Leading(http.server.BaseHTTPRequestHandler):
    """Leads as frameworks do, for ever, or to another server."""

    def do_GET(self) -> None:
        ways = {
            "/Health/": "/Health",
            "/round": "/round",
            "/away": "http://example.org/",
            "/whole": f"http://{self.headers['Host']}/Health",
        }
        self.send_response(307 if self.path in ways else 200)
        if self.path in ways:
            self.send_header("Location", ways[self.path])
        self.end_headers()
        self.wfile.write(b'{"version": "v1"}' if self.path == "/Health" else b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/Health/", (200, {"version": "v1"})), ("/whole", (200, {"version": "v1"})), ("/round", (307, None)), ("/away", (307, None))],
)  # fmt: skip
def test_a_redirect_is_followed_on_the_same_server_only(path: str, expected: tuple[int, object]) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Leading) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        assert ask(f"http://127.0.0.1:{server.server_address[1]}{path}", timeout=5) == expected
        server.shutdown()
        thread.join()


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert ask(f"http://127.0.0.1:{port}/", timeout=5) == (0, None)


def test_a_server_that_says_nothing(serve: Serve) -> None:
    assert ask(serve(stays=True), timeout=0.2) == (0, None)


def test_an_address_in_brackets_and_no_path() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        heard: list[bytes] = []

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.0 204 No Content\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert ask(f"http://[::1]:{server.getsockname()[1]}", timeout=5) == (204, None)
        thread.join()
    assert heard[0].startswith(b"GET / HTTP/1.0\r\nHost: [::1]:")
