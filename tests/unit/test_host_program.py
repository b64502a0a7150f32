"""The host program's transaction, with a host that is a directory and a process that is a word."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.hostprog.host import Config, Host
from ansible.module_utils.floyo.hostprog.switch import history, previous_good, resume, status, switch

ROOT = Path(__file__).resolve().parents[2]


class FakeHost(Host):
    """A host whose service runs what the link names at its last restart; releases in ``broken`` are never ready."""

    process: str | None = None
    broken: frozenset[str] = frozenset()
    dies_at: str = ""

    def restart(self) -> str:
        if self.dies_at == "restart":
            raise KeyboardInterrupt
        self.process = self.linked()
        return ""

    def run_switch_unit(self) -> None:
        with contextlib.suppress(FloyoError):  # the unit's own failure; the caller reads the record
            resume(self)

    def stop(self) -> None:
        self.process = None

    def running(self) -> str | None:
        return self.process

    def fault(self, release: str) -> str:
        if self.process != release:
            return f"the running process belongs to {self.process}"
        return "readiness answers 503" if release in self.broken else ""

    def wait_ready(self, release: str, deadline: float) -> str:
        return self.fault(release)

    def last_lines(self) -> list[str]:
        return ["its last words"]


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    for name in ("a", "b", "c"):
        (tmp_path / "releases" / name).mkdir(parents=True)
        (tmp_path / "releases" / name / "release.json").write_text("{}")
    return FakeHost(
        Config("x", str(tmp_path), str(tmp_path), "x.service", "x.socket", (), "http://r", "http://h", 1.0, "version")
    )


def to(host: FakeHost, release: str, token: int | None = None) -> dict[str, Any]:
    return switch(host, release, token=token, holder="me", reason="test")


def test_a_switch_is_recorded_and_a_second_one_changes_nothing(host: FakeHost) -> None:
    assert to(host, "a")["outcome"] == "switched"
    assert to(host, "b")["from"] == "a"
    assert to(host, "b")["outcome"] == "unchanged"
    assert [(e["sequence"], e["to"], e["holder"]) for e in history(host)] == [(1, "a", "me"), (2, "b", "me")]
    assert status(host)["running"] == "b"
    assert status(host)["intent"] is None


def test_a_release_that_is_not_ready_is_undone(host: FakeHost) -> None:
    to(host, "a")
    host.broken = frozenset("b")
    with pytest.raises(FloyoError) as caught:
        to(host, "b")
    assert caught.value.code == "SWITCH_REVERTED"
    assert "503" in str(caught.value)
    assert caught.value.details["log_tail"] == ["its last words"]
    assert (host.linked(), host.process) == ("a", "a")
    assert status(host)["intent"] is None


def test_a_first_release_that_fails_leaves_nothing_running(host: FakeHost) -> None:
    host.broken = frozenset("a")
    with pytest.raises(FloyoError, match="no earlier release"):
        to(host, "a")
    assert (host.linked(), host.process) == (None, None)


def test_an_interrupted_switch_is_finished_by_resume(host: FakeHost) -> None:
    to(host, "a")
    host.dies_at = "restart"
    with pytest.raises(KeyboardInterrupt):
        to(host, "b")
    host.dies_at = ""
    with pytest.raises(FloyoError, match="not finished"):
        to(host, "c")
    assert (resume(host) or {})["outcome"] == "switched"
    assert host.process == "b"
    assert resume(host) is None


def test_a_stale_token_is_refused(host: FakeHost) -> None:
    to(host, "a", token=7)
    with pytest.raises(FloyoError) as caught:
        to(host, "b", token=6)
    assert caught.value.code == "FENCED"
    assert host.process == "a"
    assert to(host, "b", token=7)["outcome"] == "switched"


def test_an_unknown_release_names_those_on_disk(host: FakeHost) -> None:
    with pytest.raises(FloyoError, match="a, b, c"):
        to(host, "z")


def test_rollback_goes_to_the_newest_proven_release_and_never_to_a_bad_one(host: FakeHost) -> None:
    to(host, "a")
    to(host, "b")
    host.broken = frozenset("c")
    with pytest.raises(FloyoError):
        to(host, "c")
    assert previous_good(history(host), "b") == "a"
    assert previous_good(history(host), "a") == "b"
    assert previous_good([], None) is None


def test_the_packed_program_is_the_same_each_time_and_runs_alone(tmp_path: Path) -> None:
    digests = set()
    for name in ("one.pyz", "two.pyz"):
        packed = subprocess.run(
            [sys.executable, str(ROOT / "scripts" / "pack_host_program"), str(tmp_path / name)],
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(packed.stdout)
    assert len(digests) == 1
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "one.pyz"), "--json", "--config", str(tmp_path / "no"), "status"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == "CONFIG_UNUSABLE"
