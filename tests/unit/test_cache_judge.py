"""Counters of a life and of a window, and what they are worth."""

from __future__ import annotations

from typing import Any

import pytest

from ansible.module_utils.floyo.cache.judge import LIMITS, Window, between, findings, lifetime, sample_of

INFO: dict[str, Any] = {
    "run_id": "a" * 40, "uptime_in_seconds": 7200, "keyspace_hits": 900, "keyspace_misses": 100, "evicted_keys": 0,
    "expired_keys": 5, "total_commands_processed": 5000, "total_connections_received": 10, "rejected_connections": 0,
    "used_memory": 50 * 2**20, "maxmemory": 100 * 2**20, "maxmemory_policy": "allkeys-lru", "connected_clients": 5,
    "maxclients": 100, "role": "master", "db0": {"keys": 100, "expires": 90},
}  # fmt: skip


def info(**more: Any) -> dict[str, Any]:
    return {**INFO, **more}


def verdicts(found: dict[str, Any], window: Window | None = None, database: int = 0) -> dict[str, Any]:
    listed = findings(found, database=database, window=window, limits=LIMITS, node="h:1")
    assert {finding.object for finding in listed} == {"h:1"}
    assert all(finding.next_step or finding.verdict in ("pass", "inconclusive") for finding in listed)
    return {finding.check: finding for finding in listed}


def test_a_window_is_the_difference() -> None:
    first = sample_of(info(), 1000.0)
    later = sample_of(
        info(keyspace_hits=1000, keyspace_misses=200, evicted_keys=3, total_commands_processed=5300), 1010.0
    )
    window = between(first, later, "two looks")
    result = window.as_result(100)
    assert result["hit_rate"] == 50.0
    assert (result["seconds"], result["hits"], result["misses"], result["evicted"], result["commands"]) == (
        10,
        100,
        100,
        3,
        300,
    )
    assert window.as_result(201)["hit_rate"] is None, "too few to say"


def test_a_restart_is_noticed_by_the_run_id_although_all_counters_grew() -> None:
    later = sample_of(info(run_id="b" * 40, keyspace_hits=10**6, total_commands_processed=10**7), 1010.0)
    window = between(sample_of(info(), 1000.0), later, "sample file")
    assert window.restarted
    result = window.as_result(1)
    assert (result["hit_rate"], result["hits"], result["evicted"]) == (None, None, None)
    found = verdicts(info(), window)
    assert found["restart"].verdict == "warn"
    assert found["hit_rate"].sample.endswith("since the start 2 h ago"), "the lifetime is all there is"
    assert found["hit_rate"].confidence == "medium"


@pytest.mark.parametrize("field", ["keyspace_hits", "total_connections_received"])
def test_counters_that_went_back_were_reset(field: str) -> None:
    window = between(sample_of(info(), 1000.0), sample_of(info(**{field: 1}), 1010.0), "sample")
    assert window.reset
    assert window.as_result(1)["hit_rate"] is None
    assert verdicts(info(), window)["restart"].verdict == "inconclusive"


def test_a_clock_that_was_put_back_gives_no_window() -> None:
    assert between(sample_of(info(), 1000.0), sample_of(info(), 900.0), "sample file").reset


def test_a_sample_of_an_earlier_version_lacks_counters() -> None:
    assert between({"run_id": "a" * 40, "at": 1.0}, sample_of(info(), 11.0), "sample").hits == 900


def test_lifetime_with_too_few_lookups_has_no_rate() -> None:
    assert lifetime(info(keyspace_hits=0, keyspace_misses=0), 0)["hit_rate"] is None
    assert lifetime(info(), 100)["hit_rate"] == 90.0


@pytest.mark.parametrize(
    ("hits", "misses", "verdict"),
    [
        (900, 100, "pass"),
        (80, 20, "pass"),
        (79, 21, "warn"),
        (50, 50, "warn"),
        (49, 51, "fail"),
        (9, 1, "inconclusive"),
    ],
)
def test_hit_rate(hits: int, misses: int, verdict: str) -> None:
    finding = verdicts(info(keyspace_hits=hits, keyspace_misses=misses))["hit_rate"]
    assert finding.verdict == verdict
    assert str(hits + misses) in finding.sample


def test_a_good_life_does_not_hide_a_bad_window() -> None:
    window = Window(10.0, "two looks", hits=10, misses=190)
    finding = verdicts(info(keyspace_hits=10**9), window)["hit_rate"]
    assert (finding.verdict, finding.value, finding.confidence) == ("fail", 5.0, "high")
    assert finding.sample == "200 lookups in 10 s"


def test_several_databases_make_the_rate_doubtful() -> None:
    found = info(db3={"keys": 1, "expires": 0})
    assert verdicts(found, Window(10.0, "two looks", hits=900, misses=1))["hit_rate"].confidence == "low"


def test_evictions() -> None:
    assert verdicts(info(), Window(10.0, "x", evicted=4))["evictions"].verdict == "warn"
    assert verdicts(info(evicted_keys=9), Window(10.0, "x"))["evictions"].verdict == "pass", "those are long ago"
    assert verdicts(info(evicted_keys=9))["evictions"].verdict == "inconclusive", "nobody knows when"
    assert verdicts(info())["evictions"].verdict == "pass"


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ({"maxmemory": 0}, "warn"),
        ({"used_memory": 99 * 2**20}, "pass"),
        ({"used_memory": 99 * 2**20, "maxmemory_policy": "noeviction"}, "fail"),
        ({"used_memory": 85 * 2**20, "maxmemory_policy": "noeviction"}, "warn"),
        ({"maxmemory_policy": "noeviction"}, "pass"),
    ],
)
def test_memory(more: dict[str, Any], verdict: str) -> None:
    assert verdicts(info(**more))["memory"].verdict == verdict


def test_keys_without_an_expiry_matter_where_nothing_removes_them() -> None:
    lasting = {"db0": {"keys": 100, "expires": 50}}
    assert verdicts(info(**lasting))["keys_without_ttl"].verdict == "pass"
    finding = verdicts(info(**lasting, maxmemory_policy="volatile-lru"))["keys_without_ttl"]
    assert (finding.verdict, finding.value) == ("warn", 50.0)
    assert verdicts(info(**lasting, maxmemory_policy="noeviction"), database=7)["keys_without_ttl"].value == 0.0


def test_connections_saving_and_replication() -> None:
    assert verdicts(info(connected_clients=95))["connections"].verdict == "warn"
    assert verdicts(info(), Window(10.0, "x", rejected=2))["connections"].verdict == "fail"
    assert verdicts(info(rdb_last_bgsave_status="err"))["persistence"].verdict == "fail"
    assert "persistence" not in verdicts(info(rdb_last_bgsave_status="ok"))
    replica = {"role": "slave", "master_host": "p", "master_port": 6379}
    assert verdicts(info(**replica, master_link_status="down"))["replication"].verdict == "fail"
    assert verdicts(info(**replica, master_link_status="up"))["replication"].verdict == "pass"
