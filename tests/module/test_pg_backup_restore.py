"""pg_backup puts backups back: restored, swapped_back, drilled, against a real PostgreSQL."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ansible.module_utils.floyo.backup import cluster, copy, glue, restored, store
from ansible.module_utils.floyo.backup.schema import OBJECTS_SQL, fingerprint
from ansible.module_utils.floyo.errors import ConnectionLost
from ansible.module_utils.floyo.postgres.lock import lock_key

# As the owner, who is no superuser: with what restores are known to lose.
TABLES = """
CREATE TABLE alembic_version (version_num text PRIMARY KEY);
INSERT INTO alembic_version VALUES ('aaaa1111');
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE "Odd ""name%" (id int GENERATED ALWAYS AS IDENTITY, m mood, half numeric GENERATED ALWAYS AS (1.5) STORED, f float8);
INSERT INTO "Odd ""name%" (m, f) VALUES ('good', 0.1), (NULL, 'NaN');
CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL, t timestamptz DEFAULT '2025-01-01 00:00+02');
INSERT INTO users (name) SELECT md5(g::text) FROM generate_series(1, 3000) g;
CREATE TABLE events (at date, what text) PARTITION BY RANGE (at);
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO events VALUES ('2025-05-05', 'one');
ALTER TABLE events_2025 ENABLE ROW LEVEL SECURITY;
CREATE VIEW names AS SELECT name FROM users;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM users;
CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END;
CREATE EXTENSION pgcrypto;
SELECT lo_from_bytea(0, 'large'::bytea);
GRANT SELECT, INSERT, UPDATE, DELETE ON users, events TO {app};
GRANT USAGE ON SEQUENCE users_id_seq TO {app};
GRANT USAGE ON SCHEMA public TO {app};
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {app};
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
        time.sleep(0.005)
    return value


class Site:
    """A database with an owner and an application's role as role floyo_postgres makes them, and its backups."""

    def __init__(self, server: Any, directory: Path, run_module: Callable[..., Any]) -> None:
        self.server, self.directory, self._run = server, directory, run_module
        self.database = server.fresh_database(prefix="Live-1").rpartition("/")[2]
        key = self.database.rpartition("_")[2]
        self.owner, self.app = f"own{key}", f"app{key}"
        self.admin(
            f"CREATE ROLE {self.owner} LOGIN PASSWORD 'owner-p4ss' CREATEDB; CREATE ROLE {self.app} LOGIN PASSWORD 'app';"
            f"GRANT {self.app} TO {self.owner}"
        )
        self.admin(f'ALTER DATABASE "{self.database}" OWNER TO {self.owner}')
        self.admin(f'REVOKE ALL ON DATABASE "{self.database}" FROM PUBLIC')
        self.admin(f'GRANT CONNECT ON DATABASE "{self.database}" TO {self.app}')
        self.admin(f'ALTER DATABASE "{self.database}" SET search_path = "$user", public')
        self.admin(f'ALTER DATABASE "{self.database}" CONNECTION LIMIT 40')
        self.sql(TABLES.format(app=self.app))
        self.url = self.url_of(self.database)

    def url_of(self, database: str) -> str:
        return str(self.server.url_for(database, user=self.owner, password="owner-p4ss"))

    def admin(self, text: str) -> list[Any]:
        return list(self.server.sql(text))

    def sql(self, text: str, *, database: str = "", user: str = "", password: str = "") -> list[Any]:
        word = password or "owner-p4ss"
        url = self.server.url_for(database or self.database, user=user or self.owner, password=word)
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(text.encode())
            return list(cursor.fetchall()) if cursor.description else []

    def arguments(self, state: str, **more: Any) -> dict[str, Any]:
        common = {"directory": str(self.directory), "state": state, "lock_wait": 1, "lock_timeout": 5, "min_free": "1K"}
        return {**common, "database_url": self.url, "jobs": 1, **more}

    def run(self, state: str, *, check: bool = False, **more: Any) -> Any:
        return self._run("pg_backup", self.arguments(state, **more), check=check)

    def good(self, state: str, **more: Any) -> Any:
        result = self.run(state, **more)
        assert result.rc == 0, result["msg"]
        return result

    def process(self, state: str, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PROCESS, json.dumps(self.arguments(state, **more))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def take(self) -> str:
        return str(self.good("present")["backup"]["label"])

    def listed(self, label: str) -> dict[str, Any]:
        (entry,) = self.good("info", label=label)["backups"]
        return dict(entry)

    def beside(self) -> list[str]:
        """Databases beside the live one, without its name."""
        rows = self.admin("SELECT datname FROM pg_database")
        return sorted(name[len(self.database) :] for (name,) in rows if name.startswith(f"{self.database}__"))

    def state(self, database: str = "") -> tuple[Any, ...]:
        """Rows, revision and structure."""
        with psycopg.connect(self.url_of(database or self.database)) as connection:
            users = connection.execute("SELECT count(*), sum(hashtext(u::text)) FROM users u").fetchone()
            heads = connection.execute("SELECT * FROM alembic_version").fetchall()
            connection.execute("SET search_path = pg_catalog")
            return users, heads, fingerprint(connection.execute(OBJECTS_SQL.encode()).fetchall())["sha256"]

    def change(self) -> tuple[Any, ...]:
        """What happens after the backup: rows go, a migration comes."""
        self.sql(
            "DELETE FROM users WHERE id > 10; UPDATE alembic_version SET version_num = 'bbbb2222'; ALTER TABLE users ADD x int"
        )
        return self.state()

    def pg_restore(self, before: str = "", run: str = 'exec {real} "$@"') -> str:
        """A directory whose pg_restore is a script: ``before`` when it writes to a database, then the real one."""
        directory = self.directory.parent / f"bin{len(list(self.directory.parent.iterdir()))}"
        directory.mkdir()
        script = directory / "pg_restore"
        real = shlex.quote(str(self.server.bin_dir / "pg_restore"))
        writes = f"{before}\n" + run.format(real=real)
        script.write_text(f'#!/bin/bash\nif [[ "$*" = *--dbname* ]]; then\n{writes}\nelse exec {real} "$@"; fi\n')
        script.chmod(0o755)
        (directory / "pg_dump").symlink_to(self.server.bin_dir / "pg_dump")
        return str(directory)


@pytest.fixture
def site(postgres_server: Any, tmp_path: Path, run_module: Callable[..., Any]) -> Iterator[Site]:
    made = Site(postgres_server, tmp_path / "backups", run_module)
    yield made
    for suffix in ["", *made.beside()]:
        made.admin(f'DROP DATABASE IF EXISTS "{made.database}{suffix}" WITH (FORCE)')
    made.admin(f"DROP ROLE IF EXISTS {made.app}, {made.owner}")


# --- restored --------------------------------------------------------------------------------------------------------


def test_a_restore_brings_back_everything_and_keeps_what_was_live(site: Site) -> None:
    before = site.state()
    label = site.take()
    after = site.change()
    result = site.good("restored", label=label, expected_heads=["aaaa1111"])
    restored = result["restored"]
    assert site.state() == before
    assert site.beside() == [restored["kept"][len(site.database) :]]
    assert site.state(restored["kept"]) == after
    assert (restored["heads"], restored["rows"]) == (["aaaa1111"], 3004)
    safety = site.listed(restored["safety_backup"])
    assert (safety["heads"], safety["reason"]) == (["bbbb2222"], f"before the restore of {label}")
    assert site.listed(label)["seconds"] > 0
    # As the application: it can connect, read and write, and reach nothing of what is kept.
    as_app = {"user": site.app, "password": "app"}
    site.sql("INSERT INTO users (name) VALUES ('new')", **as_app)
    assert site.sql("SELECT max(id) FROM users", **as_app) == [(3001,)], "sequences go on"
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        site.sql("SELECT 1", database=restored["kept"], **as_app)
    # What belongs to the database itself.
    assert site.sql("SHOW search_path") == [('"$user", public',)]
    traits = dict(site.admin("SELECT datname, (datconnlimit, datallowconn)::text FROM pg_database"))
    assert traits[site.database] == "(40,t)"
    site.sql("CREATE TABLE later (a int)")
    assert site.sql("SELECT * FROM later", **as_app) == [], "default rights are there again"
    assert site.sql("SELECT lo_get(oid) FROM pg_largeobject_metadata") == [(b"large",)]
    assert site.sql("SELECT count > 0 FROM counted") == [(True,)]
    planned = site.sql("SELECT reltuples FROM pg_class WHERE relname = 'users'")
    assert planned == [(3000.0,)], "the planner has its numbers"


def test_check_mode_predicts_a_restore(site: Site) -> None:
    label = site.take()
    before, files = site.state(), sorted(site.directory.iterdir())
    result = site.good("restored", label=label, check=True)
    assert (result["changed"], result["restored"], result["plan"]["backup"]) == (True, {}, label)
    assert (site.state(), site.beside(), sorted(site.directory.iterdir())) == (before, [], files)


def test_swap_back_and_no_further(site: Site) -> None:
    label = site.take()
    after = site.change()
    kept = site.good("restored", label=label)["restored"]["kept"]
    restored = site.state()
    assert site.good("swapped_back", check=True)["changed"] is True
    assert site.state() == restored
    assert site.run("swapped_back", expected_heads=["aaaa1111"])["code"] == "OTHER_HEADS"
    result = site.good("swapped_back", expected_heads=["bbbb2222"])["swapped_back"]
    assert (result["from"], result["heads"]) == (kept, ["bbbb2222"])
    assert site.state() == after
    site.sql("INSERT INTO users (name) VALUES ('new')", user=site.app, password="app")
    assert site.state(result["kept"]) == restored
    assert site.run("swapped_back")["code"] == "NOTHING_TO_SWAP_BACK", "a second run does not turn it around again"
    assert site.good("swapped_back", kept_database=result["kept"])["swapped_back"]["from"] == result["kept"]
    assert site.state() == restored


def test_a_swap_back_in_time_only(site: Site) -> None:
    site.good("restored", label=site.take(), safety_backup=False)
    refused = site.run("swapped_back", keep_old=0)
    assert (refused["code"], "hours ago" in refused["msg"]) == ("TOO_OLD", True)


def test_clients_that_never_give_up(site: Site) -> None:
    """They come back at once when they are ended, and still the exchange takes place; they never see a mixture."""
    label = site.take()
    site.sql("UPDATE users SET name = 'after'; UPDATE alembic_version SET version_num = 'bbbb2222'")
    over, seen, lost = threading.Event(), set(), []

    def client() -> None:
        while not over.is_set():
            try:
                url = site.server.url_for(site.database, user=site.app, password="app")
                with psycopg.connect(url, autocommit=True) as connection:
                    while not over.is_set():
                        row = connection.execute("SELECT count(*) FILTER (WHERE name = 'after'), count(*) FROM users")
                        seen.add(row.fetchone())
            except psycopg.Error as error:
                lost.append(str(error))

    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    try:
        until(lambda: seen)
        site.good("restored", label=label, safety_backup=False)
        until(lambda: (0, 3000) in seen)
    finally:
        over.set()
        for thread in clients:
            thread.join()
    assert seen == {(3000, 3000), (0, 3000)}
    assert lost
    # Ended while it worked, while it logged in, or turned away between the two names.
    ways = ("terminating connection", "server closed the connection", "does not exist")
    assert all(any(way in text for way in ways) for text in lost), lost


def test_a_session_that_we_may_not_end(site: Site) -> None:
    label = site.take()
    with psycopg.connect(site.server.url_for(site.database), application_name="dba"):
        result = site.run("restored", label=label)
        assert (result["code"], "(dba, user postgres)" in result["msg"]) == ("SESSIONS_LEFT", True)
        assert site.beside() == []
        # Who may end it, does.
        site.good("restored", label=label, maintenance_url=site.server.url, safety_backup=False)


def test_a_session_that_comes_late_and_stays(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    label, before = site.take(), site.change()
    with psycopg.connect(site.server.url_for(site.database), application_name="dba"):
        monkeypatch.setattr(restored._Exchange, "require_movable", lambda _self: None)
        result = site.run("restored", label=label, safety_backup=False, swap_wait=0)
    assert (result["code"], "dba" in result["msg"]) == ("SESSIONS_LEFT", True)
    assert (site.state(), site.beside()) == (before, [])
    assert site.sql("SELECT 1", user=site.app, password="app") == [(1,)], "the live database is open"


def test_the_connection_is_lost_at_the_commit(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the server knows how it ended; we ask."""
    label, real = site.take(), cluster.Cluster.exchange
    site.change()

    def lost(self: cluster.Cluster, *arguments: Any) -> None:
        real(self, *arguments)
        raise ConnectionLost("cut", code="DATABASE_LOST")

    monkeypatch.setattr(cluster.Cluster, "exchange", lost)
    result = site.good("restored", label=label, safety_backup=False)
    assert "has taken place" in json.dumps(result["warnings"])
    assert site.state()[1] == [("aaaa1111",)]


def test_the_live_database_is_gone(site: Site) -> None:
    label, before = site.take(), site.state()
    site.admin(f'DROP DATABASE "{site.database}"')
    result = site.good("restored", label=label, application_role=site.app)
    assert (result["restored"]["kept"], result["restored"]["safety_backup"]) == ("", "")
    assert site.state() == before
    assert site.sql("SELECT count(*) FROM users", user=site.app, password="app") == [(3000,)]


def test_a_restore_needs_a_label_and_the_expected_backup(site: Site) -> None:
    label = site.take()
    assert label in site.run("restored")["next_step"]
    assert site.run("restored", label=label, expected_heads=["bbbb2222"])["code"] == "OTHER_HEADS"
    assert site.run("restored", label=label, expected_schema="00")["code"] == "OTHER_SCHEMA"
    other = site.server.fresh_database().rpartition("/")[2]
    assert site.run("restored", label=label, database_url=site.url_of(other))["code"] == "OTHER_DATABASE"


def test_a_damaged_backup_is_not_restored(site: Site) -> None:
    label, before = site.take(), site.state()
    dump = site.directory / f"{label}.dump"
    data = bytearray(dump.read_bytes())
    data[-500] ^= 1
    dump.write_bytes(data)
    for check in (True, False):
        assert site.run("restored", label=label, check=check)["code"] == "BACKUP_DAMAGED"
    assert (site.state(), site.beside()) == (before, [])
    assert site.listed(label)["verified"] is False, "the list knows"


def test_what_the_server_lacks_is_found_first(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    label = site.take()
    site.admin(f"ALTER ROLE {site.owner} NOCREATEDB")
    result = site.run("restored", label=label)
    assert (result["code"], result["lacking"]) == ("RIGHTS_MISSING", ["CREATEDB"])
    site.admin(f"ALTER ROLE {site.owner} CREATEDB")
    manifest = json.loads((site.directory / f"{label}.json").read_text())
    for change, code in (
        ({"roles": ["nobody1"]}, "ROLES_MISSING"),
        ({"extensions": {"postgis": "1"}}, "EXTENSION_MISSING"),
        ({"extensions": {"pg_stat_statements": "1.10"}}, "EXTENSION_RIGHTS"),
        ({"server": {**manifest["server"], "version": "99.1"}}, "SERVER_OLDER"),
    ):
        (site.directory / f"{label}.json").write_text(json.dumps(glue.seal({**manifest, **change})))
        assert site.run("restored", label=label, check=True)["code"] == code
    (site.directory / f"{label}.json").write_text(json.dumps(glue.seal({**manifest, "database_bytes": 1 << 60})))
    result = site.run("restored", label=label, data_directory=str(site.directory))
    assert (result["code"], "second database" in result["msg"]) == ("DISK_FULL", True)
    assert site.beside() == []


def test_an_extension_that_only_a_superuser_creates(site: Site) -> None:
    site.server.sql("CREATE SCHEMA stats; CREATE EXTENSION pg_stat_statements SCHEMA stats", database=site.database)
    site.server.sql(f"ALTER SCHEMA stats OWNER TO {site.owner}", database=site.database)
    label, before = site.take(), site.state()
    site.good("restored", label=label, maintenance_url=site.server.url, safety_backup=False)
    assert site.state() == before


def test_a_role_that_is_gone(site: Site) -> None:
    """The backup's rights cannot be given; the application's role gets the usual ones when that is asked for."""
    site.admin("CREATE ROLE passing")
    try:
        site.sql("GRANT SELECT ON users TO passing")
        label = site.take()
    finally:
        site.server.sql("DROP OWNED BY passing; DROP ROLE passing", database=site.database)
    refused = site.run("restored", label=label)
    assert (refused["code"], refused["roles"]) == ("ROLES_MISSING", ["passing"])
    site.good("restored", label=label, application_role=site.app, safety_backup=False)
    site.sql("INSERT INTO events VALUES ('2025-06-06', 'two')", user=site.app, password="app")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        site.sql("DROP TABLE users", user=site.app, password="app")


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ('pg_restore: error: could not execute query: ERROR:  role "x" does not exist', "ROLES_MISSING"),
        ("pg_restore: error: ERROR:  could not extend file: No space left on device", "DISK_FULL"),
        ("pg_restore: error: nonsense", "RESTORE_FAILED"),
    ],
)
def test_a_restore_that_fails_half_way(site: Site, output: str, code: str) -> None:
    label, before = site.take(), site.change()
    programs = site.pg_restore(run=f'{{real}} "$@"; echo {shlex.quote(output)} >&2; exit 1')
    result = site.run("restored", label=label, bin_dir=programs, safety_backup=False)
    assert (result["code"], "as it was" in result["next_step"]) == (code, True)
    assert (site.state(), site.beside()) == (before, [])


def test_a_restore_that_says_nothing_and_loses_rows(site: Site) -> None:
    label, before = site.take(), site.change()
    psql = shlex.quote(str(site.server.bin_dir / "psql"))
    update = "UPDATE users SET name = 0::text WHERE id = 7"
    lose = f'name=$(sed "s/.*dbname=\'//; s/\'.*//" <<< "$*"); PGDATABASE="$name" {psql} -qc "{update}"'
    programs = site.pg_restore(run=f'{{real}} "$@" && {lose}')
    result = site.run("restored", label=label, bin_dir=programs, safety_backup=False)
    assert result["code"] == "RESTORE_DIFFERS", result.json
    assert result["differences"] == ["public.users has other values in its 3000 rows"]
    assert (site.state(), site.beside()) == (before, [])


def test_no_safety_backup_no_restore(site: Site) -> None:
    label, before = site.take(), site.state()
    with closing(psycopg.connect(site.url, autocommit=True, application_name="floyo:migrate@db1:77")) as other:
        other.execute(f"SELECT pg_advisory_lock({lock_key(site.database)})".encode())
        result = site.run("restored", label=label, lock_wait=0)
        assert (result["code"], "floyo:migrate@db1:77" in result["msg"]) == ("LOCK_HELD", True)
        assert "safety_backup=false" in result["next_step"]
    assert (site.state(), site.beside()) == (before, [])


def test_the_password_of_a_restore_is_in_no_argument(site: Site) -> None:
    label = site.take()
    seen = site.directory.parent / "seen"
    site.good("restored", label=label, bin_dir=site.pg_restore(f"cat /proc/[0-9]*/cmdline > {seen}"))
    assert b"--exit-on-error" in seen.read_bytes()
    assert b"owner-p4ss" not in seen.read_bytes()


def test_two_restores_at_once(site: Site) -> None:
    label = site.take()
    with closing(psycopg.connect(site.server.url, autocommit=True, application_name="floyo:restore@db2:5")) as other:
        other.execute(f"SELECT pg_advisory_lock({lock_key(site.database, domain='floyo:restore')})".encode())
        result = site.run("restored", label=label, lock_wait=0)
        assert (result["code"], "floyo:restore@db2:5" in result["msg"]) == ("LOCK_HELD", True)
        assert site.run("swapped_back", lock_wait=0)["code"] == "LOCK_HELD"
        site.good("drilled")


@pytest.mark.parametrize(
    ("state", "moment"),
    [
        *(("restored", moment) for moment in ("made", "half", "full", "exchange", "after")),
        ("swapped_back", "exchange"),
        ("swapped_back", "after"),
    ],
)
def test_killed_at_any_moment(site: Site, state: str, moment: str) -> None:
    """kill -9: the live database is the old or the new one, whole and open, and the next run leaves nothing behind."""
    site.sql("CREATE TABLE big AS SELECT g, md5(g::text) AS x FROM generate_series(1, 50000) g")
    label, good = site.take(), site.state()
    after = site.change()
    options: dict[str, Any] = {"safety_backup": False}
    if state == "swapped_back":
        site.good("restored", label=label, **options)
        options = {}
    else:
        options["label"] = label
    full = site.directory.parent / "full"
    if moment == "full":
        options["bin_dir"] = site.pg_restore(run=f'{{real}} "$@"; touch {full}; exec sleep 60')

    def scratch() -> list[str]:
        return [name for name in site.beside() if "__restore_" in name]

    def reached() -> Any:
        if moment == "made":
            return scratch()
        if moment == "full":
            return full.exists()
        if moment == "half":
            names = scratch()
            return names and site.admin(f"SELECT pg_database_size('{site.database}{names[0]}')")[0][0] > 9_500_000
        if moment == "exchange":
            rows = site.admin("SELECT query FROM pg_stat_activity WHERE state = 'active'")
            return [query for (query,) in rows if query.startswith(f'ALTER DATABASE "{site.database}" RENAME')]
        return [name for name in site.beside() if ("__old_" if state == "restored" else "__undone_") in name]

    with stuck_session(site) if moment == "exchange" else nothing():
        run = site.process(state, **{**options, "swap_wait": 60})
        try:
            until(lambda: reached() or run.poll() is not None)
        finally:
            run.kill()
        out, err = run.communicate()
        assert run.returncode in (-signal.SIGKILL, 0), out + err
        if moment != "after":
            assert run.returncode == -signal.SIGKILL, out + err
    now = site.state()
    assert now in (good, after)
    if moment == "after":
        assert now == (good if state == "restored" else after)
    else:
        assert now == (after if state == "restored" else good)
    assert site.sql("SELECT 1", user=site.app, password="app") == [(1,)], "the live database is open"
    healed = site.good("restored", label=label, safety_backup=False, lock_wait=30)
    assert site.state() == good
    assert scratch() == []
    if moment in ("made", "half", "full"):
        assert len(healed["swept"]) == 1
    assert not list(site.directory.glob("*.running.json"))


@contextmanager
def nothing() -> Iterator[None]:
    yield


@contextmanager
def stuck_session(site: Site) -> Iterator[None]:
    """A backend that cannot be ended for a while: it is stopped, and leaves when it goes on."""
    with closing(psycopg.connect(site.url)) as other:
        pid = other.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)
    until(lambda: (pid,) not in site.admin("SELECT pid FROM pg_stat_activity"))
    until(lambda: not site.admin("SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'floyo:restore@%'"))


def test_a_polite_end(site: Site) -> None:
    label, before = site.take(), site.change()
    run = site.process("restored", label=label, safety_backup=False, bin_dir=site.pg_restore("exec sleep 60"))
    try:
        until(lambda: site.beside())
        run.send_signal(signal.SIGTERM)
        result = json.loads(run.communicate()[0])
    finally:
        run.kill()
    assert (run.returncode, result["code"]) == (1, "STOPPED")
    assert (site.state(), site.beside()) == (before, [])


# --- drilled ---------------------------------------------------------------------------------------------------------


def test_a_drill_measures_and_leaves_nothing(site: Site) -> None:
    older, newest = site.take(), site.take()
    before = site.state()
    predicted = site.good("drilled", check=True)
    assert (predicted["changed"], predicted["drill"]) == (True, {})
    assert site.listed(newest)["drilled_at"] == ""
    drill = site.good("drilled", jobs=0)["drill"]
    assert (drill["label"], drill["rows"], drill["heads"], drill["hashed"]) == (newest, 3004, ["aaaa1111"], True)
    entry = site.listed(newest)
    assert entry["seconds"] == drill["seconds"] > 0
    assert entry["drilled_at"]
    assert (site.state(), site.beside()) == (before, [])
    assert site.good("drilled", label=older)["drill"]["label"] == older
    assert site.listed(older)["seconds"] > 0


def test_a_drill_while_the_application_works_and_roles_are_missing(site: Site) -> None:
    site.admin("CREATE ROLE passing2")
    try:
        site.sql("GRANT SELECT ON users TO passing2")
        site.take()
    finally:
        site.server.sql("DROP OWNED BY passing2; DROP ROLE passing2", database=site.database)
    with closing(psycopg.connect(site.url)) as other:
        other.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        site.good("drilled")


def test_a_drill_that_finds_something(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    label = site.take()
    before = site.listed(label)
    real = copy.differences
    monkeypatch.setattr(
        copy, "differences", lambda *arguments: [*real(*arguments), "public.users has 1 rows instead of 2"]
    )
    result = site.run("drilled")
    assert (result["code"], site.beside()) == ("RESTORE_DIFFERS", [])
    entry = site.listed(label)
    assert (entry["verified"], entry["drilled_at"], "1 rows instead of 2" in entry["problem"]) == (False, "", True)
    assert site.run("restored", label=label)["code"] == "BACKUP_DAMAGED"
    assert site.run("drilled")["code"] == "NO_BACKUP"
    monkeypatch.undo()
    site.good("drilled", label=label)
    assert site.listed(label)["verified"] is before["verified"] is True


def test_somebody_whom_we_may_not_end_is_in_the_copy(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Autovacuum comes to a new database by itself. Here a superuser's session stands for it, which leaves soon."""
    site.take()
    real, forced = copy.Copy.settle, []

    def settle(self: copy.Copy, name: str) -> Any:
        found = real(self, name)
        other = psycopg.connect(site.server.url_for(name))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            site.sql(f'DROP DATABASE "{name}" WITH (FORCE)')
        forced.append(name)
        timer = threading.Timer(1.0, other.close)
        timer.daemon = True
        timer.start()
        return found

    monkeypatch.setattr(copy.Copy, "settle", settle)
    site.good("drilled")
    assert (len(forced), site.beside()) == (1, [])


def test_a_drill_without_backups(site: Site) -> None:
    assert site.run("drilled")["code"] == "NO_BACKUP"
    assert site.run("drilled", label="20200101T000000Z-000000")["code"] == "LABEL_UNKNOWN"


def test_a_killed_drill_is_swept_by_the_next_restore_or_drill(site: Site) -> None:
    label = site.take()
    run = site.process("drilled", bin_dir=site.pg_restore("exec sleep 60"))
    try:
        until(site.beside)
        assert site.run("drilled", lock_wait=0)["code"] == "LOCK_HELD"
    finally:
        run.kill()
        run.communicate()
    assert len(site.beside()) == 1
    until(lambda: not site.admin("SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'floyo:drill@%' AND pid IN"
                                 " (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"))  # fmt: skip
    result = site.good("restored", label=label, safety_backup=False)
    assert len(result["swept"]) == 1
    assert [name for name in site.beside() if "__drill_" in name] == []


# --- pruned, checked -------------------------------------------------------------------------------------------------


def labels_of(site: Site) -> list[str]:
    return [entry["label"] for entry in site.good("info")["backups"]]


def test_what_nobody_needs_goes(site: Site) -> None:
    labels = [site.take() for _ in range(4)]
    site.good("drilled", label=labels[0])
    keep = {"last": 1, "daily": 0, "weekly": 0, "monthly": 0}
    predicted = site.good("pruned", keep=keep, pinned=[labels[1]], check=True)
    assert (predicted["removed"], predicted["changed"]) == ([labels[2]], True)
    assert labels_of(site) == labels[::-1]
    result = site.good("pruned", keep=keep, pinned=[labels[1]])
    assert {key: result[key] for key in ("removed", "kept", "freed")} == {
        key: predicted[key] for key in ("removed", "kept", "freed")
    }
    assert [(each["label"], each["reasons"]) for each in result["kept"]] == [
        (labels[3], ["last", "newest sound one"]), (labels[1], ["pinned"]), (labels[0], ["newest drilled one"])
    ]  # fmt: skip
    assert not list(site.directory.glob(f"{labels[2]}*"))
    assert site.good("pruned", keep=keep, pinned=[labels[1]])["changed"] is False
    assert site.run("verified").rc == 0
    assert site.run("pruned", keep={"last": 0})["code"] == "KEEP_UNUSABLE"
    assert site.run("pruned", keep={"first": 1})["code"] == "KEEP_UNUSABLE"


def test_the_newest_is_read_before_others_go_in_trust_of_it(site: Site) -> None:
    labels = [site.take() for _ in range(3)]
    dump = site.directory / f"{labels[2]}.dump"
    data = bytearray(dump.read_bytes())
    data[-1000] ^= 1
    dump.write_bytes(data)
    keep = {"last": 1, "daily": 0, "weekly": 0, "monthly": 0}
    for check in (True, False):
        assert site.good("pruned", keep=keep, check=check)["removed"] == [labels[0]]
    assert labels_of(site) == labels[:0:-1]
    assert site.listed(labels[2])["verified"] is False


def test_killed_while_pruning(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each file: what is left is a whole backup or is swept, and the others are untouched."""
    real, keep = os.unlink, {"last": 1, "daily": 0, "weekly": 0, "monthly": 0}

    class Killed(BaseException):
        pass

    for point in ("rename", ".checked.json", ".drilled.json", ".dump", ".running.json"):
        oldest, newest = site.take(), site.take()
        site.good("verified", label=oldest)

        def unlink(path: Any, *more: Any, point: str = point, **named: Any) -> None:
            if str(path).endswith(point):
                raise Killed
            real(path, *more, **named)

        def rename(*_: Any, point: str = point) -> None:
            raise Killed

        monkeypatch.setattr(store.os, "unlink", unlink)
        if point == "rename":
            monkeypatch.setattr(store.os, "rename", rename)
        with pytest.raises(Killed):
            site.run("pruned", keep=keep)
        monkeypatch.undo()
        whole = point == "rename"
        listed = site.good("info")["backups"]
        assert [each["label"] for each in listed] == ([newest, oldest] if whole else [newest])
        assert all(each["verified"] for each in listed)
        site.good("pruned", keep={"last": 2})
        assert bool(list(site.directory.glob(f"{oldest}*"))) is whole
        assert not list(site.directory.glob("*.running.json"))
        site.good("pruned", keep=keep)
        (site.directory / f"{newest}.json").unlink()
        (site.directory / f"{newest}.dump").unlink()


def test_a_full_disk_can_be_pruned_and_restored_from(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one byte can be written into the directory of backups any more."""
    labels = [site.take() for _ in range(3)]
    before, _ = site.state(), site.change()
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(site.directory))
    real = os.open

    def no_room(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_CREAT and str(path).startswith(str(site.directory)) and not str(path).endswith(".lock"):
            raise full
        return real(path, flags, *more, **named)

    def no_bytes(*_: Any) -> int:
        raise full

    monkeypatch.setattr(store.os, "open", no_room)
    monkeypatch.setattr(store.os, "pwrite", no_bytes)
    removed = site.good("pruned", keep={"last": 1, "daily": 0, "weekly": 0, "monthly": 0})["removed"]
    assert removed == [labels[1], labels[0]]
    slow = site.pg_restore(run='sleep 1.5; exec {real} "$@"')  # long enough to report how far it has come
    result = site.good("restored", label=labels[2], safety_backup=False, bin_dir=slow)
    assert "could not be noted" in json.dumps(result["warnings"])
    assert site.state() == before


def test_a_note_of_a_killed_look_does_not_stay_for_ever(site: Site) -> None:
    label = site.take()
    left, gone = (
        site.directory / f".{label}.checked.json.k2_x9",
        site.directory / "20200101T000000Z-aaaaaa.checked.json",
    )
    left.touch()
    gone.touch()
    assert site.good("present")["swept"] == [gone.name]
    os.utime(left, (1, 1))
    assert site.good("present")["swept"] == [left.name]


def test_the_connection_ends_with_the_exchange(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has taken place; that nothing can be dropped any more by this connection is no failure."""
    label, real = site.take(), cluster.Cluster.exchange
    before, _ = site.state(), site.change()

    def lost(self: cluster.Cluster, *arguments: Any) -> None:
        real(self, *arguments)
        self.close()
        raise ConnectionLost("cut", code="DATABASE_LOST")

    monkeypatch.setattr(cluster.Cluster, "exchange", lost)
    monkeypatch.setattr(cluster.Cluster, "drop", lambda *_: (_ for _ in ()).throw(ConnectionLost("gone")))
    site.good("restored", label=label, safety_backup=False)
    assert site.state() == before


def test_a_sequence_that_came_back_too_low(site: Site) -> None:
    label, before = site.take(), site.change()
    psql = shlex.quote(str(site.server.bin_dir / "psql"))
    name = 'name=$(sed "s/.*dbname=\'//; s/\'.*//" <<< "$*")'
    lose = f'{name}; PGDATABASE="$name" {psql} -qAtc "SELECT setval(\'users_id_seq\', 7)"'
    result = site.run(
        "restored", label=label, bin_dir=site.pg_restore(run=f'{{real}} "$@" && {lose}'), safety_backup=False
    )
    assert result["code"] == "RESTORE_DIFFERS", result.json
    assert result["differences"] == ["sequence public.users_id_seq is at 7 instead of 3000"]
    assert (site.state(), site.beside()) == (before, [])


def test_databases_of_earlier_restores_go_when_their_time_is_over(site: Site) -> None:
    kept = site.good("restored", label=site.take())["restored"]["kept"]
    assert site.good("pruned")["databases"] == []
    assert site.good("pruned", keep_old=-1, check=True)["databases"] == [kept]
    assert len(site.beside()) == 1
    assert site.good("pruned", keep_old=-1)["databases"] == [kept]
    assert site.beside() == []


def test_can_the_backups_be_relied_on(site: Site) -> None:
    refused = site.run("checked")
    assert (refused["code"], refused["verdict"]) == ("BACKUPS_UNFIT", "fail")
    assert "0 sound backups" in refused["msg"]
    label = site.take()
    result = site.good("checked", limits={"redundancy_warn": 1})
    assert {each["check"]: each["result"] for each in result["checks"]} == {
        "redundancy": "pass", "age": "pass", "size": "pass", "drill": "warn", "soundness": "pass", "room": "pass",
        "identity": "pass",
    }  # fmt: skip
    assert "none was ever restored" in json.dumps(result["warnings"])
    site.good("drilled")
    assert site.good("checked", limits={"redundancy_warn": 1}, database_url="")["verdict"] == "pass"
    (site.directory / f"{label}.dump").unlink()
    result = site.run("checked")
    assert (result["code"], "the dump is missing" in result["msg"]) == ("BACKUPS_UNFIT", True)
    assert site.run("checked", limits={"mood": 1})["code"] == "LIMITS_UNKNOWN"
