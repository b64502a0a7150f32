"""A sample of ``make faults OPTIONS=--migrations``, and several runs at once while the application reads."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest


def _campaign() -> Any:
    path = Path(__file__).parents[1] / "faults" / "migrations.py"
    spec = importlib.util.spec_from_file_location("floyo_migration_faults", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


faults = _campaign()


@pytest.fixture(scope="module")
def ground(postgres_server: Any) -> Iterator[Any]:
    with faults.grounds(lambda: contextlib.nullcontext(postgres_server)) as made:
        yield made


# All faults in both directions, and two more.
@pytest.mark.parametrize("number", range(1, 11))
def test_broken_at_any_instant(ground: Any, number: int) -> None:
    case = faults.run(ground, faults.draw(20251125, number))
    assert case.problems == [], f"{case.direction}, {case.fault}: {case.ended}, stood at {case.stood}"


def test_a_connection_that_is_cut_is_called_so(ground: Any) -> None:
    """The module's own, which holds the lock, or that of the migration."""
    for number, what in enumerate(["query LIKE '%in aaaa0002%'", "query NOT LIKE '%in aaaa0002%'"]):
        ground.go_to("")
        run = ground.start("up")
        faults.wait_until(lambda: ground.busy_with("aaaa0002"), faults.LIMIT)
        ground.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'floyo:migrate%'"  # noqa: S608
            f" AND datname = current_database() AND {what}"
        )
        status, answer = ground.ended(run)
        assert (status, answer["code"]) == (1, "CONNECTION_LOST"), answer
        assert "run the same command again" in answer["msg"]
        assert ground.version() == faults.NAMES[number], "the revision was rolled back, or done"


class Readers:
    """The application: connections that read a table all the time, and would rather fail than wait for ``patience``.

    The server counts that, not a reader on a busy machine: an error is a SELECT that would have waited longer for a table.
    """

    def __init__(self, url: str, patience: float) -> None:
        self.url, self.patience = url, patience
        self.reads, self.waits = 0, 0
        self.errors: list[str] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._read) for _ in range(3)]
        self._threads.append(threading.Thread(target=self._watch))

    def _connect(self) -> Any:
        return psycopg.connect(self.url, autocommit=True, prepare_threshold=None)

    def _read(self) -> None:
        with self._connect() as connection:
            connection.execute(f"SET lock_timeout = {int(self.patience * 1000)}")
            while not self._end.wait(0.01):
                try:
                    connection.execute("SELECT count(*) FROM users").fetchone()
                    self.reads += 1
                except psycopg.Error as error:
                    self.errors.append(str(error))

    def _watch(self) -> None:
        """Sees readers that wait for a table: otherwise a test would have shown nothing."""
        with self._connect() as connection:
            while not self._end.wait(0.02):
                found = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'SELECT count%'"
                ).fetchone()
                self.waits += found[0] if found else 0

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()


def test_two_controllers_and_three_hosts_migrate_at_once_while_users_read(ground: Any) -> None:
    ground.go_to(faults.NAMES[0])
    lock_timeout = 5
    with Readers(ground.url, patience=lock_timeout) as readers:
        runs = [ground.start("up", lock_timeout=lock_timeout) for _ in range(6)]
        ended = [ground.ended(run) for run in runs]
    assert [status for status, _ in ended] == [0] * 6, ended
    assert sorted(answer["changed"] for _, answer in ended) == [False] * 5 + [True]
    assert {tuple(answer["current"]) for _, answer in ended} == {(faults.NAMES[-1],)}
    (applied,) = [answer["applied"] for _, answer in ended if answer["changed"]]
    assert [step["revision"] for step in applied] == faults.NAMES[1:], "each once, by one run"
    assert ground.state() == ground.states["up"][faults.NAMES[-1]]
    assert readers.errors == [], "no SELECT has waited longer than the lock timeout"
    assert readers.reads > 0
    assert readers.waits > 0, "some have met a lock"


def test_readers_of_this_test_notice_a_migration_that_does_not_yield(ground: Any) -> None:
    """Whoever takes the lock timeout away fails the tests around this one."""
    ground.go_to(faults.NAMES[0])
    with psycopg.connect(ground.url) as blocker, Readers(ground.url, patience=1) as readers:
        blocker.execute("SELECT count(*) FROM users")
        run = ground.start("up", lock_timeout=600, lock_attempts=1)
        assert faults.wait_until(lambda: bool(readers.errors), faults.LIMIT)
        blocker.rollback()
        status, answer = ground.ended(run)
    assert status == 0, answer
    assert "lock timeout" in readers.errors[0]


def waiting(ground: Any) -> bool:
    """Whether a statement of a migration waits for a table."""
    return bool(
        ground.sql(
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'floyo:migrate%' AND wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
    )


def test_a_long_transaction_holds_up_the_migration_and_not_the_users(ground: Any) -> None:
    """Readers queue behind the waiting ALTER for its lock_timeout only, however long the blocker stays."""
    ground.go_to(faults.NAMES[0])
    with (
        psycopg.connect(ground.url, application_name="report of ada") as blocker,
        Readers(ground.url, patience=3) as readers,
    ):
        blocker.execute("SELECT count(*) FROM users")  # and the transaction stays open
        run = ground.start("up", lock_timeout=0.5, lock_attempts=5)
        status, answer = ground.ended(run)
        assert status == 1
        assert answer["code"] == "LOCK_TIMEOUT"
        assert "5 times" in answer["msg"]
        assert "report of ada" in answer["msg"]
        assert ground.version() == faults.NAMES[0]
        assert readers.waits > 0, "they have met the waiting ALTER"
        # A patient one waits, yields, and comes again when the table is free.
        patient = ground.start("up", lock_timeout=0.5, lock_attempts=100)
        assert faults.wait_until(lambda: waiting(ground), faults.LIMIT)
        assert faults.wait_until(lambda: not waiting(ground), faults.LIMIT)
        blocker.rollback()
        status, answer = ground.ended(patient)
    assert status == 0, answer
    assert answer["applied"][0]["attempts"] > 1
    assert readers.errors == [], "nobody waited for long"
