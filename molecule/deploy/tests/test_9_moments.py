"""A moment between two writes, an archive that fails, a scheduled run that fails: as the people on call see them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

_LIMIT = 120.0


def until(condition: Callable[[], Any]) -> None:
    """Wait for what has to come; a generous limit ends a test that hangs."""
    limit = time.monotonic() + _LIMIT
    while not condition():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.5)


def add(world: Any, name: str) -> None:
    world.sql(f"INSERT INTO workflows (name, owner) VALUES ('{name}', 'moment')")  # noqa: S608 - our own word


def ours(world: Any) -> list[str]:
    return list(world.sql("SELECT name FROM workflows WHERE owner = 'moment' ORDER BY id").split())


def test_a_moment_between_two_writes_comes_back_and_can_be_undone(world: Any) -> None:
    add(world, "A")
    between = world.sql(
        "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'"
    ).strip()
    add(world, "B")
    server = world.sql("SELECT pg_postmaster_start_time()")
    dry = world.play("restore", "--check", floyo_restore_to=between)
    assert dry.rc == 0, dry.output
    assert "base backup" in dry.output
    done = world.play("restore", floyo_restore_to=between)
    assert done.rc == 0, done.output
    assert ours(world) == ["A"]
    assert world.sql("SELECT pg_postmaster_start_time()") == server, "the live cluster ran all the time"
    assert "what was written since" in done.flat
    assert not world.database.file("/var/lib/postgresql/floyo-moment").exists
    back = world.play("swap_back")
    assert back.rc == 0, back.output
    assert ours(world) == ["A", "B"]
    world.sql("DELETE FROM workflows WHERE owner = 'moment'")
    ahead = world.play("restore", floyo_restore_to="2099-01-01 00:00:00+00")
    assert ahead.rc != 0
    assert "is to come" in ahead.flat


def test_an_archive_that_fails_is_seen(world: Any) -> None:
    place = "/var/lib/pgbackrest/archive/floyo"
    world.database.check_output("chown -R root %s", place)
    try:
        add(world, "stuck")
        switch = "runuser -u postgres -- psql -XAtqc 'SELECT pg_switch_wal()'"
        world.database.check_output(switch)
        failing = "SELECT coalesce(last_failed_time > last_archived_time, false) FROM pg_stat_archiver"
        until(lambda: world.sql(failing).strip() == "t")
        done = world.play("backups")
        assert done.rc != 0
        assert re.search(r"^archiving\s+fail", done.output, re.MULTILINE), done.output
        assert "cannot be archived" in done.flat
    finally:
        world.database.check_output("chown -R postgres %s", place)
    until(lambda: world.sql(failing).strip() == "f")
    world.sql("DELETE FROM workflows WHERE owner = 'moment'")


def test_a_scheduled_run_that_fails_is_seen_and_the_next_one_heals_it(world: Any) -> None:
    job = "systemctl start floyo-backup.service"
    world.database.check_output("chmod 0770 /var/backups/floyo")  # others could change backups there: refused
    try:
        assert world.database.run(job).failed
    finally:
        world.database.check_output("chmod 0700 /var/backups/floyo")
    journal = world.database.check_output("journalctl -u floyo-backup -u floyo-backup-failed --no-pager -o cat")
    assert "backup: failed" in journal
    until(lambda: "no notification URL is configured" in world.database.check_output(
        "journalctl -u floyo-backup-failed --no-pager -o cat"))  # fmt: skip
    status = world.play("status")
    assert status.rc != 0
    assert "Scheduled backups: failed" in status.flat
    assert "can be written by others" in status.flat

    assert world.database.run(job).succeeded
    record = json.loads(world.database.check_output("cat /var/lib/floyo-backup/last.json"))
    assert {step["result"] for step in record["steps"].values()} == {"ok"}
    # The archive's drill may have gone well in the run before, and is then not due again.
    succeeded = {"backup", "base backup", "drill", "moment drill", "prune", "check", "archive check"}
    assert succeeded <= set(record["succeeded"])
    status = world.play("status")
    assert status.rc == 0, status.output
    assert "Scheduled backups: ok" in status.flat


def test_the_jobs_secrets_are_roots(world: Any) -> None:
    settings = world.database.file("/etc/floyo/backup.json")
    assert (settings.mode, settings.user) == (0o600, "root")
    password = re.search(r"://floyo_owner:([^@]+)@", settings.content_string)
    assert password
    seen = world.database.check_output(
        "journalctl -u floyo-backup -u floyo-backup-failed --no-pager; cat /var/lib/floyo-backup/last.json"
    )
    assert password[1] not in seen
