"""Each symptom of the runbook, made for real, is named with its evidence; a fleet that is well has none.

The table of what was broken and what was said is left in .cache/test/symptoms.md. The fleet serves v1.0.0 or v1.1.0.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

# What was said before this test broke something is not looked at.
RECENT = {"floyo_observe_recent": "10s"}
LEAK = {"fewest": 10, "shortest": 10, "warm_up": 0}
TABLE: list[tuple[str, str, str, str]] = []


def until(condition: Callable[[], Any], seconds: float = 90) -> Any:
    limit = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.3)
    return value


@contextmanager
def asked(world: Any, path: str, clients: int = 2) -> Iterator[None]:
    """Users keep asking."""
    with subprocess.Popen(
        [sys.executable, str(world.root / "scripts" / "probe"), world.url + path, f"--clients={clients}", "--pause=0.05"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    ) as probe:  # fmt: skip
        try:
            yield
        finally:
            probe.communicate()


def rows(output: str) -> dict[str, dict[str, str]]:
    """The table of symptoms: symptom to its line's words."""
    found: dict[str, dict[str, str]] = {}
    for line in output.splitlines():
        told = re.match(r"^(\S+(?: \S+)*)\s{2,}(P[0-3])\s{2,}(cause|follows from: [^ ]+(?: \S+)*)\s{2,}(.*)$", line)
        if told:
            found[told[1]] = {"severity": told[2], "is": told[3], "rest": told[4]}
    return found


def troubleshoot(world: Any, what: str, **variables: Any) -> tuple[Any, dict[str, dict[str, str]]]:
    done = world.play("troubleshoot", **{**RECENT, **variables})
    said = rows(done.output)
    causes = ", ".join(name for name, row in said.items() if row["is"] == "cause") or "-"
    follows = ", ".join(name for name, row in said.items() if row["is"] != "cause") or "-"
    TABLE.append((what, causes, follows, "".join(sorted({row["severity"] for row in said.values()})[:1]) or "-"))
    return done, said


def is_the_cause(done: Any, said: dict[str, dict[str, str]], symptom: str, *evidence: str) -> None:
    assert done.rc != 0, done.output
    assert [name for name, row in said.items() if row["is"] == "cause"] == [symptom], done.output
    # On the screen a sentence is broken into lines, with other columns' words between.
    rows = next(section["rows"] for section in done.report["sections"] if "rows" in section)
    told = " ".join(str(cell) for row in rows if row["symptom"] == symptom for cell in row.values())
    for text in evidence:
        assert text in told, done.output
    assert symptom in done.report["facts"]["symptoms"]


@pytest.fixture(scope="module", autouse=True)
def table(world: Any) -> Iterator[None]:
    yield
    lines = ["| made for real | named as cause | named as consequence | severity |", "|---|---|---|---|"]
    text = "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in TABLE)]) + "\n"
    (world.root / ".cache" / "test").mkdir(parents=True, exist_ok=True)
    (world.root / ".cache" / "test" / "symptoms.md").write_text(text)
    print(f"\n{text}")


@pytest.fixture(autouse=True)
def quiet(world: Any) -> None:
    """What the test before has left in logs and counters is older than what is looked at."""
    until(lambda: all("healthy" in world.play("verify").row(host) for host in world.backends))
    time.sleep(11)


def test_a_fleet_that_is_well_is_silent(world: Any) -> None:
    with asked(world, "/api/workflows/1"):
        done, said = troubleshoot(world, "nothing")
    assert done.rc == 0, done.output
    assert said == {}
    assert "nothing stands out" in done.output
    assert done.report["facts"]["symptoms"] == []


def test_a_service_that_is_stopped(world: Any) -> None:
    stopped = world.hosts[world.backends[1]]
    stopped.check_output("systemctl stop floyo-backend.socket floyo-backend.service")
    try:
        with asked(world, "/api/workflows"):
            done, said = troubleshoot(world, "one backend's service is stopped")
    finally:
        stopped.check_output("systemctl start floyo-backend.socket floyo-backend.service")
    is_the_cause(done, said, "service down", f"{world.backends[1]}: floyo-backend.service is inactive")
    assert said["service down"]["severity"] == "P1", "two others serve"


def test_redis_is_stopped_and_started_when_asked(world: Any) -> None:
    cache = world.fleet.host(world.fleet.groups["floyo_cache"][0])
    cache.check_output("systemctl stop redis-server")
    try:
        with asked(world, "/api/workflows/1"):
            done, said = troubleshoot(world, "Redis is stopped")
            is_the_cause(done, said, "Redis gone", "floyo_apply=true")
            applied = world.play("troubleshoot", floyo_apply=True, **RECENT)
        assert applied.rc == 0, applied.output
        assert cache.service("redis-server").is_running
    finally:
        cache.check_output("systemctl start redis-server")


def test_the_database_is_stopped(world: Any) -> None:
    world.database.check_output("systemctl stop 'postgresql@*'")
    try:
        with asked(world, "/api/workflows"):
            done, said = troubleshoot(world, "PostgreSQL is stopped")
    finally:
        world.database.check_output("systemctl start postgresql 'postgresql@*-main' || systemctl start postgresql")
    is_the_cause(done, said, "database gone", "asked from")
    assert said["database gone"]["severity"] == "P0"


@pytest.fixture
def as_application(world: Any) -> Iterator[Callable[[str], None]]:
    """Runs SQL in a session of the application's role that stays until the end of the test."""
    name = world.fleet.groups["floyo_database"][0]
    world.fleet.write(name, "/root/.pgpass", f"127.0.0.1:*:*:floyo:{world.fleet.facts[name]['postgres_password']}\n")

    def run(sql: str) -> None:
        world.database.check_output(
            "setsid -f env PGPASSFILE=/root/.pgpass PGAPPNAME=report psql -h 127.0.0.1 -U floyo -d floyo -c %s"
            " >/dev/null 2>&1 </dev/null",
            sql,
        )

    yield run
    world.database.check_output("rm -f /root/.pgpass")
    world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'report'")


def test_a_long_query_keeps_others_waiting_and_is_ended_when_asked(world: Any, as_application: Any) -> None:
    as_application("BEGIN; LOCK TABLE workflows IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(3000)")
    holds = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'report' AND query LIKE '%pg_sleep%'"
    until(lambda: world.sql(holds).strip() == "1")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with asked(world, "/api/workflows", clients=3):
        until(lambda: int(world.sql(waiting)) >= 4)
        done, said = troubleshoot(world, "a long query holds a lock that requests need")
        is_the_cause(done, said, "blocked", "keeps")
        applied = world.play("troubleshoot", floyo_apply=True, **RECENT)
    assert applied.rc == 0, applied.output
    assert world.sql(holds).strip() == "0", applied.output


@contextmanager
def slow_view(world: Any) -> Iterator[None]:
    """Every query of the table takes seconds, without a lock in anybody's way."""
    world.sql(
        "BEGIN; ALTER TABLE workflows RENAME TO workflows_kept;"
        " CREATE VIEW workflows AS SELECT w.* FROM workflows_kept w, (SELECT pg_sleep(3) OFFSET 0) s;"
        " GRANT SELECT ON workflows TO floyo; COMMIT"
    )
    try:
        yield
    finally:
        world.sql("BEGIN; DROP VIEW workflows; ALTER TABLE workflows_kept RENAME TO workflows; COMMIT")


def test_a_pool_without_a_free_connection(world: Any) -> None:
    host = world.hosts[world.backends[0]]
    with slow_view(world):
        host.check_output(
            "systemd-run --quiet --unit=many sh -c 'for n in $(seq 24); do (while :; do curl -s -m 30 -o /dev/null"
            " http://127.0.0.1:8000/api/workflows; done) & done; wait'"
        )
        try:
            time.sleep(5)
            done, said = troubleshoot(world, "slow queries hold all connections of a pool")
        finally:
            host.check_output("systemctl stop many")
    is_the_cause(done, said, "pool", f"{world.backends[0]}: ", "connections in use")


def test_a_cache_that_is_left_out(world: Any) -> None:
    for host in world.hosts.values():
        host.check_output(
            "cp -p /etc/floyo/backend.env /root/kept.env && sed -i 's/^REDIS_URL=.*/REDIS_URL=/' /etc/floyo/backend.env"
            " && systemctl restart floyo-backend"
        )
    try:
        until(lambda: world.get("/health/readiness")["status"] == "ready")
        with asked(world, "/api/workflows/1"):
            done, said = troubleshoot(world, "the application does not use Redis")
    finally:
        for host in world.hosts.values():
            host.check_output("mv /root/kept.env /etc/floyo/backend.env && systemctl restart floyo-backend")
    is_the_cause(done, said, "cache", f"{world.backends[0]} caches in memory and not in Redis")


def test_memory_that_leaks(world: Any) -> None:
    host = world.hosts[world.backends[0]]
    code = "/srv/floyo/current/backend/features.py"
    # What was compiled when the release was built is not compared with its source.
    compiled = "/srv/floyo/current/backend/__pycache__"
    leak = (
        "\n_kept = []\n_around = around\nasync def around(request, call_next):\n"
        "    _kept.append(b'x' * 300_000)\n    return await _around(request, call_next)\n"
    )
    host.check_output(
        "mv %s /root/kept.pycache && cp -p %s /root/kept.py && printf %%s %s >>%s && systemctl restart floyo-backend",
        compiled, code, leak, code,
    )  # fmt: skip
    try:
        host.check_output(
            "systemd-run --quiet --unit=many sh -c 'while sleep 0.1; do curl -s -o /dev/null http://127.0.0.1:8000/api/tags; done'"
        )
        host.check_output(
            "for n in $(seq 20); do systemctl reset-failed floyo-sample.service; systemctl start floyo-sample.service; sleep 1; done"
        )
        done, said = troubleshoot(world, "one backend's process keeps what it was asked", floyo_observe_leak=LEAK)
    finally:
        host.check_output(
            "systemctl stop many; rm -rf %s && mv /root/kept.pycache %s && mv /root/kept.py %s && systemctl restart floyo-backend",
            compiled, compiled, code,
        )  # fmt: skip
    is_the_cause(done, said, "memory", f"{world.backends[0]}: memory leak: grows by")
    assert any(section["title"] == "Memory of the processes" for section in done.report["sections"])


def test_a_burst_of_5xx(world: Any) -> None:
    world.sql("ALTER TABLE workflows RENAME TO workflows_kept")
    try:
        with asked(world, "/api/workflows"):
            time.sleep(3)
            done, said = troubleshoot(world, "a table is missing, requests fail")
    finally:
        world.sql("ALTER TABLE workflows_kept RENAME TO workflows")
    is_the_cause(done, said, "errors", "are 5xx", "failed (ProgrammingError)")
    assert any(section["title"] == "Errors by the minute" for section in done.report["sections"])
