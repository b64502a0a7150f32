"""pg_backup imports a plain dump: by name and digest only, the way of a restore, and nothing of it reaches the host."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ansible.module_utils.floyo.backup import imported
from tests.module import test_pg_backup_oracle as oracle
from tests.module import test_pg_backup_restore as restores

site = restores.site
Site = restores.Site


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Dump:
    """A file as the runbook makes it."""

    def __init__(self, site: Any, *options: str) -> None:
        self.site, self.path = site, site.directory.parent / "backup.sql"
        words = [str(site.server.bin_dir / "pg_dump"), f"--dbname={site.url}", *options]
        self.path.write_bytes(subprocess.run(words, check=True, capture_output=True).stdout)
        self.path.chmod(0o600)
        self.text = self.path.read_text()

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def run(self, **more: Any) -> Any:
        options = {
            "sql_file": str(self.path),
            "sql_sha256": digest(self.path),
            "bin_dir": str(self.site.server.bin_dir),
        }
        return self.site.run("imported", **{**options, **more})

    def good(self, **more: Any) -> Any:
        result = self.run(**more)
        assert result.rc == 0, result["msg"]
        return result


@pytest.fixture
def dump(site: Any) -> Dump:
    return Dump(site)


def test_four_runs(site: Any, dump: Dump) -> None:
    before = site.state()
    after = site.change()
    files = sorted(site.directory.glob("*"))
    predicted = dump.good(check=True)
    assert (predicted["changed"], predicted["restored"]) == (True, {})
    assert (site.state(), site.beside(), sorted(site.directory.glob("*"))) == (after, [], files)
    result = dump.good()
    plan = result["plan"]
    assert {key: plan[key] for key in ("heads", "rows", "sha256", "loses")} == {
        key: predicted["plan"][key] for key in ("heads", "rows", "sha256", "loses")
    }
    assert (plan["heads"], plan["rows"], plan["file"]) == (["aaaa1111"], 3004, str(dump.path))
    restored = result["restored"]
    assert (restored["heads"], restored["rows"], restored["sha256"]) == (["aaaa1111"], 3004, digest(dump.path))
    assert site.state() == before
    assert site.state(restored["kept"]) == after
    assert site.listed(restored["safety_backup"])["heads"] == ["bbbb2222"]
    # As the application, with the rights that the file gives.
    site.sql("INSERT INTO users (name) VALUES ('new')", user=site.app, password="app")
    assert site.sql("SELECT max(id) FROM users") == [(3001,)]
    assert site.sql("SELECT lo_get(oid) FROM pg_largeobject_metadata") == [(b"large",)]
    assert site.sql("SELECT reltuples FROM pg_class WHERE relname = 'events_2025'") == [(1.0,)], (
        "the planner has its numbers"
    )
    # The file commits around its large objects; still all was one transaction.
    assert "\nCOMMIT;\n" in dump.text
    assert site.sql("SELECT count(DISTINCT t) FROM (SELECT xmin::text t FROM users WHERE id < 3001 UNION ALL SELECT xmin::text"
                    " FROM alembic_version UNION ALL SELECT xmin::text FROM pg_largeobject_metadata) x") == [(1,)]  # fmt: skip
    dump.good(check=True)
    dump.good()
    assert site.state() == before
    site.good("swapped_back")


def test_only_by_name_and_digest(site: Any, dump: Dump) -> None:
    before = site.state()
    refused = dump.run(sql_sha256="")
    assert (refused["code"], digest(dump.path) in refused["next_step"]) == ("SQL_UNCONFIRMED", True)
    assert dump.good(sql_sha256="", check=True)["plan"]["sha256"] == digest(dump.path)
    for check in (True, False):
        assert dump.run(sql_sha256="0" * 64, check=check)["code"] == "SQL_OTHER"
    assert dump.run(sql_file="")["code"] == "SQL_FILE_MISSING"
    assert dump.run(sql_file="/nonexistent.sql")["code"] == "SQL_FILE_MISSING"
    dump.path.chmod(0o620)
    assert dump.run()["code"] == "SQL_FILE_UNSAFE"
    # A restore reads archives that are in the list, whatever lies beside them.
    (site.directory / "20250101T000000Z-aaaaaa.sql").write_text(dump.text)
    assert site.run("restored", label="20250101T000000Z-aaaaaa")["code"] == "LABEL_UNKNOWN"
    assert (site.state(), site.beside()) == (before, [])


# What each puts into the file, before the rows of users; {mark} is a file that must not appear.
HOSTILE = {
    "a command of the shell": r"\! touch {mark}",
    "after a statement": r"SELECT 1; \! touch {mark}",
    "within a statement": "SELECT\n\\! touch {mark}\n;",
    "a pipe": r"SELECT 1 \g |touch {mark}",
    "another database": r"\connect postgres",
    "a short one": r"\c postgres",
    "another file": r"\i /etc/passwd",
    "psql's copy": r"\copy users TO PROGRAM 'touch {mark}'",
    "a variable": r"\set x `touch {mark}`",
    "an end of the restriction": r"\unrestrict `touch {mark}`",
    "a program": "COPY users TO PROGRAM 'touch {mark}';",
    "a program for rows": "COPY public.users (name) FROM PROGRAM 'touch {mark}';",
    "in capitals and comments": "/* -- */ copy/**/public.users FROM program 'touch {mark}';",
    "a file of the server": "COPY public.users (name) FROM '/etc/passwd';",
    "a role": "CREATE ROLE evil SUPERUSER;",
    "a user": "CREATE USER evil;",
    "a password": "ALTER ROLE {owner} PASSWORD 'x';",
    "membership": "GRANT {app} TO evil;",
    "rights to a database": "GRANT ALL ON DATABASE postgres TO {app};",
    "the server's settings": "ALTER SYSTEM SET log_statement = 'none';",
    "the live database": 'DROP DATABASE "{live}";',
    "its name": 'ALTER DATABASE "{live}" RENAME TO gone;',
    "a tablespace": "CREATE TABLESPACE t LOCATION '/tmp';",
    "another account": "SET SESSION AUTHORIZATION postgres;",
    "another role": "SET ROLE {app};",
    "its own end": "COMMIT AND CHAIN;",
    "a part": "ROLLBACK;",
    "a program in the file": "DO $$BEGIN EXECUTE 'ALTER SYSTEM RESET ALL'; END$$;",
    "a call": "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_stat_activity;",
    "a reading of files": "SELECT pg_catalog.pg_read_file('/etc/passwd');",
    "other strings": "SET standard_conforming_strings = off;",
    "other letters": "SET client_encoding = 'SJIS';",
    "a string in two parts": "COMMENT ON TABLE public.users IS E'a'\n'\\'' \\! touch {mark}\n';",
    "a number before a string": "COMMENT ON TABLE public.users IS 1E'\\' \\! touch {mark}\n';",
    "hidden by a comment": "/* /* */ \\! no */ \\! touch {mark}",
    "hidden by a name": 'COMMENT ON TABLE "public"."users" IS \'x\'; \\! touch {mark}',
    "rows that are none": "COPY public.users (name) FROM stdin WHERE false;\n\\! touch {mark}\n\\.",
    "rows to itself": "COPY public.users (name) TO stdin;\n\\! touch {mark}\n\\.",
    "a dump of all": "\\connect -reuse-previous=on \"dbname='postgres'\"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_refused(site: Any, dump: Dump, what: str) -> None:
    before = site.state()
    mark = dump.path.parent / "mark"
    evil = HOSTILE[what]
    for name, value in {"mark": mark, "owner": site.owner, "app": site.app, "live": site.database}.items():
        evil = evil.replace("{" + name + "}", str(value))
    place = dump.text.index("COPY public.users (")
    dump.write(dump.text[:place] + evil + "\n\n" + dump.text[place:])
    number = dump.text[:place].count("\n") + 1
    for check in (True, False):
        refused = dump.run(check=check)
        assert refused["code"] in ("SQL_FORBIDDEN", "SQL_UNREADABLE"), refused.json
        assert abs(int(re.findall(r"line (\d+)", refused["msg"])[0]) - number) <= 1, refused["msg"]
    assert not mark.exists()
    assert (site.state(), site.beside()) == (before, [])
    assert site.admin("SELECT 1 FROM pg_roles WHERE rolname = 'evil'") == []


def test_what_looks_hostile_and_is_not(site: Any) -> None:
    """Values and definitions that hold what would be refused outside of them."""
    site.sql(r"""
        INSERT INTO users (name) VALUES ('\! touch /tmp/x'), (E'\\.\n\\.\n'), ('COPY users TO PROGRAM ''x'';'), ('$$ " -- /* ');
        CREATE TABLE "\! odd; DROP DATABASE x" (a text DEFAULT E'\\! \n\\connect', b text DEFAULT 'it''s $$; COMMIT;');
        INSERT INTO "\! odd; DROP DATABASE x" DEFAULT VALUES;
        COMMENT ON TABLE users IS E'two lines\n\\! touch\nCOMMIT;\n$a$';
        CREATE FUNCTION g() RETURNS text LANGUAGE plpgsql AS $f$ BEGIN -- '
            EXECUTE 'DROP DATABASE x'; /* \! */ RETURN $g$ \c $g$; END $f$;
        CREATE PROCEDURE h() LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; DELETE FROM users WHERE name = '\!'; END;
    """)
    before, dump = site.state(), Dump(site)
    site.change()
    dump.good(safety_backup=False)
    assert site.state() == before
    for options in ("--inserts",), ("--column-inserts", "--clean", "--if-exists"):
        dump = Dump(site, *options)
        dump.good(safety_backup=False)
        assert site.state() == before


def test_a_dump_that_was_cut(site: Any, dump: Dump) -> None:
    before, data = site.state(), dump.path.read_bytes()
    trailer = data.rindex(b"-- PostgreSQL database dump complete")
    row = data.index(b"\t", data.index(b"COPY public.users ("))
    function = data.index(b"BEGIN ATOMIC") + 20
    for size in [*range(1000, trailer, len(data) // 12), row, function, trailer, trailer + 20]:
        dump.path.write_bytes(data[:size])
        for check in (True, False):
            assert dump.run(check=check)["code"] == "SQL_TRUNCATED", size
    dump.path.write_bytes(data + data)
    assert dump.run()["code"] == "SQL_FORBIDDEN", "two in one file"
    dump.path.write_bytes(b"")
    assert dump.run()["code"] == "SQL_TRUNCATED"
    assert (site.state(), site.beside()) == (before, [])


def test_what_is_no_text(site: Any, dump: Dump) -> None:
    dump.path.write_bytes(dump.text.encode("utf-16"))
    assert dump.run()["code"] == "SQL_UNREADABLE"
    dump.path.write_bytes(b"\x1f\x8b" + b"\0" * 50)
    assert "unpack" in dump.run()["next_step"]
    dump.path.write_bytes(b"PGDMP")
    assert "pg_restore --file" in dump.run()["next_step"]
    dump.write("SELECT 1;\n")
    assert dump.run()["code"] == "SQL_FORBIDDEN"


def test_a_statement_that_fails_names_its_line_and_leaves_nothing(site: Any, dump: Dump) -> None:
    before = site.change()
    lines = dump.text.splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if line.startswith("COPY public.users ("))
    lines[at + 5] = "not a number\tx\tnow\n"
    dump.write("".join(lines))
    failed = dump.run(safety_backup=False)
    assert failed["code"] == "RESTORE_FAILED"
    assert f"line {at + 1}" in failed["msg"]
    assert "as it was" in failed["next_step"]
    dump.write(dump.text.replace(f"TO {site.app};", "TO nobody_here;"))
    assert dump.run(check=True)["code"] == "ROLES_MISSING"
    dump.good(application_role=site.app, check=True)
    assert (site.state(), site.beside()) == (before, [])


def test_rows_that_do_not_arrive(site: Any, dump: Dump, monkeypatch: pytest.MonkeyPatch) -> None:
    before, real = site.change(), imported.Inside.load

    def lossy(self: Any, pieces: Any, *more: Any) -> None:
        real(self, pieces, *more)
        self.execute("DELETE FROM public.users WHERE id = 7")

    monkeypatch.setattr(imported.Inside, "load", lossy)
    result = dump.run(safety_backup=False)
    assert (result["code"], result["differences"]) == (
        "RESTORE_DIFFERS",
        ["public.users has 2999 rows instead of 3000"],
    )
    assert (site.state(), site.beside()) == (before, [])


def test_changed_while_it_is_imported(site: Any, dump: Dump, monkeypatch: pytest.MonkeyPatch) -> None:
    before, real, later = site.change(), imported.Import.fill, ""

    def fill(self: Any, *arguments: Any) -> None:
        dump.write(dump.text + later)
        real(self, *arguments)

    monkeypatch.setattr(imported.Import, "fill", fill)
    for later, code in (("\n", "SQL_OTHER"), ("\\! id\n", "SQL_FORBIDDEN")):  # noqa: B007 (fill reads it)
        dump.write(dump.text)
        assert dump.run(safety_backup=False)["code"] == code
    assert (site.state(), site.beside()) == (before, [])


def test_never_as_a_superuser(site: Any, dump: Dump) -> None:
    url = site.server.url_for(site.database)
    for check in (True, False):
        assert dump.run(database_url=url, check=check)["code"] == "ACCOUNT_TOO_STRONG"
    site.admin(f"GRANT pg_execute_server_program TO {site.owner}")
    assert dump.run(check=True)["code"] == "ACCOUNT_TOO_STRONG"
    site.admin(f"REVOKE pg_execute_server_program FROM {site.owner}")
    # Who makes databases may be one.
    dump.good(maintenance_url=site.server.url, safety_backup=False)


def test_without_the_right_to_make_databases(site: Any, dump: Dump) -> None:
    site.admin(f"ALTER ROLE {site.owner} NOCREATEDB")
    refused = dump.run(accept_in_place=True)
    assert (refused["code"], "accept_in_place" in refused["next_step"]) == ("RIGHTS_MISSING", False)


def test_psql_is_not_asked(site: Any, dump: Dump, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    real = subprocess.Popen

    def popen(words: Any, *more: Any, **named: Any) -> Any:
        started.append(" ".join(map(str, words)))
        return real(words, *more, **named)

    monkeypatch.setattr(subprocess, "Popen", popen)
    dump.good(safety_backup=False)
    assert [words for words in started if "psql" in words or site.owner in words] == []


# --- everything ------------------------------------------------------------------------------------------------------


class Owned(oracle.Site):
    """The database of everything, whose owner is no superuser and may make no databases."""

    def __init__(self, server: Any, directory: Path, run_module: Callable[..., Any]) -> None:
        self.server, self.directory, self._run = server, directory, run_module
        self.database = server.fresh_database().rpartition("/")[2]
        self.reader, self.owner = f"reader_{self.database}", f"owner_{self.database}"
        server.sql(f"CREATE ROLE {self.reader}; CREATE ROLE {self.owner} LOGIN PASSWORD 'owner-p4ss'")
        server.sql(f"ALTER DATABASE {self.database} OWNER TO {self.owner}")
        self.url = server.url_for(self.database, user=self.owner, password="owner-p4ss")
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in (*oracle.BEFORE_ALL, oracle.EVERYTHING.replace("{reader}", self.reader)):
                connection.execute(statement.encode())

    def close(self) -> None:
        super().close()
        self.server.sql(f"DROP ROLE {self.owner}")


@pytest.fixture(params=["postgres_server", "newer_postgres_server"])
def owned(request: pytest.FixtureRequest, tmp_path: Path, run_module: Callable[..., Any]) -> Iterator[Owned]:
    made = Owned(request.getfixturevalue(request.param), tmp_path / "backups", run_module)
    yield made
    made.close()


def test_everything_comes_out_of_a_plain_dump(owned: Owned) -> None:
    owned.server.sql(f"ALTER ROLE {owned.owner} CREATEDB")
    before, dump = owned.text(), Dump(owned)
    owned.destroy()
    dump.good(safety_backup=False)
    oracle.assert_same(before, owned.text())


def test_everything_comes_back_in_place(owned: Owned) -> None:
    before = owned.text()
    options = {"bin_dir": str(owned.server.bin_dir), "accept_in_place": True}
    for form in ("custom", "directory"):
        label = owned.good("present", format=form, **options)["backup"]["label"]
        owned.destroy()
        assert owned.good("restored", label=label, **options)["plan"]["in_place"] is True
        oracle.assert_same(before, owned.text())
