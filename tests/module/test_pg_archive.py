"""pg_archive recovers moments beside a live server: a real PostgreSQL with a real archive."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ansible.module_utils.floyo.archive import glue
from tests.conftest import _as_user, _free_port, _postgres_programs, _running, _work_dir

MODULE = f"""
import sys
import ansible.module_utils, ansible.module_utils.basic as basic
ansible.module_utils.__path__.append({str(Path(glue.__file__).parents[2])!r})
sys.path.insert(0, {str(Path(__file__).parents[2] / "library")!r})
basic._ANSIBLE_ARGS = b'{{"ANSIBLE_MODULE_ARGS": ' + sys.argv[1].encode() + b"}}"
if hasattr(basic, "_ANSIBLE_PROFILE"):
    basic._ANSIBLE_PROFILE = "legacy"
import pg_archive
pg_archive.main()
"""


def until(condition: Callable[[], Any]) -> Any:
    """Wait for what has to come; a generous limit ends a test that hangs."""
    limit = time.monotonic() + 120
    while not (value := condition()):
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.05)
    return value


class Site:
    """A server that archives, with a database and its owner, as role floyo_postgres sets it up."""

    def __init__(self, work: Path, port: int, run_module: Callable[..., Any]) -> None:
        self.work, self.port, self._run = work, port, run_module
        self.account = "postgres"
        self.url = f"postgresql+psycopg://own:s3cret-p4ss@localhost:{port}/app"
        self.moments = work / "moments"
        self.broken = work / "broken"

    def sql(self, text: str, *, database: str = "app", url: str = "") -> list[Any]:
        where = url or f"postgresql://own@/{database}?host={self.work}&port={self.port}"
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(text.encode())
            return list(cursor.fetchall()) if cursor.description else []

    def next_second(self) -> None:
        """Base backups tell whole seconds: within that of their end there is no moment yet."""
        second = int(time.time())
        while int(time.time()) == second:
            time.sleep(0.05)

    def now(self) -> str:
        return str(
            self.sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'")[0][0]
        )

    def arguments(self, state: str, **more: Any) -> dict[str, Any]:
        return {
            "state": state, "stanza": "test", "config": str(self.work / "pgbackrest.conf"), "database_url": self.url,
            "scratch": str(self.work / "moment"), "directory": str(self.moments), "min_free": "1K", "timeout": 300,
            "socket_directory": str(self.work), "port": self.port, **more,
        }  # fmt: skip

    def run(self, state: str, *, check: bool = False, **more: Any) -> Any:
        return self._run("pg_archive", self.arguments(state, **more), check=check)

    def recovered(self, to: str) -> Any:
        done = self.run("recovered", to=to)
        assert done.rc == 0, done.json.get("msg")
        return done["moment"]

    def admin(self, text: str) -> list[Any]:
        return self.sql(text, url=f"postgresql://postgres@/postgres?host={self.work}&port={self.port}")

    def end_segment(self, *, wait: bool = True) -> None:
        """All that was written is in the archive."""
        (name,) = self.admin("SELECT pg_walfile_name(pg_switch_wal())")[0]
        done = "SELECT last_archived_wal >= '{0}' FROM pg_stat_archiver"
        if wait:
            until(lambda: self.admin(done.format(name))[0][0])

    def names(self, url: str) -> list[str]:
        return [row[0] for row in self.sql("SELECT name FROM notes ORDER BY id", url=url)]

    def backup(self, state: str, **more: Any) -> Any:
        arguments = {"state": state, "directory": str(self.moments), "min_free": "1K", "jobs": 1, **more}
        done = self._run("pg_backup", {"database_url": self.url, **arguments})
        assert done.rc == 0, done.json.get("msg")
        return done

    def moment_processes(self) -> list[str]:
        found = subprocess.run(
            ["pgrep", "-af", f"{self.work}/moment/data"], capture_output=True, text=True, check=False
        )
        return [line for line in found.stdout.splitlines() if "postgres" in line]


@pytest.fixture(scope="module")
def site(run_module: Callable[..., Any]) -> Iterator[Site]:
    if shutil.which("pgbackrest") is None:
        raise RuntimeError("pgbackrest is missing: run 'make setup'")
    bin_dir, work, account = _postgres_programs(), _work_dir("flar-", "postgres"), _as_user("postgres")
    found = Site(work, _free_port(), run_module)
    (work / "pgbackrest.conf").write_text(
        f"[global]\nrepo1-path={work}/repo\nlog-path={work}\nlock-path={work}/lock\nspool-path={work}\n"
        f"repo1-retention-full=9\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=a-passphrase\narchive-timeout=60\n[test]\npg1-path={work}/data\npg1-port={found.port}\n"
        f"pg1-socket-path={work}\npg1-user=postgres\n"
    )
    # Archiving breaks while a file is there, for the test that looks for it.
    push = work / "pgbackrest-push"
    push.write_text(
        f"#!/bin/sh\n[ ! -e {work}/broken ] && exec pgbackrest --config={work}/pgbackrest.conf --stanza=test archive-push $1\n"
    )
    push.chmod(0o755)
    (work / "pgbackrest.conf").chmod(0o644)

    def call(*words: str) -> None:
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd="/", **account)

    initdb = [
        str(bin_dir / "initdb"),
        f"--pgdata={work}/data",
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
    ]
    call(*initdb, "--locale=C.UTF-8", "--no-sync", "--data-checksums")
    command = [
        str(bin_dir / "postgres"),
        "-D",
        f"{work}/data",
        "-p",
        str(found.port),
        "-h",
        "localhost",
        "-k",
        str(work),
    ]
    for setting in (
        "fsync=off", "full_page_writes=on", "shared_buffers=32MB", "wal_level=replica", "archive_mode=on",
        f"archive_command={work}/pgbackrest-push %p", "archive_timeout=3600", "max_connections=33",
    ):  # fmt: skip
        command += ["-c", setting]
    ready = [str(bin_dir / "pg_isready"), "-q", "-h", str(work), "-p", str(found.port)]
    with _running(command, lambda: subprocess.run(ready, check=False).returncode == 0, work, account):
        with psycopg.connect(
            f"postgresql://postgres@/postgres?host={work}&port={found.port}", autocommit=True
        ) as admin:
            admin.execute("CREATE ROLE own LOGIN CREATEDB PASSWORD 's3cret-p4ss'")
            admin.execute("CREATE DATABASE app OWNER own")
            # A tablespace must not be recovered over the live one, which is where the backup says it is.
            call("mkdir", f"{work}/space")
            admin.execute(f"CREATE TABLESPACE space OWNER own LOCATION '{work}/space'".encode())
        found.sql(
            "CREATE TABLE alembic_version (version_num text PRIMARY KEY); INSERT INTO alembic_version VALUES ('aaaa1111');"
            "CREATE TABLE notes (id serial PRIMARY KEY, name text) TABLESPACE space; INSERT INTO notes (name) VALUES ('before')"
        )
        yield found
        found.run("discarded")


@pytest.fixture(scope="module")
def based(site: Site) -> dict[str, Any]:
    """A site with a base backup."""
    dry = site.run("present", check=True, max_age=20)
    assert (dry.rc, dry["changed"], dry["bases"]) == (0, True, [])
    done = site.run("present", max_age=20)
    assert done.rc == 0, done.json.get("msg")
    assert (done["changed"], done["kind"], len(done["bases"])) == (True, "full", 1)
    for check in (True, False):
        again = site.run("present", check=check, max_age=20)
        assert (again.rc, again["changed"], again["kind"]) == (0, False, "")
    site.next_second()
    return dict(done["bases"][0])


def test_a_host_without_an_archive_says_so(site: Site, tmp_path: Path) -> None:
    absent = str(tmp_path / "none.conf")
    assert not site.run("info", config=absent)["configured"]
    assert not site.run("info", stanza="another")["configured"]
    assert site.run("checked", config=absent)["verdict"] == "pass"
    assert site.run("recovered", config=absent).json["code"] == "ARCHIVE_OFF"


def test_a_moment_between_two_writes(site: Site, based: Any) -> None:
    site.sql("INSERT INTO notes (name) VALUES ('A')")
    between = site.now()
    site.sql("INSERT INTO notes (name) VALUES ('B')")
    live = site.sql("SELECT txid_current_snapshot(), pg_postmaster_start_time()")[0][1]
    dry = site.run("recovered", to=between, check=True)
    assert (dry.rc, dry["changed"], dry["moment"]) == (0, True, {})
    assert dry["plan"]["base"] == based["label"]
    assert not (site.work / "moment").exists()
    moment = site.recovered(between)
    assert site.names(moment["database_url"]) == ["before", "A"]
    assert site.names("") == ["before", "A", "B"]
    assert site.sql("SELECT pg_postmaster_start_time()")[0][0] == live
    assert "s3cret" not in str(moment)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        site.sql("INSERT INTO notes (name) VALUES ('C')", url=moment["database_url"])
    for check in (True, False):
        again = site.run("recovered", to=between, check=check)
        assert not again["changed"], "it is there"
        assert again["moment"]["database_url"] == moment["database_url"]
    assert site.run("info")["moment"]["to"] == between


def test_a_moment_becomes_a_dump_that_can_be_restored_and_drilled(site: Site, based: Any) -> None:
    between = site.now()
    site.sql("INSERT INTO notes (name) VALUES ('after')")
    moment = site.recovered(between)
    about = {"as_of": moment["as_of"], "recovery_seconds": moment["seconds"]}
    taken = site.backup("present", database_url=moment["database_url"], accept_shrink=True, about=about)
    entry = taken["backups"][0]
    assert entry["created"] == moment["as_of"], "a dump is as old as what is in it"
    assert site.run("discarded")["changed"]
    assert not site.run("discarded")["changed"]
    assert site.moment_processes() == []
    site.backup("drilled")
    checks = {each["check"]: each for each in site.run("checked")["checks"]}
    assert checks["moment drill"]["result"] == "pass"
    dumps = site.work / "dumps"
    done = site.backup("restored", label=entry["label"], safety_directory=str(dumps))
    assert "after" not in site.names("")
    assert moment["as_of"] in done["plan"]["loses"]
    assert len(list(dumps.glob("*.dump"))) == 1, "what was live is among the ordinary backups"
    site.backup("swapped_back")
    assert "after" in site.names("")


def test_the_latest_is_what_the_archive_holds_and_the_loss_is_measured(site: Site, based: Any) -> None:
    site.sql("INSERT INTO notes (name) VALUES ('archived')")
    site.end_segment()
    before = site.run("info")["window"]["bytes"]
    site.sql("INSERT INTO notes (name) VALUES ('lost')")
    assert site.run("info")["window"]["bytes"] > before
    moment = site.recovered("latest")
    names = site.names(moment["database_url"])
    assert "archived" in names
    assert "lost" not in names
    assert moment["loss"]["bytes"] > 0
    assert moment["loss"]["seconds"] >= 0
    site.run("discarded")


def test_moments_that_cannot_be_had(site: Site, based: Any) -> None:
    for to, code, words in (
        ("2020-01-01 00:00:00+00", "MOMENT_TOO_OLD", site.run("info")["from"]),
        ("2099-01-01 00:00:00+00", "MOMENT_AHEAD", "is to come"),
        ("2026-01-01 00:00:00", "MOMENT_UNUSABLE", "+00"),
        ("yesterday", "MOMENT_UNUSABLE", "2026-11-23 03:10:00+00"),
    ):
        for check in (True, False):
            done = site.run("recovered", to=to, check=check)
            assert (done.rc, done["code"]) == (1, code)
            assert words in done["msg"]
    full = site.run("recovered", to=site.now(), min_free="99%")
    assert full["code"] == "DISK_FULL"
    assert not (site.work / "moment").exists()


def test_a_moment_that_somebody_looks_at_stays(site: Site, based: Any) -> None:
    moment = site.recovered(site.now())
    with psycopg.connect(moment["database_url"], application_name="somebody"):
        for state in ("recovered", "discarded"):
            done = site.run(state, to=site.now())
            assert (done.rc, done["code"]) == (1, "MOMENT_IN_USE")
            assert "somebody" in done["msg"]
    assert site.run("recovered", to=site.now())["changed"], "nobody looks any more: another one takes its place"
    assert len({line.split()[0] for line in site.moment_processes() if " -D " in line}) == 1
    site.run("discarded")


@pytest.mark.parametrize("phase", ["restore", "replay"])
def test_what_a_killed_run_left_goes_with_the_next(site: Site, based: Any, phase: str) -> None:
    arguments = json.dumps(site.arguments("recovered", to=site.now()))
    process = subprocess.Popen([sys.executable, "-c", MODULE, arguments], stdout=subprocess.DEVNULL)
    sign = site.work / "moment" / ("data" if phase == "restore" else "data/postmaster.pid")
    until(lambda: sign.exists() or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert site.run("info")["moment"] == {} or phase == "replay"
    moment = site.recovered(site.now())
    assert site.names(moment["database_url"]) == site.names("")
    site.run("discarded")
    assert site.moment_processes() == []
    assert not (site.work / "moment").exists()


def test_a_moment_that_was_left_is_mentioned(site: Site, based: Any) -> None:
    site.recovered(site.now())
    assert "leftovers" in {each["check"] for each in site.run("checked")["checks"]}
    site.run("discarded")
    assert "leftovers" not in {each["check"] for each in site.run("checked")["checks"]}


def test_a_directory_that_is_not_ours_is_not_removed(site: Site, based: Any, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    done = site.run("recovered", to=site.now(), scratch=str(tmp_path))
    assert done["code"] == "DIRECTORY_UNSAFE"
    assert not site.run("discarded", scratch=str(tmp_path))["changed"]
    assert (tmp_path / "precious").exists()


def test_archiving_that_fails_is_seen(site: Site, based: Any) -> None:
    assert site.run("checked", limits={"drill_warn": 0})["verdict"] == "pass"
    site.broken.touch()
    try:
        site.sql("INSERT INTO notes (name) VALUES ('stuck')")
        site.end_segment(wait=False)
        until(lambda: site.run("checked").rc == 1)
        done = site.run("checked")
        assert done["code"] == "ARCHIVE_UNFIT"
        assert "cannot be archived" in done["msg"]
        assert [each["check"] for each in done["checks"] if each["result"] == "fail"] == ["archiving"]
        assert site.run("info")["window"]["bytes"] > 0
    finally:
        site.broken.unlink()
    until(lambda: site.run("checked").rc == 0)


def test_a_hole_in_the_archive_is_named(site: Site, based: Any) -> None:
    """The last test: the archive stays with a hole until the next base backup."""
    for _ in range(3):
        site.sql("INSERT INTO notes (name) VALUES ('more')")
        site.end_segment()
    after = site.now()
    archived = sorted((site.work / "repo/archive/test").rglob("0000*-*"))
    files = [path for path in archived if path.is_file() and ".backup" not in path.name]
    files[-2].unlink()
    missing = files[-2].name[:24]
    done = site.run("recovered", to=after)
    assert (done.rc, done["code"]) == (1, "ARCHIVE_GAP"), done.json
    assert missing in done["msg"]
    assert "the last transaction that could be had" in done["msg"]
    assert not (site.work / "moment").exists()
    latest = site.run("recovered", to="latest")
    assert (latest.rc, latest["code"]) == (1, "ARCHIVE_GAP"), "without a target a hole looks like the end"
    checked = site.run("checked")
    assert [each["check"] for each in checked["checks"] if each["result"] == "fail"] == ["continuity"]
    assert site.run("present")["kind"] == "diff"
    assert site.run("checked").rc == 0, "moments after the new base can be had"
    site.next_second()
    assert site.names(site.recovered(site.now())["database_url"]) == site.names("")
