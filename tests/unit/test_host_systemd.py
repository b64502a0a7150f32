"""The host program's words to systemd: as few as can be, since a whole fleet waits for them, and enough."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ansible.module_utils.floyo.hostprog.host import Config, Host

# Says what it was told, and refuses what the file "refused" names as often as that has lines.
SYSTEMCTL = """#!/bin/sh
echo "$*" >>{place}/told
case $1 in
start | restart)
    test -s {place}/refused || {{ rm -f {place}/intent.json; exit 0; }}
    sed -i 1d {place}/refused
    echo "Job for $2 failed." >&2
    exit 1
    ;;
esac
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    (tmp_path / "systemctl").write_text(SYSTEMCTL.format(place=tmp_path))
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    texts = {name: "x" for name in Config._fields}
    return Host(
        Config(
            **{
                **texts,
                "unit": "x.service",
                "switch_unit": "x-switch.service",
                "state_dir": str(tmp_path),
                "extra_units": ("x-worker.service",),
                "ready_timeout": 1.0,
                "python": sys.executable,
            }
        )
    )


def told(host: Host) -> list[str]:
    return (Path(host.config.state_dir) / "told").read_text().splitlines()


def put(host: Host, name: str, text: str) -> None:
    (Path(host.config.state_dir) / name).write_text(text)


def test_a_restart_is_one_call(host: Host) -> None:
    assert host.restart() == ""
    assert told(host) == ["restart x.service x-worker.service"]


def test_a_restart_that_is_refused_is_asked_for_again(host: Host) -> None:
    """The start limit is that of the release that crashed before; what the unit's Result says does not tell."""
    put(host, "refused", "once\n")
    assert host.restart() == ""
    assert [line.split()[0] for line in told(host)] == ["restart", "reset-failed", "restart"]


def test_a_restart_that_is_refused_twice_says_why(host: Host) -> None:
    put(host, "refused", "once\ntwice\n")
    assert host.restart() == "Job for x.service failed."
    assert [line.split()[0] for line in told(host)] == ["restart", "reset-failed", "restart"]


def test_the_switch_is_started_once(host: Host) -> None:
    put(host, "intent.json", "{}")
    host.run_switch_unit()
    assert told(host) == ["start x-switch.service"]


def test_a_switch_that_was_killed_is_started_again(host: Host) -> None:
    put(host, "intent.json", "{}")
    put(host, "refused", "once\n")
    host.run_switch_unit()
    assert told(host) == ["start x-switch.service", "start x-switch.service"]


def test_a_switch_that_failed_by_itself_is_not_started_again(host: Host) -> None:
    """Its end is recorded, and the intent is gone."""
    put(host, "refused", "once\n")
    host.run_switch_unit()
    assert told(host) == ["start x-switch.service"]
