"""What cache and database say of themselves, and what is done about it, from outside."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

_SECRET = "S3cret-of-a-report"


def until(condition: Callable[[], Any]) -> Any:
    limit = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.2)
    return value


@pytest.fixture(scope="module")
def cached(world: Any) -> Any:
    """A client of the application's cache, in which there are pages and a rate limit."""
    import redis

    name = world.fleet.groups["floyo_cache"][0]
    client = redis.Redis(
        host=world.fleet.address(name), username="floyo", password=world.fleet.facts[name]["redis_password"], protocol=2
    )
    for number in range(300):
        client.set(f"cache:test:{number}", "x", ex=600)
        client.get(f"cache:test:{number}")
    client.set("rate:192.0.2.1:60:1", 1, ex=600)
    return client


def test_the_cache_is_judged_and_cleared(world: Any, cached: Any) -> None:
    seen = world.play("cache_stats", floyo_observe_cache_window=1, floyo_observe_cache_limits={"hit_rate_fail": 0})
    assert seen.rc == 0, seen.output
    assert re.search(r"^cache:\*\s+\d", seen.output, re.MULTILINE)
    assert re.search(r"^\w+\s+hit_rate", seen.output, re.MULTILINE)

    refused = world.play("cache_clear", floyo_observe_cache_flush=0)
    assert refused.rc != 0
    assert "CACHE_HOLDS_OTHERS" in refused.flat or "holds more than cache" in refused.flat
    assert "limits: rate:*" in refused.flat
    dry = world.play("cache_clear", "--check")
    assert dry.rc == 0, dry.output
    assert "would clear cache:*" in dry.flat
    assert cached.exists("cache:test:1")
    done = world.play("cache_clear")
    assert done.rc == 0, done.output
    assert sum(done.changed.values()) == 1
    assert not cached.exists("cache:test:1")
    assert cached.exists("rate:192.0.2.1:60:1")


@pytest.fixture
def long_query(world: Any) -> Iterator[Callable[[], str]]:
    """The application's role runs a query that does not end; call what is yielded for its pid."""
    name = world.fleet.groups["floyo_database"][0]
    world.fleet.write(name, "/root/.pgpass", f"127.0.0.1:*:*:floyo:{world.fleet.facts[name]['postgres_password']}\n")
    world.database.check_output(
        "setsid -f env PGPASSFILE=/root/.pgpass PGAPPNAME=report psql -h 127.0.0.1 -U floyo -d floyo -c %s >/dev/null 2>&1 </dev/null",
        f"SELECT pg_sleep(3000), '{_SECRET}'",
    )

    def pid() -> str:
        return str(world.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'report' AND state = 'active'"))

    until(pid)
    yield pid
    world.database.check_output("rm /root/.pgpass")
    world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'report'")


def test_a_long_query_is_seen_listed_and_ended(world: Any, long_query: Callable[[], str]) -> None:
    pid = long_query()
    seen = world.play("database_connections", floyo_observe_database_limits={"long_after": 0})
    assert seen.rc == 0, seen.output
    (session,) = set(re.findall(rf"^(\S+\.[0-9a-f]+)\s+{pid}\s+floyo\s+report\s+active", seen.output, re.MULTILINE))
    assert "SELECT pg_sleep(?), ?" in seen.flat

    nobody = world.play("database_kill", floyo_observe_kill_after=100_000)
    assert nobody.rc == 0, nobody.output
    dry = world.play("database_kill", "--check", floyo_observe_kill_after=0)
    assert dry.rc == 0, dry.output
    assert re.search(rf"^{session}\s+{pid}\s.*would cancel", dry.output, re.MULTILINE)
    assert long_query() == pid
    done = world.play("database_kill", floyo_observe_kill_sessions=[session])
    assert done.rc == 0, done.output
    assert re.search(rf"^{session}\s+{pid}\s.*cancelled", done.output, re.MULTILINE)
    assert not long_query()
    assert not any(_SECRET in played.output for played in (seen, nobody, dry, done))


def test_tuning_statements_and_statistics(world: Any) -> None:
    tuning = world.play("database_tuning")
    assert tuning.rc == 0, tuning.output
    assert re.search(r"^workflows\s+\d", tuning.output, re.MULTILINE)
    assert re.search(r"^pass\s+sequences", tuning.output, re.MULTILINE)
    for _ in range(3):
        world.get("/api/workflows")
    slow = world.play("database_slow_queries", floyo_observe_query_window=0, floyo_observe_most=200)
    assert slow.rc == 0, slow.output
    assert "insufficient privilege" not in slow.output, "the owner sees what the application's role runs"
    assert re.search(r"\sfloyo\s+SELECT .*workflows", slow.output)

    unnamed = world.play("database_analyze")
    assert unnamed.rc != 0
    assert "No table is named" in unnamed.flat
    done = world.play("database_analyze", floyo_observe_tables="workflows", floyo_observe_analyze_force=True)
    assert done.rc == 0, done.output
    assert re.search(r"^workflows\s+analyzed", done.output, re.MULTILINE)
