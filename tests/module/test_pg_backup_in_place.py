"""pg_backup restores into the live database, in one transaction, where the account may not make another one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ansible.module_utils.floyo.backup import cluster, copy, in_place
from ansible.module_utils.floyo.errors import ConnectionLost
from ansible.module_utils.floyo.postgres.url import parse_url
from tests.module import test_pg_backup_restore as restores

until = restores.until


class Site(restores.Site):
    """The owner lacks CREATEDB."""

    def in_place(self, label: str, **more: Any) -> dict[str, Any]:
        return {"state": "restored", "label": label, "accept_in_place": True, **more}

    def refused(self, label: str, **more: Any) -> Any:
        result = self.run(**self.in_place(label, **more))
        assert result.rc == 1, result.json
        return result

    def restore(self, label: str, **more: Any) -> Any:
        return self.good(**self.in_place(label, **more))

    def later(self) -> tuple[Any, ...]:
        """What came after the backup, in the way of it: a table that needs one of the backup's, and a view on it."""
        self.sql(
            "CREATE TABLE later (u int REFERENCES users); CREATE VIEW late AS SELECT l.u, n.name FROM later l, names n"
        )
        self.sql("SELECT lo_from_bytea(0, 'later'::bytea)")
        return self.change()

    def as_app(self, text: str) -> list[Any]:
        return self.sql(text, user=self.app, password="app")


@pytest.fixture
def site(postgres_server: Any, tmp_path: Path, run_module: Callable[..., Any]) -> Iterator[Site]:
    made = Site(postgres_server, tmp_path / "backups", run_module)
    made.admin(f"ALTER ROLE {made.owner} NOCREATEDB")
    yield made
    made.admin(f'DROP DATABASE IF EXISTS "{made.database}" WITH (FORCE)')
    made.admin(f"DROP ROLE IF EXISTS {made.app}, {made.owner}")


def test_four_runs(site: Site) -> None:
    before, label = site.state(), site.take()
    after = site.later()
    files = sorted(site.directory.iterdir())
    predicted = site.restore(label, check=True)
    assert (predicted["changed"], predicted["restored"], predicted["plan"]["in_place"]) == (True, {}, True)
    assert (site.state(), sorted(site.directory.iterdir())) == (after, files)
    result = site.restore(label)
    restored = result["restored"]
    assert result["plan"]["in_place"] is True
    assert (restored["kept"], restored["rows"], restored["heads"]) == ("", 3004, ["aaaa1111"])
    assert (site.state(), site.beside()) == (before, [])
    assert site.sql("SELECT lo_get(oid) FROM pg_largeobject_metadata") == [(b"large",)]
    assert site.listed(label)["seconds"] > 0
    # As the application, with the rights that it had; what belongs to the database itself was not touched.
    site.as_app("INSERT INTO users (name) VALUES ('new')")
    assert site.as_app("SELECT max(id) FROM users") == [(3001,)]
    assert site.sql("SHOW search_path") == [('"$user", public',)]
    site.sql("CREATE TABLE fresh (a int)")
    assert site.as_app("SELECT * FROM fresh") == [], "default rights are there again"
    assert site.sql("SELECT reltuples FROM pg_class WHERE relname = 'users'") == [(3000.0,)], (
        "the planner has its numbers"
    )
    # The way back is the safety backup.
    assert site.run("swapped_back").rc == 1
    site.restore(label, check=True)
    site.restore(label)
    assert site.state() == before
    site.restore(restored["safety_backup"])
    assert site.state() == after


def test_it_has_to_be_agreed_to_and_is_not_done_where_it_need_not(site: Site) -> None:
    label, before = site.take(), site.change()
    for check in (True, False):
        refused = site.run("restored", label=label, check=check)
        assert (refused["code"], "accept_in_place" in refused["next_step"]) == ("RIGHTS_MISSING", True)
    assert site.state() == before
    site.admin(f"ALTER ROLE {site.owner} CREATEDB")
    result = site.restore(label, safety_backup=False)
    assert (bool(result["restored"]["kept"]), "in_place" in result["plan"]) == (True, False)
    site.admin(f'DROP DATABASE "{result["restored"]["kept"]}"')


def test_what_cannot_be_in_one_transaction(site: Site) -> None:
    label = site.good("present", format="directory")["backup"]["label"]
    before = site.change()
    for check in (True, False):
        refused = site.refused(label, jobs=2, check=check)
        assert (refused["code"], "one transaction" in refused["msg"]) == ("JOBS_UNUSABLE", True)
        assert site.refused(label, safety_backup=False, check=check)["code"] == "NO_WAY_BACK"
    assert site.state() == before
    site.restore(label, jobs=0)
    assert site.state()[1] == [("aaaa1111",)]


def test_an_encrypted_backup(site: Site, tmp_path: Path) -> None:
    before, key = site.state(), tmp_path / "key"
    subprocess.run(["age-keygen", "-o", key], check=True, capture_output=True)
    public = subprocess.run(["age-keygen", "-y", key], check=True, capture_output=True, text=True).stdout.strip()
    options: dict[str, Any] = {"recipients": [public], "identity_file": str(key)}
    label = site.good("present", **options)["backup"]["label"]
    site.later()
    restored = site.restore(label, **options)["restored"]
    assert site.state() == before
    assert site.listed(restored["safety_backup"])["encrypted"] is True


def test_what_belongs_to_others(site: Site) -> None:
    site.server.sql("CREATE TABLE theirs (a int); CREATE FUNCTION theirs() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                    database=site.database)  # fmt: skip
    site.server.sql(f"GRANT SELECT ON theirs TO {site.owner}", database=site.database)
    label, before = site.take(), site.change()
    for check in (True, False):
        refused = site.refused(label, check=check)
        assert (refused["code"], len(refused["objects"])) == ("OTHER_OWNERS", 2)
        assert "table public.theirs (of postgres)" in refused["msg"]
    assert site.state() == before


def test_an_extension_that_only_a_superuser_creates_stays(site: Site) -> None:
    site.server.sql("CREATE EXTENSION pg_stat_statements", database=site.database)
    site.server.sql(f"ALTER SCHEMA public OWNER TO {site.owner}", database=site.database)
    before, label = site.state(), site.take()
    site.later()
    site.restore(label)
    assert site.state() == before
    owner = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'public'"
    assert site.sql(owner) == [(site.owner,)]
    site.server.sql("DROP EXTENSION pg_stat_statements", database=site.database)
    assert site.refused(label)["code"] == "EXTENSION_RIGHTS"


def test_sessions_that_keep_a_table_are_ended_and_others_wait(site: Site) -> None:
    before, label = site.state(), site.take()
    site.change()
    found: list[Any] = []
    with closing(psycopg.connect(site.server.url_for(site.database, user=site.app, password="app"))) as keeper:
        keeper.execute("SELECT count(*) FROM users")
        with closing(psycopg.connect(site.server.url_for(site.database, user=site.app, password="app"))) as idle:
            site.restore(label, lock_timeout=5)
            found.append(idle.execute("SELECT count(*) FROM users").fetchone())
        with pytest.raises(psycopg.OperationalError):
            keeper.execute("SELECT 1")
    assert found == [(3000,)]
    assert site.state() == before


def test_a_session_that_we_may_not_end(site: Site) -> None:
    label, before = site.take(), site.change()
    with psycopg.connect(site.server.url_for(site.database), application_name="dba") as other:
        other.execute("SELECT count(*) FROM users")
        refused = site.refused(label, lock_timeout=1)
    assert (refused["code"], "(dba, user postgres)" in refused["msg"]) == ("TABLE_LOCKED", True)
    assert site.state() == before


def test_who_stayed_is_named_after_the_wait_too(site: Site) -> None:
    """A last look may come when the wait is over, and finds nobody who waits."""
    url = site.server.url_for(site.database)
    with (
        closing(cluster.Cluster(parse_url(site.url), "floyo:restore")) as looking,
        psycopg.connect(url, application_name="dba") as other,
        psycopg.connect(url) as waiter,
    ):
        other.execute("SELECT count(*) FROM users")
        waiter.execute("SET lock_timeout = '2s'")
        with looking.making_way(waiter.info.backend_pid) as stay:
            with pytest.raises(psycopg.errors.LockNotAvailable):
                waiter.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            time.sleep(20 * cluster._TICK)
            assert stay == [f"pid {other.info.backend_pid} (dba, user postgres)"]


def test_readers_see_the_old_or_the_new(site: Site) -> None:
    label = site.take()
    site.sql("UPDATE users SET name = 'after'")
    over, seen, lost = threading.Event(), set(), []

    def client() -> None:
        while not over.is_set():
            try:
                with psycopg.connect(site.server.url_for(site.database, user=site.app, password="app")) as connection:
                    row = connection.execute("SELECT count(*) FILTER (WHERE name = 'after'), count(*) FROM users")
                    seen.add(row.fetchone())
            except psycopg.Error as error:
                lost.append(str(error))

    clients = [threading.Thread(target=client) for _ in range(3)]
    for thread in clients:
        thread.start()
    try:
        until(lambda: seen)
        site.restore(label)
        until(lambda: (0, 3000) in seen)
    finally:
        over.set()
        for thread in clients:
            thread.join()
    assert seen == {(3000, 3000), (0, 3000)}


def test_what_comes_back_otherwise_is_not_committed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    label, before = site.take(), site.later()
    real = copy.differences
    monkeypatch.setattr(copy, "differences", lambda *words: [*real(*words), "public.users has 1 rows instead of 2"])
    assert site.refused(label)["code"] == "RESTORE_DIFFERS"
    assert site.state() == before
    assert site.as_app("SELECT count(*) FROM users") == [(10,)]


def test_an_archive_that_breaks_half_way(site: Site) -> None:
    label, before = site.take(), site.later()
    for script in ('{real} "$@" | head -c 20000; exit 1', '{real} "$@" | head -c 20000; exit 0'):
        programs = site.pg_restore(run=script)
        path = Path(programs, "pg_restore")
        path.write_text(path.read_text().replace("*--dbname*", "*--file=-*"))
        refused = site.refused(label, bin_dir=programs)
        assert refused["code"] in ("RESTORE_FAILED", "SQL_TRUNCATED"), refused.json
        assert site.state() == before
    assert not list(site.directory.glob("*.running.json"))


@pytest.mark.parametrize("committed", [True, False])
def test_the_connection_is_lost_at_the_commit(site: Site, monkeypatch: pytest.MonkeyPatch, committed: bool) -> None:
    """Only the server knows how it ended; we ask."""
    good, label = site.state(), site.take()
    after, real = site.change(), in_place.Inside._rows

    def rows(self: Any, statement: str, parameters: Any = ()) -> Any:
        if statement != "COMMIT":
            return real(self, statement, parameters)
        if committed:
            real(self, statement, parameters)
        self.close()
        raise ConnectionLost("cut", code="DATABASE_LOST")

    monkeypatch.setattr(in_place.Inside, "_rows", rows)
    result = site.run(**site.in_place(label))
    assert result.rc == (0 if committed else 1), result.json
    if committed:
        assert "has taken place" in json.dumps(result["warnings"])
    assert site.state() == (good if committed else after)


# A run that stops where it is told to, and says so by a file: before the statement (or rows) that begins so, or after it.
STOPPING = """
import time
from pathlib import Path
from ansible.module_utils.floyo.backup.inside import Inside
import psycopg

when, begin, mark = sys.argv[2:]

def stopping(real, of):
    def wrapped(self, *arguments, **more):
        here = str(of(arguments)).startswith(begin)
        if here and when == "before":
            Path(mark).touch()
            time.sleep(60)
        found = real(self, *arguments, **more)
        if here and when == "after":
            Path(mark).touch()
            time.sleep(60)
        return found
    return wrapped

Inside._rows = stopping(Inside._rows, lambda words: words[0])
psycopg.Copy.write = stopping(psycopg.Copy.write, lambda words: f"rows {len(words[0]) > 500000}")
pg_backup.main()
"""
MOMENTS = [
    ("before", "DROP OWNED", signal.SIGKILL),
    ("after", "DROP OWNED", signal.SIGKILL),
    ("after", "rows True", signal.SIGKILL),
    ("after", "rows True", signal.SIGTERM),
    ("after", "ANALYZE", signal.SIGTERM),
    ("before", "SELECT count(*), coalesce(sum(hashtext", signal.SIGKILL),
    ("before", "COMMIT", signal.SIGKILL),
    ("after", "COMMIT", signal.SIGKILL),
]


@pytest.mark.parametrize(("when", "begin", "number"), MOMENTS)
def test_ended_at_any_moment(site: Site, when: str, begin: str, number: signal.Signals) -> None:
    site.sql("CREATE TABLE big AS SELECT g, repeat('x', 100) AS x FROM generate_series(1, 12000) g")
    good, label = site.state(), site.take()
    after = site.later()
    mark = site.directory.parent / "reached"
    code = restores.PROCESS.replace("pg_backup.main()", STOPPING)
    words = json.dumps(site.arguments(**site.in_place(label)))
    run = subprocess.Popen(
        [sys.executable, "-c", code, words, when, begin, str(mark)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: mark.exists() or run.poll() is not None)
        run.send_signal(number)
        out, err = run.communicate()
    finally:
        run.kill()
        run.wait()
    assert mark.exists(), out + err
    assert run.returncode == (1 if number == signal.SIGTERM else -signal.SIGKILL), out + err
    assert site.state() == (good if (when, begin) == ("after", "COMMIT") else after)
    assert site.as_app("SELECT 1") == [(1,)], "the live database is open"
    site.restore(label, lock_wait=30)
    assert site.state() == good
    assert site.beside() == []
    assert not list(site.directory.glob("*.running.json"))


def test_a_killed_run_keeps_no_locks_while_the_server_works_on(site: Site) -> None:
    """The server looks whether somebody waits for what it does: here for a function that takes a minute."""
    before = site.state()
    code = f"""
import sys
import ansible.module_utils
ansible.module_utils.__path__.append({str(Path(in_place.__file__).parents[2])!r})
from ansible.module_utils.floyo.backup.inside import Inside
from ansible.module_utils.floyo.postgres.url import parse_url
inside = Inside(parse_url(sys.argv[1]), "restore")
inside.begin()
inside.alone(inside.tables())
inside.clear()
inside.execute("SELECT pg_sleep(60)")
"""
    run = subprocess.Popen([sys.executable, "-c", code, site.url])
    working = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND application_name LIKE 'floyo:%'"
    try:
        until(lambda: site.admin(working))
    finally:
        run.kill()
        run.wait()
    begin = time.monotonic()
    assert site.state() == before
    assert time.monotonic() - begin < 30
