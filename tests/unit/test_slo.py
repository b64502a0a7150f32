"""Service levels: what is believed, what is certain, what is too little to say anything."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.haproxy import counters
from ansible.module_utils.floyo.slo.figures import cache_figures, latency_figures, pool_figures
from ansible.module_utils.floyo.slo.judge import DEFAULT_TARGETS, judge, share_under, wilson


def distribution(values: list[float]) -> dict[str, float]:
    """As the application makes its figures: nearest rank."""
    ordered = sorted(values)

    def at(part: float) -> float:
        return ordered[max(0, math.ceil(part * len(ordered)) - 1)]

    return {
        "count": len(ordered), "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": ordered[-1],
        "avg": sum(ordered) / len(ordered),
    }  # fmt: skip


def latency(**endpoints: dict[str, float]) -> dict[str, Any]:
    return {"measures": {"latency": {"endpoints": endpoints, "source": "s"}}}


def verdicts(*hosts: dict[str, Any], **targets: float) -> dict[str, str]:
    found = judge({f"h{n}": host for n, host in enumerate(hosts)}, {**DEFAULT_TARGETS, **targets})
    return {one.check: one.verdict for one in found}


# --- figures ---------------------------------------------------------------------------------------------------------

GOOD = {"count": 10, "p50": 1.0, "p95": 2.0, "p99": 3.0, "avg": 1.5, "max": 3.0}
NEVER = dict.fromkeys(GOOD, 0)


def test_users_endpoints_that_were_called() -> None:
    metrics = {
        "GET:/api/x": GOOD,
        "GET:/api/never": NEVER,
        "GET:/health/readiness": GOOD,
        "GET:/api/v1/monitoring/performance": GOOD,
        "GET:/api/healthcare": GOOD,
    }
    assert sorted(latency_figures({"metrics": metrics})) == ["GET:/api/healthcare", "GET:/api/x"]


@pytest.mark.parametrize(
    "changed",
    [
        {"p95": 0.5}, {"p99": 9.0}, {"avg": 4.0}, {"count": -1}, {"p50": "1"}, {"max": None}, {"p95": True},
        {"p50": 0, "p95": 0, "p99": 0, "avg": 0, "max": 0}, {"count": float("nan")}, {"avg": float("inf")},
    ],
)  # fmt: skip
def test_latencies_that_cannot_be(changed: dict[str, Any]) -> None:
    with pytest.raises(FloyoError) as failure:
        latency_figures({"metrics": {"GET:/api/x": {**GOOD, **changed}}})
    assert failure.value.code == "IMPLAUSIBLE"


def test_answers_without_what_is_asked() -> None:
    for read, code in ((latency_figures, "NO_METRICS"), (pool_figures, "NO_POOL"), (cache_figures, "NO_CACHE_STATS")):
        with pytest.raises(FloyoError) as failure:
            read({"detail": "ok"})
        assert failure.value.code == code


def test_a_pool_holds_its_size_and_its_overflow() -> None:
    told = {"size": 5, "checked_out": 6, "overflow": -4, "max_overflow": 10}
    assert pool_figures(told) == {"used": 6, "capacity": 15}
    assert pool_figures({**told, "max_overflow": -1}) == {"used": 6, "capacity": None}
    with pytest.raises(FloyoError, match="6 connections are checked out of a pool that holds 5"):
        pool_figures({"size": 5, "checked_out": 6})


def test_a_hit_rate_that_contradicts_its_counters() -> None:
    told = {"type": "redis", "hits": 80, "misses": 20, "hit_rate": 80.0}
    assert cache_figures(told) == {"type": "redis", "hits": 80, "misses": 20}
    assert cache_figures({**told, "hit_rate": 0.8})["hits"] == 80
    with pytest.raises(FloyoError, match=r"hit_rate is 95 where 80 hits and 20 misses make 80.0 %"):
        cache_figures({**told, "hit_rate": 95})


def test_haproxys_counters() -> None:
    text = (
        "# pxname,svname,req_tot,hrsp_2xx,hrsp_4xx,hrsp_5xx,hrsp_other\nf,FRONTEND,101,94,3,2,1\nb,BACKEND,9,9,9,9,9\n"
    )
    # What has not ended yet has no outcome that could be counted.
    assert counters(text, "f") == {"requests": 100, "client_errors": 3, "server_errors": 2}
    assert counters(text, "other") == {}
    assert counters("", "f") == {}


# --- percentiles are not averaged ------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.floats(0.1, 1000), min_size=1, max_size=60), min_size=1, max_size=6), st.floats(1, 900))
def test_bounds_hold_for_every_distribution(parts: list[list[float]], limit: float) -> None:
    """Whatever the parts are: the true share under a limit is within the bounds, and a verdict is never wrong."""
    everything = [value for part in parts for value in part]
    figures = [distribution(part) for part in parts]
    least = sum(one["count"] * share_under(one, limit)[0] for one in figures) / len(everything)
    most = sum(one["count"] * share_under(one, limit)[1] for one in figures) / len(everything)
    share = sum(value < limit for value in everything) / len(everything)
    assert least - 1e-9 <= share <= most + 1e-9
    host = latency(**{f"e{n}": one for n, one in enumerate(figures)})
    truth = distribution(everything)["p95"]
    said = verdicts(host, p95_ms=limit)["p95 latency"]
    if len(everything) < 100:
        assert said == "inconclusive"
    elif said != "inconclusive":
        assert said == ("pass" if truth < limit else "fail")


def test_a_mean_of_percentiles_would_say_something_else() -> None:
    """Ten requests are slow and a thousand quick: the mean of both p95 is above the target, the truth far below."""
    quick, slow = distribution([20.0] * 1000), distribution([900.0] * 10)
    assert (quick["p95"] + slow["p95"]) / 2 > 200
    assert verdicts(latency(a=quick), latency(b=slow))["p95 latency"] == "pass"
    slow = distribution([900.0] * 200)
    assert verdicts(latency(a=quick), latency(b=slow))["p95 latency"] == "fail"


def test_what_the_points_do_not_tell_is_inconclusive() -> None:
    """Between its p95 and its p99 an endpoint may hold anything."""
    one = distribution([10.0] * 940 + [300.0] * 60)
    other = distribution([10.0] * 10000)
    assert verdicts(latency(a=one, b=other))["p95 latency"] == "pass"
    assert verdicts(latency(a=one))["p95 latency"] == "fail"
    edge = distribution([10.0] * 960 + [300.0] * 40)
    assert verdicts(latency(a=edge, b=distribution([300.0] * 20)))["p95 latency"] == "inconclusive"


def test_too_few_requests_never_pass() -> None:
    found = verdicts(latency(a=distribution([1.0] * 29)))
    assert {found[name] for name in ("p95 latency", "p99 latency", "mean latency")} == {"inconclusive"}
    found = verdicts(latency(a=distribution([1.0] * 120)))
    assert [found[name] for name in ("mean latency", "p95 latency", "p99 latency")] == ["pass", "pass", "inconclusive"]
    assert set(verdicts({"measures": {}}).values()) == {"inconclusive"}


def test_the_mean_is_exact() -> None:
    hosts = [latency(a=distribution([50.0] * 900)), latency(a=distribution([700.0] * 100))]
    (mean,) = [one for one in judge(dict(zip("ab", hosts)), DEFAULT_TARGETS) if one.check == "mean latency"]
    assert (mean.value, mean.verdict) == (115.0, "fail")
    assert "1000 requests on 2 hosts" in mean.sample


# --- rates -----------------------------------------------------------------------------------------------------------


def proxy(*windows: tuple[str, int, int, int]) -> dict[str, Any]:
    keys = ("label", "requests", "client_errors", "server_errors")
    return {"measures": {"proxy": {"windows": [{"seconds": 10, **dict(zip(keys, one))} for one in windows]}}}


def test_intervals() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(0, 1000)
    assert (low, round(high, 5)) == (0.0, 0.00383)
    low, high = wilson(50, 100)
    assert (round(low, 3), round(high, 3)) == (0.404, 0.596)
    # Everything fails, and one more has failed than was counted when the whole was read.
    assert wilson(68, 67) == wilson(67, 67)


def test_rates_need_enough_requests() -> None:
    assert verdicts(proxy(("now", 1000, 0, 0)))["5xx rate"] == "inconclusive"
    assert verdicts(proxy(("now", 50000, 0, 0)))["5xx rate"] == "pass"
    assert verdicts(proxy(("now", 1000, 0, 9)))["5xx rate"] == "fail"
    assert verdicts(proxy(("now", 50, 0, 50)))["5xx rate"] == "inconclusive"
    found = verdicts(proxy(("now", 100_000, 500, 0)))
    assert (found["5xx rate"], found["error rate"]) == ("pass", "fail")


def test_the_newest_window_that_tells_anything_counts() -> None:
    long = ("since it started", 100_000, 0, 0)
    assert verdicts(proxy(("now", 10, 0, 0), long))["5xx rate"] == "pass"
    assert verdicts(proxy(("now", 500, 0, 50), long))["5xx rate"] == "fail"
    # Windows of all hosts are added; one that not all have is none.
    found = judge({"a": proxy(("now", 300, 0, 3), long), "b": proxy(long)}, DEFAULT_TARGETS)
    (one,) = [item for item in found if item.check == "5xx rate"]
    assert one.sample.startswith("200000 requests since it started")


def cache(hits: int, misses: int, label: str = "now") -> dict[str, Any]:
    window = {"label": label, "seconds": 5, "hits": hits, "misses": misses}
    return {"measures": {"cache": {"type": "redis", "windows": [window]}}}


def test_cache_hits_of_a_fleet_are_counted_and_not_averaged() -> None:
    assert verdicts(cache(900, 100), cache(1, 9))["cache hits"] == "pass"
    assert verdicts(cache(300, 700))["cache hits"] == "fail"
    assert verdicts(cache(80, 10))["cache hits"] == "inconclusive"
    assert verdicts(cache(81, 20))["cache hits"] == "inconclusive"
    assert verdicts(cache(0, 0))["cache hits"] == "inconclusive"


# --- the database ----------------------------------------------------------------------------------------------------


def pool(*used: int, capacity: int | None = 15) -> dict[str, Any]:
    return {"measures": {"pool": {"looks": [{"used": one, "capacity": capacity} for one in used]}}}


def test_one_full_pool_is_enough_and_one_look_is_not() -> None:
    assert verdicts(pool(1, 2, 3), pool(15, 15, 14))["pool use"] == "fail"
    assert verdicts(pool(1, 15, 3))["pool use"] == "warn"
    assert verdicts(pool(1, 2, 3))["pool use"] == "pass"
    assert verdicts(pool(1))["pool use"] == "inconclusive"
    assert verdicts(pool(1, 1, 1, capacity=None))["pool use"] == "inconclusive"


@given(st.lists(st.lists(st.floats(0.1, 500), min_size=2, max_size=80), min_size=1, max_size=5), st.integers(0, 99))
def test_a_bound_on_queries_is_never_wrong(statements: list[list[float]], seed: int) -> None:
    """From count, mean, deviation, least and most alone."""
    rng = random.Random(seed)
    told, everything = [], []
    for values in statements:
        values = values * (1 + rng.randrange(40))
        mean = sum(values) / len(values)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
        told.append(
            {
                "calls": len(values),
                "mean_ms": mean,
                "deviation_ms": deviation,
                "min_ms": min(values),
                "max_ms": max(values),
            }
        )
        everything += values
    said = verdicts({"measures": {"queries": {"statements": told, "since": None}}})["p95 of queries"]
    share = sum(value < 100 for value in everything) / len(everything)
    if said != "inconclusive":
        assert said == ("pass" if share >= 0.95 else "fail")


# --- what was not measured -------------------------------------------------------------------------------------------


def test_troubles_are_named_once_for_all_hosts() -> None:
    trouble = {"measure": "pool", "code": "FORBIDDEN", "message": "answers 403", "next_step": "set the token"}
    hosts = {
        "a": {"measures": {}, "problems": [trouble]},
        "b": {"measures": {}, "problems": [trouble]},
        "c": {"unreachable": True},
        "d": {"measures": {}, "restarted": ["cache"]},
    }
    found = {one.check: one for one in judge(hosts, DEFAULT_TARGETS)}
    assert found["asking for pool"].message == "a, b: FORBIDDEN: answers 403"
    assert found["host"].message == "c: unreachable"
    assert "began again" in found["asking for cache"].message


def test_targets_that_do_not_apply_are_left_out() -> None:
    checks = {one.check for one in judge({}, DEFAULT_TARGETS, database=False, cache=False)}
    assert checks == {"p95 latency", "p99 latency", "mean latency", "error rate", "5xx rate"}
