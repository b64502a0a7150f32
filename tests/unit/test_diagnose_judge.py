"""What counters are worth: limits, samples, confidence."""

from __future__ import annotations

from typing import Any

import pytest

from ansible.module_utils.floyo.diagnose import indexes, judge, statements
from ansible.module_utils.floyo.diagnose.judge import LIMITS

FACTS: dict[str, Any] = {
    "max_connections": 100, "reserved": 3, "now": 1_000_000.0, "started": 0.0, "autovacuum": True, "track_counts": True,
    "vacuum_threshold": 50.0, "vacuum_scale": 0.2, "freeze_max_age": 200_000_000, "block_size": 8192, "in_recovery": False,
    "replicas": 0,
}  # fmt: skip


@pytest.mark.parametrize(("used", "verdict"), [(10, "pass"), (70, "warn"), (90, "fail"), (97, "fail")])
def test_connections(used: int, verdict: str) -> None:
    (found,) = judge.connections(FACTS, {"idle": used}, LIMITS)
    assert found.verdict == verdict
    assert f"{used} of 97" in found.message


@pytest.mark.parametrize(
    ("hit", "read", "windowed", "verdict", "confidence"),
    [(9_990, 9, False, "inconclusive", "low"), (99_900, 100, False, "pass", "medium"), (95_000, 5_000, True, "warn", "high"),
     (50_000, 50_000, True, "fail", "high")],
)  # fmt: skip
def test_cache_hit(hit: int, read: int, windowed: bool, verdict: str, confidence: str) -> None:
    before = {"blks_hit": 1000, "blks_read": 10} if windowed else None
    now = {"blks_hit": hit + 1000 * windowed, "blks_read": read + 10 * windowed}
    (found,) = judge.cache_hit(now, before, 60.0, LIMITS)
    assert (found.verdict, found.confidence) == (verdict, confidence)
    assert found.sample == f"{hit + read} blocks in 60 s"


def test_a_crash_loses_counters() -> None:
    (found,) = judge.cache_hit({"blks_hit": 5, "blks_read": 5}, {"blks_hit": 10**6, "blks_read": 10}, 60.0, LIMITS)
    assert found.verdict == "inconclusive"


@pytest.mark.parametrize(
    ("age", "verdict"), [(1000, "pass"), (190_000_000, "pass"), (600_000_000, "warn"), (1_200_000_000, "fail")]
)
def test_wraparound(age: int, verdict: str) -> None:
    found = list(judge.wraparound([{"database": "app", "xid_age": age, "mxid_age": 5}], [], FACTS, LIMITS))
    assert [finding.verdict for finding in found] == [verdict, "pass"]
    assert found[0].value == round(100 * age / 2**31, 1)


def test_who_holds_back_the_freeze_is_named() -> None:
    holders = [{"holder": "replication slot old", "age": 90_000_000}, {"holder": "session 1.2 (web)", "age": 5},
               {"holder": "prepared transaction x", "age": None}]  # fmt: skip
    found = list(judge.wraparound([], holders, FACTS, LIMITS))
    assert [(finding.check, finding.object) for finding in found] == [("oldest_snapshot", "replication slot old")]


def test_autovacuum_that_is_off() -> None:
    (found,) = judge.autovacuum([], {**FACTS, "autovacuum": False}, LIMITS)
    assert found.verdict == "fail"


def table(**more: Any) -> dict[str, Any]:
    return {
        "oid": 1, "schema": "public", "name": "t", "options": None, "live": 100_000, "dead": 0, "vacuumed": None,
        "rows": 100_000.0, "seq_scans": 0, "seq_rows": 0, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "late"),
    [
        ({"dead": 20_000}, False),
        ({"dead": 50_000}, True),
        ({"dead": 50_000, "options": ["autovacuum_vacuum_scale_factor=0.5"]}, False),
    ],
)
def test_autovacuum_that_is_late_by_the_tables_own_settings(more: dict[str, Any], late: bool) -> None:
    (found,) = judge.autovacuum([table(**more)], FACTS, LIMITS)
    assert found.verdict == ("warn" if late else "pass")


def test_sequences_by_their_own_end_or_by_their_columns() -> None:
    rows = judge.sequence_rows(
        [
            {"schema": "public", "name": "a", "least": 1, "most": 2**63 - 1, "step": 1, "cycles": False, "last": 2**30,
             "column_type": "integer", "owner": "a.id", "readable": True},
            {"schema": "s", "name": "B", "least": 1, "most": 100, "step": 1, "cycles": False, "last": 51, "column_type": None,
             "owner": None, "readable": True},
            {"schema": "s", "name": "hidden", "least": 1, "most": 100, "step": 1, "cycles": False, "last": None,
             "column_type": None, "owner": None, "readable": False},
        ]
    )  # fmt: skip
    assert [(row["sequence"], row["used"]) for row in rows] == [('s."B"', 50.5), ("a", 50.0)]
    assert [finding.verdict for finding in judge.sequences(rows, 1, LIMITS)] == ["inconclusive"]
    assert [finding.verdict for finding in judge.sequences(rows, 0, LIMITS)] == ["pass"]


# --- indexes ---------------------------------------------------------------------------------------------------------


def index(oid: int, name: str, columns: str, **more: Any) -> dict[str, Any]:
    count = len(columns.split())
    return {
        "oid": oid, "table": 1, "schema": "public", "name": name, "method": "btree", "unique": False, "primary": False,
        "valid": True, "identity": False, "key_columns": count, "columns": columns, "classes": " ".join(["1978"] * count),
        "collations": " ".join(["0"] * count), "orders": " ".join(["0"] * count), "expressions": None, "predicate": None,
        "partition": False, "pages": 10, "scans": 5, "constraint": None, "building": False, **more,
    }  # fmt: skip


def found(
    *listed: dict[str, Any], keys: Any = (), facts: Any = None, counted: float = 90 * 86400.0, **more: Any
) -> Any:
    known = indexes.Catalogue([table(**more)], listed, list(keys), {entry["oid"]: 50 * 2**20 for entry in listed})
    return {
        (finding.check, finding.object): finding
        for finding in indexes.findings(known, facts={**FACTS, **(facts or {})}, counted=counted, limits=LIMITS)
    }


@pytest.mark.parametrize(
    ("first", "second", "twice"),
    [
        (index(1, "a", "1"), index(2, "b", "1"), {"b"}),
        (index(1, "a", "1"), index(2, "b", "1 2"), {"a"}),
        (index(1, "a", "1 2"), index(2, "b", "2 1"), set()),
        (index(1, "a", "1"), index(2, "b", "1", orders="3"), set()),
        (index(1, "a", "1"), index(2, "b", "1", classes="4217"), set()),
        (index(1, "a", "1"), index(2, "b", "1", predicate="x"), set()),
        (index(1, "a", "0", expressions="lower(v)"), index(2, "b", "0", expressions="upper(v)"), set()),
        (index(1, "a", "0", expressions="lower(v)"), index(2, "b", "0", expressions="lower(v)"), {"b"}),
        (index(1, "a", "1", method="gin"), index(2, "b", "1 2", method="gin"), set()),
        (index(1, "a", "1", unique=True), index(2, "b", "1 2"), set()),
        (index(1, "a", "1", unique=True), index(2, "b", "1"), {"b"}),
        (index(1, "a", "1"), index(2, "b", "1", unique=True), {"a"}),
        (index(1, "a", "1", unique=True), index(2, "b", "1", unique=True, constraint="b"), {"a"}),
        (index(1, "a", "1", unique=True, constraint="a"), index(2, "b", "1", unique=True, primary=True, constraint="b"), set()),
        (index(1, "a", "1", unique=True), index(2, "b", "1", unique=True), {"b"}),
        (index(1, "a", "1", identity=True), index(2, "b", "1"), {"b"}),
        (index(1, "a", "1", valid=False), index(2, "b", "1"), set()),
        (index(1, "a", "1 5", key_columns=1), index(2, "b", "1"), set()),
    ],
)  # fmt: skip
def test_what_is_there_twice(first: Any, second: Any, twice: set[str]) -> None:
    assert {name for check, name in found(first, second) if check == "duplicate_index"} == twice
    assert {name for check, name in found(second, first) if check == "duplicate_index"} == twice


@pytest.mark.parametrize(
    ("more", "facts", "counted", "verdict"),
    [
        ({}, {}, 90.0, "warn"),
        ({}, {}, 3.0, "inconclusive"),
        ({}, {"replicas": 2}, 90.0, "inconclusive"),
        ({}, {"in_recovery": True}, 90.0, "inconclusive"),
        ({"unique": True}, {}, 90.0, ""),
        ({"primary": True}, {}, 90.0, ""),
        ({"constraint": "x"}, {}, 90.0, ""),
        ({"identity": True}, {}, 90.0, ""),
        ({"partition": True}, {}, 90.0, ""),
        ({"scans": 1}, {}, 90.0, ""),
    ],
)
def test_unused_only_with_evidence(more: Any, facts: Any, counted: float, verdict: str) -> None:
    listed = found(index(1, "a", "2", **{"scans": 0, **more}), facts=facts, counted=counted * 86400)
    finding = listed.get(("unused_index", "a"))
    assert (finding.verdict if finding else "") == verdict
    if verdict == "inconclusive":
        assert (finding.confidence, "DROP" in finding.next_step) == ("low", False)


def test_an_index_that_serves_a_foreign_key_is_used() -> None:
    key = {"table": 1, "name": "fk", "columns": [3, 2], "target": 9, "names": ["c", "b"]}
    listed = found(index(1, "a", "2 3 7", scans=0), keys=[key])
    assert [check for check, _ in listed] == ["indexes"]


def test_a_foreign_key_without_an_index() -> None:
    key = {"table": 1, "name": "fk", "columns": [3, 2], "target": 9, "names": ["c", "Odd"]}
    finding = found(index(1, "a", "2 4"), keys=[key])["missing_index", "t"]
    assert 'CREATE INDEX CONCURRENTLY ON t (c, "Odd")' in finding.next_step
    assert found(index(1, "a", "2 4"), keys=[key], rows=10.0, live=10) == found(
        index(1, "a", "2 4"), rows=10.0, live=10
    )


@pytest.mark.parametrize(
    ("more", "missing"),
    [
        ({"seq_scans": 1000, "seq_rows": 90_000_000}, True),
        ({"seq_scans": 1000, "seq_rows": 90_000_000, "rows": 500.0, "live": 500}, False),
        ({"seq_scans": 50, "seq_rows": 5_000_000}, False),
        ({"seq_scans": 1000, "seq_rows": 10_000}, False),
    ],
)
def test_missing_by_scans(more: Any, missing: bool) -> None:
    assert (("missing_index", "t") in found(index(1, "a", "1"), **more)) is missing
    assert ("missing_index", "t") not in found(index(1, "a", "1", scans=100_000), **more), "95 % go by index"


# --- statements ------------------------------------------------------------------------------------------------------


def statement(name: str, calls: int, total: float, **more: Any) -> dict[str, Any]:
    return {
        "id": name, "usename": "app", "query": f"SELECT {name}", "calls": calls, "rows": calls, "hits": 9, "reads": 1,
        "temp": 0, "total_ms": total, "mean_ms": total / calls, **more,
    }  # fmt: skip


def test_the_difference_of_two_looks() -> None:
    before = statements.sample_of([statement("a", 100, 1000.0), statement("b", 5, 5.0)], {"reset": 1.0}, 10.0)
    now = [statement("a", 110, 2000.0), statement("b", 5, 5.0), statement("c", 1, 7.0)]
    rows = statements.ranked(now, before, order="total", most=9)
    assert [(row["id"], row["calls"], row["mean_ms"], row["mean_ms_before"]) for row in rows] == [
        ("a", 10, 100.0, 10.0), ("c", 1, 7.0, None),
    ]  # fmt: skip
    (slow,) = statements.findings(rows, seconds=5.0, windowed=True, lost=0, limits=LIMITS)
    assert "before 10 ms" in slow.message
    assert (slow.verdict, slow.confidence, slow.sample) == ("warn", "high", "10 calls in 5 s")


@pytest.mark.parametrize(("order", "first"), [("total", "often"), ("mean", "slow"), ("calls", "often")])
def test_orders(order: str, first: str) -> None:
    rows = [statement("often", 1000, 5000.0), statement("slow", 2, 900.0)]
    assert statements.ranked(rows, None, order=order, most=1)[0]["id"] == first


def test_forgotten_statements_and_few_calls_lower_the_confidence() -> None:
    rows = statements.ranked([statement("a", 3, 9000.0)], None, order="mean", most=5)
    (few,) = statements.findings(rows, seconds=None, windowed=False, lost=0, limits=LIMITS)
    assert (few.verdict, few.confidence) == ("inconclusive", "low")
    rows = statements.ranked([statement("a", 30, 90_000.0)], None, order="mean", most=5)
    (lost,) = statements.findings(rows, seconds=60.0, windowed=False, lost=4, limits=LIMITS)
    assert (lost.verdict, lost.confidence) == ("fail", "low")
    assert [f.verdict for f in statements.findings([], seconds=9.0, windowed=True, lost=0, limits=LIMITS)] == [
        "inconclusive"
    ]


def test_columns_of_each_version() -> None:
    """13 renamed the times, 17 those of reading; older extensions stay when a server is upgraded."""
    from ansible.module_utils.floyo.diagnose import sql

    old = sql.statements("public", ["total_time", "mean_time", "max_time", "blk_read_time"])
    assert "s.total_time AS total_ms" in old
    assert "toplevel" not in old
    new = sql.statements(
        "public", ["total_exec_time", "mean_exec_time", "max_exec_time", "shared_blk_read_time", "toplevel"]
    )
    assert "s.total_exec_time AS total_ms" in new
    assert "s.shared_blk_read_time AS read_ms" in new
    assert "AND s.toplevel" in new
    assert "query_start) END" in sql.activity(130000)
    assert "waitstart" in sql.activity(150000)
    assert "waitstart" not in sql.activity(130000)


@pytest.mark.parametrize(
    ("waits", "open_for", "verdict"),
    [((1.0, 2.0), 60.0, "fail"), ((1.0, 2.0), 4.0, "pass"), ((1.0,), 60.0, "pass"), ((8.0,), 60.0, "warn")],
)
def test_short_timeouts_do_not_hide_who_keeps_a_table(waits: tuple[float, ...], open_for: float, verdict: str) -> None:
    """One may just have come; several that take turns have waited all the time."""
    sessions = [{"pid": 2 + at, "waits": seconds, "blocks": []} for at, seconds in enumerate(waits)]
    root = {"pid": 1, "session": "a.1", "state": "active", "circular": False, "waits": 0.0, "transaction": open_for}
    found = list(judge.blocking([{**root, "blocks": sessions}], LIMITS))
    assert [one.verdict for one in found] == [verdict]
    assert ("transaction is open for" in found[0].message) == (len(waits) > 1 and open_for > max(waits))
