"""The fault campaign's own judgement: it sees what is wrong, and the same seed draws the same case."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def campaign() -> ModuleType:
    spec = importlib.util.spec_from_file_location("floyo_campaign", ROOT / "tests" / "faults" / "campaign.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def facts(version: str = "v1.0.0", *tokens: int, fault: str = "") -> str:
    return json.dumps({"current": {"version": version, "fault": fault}, "history": [{"token": t} for t in tokens]})


class Hosts:
    """What hosts and the proxy print after a case."""

    def __init__(self, *, drained: str = "0", **said: str) -> None:
        self.said, self.drained = said, drained

    def on(self, host: str, _: str) -> str:
        return self.drained if host == "proxy1" else self.said.get(host, "\n\n" + facts())


FREE = json.dumps({"holder": "anna", "given_back": True})


@pytest.mark.parametrize(
    ("hosts", "problem"),
    [
        (Hosts(backend1=f"{FREE}\n\n{facts('v1.0.0', 3, 3, 5)}"), ""),
        (Hosts(backend2="\n\n" + facts("v1.1.0")), "backend2 runs"),
        (Hosts(backend2="\n\n" + facts(fault="readiness answers 503")), "backend2 runs"),
        (Hosts(backend3="\n\n" + facts("v1.0.0", 4, 3)), "obeyed an older token"),
        (Hosts(backend3="no such command"), "does not tell"),
        (Hosts(backend1=FREE.replace("true", "false") + "\n\n" + facts()), "the lease is left to anna"),
        (Hosts(backend1="/srv/floyo/releases/.staging-x\n\n\n" + facts()), ".staging-x is left"),
        (Hosts(backend1="floyo-backend.service loaded failed failed\n\n\n" + facts()), "failed failed is left"),
        (Hosts(drained="1"), "still drained"),
    ],
)
def test_what_is_left_is_seen(campaign: ModuleType, hosts: Hosts, problem: str) -> None:
    case = campaign.draw(1, 2, "")
    found = campaign.judge(hosts, case)
    assert (problem in "; ".join(found)) if problem else found == []


def test_a_seed_draws_the_same_again_and_every_fault_in_turn(campaign: ModuleType) -> None:
    number = len(campaign.FAULTS)
    drawn = [campaign.draw(7, one, "") for one in range(number, 2 * number)]
    assert drawn == [campaign.draw(7, one, "") for one in range(number, 2 * number)]
    assert {case.kind for case in drawn} == set(campaign.FAULTS)
    assert drawn != [campaign.draw(8, one, "") for one in range(number, 2 * number)]
    assert not [case for case in drawn if case.kind in campaign.DEPLOYS_ONLY and case.action != "deploy"]


def test_who_is_refused_is_told_why(campaign: ModuleType) -> None:
    case: Any = campaign.draw(1, 1, "")
    campaign.told(case, 2, "anna holds the\n  lease", "holds the lease")
    campaign.told(case, 0, "", "holds the lease")
    assert case.problems == []
    campaign.told(case, 2, "Traceback", "holds the lease")
    assert case.problems


def test_the_table_counts_by_fault(campaign: ModuleType) -> None:
    cases = [campaign.draw(1, number, "power cut") for number in (1, 2)]
    cases[1].problems, cases[1].lost, cases[1].worst_ms = ["lost"], 3, 900
    assert "| power cut | 2 | 1 | 3 | 900 ms | - |" in campaign.page(cases, 1)
    assert "1 with a failed assertion" in " ".join(campaign.page(cases, 1).split())
