"""Action plugin floyo_lease: who a run is, and when another one is certainly dead."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def plugin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("floyo_lease_action", ROOT / "plugins" / "action" / "floyo_lease.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
