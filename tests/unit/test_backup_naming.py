"""Labels of backups and the names of their files, for pg_backup."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible.module_utils.floyo.backup.naming import (
    KINDS,
    is_label,
    label_for,
    moment_of,
    name_of,
    next_moment,
    parse_name,
    stamp,
)

NOON = datetime(2025, 1, 15, 12, 0, 0, tzinfo=timezone.utc)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2900, 1, 1), timezones=st.just(timezone.utc))


def test_labels_are_utc_whatever_the_zone_of_the_host() -> None:
    summer = datetime(2025, 7, 1, 14, 0, tzinfo=timezone(timedelta(hours=2)))
    assert label_for(summer, "3f9a1c") == "20250701T120000Z-3f9a1c"
    assert stamp(summer) == "2025-07-01T12:00:00Z"


@given(moments)
def test_a_label_tells_its_moment(moment: datetime) -> None:
    label = label_for(moment, "0a1b2c")
    assert is_label(label)
    assert moment_of(label) == moment.replace(microsecond=0)
    assert {kind: parse_name(name_of(label, kind)) for kind in KINDS} == {kind: (label, kind) for kind in KINDS}


@given(moments, st.lists(moments, max_size=5))
def test_a_new_backup_is_later_than_all_before(now: datetime, earlier: list[datetime]) -> None:
    labels = [label_for(moment, "ffffff") for moment in earlier]
    moment, _ = next_moment(now, labels)
    assert all(label_for(moment, "000000") > label for label in labels)
    assert moment >= now.replace(microsecond=0)


@pytest.mark.parametrize(
    ("newest", "expected", "put_back"),
    [
        (None, NOON, False),
        (NOON - timedelta(seconds=1), NOON, False),
        (NOON, NOON + timedelta(seconds=1), False),
        (NOON + timedelta(seconds=30), NOON + timedelta(seconds=31), False),
        (NOON + timedelta(hours=1), NOON + timedelta(hours=1, seconds=1), True),
    ],
)
def test_a_clock_that_was_put_back(newest: Optional[datetime], expected: datetime, put_back: bool) -> None:
    assert next_moment(NOON, [label_for(newest, "aaaaaa")] if newest else []) == (expected, put_back)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (".20250115T120000Z-aaaaaa.json.k2_x9", ("20250115T120000Z-aaaaaa", "temporary")),
        (".20250115T120000Z-aaaaaa.running.json.new", ("20250115T120000Z-aaaaaa", "temporary")),
        (".20250115T120000Z-aaaaaa.checked.json.k2_x9", ("20250115T120000Z-aaaaaa", "writing")),
        (".lock", None),
        ("20250115T120000Z-aaaaaa.dump.old", None),
        ("20250115T120000Z-aaaaaa", None),
        ("backup_20250115_103000.sql", None),
        ("20250115T120000Z-AAAAAA.dump", None),
        ("x20250115T120000Z-aaaaaa.dump", None),
    ],
)
def test_only_our_own_files_are_ours(name: str, expected: Optional[tuple[str, str]]) -> None:
    assert parse_name(name) == expected
