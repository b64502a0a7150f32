"""Action plugin floyo_lease: who a run is, and when another one is certainly dead."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def plugin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("floyo_lease_action", ROOT / "plugins" / "action" / "floyo_lease.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Host:
    """Answers of a lease host: the host program's exit status and words, or the module's result."""

    def __init__(self, plugin: ModuleType, *answers: tuple[int, dict[str, Any]]) -> None:
        self.action: Any = object.__new__(plugin.ActionModule)
        self.action._task = SimpleNamespace(args={}, check_mode=False)
        self.action._low_level_execute_command = self.low_level
        self.action._execute_module = self.module
        self.answers = list(answers)
        self.asked: list[Any] = []

    def low_level(self, command: str, sudoable: bool) -> dict[str, Any]:
        words = shlex.split(command)
        self.asked.append((words[words.index("lease") + 1], json.loads(words[-1])))
        code, answer = self.answers.pop(0)
        return {"rc": code, "stdout": json.dumps(answer), "stderr": ""}

    def module(self, module_name: str, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        self.asked.append((module_name, module_args))
        return {"token": 5}

    def run(self, monkeypatch: pytest.MonkeyPatch, plugin: ModuleType, **arguments: Any) -> dict[str, Any]:
        monkeypatch.setattr(plugin.ActionBase, "run", lambda *_: {})
        self.action._task.args = arguments
        return dict(self.action.run(None, {}))


def test_the_host_program_keeps_the_lease(plugin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(plugin, (0, {"token": 7, "held": True}))
    assert host.run(monkeypatch, plugin, state="acquired", reason="v1", ttl="60", takeover="yes")["token"] == 7
    ((state, options),) = host.asked
    assert (state, options["reason"], options["ttl"], options["takeover"]) == ("acquired", "v1", 60.0, True)
    assert options["holder"] == plugin.holder(os.getppid())
    assert options["state_dir"] == "/var/lib/floyo"


def test_a_refusal_of_the_host_program_is_one(plugin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(plugin, (1, {"code": "LEASE_LOST", "msg": "it was lost"}))
    assert host.run(monkeypatch, plugin, state="renewed", token=3)["failed"]


def test_a_dead_run_is_taken_over_by_its_token(plugin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = plugin.holder(os.getpid()).replace(f".{plugin._began(os.getpid())}.", ".1.")
    host = Host(plugin, (1, {"code": "LEASE_HELD", "holder": dead, "token": 4}), (0, {"token": 5}))
    assert host.run(monkeypatch, plugin, state="acquired")["token"] == 5
    assert [options["takeover_token"] for _, options in host.asked] == [None, 4]


def test_without_the_host_program_the_module_does_it(plugin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(plugin, (127, {}))
    assert host.run(monkeypatch, plugin, state="released", token=5) == {"token": 5, "state_dir": "/var/lib/floyo"}
    name, arguments = host.asked[1]
    assert (name, arguments["state"], arguments["token"]) == ("floyo_lease", "released", 5)
    assert None not in arguments.values()


def test_what_a_state_needs_is_asked_for(plugin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AnsibleError, match="token"):
        Host(plugin).run(monkeypatch, plugin, state="released")


def test_a_living_run_is_not_dead(plugin: ModuleType) -> None:
    assert not plugin.is_dead(plugin.holder(os.getpid()))


def test_a_run_whose_process_ended_is_dead(plugin: ModuleType) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        who = plugin.holder(process.pid)
        assert not plugin.is_dead(who)
        process.kill()
    assert plugin.is_dead(who)


def test_another_process_with_the_same_number_does_not_count(plugin: ModuleType) -> None:
    who = plugin.holder(os.getpid())
    began = plugin._began(os.getpid())
    assert plugin.is_dead(who.replace(f".{began}.", ".1."))


def test_nothing_is_said_about_other_machines_and_people(plugin: ModuleType) -> None:
    who = plugin.holder(os.getpid())
    assert not plugin.is_dead("eve@elsewhere pid 1.1.00000000")
    assert not plugin.is_dead(who.replace(plugin._machine(), "00000000").replace(f"pid {os.getpid()}", "pid 999999"))
    assert not plugin.is_dead("eve, by hand")
