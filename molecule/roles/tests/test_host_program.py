"""floyo-release on a real host under systemd: switch, rollback, undo, and what a kill leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

STAND_IN = (Path(__file__).parent / "stand_in.py").read_text()
UNITS = "floyo-backend.service floyo-backend.socket"


@pytest.fixture(scope="module")
def host(fleet: Any) -> Iterator[Host]:
    """The first backend with two good releases and one that dies at its start; bare again afterwards."""
    host = fleet.host(fleet.groups["floyo_backend"][0])
    for release, program in (("t-1", STAND_IN), ("t-2", STAND_IN), ("t-bad", "raise SystemExit('no such luck')\n")):
        made = host.run(
            f"cd /srv/floyo/releases && mkdir -p {release}/.venv/bin && cd {release}"
            " && ln -sf /usr/bin/python3 .venv/bin/python && printf %%s %s >uvicorn.py && echo '{}' >release.json",
            program,
        )
        assert made.succeeded, made.stderr
    yield host
    host.check_output(
        f"systemctl stop {UNITS}; systemctl reset-failed {UNITS}; cd /srv/floyo && rm -rf current releases/t-*"
        " && rm -f /var/lib/floyo/history.jsonl /var/lib/floyo/fence.json /var/lib/floyo/intent.json"
    )


def release(host: Host, words: str) -> tuple[int, dict[str, Any]]:
    done = host.run(f"floyo-release --json {words}")
    return done.rc, json.loads(done.stdout)


def test_switch_and_rollback(host: Host) -> None:
    rc, first = release(host, "switch t-1")
    assert (rc, first["outcome"], first["from"]) == (0, "switched", None), first
    assert release(host, "switch t-2 --token 5")[1]["outcome"] == "switched"
    assert release(host, "status")[1]["current"]["release"] == "t-2"
    assert release(host, "switch t-2")[1]["outcome"] == "unchanged"
    assert release(host, "switch t-1 --token 4")[1]["code"] == "FENCED"
    rc, back = release(host, "rollback")
    assert (rc, back["to"]) == (0, "t-1"), back


def test_a_release_that_dies_is_undone_with_its_last_words(host: Host) -> None:
    rc, failed = release(host, "switch t-bad")
    assert (rc, failed["code"], failed["from"]) == (1, "SWITCH_REVERTED", "t-1"), failed
    assert any("no such luck" in line for line in failed["log_tail"])
    assert "t-1 serves again" in failed["msg"]
    now = release(host, "status")[1]
    assert (now["current"]["release"], now["link"], now["intent"]) == ("t-1", "t-1", None)


def test_a_killed_switch_is_finished_by_systemd(host: Host) -> None:
    """The unit dies by SIGKILL in the middle, and so does the one who waits; the switch ends by itself.

    Also when many switches came shortly before: there is no limit that systemd could hold against the last of them.
    """
    assert host.check_output("systemctl show --property=StartLimitIntervalUSec --value floyo-switch") == "0"
    host.check_output(
        "(floyo-release switch t-2 >/dev/null 2>&1 & echo $! >/run/switch.pid);"
        " until systemctl show -p MainPID --value floyo-switch | grep -qv '^0$'; do sleep 0.01; done;"
        " systemctl kill -s KILL floyo-switch; kill -9 $(cat /run/switch.pid) || true; rm /run/switch.pid"
    )
    waited = host.run("for i in $(seq 300); do test -e /var/lib/floyo/intent.json || exit 0; sleep 0.1; done; exit 1")
    assert waited.succeeded, host.check_output("journalctl -u floyo-switch --no-pager -n 20")
    now = release(host, "status")[1]
    assert (now["current"]["release"], now["intent"]) == ("t-2", None)
