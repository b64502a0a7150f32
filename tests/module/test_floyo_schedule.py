"""floyo_schedule: what systemd and the job's record say together."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Answers as systemd does for a timer that is on, and what the file "service" says for the service.
SYSTEMCTL = """#!/bin/sh
for unit; do :; done
case $unit in
*.timer) cat {place}/timer ;;
*) cat {place}/service ;;
esac
"""
ON = "LoadState=loaded\nActiveState=active\nNextElapseUSecRealtime=Mon 2027-01-01 04:00:00 UTC\n"
ENDED = "LoadState=loaded\nActiveState=inactive\nResult=success\n"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "systemctl").write_text(SYSTEMCTL.format(place=tmp_path))
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "timer").write_text(ON)
    (tmp_path / "service").write_text(ENDED)
    return tmp_path


def look(host: Path, run_module: Callable[..., Any]) -> Any:
    arguments = {"name": "floyo", "record": str(host / "last.json"), "late": 50}
    answers = [run_module("floyo_schedule", arguments, check=check) for check in (True, False, True, False)]
    assert [answer.json for answer in answers] == [answers[0].json] * 4
    assert answers[0]["changed"] is False
    return answers[0]


def record(host: Path, result: str, *, ago: float = 60.0) -> None:
    at = time.time() - ago
    step = {"result": result, "said": "no room", "code": "DISK_FULL", "seconds": 1.0, "at": at}
    good = {"backup": at} if result == "ok" else {}
    document = {"began": at, "ended": at + 1, "steps": {"backup": step}, "succeeded": good}
    (host / "last.json").write_text(json.dumps(document))


def test_a_run_that_went_well(host: Path, run_module: Callable[..., Any]) -> None:
    record(host, "ok")
    seen = look(host, run_module)
    assert (seen["state"], seen["problem"]) == ("ok", "")
    assert seen["next_run"].startswith("Mon 2027-01-01")


def test_a_step_that_failed_is_named(host: Path, run_module: Callable[..., Any]) -> None:
    record(host, "failed")
    seen = look(host, run_module)
    assert seen["state"] == "failed"
    assert "no room" in seen["problem"]


def test_a_run_that_was_killed_is_seen_by_its_unit(host: Path, run_module: Callable[..., Any]) -> None:
    record(host, "ok")
    (host / "service").write_text("LoadState=loaded\nActiveState=failed\nResult=signal\n")
    assert look(host, run_module)["state"] == "failed"


def test_a_run_too_long_ago_is_late(host: Path, run_module: Callable[..., Any]) -> None:
    record(host, "ok", ago=60 * 3600.0)
    assert look(host, run_module)["state"] == "late"


def test_a_timer_that_is_off(host: Path, run_module: Callable[..., Any]) -> None:
    (host / "timer").write_text("LoadState=loaded\nActiveState=inactive\n")
    assert look(host, run_module)["state"] == "off"


def test_no_timer_is_absent_and_no_fault(host: Path, run_module: Callable[..., Any]) -> None:
    (host / "timer").write_text("LoadState=not-found\nActiveState=inactive\n")
    seen = look(host, run_module)
    assert (seen["state"], seen["problem"]) == ("absent", "")
