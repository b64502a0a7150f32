"""The scheduled job: what is due, what it calls, what is said of it; and the program it is packed into."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ansible.module_utils.floyo.errors import Refused, Unusable
from ansible.module_utils.floyo.schedule import cli, unit
from ansible.module_utils.floyo.schedule.job import Job, filled
from ansible.module_utils.floyo.schedule.record import due, message_of, progress_line, verdict_of

ROOT = Path(__file__).resolve().parents[2]
TIMER = {"LoadState": "loaded", "ActiveState": "active", "NextElapseUSecRealtime": "Mon 2027-01-01 04:00:00 UTC"}
NOW = 1_800_000_000.0


def settings(directory: Path, **more: Any) -> dict[str, Any]:
    return {
        "name": "floyo", "title": "floyo test", "record": str(directory / "last.json"),
        "pg_backup": {"database_url": "postgresql://o@h/d", "directory": str(directory)},
        "pg_archive": {"database_url": "postgresql://o@h/d", "scratch": str(directory / "moment")},
        "base": {"max_age": 20.0, "full_every": 7.0}, "prune": {"keep": {"last": 3}}, "drill_hours": 168.0,
        "late_hours": 50.0, "limits": {}, "archive_limits": {}, "progress_seconds": 0.01, "notify_urls": [],
        "notify_timeout": 15, **more,
    }  # fmt: skip


class Modules:
    """Answers in the modules' place. ``faults``: state -> error."""

    def __init__(self, *, archive: bool = True, **faults: BaseException) -> None:
        self.archive, self.faults = archive, faults
        self.calls: list[tuple[str, str, dict[str, Any]]] = []

    def __call__(self, module: str, arguments: dict[str, Any]) -> dict[str, Any]:
        state = arguments["state"]
        self.calls.append((module, state, arguments))
        if state in self.faults:
            raise self.faults[state]
        moment = {"database_url": "postgresql://o@/d?host=/s", "as_of": "2027-01-01T00:00:00Z", "seconds": 3.0}
        return {"configured": self.archive, "moment": moment, "backup": {"label": "L"}, "warnings": []}

    @property
    def states(self) -> list[str]:
        return [f"{module} {state}" for module, state, _ in self.calls]


@pytest.fixture(autouse=True)
def _signals() -> Any:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_run_calls_the_playbooks_modules_and_writes_down_how_it_went(tmp_path: Path) -> None:
    modules = Modules()
    said: list[str] = []
    assert Job(settings(tmp_path), said.append, modules).run()
    assert modules.states == [
        "pg_archive info", "pg_backup present", "pg_archive present", "pg_backup drilled", "pg_archive recovered",
        "pg_backup present", "pg_archive discarded", "pg_backup drilled", "pg_backup pruned", "pg_backup pruned",
        "pg_backup checked", "pg_archive checked",
    ]  # fmt: skip
    moment = modules.calls[5][2]
    assert moment["database_url"] == "postgresql://o@/d?host=/s"
    assert moment["directory"] == f"{tmp_path}/moments"
    assert modules.calls[9][2]["needed_heads"] == ["all"]
    record = json.loads((tmp_path / "last.json").read_text())
    assert {step["result"] for step in record["steps"].values()} == {"ok"}
    assert record["ended"] >= record["began"]
    again = Modules()
    assert Job(settings(tmp_path), said.append, again).run()
    assert "pg_backup drilled" not in again.states, "drills have their own pace"
    assert any(line.startswith("backup: ok") for line in said)


def test_without_an_archive_there_is_nothing_to_do_for_it(tmp_path: Path) -> None:
    modules = Modules(archive=False)
    assert Job(settings(tmp_path, prune={}), lambda _: None, modules).run()
    assert modules.states == ["pg_archive info", "pg_backup present", "pg_backup drilled", "pg_backup checked"]


def test_a_failed_backup_is_written_down_keeps_the_others_and_removes_nothing(tmp_path: Path) -> None:
    modules = Modules(present=Refused("no room", code="DISK_FULL"))
    assert not Job(settings(tmp_path), lambda _: None, modules).run()
    record = json.loads((tmp_path / "last.json").read_text())
    assert (record["steps"]["backup"]["result"], record["steps"]["backup"]["code"]) == ("failed", "DISK_FULL")
    assert "pg_archive checked" in modules.states
    assert "prune" not in record["steps"]
    assert "pg_archive discarded" in modules.states, "what was recovered does not stay"
    assert "backup" not in record["succeeded"]


def test_a_defect_is_a_failure_of_its_step(tmp_path: Path) -> None:
    modules = Modules(checked=ZeroDivisionError("oops"))
    assert not Job(settings(tmp_path), lambda _: None, modules).run()
    assert "ZeroDivisionError" in json.loads((tmp_path / "last.json").read_text())["steps"]["check"]["said"]


def test_systemds_stop_ends_it_between_steps_too(tmp_path: Path) -> None:
    modules = Modules(present=Refused("stopped by SIGTERM", code="STOPPED"))
    assert not Job(settings(tmp_path), lambda _: None, modules).run()
    assert modules.states == ["pg_archive info", "pg_backup present"]
    record = json.loads((tmp_path / "last.json").read_text())
    assert record["ended"]


def test_a_signal_in_a_step_ends_the_run(tmp_path: Path) -> None:
    def stopped(module: str, arguments: dict[str, Any]) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {"configured": False}

    assert not Job(settings(tmp_path), lambda _: None, stopped).run()
    assert json.loads((tmp_path / "last.json").read_text())["steps"]["look"]["code"] == "STOPPED"


def test_arguments_get_the_modules_defaults_and_nothing_else() -> None:
    spec = {"a": {"type": "int", "default": 3}, "b": {"type": "list"}, "c": {"type": "path", "default": ""}}
    assert filled({"a": "5"}, spec, "m") == {"a": 5, "b": None, "c": ""}
    for wrong in ({"d": 1}, {"a": "x"}):
        with pytest.raises(Unusable) as caught:
            filled(wrong, spec, "m")
        assert caught.value.code == "SETTINGS_UNUSABLE"


def test_what_is_due() -> None:
    record = {"succeeded": {"drill": NOW - 23.6 * 3600}}
    assert due(record, "drill", NOW, 24)
    assert not due(record, "drill", NOW, 48)
    assert due({}, "drill", NOW, 48)


# --- what is said of it ----------------------------------------------------------------------------------------------


def step(result: str, said: str = "") -> dict[str, Any]:
    return {"result": result, "said": said, "code": "", "seconds": 1.0, "at": NOW}


@pytest.mark.parametrize(
    ("record", "service", "timer", "state", "words"),
    [
        ({}, {}, {"LoadState": "not-found"}, "absent", ""),
        ({}, {}, TIMER, "waiting", ""),
        ({"began": 1.0}, {"ActiveState": "activating"}, TIMER, "running", ""),
        ({"began": NOW, "ended": NOW, "steps": {"backup": step("ok")}}, {}, TIMER, "ok", ""),
        ({"began": NOW, "ended": NOW, "steps": {"backup": step("failed", "no room")}}, {}, TIMER, "failed", "no room"),
        ({"began": NOW}, {"Result": "signal"}, TIMER, "failed", "systemd says signal"),
        ({"began": NOW}, {}, TIMER, "failed", "it was killed or the host went down"),
        ({"began": NOW, "ended": NOW, "steps": {}}, {"Result": "exit-code"}, TIMER, "failed", "could not be run"),
        ({"began": 1.0, "ended": NOW - 51 * 3600, "steps": {}}, {}, TIMER, "late", "the last run ended"),
        ({"began": NOW, "ended": NOW}, {}, {**TIMER, "ActiveState": "inactive"}, "off", "does not run"),
    ],
)
def test_verdicts(record: Any, service: Any, timer: Any, state: str, words: str) -> None:
    found = verdict_of(record, service, timer, NOW, 50.0)
    assert found["state"] == state
    assert words in found["problem"] if words else not found["problem"]


def test_progress_says_how_far_it_has_come_and_what_is_left() -> None:
    record = {"phase": "dump", "bytes": 100 << 20, "forecast": 400 << 20, "since": NOW - 10}
    assert progress_line(record, NOW) == "dump: 100 MiB of about 400 MiB, 10 MiB/s, about 30 s left"
    assert progress_line({"phase": "restore", "bytes": 0, "since": NOW}, NOW) == "restore: 0 KiB"


class Receiver(BaseHTTPRequestHandler):
    got: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        type(self).got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def test_a_failure_is_told_by_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(unit, "_show", lambda name: {"Result": "exit-code"} if name.endswith("service") else TIMER)
    (tmp_path / "last.json").write_text(
        json.dumps({"began": NOW, "ended": NOW, "steps": {"backup": step("failed", "no room")}})
    )
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        urls = [f"json://user:t0ken-s3cret@127.0.0.1:{server.server_port}/x"]
        (tmp_path / "settings.json").write_text(json.dumps(settings(tmp_path, notify_urls=urls)))
        assert cli.main(["--settings", str(tmp_path / "settings.json"), "tell"]) == 0
        server.shutdown()
    (message,) = Receiver.got
    assert "the scheduled backup on" in message["title"]
    assert "no room" in message["message"]
    (tmp_path / "settings.json").write_text(
        json.dumps(settings(tmp_path, notify_urls=["json://u:t0ken-s3cret@127.0.0.1:1/"]))
    )
    assert cli.main(["--settings", str(tmp_path / "settings.json"), "tell"]) == 1, (
        "that nobody was told is a failure too"
    )
    assert cli.main(["--settings", str(tmp_path / "settings.json"), "status"]) == 1
    assert "s3cret" not in "".join(capsys.readouterr())


def test_the_message_names_the_next_step() -> None:
    title, body = message_of("floyo production", "db1", {"problem": "backup: no room"})
    assert title == "floyo production: the scheduled backup on db1 failed"
    assert "no room" in body
    assert "journalctl" in body


def test_the_packed_program_is_the_modules_and_runs_alone(tmp_path: Path) -> None:
    digests = set()
    for name in ("one.pyz", "two.pyz"):
        words = [sys.executable, str(ROOT / "scripts" / "pack_host_program"), str(tmp_path / name), "floyo-backup"]
        digests.add(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert len(digests) == 1

    def program(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-I", str(tmp_path / "one.pyz"), "--settings", str(tmp_path / "settings.json"), *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/")

    assert "SETTINGS_UNUSABLE" not in program("run").stdout
    assert "run playbooks/provision.yml" in program("run").stderr
    (tmp_path / "settings.json").write_text(json.dumps(settings(tmp_path)))
    listed = program("module", "pg_backup", '{"state": "info"}')
    assert json.loads(listed.stdout)["backups"] == []
    none = program("module", "pg_archive", json.dumps({"state": "info", "config": str(tmp_path / "none")}))
    assert not json.loads(none.stdout)["configured"]
    assert "has no nonsense" in program("module", "pg_backup", '{"nonsense": 1}').stderr
