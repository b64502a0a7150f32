"""The campaign that breaks migrations: it draws the same cases, goes on where it stopped, and its page counts what was done."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def campaign() -> ModuleType:
    spec = importlib.util.spec_from_file_location("floyo_migrations", ROOT / "tests" / "faults" / "migrations.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_same_seed_draws_the_same_cases(campaign: ModuleType) -> None:
    drawn = [campaign.draw(7, number) for number in range(1, 73)]
    assert drawn == [campaign.draw(7, number) for number in range(1, 73)]
    pairs = {(case.fault, case.direction) for case in drawn}
    assert len(pairs) == len(campaign.FAULTS) * len(campaign.DIRECTIONS)
    assert {case.revision for case in drawn} == {"", *campaign.NAMES}
    assert drawn != [campaign.draw(8, number) for number in range(1, 73)]


def test_a_later_slice_goes_on(campaign: ModuleType, tmp_path: Path) -> None:
    record = tmp_path / "seed-7.jsonl"
    assert campaign.recorded(record, [1, 2, 3]) == {}
    lines = [json.dumps(dataclasses.asdict(campaign.draw(7, number))) for number in (1, 3, 9)]
    record.write_text("\n".join([*lines, lines[0][:40]]))
    assert campaign.recorded(record, [1, 2, 3]) == {1: campaign.draw(7, 1), 3: campaign.draw(7, 3)}


def test_the_page_counts(campaign: ModuleType) -> None:
    cases = [campaign.draw(7, number) for number in range(1, 9)]
    for case in cases:
        case.ended, case.stood = "killed", campaign.NAMES[2]
    cases[0].problems.append("it is broken")
    page = campaign.page(cases, 7)
    assert "Seed 7, 8 cases, 1 with a failed assertion." in page
    up, down = (line for line in page.splitlines() if line.startswith(("| up", "| down")))
    assert up.endswith("| 4 | 1 |")
    assert down.endswith("| 4 | 0 |")
    assert "| SIGKILL | killed 2 |" in page
