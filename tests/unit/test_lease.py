"""The lease: whose it is, when it ends, and that its token only rises, whatever happens to holders, clocks and the disk."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible.module_utils.floyo import lease as module
from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.lease import Lease, acquire, info, release, renew

TTL = 900.0


class Host:
    """A lease host whose clocks the test moves."""

    def __init__(self, state_dir: Path) -> None:
        self.day, self.uptime, self.boot = 1_700_000_000.0, 5000.0, "first"
        self.state_dir = state_dir

    @property
    def lease(self) -> Lease:
        return Lease(str(self.state_dir), clock=lambda: self.day, uptime=lambda: self.uptime, boot=self.boot)

    def passes(self, seconds: float) -> None:
        self.day += seconds
        self.uptime += seconds

    def boots(self, *, day: Optional[float] = None) -> None:
        self.boot, self.uptime = f"{self.boot}'", 0.0
        self.day = self.day if day is None else day

    def take(self, holder: str, **more: Any) -> dict[str, Any]:
        return acquire(self.lease, **{"holder": holder, "reason": f"deploy by {holder}", "ttl": TTL, **more})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@contextlib.contextmanager
def refused(code: str) -> Iterator[pytest.ExceptionInfo[FloyoError]]:
    with pytest.raises(FloyoError) as error:
        yield error
    assert error.value.code == code, error.value
    assert error.value.next_step or error.value.expected


# --- whose it is -----------------------------------------------------------------------------------------------------


def test_one_holds_it_and_the_other_is_told_everything(host: Host) -> None:
    first = host.take("anna@a 1")
    assert (first["token"], first["held"], first["changed"], first["taken_from"]) == (1, True, True, "")
    assert (first["since"], first["expires"]) == (host.day, host.day + TTL)
    host.passes(100)
    with refused("LEASE_HELD") as error:
        host.take("ben@b 2")
    told = str(error.value)
    for part in (
        "anna@a 1",
        "deploy by anna@a 1",
        "since 2023-11-14 22:13:20 UTC",
        "800 s",
        "-e 'floyo_lease_takeover=anna@a 1'",
    ):
        assert part in told
    assert error.value.details["holder"] == "anna@a 1"
    assert info(host.lease)["holder"] == "anna@a 1"


def test_the_same_run_again_keeps_its_token_and_gets_the_full_time(host: Host) -> None:
    first = host.take("anna")
    host.passes(500)
    again = host.take("anna")
    assert (again["token"], again["changed"], again["since"]) == (first["token"], False, first["since"])
    assert again["expires"] == host.day + TTL


def test_the_same_run_gets_a_new_token_when_a_host_has_seen_a_higher_one(host: Host) -> None:
    host.take("anna")
    assert host.take("anna", minimum_token=41)["token"] == 42


def test_the_same_run_after_its_time_gets_a_new_token(host: Host) -> None:
    first = host.take("anna")
    host.passes(TTL)
    again = host.take("anna")
    assert (again["token"], again["changed"], again["taken_from"]) == (first["token"] + 1, True, "")


def test_the_token_survives_release_and_expiry(host: Host) -> None:
    tokens = []
    for name in "abc":
        tokens.append(host.take(name)["token"])
        release(host.lease, token=tokens[-1])
    for name in "de":
        tokens.append(host.take(name)["token"])
        host.passes(TTL + 1)
    assert tokens == [1, 2, 3, 4, 5]
    assert info(host.lease)["token"] == 5


def test_what_is_free_names_nobody(host: Host) -> None:
    nobody: dict[str, Any] = dict.fromkeys(("holder", "reason", "taken_from"), "") | dict.fromkeys(
        ("since", "expires"), 0.0
    )
    nobody |= dict.fromkeys(("held", "changed"), False)
    assert info(host.lease) == {"token": 0, **nobody}
    host.take("anna")
    host.passes(TTL)
    assert info(host.lease) == {"token": 1, **nobody}


def test_a_dead_holder_is_taken_over_after_its_time_and_that_is_recorded(host: Host) -> None:
    host.take("anna")
    host.passes(TTL - 1)
    with refused("LEASE_HELD"):
        host.take("ben")
    host.passes(1)
    taken = host.take("ben")
    assert (taken["token"], taken["taken_from"]) == (2, "anna")
    assert info(host.lease)["taken_from"] == "anna"
    (line,) = (host.state_dir / "lease.jsonl").read_text().splitlines()
    noted = json.loads(line)
    assert (noted["taken_from"], noted["lost_token"], noted["holder"], noted["token"]) == ("anna", 1, "ben", 2)
    assert noted["expired"] is True


def test_taking_over_is_recorded_and_the_loser_hears_of_it(host: Host) -> None:
    lost = host.take("anna")["token"]
    won = host.take("ben", takeover=True)
    assert (won["token"], won["taken_from"]) == (lost + 1, "anna")
    assert json.loads((host.state_dir / "lease.jsonl").read_text())["expired"] is False
    with refused("LEASE_LOST") as error:
        renew(host.lease, token=lost, ttl=TTL)
    assert "lost to ben (deploy by ben, token 2)" in str(error.value)

    kept = release(host.lease, token=lost)
    assert (kept["changed"], kept["holder"]) == (False, "ben")
    assert "lost to ben" in kept["msg"]

    # also when the winner has ended by then
    assert release(host.lease, token=won["token"])["changed"]
    with refused("LEASE_LOST") as error:
        renew(host.lease, token=lost, ttl=TTL)
    assert "lost to ben (deploy by ben, token 2), who has given it back" in str(error.value)


def test_nothing_is_recorded_for_an_ordinary_change(host: Host) -> None:
    release(host.lease, token=host.take("anna")["token"])
    assert host.take("ben")["taken_from"] == ""
    assert not (host.state_dir / "lease.jsonl").exists()


def test_the_dead_can_be_taken_over_and_not_who_came_after(host: Host) -> None:
    """Two runs saw that anna is dead; the first has taken over when the second comes."""
    dead = host.take("anna")["token"]
    assert host.take("ben", takeover_token=dead)["taken_from"] == "anna"
    with refused("LEASE_HELD") as error:
        host.take("cleo", takeover_token=dead)
    assert "ben holds the lease" in str(error.value)


def test_a_takeover_names_whom_it_means(host: Host) -> None:
    """Whoever came after the run that somebody looked at keeps the lease."""
    host.take("anna@laptop pid 1.2.3")
    with refused("LEASE_HELD") as error:
        host.take("ben", takeover_from="anna")
    assert "-e 'floyo_lease_takeover=anna@laptop'" in str(error.value)
    assert host.take("ben@office pid 4.5.6", takeover_from="anna@laptop")["taken_from"] == "anna@laptop pid 1.2.3"
    assert json.loads((host.state_dir / "lease.jsonl").read_text())["taken_from"] == "anna@laptop pid 1.2.3"
    with refused("LEASE_HELD"):
        host.take("cleo", takeover_from="anna@laptop")
    with refused("LEASE_HELD"):
        host.take("cleo", takeover_from="ben@office pid 9")
    assert host.take("cleo", takeover_from="ben@office pid 4.5.6")["token"] == 3


def test_who_was_taken_over_stays_told_to_the_same_run(host: Host) -> None:
    host.take("anna")
    host.take("ben", takeover=True)
    assert host.take("ben")["taken_from"] == "anna"
    assert len((host.state_dir / "lease.jsonl").read_text().splitlines()) == 1


def test_renewing(host: Host) -> None:
    token = host.take("anna")["token"]
    for _ in range(4):
        host.passes(TTL - 1)
        assert renew(host.lease, token=token, ttl=TTL)["expires"] == host.day + TTL
    # late, and nobody came in between
    host.passes(2 * TTL)
    assert renew(host.lease, token=token, ttl=TTL)["held"]
    release(host.lease, token=token)
    with refused("LEASE_LOST") as error:
        renew(host.lease, token=token, ttl=TTL)
    assert "given back already" in str(error.value)
    with refused("LEASE_LOST") as error:
        renew(host.lease, token=99, ttl=TTL)
    assert "never granted here" in str(error.value)


def test_giving_back_twice_is_fine(host: Host) -> None:
    token = host.take("anna")["token"]
    assert release(host.lease, token=token)["msg"] == ""
    again = release(host.lease, token=token)
    assert (again["changed"], again["held"]) == (False, False)


def test_waiting_ends_when_it_is_given_back(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", 0.01)
    token = host.take("anna")["token"]
    looked = threading.Event()
    monkeypatch.setattr(module.time, "sleep", lambda _seconds: looked.set())
    waiter: dict[str, Any] = {}
    thread = threading.Thread(target=lambda: waiter.update(host.take("ben", wait=60)))
    thread.start()
    assert looked.wait(30)
    assert not waiter
    release(host.lease, token=token)
    thread.join(30)
    assert waiter["token"] == token + 1
    with refused("LEASE_HELD"):
        host.take("anna", wait=0.02)


@pytest.mark.parametrize(("holder", "ttl", "code"), [("anna", 0, "TTL_UNUSABLE"), (" ", TTL, "HOLDER_MISSING")])
def test_what_makes_no_lease(host: Host, holder: str, ttl: float, code: str) -> None:
    with refused(code):
        host.take(holder, ttl=ttl)
    assert list(host.state_dir.iterdir()) == []


# --- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [-86400, -2, 86400])
def test_setting_the_clock_neither_frees_nor_keeps_it(host: Host, step: float) -> None:
    host.take("anna")
    host.day += step
    assert info(host.lease)["held"]
    with refused("LEASE_HELD"):
        host.take("ben")
    host.uptime += TTL
    assert not info(host.lease)["held"]


def test_a_boot_does_not_free_it(host: Host) -> None:
    token = host.take("anna")["token"]
    host.passes(100)
    host.boots()
    host.passes(10)
    assert info(host.lease)["held"]
    assert renew(host.lease, token=token, ttl=TTL)["held"]


def test_after_a_boot_time_has_passed_at_least_since_then(host: Host) -> None:
    host.take("anna")
    host.boots(day=host.day - 10 * 86400)  # a dead battery
    assert info(host.lease)["held"]
    host.passes(TTL)
    assert not info(host.lease)["held"]


def test_a_host_that_was_off_for_long_holds_nothing(host: Host) -> None:
    host.take("anna")
    host.boots(day=host.day + TTL)
    assert not info(host.lease)["held"]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["take", "over", "renew", "release", "pass", "step", "boot"]),
        st.sampled_from(["anna", "ben", "cleo"]),
        st.floats(-2000, 2000, allow_nan=False),
    ),
    max_size=40,
)


@given(actions=ACTIONS)
def test_no_token_is_given_to_two_and_none_is_lower(tmp_path_factory: pytest.TempPathFactory, actions: Any) -> None:
    host = Host(tmp_path_factory.mktemp("lease"))
    granted: dict[int, str] = {}
    highest = 0
    mine: dict[str, int] = {}
    for what, who, number in actions:
        try:
            if what in ("take", "over"):
                token = host.take(who, takeover=what == "over")["token"]
                assert granted.setdefault(token, who) == who
                assert token >= highest
                highest, mine[who] = token, token
            elif what == "renew":
                renew(host.lease, token=mine.get(who, 99), ttl=TTL)
                assert mine[who] == highest
            elif what == "release":
                release(host.lease, token=mine.get(who, 99))
        except FloyoError as error:
            assert error.code in ("LEASE_HELD", "LEASE_LOST")
            if what == "take":
                assert granted[highest] != who
        host.passes(abs(number) if what == "pass" else 0)
        host.day += number if what == "step" else 0
        if what == "boot":
            host.boots(day=host.day + number)
        assert info(host.lease)["token"] == highest


# --- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "{}",
        "null",
        "[]",
        "7",
        '{"token": "8"}',
        '{"token": 0}',
        '{"token": true}',
        '{"token": 3, "ttl": "x"}',
        "\udcff",
    ],
)
def test_a_damaged_file_grants_nothing(host: Host, content: str) -> None:
    path = host.state_dir / "lease.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    before = path.read_bytes()
    for attempt in (
        lambda: host.take("anna", takeover=True, minimum_token=5),
        lambda: renew(host.lease, token=1, ttl=TTL),
        lambda: release(host.lease, token=1),
        lambda: info(host.lease),
    ):
        with refused("LEASE_DAMAGED") as error:
            attempt()
        assert str(path) in str(error.value)
    assert path.read_bytes() == before
    # what the error says to do: the hosts' fences carry the token on
    path.unlink()
    assert host.take("anna", minimum_token=41)["token"] == 42


def test_a_host_that_is_not_provisioned(host: Host) -> None:
    host.state_dir = host.state_dir / "none"
    for attempt in (lambda: host.take("anna"), lambda: host.take("anna", check=True), lambda: info(host.lease)):
        with refused("STATE_DIR_MISSING"):
            attempt()


def test_looking_and_check_mode_write_nothing(host: Host) -> None:
    info(host.lease)
    predicted = host.take("anna", check=True)
    assert (predicted["token"], predicted["changed"]) == (1, True)
    assert list(host.state_dir.iterdir()) == []
    done = host.take("anna")
    assert done == predicted
    before = {path.name: path.read_bytes() for path in host.state_dir.iterdir()}
    assert renew(host.lease, token=1, ttl=TTL, check=True)["changed"]
    assert release(host.lease, token=1, check=True)["changed"]
    assert host.take("ben", takeover=True, check=True)["token"] == 2
    with refused("LEASE_HELD"):
        host.take("ben", wait=3600, check=True)  # nobody waits for a prediction
    assert {path.name: path.read_bytes() for path in host.state_dir.iterdir()} == before


def test_the_lock_file_stays_and_is_roots(host: Host) -> None:
    token = host.take("anna")["token"]
    lock = host.state_dir / "lease.lock"
    first = lock.stat()
    release(host.lease, token=token)
    host.take("ben")
    assert (lock.stat().st_ino, lock.stat().st_mode & 0o777) == (first.st_ino, 0o600)


def test_one_that_stopped_inside_does_not_hold_up_the_others_for_ever(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GUARD_WAIT", 0.1)
    with host.lease.locked(), refused("LEASE_BUSY") as error:
        host.take("anna")
    assert "lease.lock" in error.value.next_step
    assert host.take("anna")["token"] == 1


def test_leftovers_of_a_kill_are_swept(host: Host) -> None:
    (host.state_dir / ".lease.json.abc").write_text("{")
    host.take("anna")
    assert {path.name for path in host.state_dir.iterdir()} == {"lease.json", "lease.lock"}


# --- other processes -------------------------------------------------------------------------------------------------

PROGRAM = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
from floyo.errors import FloyoError
from floyo.lease import Lease, acquire
for line in sys.stdin:
    order = json.loads(line)
    if order.pop("disk_full", False):
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    now = order.pop("now")
    lease = Lease(sys.argv[2], clock=lambda: 1e9 + now, uptime=lambda: now, boot="one")
    repeat = order.pop("repeat", False)
    while True:
        try:
            print(acquire(lease, reason="", ttl=60.0, **order)["token"], flush=True)
        except FloyoError as error:
            print(error.code, flush=True)
        if not repeat:
            break
        time.sleep(0.02)  # the others take turns
"""


class Run:
    """A process that tries to take the lease when it is told to."""

    def __init__(self, root: Path, state_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(root / "module_utils"), str(state_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def order(self, **order: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def kill(self) -> list[str]:
        """Kill it; the whole lines that it printed and that nobody has read."""
        self.process.send_signal(signal.SIGKILL)
        rest, _ = self.process.communicate()
        return re.findall(r"(.+)\n", rest)


def test_of_many_at_once_exactly_one_wins_and_tokens_rise(root: Path, tmp_path: Path) -> None:
    runs = [Run(root, tmp_path) for _ in range(6)]
    last = 0
    try:
        for number in range(20):
            for index, run in enumerate(runs):  # the lease of the round before has expired by now
                run.order(holder=f"run {number}.{index}", now=1000.0 * (number + 1))
            answers = [run.answer() for run in runs]
            won = [index for index, answer in enumerate(answers) if answer.isdecimal()]
            assert len(won) == 1, answers
            assert sorted(set(answers) - {answers[won[0]]}) == ["LEASE_HELD"]
            assert int(answers[won[0]]) == last + 1
            last += 1
            if number % 4 == 0:
                runs[won[0]].kill()
                runs[won[0]] = Run(root, tmp_path)
    finally:
        for run in runs:
            run.kill()


def test_kills_in_the_middle_leave_a_good_file_and_no_token_twice(root: Path, tmp_path: Path) -> None:
    chance = random.Random(7)
    granted: list[int] = []
    for _ in range(5):
        runs = [Run(root, tmp_path) for _ in range(3)]
        for index, run in enumerate(runs):
            run.order(holder=f"run {index} of {id(run)}", now=1.0, repeat=True, takeover=True)
        for run in runs:
            granted.append(int(run.answer()))
        time.sleep(chance.random() / 5)
        for run in runs:
            granted += [int(line) for line in run.kill()]
        written = json.loads((tmp_path / "lease.json").read_text())
        assert set(written) == {field.name for field in dataclasses.fields(module.State)}
    # one that keeps it gets its own token again; nobody gets another's
    highest = info(Lease(str(tmp_path)))["token"]
    assert max(granted) <= highest
    acquire(Lease(str(tmp_path)), holder="after", reason="", ttl=1.0, takeover=True)
    assert info(Lease(str(tmp_path)))["token"] == highest + 1
    assert {path.name for path in tmp_path.iterdir()} == {"lease.json", "lease.lock", "lease.jsonl"}
    owners: dict[int, set[str]] = {}
    for line in (tmp_path / "lease.jsonl").read_text().splitlines():
        noted = json.loads(line)
        owners.setdefault(noted["lost_token"], set()).add(noted["taken_from"])
    assert all(len(names) == 1 for names in owners.values())


def test_a_full_disk_changes_nothing_and_says_so(root: Path, tmp_path: Path) -> None:
    first = Run(root, tmp_path)
    first.order(holder="anna", now=1.0)
    assert first.answer() == "1"
    before = (tmp_path / "lease.json").read_bytes()
    first.order(holder="ben", now=100.0, disk_full=True)
    assert first.answer() == "LEASE_UNWRITABLE"
    first.kill()
    assert (tmp_path / "lease.json").read_bytes() == before
    second = Run(root, tmp_path)
    second.order(holder="cleo", now=100.0)
    assert second.answer() == "2"
    second.kill()
