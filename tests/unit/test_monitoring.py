"""What is collected, what people are told of an alert, and the program that both are packed into."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible.module_utils.floyo import notify
from ansible.module_utils.floyo.errors import ConnectionLost
from ansible.module_utils.floyo.monitoring import collect as collecting
from ansible.module_utils.floyo.monitoring import receiver
from ansible.module_utils.floyo.monitoring.exposition import Family, Sample, expose
from ansible.module_utils.floyo.monitoring.message import message_of
from ansible.module_utils.floyo.monitoring.queries import advance
from ansible.module_utils.floyo.slo.judge import DEFAULT_TARGETS

ROOT = Path(__file__).resolve().parents[2]


# --- the text format -------------------------------------------------------------------------------------------------


def test_the_text_is_what_prometheus_reads() -> None:
    families = [
        Family("floyo_a", "gauge", "One\nline", [Sample(1.5, {"b": 'say "x"\\'}), Sample(2)]),
        Family("floyo_empty", "gauge", "Nothing was measured", []),
    ]
    text = expose(families, {"application": "floyo"})
    assert text.splitlines() == [
        "# HELP floyo_a One line",
        "# TYPE floyo_a gauge",
        'floyo_a{application="floyo",b="say \\"x\\"\\\\"} 1.5',
        'floyo_a{application="floyo"} 2.0',
    ]
    judged = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stderr


def test_a_bad_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no name"):
        expose([Family("floyo a", "gauge", "", [])])


# --- queries ---------------------------------------------------------------------------------------------------------


def statement(calls: float, mean: float, deviation: float = 0.0, **more: Any) -> dict[str, Any]:
    bounds = {"min_ms": 0.0, "max_ms": 10_000.0}
    return {"id": "1/2", "calls": calls, "mean_ms": mean, "deviation_ms": deviation, **bounds, **more}


def counted(memory: dict[str, Any]) -> tuple[float, float, float]:
    return memory["calls"], round(memory["fast"], 3), round(memory["slow"], 3)


def test_a_first_look_only_remembers() -> None:
    assert counted(advance({}, [statement(1000, 500)], 100)) == (0, 0, 0)


def test_a_window_is_judged_by_its_own_mean() -> None:
    """A thousand quick calls of yesterday do not hide ten slow ones of now."""
    before = advance({}, [statement(1000, 1.0)], 100)
    # 10 calls of 500 ms each: the whole has a mean of 5.94 and a deviation that belongs to it.
    mean = (1000 * 1.0 + 10 * 500.0) / 1010
    deviation = ((1000 * 1.0**2 + 10 * 500.0**2) / 1010 - mean**2) ** 0.5
    assert counted(advance(before, [statement(1010, mean, deviation)], 100)) == (10, 0, 10)


def test_what_is_not_sure_is_neither_fast_nor_slow() -> None:
    before = advance({}, [statement(0, 0.0)], 100)
    calls, fast, slow = counted(advance(before, [statement(100, 50.0, 50.0)], 100))
    assert (calls, fast, slow) == (100, 50, 0)  # Cantelli: at least 50²/(50²+50²) are under 100


def test_bounds_of_a_statement_are_certain() -> None:
    before = advance({}, [], 100)
    assert counted(advance(before, [statement(8, 50.0, 400.0, max_ms=99.0)], 100)) == (8, 8, 0)
    assert counted(advance(before, [statement(8, 150.0, 1.0, min_ms=100.0)], 100)) == (8, 0, 8)


def test_statistics_that_began_again_count_whole() -> None:
    before = advance({}, [statement(1000, 500.0)], 100)
    after = advance(before, [statement(5, 1.0, max_ms=2.0)], 100)
    assert counted(after) == (5, 5, 0)
    assert counted(advance(after, [], 100)) == (5, 5, 0)


# --- the collector ---------------------------------------------------------------------------------------------------


def settings(directory: Path, **parts: Any) -> dict[str, Any]:
    return {
        "name": "floyo", "directory": str(directory), "memory": str(directory / "queries.json"),
        "targets": DEFAULT_TARGETS, **parts,
    }  # fmt: skip


def collected(given: dict[str, Any]) -> tuple[dict[str, float], list[str]]:
    """``{name{labels}: value}`` of the written file, without the application's label; and what was said."""
    said: list[str] = []
    text = Path(collecting.collect(given, said.append)).read_text()
    judged = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stderr
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            found[name.replace('application="floyo",', "").replace('{application="floyo"}', "")] = float(value)
    return found, said


class Application(BaseHTTPRequestHandler):
    answers: dict[str, Any] = {  # noqa: RUF012 - a test's constant
        "performance": {
            "metrics": {
                "GET:/api/a": {"count": 900, "p50": 10, "p95": 40, "p99": 80, "avg": 15, "max": 120},
                "GET:/api/b": {"count": 100, "p50": 250, "p95": 400, "p99": 600, "avg": 265, "max": 700},
            }
        },
        "database/pool": {"size": 5, "checked_out": 12, "max_overflow": 10},
        "cache/stats": {"type": "redis", "hits": 950, "misses": 50, "hit_rate": 95.0},
    }

    def do_GET(self) -> None:
        answer = self.answers.get(self.path.removeprefix("/api/monitoring/"))
        allowed = self.headers.get("Authorization") == "Bearer T0ken"
        self.send_response(200 if allowed and answer else 401)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(handler: Any) -> Iterator[str]:
    server = handler if isinstance(handler, ThreadingHTTPServer) else ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_the_applications_figures(tmp_path: Path) -> None:
    with serving(Application) as url:
        given = {"base_url": url, "token": "T0ken", "want": ["latency", "pool", "cache"]}
        found, said = collected(settings(tmp_path, application=given))
    assert said == []
    assert found["floyo_requests_measured"] == 1000
    assert found["floyo_request_mean_seconds"] == 0.04
    # Of a all are under 200 ms; of b surely none below half, for its p50 is over the limit.
    assert found['floyo_requests_under_ratio{bound="least",limit_ms="200"}'] == 0.9
    assert found['floyo_requests_under_ratio{bound="most",limit_ms="200"}'] == 0.95
    assert found['floyo_endpoint_seconds{endpoint="GET:/api/b",percentile="95"}'] == 0.4
    assert (found["floyo_pool_used"], found["floyo_pool_capacity"]) == (12, 15)
    assert (found["floyo_cache_hits_total"], found["floyo_cache_misses_total"]) == (950, 50)
    assert all(found[f'floyo_measure_ok{{measure="{name}"}}'] for name in ("latency", "pool", "cache"))
    assert [path.name for path in tmp_path.iterdir()] == ["floyo-floyo.prom"]
    assert (tmp_path / "floyo-floyo.prom").stat().st_mode & 0o777 == 0o644


def test_a_wrong_token_is_told_and_its_figures_are_absent(tmp_path: Path) -> None:
    with serving(Application) as url:
        given = {"base_url": url, "token": "wr0ng", "want": ["latency", "pool"]}
        found, said = collected(settings(tmp_path, application=given))
    assert found['floyo_measure_ok{measure="pool"}'] == 0
    assert "floyo_pool_used" not in found
    assert any("UNAUTHORIZED" in line for line in said)
    assert not any("wr0ng" in line for line in said)


def test_a_part_that_fails_takes_no_other_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any) -> dict[str, Any]:
        raise ConnectionLost("nobody answers", code="DATABASE_SILENT")

    monkeypatch.setattr(collecting, "query_figures", silent)
    monkeypatch.setattr(collecting, "Store", lambda _directory: 1 / 0)
    release = tmp_path / "release.json"
    release.write_text("{")
    queries = {"database_url": "x", "database_role": "", "statistics_database": ""}
    backups = {"directory": "/x", "record": "/x"}
    parts = {"release": {"config": str(release)}, "queries": queries, "backups": backups}
    found, said = collected(settings(tmp_path, **parts))
    assert {name: value for name, value in found.items() if "measure_ok" in name} == {
        f'floyo_measure_ok{{measure="{name}"}}': 0 for name in ("release", "queries", "backups")
    }
    assert any("a defect: ZeroDivisionError" in line for line in said)


def test_queries_are_counted_from_look_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([[statement(10, 1.0)], [statement(30, 1.0, max_ms=5.0)]])
    monkeypatch.setattr(collecting, "query_figures", lambda *_: {"statements": next(looks), "since": None})
    given = settings(tmp_path, queries={"database_url": "x", "database_role": "r", "statistics_database": "postgres"})
    (tmp_path / "queries.json").write_text("{cut sh")
    assert collected(given)[0]["floyo_queries_total"] == 0
    found, _ = collected(given)
    assert (found["floyo_queries_total"], found["floyo_queries_fast_total"]) == (20, 20)


def test_backups_and_the_scheduled_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def entry(created: str, *, verified: bool = True, drilled: str = "", suspect: str = "") -> dict[str, Any]:
        return {"created": created, "verified": verified, "drilled_at": drilled, "suspect": suspect}

    entries = [
        entry("2027-01-15T08:00:00Z", verified=False),
        entry("2027-01-15T07:00:00Z", suspect="it is half as large"),
        entry("2027-01-15T06:00:00Z"),
        entry("2027-01-14T06:00:00Z", drilled="2027-01-14T07:00:00Z"),
    ]

    class Shelf:
        def __init__(self, _directory: str) -> None:
            self.entries = entries

        def catalogue(self) -> Any:
            return self

    monkeypatch.setattr(collecting, "Store", Shelf)
    record = tmp_path / "last.json"
    record.write_text(json.dumps({"ended": 5.0, "steps": {"backup": {"result": "ok"}, "drill": {"result": "failed"}}}))
    given = settings(tmp_path, backups={"directory": "/x", "record": str(record)})
    found, _ = collected(given)
    assert found["floyo_backups_verified"] == 2
    assert found["floyo_backup_timestamp_seconds"] == 1799992800  # the newest that is sound
    assert found["floyo_drill_timestamp_seconds"] == 1799910000
    assert found['floyo_backup_step_ok{step="drill"}'] == 0
    record.write_text("{cut sh")
    entries.clear()
    assert collected(given)[0]["floyo_backup_timestamp_seconds"] == 0


# --- what people are told --------------------------------------------------------------------------------------------


def alert(host: str, status: str = "firing", severity: str = "P1", **annotations: str) -> dict[str, Any]:
    told = {
        "summary": f"the backend on {host} is not ready",
        "playbook": "ansible-playbook playbooks/x.yml",
        **annotations,
    }
    return {
        "status": status, "annotations": told, "startsAt": "2027-01-15T08:00:00.123Z", "endsAt": "2027-01-15T08:05:00Z",
        "labels": {"alertname": "FloyoBackendDown", "severity": severity, "host": host},
    }  # fmt: skip


def test_a_message_says_what_where_since_when_and_what_to_do() -> None:
    title, body, kind = message_of({"alerts": [alert("b2"), alert("b1", "resolved")]})
    assert title == "[P1] FloyoBackendDown on b2"
    assert body.splitlines() == [
        "fires: the backend on b2 is not ready (UTC: since 2027-01-15 08:00:00)",
        "next: ansible-playbook playbooks/x.yml",
        "over: the backend on b1 is not ready (UTC: since 2027-01-15 08:00:00, until 2027-01-15 08:05:00)",
    ]
    assert kind == "failure"


def test_what_is_over_is_good_news() -> None:
    title, _, kind = message_of({"alerts": [alert("b1", "resolved"), alert("b2", "resolved")]})
    assert (title, kind) == ("[over: P1] FloyoBackendDown on b1, b2", "success")


@pytest.mark.parametrize(("severity", "kind"), [("P0", "failure"), ("P2", "warning"), ("P3", "info")])
def test_the_kind_follows_from_the_severity(severity: str, kind: str) -> None:
    assert message_of({"alerts": [alert("b", severity=severity)]})[2] == kind


@pytest.mark.parametrize("payload", [{}, {"alerts": []}, {"alerts": "x"}, {"alerts": [1]}])
def test_what_is_no_alert_is_refused(payload: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no alerts"):
        message_of(payload)


class Inbox(BaseHTTPRequestHandler):
    seen: list[dict[str, Any]] = []  # noqa: RUF012 - emptied by the test
    status = 200

    def do_POST(self) -> None:
        self.seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def post(url: str, data: bytes) -> int:
    try:
        with urllib.request.urlopen(url, data, timeout=10) as answer:  # noqa: S310 - our own server
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_receiver_hands_over_and_asks_for_another_try_when_nobody_could_be_told() -> None:
    Inbox.seen.clear()
    said: list[str] = []
    with serving(Inbox) as inbox:
        place = inbox.removeprefix("http://")
        urls = [f"json://{place}/?secret=s3cret", "json://127.0.0.1:1/"]
        given = {"title": "floyo test", "urls": urls, "timeout": 5, "listen": "127.0.0.1:0"}
        with serving(receiver.serve(given, said.append)) as url:
            payload = json.dumps({"alerts": [alert("b2")]}).encode()
            # One of two was told: another try would tell it twice.
            assert post(url, payload) == 200
            assert [one["title"] for one in Inbox.seen] == ["floyo test: [P1] FloyoBackendDown on b2"]
            assert post(url, b"[]") == 400
            assert post(url, b"{") == 400
            urls.pop(0)
            assert post(url, payload) == 502
    assert "1 of 2 notifications cannot be sent" in said[0]
    assert not any("s3cret" in line for line in said)


def test_an_apprise_without_a_log_still_delivers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian 12's does not know ``log_callback``."""
    newer = notify.apprise.Apprise.notify

    def older(self: Any, body: str, title: str = "", notify_type: str = "info", body_format: Any = None) -> Any:
        return newer(self, body=body, title=title, notify_type=notify_type, body_format=body_format)

    monkeypatch.setattr(notify.apprise.Apprise, "notify", older)
    Inbox.seen.clear()
    with serving(Inbox) as inbox:
        good, bad = notify.messages_to([f"json://{inbox.removeprefix('http://')}/", "json://127.0.0.1:1/"], 5)
        for message in (good, bad):
            message.send("title", "body", "info")
        assert good.outcome()["sent"]
        assert bad.outcome()["reason"] == "the service did not take it"
    assert [one["title"] for one in Inbox.seen] == ["title"]


# --- the program -----------------------------------------------------------------------------------------------------


def test_the_program_runs_alone(tmp_path: Path) -> None:
    program = tmp_path / "floyo-metrics.pyz"
    subprocess.run([sys.executable, ROOT / "scripts" / "pack_host_program", program, "floyo-metrics"], check=True)
    given = tmp_path / "settings.json"
    given.write_text(json.dumps(settings(tmp_path, backups={"directory": "/nowhere", "record": "/nowhere"})))
    words = [sys.executable, str(program), "--settings", str(given), "collect"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "floyo_backup_timestamp_seconds" in (tmp_path / "floyo-floyo.prom").read_text()
    given.unlink()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Next: run playbooks/provision.yml" in done.stderr
