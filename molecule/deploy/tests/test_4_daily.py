"""The other commands of a day: status, verify, backup, migrate."""

from __future__ import annotations

import json
from typing import Any


def test_status_shows_the_fleet(world: Any) -> None:
    done = world.play("status")
    assert done.rc == 0, done.output
    for host in world.backends:
        assert "v1.0.0" in done.row(host)
        assert "healthy" in done.row(host)
    assert "Lease: free" in done.output
    assert "Last backup: 2" in done.output


def test_verify_asks_backends_and_proxies(world: Any) -> None:
    done = world.play("verify")
    assert done.rc == 0, done.output
    for host in (*world.backends, *world.fleet.groups["floyo_proxy"]):
        assert "healthy" in done.row(host)
    stopped = world.hosts[world.backends[2]]
    stopped.check_output("systemctl stop floyo-backend.socket floyo-backend")
    try:
        done = world.play("verify")
        assert done.rc != 0
        assert "unhealthy" in done.row(world.backends[2])
        assert f"Not well: {world.backends[2]}" in done.flat
    finally:
        stopped.check_output("systemctl start floyo-backend.socket floyo-backend")


def test_a_backup_is_taken_verified_and_listed(world: Any) -> None:
    before = set(world.database.check_output("ls /var/backups/floyo").split())
    done = world.play("backup")
    assert done.rc == 0, done.output
    new = set(world.database.check_output("ls /var/backups/floyo").split()) - before
    (manifest,) = [name for name in new if name.endswith(".json") and "checked" not in name]
    assert manifest.removesuffix(".json") in done.output
    described = json.loads(world.database.check_output("cat /var/backups/floyo/%s", manifest))
    assert "b2e1d4c5f602" in json.dumps(described)
    assert world.database.file("/var/backups/floyo").mode & 0o077 == 0


def test_pending_migrations_are_shown_judged_and_rehearsed(world: Any) -> None:
    assert world.play("deploy", floyo_version="v2.0.0").rc == 0
    assert world.heads() == ["b2e1d4c5f602"]
    judged = world.play("migration_preview")
    assert judged.rc == 0, judged.output
    assert "d4b8f6a26e03" in judged.output
    assert "ALTER TABLE" in judged.output
    tried = world.play("migration_rehearse")
    assert tried.rc == 0, tried.output
    assert world.heads() == ["b2e1d4c5f602"]
    assert "rehearsal" not in world.sql("SELECT datname FROM pg_database")
    shown = world.play("migration_status")
    assert shown.rc == 0, shown.output
    assert "ACCESS EXCLUSIVE on" in shown.flat
    assert "not rehearsed" not in shown.flat
    assert shown.changed == dict.fromkeys(world.backends, 0)
    refused = world.play("migration_new", floyo_version="v2.0.0", floyo_message="more")
    assert refused.rc != 0
    assert "is not made where floyo serves" in refused.flat


def test_migrate_applies_what_the_running_release_has(world: Any) -> None:
    waiting = world.play("migrate")
    assert waiting.rc == 0, waiting.output
    assert "d4b8f6a26e03" in waiting.output
    assert world.heads() == ["b2e1d4c5f602"]
    dry = world.play("migrate", "--check", floyo_contract=True)
    assert dry.rc == 0, dry.output
    assert world.heads() == ["b2e1d4c5f602"]
    done = world.play("migrate", floyo_contract=True)
    assert done.rc == 0, done.output
    assert world.heads() == ["d4b8f6a26e03"]
    again = world.play("migrate", floyo_contract=True)
    assert again.rc == 0, again.output
    assert again.changed == dict.fromkeys(world.backends, 0)
