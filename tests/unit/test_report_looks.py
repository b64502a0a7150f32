"""Plots of what looks at the fleet found."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.floyo.process.trend import Sample, history
from ansible.module_utils.floyo.report import looks
from ansible.module_utils.floyo.report.document import made

MIB = 1024 * 1024


def shown(sections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sections as a report takes them, so that nothing is given that cannot be shown."""
    document = made(
        kind="slo", title="t", application="a", environment="e", began=0, ended=1, verdict="good", sections=sections
    )
    return list(document["sections"])


def finding(check: str, value: Any, threshold: str, verdict: str = "pass") -> dict[str, Any]:
    return {"check": check, "value": value, "threshold": threshold, "verdict": verdict}


def test_levels_are_shares_of_their_limits() -> None:
    (section,) = shown(
        looks.level_bars(
            [
                finding("p95", 100.0, "< 200 ms"),
                finding("errors", 0.3, "< 0.1 %", "fail"),
                finding("cache hits", 40.0, "> 80 %", "fail"),
                finding("no hit at all", 0.0, "> 80 %", "fail"),
                finding("nobody asked", None, "< 80 %", "inconclusive"),
            ]
        )
    )
    assert [(bar["label"], bar["value"], bar["tone"]) for bar in section["bars"]] == [
        ("p95", 50.0, "good"), ("errors", 300.0, "bad"), ("cache hits", 200.0, "bad"), ("no hit at all", None, "bad"),
    ]  # fmt: skip
    assert section["bars"][0]["note"] == "100 ms, limit < 200 ms"
    assert section["target"]["value"] == 100
    assert looks.level_bars([finding("nobody asked", None, "< 80 %")]) == []


def test_memory_has_a_gap_where_the_process_began_again_and_the_growing_host_comes_first() -> None:
    samples = [Sample(float(at), "one" if at < 300 else "two", at * MIB) for at in range(0, 600, 60)]
    kept = history(samples)
    assert [at for at, size in kept if size is None] == [300.0]
    assert len(kept) == 11
    assert len(history([Sample(float(at), "one", at) for at in range(0, 86400, 60)])) <= 300
    results = {
        "a": {"history": kept, "leak": {"bytes_an_hour": 5}},
        "b": {"history": kept, "leak": {"bytes_an_hour": 900}},
        "silent": {"msg": "unreachable"},
    }
    (section,) = shown(looks.memory_over_time(results))
    assert [one["label"] for one in section["series"]] == ["b", "a"]
    assert section["series"][0]["points"][5][1] is None
    assert section["series"][0]["points"][-1][1] == 540.0
    assert looks.memory_over_time({"a": {"history": []}}) == []


def test_a_large_fleet_draws_no_more_curves_than_can_be_told_apart() -> None:
    results = {f"h{n}": {"history": [[0.0, n], [60.0, n]], "leak": {}} for n in range(200)}
    (section,) = shown(looks.memory_over_time(results))
    assert len(section["series"]) == 6
    assert "194 more are not drawn" in section["intro"]


def test_errors_of_all_hosts_by_the_minute_with_noughts_between() -> None:
    often = {"pattern": "often", "by_minute": [[60, 2], [240, 3]]}
    results = {
        "a": {"patterns": [often, {"pattern": "rare", "by_minute": [[120, 1]]}]},
        "b": {"patterns": [often]},
        "c": {},
    }
    (section,) = shown(looks.errors_over_time(results))
    assert [one["label"] for one in section["series"]] == ["often", "rare"]
    assert [point[:2] for point in section["series"][0]["points"]] == [[60, 4], [120, 0], [180, 0], [240, 6]]
    assert looks.errors_over_time({"a": {"patterns": []}}) == []


def test_slow_requests_and_statements() -> None:
    (section,) = shown(looks.slow_bars([{"what": "GET /x", "count": 3, "max_ms": 900.0, "hosts": ["a", "b"]}]))
    assert section["bars"][0]["note"] == "3 times on a, b"
    statements = [
        {"query": name, "mean_ms": ms, "calls": 2, "share": 10.0} for name, ms in (("quick", 1.0), ("slow", 80.0))
    ]
    (section,) = shown(looks.query_bars(statements))
    assert [bar["label"] for bar in section["bars"]] == ["slow", "quick"]
    assert looks.slow_bars([]) == looks.query_bars([]) == []
