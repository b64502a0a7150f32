"""A backup's whole life, from outside: listed, restored under load, swapped back, drilled, pruned."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

_DIRECTORY = "/var/backups/floyo"
_KEEP = {"last": 1, "daily": 0, "weekly": 0, "monthly": 0}


def labels(world: Any) -> list[str]:
    """Of what has a manifest, oldest first."""
    names = world.database.check_output("ls %s", _DIRECTORY)
    return sorted(re.findall(r"^(\d{8}T\d{6}Z-[0-9a-f]{6})\.json$", names, re.MULTILINE))


def files(world: Any) -> str:
    return str(world.database.check_output("cd %s && find . -type f -exec sha256sum {} + | sort -k 2", _DIRECTORY))


def databases(world: Any) -> list[str]:
    return sorted(world.sql("SELECT datname FROM pg_database WHERE datname LIKE 'floyo%'").split())


def names(world: Any) -> set[str]:
    return set(world.sql("SELECT name FROM workflows").splitlines())


def add(world: Any, name: str) -> None:
    world.sql(f"INSERT INTO workflows (name, owner) VALUES ('{name}', 'test')")  # noqa: S608 - our own word


def contents(world: Any) -> str:
    """Every row of the application's tables."""
    return str(
        world.database.check_output(
            "runuser -u postgres -- pg_dump --data-only --inserts -d floyo | grep ^INSERT | sort | sha256sum"
        )
    )


def lease_is_free(world: Any) -> bool:
    return "Lease: free" in world.play("status").output


@pytest.fixture(scope="module")
def taken(world: Any) -> str:
    """A backup that the running release can work on."""
    done = world.play("backup")
    assert done.rc == 0, done.output
    newest = labels(world)[-1]
    assert newest in done.output
    return newest


def test_the_list_says_what_is_there_and_whether_it_will_do(world: Any, taken: str) -> None:
    done = world.play("backups", settings={"COLUMNS": "80"})
    assert done.rc == 0, done.output
    assert re.search(rf"^{taken} .*sound$", done.output, re.MULTILINE), "a label is there to be copied: on one line"
    assert re.search(r"^age\s+pass", done.output, re.MULTILINE)
    assert done.changed == dict.fromkeys(world.backends, 0)


def test_a_list_that_cannot_be_relied_on_fails_and_shows_why(world: Any, taken: str) -> None:
    done = world.play("backups", floyo_backup_limits={"redundancy_fail": 1000})
    assert done.rc != 0
    assert taken in done.output
    assert re.search(r"^redundancy\s+fail", done.output, re.MULTILINE)
    assert "the backups cannot be relied on" in done.flat


def test_a_wrong_label_names_the_nearest(world: Any, taken: str) -> None:
    before = world.snapshot(), files(world), databases(world)
    wrong = taken[:-1] + ("0" if taken[-1] != "0" else "1")
    done = world.play("restore", floyo_backup_label=wrong)
    assert done.rc != 0
    assert f"there is no backup {wrong}" in done.flat
    assert f"{taken}, if that was meant" in done.flat
    done = world.play("restore")
    assert done.rc != 0
    assert "No backup is named" in done.flat
    assert (world.snapshot(), files(world), databases(world)) == before
    assert lease_is_free(world)


def test_a_dry_run_of_a_restore_shows_the_plan(world: Any, taken: str) -> None:
    before = world.snapshot(), files(world), databases(world)
    done = world.play("restore", "--check", floyo_backup_label=taken)
    assert done.rc == 0, done.output
    assert f"would restore {taken}" in done.output
    assert "what was written since" in done.flat
    assert (world.snapshot(), files(world), databases(world)) == before


def test_a_restore_under_load_and_the_way_back(world: Any, taken: str) -> None:
    heads, held, before = world.heads(), contents(world), set(labels(world))
    add(world, "after the backup")
    with_it = contents(world)
    with world.load() as seen:
        done = world.play("restore", floyo_backup_label=taken)
        result = seen()
    assert done.rc == 0, done.output
    assert contents(world) == held, "every row is as it was when the backup was taken"
    assert world.heads() == heads
    (safety,) = set(labels(world)) - before
    assert safety in done.output
    (kept,) = set(databases(world)) - {"floyo"}
    assert kept in done.output
    for kind, found in result.items():
        assert found["requests"] > 20, kind
        # Sessions of the database that went away were ended: at most what was under way just then.
        assert found["lost"] <= 3, found
    for host in world.backends:
        assert "healthy" in done.row(host)

    add(world, "after the restore")
    dry = world.play("swap_back", "--check")
    assert dry.rc == 0, dry.output
    assert kept in dry.output
    assert "after the restore" in names(world)

    back = world.play("swap_back")
    assert back.rc == 0, back.output
    assert contents(world) == with_it, "what was live before is live again"
    (undone,) = set(databases(world)) - {"floyo"}
    assert undone in back.output
    assert "after the restore" in world.database.check_output(
        "runuser -u postgres -- psql -XAtq -d %s -c 'SELECT name FROM workflows'", undone
    )
    again = world.play("swap_back")
    assert again.rc != 0, "what was undone is not what a restore has replaced"
    assert "is kept beside floyo" in again.flat
    assert lease_is_free(world)
    world.sql("DELETE FROM workflows WHERE owner = 'test'")


def test_a_backup_that_the_running_release_cannot_work_on_is_refused(world: Any, taken: str) -> None:
    old = labels(world)[0]
    assert heads_of(world, old) != world.heads(), "the first deploy has taken one of an empty database"
    before = databases(world), contents(world)
    done = world.play("restore", floyo_backup_label=old)
    assert done.rc != 0
    assert f"BACKUP_MISFIT: backup {old} does not fit" in done.flat
    assert "floyo_backup_accept_misfit=true" in done.flat
    assert (databases(world), contents(world)) == before


def heads_of(world: Any, label: str) -> list[str]:
    manifest = json.loads(world.database.check_output("cat %s/%s.json", _DIRECTORY, label))
    return sorted(manifest["alembic"].get("heads", []))


def test_a_drill_compares_and_leaves_nothing(world: Any, taken: str) -> None:
    before, held, listed = databases(world), contents(world), files(world)
    dry = world.play("restore_drill", "--check", floyo_backup_label=taken)
    assert dry.rc == 0, dry.output
    assert files(world) == listed
    done = world.play("restore_drill", floyo_backup_label=taken)
    assert done.rc == 0, done.output
    assert files(world) != listed, "it is noted"
    assert re.search(rf"^{taken} .* compared ", done.output, re.MULTILINE)
    assert (databases(world), contents(world)) == (before, held)
    listed = world.play("backups")
    assert re.search(r"^drill\s+pass", listed.output, re.MULTILINE)


def test_prune_does_what_its_dry_run_says_and_then_nothing(world: Any, taken: str) -> None:
    before = files(world), databases(world)
    dry = world.play("prune_backups", "--check", floyo_backup_keep=_KEEP, floyo_backup_keep_old=0)
    assert dry.rc == 0, dry.output
    assert (files(world), databases(world)) == before
    would_go = set(re.findall(r"^(\S+)\s+would go", dry.output, re.MULTILINE))
    assert would_go & set(labels(world)), dry.output
    assert would_go & set(databases(world)), "the one that was set aside"
    everything = {*labels(world), *databases(world)}
    done = world.play("prune_backups", floyo_backup_keep=_KEEP, floyo_backup_keep_old=0)
    assert done.rc == 0, done.output
    assert set(re.findall(r"^(\S+)\s+removed", done.output, re.MULTILINE)) == would_go
    assert {*labels(world), *databases(world)} == everything - would_go
    assert taken in labels(world), "the only drilled one stays"
    assert world.heads() in [heads_of(world, label) for label in labels(world)]
    again = world.play("prune_backups", floyo_backup_keep=_KEEP, floyo_backup_keep_old=0)
    assert again.rc == 0, again.output
    assert again.changed == dict.fromkeys(world.backends, 0)


# --- encrypted and elsewhere -----------------------------------------------------------------------------------------

_ELSEWHERE = "/var/tmp/floyo-elsewhere"
_KEY = "/root/floyo-backup.key"


@pytest.fixture(scope="module")
def elsewhere(world: Any) -> Iterator[dict[str, Any]]:
    """A key, and another place that rclone knows: a directory of the same host, by another name."""
    settings = {
        "floyo_backup_recipients": ["age1" + "q" * 58],  # of whom only the form counts until there is a key
        "floyo_backup_remote": "offsite:floyo",
        "floyo_backup_remotes": {"offsite": {"type": "alias", "remote": _ELSEWHERE}},
    }
    done = world.play("provision", "--limit", "floyo_database", **settings)
    assert done.rc == 0, done.output
    world.database.check_output("install -d -m 0700 %s && age-keygen -o %s && chmod 0600 %s", _ELSEWHERE, _KEY, _KEY)
    settings["floyo_backup_recipients"] = [world.database.check_output("age-keygen -y %s", _KEY)]
    yield settings
    world.database.check_output("rm -rf %s %s", _ELSEWHERE, _KEY)
    # What runs by a timer is as it was, too.
    done = world.play("provision", "--limit", "floyo_database")
    assert done.rc == 0, done.output


def test_encrypted_on_the_disk_copied_and_back_from_the_copy(world: Any, elsewhere: dict[str, Any]) -> None:
    assert world.database.file("/etc/floyo/rclone.conf").mode == 0o600
    add(world, "only in the backup")
    done = world.play("backup", **elsewhere)
    assert done.rc == 0, done.output
    label = labels(world)[-1]
    held = contents(world)
    # Nothing of what is in it can be read, here or there, and both are the same bytes.
    for place in (f"{_DIRECTORY}/{label}.dump", f"{_ELSEWHERE}/floyo/{label}.dump"):
        assert world.database.check_output("head -c 21 %s", place) == "age-encryption.org/v1"
        assert world.database.run("zgrep -ac 'only in the backup' %s", place).stdout.strip() == "0"
        digest = world.database.check_output("sha256sum %s", place).split()[0]
        assert digest == json.loads(world.database.check_output("cat %s/%s.json", _DIRECTORY, label))["dump"]["sha256"]
    world.sql("DELETE FROM workflows WHERE name = 'only in the backup'")
    # The backup is lost here; the copy is fetched, compared by its digest, and restored by the key.
    world.database.check_output("rm %s/%s.dump %s/%s.json", _DIRECTORY, label, _DIRECTORY, label)
    fetched = world.play("fetch_backup", floyo_backup_label=label, **elsewhere)
    assert fetched.rc == 0, fetched.output
    locked = world.play("restore", floyo_backup_label=label, **elsewhere)
    assert locked.rc != 0
    assert "no key is given" in locked.flat
    done = world.play("restore", floyo_backup_label=label, floyo_backup_identity_file=_KEY, **elsewhere)
    assert done.rc == 0, done.output
    assert contents(world) == held


def test_a_plain_dump_by_its_name_and_digest(world: Any) -> None:
    sql, held = "/root/backup.sql", contents(world)
    world.database.check_output("umask 077; runuser -u postgres -- pg_dump -d floyo > %s", sql)
    digest = world.database.check_output("sha256sum %s", sql).split()[0]
    add(world, "after the dump")
    before = databases(world), contents(world)
    dry = world.play("import_sql", "--check", floyo_backup_sql=sql)
    assert dry.rc == 0, dry.output
    assert digest in dry.flat
    refused = world.play("import_sql", floyo_backup_sql=sql)
    assert refused.rc != 0
    assert digest in refused.flat
    assert (databases(world), contents(world)) == before
    assert lease_is_free(world)
    done = world.play("import_sql", floyo_backup_sql=sql, floyo_backup_sql_sha256=digest)
    assert done.rc == 0, done.output
    assert contents(world) == held
    back = world.play("swap_back")
    assert back.rc == 0, back.output
    assert contents(world) == before[1]
    world.sql("DELETE FROM workflows WHERE owner = 'test'")
