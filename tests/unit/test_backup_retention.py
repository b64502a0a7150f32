"""Which backups stay, what is wrong with those that are there, and names of databases, for pg_backup."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible.module_utils.floyo.backup.condition import Limits, conditions, verdict_of
from ansible.module_utils.floyo.backup.databases import asides, kept_name, scratch_name
from ansible.module_utils.floyo.backup.judge import Space, differences, premade, restore_failure
from ansible.module_utils.floyo.backup.naming import stamp
from ansible.module_utils.floyo.backup.retention import Keep, retained
from ansible.module_utils.floyo.errors import Unusable

START = datetime(2025, 1, 31, 12, tzinfo=timezone.utc)


def entry(number: int, at: datetime = START, **more: Any) -> dict[str, Any]:
    return {
        "label": f"b{number}",
        "sequence": number,
        "created": stamp(at),
        "database": "floyo",
        "verified": True,
        "suspect": "",
        "drilled_at": "",
        "heads": ["r1"],
        "size": 10,
        "rows": 1,
        "problem": "",
        **more,
    }


def kept(entries: list[dict[str, Any]], keep: Keep, **more: Any) -> dict[str, tuple[str, ...]]:
    return {each.label: each.reasons for each in retained(entries, keep, **more) if each.reasons}


histories = st.lists(
    st.fixed_dictionaries(
        {
            "hours": st.integers(-2000, 20_000),  # also clocks that jump
            "verified": st.booleans(),
            "suspect": st.sampled_from(["", "", "tables are empty"]),
            "drilled_at": st.sampled_from(["", "2025-01-01T00:00:00Z"]),
            "heads": st.sampled_from([["r1"], ["r2"], ["r2", "r3"], []]),
            "database": st.sampled_from(["floyo", "other"]),
        }
    ),
    max_size=25,
)
keeps = st.builds(Keep, st.integers(1, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))


def history(facts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    made, at = [], START
    for number, more in enumerate(facts, 1):
        at += timedelta(hours=more["hours"])
        made.append(entry(number, at, **{key: value for key, value in more.items() if key != "hours"}))
    return made[::-1]


@given(histories, keeps, st.sets(st.sampled_from(["r1", "r2", "r3"])), st.booleans())
def test_what_never_goes(facts: list[dict[str, Any]], keep: Keep, needed: set[str], damaged: bool) -> None:
    entries = history(facts)
    busy = {entries[-1]["label"]} if entries else set()
    stays = kept(entries, keep, needed_heads=needed, busy=busy, remove_damaged=damaged)
    assert busy <= set(stays)
    for database in ("floyo", "other"):
        mine = [each for each in entries if each["database"] == database]
        sound = [each for each in mine if each["verified"]]
        good = [each for each in sound if not each["suspect"]]
        drilled = [each for each in good if each["drilled_at"]]
        assert {each["label"] for each in sound[:1] + good[: keep.last] + drilled[:1]} <= set(stays)
        for head in needed:
            at = [each for each in good if head in each["heads"]]
            assert {each["label"] for each in at[:1]} <= set(stays)
            assert not [e for e in at if e["drilled_at"]] or [e for e in at if e["drilled_at"] and e["label"] in stays]
        # Damaged ones go only behind a good one, and only when asked.
        gone = [each for each in mine if not each["verified"] and each["label"] not in stays]
        assert not gone or damaged
        assert all(good and each["sequence"] < good[0]["sequence"] for each in gone)


@given(histories, keeps)
def test_pruning_twice_is_pruning_once(facts: list[dict[str, Any]], keep: Keep) -> None:
    """And whatever was removed before a kill, the rest of the plan is the same."""
    entries = history(facts)
    stays = kept(entries, keep)
    assert kept([each for each in entries if each["label"] in stays], keep) == stays
    gone = [each["label"] for each in reversed(entries) if each["label"] not in stays]
    half = set(gone[: len(gone) // 2])
    assert kept([each for each in entries if each["label"] not in half], keep).keys() == stays.keys()


@given(histories, keeps)
def test_bad_backups_displace_no_good_ones(facts: list[dict[str, Any]], keep: Keep) -> None:
    """The good ones that stay are the same with and without all others."""
    entries = history(facts)
    good = [each for each in entries if each["verified"] and not each["suspect"]]
    names = {each["label"] for each in good}
    # The newest sound one stays even when it is suspect, and changes nothing for the good ones.
    assert set(kept(entries, keep)) & names == set(kept(good, keep))


@given(histories, keeps, st.integers(-100_000, 100_000))
def test_only_the_order_of_backups_counts_not_what_time_it_is(
    facts: list[dict[str, Any]], keep: Keep, days: int
) -> None:
    """Moved by whole weeks of 400 years' calendars, a history is pruned alike: no clock is asked."""
    entries = history(facts)
    years = 400 * (days % 3)
    moved = [{**each, "created": f"{int(each['created'][:4]) + years:04d}{each['created'][4:]}"} for each in entries]
    assert kept(moved, keep).keys() == kept(entries, keep).keys()


def test_days_weeks_and_months() -> None:
    """Two a day for 100 days."""
    entries = [entry(n, START + timedelta(hours=12 * n)) for n in range(1, 201)][::-1]
    stays = kept(entries, Keep(2, 3, 3, 3))
    assert stays["b200"] == ("last", "daily", "weekly", "monthly", "newest sound one")
    assert stays["b199"] == ("last",)  # of the same day
    counted = [
        sum(reason in reasons for reasons in stays.values()) for reason in ("last", "daily", "weekly", "monthly")
    ]
    assert counted == [2, 3, 3, 3]


def test_ten_bad_days() -> None:
    """Failing backups do not push the good ones out, and a year later they are still there."""
    good = [entry(n, START + timedelta(days=n)) for n in range(1, 4)]
    bad = [entry(n, START + timedelta(days=365 + n), verified=False, problem="cut") for n in range(4, 14)]
    empty = [entry(n, START + timedelta(days=365 + n), suspect="0 rows") for n in range(14, 24)]
    stays = kept([*good, *bad, *empty][::-1], Keep(3, 3, 0, 0))
    assert {"b1", "b2", "b3"} <= set(stays)
    assert [label for label in stays if label in {each["label"] for each in empty}] == ["b23", "b22", "b21"]


def test_keep_nothing_is_refused() -> None:
    for wrong in ({"last": 0}, {"daily": -1}):
        with pytest.raises(Unusable, match="keeps nothing"):
            Keep(**wrong)


# --- checked ---------------------------------------------------------------------------------------------------------

NOW = START.timestamp()
USUAL = Limits()
ROOM = Space(total=1000, free=900)


def results(entries: list[dict[str, Any]], limits: Limits = USUAL, **more: Any) -> dict[str, str]:
    found = conditions(entries, limits, **{"now": NOW, "space": ROOM, "reserve": 10, **more})
    assert verdict_of(found) == max((check.result for check in found), key=["pass", "warn", "fail"].index)
    return {check.check: check.result for check in found}


def history_of_three(**more: Any) -> list[dict[str, Any]]:
    drilled = stamp(START - timedelta(days=1))
    older = [entry(n, START - timedelta(days=3 - n), drilled_at=drilled) for n in (2, 1)]
    return [entry(3, START, **more), *older]


def test_all_is_well() -> None:
    assert set(results(history_of_three()).values()) == {"pass"}
    assert results(history_of_three(), identity="7", identities={"b3": "7"})["identity"] == "pass"


@pytest.mark.parametrize(
    ("entries", "more", "check", "result"),
    [
        ([], {}, "redundancy", "fail"),
        (history_of_three()[:2], {}, "redundancy", "warn"),
        (history_of_three(), {"now": NOW + 27 * 3600}, "age", "warn"),
        (history_of_three(), {"now": NOW + 51 * 3600}, "age", "fail"),
        (history_of_three(), {"now": NOW - 3600}, "age", "fail"),
        (history_of_three(verified=False, problem="cut"), {}, "soundness", "fail"),
        (history_of_three(suspect="0 rows"), {}, "size", "warn"),
        (history_of_three(), {"limits": Limits(min_size=11)}, "size", "fail"),
        (history_of_three(), {"limits": Limits(drill_fail=20)}, "drill", "fail"),
        (history_of_three(), {"limits": Limits(drill_warn=20)}, "drill", "warn"),
        ([entry(1)], {}, "drill", "warn"),
        ([entry(1)], {"limits": Limits(drill_fail=1)}, "drill", "fail"),
        (history_of_three(), {"reserve": 895}, "room", "fail"),
        (history_of_three(), {"leftovers": ["x"]}, "leftovers", "warn"),
        (history_of_three(), {"identity": "8", "identities": {"b3": "7"}}, "identity", "fail"),
    ],
)
def test_what_is_wrong(entries: list[dict[str, Any]], more: dict[str, Any], check: str, result: str) -> None:
    assert results(entries, **more)[check] == result


# --- restores --------------------------------------------------------------------------------------------------------


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=63),
    st.datetimes(datetime(1000, 1, 1)),
)
def test_names_of_databases_fit_and_are_found_again(database: str, at: datetime) -> None:
    database = database.encode()[:63].decode(errors="ignore") or "d"
    at = at.replace(microsecond=0, tzinfo=timezone.utc)
    names = [
        scratch_name(database, "drill", "0a" * 6),
        kept_name(database, "undone", at),
        kept_name(database, "old", at),
    ]
    assert all(len(name.encode()) <= 63 for name in names)
    assert database not in names
    found = {aside.name: (aside.kind, aside.since) for aside in asides(database, [*names, database, "floyo__old"])}
    assert found == {names[0]: ("drill", None), names[1]: ("undone", at), names[2]: ("old", at)}
    assert asides("another", names) == [] or database == "another"


def test_names_of_long_databases_are_not_each_others() -> None:
    first, second = "a" * 60 + "1", "a" * 60 + "2"
    assert asides(first, [scratch_name(second, "restore", "0a" * 6)]) == []


def test_what_came_back_otherwise() -> None:
    manifest = {
        "alembic": {"heads": ["r1"]},
        "rows": {"a": 1, "b": 2},
        "hashes": {"a": "5", "b": "6"},
        "large_objects": 1,
    }
    same = {"alembic": {"heads": ["r1"]}, "large_objects": 1}
    assert differences(manifest, same, {"a": 1, "b": 2}, {"a": "5", "b": "6"}) == []
    found = {"alembic": {"heads": []}, "large_objects": 0}
    assert differences(manifest, found, {"a": 1, "c": 0}, {"a": "7", "c": "0"}) == [
        "alembic is at nothing instead of r1",
        "a has other values in its 1 rows",
        "b has no rows instead of 2",
        "c has 0 rows instead of none at all",
        "0 large objects instead of 1",
    ]
    without = {key: value for key, value in manifest.items() if key != "hashes"}
    assert differences(without, same, {"a": 1, "b": 2}, {"a": "other", "b": "values"}) == []


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('ERROR:  role "x" does not exist', "ROLES_MISSING"),
        ('ERROR:  extension "postgis" is not available', "EXTENSION_MISSING"),
        ('ERROR:  permission denied to create extension "x"', "EXTENSION_RIGHTS"),
        ("could not extend file: No space left on device", "DISK_FULL"),
        ("FATAL:  terminating connection due to administrator command", "DATABASE_LOST"),
        ("ERROR:  must be owner of table x", "RIGHTS_MISSING"),
        ("something else", "RESTORE_FAILED"),
    ],
)
def test_why_a_restore_failed(said: str, code: str) -> None:
    assert restore_failure(said)[0] == code


def test_what_a_superuser_creates_is_left_out_of_the_list() -> None:
    lines = [";", "5; 2615 1 SCHEMA - stats owner", "2; 3079 2 EXTENSION - pg_stat_statements ",
             "9; 0 0 COMMENT - EXTENSION pg_stat_statements ", "3; 3079 3 EXTENSION - pgcrypto ",
             "7; 1259 4 TABLE public users owner"]  # fmt: skip
    first, rest = premade("\n".join(lines), ["pg_stat_statements"])
    assert first == lines[1] + "\n"
    assert rest.splitlines() == [lines[0], lines[4], lines[5]]
