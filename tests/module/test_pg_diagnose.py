"""pg_diagnose against a real PostgreSQL: each ailment is made and then found; whom it ends and whom it does not."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pytest

from ansible.module_utils.floyo.postgres.lock import lock_key

SECRET = "TopS3cret-of-nobody"


def until(condition: Callable[[], Any]) -> Any:
    limit = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.02)
    return value


class Site:
    """A database, and the module run on it."""

    def __init__(self, server: Any, run_module: Callable[..., Any]) -> None:
        self.server, self._run = server, run_module
        self.url = server.fresh_database(prefix="diag")
        self.database = self.url.rpartition("/")[2]
        self._stack = contextlib.ExitStack()

    def sql(self, text: str) -> list[Any]:
        return list(self.server.sql(text, database=self.database))

    def run(self, state: str = "report", *, check: bool = False, **more: Any) -> Any:
        arguments = {"database_url": self.url, "state": state, "lock_timeout": 0.3, **more}
        result = self._run("pg_diagnose", arguments, check=check)
        text = json.dumps(result.json) + result.stderr
        assert self.server.password not in text
        assert SECRET not in text
        assert "Traceback" not in text
        return result

    def report(self, *subset: str, **more: Any) -> dict[str, list[dict[str, Any]]]:
        """The findings by their checks."""
        result = self.run(subset=list(subset), **more)
        assert result.rc == 0, result.json
        assert result["changed"] is False
        found: dict[str, list[dict[str, Any]]] = {}
        for finding in result["findings"]:
            assert finding["verdict"] in ("pass", "inconclusive", "warn", "fail")
            assert finding["next_step"] or finding["verdict"] in ("pass", "inconclusive")
            found.setdefault(finding["check"], []).append(finding)
        return found

    def connect(self, name: str = "web", **more: Any) -> Any:
        connection = psycopg.connect(self.url, application_name=name, autocommit=True, **more)
        self._stack.callback(connection.close)
        return connection

    def busy(self, statement: str = "SELECT pg_sleep(300)", name: str = "web") -> Busy:
        busy = Busy(self.connect(name), statement)
        until(lambda: busy.pid in self.active())
        return busy

    def active(self) -> dict[int, str]:
        rows = self.sql(
            "SELECT pid, state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return {pid: state for pid, state in rows if state in ("active", "idle in transaction")}

    def session(self, pid: int) -> str:
        """As the server itself makes it of its parts, for %c in its log."""
        names = dict(
            self.sql(
                "SELECT pid, to_hex(floor(extract(epoch FROM backend_start))::bigint) || '.' || to_hex(pid)"
                " FROM pg_stat_activity"
            )
        )
        return str(names[pid])

    def alive(self, pid: int) -> bool:
        return (pid,) in self.sql("SELECT pid FROM pg_stat_activity")

    def close(self) -> None:
        self._stack.close()


class Busy:
    """A connection in which a statement runs; ``error`` is what became of it."""

    begun: ClassVar[list[Busy]] = []

    def __init__(self, connection: Any, statement: str) -> None:
        self.connection, self.error = connection, ""
        self.pid = connection.info.backend_pid
        self._thread = threading.Thread(target=self._work, args=(statement,), daemon=True)
        self._thread.start()
        self.begun.append(self)

    def _work(self, statement: str) -> None:
        try:
            self.connection.execute(statement)
            self.error = "done"
        except psycopg.Error as error:
            self.error = error.sqlstate or type(error).__name__

    def end(self) -> str:
        self._thread.join(60)
        return self.error


@pytest.fixture
def site(postgres_server: Any, run_module: Callable[..., Any]) -> Iterator[Site]:
    site = Site(postgres_server, run_module)
    yield site
    site.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    # A connection that is closed while a thread still reads from it corrupts libpq's memory.
    while Busy.begun:
        Busy.begun.pop().end()
    site.close()


@pytest.fixture
def ordinary(site: Site) -> Iterator[Callable[[str], str]]:
    """``ordinary("pg_monitor")`` makes a role and gives the database's URL for it."""
    name = f"role_{site.database[-12:]}"

    def make(*grants: str) -> str:
        site.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'of-the-role'")
        for grant in grants:
            site.sql(f"GRANT {grant} TO {name}")
        return str(site.server.url_for(site.database, user=name, password="of-the-role"))

    yield make
    if (name,) in site.sql("SELECT rolname FROM pg_roles"):
        site.sql(f"DROP OWNED BY {name}")
        site.sql(f"DROP ROLE {name}")


# --- info and report -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["info", "report"])
def test_a_database_that_is_well(site: Site, state: str) -> None:
    site.sql(
        "CREATE TABLE t (id bigserial PRIMARY KEY, v text); INSERT INTO t (v) SELECT 'x' FROM generate_series(1, 100); ANALYZE t"
    )
    results = [site.run(state, check=check) for check in (True, False, True, False)]
    for result in results:
        assert (result.rc, result["changed"], result["connected"], result["by_reserve"]) == (0, False, True, False)
        assert result["sizes"]["tables"][0]["name"] == "t"
        assert result["sizes"]["tables"][0]["rows"] == 100
        assert result["sizes"]["tables"][0]["total"] > result["sizes"]["tables"][0]["indexes"] > 0
        assert result["sequences"][0] == {
            "sequence": "t_id_seq", "used": 0.0, "last": 100, "end": 2**63 - 1, "column": "t.id", "column_type": "bigint",
        }  # fmt: skip
        assert result["server"]["in_recovery"] is False
        assert result["connections"]["room"] == 57
        assert ("findings" in result.json) is (state == "report")
    if state == "report":
        bad = [
            f
            for f in results[-1]["findings"]
            if f["verdict"] in ("warn", "fail") and f["check"] not in ("slow_query", "connections")
        ]
        assert bad == []


def test_it_is_read_only_and_has_limits_of_its_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible.module_utils.floyo.diagnose import client

    seen: dict[str, str] = {}
    real = client.Session.close

    def close(self: Any) -> None:
        for name in ("default_transaction_read_only", "statement_timeout", "lock_timeout", "application_name"):
            seen[name] = self.rows("SELECT current_setting(%s) AS v", [name])[0]["v"]
        with pytest.raises(Exception, match="read-only transaction"):
            self.execute("CREATE TABLE public.x ()")
        real(self)

    monkeypatch.setattr(client.Session, "close", close)
    site.run(subset=["connections"])
    assert seen["default_transaction_read_only"] == "on"
    assert (seen["statement_timeout"], seen["lock_timeout"]) == ("20s", "300ms")
    assert seen["application_name"].startswith("floyo:diagnose@")


def test_a_table_that_somebody_rebuilds_holds_up_nothing(site: Site) -> None:
    site.sql(
        "CREATE TABLE big (id int PRIMARY KEY, v text); INSERT INTO big SELECT g, repeat('x', 100) FROM generate_series(1, 5000) g"
    )
    site.sql("CREATE SEQUENCE numbers; ANALYZE big")
    exact = site.run("info", subset=["sizes"])["sizes"]
    assert exact["exact"] is True
    holder = site.connect("migration")
    holder.execute("BEGIN")
    holder.execute("LOCK TABLE big IN ACCESS EXCLUSIVE MODE")
    result = site.run()
    assert result.rc == 0
    assert set(result["unseen"]) <= {"slow_queries"}, "the extension may not be there"
    assert result["sizes"]["exact"] is False
    assert result["sizes"]["tables"][0]["name"] == "big"
    assert result["sizes"]["tables"][0]["table"] == exact["tables"][0]["table"]


def test_sizes_are_those_of_now_and_not_of_the_last_count(site: Site) -> None:
    """What grew since is measured, with its index and its TOAST; the server's own count is of the last ANALYZE."""
    site.sql(
        "CREATE TABLE grown (id int PRIMARY KEY, v text) WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false)"
    )
    site.sql("ALTER TABLE grown ALTER v SET STORAGE EXTERNAL; ANALYZE grown")
    site.sql(
        "INSERT INTO grown SELECT g, repeat('x', CASE WHEN g % 10 = 0 THEN 5000 ELSE 100 END) FROM generate_series(1, 5000) g"
    )
    rows = site.sql(
        "SELECT pg_relation_size(oid), pg_indexes_size(oid), pg_relation_size(reltoastrelid) FROM pg_class WHERE relname = 'grown'"
    )
    names = ("table", "indexes", "toast")

    def seen() -> list[tuple[int, ...]]:
        (found,) = site.run("info", subset=["sizes"])["sizes"]["tables"]
        return [tuple(found[name] for name in names)]

    until(lambda: seen() == rows)


def test_connections_by_state_and_client(site: Site) -> None:
    site.connect("web:1")
    site.connect("web:2").execute("BEGIN")
    site.busy(name="worker")
    clients = {
        row["application"]: row
        for row in site.run("info", subset=["connections"])["connections"]["clients"]
        if row["database"] == site.database
    }
    assert (clients["web"]["connections"], clients["web"]["idle"], clients["web"]["idle_in_transaction"]) == (2, 1, 1)
    assert clients["worker"]["active"] == 1
    assert clients["worker"]["user"] == "postgres"
    found = site.report("connections", limits={"connections_warn": 1, "connections_fail": 2})["connections"][0]
    assert (found["verdict"], found["threshold"]) == ("fail", "below 2 %")
    assert "of 57 connections in use" in found["message"]


def test_the_root_of_those_who_wait(site: Site) -> None:
    site.sql("CREATE TABLE jobs (id int PRIMARY KEY, v int); INSERT INTO jobs VALUES (1, 0), (2, 0)")
    root = site.connect("forgotten")
    root.execute("BEGIN")
    root.execute("UPDATE jobs SET v = 1 WHERE id = 1")
    middle = site.connect("middle")
    middle.execute("BEGIN")
    middle.execute("UPDATE jobs SET v = 1 WHERE id = 2")
    waiting = Busy(middle, "UPDATE jobs SET v = 2 WHERE id = 1")
    statement = "UPDATE jobs SET v = 3 WHERE id = 2 AND 'x' <> 'SECRET'".replace("SECRET", SECRET)
    last = Busy(site.connect("last"), statement)
    pids = [root.info.backend_pid, waiting.pid, last.pid]
    until(
        lambda: (
            len(
                site.sql(
                    "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
                )
            )
            == 2
        )
    )
    seen = site.run("info", subset=["blocking"])["blocking"]
    (tree,) = seen["tree"]
    assert [(row["depth"], row["pid"]) for row in seen["rows"]] == list(enumerate(pids))
    assert [tree["pid"], tree["blocks"][0]["pid"], tree["blocks"][0]["blocks"][0]["pid"]] == pids
    assert (tree["application"], tree["state"]) == ("forgotten", "idle in transaction")
    assert tree["blocks"][0]["blocks"][0]["query"] == "UPDATE jobs SET v = ? WHERE id = ? AND ? <> ?"
    found = site.report("blocking", limits={"blocked_warn": 0, "blocked_fail": 1000})["blocking"][0]
    assert found["verdict"] == "warn"
    assert f"pid {pids[0]} (idle in transaction) keeps waiting 2 sessions" in found["message"]
    assert site.session(pids[0]) in found["next_step"]
    root.execute("ROLLBACK")


def test_long_statements_and_forgotten_transactions(site: Site) -> None:
    site.connect("web").execute("BEGIN")
    site.busy(f"SELECT pg_sleep(300), '{SECRET}'", name="report")
    until(lambda: len(site.active()) == 2)
    found = site.report("long_running", limits={"long_after": 0, "idle_after": 0})
    assert found["long_query"][0]["verdict"] == "warn"
    assert "report" in found["long_query"][0]["message"]
    assert "keeps a transaction open" in found["idle_in_transaction"][0]["message"]
    rows = site.run("info", subset=["long_running"], limits={"long_after": 0, "idle_after": 0})["long_running"]
    assert "SELECT pg_sleep(?), ?" in [row["query"] for row in rows]
    assert "long_query" not in site.report("long_running")


# --- statements ------------------------------------------------------------------------------------------------------


@pytest.fixture
def counted(site: Site) -> Site:
    """The extension in the administrators' database, as provisioning has it."""
    site.server.sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    site.sql("CREATE TABLE pages (id int, body text)")
    return site


def statements(site: Site, **more: Any) -> dict[str, dict[str, Any]]:
    result = site.run("info", subset=["slow_queries"], most=200, **more)
    return {row["query"]: row for row in result["slow_queries"]["statements"]}


def test_slow_statements_of_a_life_and_of_a_window(counted: Site) -> None:
    counted.sql("SELECT pg_sleep(0.15), count(*) FROM pages")
    before = counted.run("info", subset=["slow_queries"])
    text = "SELECT pg_sleep($1), count(*) FROM pages"
    assert statements(counted)[text]["calls"] == 1
    assert not [query for query in statements(counted) if "current_setting" in query], "our own questions are not told"
    assert statements(counted)[text]["mean_ms"] >= 150
    for _ in range(3):
        counted.sql("SELECT pg_sleep(0.05), count(*) FROM pages")
    window = counted.run(subset=["slow_queries"], sample=before["sample"], most=200)
    assert window["slow_queries"]["windowed"] is True
    (row,) = [row for row in window["slow_queries"]["statements"] if row["query"] == text]
    assert row["calls"] == 3
    assert 50 <= row["mean_ms"] < row["mean_ms_before"]
    life = counted.report("slow_queries", limits={"min_calls": 4, "mean_ms_warn": 40, "mean_ms_fail": 60_000})[
        "slow_query"
    ]
    (slow,) = [finding for finding in life if "FROM pages" in finding["message"]]
    assert (slow["verdict"], slow["sample"].startswith("4 calls in")) == ("warn", True)
    few = counted.report("slow_queries", limits={"min_calls": 5, "mean_ms_warn": 40})["slow_query"]
    assert [f["verdict"] for f in few if "FROM pages" in f["message"]] == ["inconclusive"]


def test_two_looks_at_statements(counted: Site) -> None:
    counted.sql("SELECT pg_sleep(0.2), count(*) FROM pages")
    counted.busy("DO $$ BEGIN FOR i IN 1..3000 LOOP PERFORM pg_sleep(0.005); END LOOP; END $$")
    result = counted.run("info", subset=["slow_queries"], window=0.5, most=200)
    assert result["slow_queries"]["windowed"] is True
    assert result["slow_queries"]["seconds"] >= 0.5
    assert not [row for row in result["slow_queries"]["statements"] if "FROM pages" in row["query"]], "it ran before"


def test_a_sample_is_kept_for_the_next_look(counted: Site, tmp_path: Path) -> None:
    file = tmp_path / "sample.json"
    counted.run("info", subset=["slow_queries"], sample_file=str(file), check=True)
    assert not file.exists()
    counted.run("info", subset=["slow_queries"], sample_file=str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "SELECT" not in file.read_text(), "numbers, no statements"
    counted.sql("SELECT body FROM pages WHERE id = 7")
    rows = statements(counted, sample_file=str(file))
    assert rows["SELECT body FROM pages WHERE id = $1"]["calls"] == 1
    file.write_text("{half")
    damaged = counted.run("info", subset=["slow_queries"], sample_file=str(file))
    assert damaged["slow_queries"]["windowed"] is False
    assert "is damaged and begins anew" in str(damaged["warnings"])


def test_a_reset_of_statistics_is_noticed(counted: Site) -> None:
    sample = counted.run("info", subset=["slow_queries"])["sample"]
    counted.server.sql("SELECT pg_stat_statements_reset()")
    result = counted.run("info", subset=["slow_queries"], sample=sample)
    assert result["slow_queries"]["windowed"] is False
    assert "were reset since" in str(result["warnings"])


def test_passwords_in_statements_stay_there(counted: Site) -> None:
    name = f"r{counted.database[-8:]}"
    counted.sql(f"CREATE ROLE {name} PASSWORD '{SECRET}'")
    counted.sql(f"ALTER ROLE {name} /* {SECRET} */ PASSWORD '{SECRET}'")
    counted.sql(f"DROP ROLE {name}")
    stored = counted.server.sql("SELECT query FROM pg_stat_statements WHERE query LIKE '%' || 'PASSWORD' || '%'")
    assert SECRET in str(stored), "the server itself keeps it"
    rows = statements(counted)
    assert f"CREATE ROLE {name} PASSWORD ?" in rows


def test_an_account_that_sees_only_its_own(counted: Site, ordinary: Callable[..., str]) -> None:
    counted.sql("SELECT pg_sleep(0.1), count(*) FROM pages")
    counted.busy()
    url = ordinary()
    found = counted.report("slow_queries", "long_running", "connections", database_url=url)
    assert [f["verdict"] for f in found["rights"]] == ["inconclusive", "inconclusive"]
    assert "pg_monitor" in found["rights"][0]["next_step"]
    assert counted.run("info", subset=["connections"], database_url=url)["connections"]["states"]["hidden"] >= 1
    counted.sql(f"GRANT pg_monitor TO role_{counted.database[-12:]}")
    found = counted.report("slow_queries", "long_running", database_url=url)
    assert "rights" not in found
    rows = statements(counted, database_url=url)
    assert "SELECT pg_sleep($1), count(*) FROM pages" in rows, "of all accounts of the database"


def test_the_extension_is_missing_or_not_loaded(small_postgres: Any, run_module: Callable[..., Any]) -> None:
    site = Site(small_postgres, run_module)
    found = site.report("slow_queries", "sizes")["slow_queries"][0]
    assert (found["verdict"], found["value"]) == ("inconclusive", "EXTENSION_MISSING")
    assert "CREATE EXTENSION" in found["next_step"]
    site.sql("CREATE EXTENSION pg_stat_statements")
    result = site.run(subset=["slow_queries", "sizes"])
    assert result["unseen"] == ["slow_queries"]
    assert result["sizes"]["number"] == 0
    (found,) = [f for f in result["findings"] if f["check"] == "slow_queries"]
    assert found["value"] == "EXTENSION_NOT_LOADED"
    assert "shared_preload_libraries" in found["threshold"]


# --- indexes, vacuum, sequences --------------------------------------------------------------------------------------


INDEXED = """
CREATE TABLE parents (id int PRIMARY KEY, name text);
CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents, other int REFERENCES parents, name text, at date);
INSERT INTO parents SELECT g, 'n' FROM generate_series(1, 10) g;
INSERT INTO children SELECT g, 1, 1, md5(g::text), current_date FROM generate_series(1, 20000) g;
CREATE INDEX children_other ON children (other);
CREATE INDEX children_name ON children (name);
CREATE INDEX children_name_again ON children (name);
CREATE INDEX children_name_at ON children (name, at);
CREATE INDEX children_name_some ON children (name) WHERE parent = 2;
CREATE INDEX children_name_down ON children (name DESC);
CREATE UNIQUE INDEX children_id_again ON children (id);
CREATE INDEX children_at ON children (at);
ANALYZE children;
"""


def objects(found: dict[str, list[dict[str, Any]]], check: str) -> dict[str, dict[str, Any]]:
    return {finding["object"]: finding for finding in found.get(check, [])}


def test_indexes_with_grades_of_evidence(site: Site) -> None:
    site.sql(INDEXED)
    with pytest.raises(psycopg.Error):
        site.sql("CREATE UNIQUE INDEX CONCURRENTLY broken ON children (parent)")
    limits = {"index_min_mb": 0, "missing_rows": 1000}
    found = site.report("indexes", limits=limits)

    twice = objects(found, "duplicate_index")
    assert set(twice) == {"children_name", "children_name_again", "children_id_again"}
    assert "is the same as children_name " in twice["children_name_again"]["message"]
    assert twice["children_name_again"]["confidence"] == "high"
    assert "is the beginning of children_name_at" in twice["children_name"]["message"]
    assert twice["children_name"]["confidence"] == "medium"
    assert "is the same as children_pkey" in twice["children_id_again"]["message"]

    broken = objects(found, "invalid_index")["broken"]
    assert (broken["verdict"], broken["next_step"]) == ("fail", "REINDEX INDEX CONCURRENTLY broken")

    unused = objects(found, "unused_index")
    assert set(unused) == {"children_name", "children_name_again", "children_name_at", "children_name_some",
                           "children_name_down", "children_at"}  # fmt: skip
    assert {finding["verdict"] for finding in unused.values()} == {"inconclusive"}, "counted for minutes only"
    assert "were counted for" in unused["children_at"]["message"]

    missing = objects(found, "missing_index")["children"]
    assert "children_parent_fkey to parents" in missing["message"]
    assert "CREATE INDEX CONCURRENTLY ON children (parent)" in missing["next_step"]
    assert len(found["missing_index"]) == 1, "the other key has its index"


def test_an_unused_index_after_long_counting(site: Site) -> None:
    site.sql(INDEXED)
    found = objects(site.report("indexes", limits={"index_min_mb": 0, "unused_days": 0}), "unused_index")
    assert found["children_at"]["verdict"] == "warn"
    assert "DROP INDEX CONCURRENTLY children_at" in found["children_at"]["next_step"]
    assert "children_other" not in found, "it serves a foreign key"
    assert "children_pkey" not in found
    named = {
        row["name"]: row for row in site.run("info", subset=["indexes"], limits={"index_min_mb": 0})["indexes"]["named"]
    }
    assert named["children_at"]["definition"] == "CREATE INDEX children_at ON public.children USING btree (at)"
    site.sql("SET enable_seqscan = off; SELECT count(*) FROM children WHERE at = '2020-01-01'")
    until(lambda: "children_at" not in objects(
        site.report("indexes", limits={"index_min_mb": 0, "unused_days": 0}), "unused_index"
    ))  # fmt: skip
    young = objects(site.report("indexes", limits={"index_min_mb": 50}), "unused_index")
    assert young == {}, "small ones are not worth a word"


def test_a_table_that_is_read_as_a_whole(site: Site) -> None:
    site.sql(
        "CREATE TABLE logs (id int, v text); INSERT INTO logs SELECT g, 'x' FROM generate_series(1, 2000) g; ANALYZE logs"
    )
    with psycopg.connect(site.url, autocommit=True) as connection:
        for _ in range(120):
            connection.execute("SELECT count(*) FROM logs WHERE id = 7")
    until(lambda: "logs" in objects(site.report("indexes", limits={"missing_rows": 1000}), "missing_index"))
    found = objects(site.report("indexes", limits={"missing_rows": 1000}), "missing_index")["logs"]
    assert (found["verdict"], found["confidence"]) == ("inconclusive", "low"), "counted for minutes only"
    assert "missing_index" not in site.report("indexes"), "it is a small table"


def test_bloat_is_an_estimate_and_says_so(site: Site) -> None:
    site.sql(
        "CREATE TABLE fat (id int, v text) WITH (autovacuum_enabled = false);"
        "INSERT INTO fat SELECT g, repeat('x', 200) FROM generate_series(1, 20000) g; DELETE FROM fat WHERE id > 2000"
    )
    limits = {"bloat_min_mb": 1}
    assert site.report("bloat", limits=limits)["bloat"][0]["verdict"] == "pass", "without statistics nothing is said"
    site.sql("ANALYZE fat")
    found = site.report("bloat", limits=limits)["bloat"][0]
    assert (found["object"], found["verdict"], found["confidence"]) == ("fat", "warn", "low")
    assert "an estimate" in found["message"]
    assert found["sample"].startswith("statistics of")
    missing = site.run(subset=["bloat"], measure_bloat=True)
    assert "pgstattuple is not installed" in str(missing["warnings"])
    site.sql("CREATE EXTENSION pgstattuple")
    found = site.report("bloat", limits=limits, measure_bloat=True)["bloat"][0]
    assert (found["confidence"], found["sample"]) == ("medium", "pgstattuple_approx, now")
    assert "measured" in found["message"]


def test_dead_rows_and_tables_without_autovacuum(site: Site) -> None:
    site.sql(
        "CREATE TABLE churn (id int) WITH (autovacuum_enabled = false); INSERT INTO churn SELECT generate_series(1, 30000);"
        "DELETE FROM churn WHERE id > 500"
    )
    until(lambda: site.run("info", subset=["autovacuum"])["autovacuum"]["dead"][0]["dead"] > 20_000)
    found = objects(site.report("autovacuum"), "autovacuum")["churn"]
    assert found["verdict"] == "warn"
    assert "autovacuum is off for it" in found["message"]
    assert "last vacuumed never" in found["message"]
    site.sql("ALTER TABLE churn RESET (autovacuum_enabled)")
    site.sql("VACUUM churn")
    until(lambda: "churn" not in objects(site.report("autovacuum"), "autovacuum"))


def test_sequences_near_their_end(site: Site) -> None:
    site.sql(
        "CREATE TABLE narrow (id serial PRIMARY KEY); SELECT setval('narrow_id_seq', 2000000000);"
        "CREATE TABLE wide (id int PRIMARY KEY); CREATE SEQUENCE wide_seq AS bigint OWNED BY wide.id;"
        "SELECT setval('wide_seq', 1600000000); CREATE SEQUENCE turns MAXVALUE 10 CYCLE; SELECT setval('turns', 10);"
        "CREATE SEQUENCE down INCREMENT -1 MINVALUE -100 MAXVALUE -1; SELECT setval('down', -95); CREATE SEQUENCE fresh;"
        'CREATE SEQUENCE "Odd ""name" MAXVALUE 100; SELECT setval(\'"Odd ""name"\', 80)'
    )
    found = objects(site.report("sequences"), "sequences")
    assert {name: finding["verdict"] for name, finding in found.items()} == {
        "narrow_id_seq": "fail", "down": "fail", "wide_seq": "warn", '"Odd ""name"': "warn",
    }  # fmt: skip
    assert "narrow.id is integer" in found["narrow_id_seq"]["message"]
    assert "wide.id is integer" in found["wide_seq"]["message"], "the column ends before its sequence does"


def test_old_snapshots_hold_back_the_freeze(site: Site) -> None:
    result = site.run(subset=["wraparound"])
    assert {f["verdict"] for f in result["findings"]} == {"pass"}
    assert result["wraparound"]["databases"][0]["xid_age"] > 0
    assert all(f["confidence"] == "high" for f in result["findings"])


def test_cache_hit_of_a_life_and_of_a_window(site: Site) -> None:
    first = site.report("cache_hit")["cache_hit"][0]
    assert first["verdict"] == "inconclusive", "hardly anything was read"
    sample = site.run("info", subset=["cache_hit"])["sample"]
    site.sql("CREATE TABLE hot AS SELECT generate_series(1, 50000) id")
    site.sql("SELECT count(*) FROM hot h, generate_series(1, 60) g WHERE h.id > g")
    until(lambda: site.report("cache_hit", sample=sample)["cache_hit"][0]["verdict"] in ("pass", "warn"))
    found = site.report("cache_hit", sample=sample)["cache_hit"][0]
    assert found["confidence"] == "high"
    assert found["value"] > 90


# --- getting in ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def full(server: Any) -> Iterator[None]:
    """Every connection that is not reserved is taken, by an ordinary role."""
    server.sql("DROP ROLE IF EXISTS many; CREATE ROLE many LOGIN PASSWORD 'of-many'")
    held = []
    try:
        with pytest.raises(psycopg.OperationalError, match="reserved"):
            for _ in range(20):
                held.append(psycopg.connect(server.url_for("postgres", user="many", password="of-many")))
        yield
    finally:
        for connection in held:
            connection.close()
        until(lambda: not server.sql("SELECT 1 FROM pg_stat_activity WHERE usename = 'many'"))


def test_no_connection_is_free(small_postgres: Any, run_module: Callable[..., Any]) -> None:
    site = Site(small_postgres, run_module)
    reserve, site.url = site.url, small_postgres.url_for(site.database, user="many", password="of-many")
    with full(small_postgres):
        result = site.run()
        assert (result.rc, result["connected"], result["verdict"]) == (0, False, "fail")
        (found,) = result["findings"]
        assert (found["check"], found["value"]) == ("connections", "exhausted")
        assert "runuser -u postgres" in found["next_step"]
        for state, more in (("terminated", {}), ("analyzed", {"tables": ["t"]})):
            refused = site.run(state, **more)  # type: ignore[arg-type]
            assert (refused.rc, refused["code"]) == (1, "CONNECTIONS_EXHAUSTED")

        result = site.run(reserve_url=reserve)
        assert (result["connected"], result["by_reserve"], result["verdict"]) == (True, True, "fail")
        taken = {row["user"]: row["connections"] for row in result["connections"]["clients"]}
        assert taken["many"] == 5
        assert "by a reserved one" in str(result["findings"])
        wrong = site.run(reserve_url=small_postgres.url_for(site.database, user="many", password="of-many"))
        assert (wrong["connected"], wrong["verdict"]) == (False, "fail")
        assert "and by the reserve" in wrong["findings"][0]["message"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another account")
def test_a_reserve_that_is_known_by_its_account(small_postgres: Any, run_module: Callable[..., Any]) -> None:
    """peer: the server asks the kernel who opened the socket."""
    site = Site(small_postgres, run_module)
    file = small_postgres.data_dir / "pg_hba.conf"
    before = file.read_text()
    file.write_text("local all postgres peer\n" + before)
    small_postgres.sql("SELECT pg_reload_conf()")
    reserve = f"postgresql:///{site.database}?host={small_postgres.socket_dir}&port={small_postgres.port}&user=postgres"
    site.url = small_postgres.url_for(site.database, user="many", password="of-many")
    try:
        with full(small_postgres):
            until(lambda: site.run(reserve_url=reserve, reserve_account="postgres")["connected"])
            assert os.geteuid() == 0
            nobody = site.run(reserve_url=reserve, reserve_account="nobody")
            assert nobody["connected"] is False
            assert site.run(reserve_url=reserve, reserve_account="no-such-account")["code"] == "ACCOUNT_UNKNOWN"
    finally:
        file.write_text(before)
        small_postgres.sql("SELECT pg_reload_conf()")


@pytest.mark.parametrize("state", ["report", "terminated"])
def test_each_way_not_to_get_in(site: Site, state: str) -> None:
    for url, code in (
        (site.server.url_for(site.database, password="wrong-S3cret"), "DATABASE_LOGIN"),
        (site.server.url_for("no_such_database"), "DATABASE_UNREACHABLE"),
        ("postgresql://a:wrong-S3cret@127.0.0.1:1/x", "DATABASE_UNREACHABLE"),
        ("mysql://a:wrong-S3cret@h/x", "DATABASE_URL_UNUSABLE"),
    ):
        result = site.run(state, database_url=url)
        assert (result.rc, result["code"]) == (1, code)
        assert result["next_step"]
        assert "S3cret" not in json.dumps(result.json)


def test_a_pooler_is_no_server(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible.module_utils.floyo.diagnose import client

    real = client.Session.rows

    def rows(self: Any, statement: str, parameters: Any = ()) -> Any:
        return [{"pid": -1}] if statement.startswith("SELECT pg_backend_pid()") else real(self, statement, parameters)

    monkeypatch.setattr(client.Session, "rows", rows)
    assert site.run()["code"] == "POOLED"


def test_a_subset_that_takes_too_long_leaves_the_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible.module_utils.floyo.diagnose import glue

    monkeypatch.setattr(glue.sql, "SEQUENCES", "SELECT pg_sleep(30)")
    result = site.run(statement_timeout=0.5, subset=["sequences", "wraparound"])
    assert result.rc == 0
    assert result["unseen"] == ["sequences"]
    assert result["wraparound"]["databases"]
    (found,) = [f for f in result["findings"] if f["check"] == "sequences"]
    assert (found["verdict"], found["value"]) == ("inconclusive", "STATEMENT_TIMEOUT")


# --- terminated ------------------------------------------------------------------------------------------------------


def outcomes(result: Any) -> dict[int, str]:
    return {entry["pid"]: entry["outcome"] for entry in result["sessions"]}


def test_terminated_four_times(site: Site) -> None:
    """Cancelled first: the session itself stays."""
    busy = site.busy(f"SELECT pg_sleep(300), '{SECRET}'")
    young = site.run("terminated", after=300)
    assert (young["changed"], young["sessions"]) == (False, [])
    dry = site.run("terminated", after=0, check=True)
    assert (dry["changed"], outcomes(dry)) == (True, {busy.pid: "would cancel"})
    assert dry["sessions"][0]["query"] == "SELECT pg_sleep(?), ?"
    assert dry["sessions"][0]["session"] == site.session(busy.pid)
    assert busy.pid in site.active(), "a dry run ends nobody"
    done = site.run("terminated", after=0)
    assert (done["changed"], outcomes(done)) == (True, {busy.pid: "cancelled"})
    assert busy.end() == "57014"
    assert site.alive(busy.pid)
    for check in (True, False):
        again = site.run("terminated", after=0, check=check)
        assert (again["changed"], again["sessions"]) == (False, [])


STUBBORN = """
DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(300); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$
"""


def test_what_does_not_let_itself_be_cancelled_is_cut_off(site: Site) -> None:
    busy = site.busy(STUBBORN)
    done = site.run("terminated", after=0, grace=0.5)
    assert outcomes(done) == {busy.pid: "terminated"}
    busy.end()
    assert not site.alive(busy.pid)


def test_a_forgotten_transaction_is_ended_only_when_asked(site: Site) -> None:
    idle = site.connect("web")
    idle.execute("BEGIN")
    idle.execute("SELECT 1")
    pid = idle.info.backend_pid
    assert site.run("terminated", after=0)["sessions"] == []
    assert outcomes(site.run("terminated", after=0, idle=True, check=True)) == {pid: "would terminate"}
    assert outcomes(site.run("terminated", after=0, idle=True)) == {pid: "terminated"}
    assert not site.alive(pid)


def test_what_is_ours_is_kept(site: Site) -> None:
    """A running backup, a migration, tools that copy, and whoever holds the lock under whatever name."""
    mine = [
        site.busy(name=name) for name in ("floyo:dump@db1:7", "floyo:migrate@db1:8", "pg_dump", "pg_restore", "alembic")
    ]
    holder = site.connect("innocent")
    holder.execute(f"SELECT pg_advisory_lock({lock_key(site.database)})")
    mine.append(Busy(holder, "SELECT pg_sleep(300)"))
    until(lambda: len(site.active()) == 6)
    for more in (
        {"after": 0},
        {"sessions": [site.session(busy.pid) for busy in mine]},
        {"sessions": [str(mine[0].pid)]},
    ):
        for check in (True, False):
            result = site.run("terminated", check=check, **more)
            assert result["changed"] is False
            assert set(outcomes(result).values()) == {"kept"}
            assert all(entry["reason"] for entry in result["sessions"])
    assert len(site.active()) == 6


def test_maintenance_is_kept_until_it_is_named(site: Site) -> None:
    site.sql("CREATE TABLE t (id int)")
    lock = site.connect()
    lock.execute("BEGIN")
    lock.execute("LOCK TABLE t IN ROW EXCLUSIVE MODE")
    building = site.busy("CREATE INDEX CONCURRENTLY t_id ON t (id)", name="by hand")
    kept = site.run("terminated", after=0)
    assert outcomes(kept) == {building.pid: "kept"}
    assert "CREATE INDEX" in kept["sessions"][0]["reason"]
    named = site.run("terminated", sessions=[site.session(building.pid)])
    assert outcomes(named) == {building.pid: "cancelled"}


def test_protected_users_and_applications(site: Site) -> None:
    busy = site.busy(name="billing-night")
    assert outcomes(site.run("terminated", after=0, protect_applications=["billing-.*"])) == {busy.pid: "kept"}
    assert outcomes(site.run("terminated", after=0, protect_users=["postgres"])) == {busy.pid: "kept"}
    assert busy.pid in site.active()


def test_only_this_database_and_only_clients(site: Site, run_module: Callable[..., Any]) -> None:
    other = Site(site.server, run_module)
    there = other.busy()
    assert site.run("terminated", after=0)["sessions"] == []
    walwriter = site.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")[0][0]
    for name in (str(walwriter), str(there.pid), other.session(there.pid)):
        assert site.run("terminated", after=0, sessions=[name])["sessions"] == []
    assert there.pid in other.active()
    there.connection.cancel()
    assert there.end() == "57014", "a connection is closed when no thread reads from it any more"
    other.close()


def test_a_named_session_goes_however_short_and_a_bare_pid_does_not(site: Site) -> None:
    busy, bystander = site.busy(), site.busy()
    by_pid = site.run("terminated", sessions=[str(busy.pid)])
    assert outcomes(by_pid) == {busy.pid: "kept"}
    assert "name its session" in by_pid["sessions"][0]["reason"]
    by_name = site.run("terminated", sessions=[site.session(busy.pid)])
    assert outcomes(by_name) == {busy.pid: "cancelled"}
    wrong = site.session(bystander.pid).replace(".", "0.", 1)
    assert site.run("terminated", sessions=[wrong])["sessions"] == [], "the pid alone is not the session"
    assert bystander.pid in site.active()
    assert site.run("terminated", sessions=["4711; DROP"])["code"] == "SESSION_INVALID"


@pytest.mark.parametrize("changed", ["backend_start", "xact_start"])
def test_who_is_another_by_now_is_let_alone(site: Site, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    """Between the list and the signal the pid went to somebody else, or the transaction to another one."""
    from ansible.module_utils.floyo.diagnose import ended

    busy = site.busy()
    real = ended._Ending._concerned

    def concerned(self: Any) -> Any:
        rows = real(self)
        for row in rows:
            row[changed] = "2001-01-01 00:00:00+00"
        return rows

    monkeypatch.setattr(ended._Ending, "_concerned", concerned)
    result = site.run("terminated", after=0)
    assert (result["changed"], outcomes(result)) == (False, {busy.pid: "gone by itself"})
    assert busy.pid in site.active()


def test_whom_one_may_not_end(site: Site, ordinary: Callable[..., str]) -> None:
    url = ordinary("pg_monitor")
    busy = site.busy()
    result = site.run("terminated", after=0, database_url=url)
    assert (result.rc, result["code"]) == (1, "SESSION_SURVIVED")
    assert result["sessions"][0]["outcome"] == "refused"
    assert "superuser" in result["msg"]
    assert busy.pid in site.active()


# --- analyzed --------------------------------------------------------------------------------------------------------


def results(result: Any) -> dict[str, str]:
    return {entry["table"]: entry["result"] for entry in result["tables"]}


def test_analyzed_four_times(site: Site) -> None:
    site.sql(
        "CREATE TABLE t (id int) WITH (autovacuum_enabled = false); INSERT INTO t SELECT generate_series(1, 500);"
        'CREATE SCHEMA s; CREATE TABLE s."Odd t" (id int) WITH (autovacuum_enabled = false)'
    )
    site.sql('INSERT INTO s."Odd t" VALUES (1)')
    names = ["t", 's."Odd t"']
    dry = site.run("analyzed", tables=names, check=True)
    assert (dry["changed"], results(dry)) == (True, {"t": "would analyze", 's."Odd t"': "would analyze"})
    assert site.sql("SELECT reltuples FROM pg_class WHERE oid = 't'::regclass") == [(-1,)]
    done = site.run("analyzed", tables=names)
    assert (done["changed"], results(done)) == (True, {"t": "analyzed", 's."Odd t"': "analyzed"})
    assert site.sql("SELECT reltuples FROM pg_class WHERE oid = 't'::regclass") == [(500,)]
    until(lambda: site.run("analyzed", tables=names, check=True)["changed"] is False)
    again = site.run("analyzed", tables=names)
    assert (again["changed"], results(again)) == (False, {"t": "unchanged", 's."Odd t"': "unchanged"})
    assert site.run("analyzed", tables=["t"], force=True)["changed"] is True
    site.sql("UPDATE t SET id = id")
    until(lambda: results(site.run("analyzed", tables=["t"], check=True)) == {"t": "would analyze"})


def test_a_locked_table_is_left_out_and_named(site: Site) -> None:
    site.sql("CREATE TABLE a (id int); CREATE TABLE b (id int); CREATE TABLE c (id int)")
    site.sql("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO c VALUES (1)")
    holder = site.connect("migration")
    holder.execute("BEGIN")
    holder.execute("LOCK TABLE b IN ACCESS EXCLUSIVE MODE")
    result = site.run("analyzed", tables=["a", "b", "c"])
    assert (result.rc, result["code"]) == (1, "NOT_ANALYZED")
    assert results(result) == {"a": "analyzed", "b": "skipped", "c": "analyzed"}
    assert "first b: a lock was not to be had" in result["msg"]


def test_a_table_of_somebody_else_is_left_out_and_named(site: Site, ordinary: Callable[..., str]) -> None:
    """The server only warns and calls it a success."""
    site.sql("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    result = site.run("analyzed", tables=["t"], database_url=ordinary())
    assert (result.rc, results(result)) == (1, {"t": "skipped"})
    assert "skipping" in result["msg"]
    assert site.sql("SELECT reltuples FROM pg_class WHERE oid = 't'::regclass") == [(-1,)]


def test_partitions_and_what_is_no_table(site: Site) -> None:
    site.sql("CREATE TABLE e (at date) PARTITION BY RANGE (at); CREATE VIEW v AS SELECT 1 AS one")
    site.sql(
        "CREATE TABLE e_2025 PARTITION OF e FOR VALUES FROM ('2025-01-01') TO ('2026-01-01'); INSERT INTO e VALUES ('2025-05-05')"
    )
    assert results(site.run("analyzed", tables=["e"])) == {"e": "analyzed"}
    assert site.sql("SELECT reltuples FROM pg_class WHERE oid = 'e_2025'::regclass") == [(1,)]
    for name in ("v", "none", "t; DROP TABLE e", "pg_class", '"', ""):
        for check in (True, False):
            assert site.run("analyzed", tables=[name], check=check)["code"] == "TABLE_UNKNOWN", name


def test_a_backup_or_migration_comes_first(site: Site) -> None:
    site.sql("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    holder = site.connect("floyo:migrate@db1:7")
    holder.execute(f"SELECT pg_advisory_lock({lock_key(site.database)})")
    result = site.run("analyzed", tables=["t"], lock_wait=0.2)
    assert (result.rc, result["code"]) == (1, "LOCK_HELD")
    assert "floyo:migrate@db1:7" in result["msg"]
    holder.execute(f"SELECT pg_advisory_unlock({lock_key(site.database)})")
    assert site.run("analyzed", tables=["t"])["changed"] is True
