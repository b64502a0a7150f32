"""Module floyo_lease: what main() takes and prints, four runs per state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_a_lease_from_taking_to_giving_back(run_module: Callable[..., Any], tmp_path: Path) -> None:
    place = {"state_dir": str(tmp_path)}
    wanted = {**place, "state": "acquired", "holder": "anna@laptop", "reason": "deploy v1", "ttl": 60}
    changes = [run_module("floyo_lease", wanted, check=check)["changed"] for check in (True, False, True, False)]
    assert changes == [True, True, False, False]
    held = run_module("floyo_lease", place)
    assert (held["held"], held["holder"], held["token"]) == (True, "anna@laptop", 1)
    other = run_module("floyo_lease", {**wanted, "holder": "eve"})
    assert (other.rc, other["code"], other["holder"]) == (1, "LEASE_HELD", "anna@laptop")
    renewed = run_module("floyo_lease", {**place, "state": "renewed", "token": 1, "ttl": 600})
    assert renewed["expires"] > held["expires"]
    free = {**place, "state": "released", "token": 1}
    changes = [run_module("floyo_lease", free, check=check)["changed"] for check in (True, False, True, False)]
    assert changes == [True, True, False, False]
    lost = run_module("floyo_lease", {**place, "state": "renewed", "token": 1})
    assert (lost.rc, lost["code"]) == (1, "LEASE_LOST")


def test_each_state_asks_for_what_it_needs(run_module: Callable[..., Any], tmp_path: Path) -> None:
    for state, option in (("acquired", "holder"), ("renewed", "token"), ("released", "token")):
        missing = run_module("floyo_lease", {"state_dir": str(tmp_path), "state": state})
        assert missing.rc == 1
        assert option in missing["msg"]
