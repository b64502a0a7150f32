"""floyo_slo against live servers: good ones, refusing, hanging and lying ones; HAProxy's socket; PostgreSQL's statistics."""

from __future__ import annotations

import contextlib
import json
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

TOKEN = "Adm1n-Token-that-nobody-shall-see"
PERFORMANCE = {
    "metrics": {
        "GET:/api/workflows": {"count": 900, "p50": 10.0, "p95": 40.0, "p99": 80.0, "avg": 15.0, "max": 120.0},
        "GET:/api/never": {"count": 0, "p50": 0.0, "p95": 0.0, "p99": 0.0, "avg": 0.0, "max": 0.0},
    }
}
POOL = {"size": 5, "checked_in": 4, "checked_out": 1, "overflow": -4, "invalid": 0, "pool_size": 5, "max_overflow": 10}
CACHE = {"type": "redis", "hits": 950, "misses": 50, "sets": 50, "hit_rate": 95.0}
GOOD = {"performance": PERFORMANCE, "cache/stats": CACHE, "database/pool": POOL}


class Application:
    """Answers ``answers[name]``: an object, ``(status, text)``, or a function that gets the handler."""

    def __init__(self, prefix: str = "/api/monitoring/") -> None:
        self.answers: dict[str, Any] = dict(GOOD)
        self.seen: list[tuple[str, str | None]] = []
        application = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                application.seen.append((self.path, self.headers.get("Authorization")))
                known = self.path.startswith(prefix)
                given = application.answers.get(self.path.removeprefix(prefix)) if known else None
                if callable(given):
                    given = given(self)
                    if given is None:
                        return
                status, text = given if isinstance(given, tuple) else (200, json.dumps(given)) if given else (404, "{}")
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def application() -> Iterator[Application]:
    one = Application()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture
def ask(run_module: Any, application: Application) -> Callable[..., Any]:
    def run(*, check: bool = False, **options: Any) -> Any:
        given = {"base_url": application.url, "token": TOKEN, "pause": 0.01, "timeout": 20, **options}
        return run_module("floyo_slo", given, check=check)

    return run


def verdicts(result: Any) -> dict[str, str]:
    return {one["check"]: one["verdict"] for one in result["findings"]}


def codes(result: Any) -> dict[str, str]:
    return {one["measure"]: one["code"] for one in result["problems"]}


def test_all_is_well(ask: Any, application: Application) -> None:
    result = ask()
    assert result.rc == 0
    assert result["changed"] is False
    assert result["problems"] == []
    found = verdicts(result)
    assert [found[name] for name in ("p95 latency", "p99 latency", "mean latency", "pool use", "cache hits")] == [
        "pass"
    ] * 5
    assert {token for _, token in application.seen} == {f"Bearer {TOKEN}"}
    assert TOKEN not in json.dumps(result.json)


def test_the_applications_own_paths(ask: Any, run_module: Any) -> None:
    other = Application("/api/v1/monitoring/")
    result = ask(base_url=other.url)
    assert result["problems"] == []
    assert verdicts(result)["pool use"] == "pass"
    assert ask(base_url=other.url, paths={"pool": ["/somewhere/pool"]})["problems"][0]["code"] == "NOT_FOUND"
    other.server.shutdown()
    other.server.server_close()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ((401, '{"detail": "Not authenticated"}'), "UNAUTHORIZED"),
        ((403, '{"detail": "Administrators only"}'), "FORBIDDEN"),
        ((404, "{}"), "NOT_FOUND"),
        ((429, "{}"), "RATE_LIMITED"),
        ((500, "Internal Server Error"), "STATUS"),
        ((302, ""), "REDIRECTED"),
        ((200, "<html>login</html>"), "NOT_JSON"),
        ((200, "[1]"), "NOT_JSON"),
        ((200, '{"metrics": {}, "pad": "' + "x" * 3000 + '"}'), "TOO_LARGE"),
        ((200, '{"status": "ok"}'), "NO_METRICS"),
        (lambda handler: time.sleep(1.5), "TIMEOUT"),
        (lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{") and None, "TRUNCATED"),
    ],
)
def test_each_refusal_has_its_reason(ask: Any, application: Application, given: Any, code: str) -> None:
    application.answers["performance"] = given
    result = ask(want=["latency"], max_bytes=2000, timeout=1 if code == "TIMEOUT" else 20, looks=1)
    assert result.rc == 0
    assert codes(result) == {"latency": code}
    assert {verdict for check, verdict in verdicts(result).items() if "latency" in check} == {"inconclusive"}
    assert TOKEN not in json.dumps(result.json)
    failed = ask(
        want=["latency"], max_bytes=2000, timeout=1 if code == "TIMEOUT" else 20, looks=1, fail_on="inconclusive"
    )
    assert failed.rc == 1
    assert failed["code"] == "SLO_INCONCLUSIVE"


def test_nobody_listens(run_module: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        result = run_module("floyo_slo", {"base_url": f"http://127.0.0.1:{probe.getsockname()[1]}"})
    assert codes(result) == {"latency": "REFUSED", "pool": "REFUSED", "cache": "REFUSED"}


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("performance", {"metrics": {"GET:/api/x": {"count": 900, "p50": 50, "p95": 4, "p99": 5, "avg": 3, "max": 9}}}),
        ("database/pool", {**POOL, "checked_out": 99}),
        ("cache/stats", {**CACHE, "hit_rate": 20.0}),
        ("cache/stats", {**CACHE, "hits": "many"}),
    ],
)
def test_lies_are_not_believed(ask: Any, application: Application, name: str, given: Any) -> None:
    application.answers[name] = given
    assert set(codes(ask()).values()) == {"IMPLAUSIBLE"}


def test_a_full_pool_and_a_cache_that_misses(ask: Any, application: Application) -> None:
    application.answers["database/pool"] = {**POOL, "checked_out": 15, "overflow": 10}
    application.answers["cache/stats"] = {"type": "memory", "hits": 100, "misses": 900, "size": 3}
    result = ask()
    assert (verdicts(result)["pool use"], verdicts(result)["cache hits"]) == ("fail", "fail")
    failed = ask(fail_on="fail")
    assert failed.rc == 1
    assert failed["code"] == "SLO_FAIL"


def test_two_runs_make_a_window_and_a_restart_is_noticed(ask: Any, application: Application, tmp_path: Path) -> None:
    memory = tmp_path / "looks.json"
    ask(want=["cache"], memory=str(memory))
    assert stat.S_IMODE(memory.stat().st_mode) == 0o600
    application.answers["cache/stats"] = {**CACHE, "hits": 1000, "misses": 450, "hit_rate": 68.97}
    before = memory.read_text()
    result = ask(want=["cache"], memory=str(memory), check=True)
    assert memory.read_text() == before
    windows = {one["label"]: one for one in result["measures"]["cache"]["windows"]}
    assert (windows["since the last look"]["hits"], windows["since the last look"]["misses"]) == (50, 400)
    assert verdicts(result)["cache hits"] == "fail"
    application.answers["cache/stats"] = {**CACHE, "hits": 500, "misses": 20, "hit_rate": 96.15}
    result = ask(want=["cache"], memory=str(memory))
    assert result["restarted"] == ["cache"]
    assert verdicts(result)["asking for cache"] == "warn"
    assert "since the last look" not in {one["label"] for one in result["measures"]["cache"]["windows"]}
    memory.write_text('{"cache": {"hits": "x"}, ')
    assert ask(want=["cache"], memory=str(memory)).rc == 0
    assert codes(ask(want=["cache"], memory=str(tmp_path / "no" / "looks.json"))) == {"memory": "MEMORY_FAILED"}


def test_the_token_is_in_no_argument_list(application: Application, root: Path) -> None:
    """Asked as Ansible asks, in a process of its own, while that waits for an answer."""
    begun, go_on = threading.Event(), threading.Event()

    def wait(_: Any) -> Any:
        begun.set()
        go_on.wait(60)
        return (200, json.dumps(PERFORMANCE))

    application.answers["performance"] = wait
    code = (
        "import sys, json, ansible.module_utils, ansible.module_utils.basic as b;"
        f"ansible.module_utils.__path__.append({str(root / 'module_utils')!r}); sys.path.insert(0, {str(root / 'library')!r});"
        "b._ANSIBLE_ARGS = sys.stdin.buffer.read(); b._ANSIBLE_PROFILE = 'legacy'; import floyo_slo; floyo_slo.main()"
    )
    arguments = {"base_url": application.url, "token": TOKEN, "want": ["latency"], "looks": 1, "timeout": 60}
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
        process.stdin.close()
        assert begun.wait(60)
        for name in ("cmdline", "environ"):
            assert TOKEN.encode() not in Path(f"/proc/{process.pid}/{name}").read_bytes()
        go_on.set()
        assert process.stdout
        output = process.stdout.read()
    assert process.returncode == 0
    assert TOKEN.encode() not in output


# --- HAProxy ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """A socket that answers as HAProxy's does."""
    stopped = threading.Event()
    listeners: list[socket.socket] = []

    def start(*rows: tuple[int, int, int], pid: int = 7) -> str:
        path = f"{tmp_path}/{len(listeners)}.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        listeners.append(listener)
        left = list(rows)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while not stopped.is_set():
                    connection, _ = listener.accept()
                    with connection:
                        command = connection.recv(100)
                        if b"info" in command:
                            connection.sendall(f"Name: HAProxy\nPid: {pid}\nUptime_sec: 3600\n".encode())
                            continue
                        total, client, server = left.pop(0) if len(left) > 1 else left[0]
                        head = "# pxname,svname,hrsp_2xx,hrsp_4xx,hrsp_5xx,\n"
                        well = total - client - server
                        connection.sendall(f"{head}floyo_https,FRONTEND,{well},{client},{server},\n".encode())

        threading.Thread(target=serve, daemon=True).start()
        return path

    yield start
    stopped.set()
    for listener in listeners:
        listener.close()


def test_rates_from_the_proxy(run_module: Any, haproxy: Any, tmp_path: Path) -> None:
    memory = str(tmp_path / "looks.json")
    options = {"want": ["proxy"], "looks": 2, "pause": 0.01, "memory": memory}
    result = run_module("floyo_slo", {**options, "haproxy_socket": haproxy((100_000, 20, 1), (100_400, 20, 31))})
    found = {one["check"]: one for one in result["findings"]}
    assert found["5xx rate"]["verdict"] == "fail"
    assert found["5xx rate"]["sample"].startswith("400 requests now")
    result = run_module("floyo_slo", {**options, "haproxy_socket": haproxy((300_000, 20, 31))})
    found = {one["check"]: one for one in result["findings"]}
    assert (found["5xx rate"]["verdict"], found["5xx rate"]["value"]) == ("pass", 0.0)
    assert "since the last look" in found["5xx rate"]["sample"]
    result = run_module("floyo_slo", {**options, "haproxy_socket": haproxy((300_500, 20, 31), pid=8)})
    assert result["restarted"] == ["proxy"]


def test_a_proxy_that_is_silent_or_another(run_module: Any, haproxy: Any, tmp_path: Path) -> None:
    options = {"want": ["proxy"], "looks": 1}
    assert codes(run_module("floyo_slo", {**options, "haproxy_socket": f"{tmp_path}/none"})) == {
        "proxy": "PROXY_SILENT"
    }
    other = {**options, "haproxy_socket": haproxy((1, 0, 0)), "frontend": "other"}
    assert codes(run_module("floyo_slo", other)) == {"proxy": "NO_FRONTEND"}


# --- the log ---------------------------------------------------------------------------------------------------------


def log_line(number: int, status: int, spent: float) -> str:
    when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - number / 10))
    message = f"GET /api/workflows/{number} {status} in {spent} ms"
    return json.dumps({"timestamp": when, "level": "INFO", "logger": "floyo.api", "message": message})


def test_the_log_where_the_application_does_not_say(run_module: Any, tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text(
        "".join(log_line(n, 500 if n % 50 == 0 else 200, 300.0 if n % 8 == 0 else 9.0) + "\n" for n in range(1000))
    )
    result = run_module("floyo_slo", {"want": ["log"], "log": str(path)})
    found = {one["check"]: one for one in result["findings"]}
    assert (found["5xx rate"]["verdict"], found["5xx rate"]["value"]) == ("fail", 2.0)
    assert (found["p95 latency"]["verdict"], found["mean latency"]["value"]) == ("fail", 45.4)
    path.write_text(log_line(1, 500, 9.0) + "\n")
    assert codes(run_module("floyo_slo", {"want": ["log"], "log": str(path)})) == {"log": "LOG_PARTIAL"}


# --- the database ----------------------------------------------------------------------------------------------------


def test_statistics_that_are_not_there(run_module: Any, postgres_server: Any) -> None:
    url = postgres_server.fresh_database()
    postgres_server.sql("DROP EXTENSION IF EXISTS pg_stat_statements")  # other tests of this server want it there
    options = {"want": ["queries"], "looks": 1}
    assert codes(run_module("floyo_slo", {**options, "database_url": url})) == {"queries": "NO_STATISTICS"}
    wrong = postgres_server.url_for("postgres", password="Wr0ng-and-secret")
    result = run_module("floyo_slo", {**options, "database_url": wrong})
    assert codes(result) == {"queries": "DATABASE_SILENT"}
    assert "Wr0ng" not in json.dumps(result.json)


def test_wrong_options(ask: Any) -> None:
    assert ask(looks=0)["code"] == "LOOKS_INVALID"


def test_a_defect_is_told_as_one(run_module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> dict[str, Any]:
        raise ValueError("math domain error with s3cret")

    monkeypatch.setattr("floyo_slo.measure", broken)
    result = run_module("floyo_slo", {"token": "s3cret"})
    assert result["failed"]
    assert result["code"] == "DEFECT"
    assert result["msg"].startswith("a defect in broken (line ")
    assert "ValueError: math domain error" in result["msg"]
    assert "s3cret" not in json.dumps(result.json)
