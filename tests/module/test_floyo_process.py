"""floyo_process with a stand-in for systemctl and journalctl and this process as the unit's."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MIB = 1024 * 1024
STARTED, RESTARTED, KILLED = (
    "39f53479d3a045ac8e11786248231fbf", "5eb03494b6584870a536b337290809b3", "fe6faa94e7774663a0da52717891d8ef",
)  # fmt: skip


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: Any) -> Callable[..., None]:
    """What systemd shows and the journal holds."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def program(name: str, body: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def say(events: tuple[str, ...] = (), **properties: Any) -> None:
        shown = {"LoadState": "loaded", "ActiveState": "active", "MainPID": os.getpid(), "NRestarts": 0, "Result": "success",
                 "InvocationID": "now", "ControlGroup": "/none", "MemoryMax": 10**10, "CPUUsageNSec": 5 * 10**9,
                 **properties}  # fmt: skip
        program("systemctl", "cat <<'E'\n" + "\n".join(f"{key}={value}" for key, value in shown.items()) + "\nE")
        entries = [
            {"MESSAGE_ID": one, "MESSAGE": "systemd says so", "__REALTIME_TIMESTAMP": str(int(time.time() * 10**6))}
            for one in events
        ]
        program("journalctl", "cat <<'E'\n" + "\n".join(map(json.dumps, entries)) + "\nE")

    return say


@pytest.fixture
def ask(run_module: Any, tmp_path: Path) -> Callable[..., Any]:
    def run(*samples: tuple[float, float], start: str = "now", **options: Any) -> Any:
        ring = tmp_path / "ring.jsonl"
        now = time.time()
        ring.write_text(
            "".join(json.dumps([now - age, start, int(mib * MIB), 5 - age / 1000, 0, 0]) + "\n" for age, mib in samples)
        )
        return run_module("floyo_process", {"ring": str(ring), **options})

    return run


def verdicts(result: Any) -> dict[str, str]:
    return {one["check"]: one["verdict"] for one in result["findings"]}


def growing(count: int = 60, step: float = 60, by: float = 1) -> list[tuple[float, float]]:
    return [((count - n) * step, 100 + by * n) for n in range(count)]


def test_a_quiet_service(ask: Any, unit: Any) -> None:
    unit(events=(STARTED,))
    result = ask(*growing(count=100, by=0), start="before")
    assert result.rc == 0
    assert result["changed"] is False
    assert verdicts(result) == dict.fromkeys(
        ("service", "memory leak", "memory limit", "killed for memory", "restarts"), "pass"
    )
    assert result["memory"] > MIB
    assert result["memory_source"]


def test_a_leak(ask: Any, unit: Any) -> None:
    unit()
    result = ask(*growing(count=100, by=2))
    (found,) = [one for one in result["findings"] if one["check"] == "memory leak"]
    assert found["verdict"] == "fail"
    assert result["leak"]["bytes_an_hour"] == pytest.approx(120 * MIB, rel=0.1)
    assert "playbooks/service.yml" in found["next_step"]
    assert verdicts(ask(*growing(count=100, by=2), horizon=24))["memory leak"] == "warn", "far from its limit"
    assert verdicts(ask(*growing(count=10, by=2)))["memory leak"] == "inconclusive"
    assert verdicts(ask(*growing(step=1, by=2), shortest=30, warm_up=2))["memory leak"] == "fail"


def test_kills_and_restarts(ask: Any, unit: Any) -> None:
    unit(events=(KILLED, RESTARTED, STARTED) * 3)
    result = ask()
    assert (verdicts(result)["killed for memory"], verdicts(result)["restarts"]) == ("fail", "warn")
    assert result["events"]["killed"] == 3
    assert result["events"]["lines"][0]["message"] == "systemd says so"


def test_near_its_limit(ask: Any, unit: Any) -> None:
    unit(MemoryMax=3 * MIB)
    assert verdicts(ask())["memory limit"] == "fail"


def test_a_unit_that_stands(ask: Any, unit: Any) -> None:
    unit(ActiveState="failed", MainPID=0, Result="oom-kill")
    result = ask()
    assert result["verdict"] == "fail"
    assert "failed, result oom-kill" in result["findings"][0]["message"]
    assert result["memory"] is None


def test_a_unit_that_is_none(ask: Any, unit: Any) -> None:
    unit(LoadState="not-found")
    assert ask()["code"] == "UNIT_UNKNOWN"
    assert ask(fewest=1)["code"] == "SPAN_INVALID"


def test_without_a_journal_there_is_less_to_say(ask: Any, unit: Any, tmp_path: Path) -> None:
    unit()
    (tmp_path / "journalctl").write_text("#!/bin/sh\nexit 5\n")
    result = ask()
    assert result["events"] == {}
    assert "restarts" not in verdicts(result)
