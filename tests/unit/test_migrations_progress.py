"""How far a revision has come, in numbers and in one line."""

from __future__ import annotations

from typing import Any

import pytest

from ansible.module_utils.floyo.migrations.progress import describe, estimate

BUILD = {
    "what": "CREATE INDEX", "table": "events", "phase": "building index: scanning table", "done": 300, "total": 1000,
    "unit": "blocks", "seconds": 3.0,
}  # fmt: skip
REHEARSED = {"seconds": 60.0, "rows": {"public.users": [0, 1000, 0]}, "wal": 4000}


@pytest.mark.parametrize(
    ("sample", "rehearsed", "part", "rate", "left"),
    [
        # what a command tells of itself
        ({"doing": BUILD, "wal": 5}, None, 0.3, 100.0, 7),
        ({"doing": {**BUILD, "total": 0}}, None, None, None, None),
        # batches that were committed: of what the rehearsal has changed, else of what there is
        ({"rows": {"public.users": 250}}, REHEARSED, 0.25, 25.0, 30),
        ({"rows": {"public.users": 250}, "live_rows": {"public.users": 500}}, None, 0.5, 25.0, 10),
        ({"rows": {"public.users": 250}, "live_rows": {"public.users": -1}}, None, None, 25.0, None),
        ({"rows": {"public.other": 250}, "wal": 1000}, REHEARSED, 0.25, 100.0, 30),
        ({"rows": {"public.users": 2000}}, REHEARSED, 1.0, 200.0, 0),
        # nothing but what is written
        ({"wal": 1000}, REHEARSED, 0.25, 100.0, 30),
        ({"wal": 1000}, None, None, 100.0, None),
        # too little to go by: the rehearsal's time
        ({"wal": 10}, REHEARSED, 0.0025, 1.0, 50),
        ({"wal": 0}, {"seconds": 5.0}, None, None, 0),
        ({"wal": 0}, None, None, None, None),
    ],
)
def test_numbers(sample: Any, rehearsed: Any, part: Any, rate: Any, left: Any) -> None:
    found = estimate({"seconds": 10.0, **sample}, rehearsed)
    assert (found["part"], found["rate"], found["left"]) == (part, rate, left)


def line(sample: dict[str, Any], rehearsed: Any = None, **more: Any) -> str:
    sample = {"seconds": 10.0, "wal": 0, "blockers": [], **sample}
    place = {"revision": "bbbb2222", "direction": "up", "number": 2, "of": 3, "attempt": 1}
    usual = rehearsed["seconds"] if rehearsed else None
    return describe({**place, **sample, "estimate": estimate(sample, rehearsed), "rehearsed_seconds": usual, **more})


def test_lines() -> None:
    assert line({"doing": BUILD}) == (
        "bbbb2222 (2 of 3): CREATE INDEX on events, building index: scanning table, 30 %, 0:10 so far, about 0:07 left"
        " (not rehearsed)"
    )
    assert line({"rows": {"public.users": 250}}, REHEARSED) == (
        "bbbb2222 (2 of 3): 25 %, 250 of 1000 rows, 25/s, 0:10 so far, about 0:30 left (1:00 at the rehearsal)"
    )
    assert line({"wal": 30 << 20}) == "bbbb2222 (2 of 3): 30.0 MiB of WAL, 3.0 MiB/s, 0:10 so far (not rehearsed)"
    assert line({"blockers": ["pid 7 (psql of ada)"]}, REHEARSED, attempt=4) == (
        "bbbb2222 (2 of 3, attempt 4): waits for pid 7 (psql of ada), 0 %, 0:10 so far, about 0:50 left"
        " (1:00 at the rehearsal)"
    )
    assert line({}, direction="down").startswith("bbbb2222 (back, 2 of 3): ")
