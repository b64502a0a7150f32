"""floyo_lease: four runs for every state (check, real, check again, real again), and its action on the controller."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import pytest

Module = Callable[..., Any]


@pytest.fixture
def lease(run_module: Module, tmp_path: Path) -> Module:
    def run(state: str, *, check: bool = False, **more: Any) -> Any:
        return run_module("floyo_lease", {"state": state, "state_dir": str(tmp_path), **more}, check=check)

    return run


def content(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


def test_acquired_four_times(lease: Module, tmp_path: Path) -> None:
    predicted = lease("acquired", check=True, holder="anna", reason="v1")
    assert (predicted["changed"], predicted["token"], content(tmp_path)) == (True, 1, {})
    done = lease("acquired", holder="anna", reason="v1")
    keys = ("changed", "held", "token", "holder", "reason", "taken_from")
    assert [done[key] for key in keys] == [predicted[key] for key in keys] == [True, True, 1, "anna", "v1", ""]
    assert done["since"] < done["expires"]
    for check in (True, False):
        again = lease("acquired", check=check, holder="anna", reason="v1")
        assert (again["changed"], again["token"]) == (False, 1)
    assert lease("info")["holder"] == "anna"


def test_renewed_and_released_four_times(lease: Module, tmp_path: Path) -> None:
    lease("acquired", holder="anna", ttl=10)
    for check in (True, False, True, False):
        before = content(tmp_path)
        assert lease("renewed", token=1, check=check)["changed"]
        assert (content(tmp_path) == before) == check
    predicted = lease("released", token=1, check=True)
    assert (predicted["changed"], predicted["held"]) == (True, False)
    assert lease("info")["held"]
    assert lease("released", token=1)["changed"]
    for check in (True, False):
        again = lease("released", token=1, check=check)
        assert (again["changed"], again["held"]) == (False, False)
        assert "given back already" in again["msg"]


def test_refusals_have_codes_and_a_next_step(lease: Module) -> None:
    lease("acquired", holder="anna")
    held = lease("acquired", holder="ben")
    assert (held.rc, held["code"], held["holder"]) == (1, "LEASE_HELD", "anna")
    assert lease("acquired", holder="ben", takeover=True)["taken_from"] == "anna"
    lost = lease("renewed", token=1)
    assert (lost.rc, lost["code"], lost["holder"]) == (1, "LEASE_LOST", "ben")
    assert lost["next_step"]
    kept = lease("released", token=1)
    assert (kept.rc, kept["changed"], kept["holder"]) == (0, False, "ben")


@pytest.mark.parametrize(("state", "option"), [("acquired", "holder"), ("renewed", "token"), ("released", "token")])
def test_each_state_asks_for_what_it_needs(lease: Module, state: str, option: str) -> None:
    missing = lease(state)
    assert missing.rc == 1
    assert option in missing["msg"]


# --- through ansible-playbook ----------------------------------------------------------------------------------------


def play(
    root: Path, place: Path, *tasks: dict[str, Any], end: Optional[signal.Signals] = None
) -> subprocess.CompletedProcess[str]:
    """``end`` ends the run when its task WAITS begins; Ctrl-C is SIGINT."""
    for task in tasks:
        if "floyo_lease" in task:
            task["floyo_lease"]["state_dir"] = str(place)
    playbook = place / "play.yml"
    playbook.write_text(
        json.dumps([{"name": "T", "hosts": "all", "gather_facts": False, "tasks": [{"name": "T", **t} for t in tasks]}])
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "a,", "-c", "local", str(playbook)]
    settings = {"ANSIBLE_CONFIG": str(root / "ansible.cfg"), "ANSIBLE_HOME": str(place)}
    with subprocess.Popen(
        command, env={**clean, **settings}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/",
        start_new_session=True,
    ) as running:  # fmt: skip
        assert running.stdout
        output = ""
        for line in running.stdout:
            output += line
            if end and WAITS["name"] in line:
                os.killpg(running.pid, end)
        return subprocess.CompletedProcess(command, running.wait(), output, "")


WAITS = {"name": "It takes long", "ansible.builtin.command": "sleep 60"}


def acquired(**more: Any) -> dict[str, Any]:
    return {"floyo_lease": {"state": "acquired", "reason": "v2", **more}}


def test_a_run_that_ended_without_giving_it_back_stands_in_nobodys_way(
    root: Path, tmp_path: Path, lease: Module
) -> None:
    """The first run takes it twice, as a run that goes on does, and is killed; the second finds it dead."""
    first = play(root, tmp_path, acquired(), acquired(), WAITS, end=signal.SIGKILL)
    assert first.returncode == -signal.SIGKILL, first.stdout
    died = lease("info")
    assert (died["held"], died["token"]) == (True, 1)
    second = play(root, tmp_path, acquired(wait=600))
    assert second.returncode == 0, second.stdout
    noted = json.loads((tmp_path / "lease.jsonl").read_text())
    assert (noted["token"], noted["taken_from"]) == (2, died["holder"])


def test_ctrl_c_gives_it_back(root: Path, tmp_path: Path, lease: Module) -> None:
    """Ansible runs no rescue then, and somebody on another machine could not know that this run is gone."""
    done = play(root, tmp_path, acquired(), WAITS, end=signal.SIGINT)
    assert done.returncode == 99, done.stdout
    assert "its lease on a was given back" in done.stdout
    state = lease("info")
    assert (state["held"], state["token"]) == (False, 1)


def test_so_does_a_run_that_fails_and_not_one_that_did_it_itself(root: Path, tmp_path: Path, lease: Module) -> None:
    fails = {"ansible.builtin.command": "false"}
    done = play(root, tmp_path, acquired(), fails)
    assert done.returncode == 2
    assert "was given back" in done.stdout
    assert not lease("info")["held"]
    done = play(root, tmp_path, acquired(), {"floyo_lease": {"state": "released", "token": 2}})
    assert done.returncode == 0
    assert "was given back" not in done.stdout


def test_a_holder_elsewhere_is_not_taken_for_dead(root: Path, tmp_path: Path, lease: Module) -> None:
    lease("acquired", holder="eve@elsewhere pid 1.1.00000000", reason="deploy v9")
    refused = play(root, tmp_path, acquired(wait=1))
    assert refused.returncode == 2
    said = " ".join((refused.stdout + refused.stderr).split())
    assert "eve@elsewhere pid 1.1.00000000 holds the lease (deploy v9)" in said
    assert "LEASE_HELD" in said
    assert lease("info")["token"] == 1
    assert play(root, tmp_path, acquired(takeover=True)).returncode == 0
