"""pg_backup against a real PostgreSQL: what a backup holds, and what must not spoil one."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import resource
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import psycopg
import pytest

from ansible.module_utils.floyo.backup import glue, processes, programs, server, store
from ansible.module_utils.floyo.backup.schema import OBJECTS_SQL, fingerprint
from ansible.module_utils.floyo.postgres.lock import lock_key

TABLES = """
CREATE TABLE alembic_version (version_num text PRIMARY KEY);
INSERT INTO alembic_version VALUES ('aaaa1111');
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE "Odd ""name%" (id int PRIMARY KEY, m mood);
CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO users SELECT g, md5(g::text) FROM generate_series(1, 5000) g;
CREATE TABLE events (at date, what text) PARTITION BY RANGE (at);
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO events VALUES ('2025-05-05', 'one');
CREATE VIEW names AS SELECT name FROM users;
SELECT lo_from_bytea(0, 'large'::bytea);
"""


PROCESS = f"""
import sys
import ansible.module_utils, ansible.module_utils.basic as basic
ansible.module_utils.__path__.append({str(Path(store.__file__).parents[2])!r})
sys.path.insert(0, {str(Path(__file__).parents[2] / "library")!r})
basic._ANSIBLE_ARGS = b'{{"ANSIBLE_MODULE_ARGS": ' + sys.argv[1].encode() + b"}}"
if hasattr(basic, "_ANSIBLE_PROFILE"):
    basic._ANSIBLE_PROFILE = "legacy"
import pg_backup
pg_backup.main()
"""


def until(condition: Callable[[], Any]) -> Any:
    """Wait for what has to come; a generous limit ends a test that hangs."""
    limit = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.01)
    return value


def warnings(result: Any) -> str:
    return json.dumps(result.json.get("warnings", []))


class Site:
    """A database, a directory for its backups, and the module run on both."""

    def __init__(self, server: Any, directory: Path, run_module: Callable[..., Any]) -> None:
        self.server, self.directory, self._run = server, directory, run_module
        self.url = server.fresh_database()
        self.database = self.url.rpartition("/")[2]
        self.sql(TABLES)

    def sql(self, text: str) -> list[Any]:
        return list(self.server.sql(text, database=self.database))

    def run(self, state: str = "present", *, check: bool = False, **more: Any) -> Any:
        arguments = {"directory": str(self.directory), "state": state, "lock_wait": 1, "lock_timeout": 1, **more}
        if state == "present":
            arguments = {"database_url": self.url, "min_free": "1K", **arguments}
        return self._run("pg_backup", arguments, check=check)

    def arguments(self, **more: Any) -> dict[str, Any]:
        common = {"database_url": self.url, "directory": str(self.directory), "min_free": "1K"}
        return {**common, "lock_wait": 60, "lock_timeout": 1, **more}

    def process(self, **more: Any) -> subprocess.Popen[str]:
        """The module in a process of its own, as on a host."""
        return subprocess.Popen(
            [sys.executable, "-c", PROCESS, json.dumps(self.arguments(**more))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def pg_dump(self, before: str = "", *, run: str = 'exec {real} "$@"', version: str = "15.18") -> str:
        """A directory whose pg_dump is a script: ``before``, then ``run`` around the real one."""
        directory = self.directory.parent / f"bin{len(list(self.directory.parent.iterdir()))}"
        directory.mkdir()
        real = self.server.bin_dir / "pg_dump"
        script = directory / "pg_dump"
        script.write_text(
            f'#!/bin/bash\n[ "$1" = --version ] && {{ echo "pg_dump (PostgreSQL) {version}"; exit; }}\n{before}\n'
            + run.format(real=shlex.quote(str(real)))
            + "\n"
        )
        script.chmod(0o755)
        (directory / "pg_restore").symlink_to(self.server.bin_dir / "pg_restore")
        return str(directory)

    def dumps_at_work(self) -> int:
        rows = self.sql("SELECT datname FROM pg_stat_activity WHERE application_name LIKE 'floyo:dump@%'")
        return [name for (name,) in rows].count(self.database)

    def take(self, **more: Any) -> dict[str, Any]:
        result = self.run(**more)
        assert result.rc == 0, result.json
        return dict(result["backup"])

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir()) if self.directory.exists() else []

    def listed(self) -> list[dict[str, Any]]:
        return list(self.run("info")["backups"])


@pytest.fixture
def site(postgres_server: Any, tmp_path: Path, run_module: Callable[..., Any]) -> Site:
    return Site(postgres_server, tmp_path / "backups", run_module)


# --- state present ---------------------------------------------------------------------------------------------------


def test_a_backup_is_bound_to_what_it_is_a_copy_of(site: Site) -> None:
    about = {"release": "v1.0.0-0a1b2c3d", "version": "v1.0.0", "commit": "c0ffee", "reason": "before v1.1.0"}
    result = site.run(about=about)
    assert result["changed"] is True
    backup = result["backup"]
    manifest = backup["manifest"]
    assert manifest["rows"] == {
        "public.alembic_version": 1,
        'public.Odd "name%': 0,
        "public.users": 5000,
        "public.events_2025": 1,
    }
    assert manifest["alembic"] == {"heads": ["aaaa1111"], "version_table": "public.alembic_version"}
    assert manifest["large_objects"] == 1
    assert manifest["dump"]["toc"]["tables"] == 4
    assert manifest["about"] == about
    assert manifest["roles"] == ["postgres"]
    assert manifest["extensions"] == {"plpgsql": "1.0"}
    dump = Path(backup["path"])
    assert dump.stat().st_size == backup["size"]
    assert json.loads(Path(backup["manifest_path"]).read_text()) == manifest
    (entry,) = result["backups"]
    assert entry["verified"] is True
    assert {key: entry[key] for key in ("label", "heads", "sequence", "release", "version", "commit", "reason")} == {
        "label": backup["label"], "heads": ["aaaa1111"], "sequence": 1, **about
    }  # fmt: skip


def test_only_the_owner_can_read_a_backup(site: Site) -> None:
    site.take()
    assert stat.S_IMODE(site.directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in site.directory.iterdir()} == {0o600}


def test_check_mode_predicts_and_writes_nothing(site: Site) -> None:
    predicted = site.run(check=True)
    assert predicted["changed"] is True
    assert predicted["backup"] == {}
    assert predicted["plan"]["heads"] == ["aaaa1111"]
    assert site.files == []
    assert not site.directory.exists()
    taken = site.run()
    assert {key: predicted["plan"][key] for key in ("database", "server", "client", "compress", "forecast")} == {
        key: taken["plan"][key] for key in ("database", "server", "client", "compress", "forecast")
    }
    before = site.files
    assert site.run(check=True)["changed"] is True
    assert site.files == before


def test_each_backup_is_chained_to_the_one_before(site: Site) -> None:
    first, second = site.take()["manifest"], site.take()["manifest"]
    assert second["previous"] == {"label": first["label"], "digest": first["digest"]}
    assert second["sequence"] == 2
    assert second["label"] > first["label"]
    assert [entry["label"] for entry in site.listed()] == [second["label"], first["label"]]


def test_the_clock_was_put_back(site: Site) -> None:
    first = site.take()["label"]
    for name in site.files:
        if name != ".lock":
            (site.directory / name).rename(site.directory / name.replace(first, "29991231T235959Z-aaaaaa"))
    result = site.run()
    assert result["backup"]["label"].startswith("30000101T000000Z-")
    assert "dated 3000-01-01T00:00:00Z" in warnings(result)


def test_a_dump_and_its_counts_are_of_one_moment(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that come while the dump runs are in neither; what is restored is what the manifest says."""

    def late(*arguments: Any, **more: Any) -> Any:
        site.sql("INSERT INTO users SELECT g, 'late' FROM generate_series(6001, 6100) g; DELETE FROM events")
        return programs.dump(*arguments, **more)

    monkeypatch.setattr(glue, "dump", late)
    backup = site.take()
    copy = site.server.fresh_database()
    restore = [str(site.server.bin_dir / "pg_restore"), "--exit-on-error", f"--dbname={copy}", backup["path"]]
    subprocess.run(restore, check=True)
    manifest = backup["manifest"]
    with psycopg.connect(copy) as connection:
        counts = {
            "public.users": connection.execute("SELECT count(*) FROM users").fetchone(),
            "public.events_2025": connection.execute("SELECT count(*) FROM events").fetchone(),
        }
        assert counts == {name: (manifest["rows"][name],) for name in counts}
        assert counts["public.users"] == (5000,)
        connection.execute("SET search_path = pg_catalog")
        assert fingerprint(connection.execute(OBJECTS_SQL.encode()).fetchall()) == manifest["schema"]
    assert site.sql("SELECT count(*) FROM users") == [(5100,)]


def test_as_the_owner_without_more_rights(site: Site, postgres_server: Any) -> None:
    """As role floyo_postgres makes it: the owner is no superuser, the application's role is another one."""
    name = f"owner_{site.database}"
    postgres_server.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'own' NOSUPERUSER")
    fresh = postgres_server.fresh_database().rpartition("/")[2]
    postgres_server.sql(f"ALTER DATABASE {fresh} OWNER TO {name}")
    postgres_server.sql(f"ALTER SCHEMA public OWNER TO {name}; SET ROLE {name}; {TABLES}", database=fresh)
    url = postgres_server.url_for(fresh, user=name, password="own")
    manifest = site.take(database_url=url.replace("postgresql:", "postgresql+asyncpg:") + "?ssl=prefer")["manifest"]
    assert manifest["rows"]["public.users"] == 5000
    assert manifest["roles"] == [name]
    assert manifest["server"]["system_identifier"]
    with psycopg.connect(postgres_server.url_for(fresh), application_name="somebody") as other:
        other.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        assert "users by pid" in site.run(database_url=url, lock_timeout=0.2)["msg"]
    with psycopg.connect(
        postgres_server.url_for(fresh), autocommit=True, application_name="floyo:migrate@b:1"
    ) as other:
        other.execute(f"SELECT pg_advisory_lock({lock_key(fresh)})".encode())
        assert "floyo:migrate@b:1" in site.run(database_url=url, lock_wait=0)["msg"]


def test_the_fingerprint_tells_a_changed_schema(site: Site) -> None:
    first = site.take()["manifest"]["schema"]
    assert site.take()["manifest"]["schema"] == first
    site.sql("ALTER TABLE users ADD COLUMN by_hand text")
    second = site.take()["manifest"]["schema"]
    assert second["sha256"] != first["sha256"]
    changed = {kind for kind in first["kinds"] if first["kinds"][kind] != second["kinds"][kind]}
    assert changed == {"column"}


def test_a_database_that_lost_its_rows_is_suspect(site: Site) -> None:
    site.take()
    site.sql("TRUNCATE users")
    result = site.run()
    assert f"{result['backup']['label']} is sound and looks wrong" in warnings(result)
    newest, oldest = result["backups"]
    assert (newest["verified"], newest["suspect"]) == (True, "2 rows, the backup before had 5002")
    assert oldest["suspect"] == ""
    assert site.take()["manifest"]["suspect"], "the one that looks wrong is no measure"
    assert site.take(accept_shrink=True)["manifest"]["suspect"] == ""
    assert site.take()["manifest"]["suspect"] == ""


def test_without_tables_and_without_alembic(site: Site, postgres_server: Any) -> None:
    site.url = postgres_server.fresh_database()
    assert site.take()["manifest"]["alembic"] == {"heads": [], "version_table": ""}


@pytest.mark.parametrize("compress", ["none", "gzip:1", "auto"])
def test_compression(site: Site, compress: str) -> None:
    assert site.take(compress=compress)["manifest"]["dump"]["compress"] == {"auto": "gzip:6"}.get(compress, compress)


# --- state present: what goes wrong ----------------------------------------------------------------------------------


def test_a_url_is_needed(site: Site) -> None:
    for url in ("", None, "sqlite:///floyo.db"):
        assert site.run(database_url=url)["code"] == "DATABASE_URL_UNUSABLE"
    assert site.run(label="20250115T103000Z-3f9a1c")["code"] == "LABEL_GIVEN"


def test_an_unreachable_server(site: Site) -> None:
    result = site.run(database_url="postgresql://u:pw@127.0.0.1:1/db")
    assert (result.rc, result["code"]) == (1, "DATABASE_UNREACHABLE")
    assert "127.0.0.1:1" in result["msg"]
    assert [name for name in site.files if name != ".lock"] == []


@pytest.mark.parametrize("password", ["app", "a%40b%25c", "long-and-Unusual-p4ssword"])
def test_a_wrong_password_is_shown_nowhere(site: Site, password: str) -> None:
    right = site.server.password
    result = site.run(database_url=site.url.replace(right, password))
    assert (result.rc, result["code"]) == (1, "DATABASE_LOGIN")
    assert "authentication failed" in result["msg"]
    text = json.dumps(result.json) + result.stderr
    for form in {password, unquote(password)}:
        assert not re.search(rf"(?<!\w){re.escape(form)}(?!\w)", text)


def test_the_password_is_in_no_argument_and_in_no_file(site: Site) -> None:
    """Every command line of the machine, at the moment pg_dump starts; then what it prints when it fails."""
    seen = site.directory.parent / "seen"
    noise = f'cat /proc/[0-9]*/cmdline > {seen}; echo "pg_dump: error: $PGPASSWORD of $PGUSER" >&2'
    result = site.run(bin_dir=site.pg_dump(noise, run="exit 3"))
    assert result["code"] == "DUMP_FAILED"
    assert "error: *** of postgres" in result["msg"], "it does reach the program by its environment"
    assert b"--snapshot=" in seen.read_bytes()
    assert site.server.password.encode() not in seen.read_bytes()
    assert site.server.password not in json.dumps(result.json)
    site.take()
    assert all(site.server.password.encode() not in path.read_bytes() for path in site.directory.iterdir())


@pytest.mark.parametrize(
    ("version", "code", "words"),
    [
        ("14.11", "CLIENT_TOO_OLD", "14.11 in"),
        ("9.6.24", "CLIENT_TOO_OLD", "9.6.24 in"),
        ("", "CLIENT_MISSING", "none"),
    ],
)
def test_programs_older_than_the_server(site: Site, version: str, code: str, words: str) -> None:
    result = site.run(bin_dir=site.pg_dump(version=version), check=True)
    assert (result["code"], words in result["msg"]) == (code, True)
    assert "postgresql-client-" in result["next_step"]


def test_psycopg_is_missing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    result = site.run()
    assert result["code"] == "DRIVER_MISSING"
    assert "apt-get install python3-psycopg" in result["next_step"]


def test_a_table_that_the_account_cannot_read(site: Site) -> None:
    site.sql("CREATE ROLE reader LOGIN PASSWORD 'reader'; GRANT SELECT ON users, alembic_version TO reader")
    try:
        result = site.run(database_url=site.server.url_for(site.database, user="reader", password="reader"), check=True)
        assert result["code"] == "RIGHTS_MISSING"
        assert "public.events (no SELECT)" in result["unreadable"]
        assert "1 large objects (no SELECT)" in result["unreadable"]
        assert not any("users" in name for name in result["unreadable"])
    finally:
        site.sql("DROP OWNED BY reader; DROP ROLE reader")


def test_row_security_would_hide_rows(site: Site) -> None:
    site.sql(
        "CREATE ROLE half LOGIN PASSWORD 'half'; CREATE SCHEMA s AUTHORIZATION half;"
        "SET ROLE half; CREATE TABLE s.t (a int); INSERT INTO s.t VALUES (1);"
        "ALTER TABLE s.t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
    )
    try:
        result = site.run(database_url=site.server.url_for(site.database, user="half", password="half"))
        assert "s.t (row security hides rows)" in result["unreadable"]
    finally:
        site.sql("RESET ROLE; DROP OWNED BY half; DROP ROLE half")


def test_a_locked_table_is_named_with_its_holder(site: Site) -> None:
    with psycopg.connect(site.url, application_name="somebody") as other:
        other.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        for check in (True, False):
            result = site.run(check=check, lock_timeout=0.2)
            assert result["code"] == "TABLE_LOCKED"
            assert (
                f"users by pid {other.info.backend_pid} (somebody, user postgres, idle in transaction" in result["msg"]
            )
    assert site.files == [".lock"]
    site.take()


def test_a_table_locked_between_us_and_pg_dump(site: Site) -> None:
    """Our own lock makes the other one wait, and pg_dump would wait behind it without an end."""
    sql = shlex.quote("ALTER TABLE users ADD COLUMN x int")
    psql = shlex.quote(str(site.server.bin_dir / "psql"))
    alter = f"PGAPPNAME=somebody {psql} -c {sql} >/dev/null 2>&1 </dev/null & sleep 0.5"
    result = site.run(bin_dir=site.pg_dump(alter), lock_timeout=0.5)
    assert result["code"] == "TABLE_LOCKED"
    assert "users by pid" in result["msg"]
    assert "(somebody, user postgres, active" in result["msg"]
    assert site.files == [".lock"]


def test_the_lock_of_migrations(site: Site) -> None:
    with psycopg.connect(site.url, autocommit=True, application_name="floyo:migrate@db1:77") as other:
        other.execute(f"SELECT pg_advisory_lock({lock_key(site.database)})".encode())
        for check in (True, False):
            result = site.run(lock_wait=0, check=check)
            assert result["code"] == "LOCK_HELD"
            assert "floyo:migrate@db1:77" in result["msg"]
    site.take(lock_wait=0)


def test_the_lock_of_the_directory(site: Site) -> None:
    site.take()
    with (site.directory / ".lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = site.run(lock_wait=0)
        assert result["code"] == "LOCK_HELD"
        assert f"process {os.getpid()} works in {site.directory}" in result["msg"]
        assert site.run("info").rc == 0
        assert site.run("verified").rc == 0


def test_two_at_once(site: Site) -> None:
    runs = [site.process() for _ in range(3)]
    results = [json.loads(run.communicate()[0]) for run in runs]
    assert [result.get("msg") for result in results] == [None] * 3
    assert sorted(result["backup"]["manifest"]["sequence"] for result in results) == [1, 2, 3]
    assert all(entry["verified"] for entry in site.listed())


def test_an_old_dump_still_at_work(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed run's lock is free; what it has started may still be in the server."""
    monkeypatch.setattr(server, "_EARLIER_RUN_GRACE", 0.1)
    with psycopg.connect(site.url, application_name="floyo:dump@db1:77") as other:
        other.execute("SELECT 1")
        result = site.run(lock_wait=0)
        assert (result["code"], "floyo:dump@db1:77" in result["msg"]) == ("EARLIER_RUN_ACTIVE", True)


@pytest.mark.parametrize(
    ("before", "run", "code", "words"),
    [
        ("", '{real} "$@" | head -c 3000; exit 1', "DUMP_FAILED", "ended with status 1"),
        ("", '{real} "$@" | head -c 3000; exit 0', "BACKUP_DAMAGED", "not sound"),
        ("", "exit 0", "BACKUP_DAMAGED", "not sound"),
        ("", "kill -SEGV $$", "DUMP_FAILED", "signal 11"),
        ("", 'exec {real} "$@" --exclude-table-data=users', "BACKUP_DAMAGED", "no data of public.users"),
        ("", 'exec {real} "$@" --no-blobs', "BACKUP_DAMAGED", "no large objects"),
    ],
)
def test_a_dump_that_fails_or_lies(site: Site, before: str, run: str, code: str, words: str) -> None:
    good = site.take()
    result = site.run(bin_dir=site.pg_dump(before, run=run))
    assert (result.rc, result["code"]) == (1, code)
    assert words in result["msg"]
    assert [entry["label"] for entry in site.listed()] == [good["label"]]
    assert site.run("verified").rc == 0
    assert [name for name in site.files if good["label"] not in name] == [".lock"]


def test_what_takes_too_long_is_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_GRACE", 0.2)
    mark = site.directory.parent / "pid"
    result = site.run(
        bin_dir=site.pg_dump(f"trap '' TERM; echo $$ > {mark}", run="while :; do sleep 0.1; done"), timeout=2
    )
    assert (result["code"], result["msg"].startswith("pg_dump did not end in time")) == ("BACKUP_TIMEOUT", True)
    assert not Path(f"/proc/{mark.read_text().strip()}").exists()
    assert site.files == [".lock"]


def test_a_replica_is_no_source(site: Site, replica: Any) -> None:
    result = site.run(database_url=replica.url, check=True)
    assert (result["code"], result["msg"].count("is a replica")) == ("REPLICA", 1)


def test_a_server_that_ends_idle_transactions(site: Site) -> None:
    site.sql(f'ALTER DATABASE "{site.database}" SET idle_in_transaction_session_timeout = 50')
    site.sql(f'ALTER DATABASE "{site.database}" SET statement_timeout = 1')
    site.url += "?options=-c%20statement_timeout%3D0"  # the first statements, before ours are set
    site.take(bin_dir=site.pg_dump("sleep 0.5"))


# --- state present: full disk, killed --------------------------------------------------------------------------------


@pytest.fixture
def small(site: Site) -> Iterator[Site]:
    """The directory is a file system of 2 MB, with a good backup on it."""
    site.directory.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(site.directory)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        site.take()
        site.sql("CREATE TABLE big AS SELECT g, gen_random_bytes FROM generate_series(1, 60000) g, LATERAL (SELECT"
                 " md5(random()::text || g) || md5(random()::text) AS gen_random_bytes) r")  # fmt: skip
        yield site
    finally:
        subprocess.run(["umount", str(site.directory)], check=True)


def test_a_dump_that_will_not_fit_is_not_begun(small: Site) -> None:
    before = small.files
    for check in (True, False):
        result = small.run(check=check)
        assert result["code"] == "DISK_FULL"
        assert "MiB free" in result["msg"]
    assert small.files == before


def test_a_full_disk(small: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The forecast is wrong, or somebody else has filled the disk meanwhile."""
    monkeypatch.setattr(glue, "forecast", lambda *_: 0)
    before = small.files
    result = small.run()
    assert result["code"] == "DISK_FULL"
    assert "No space left" in result["msg"]
    assert small.files == before
    assert small.run("verified").rc == 0


def test_a_limit_of_file_size(site: Site) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        result = site.run(compress="none")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert result["code"] == "DISK_FULL"
    assert site.files == [".lock"]


@pytest.mark.parametrize("moment", ["begun", "some bytes", "half", "asleep", "read back"])
def test_killed_at_any_moment(site: Site, moment: str) -> None:
    good = site.take()
    site.sql("CREATE TABLE big AS SELECT g, md5(g::text) AS x FROM generate_series(1, 300000) g")
    slow = {"asleep": "sleep 60", "half": ""}.get(moment, "")
    options = {"bin_dir": site.pg_dump(slow)} if slow else {}
    run = site.process(**options)

    def size() -> int:
        partial = list(site.directory.glob("*.partial"))
        return partial[0].stat().st_size if partial else -1

    def phase() -> str:
        running = site.run("info")["running"]
        return str(running[0]["phase"]) if running else ""

    reached = {
        "begun": lambda: list(site.directory.glob("*.running.json")),
        "some bytes": lambda: size() > 0,
        "half": lambda: size() > 2_000_000,
        "asleep": lambda: size() == 0,
        "read back": lambda: phase() == "verify",
    }
    try:
        until(lambda: reached[moment]() or run.poll() is not None)
    finally:
        run.kill()
    run.communicate()
    assert run.returncode == -signal.SIGKILL, "the run had ended before it could be killed"
    assert [(entry["label"], entry["verified"]) for entry in site.listed()] == [(good["label"], True)]
    until(lambda: site.dumps_at_work() == 0)
    left = [name for name in site.files if good["label"] not in name and name != ".lock"]
    predicted = site.run(check=True)
    assert sorted(predicted["swept"]) == left
    healed = site.run()
    assert healed.rc == 0, healed.json
    assert sorted(healed["swept"]) == left
    label = healed["backup"]["label"]
    assert site.files == sorted(
        [".lock", *(f"{each}.{kind}" for each in (good["label"], label) for kind in ("dump", "json"))]
    )
    assert site.run("verified").rc == 0


def test_pg_dump_does_not_outlive_us(site: Site) -> None:
    mark = site.directory.parent / "pid"
    run = site.process(bin_dir=site.pg_dump(f"echo $$ > {mark}", run="exec sleep 600"))
    try:
        until(lambda: mark.exists() and mark.read_text().strip())
    finally:
        run.kill()
        run.communicate()
    until(lambda: not Path(f"/proc/{mark.read_text().strip()}").exists())


def test_killed_between_the_dump_and_its_manifest(site: Site) -> None:
    """The dump has its name already; without the manifest it is none, and goes."""
    backup = site.take()
    manifest = site.directory / f"{backup['label']}.json"
    manifest.unlink()
    running = site.directory / f"{backup['label']}.running.json"
    running.write_text(
        json.dumps({"owner": {"host": os.uname().nodename, "boot": "another", "pid": 1, "started": "1"}})
    )
    (site.directory / f".{manifest.name}.abc123").write_text("{")
    assert site.listed() == []
    assert len(site.run()["swept"]) == 3
    assert [name for name in site.files if backup["label"] in name] == []


def test_a_dump_of_unknown_origin_is_left_alone(site: Site) -> None:
    backup = site.take()
    (site.directory / f"{backup['label']}.json").unlink()
    (site.directory / "notes.txt").write_text("mine")
    (entry,) = site.listed()
    assert (entry["verified"], entry["problem"]) == (False, "there is no manifest: this is not a backup")
    result = site.run()
    assert result["swept"] == []
    assert {f"{backup['label']}.dump", "notes.txt"} <= set(site.files)
    assert [entry["label"] for entry in site.run("verified")["backups"]] == [result["backup"]["label"]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_polite_end(site: Site, number: signal.Signals) -> None:
    run = site.process(bin_dir=site.pg_dump("sleep 60"))
    try:
        until(lambda: list(site.directory.glob("*.partial")))
        (running,) = site.run("info")["running"]
        assert (running["phase"], running["owner"]["pid"]) == ("dump", run.pid)
        run.send_signal(number)
        result = json.loads(run.communicate()[0])
    finally:
        run.kill()
    assert (run.returncode, result["code"]) == (1, "STOPPED")
    assert site.files == [".lock"]
    assert site.run("info")["running"] == []


def test_a_directory_that_cannot_be_used(site: Site, tmp_path: Path) -> None:
    site.directory.mkdir()
    site.directory.chmod(0o777)
    (tmp_path / "file").touch()
    for check in (True, False):
        assert site.run(check=check)["code"] == "DIRECTORY_UNSAFE"
        assert site.run(directory=str(tmp_path / "file"), check=check)["code"] == "DIRECTORY_UNUSABLE"


def test_the_server_goes_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    good = site.take()

    def cut(*arguments: Any, **more: Any) -> Any:
        written = programs.dump(*arguments, **more)
        ours = "application_name LIKE 'floyo:backup@%' AND datname = current_database()"
        assert site.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}") == [(True,)]  # noqa: S608
        return written

    monkeypatch.setattr(glue, "dump", cut)
    result = site.run()
    assert result["code"] == "DATABASE_LOST"
    assert site.files == sorted([".lock", f"{good['label']}.dump", f"{good['label']}.json"])


def test_tables_of_extensions_are_left_to_them(site: Site) -> None:
    before = site.take()["manifest"]
    site.sql("CREATE EXTENSION pg_stat_statements SCHEMA public")
    after = site.take()["manifest"]
    assert after["extensions"].keys() - before["extensions"].keys() == {"pg_stat_statements"}
    changed = {kind for kind, facts in before["schema"]["kinds"].items() if after["schema"]["kinds"][kind] != facts}
    assert changed == {"extension"}


# --- state verified --------------------------------------------------------------------------------------------------


def test_sound_backups_verify(site: Site) -> None:
    assert f"there is no backup in {site.directory}" in warnings(site.run("verified"))
    labels = [site.take()["label"] for _ in range(2)]
    before = site.files
    result = site.run("verified", check=True)
    assert site.files == before
    result = site.run("verified")
    assert result["changed"] is False
    assert [entry["label"] for entry in result["backups"]] == labels[::-1]
    one = site.run("verified", label=labels[0])
    assert [entry["label"] for entry in one["backups"]] == labels[:1]
    unknown = site.run("verified", label="20200101T000000Z-000000")
    assert (unknown["code"], labels[1] in unknown["next_step"]) == ("LABEL_UNKNOWN", True)
    mistyped = site.run("verified", label=labels[0][:-1] + "x")
    assert mistyped["next_step"].startswith(f"{labels[0]}, if that was meant;")


@pytest.mark.parametrize("compress", ["gzip:6", "none"])
def test_every_cut_and_every_flipped_bit_is_found(site: Site, compress: str) -> None:
    backup = site.take(compress=compress)
    other = site.take(compress=compress)
    dump = Path(backup["path"])
    whole = dump.read_bytes()
    for tenth in range(10):
        dump.write_bytes(whole[: len(whole) * tenth // 10 + 1])
        result = site.run("verified")
        assert (result["code"], result["damaged"]) == ("BACKUP_DAMAGED", [backup["label"]])
        assert "bytes instead of" in result["msg"]
    for part in range(20):
        place = (len(whole) - 1) * part // 19
        dump.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        result = site.run("verified", label=backup["label"])
        assert result["code"] == "BACKUP_DAMAGED", f"byte {place}"
    listed = {entry["label"]: entry for entry in site.listed()}
    assert not listed[backup["label"]]["verified"], "the list knows what the reading has found"
    assert listed[other["label"]]["verified"]
    dump.write_bytes(whole)
    healed = site.run("verified")
    assert (healed.rc, healed["changed"]) == (0, True)


def test_exchanged_and_edited_files_are_found(site: Site) -> None:
    first, second = site.take(), site.take()
    site.sql("INSERT INTO users VALUES (0, 'more')")
    third = site.take()

    def problems() -> dict[str, str]:
        return {entry["label"]: entry["problem"] for entry in site.listed() if entry["problem"]}

    paths = {each["label"]: Path(each["manifest_path"]) for each in (first, second, third)}
    kept = {label: path.read_text() for label, path in paths.items()}
    paths[first["label"]].write_text(kept[first["label"]].replace("aaaa1111", "bbbb2222"))
    assert problems() == {first["label"]: "the manifest is damaged or was edited: its digest does not fit"}
    paths[first["label"]].write_text(kept[second["label"]])
    assert problems() == {first["label"]: f"the manifest belongs to {second['label']}"}
    forged = glue.seal({**json.loads(kept[second["label"]]), "rows": {}})
    paths[first["label"]].write_text(kept[first["label"]])
    paths[second["label"]].write_text(json.dumps(forged))
    assert problems() == {second["label"]: f"the manifest is not the one that {third['label']} was chained to"}
    assert site.run("verified")["damaged"] == [second["label"]]
    paths[second["label"]].write_text(kept[second["label"]])
    Path(first["path"]).unlink()
    assert problems() == {first["label"]: "the dump is missing"}
    with contextlib.suppress(FileNotFoundError):
        shutil.copy(third["path"], second["path"])
    assert site.run("verified", label=second["label"])["code"] == "BACKUP_DAMAGED"


# --- state info ------------------------------------------------------------------------------------------------------


def test_an_empty_list(site: Site) -> None:
    result = site.run("info")
    assert (result["changed"], result["backups"], result["running"]) == (False, [], [])
    assert not site.directory.exists()


def test_the_list_needs_no_server(site: Site) -> None:
    label = site.take()["label"]
    site.take()
    for check in (True, False):
        result = site.run("info", check=check)
        assert result["changed"] is False
        assert len(result["backups"]) == 2
    assert [entry["label"] for entry in site.run("info", label=label)["backups"]] == [label]
    assert site.run("info", label="nonsense")["code"] == "LABEL_UNKNOWN"
