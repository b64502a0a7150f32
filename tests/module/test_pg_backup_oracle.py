"""What comes back is what was there: a dump before and after, line by line; on PostgreSQL 15 and 18, and from one to the other."""

from __future__ import annotations

import difflib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Each by itself: a new value of an enum may not be used in the transaction that adds it.
BEFORE_ALL = ("CREATE TYPE mood AS ENUM ('good', 'bad')", "ALTER TYPE mood ADD VALUE 'best' BEFORE 'good'")
# All that a dump is known to lose, or to write in another way than it was.
EVERYTHING = r"""
CREATE SCHEMA "Odd schema-1";
CREATE SCHEMA ext;
CREATE EXTENSION pgcrypto SCHEMA ext;
CREATE EXTENSION hstore SCHEMA ext;
CREATE EXTENSION pg_trgm;
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('aaaa1111');

CREATE TYPE pair AS (a int, b text);
CREATE TYPE span AS RANGE (subtype = numeric);
CREATE DOMAIN positive AS int CHECK (VALUE > 0) DEFAULT 7;
CREATE COLLATION german (locale = 'C');

CREATE SEQUENCE down INCREMENT -3 MINVALUE -1000 MAXVALUE 100 START 100;
SELECT nextval('down'), nextval('down');
CREATE SEQUENCE unused START 42;
CREATE SEQUENCE round_and_round MAXVALUE 3 CYCLE;
SELECT nextval('round_and_round') FROM generate_series(1, 5);

CREATE TABLE "Odd ""table"" 'x' %s; DROP TABLE users --" (
    "a b" int GENERATED ALWAYS AS IDENTITY (START 5 INCREMENT 5) PRIMARY KEY,
    "ümläut-Spalte" text COLLATE german, "select" mood DEFAULT 'good', "p" positive, c pair, s span, a int[][], j jsonb, x xml);
INSERT INTO "Odd ""table"" 'x' %s; DROP TABLE users --" ("ümläut-Spalte", "select", c, s, a, j)
    VALUES (E'tab\there\nnewline \\ backslash "quote"', 'best', '(1,"x,y")', '[1.5,2.5)', '{{1,2},{3,4}}', '{"a": [1, null]}'),
           ('', NULL, NULL, 'empty', NULL, 'null'), (E'\r\\.', 'bad', '(,)', '(,)', '{}', '"\u00e9"');
CREATE TABLE "Odd schema-1"."Table" (id bigserial PRIMARY KEY, "Value" ext.hstore);
INSERT INTO "Odd schema-1"."Table" ("Value") VALUES ('a=>1, b=>NULL'), (NULL);

CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL, born date, seen timestamptz, score float8, half numeric,
    lower_name text GENERATED ALWAYS AS (lower(name)) STORED, raw bytea, boss int REFERENCES users DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT "Name, please" CHECK (name <> '') NOT VALID);
INSERT INTO users (name, born, seen, score, half, raw, boss) VALUES
    ('Ada', '0044-03-15 BC', '2025-03-30 02:30+01', 'NaN', 'NaN', '\x00ff', 2), ('Bob', 'infinity', '-infinity', '-Infinity', 1e40, '', 1),
    ('Eve', NULL, NULL, 0.1, 0.10, NULL, NULL), ('Zoe', '2025-01-01', '1500-01-01 00:00:00.000001Z', 1e-320, -0.0, '\x5c', 3);
INSERT INTO users (name) SELECT 'user ' || g FROM generate_series(1, 500) g;
DELETE FROM users WHERE id > 480;
SET CONSTRAINTS ALL IMMEDIATE;
CREATE INDEX ON users USING gin (name gin_trgm_ops);
CREATE UNIQUE INDEX "only once" ON users (lower(name), born) INCLUDE (score) WHERE born IS NOT NULL;
CREATE STATISTICS together (dependencies) ON name, born FROM users;
COMMENT ON TABLE users IS E'it''s a "comment"\nwith two lines';
COMMENT ON COLUMN users.name IS 'the name';
ALTER TABLE users ALTER COLUMN name SET STATISTICS 500, ALTER COLUMN raw SET STORAGE EXTERNAL, SET (fillfactor = 70);
ALTER TABLE users ADD COLUMN gone int;
ALTER TABLE users DROP COLUMN gone;

CREATE TABLE secret (id int, owner text DEFAULT current_user);
INSERT INTO secret SELECT generate_series(1, 20);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON secret FOR SELECT USING (owner = current_user);
CREATE POLICY "not theirs" ON secret AS RESTRICTIVE FOR ALL TO PUBLIC WITH CHECK (id > 0);

CREATE TABLE events (at date NOT NULL, kind text, n int) PARTITION BY RANGE (at);
CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2025-01-01');
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY LIST (kind);
CREATE TABLE events_2025_a PARTITION OF events_2025 FOR VALUES IN ('a', NULL);
CREATE TABLE events_2025_rest PARTITION OF events_2025 DEFAULT;
CREATE TABLE events_later PARTITION OF events DEFAULT;
CREATE INDEX ON events (at, n);
INSERT INTO events SELECT date '2023-06-01' + g, (ARRAY['a', 'b', NULL])[g % 3 + 1], g FROM generate_series(1, 1200) g;
CREATE TABLE hashed (k int) PARTITION BY HASH (k);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO hashed SELECT generate_series(1, 50);
CREATE TABLE parent (id int); CREATE TABLE child (more text) INHERITS (parent);
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 'x');
CREATE UNLOGGED TABLE scratch AS SELECT 1 AS one;
CREATE TABLE meeting (room int, during tsrange, EXCLUDE USING gist (during WITH &&));
CREATE TABLE nothing ();
CREATE TABLE clause (v tsvector);

CREATE FUNCTION twice(i int) RETURNS int LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT i; SELECT i * 2; END;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN NEW.name := NEW.name || '$'; RETURN NEW; END $body$;
CREATE PROCEDURE tidy() LANGUAGE sql AS 'DELETE FROM secret WHERE id < 0';
CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE TRIGGER touched BEFORE UPDATE ON users FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION touch();
ALTER TABLE users DISABLE TRIGGER touched;
CREATE VIEW adults WITH (security_barrier) AS SELECT id, name, twice(id) FROM users WHERE born < '2007-01-01' WITH CHECK OPTION;
CREATE RULE no_more AS ON INSERT TO hashed DO INSTEAD NOTHING;
CREATE MATERIALIZED VIEW counted AS SELECT kind, count(*) FROM events GROUP BY kind;
CREATE UNIQUE INDEX ON counted (kind);
CREATE MATERIALIZED VIEW empty_view AS SELECT 1 AS one WITH NO DATA;
CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple);
ALTER TABLE child ADD COLUMN "naïve ☃" text DEFAULT '☃';

GRANT SELECT (id, name) ON users TO {reader};
GRANT SELECT ON events TO {reader} WITH GRANT OPTION;
GRANT USAGE ON SCHEMA "Odd schema-1" TO {reader};
REVOKE EXECUTE ON FUNCTION twice(int) FROM PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {reader};
SELECT lo_from_bytea(7001, 'large'::bytea), lo_from_bytea(7002, decode(repeat('00ff', 5000), 'hex')), lo_create(7003);
COMMENT ON LARGE OBJECT 7001 IS 'a comment';
GRANT SELECT ON LARGE OBJECT 7001 TO {reader};
"""


class Site:
    def __init__(self, server: Any, directory: Path, run_module: Callable[..., Any]) -> None:
        self.server, self.directory, self._run = server, directory, run_module
        self.url = server.fresh_database()
        self.database = self.url.rpartition("/")[2]
        self.reader = f"reader_{self.database}"
        server.sql(f"CREATE ROLE {self.reader}")
        for statement in BEFORE_ALL:
            server.sql(statement, database=self.database)
        server.sql(EVERYTHING.replace("{reader}", self.reader), database=self.database)

    def run(self, state: str, **more: Any) -> Any:
        common = {"directory": str(self.directory), "state": state, "database_url": self.url, "min_free": "1K"}
        return self._run("pg_backup", {**common, "lock_wait": 10, **more})

    def good(self, state: str, **more: Any) -> Any:
        result = self.run(state, **more)
        assert result.rc == 0, result["msg"]
        return result

    def text(self) -> list[str]:
        """The database as one text, without what each pg_dump says of itself."""
        words = [str(self.server.bin_dir / "pg_dump"), f"--dbname={self.url}"]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        own = re.compile(r"\\(un)?restrict |-- Dumped (from|by)")
        return [line for line in done.stdout.splitlines() if not own.match(line)]

    def destroy(self) -> None:
        self.server.sql(
            'DROP TABLE "Odd ""table"" \'x\' %s; DROP TABLE users --" CASCADE; DROP SCHEMA "Odd schema-1" CASCADE;'
            "TRUNCATE events; DROP MATERIALIZED VIEW counted; SELECT lo_unlink(7001); ALTER TYPE mood RENAME VALUE 'bad' TO 'worse';"
            "DROP POLICY mine ON secret; SELECT setval('users_id_seq', 1); DROP FUNCTION touch CASCADE",
            database=self.database,
        )

    def close(self) -> None:
        for (name,) in self.server.sql("SELECT datname FROM pg_database"):
            if name.startswith(self.database):
                self.server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')
        self.server.sql(f"DROP ROLE {self.reader}")


def assert_same(before: list[str], after: list[str]) -> None:
    different = list(difflib.unified_diff(before, after, "before", "after", lineterm="", n=1))
    assert different == []


@pytest.mark.parametrize("which", ["postgres_server", "newer_postgres_server"])
@pytest.mark.parametrize("form", ["custom", "directory"])
def test_everything_comes_back(
    request: pytest.FixtureRequest, tmp_path: Path, run_module: Callable[..., Any], which: str, form: str
) -> None:
    site = Site(request.getfixturevalue(which), tmp_path / "backups", run_module)
    programs = str(site.server.bin_dir)
    try:
        before = site.text()
        backup = site.good("present", format=form, bin_dir=programs)["backup"]
        newer = which == "newer_postgres_server"
        assert backup["manifest"]["dump"]["compress"] == ("zstd" if newer else "gzip:6"), "zstd where the client has it"
        site.destroy()
        assert site.text() != before
        result = site.good("restored", label=backup["label"], safety_backup=False, bin_dir=programs, jobs=2)
        assert_same(before, site.text())
        assert result["restored"]["tables"] == len(backup["manifest"]["rows"])
        site.good("drilled", bin_dir=programs)
        assert_same(before, site.text())
    finally:
        site.close()


def test_from_an_older_server_to_a_newer_one_and_not_back(
    postgres_server: Any, newer_postgres_server: Any, tmp_path: Path, run_module: Callable[..., Any]
) -> None:
    """PostgreSQL 15 to 18 really run: the newer one takes the older one's backup; each refusal names what is missing."""
    old = Site(postgres_server, tmp_path / "old", run_module)
    new = Site(newer_postgres_server, tmp_path / "new", run_module)
    programs = str(newer_postgres_server.bin_dir)
    try:
        # An older client refuses a newer server before anything is written, and names the package.
        refused = new.run("present", bin_dir=str(postgres_server.bin_dir))
        assert (refused["code"], "postgresql-client-18" in refused["next_step"]) == ("CLIENT_TOO_OLD", True)
        assert not list(new.directory.glob("2*")) if new.directory.exists() else True
        # A newer client takes the older server, and says in the manifest what it was.
        older = old.good("present", bin_dir=programs)["backup"]
        assert (older["manifest"]["server"]["version"][:2], older["manifest"]["client"]["version"][:2]) == ("15", "18")
        # What a newer client has written an older one does not read: known, not found out by trying.
        refused = old.run("verified", bin_dir=str(postgres_server.bin_dir))
        assert refused["code"] == "CLIENT_TOO_OLD"
        # The older one's backup on the newer server.
        server_rows = postgres_server.sql("SELECT sum(hashtext(u::text)) FROM users u", database=old.database)
        newer_postgres_server.sql(f"CREATE ROLE {old.reader}")
        more = {"directory": str(old.directory), "bin_dir": programs, "accept_other_database": True}
        new.good("drilled", label=older["label"], **more)
        result = new.good("restored", label=older["label"], safety_backup=False, **more)
        assert result["restored"]["heads"] == ["aaaa1111"]
        rows = newer_postgres_server.sql("SELECT sum(hashtext(u::text)) FROM users u", database=new.database)
        assert rows == server_rows
        # And the newer one's backup on the older server: refused, the live database untouched.
        newest = new.good("present", bin_dir=programs)["backup"]
        before = old.text()
        for state in ("restored", "drilled"):
            refused = old.run(
                state, label=newest["label"], directory=str(new.directory), accept_other_database=True, bin_dir=programs
            )
            assert refused["code"] == "SERVER_OLDER", refused.json
        assert old.text() == before
    finally:
        for (name,) in newer_postgres_server.sql("SELECT datname FROM pg_database"):
            if name.startswith(new.database):
                newer_postgres_server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')
        newer_postgres_server.sql(f"DROP ROLE IF EXISTS {old.reader}")
        new.close()
        old.close()
