"""The lease as a file: who may take it when, and that tokens only rise."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.lease import Lease, acquire, info, release, renew

ROOT = Path(__file__).resolve().parents[2]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lease(tmp_path: Path, clock: Clock) -> Lease:
    return Lease(str(tmp_path), clock=clock)


def take(lease: Lease, holder: str = "anna", **more: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "reason": "deploy", "ttl": 60.0, "minimum_token": 0, "takeover": False, "wait": 0.0, "check": False,
    }  # fmt: skip
    return acquire(lease, holder=holder, **{**settings, **more})


def test_one_holder_at_a_time_and_tokens_rise(lease: Lease) -> None:
    assert not info(lease)["held"]
    first = take(lease)
    assert (first["token"], first["changed"], first["held"]) == (1, True, True)
    with pytest.raises(FloyoError) as caught:
        take(lease, "eve")
    assert caught.value.code == "LEASE_HELD"
    assert "anna holds the lease (deploy)" in str(caught.value)
    assert caught.value.details["holder"] == "anna"
    assert release(lease, token=1, check=False)["changed"]
    assert not release(lease, token=1, check=False)["changed"]
    assert take(lease, "eve")["token"] == 2


def test_the_same_run_again_keeps_its_token(lease: Lease, clock: Clock) -> None:
    take(lease)
    clock.now += 30
    again = take(lease)
    assert (again["token"], again["changed"], again["since"], again["expires"]) == (1, False, 1000.0, 1090.0)
    assert take(lease, minimum_token=5)["token"] == 6, "a host has seen a higher one"


def test_an_expired_lease_is_free_and_its_run_finds_out(lease: Lease, clock: Clock) -> None:
    take(lease)
    clock.now += 61
    assert not info(lease)["held"]
    assert renew(lease, token=1, ttl=60, check=False)["held"], "nobody came in between"
    clock.now += 61
    assert take(lease, "eve")["token"] == 2
    with pytest.raises(FloyoError, match="was lost to eve") as caught:
        renew(lease, token=1, ttl=60, check=False)
    assert caught.value.code == "LEASE_LOST"
    assert not release(lease, token=1, check=False)["changed"]
    assert info(lease)["holder"] == "eve"


def test_taking_over_is_recorded_and_needs_a_word(lease: Lease) -> None:
    take(lease)
    taken = take(lease, "eve", takeover=True)
    assert (taken["token"], taken["taken_from"]) == (2, "anna")


def test_a_token_is_above_what_hosts_have_seen(lease: Lease) -> None:
    assert take(lease, minimum_token=41)["token"] == 42


def test_a_clock_that_was_set_back_frees_the_lease(lease: Lease, clock: Clock) -> None:
    take(lease)
    clock.now -= 3600
    assert take(lease, "eve")["token"] == 2


def test_waiting_for_the_end_of_another(lease: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    take(lease)
    monkeypatch.setattr("ansible.module_utils.floyo.lease.time.sleep", lambda _: release(lease, token=1, check=False))
    assert take(lease, "eve", wait=5.0)["token"] == 2


def test_check_mode_changes_nothing(lease: Lease) -> None:
    assert take(lease, check=True)["token"] == 1
    assert not info(lease)["held"]
    take(lease)
    before = Path(lease.path).read_text()
    assert renew(lease, token=1, ttl=999, check=True)["expires"] == 1999.0
    assert release(lease, token=1, check=True)["changed"]
    assert Path(lease.path).read_text() == before


@pytest.mark.parametrize("content", ["{", "[]", '{"token": "x"}'])
def test_a_damaged_file_is_no_free_lease(lease: Lease, content: str) -> None:
    Path(lease.path).write_text(content)
    with pytest.raises(FloyoError) as caught:
        take(lease)
    assert caught.value.code == "LEASE_DAMAGED"


def test_a_host_without_a_state_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(FloyoError, match=r"playbooks/provision\.yml"):
        info(Lease(str(tmp_path / "no")))


RACER = """
import sys
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[2])
from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.lease import Lease, acquire
lease = Lease(sys.argv[1])
print("ready", flush=True)
input()
try:
    got = acquire(lease, holder=sys.argv[3], reason="race", ttl=60, minimum_token=0, takeover=False, wait=0, check=False)
    print(got["token"], flush=True)
except FloyoError as error:
    print(error.code, flush=True)
"""


def racers(tmp_path: Path, round_number: int, count: int) -> list[subprocess.Popen[str]]:
    found = []
    for number in range(count):
        words = [str(tmp_path), str(ROOT / "module_utils"), f"r{round_number}-{number}"]
        found.append(
            subprocess.Popen(
                [sys.executable, "-c", RACER, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
    for racer in found:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n"
    return found


def test_of_many_at_once_one_wins_and_a_killed_one_harms_nothing(tmp_path: Path) -> None:
    tokens = []
    for round_number in range(4):
        found = racers(tmp_path, round_number, 5)
        for racer in found:
            assert racer.stdin
            racer.stdin.write("\n")
            racer.stdin.flush()
        os.kill(found[0].pid, signal.SIGKILL)  # at any point of its work
        words = [racer.communicate()[0].strip() for racer in found]
        winners = [int(word) for word in words if word.isdigit()]
        state = json.loads((tmp_path / "lease.json").read_text())
        assert len(winners) <= 1, words
        assert winners in ([], [state["token"]]), "the killed one may have won without a word"
        tokens.append(state["token"])
        release(Lease(str(tmp_path)), token=state["token"], check=False)
    assert tokens == sorted(set(tokens)), "they only rise"
