"""Moments, positions in the log, holes, and what is judged of an archive (pure)."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible.module_utils.floyo.archive.judge import (
    Base,
    Limits,
    base_type,
    bases_of,
    conditions,
    control_settings,
    ended_early,
    newest_segment,
    reason,
    require_reachable,
    window,
)
from ansible.module_utils.floyo.archive.wal import Gap, end_of, gaps, parse_moment, position, segments, sql_time
from ansible.module_utils.floyo.errors import Refused, Unusable

SIZE = 16 << 20
NOW = 1_800_000_000.0


def name(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


def base(
    label: str = "20270101-000000F", *, hours: float = 1.0, kind: str = "full", wal: int = 1, error: bool = False
) -> Base:
    stop = NOW - hours * 3600
    return Base(label, kind, stop - 60, stop, 1 << 20, 1 << 18, name(wal), name(wal), error)


def live(**more: Any) -> dict[str, Any]:
    archiver = {"archived_count": 5, "last_archived_wal": name(5), "last_archived_time": NOW - 10, "failed_count": 0,
                "last_failed_wal": None, "last_failed_time": None}  # fmt: skip
    found = {"now": NOW, "started": NOW - 9999, "lsn": "0/6000028", "segment_size": SIZE, "archive_mode": "on",
             "archive_timeout": 60, "waiting": 0, "written": {name(5): NOW - 300}, "archiver": archiver}  # fmt: skip
    return {**found, **more}


# --- moments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-11-23 03:10:00+00", "2026-11-23 03:10:00.000000+00"),
        ("2026-11-23T03:10:00Z", "2026-11-23 03:10:00.000000+00"),
        ("2026-11-23 03:10 UTC", "2026-11-23 03:10:00.000000+00"),
        ("2026-11-23 03:10:00.5+0130", "2026-11-23 01:40:00.500000+00"),
        ("2026-11-23 03:10:00-08:00", "2026-11-23 11:10:00.000000+00"),
        (" 2026-11-23 03:10:00.123456 +01 ", "2026-11-23 02:10:00.123456+00"),
    ],
)
def test_moments_are_read(text: str, found: str) -> None:
    moment = parse_moment(text)
    assert moment is not None
    assert sql_time(moment) == found


@pytest.mark.parametrize(
    "text", ["", "now", "2026-13-01 00:00+00", "2026-11-23", "03:10", "2026-11-23 03:10:00", "x" * 99]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(Unusable) as caught:
        parse_moment(text)
    assert caught.value.code == "MOMENT_UNUSABLE"


@given(st.datetimes(timezones=st.just(timezone.utc), min_value=datetime(2000, 1, 1)))
def test_moments_come_back_as_they_were(moment: datetime) -> None:
    assert parse_moment(sql_time(moment)) == moment


def test_latest_is_no_moment() -> None:
    assert parse_moment("latest") is None


# --- the log ---------------------------------------------------------------------------------------------------------


def test_positions_and_segments() -> None:
    assert position("0/3000028") == 3 * SIZE + 0x28
    assert position("A/0") == 10 << 32
    assert end_of(name(2), SIZE) == 3 * SIZE
    assert end_of(name(256), SIZE) == (1 << 32) + SIZE


def test_only_segments_count_among_an_archives_files() -> None:
    digest = "a" * 40
    listed: dict[str, Any] = {
        "15-1/0000000100000000/000000010000000000000002-" + digest + ".zst": {},
        "15-1/0000000100000000/000000010000000000000001-" + digest: {},
        "15-1/0000000100000000/000000010000000000000002.00000028.backup": {},
        "15-1/00000002.history": {},
        "15-1/0000000100000000/000000010000000000000003-" + digest + ".zst.pgbackrest.tmp": {},
        "archive.info": {},
    }
    assert segments(listed) == [name(1), name(2)]


def test_holes_are_found_across_logs_and_not_between_timelines() -> None:
    there = [name(number) for number in (1, 2, 5, 254, 258)] + [name(300, 2), name(301, 2)]
    assert gaps(there, SIZE) == [
        Gap(name(3), name(4), 2),
        Gap(name(6), name(253), 248),
        Gap(name(255), name(257), 3),
    ]
    assert str(Gap(name(3), name(3), 1)) == name(3)


@given(st.integers(1, 700), st.sets(st.integers(1, 698), max_size=20))
def test_what_is_taken_out_is_what_is_missing(first: int, removed: set[int]) -> None:
    numbers = [first, *(first + each for each in range(1, 699) if each not in removed), first + 699]
    missing = sum(gap.count for gap in gaps([name(each) for each in numbers], SIZE))
    assert missing == len(removed)


# --- judging ---------------------------------------------------------------------------------------------------------


def test_pgbackrests_answer_is_read() -> None:
    info = {
        "archive": [{"id": "15-1", "max": name(4), "min": name(1)}],
        "backup": [
            {"label": "20270102-000000F_D", "type": "diff", "timestamp": {"start": 20, "stop": 30}, "error": False,
             "archive": {"start": name(3), "stop": name(4)}, "info": {"size": 9, "repository": {"delta": 3}}},
            {"label": "20270101-000000F", "type": "full", "timestamp": {"start": 1, "stop": 9}, "error": True,
             "archive": {"start": name(1), "stop": None}, "info": {"size": 8, "repository": {"delta": 2}}},
        ],
    }  # fmt: skip
    found = bases_of(info)
    assert [(each.label, each.kind, each.size, each.error) for each in found] == [
        ("20270101-000000F", "full", 8, True),
        ("20270102-000000F_D", "diff", 9, False),
    ]
    assert json.dumps(found[0].facts())
    assert (newest_segment(info), newest_segment({})) == (name(4), "")


@pytest.mark.parametrize(
    ("bases", "kind"),
    [
        ([], "full"),
        ([base(hours=10)], ""),
        ([base(hours=30)], "diff"),
        ([base(hours=200), base(hours=30, kind="diff")], "full"),
        ([base(hours=10, error=True)], "full"),
    ],
)
def test_a_base_backup_is_taken_when_it_is_time(bases: list[Base], kind: str) -> None:
    assert base_type(bases, NOW, max_age=20, full_every=7) == kind


def test_the_window_is_what_the_archive_lacks() -> None:
    assert window(live(), name(5)).bytes == 0
    idle = window(live(lsn="0/6000400"), name(5))
    assert (idle.bytes, idle.seconds) == (0x400, 60.0), "a quiet server archives after archive_timeout"
    stuck = window(live(lsn="0/8000400", waiting=2), name(5))
    assert (stuck.bytes, stuck.seconds) == (2 * SIZE + 0x400, 300.0)
    never = window(live(lsn="0/1000100", archive_timeout=0), "")
    assert never.seconds == 9999.0


def test_which_base_a_moment_begins_with() -> None:
    old, new = base("old", hours=30), base("new", hours=3)
    at = datetime.fromtimestamp(NOW - 4 * 3600, timezone.utc)
    assert require_reachable([old, new], at, NOW).label == "old"
    assert require_reachable([old, new], None, NOW).label == "new"
    # A base backup ends somewhere within the second that it tells.
    end = datetime.fromtimestamp(new.stop, timezone.utc)
    assert require_reachable([old, new], end.replace(microsecond=999_999), NOW).label == "old"
    assert require_reachable([old, new], datetime.fromtimestamp(new.stop + 1, timezone.utc), NOW).label == "new"
    for bases, hours, code in (([], 1.0, "NO_BASE"), ([old], 31.0, "MOMENT_TOO_OLD"), ([old], -1.0, "MOMENT_AHEAD")):
        with pytest.raises(Refused) as caught:
            require_reachable(bases, datetime.fromtimestamp(NOW - hours * 3600, timezone.utc), NOW)
        assert caught.value.code == code


def test_an_early_end_says_what_can_be_had() -> None:
    log = "LOG:  last completed transaction was at log time 2027-01-15 07:59:00.1+00\nFATAL:  recovery ended before"
    at = datetime.fromtimestamp(NOW, timezone.utc)
    short = ended_early(log, at, [], [base()])
    assert (short.code, short.details["reached"]) == ("ARCHIVE_SHORT", "2027-01-15 07:59:00.1+00")
    hole = ended_early("", at, [Gap(name(3), name(3), 1)], [base(), base("later", wal=4)])
    assert (hole.code, hole.details["missing"]) == ("ARCHIVE_GAP", [name(3)])
    assert "or one from" in hole.next_step
    assert "take a new base backup now" in ended_early("", at, [Gap(name(3), name(3), 1)], [base()]).next_step


def test_settings_of_the_control_file() -> None:
    text = (
        "max_connections setting:              33\nmax_worker_processes setting:         8\n"
        "max_wal_senders setting:              10\nmax_prepared_xacts setting:           0\n"
        "max_locks_per_xact setting:           64\nDatabase cluster state:               in production\n"
    )
    assert control_settings(text)["max_connections"] == "33"
    assert control_settings(text)["max_prepared_transactions"] == "0"
    with pytest.raises(Unusable):
        control_settings("no such file")


def test_pgbackrests_reason_comes_with_its_hints() -> None:
    said = "P00   WARN: x\nP00  ERROR: [082]: WAL segment was not archived\n            HINT: check the log.\n"
    assert reason(said) == "[082]: WAL segment was not archived HINT: check the log."
    assert reason("") == "it said nothing"


def judged(**more: Any) -> dict[str, str]:
    facts: dict[str, Any] = {"bases": [base()], "live": live(), "newest": name(5), "holes": [], "limits": Limits(),
                             "drill": {"at": NOW - 3600, "seconds": 9.0}, "now": NOW, **more}  # fmt: skip
    return {check.check: check.result for check in conditions(**facts)}


def test_what_is_well_passes() -> None:
    assert set(judged().values()) == {"pass"}


@pytest.mark.parametrize(
    ("more", "check", "result"),
    [
        ({"live": None}, "archiving", "fail"),
        ({"live": None}, "loss window", "fail"),
        ({"live": live(archive_mode="off")}, "archiving", "fail"),
        (
            {"live": live(archiver={**live()["archiver"], "last_failed_time": NOW, "failed_count": 3})},
            "archiving",
            "fail",
        ),
        ({"live": live(archiver={**live()["archiver"], "last_archived_time": None})}, "archiving", "warn"),
        ({"live": live(lsn="0/9000000", waiting=3)}, "loss window", "warn"),
        ({"live": live(lsn="0/9000000", waiting=3, written={name(5): NOW - 1000})}, "loss window", "fail"),
        ({"bases": []}, "base backup", "fail"),
        ({"bases": [base(hours=60)]}, "base backup", "warn"),
        ({"bases": [base(hours=200)]}, "base backup", "fail"),
        ({"bases": [base(), base(error=True)]}, "base backup", "fail"),
        ({"holes": [Gap(name(3), name(3), 1)]}, "continuity", "fail"),
        ({"holes": [Gap(name(3), name(3), 1)], "bases": [base(), base(wal=4)]}, "continuity", "warn"),
        ({"drill": {}}, "moment drill", "warn"),
        ({"drill": {"at": NOW - 200 * 3600, "seconds": 9.0}}, "moment drill", "warn"),
    ],
)
def test_what_is_not_well_is_seen(more: dict[str, Any], check: str, result: str) -> None:
    assert judged(**more)[check] == result
