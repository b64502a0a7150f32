"""A sample of ``make faults OPTIONS=--backups``: each operation and each fault, at instants that a seed draws."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def _campaign() -> Any:
    path = Path(__file__).parents[1] / "faults" / "backups.py"
    spec = importlib.util.spec_from_file_location("floyo_backup_faults", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


faults = _campaign()


@pytest.fixture(scope="module")
def ground(postgres_server: Any) -> Iterator[Any]:
    with faults.grounds(lambda: contextlib.nullcontext(postgres_server)) as made:
        yield made


# Every second of the twenty pairs: all operations, all faults.
@pytest.mark.parametrize("number", range(1, 21, 2))
def test_broken_at_any_instant(ground: Any, number: int) -> None:
    case = faults.run(ground, faults.draw(20251123, number))
    assert case.problems == [], f"{case.operation}, {case.fault} at {case.at}: {case.ended}"
