"""How far a backup has come, and how long it still takes."""

from __future__ import annotations

from typing import Any, Optional

import pytest

from ansible.module_utils.floyo.backup.judge import progress, usual_seconds


@pytest.mark.parametrize(
    ("record", "rate", "left"),
    [
        ({"bytes": 500, "forecast": 2000, "since": 0.0, "updated": 10.0}, 50, 30),
        ({"bytes": 500, "forecast": 2000, "since": 0.0, "updated": 10.0, "usual_seconds": 25.0}, 50, 15),
        ({"bytes": 500, "forecast": 2000, "since": 0.0, "updated": 30.0, "usual_seconds": 25.0}, 16, 0),
        ({"bytes": 3000, "forecast": 2000, "since": 0.0, "updated": 10.0}, 300, 0),
        ({"bytes": 0, "forecast": 2000, "since": 5.0, "updated": 5.0}, None, None),
        ({"phase": "fetch"}, None, None),
    ],
)
def test_rate_and_time_left(record: dict[str, Any], rate: Optional[int], left: Optional[int]) -> None:
    found = progress(record)
    assert (found["rate"], found["left"]) == (rate, left)
    assert {**found, **record} == found


@pytest.mark.parametrize(
    ("previous", "now", "expected"),
    [
        (None, 100, None),
        ({"seconds": {"dump": 10.0}, "table_bytes": 100}, 300, 30.0),
        ({"seconds": {"dump": 10.0}, "table_bytes": 100}, 50, 10.0),
        ({"seconds": {}, "table_bytes": 100}, 50, None),
        ({"seconds": {"dump": 10.0}, "table_bytes": 0}, 50, None),
    ],
)
def test_how_long_a_dump_takes(previous: Optional[dict[str, Any]], now: int, expected: Optional[float]) -> None:
    assert usual_seconds(previous, now) == expected
