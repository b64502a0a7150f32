"""alembic_migrate against a real PostgreSQL, with the real alembic in the release's place."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ansible.module_utils.floyo.postgres.lock import lock_key

ENV_PY = """
import os, sys, logging
from alembic import context
from sqlalchemy import create_engine, pool

print("revision 0000 (head)  noise that is no answer")
print('{"ok": true}', file=sys.stderr)
logging.basicConfig(level=logging.DEBUG)


def run(connection=None):
    settings = dict(SETTINGS)
    if connection is None:
        context.configure(url=URL, literal_binds=True, **settings)
    else:
        context.configure(connection=connection, **settings)
    with context.begin_transaction():
        context.run_migrations()


URL = os.environ["DATABASE_URL"]
SETTINGS = {}
EXTRA
if context.is_offline_mode():
    run()
else:
    with create_engine(URL, poolclass=pool.NullPool).connect() as connection:
        run(connection)
"""

ONE = "op.create_table('users', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('name', sa.Text()))"
TWO = "op.add_column('users', sa.Column('mail', sa.Text(), nullable=True))"
THREE = "op.drop_column('users', 'name')"


class Release:
    """A staged release with an alembic project, and the module run on it."""

    def __init__(self, directory: Path, url: str, run_module: Callable[..., Any]) -> None:
        self.directory, self.url, self._run = directory, url, run_module
        (directory / "migrations" / "versions").mkdir(parents=True)
        (directory / ".venv").symlink_to(sys.prefix)
        (directory / "alembic.ini").write_text(
            "[alembic]\nscript_location = migrations\nsqlalchemy.url = driver://nowhere\n"
        )
        self.env()
        self.last = ""

    def env(self, extra: str = "", text: str = ENV_PY) -> None:
        (self.directory / "migrations" / "env.py").write_text(text.replace("EXTRA", extra))

    def add(self, name: str, upgrade: str, downgrade: str = "pass", *, down: Any = "last", extra: str = "") -> Path:
        def block(code: str) -> str:
            return "\n".join("    " + line for line in code.splitlines())

        path = self.directory / "migrations" / "versions" / f"{name}.py"
        path.write_text(
            f'"""Step {name}."""\nfrom alembic import op\nimport sqlalchemy as sa\nrevision = {name!r}\n'
            f"down_revision = {(self.last or None) if down == 'last' else down!r}\n{extra}\n"
            f"def upgrade():\n{block(upgrade)}\n\ndef downgrade():\n{block(downgrade)}\n"
        )
        self.last = name
        return path

    def usual(self) -> None:
        self.add("aaaa1111", ONE, "op.drop_table('users')")
        self.add("bbbb2222", TWO, "op.drop_column('users', 'mail')")
        self.add("cccc3333", THREE, "op.add_column('users', sa.Column('name', sa.Text()))")

    def run(self, state: str = "info", *, check: bool = False, diff: bool = True, **more: Any) -> Any:
        arguments = {
            "release_dir": str(self.directory),
            "database_url": self.url,
            "state": state,
            "lock_wait": 2,
            **more,
        }
        return self._run("alembic_migrate", arguments, check=check, diff=diff)

    def sql(self, text: str) -> list[Any]:
        with psycopg.connect(self.plain_url, autocommit=True) as connection:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    @property
    def plain_url(self) -> str:
        return self.url.replace("+psycopg", "")

    @property
    def current(self) -> list[str]:
        return [row[0] for row in self.sql("SELECT version_num FROM alembic_version ORDER BY 1")]


@pytest.fixture
def release(tmp_path: Path, postgres_server: Any, run_module: Callable[..., Any]) -> Release:
    url = postgres_server.fresh_database().replace("postgresql://", "postgresql+psycopg://")
    return Release(tmp_path / "v2-00000000", url, run_module)


def four_runs(act: Callable[..., Any]) -> list[bool]:
    """check, real, check again, real again: whether each said changed."""
    results = [act(check=check) for check in (True, False, True, False)]
    assert all(result.rc == 0 for result in results), [result.json for result in results]
    return [result["changed"] for result in results]


# --- reading ---------------------------------------------------------------------------------------------------------


def test_statuses(release: Release) -> None:
    assert release.run()["status"] == "no_revisions"
    release.add("aaaa1111", ONE)
    assert release.run()["status"] == "uninitialised"
    release.sql("CREATE TABLE other (i int)")
    assert release.run()["status"] == "unstamped"
    assert release.run("head").json["code"] == "DATABASE_UNSTAMPED"
    release.sql("DROP TABLE other")
    assert release.run("head")["status"] == "at"
    release.add("bbbb2222", TWO)
    found = release.run()
    assert (found["status"], found["current"], found["heads"]) == ("behind", ["aaaa1111"], ["bbbb2222"])
    assert [entry["revision"] for entry in found["pending"]] == ["bbbb2222"]
    assert found["pending"][0]["class"] == "expand"
    assert found["version_table"] == "public.alembic_version"


def test_info_runs_nothing_of_the_application(release: Release) -> None:
    release.usual()
    release.env(text="raise SystemExit('env.py ran')")
    for check in (False, True):
        assert release.run(check=check)["changed"] is False


def test_a_revision_the_release_does_not_know(release: Release) -> None:
    release.usual()
    release.run("head", allow_classes=["expand", "contract"])
    newer = [{"revision": "dddd4444", "down_revisions": ["cccc3333"], "class": "expand"}]
    release.sql("UPDATE alembic_version SET version_num = 'dddd4444'")
    assert release.run()["status"] == "unknown"
    assert release.run(known_revisions=newer)["status"] == "ahead"
    cases: list[tuple[str, dict[str, Any]]] = [("head", {}), ("revision", {"revision": "aaaa1111"}), ("preview", {})]
    for state, more in cases:
        failed = release.run(state, **more)
        assert failed.rc == 1
        assert failed["code"] == "DATABASE_UNKNOWN"
        assert "dddd4444" in failed["msg"]
        assert "newer release" in failed["next_step"]


def test_verified_needs_no_database(release: Release) -> None:
    release.usual()
    found = release.run("verified", database_url="")
    assert found.rc == 0, found.json
    assert found["heads"] == ["cccc3333"]
    assert [entry["class"] for entry in found["revisions"]] == ["expand", "expand", "contract"]


def test_verified_meets_what_alembic_cannot_load(release: Release) -> None:
    release.add("aaaa1111", ONE, extra="import not_installed_anywhere")
    failed = release.run("verified", database_url="")
    assert failed["code"] == "ENVIRONMENT_BROKEN"
    assert "not_installed_anywhere" in failed["msg"]
    assert failed["file"] == "migrations/versions/aaaa1111.py"


def test_verified_meets_a_parent_that_is_not_there(release: Release) -> None:
    """A typing error in down_revision, found before any host or database is asked."""
    release.add("aaaa1111", ONE)
    release.add("bbbb2222", TWO, down="aaaa1112")
    failed = release.run("verified", database_url="")
    assert failed.rc == 1
    assert "revision bbbb2222 follows aaaa1112, which no file defines" in failed["msg"]


def test_several_heads_are_refused_by_name(release: Release) -> None:
    release.add("aaaa1111", ONE)
    release.add("bbbb2222", TWO, down="aaaa1111")
    release.add("cccc3333", "op.create_table('x')", down="aaaa1111")
    for state in ("verified", "head"):
        failed = release.run(state)
        assert failed["code"] == "MULTIPLE_HEADS"
        assert "bbbb2222" in failed["msg"] and "cccc3333.py" in failed["msg"]
    assert release.run("head", multiple_heads=True)["current"] == ["bbbb2222", "cccc3333"]
    assert release.run("revision", revision="aaaa1111", allow_downgrades=["noop"])["current"] == ["aaaa1111"]


# --- moving ----------------------------------------------------------------------------------------------------------


def test_head_in_four_runs(release: Release) -> None:
    release.add("aaaa1111", ONE)
    release.add("bbbb2222", TWO)
    checked = release.run("head", check=True)
    assert checked["diff"] == {"before": "no revision", "after": "bbbb2222"}
    assert release.sql("SELECT to_regclass('users')") == [(None,)]
    assert four_runs(lambda check: release.run("head", check=check)) == [True, True, False, False]
    assert release.current == ["bbbb2222"]


def test_each_revision_is_a_step(release: Release) -> None:
    release.add("aaaa1111", ONE)
    release.add("bbbb2222", TWO)
    done = release.run("head")
    assert [(step["revision"], step["direction"]) for step in done["applied"]] == [
        ("aaaa1111", "up"),
        ("bbbb2222", "up"),
    ]
    assert all(step["seconds"] > 0 for step in done["applied"])
    assert done["diff"] == {"before": "no revision", "after": "bbbb2222"}
    assert done["plan"] == release_plan(done)


def release_plan(done: Any) -> list[dict[str, Any]]:
    return [entry for entry in done["plan"] if entry["direction"] == "up"]


def test_contract_is_held_back_until_it_is_named(release: Release) -> None:
    release.usual()
    release.add("dddd4444", "op.create_table('later')")
    done = release.run("head")
    assert release.current == ["bbbb2222"]
    assert done["status"] == "behind"
    assert [(entry["revision"], entry["class"]) for entry in done["held_back"]] == [
        ("cccc3333", "contract"),
        ("dddd4444", "expand"),
    ]
    assert "comes after cccc3333" in done["held_back"][1]["reason"]
    assert release.run("head")["changed"] is False
    assert release.run("head", allow_classes=["expand", "contract"])["current"] == ["dddd4444"]


def test_to_a_revision_up_and_down_in_four_runs(release: Release) -> None:
    release.usual()
    release.run("head", allow_classes=["expand", "contract"])
    down: dict[str, Any] = {"revision": "bbbb2222"}
    assert four_runs(lambda check: release.run("revision", check=check, **down)) == [True, True, False, False]
    assert release.current == ["bbbb2222"]
    failed = release.run("revision", revision="cccc")
    assert failed["code"] == "CLASS_NOT_ALLOWED"
    up: dict[str, Any] = {"revision": "cccc", "allow_classes": ["contract"]}
    assert four_runs(lambda check: release.run("revision", check=check, **up)) == [True, True, False, False]


def test_a_lossy_downgrade_has_to_be_named(release: Release) -> None:
    release.usual()
    release.run("head")
    failed = release.run("revision", revision="aaaa1111")
    assert failed["code"] == "DOWNGRADE_NOT_ALLOWED"
    assert failed["loses"] == ["column users.mail"]
    assert release.current == ["bbbb2222"]
    assert release.run("revision", revision="base", allow_downgrades=["lossy"])["status"] == "uninitialised"
    assert release.sql("SELECT to_regclass('users')") == [(None,)]


def test_a_downgrade_that_does_nothing_has_to_be_named(release: Release) -> None:
    """alembic would move its version, leave the table, and fail at the next upgrade."""
    release.add("aaaa1111", ONE)
    release.add("bbbb2222", "op.create_table('more', sa.Column('id', sa.Integer()))", "pass")
    release.run("head")
    failed = release.run("revision", revision="aaaa1111", allow_downgrades=["clean", "lossy"])
    assert (failed["code"], failed["downgrades"]["bbbb2222"]["kind"]) == ("DOWNGRADE_NOT_ALLOWED", "noop")
    assert release.current == ["bbbb2222"]


@pytest.mark.parametrize("revision", ["-1", "+1", "head-1", "aaaa1111@head", "head", "zzzz", ""])
def test_relative_and_unknown_revisions_are_refused(release: Release, revision: str) -> None:
    release.usual()
    failed = release.run("revision", revision=revision)
    assert failed.rc == 1
    assert failed["code"] in ("REVISION_RELATIVE", "REVISION_UNKNOWN")


def test_preview_starts_where_the_database_is(release: Release) -> None:
    release.usual()
    release.run("revision", revision="aaaa1111")
    shown = release.run("preview", allow_classes=["expand", "contract"])
    assert [entry["revision"] for entry in shown["sql"]] == ["bbbb2222", "cccc3333"]
    assert "ADD COLUMN mail" in shown["sql"][0]["sql"]
    assert "CREATE TABLE" not in shown["sql"][0]["sql"]
    assert "DROP COLUMN name" in shown["sql"][1]["sql"]
    assert shown["changed"] is False
    assert release.current == ["aaaa1111"]


def test_preview_marks_what_reads_rows(release: Release) -> None:
    release.add("aaaa1111", "for row in op.get_bind().execute(sa.text('SELECT 1')).fetchall():\n    print(row)")
    shown = release.run("preview", allow_classes=["unknown"])
    assert shown["sql"][0]["renderable"] is False
    assert shown["sql"][0]["reason"]


# --- failing ---------------------------------------------------------------------------------------------------------


def test_a_failing_statement_reaches_the_operator(release: Release) -> None:
    release.add("aaaa1111", ONE)
    release.add(
        "bbbb2222", "op.execute(\"ALTER TABLE users ADD COLUMN x integer DEFAULT 'a secret value that is long'\")"
    )
    release.add("cccc3333", TWO)
    failed = release.run("head", allow_classes=["expand", "unknown"])
    assert failed.rc == 1
    assert failed["code"] == "MIGRATION_FAILED"
    assert failed["revision"] == "bbbb2222"
    assert "invalid input syntax for type integer" in failed["msg"]
    assert failed["statement"] == "ALTER TABLE users ADD COLUMN x integer DEFAULT '...'"
    assert failed["sqlstate"] == "22P02"
    assert [step["revision"] for step in failed["applied"]] == ["aaaa1111"]
    assert "Traceback" not in failed["msg"]
    assert release.current == ["aaaa1111"]


def test_an_error_of_python_names_file_and_line(release: Release) -> None:
    release.add("aaaa1111", "x = {}\nx['missing']")
    failed = release.run("head", allow_classes=["unknown", "expand"])
    assert failed["code"] == "MIGRATION_FAILED"
    assert "KeyError: 'missing'" in failed["msg"]
    assert (failed["file"], failed["line"]) == ("migrations/versions/aaaa1111.py", 9)


@pytest.mark.parametrize(
    "code", ["raise SystemExit(3)", "import os; os._exit(3)", "import os; os.kill(os.getpid(), 9)"]
)
def test_an_application_that_ends_the_process(release: Release, code: str) -> None:
    release.add("aaaa1111", code)
    failed = release.run("head", allow_classes=["unknown"])
    assert failed.rc == 1
    assert failed["code"] in ("MIGRATION_FAILED", "HELPER_DIED")
    assert release.sql("SELECT to_regclass('alembic_version')") == [(None,)] or release.current == []


def test_an_env_that_does_not_commit(release: Release) -> None:
    release.add("aaaa1111", ONE)
    release.env(text=ENV_PY.replace("EXTRA", "").replace("with context.begin_transaction():", "if connection.begin():"))
    failed = release.run("head")
    assert failed["code"] == "MIGRATION_NOT_COMMITTED"
    assert release.sql("SELECT to_regclass('users')") == [(None,)]


def test_an_env_that_uses_another_database(release: Release, postgres_server: Any) -> None:
    release.add("aaaa1111", ONE)
    other = postgres_server.fresh_database().replace("postgresql://", "postgresql+psycopg://")
    release.env(f"URL = {other!r}")
    assert release.run("head")["code"] == "WRONG_DATABASE"


def test_an_env_that_reads_the_ini_file(release: Release) -> None:
    release.add("aaaa1111", ONE)
    release.env("URL = context.config.get_main_option('sqlalchemy.url')")
    assert release.run("head")["current"] == ["aaaa1111"]


def test_a_password_that_an_ini_file_would_take_for_something_else(release: Release, postgres_server: Any) -> None:
    release.add("aaaa1111", ONE)
    database = release.sql("SELECT current_database()")[0][0]
    postgres_server.sql(
        "DROP ROLE IF EXISTS strange; CREATE ROLE strange LOGIN SUPERUSER PASSWORD 'p%40(w)s %(here)s@:/x'"
    )
    word = "p%2540%28w%29s%20%25%28here%29s%40%3A%2Fx"
    url = postgres_server.url_for(database, user="strange", password=word).replace("sql:", "sql+psycopg:", 1)
    for extra in ("", "URL = context.config.get_main_option('sqlalchemy.url')"):
        release.env(extra)
        assert release.run("head", database_url=url)["current"] == ["aaaa1111"]
        release.run("revision", revision="base", allow_downgrades=["noop"], database_url=url)
        release.sql("DROP TABLE users")


def test_an_env_that_waits_for_something_else_is_ended(release: Release) -> None:
    release.add("aaaa1111", ONE)
    release.env(f"import time; print('waiting for the queue'); time.sleep(600)  # {release.directory}")
    for timeout in (1, 15, 60):  # a busy machine needs more before it comes to env.py
        failed = release.run("preview", timeout=timeout)
        assert failed["code"] == "HELPER_TIMEOUT", failed.json
        if failed["output_tail"]:
            break
    assert "waiting for the queue" in failed["output_tail"]
    left = [path for path in Path("/proc").glob("[0-9]*/cwd") if _leads_to(path, release.directory)]
    assert left == []


def _leads_to(link: Path, place: Path) -> bool:
    try:
        return link.readlink() == place
    except OSError:
        return False  # it has ended, or is the kernel's


def test_version_table_in_another_schema(release: Release) -> None:
    release.add("aaaa1111", ONE)
    release.sql("CREATE SCHEMA own")
    release.env("SETTINGS = {'version_table_schema': 'own', 'version_table': 'versions'}")
    done = release.run("head", version_table="versions", version_table_schema="own")
    assert done["version_table"] == "own.versions"
    assert release.run("head", version_table="versions")["changed"] is False


def test_a_driver_that_the_release_lacks_is_no_trouble_of_the_database(release: Release) -> None:
    release.add("aaaa1111", ONE)
    failed = release.run(database_url=release.plain_url.replace("postgresql:", "postgresql+pg8000:"))
    assert failed["code"] == "ENVIRONMENT_BROKEN"
    assert "pg8000" in failed["msg"]


class Pooler:
    """Between client and server; it makes up the number of the server's process, as poolers do."""

    def __init__(self, port: int) -> None:
        self.server = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.server))
            threading.Thread(target=self.pass_on, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self.pass_on, args=(server, client, True), daemon=True).start()

    def pass_on(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        key, waiting = b"K\x00\x00\x00\x0c", answers  # BackendKeyData: length 12, process, secret
        with source, sink, contextlib.suppress(OSError):  # one side has gone
            while data := source.recv(65536):
                if waiting and (at := data.find(key)) >= 0:
                    data, waiting = data[: at + 5] + b"\x00\x00\x00\x07" + data[at + 9 :], False
                sink.sendall(data)


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_a_pooler_is_refused(release: Release, postgres_server: Any, driver: str) -> None:
    release.add("aaaa1111", ONE)
    pooler = Pooler(postgres_server.port)
    url = release.plain_url.replace(f":{postgres_server.port}/", f":{pooler.port}/").replace("sql:", f"sql+{driver}:")
    with pooler.listener:
        failed = release.run("head", database_url=url + "?sslmode=disable")
    assert failed["code"] == "POOLER", failed.json
    assert release.sql("SELECT to_regclass('users')") == [(None,)]


def test_an_unreachable_database_and_a_wrong_password(release: Release, postgres_server: Any) -> None:
    release.add("aaaa1111", ONE)
    for url in (
        "postgresql+psycopg://u:S3cretS3cret@127.0.0.1:1/x",
        postgres_server.url_for("postgres", password="S3cretS3cret").replace("postgresql:", "postgresql+psycopg:"),
    ):
        failed = release.run(database_url=url)
        assert failed["code"] == "DATABASE_UNREACHABLE"
        assert "S3cretS3cret" not in str(failed.json)


def test_no_secret_in_results(release: Release, postgres_server: Any) -> None:
    release.add(
        "aaaa1111", "import os\nprint(os.environ['DATABASE_URL'])\nraise ValueError(os.environ['DATABASE_URL'])"
    )
    failed = release.run("head", allow_classes=["unknown"])
    assert failed["code"] == "MIGRATION_FAILED"
    assert postgres_server.password not in str(failed.json)


def test_no_secret_in_arguments_of_processes(release: Release, postgres_server: Any) -> None:
    release.add("aaaa1111", "op.execute('SELECT pg_sleep(1)')")
    seen: list[str] = []

    def look() -> None:
        while worker.is_alive():
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.append(process.read_bytes().decode(errors="replace"))
                except OSError:
                    continue
            time.sleep(0.05)

    worker = threading.Thread(target=lambda: release.run("head", allow_classes=["unknown"]))
    worker.start()
    look()
    assert any(str(release.directory) in line for line in seen)
    assert not any(postgres_server.password in line for line in seen)


# --- together with others --------------------------------------------------------------------------------------------


@pytest.fixture
def other(release: Release) -> Iterator[Any]:
    with psycopg.connect(release.plain_url, application_name="psql of ada") as connection:
        yield connection


def test_the_lock_is_waited_for_and_its_holder_named(release: Release, other: Any) -> None:
    release.add("aaaa1111", ONE)
    database = release.sql("SELECT current_database()")[0][0]
    other.execute(f"SELECT pg_advisory_lock({lock_key(database)})")
    failed = release.run("head", lock_wait=0.3)
    assert failed["code"] == "LOCK_HELD"
    assert "psql of ada" in failed["msg"]
    assert failed["holders"][0]["pid"] == other.info.backend_pid
    assert release.run("info").rc == 0, "reading needs no lock"
    other.close()
    assert release.run("head")["changed"] is True


def test_a_blocked_table_is_tried_again_and_the_blocker_named(release: Release, other: Any) -> None:
    release.add("aaaa1111", ONE)
    release.add("bbbb2222", TWO)
    release.run("revision", revision="aaaa1111")
    other.execute("SELECT * FROM users")  # an open transaction that reads the table
    failed = release.run("head", lock_timeout=0.3, lock_attempts=2)
    assert failed["code"] == "LOCK_TIMEOUT"
    assert "2 times" in failed["msg"]
    assert "psql of ada" in failed["blockers"][0]
    assert release.current == ["aaaa1111"]

    def waiting() -> list[Any]:
        return release.sql("SELECT pid, query_start FROM pg_stat_activity WHERE wait_event_type = 'Lock'")

    def go_after_one_try() -> None:
        deadline = time.monotonic() + 120
        seen: list[Any] = []
        while not seen and time.monotonic() < deadline:
            seen = waiting()
        while waiting() == seen and time.monotonic() < deadline:
            pass
        other.rollback()

    blocker = threading.Thread(target=go_after_one_try)
    blocker.start()
    done = release.run("head", lock_timeout=0.3, lock_attempts=100)
    blocker.join()
    assert done["applied"][0]["attempts"] > 1


def test_the_host_program_says_what_the_module_says(release: Release, tmp_path: Path) -> None:
    """Its short way for a rollback: the packed program, without site-packages, and the options on standard input."""
    import alembic_migrate

    root, program = Path(__file__).resolve().parents[2], tmp_path / "floyo-release"
    subprocess.run([sys.executable, root / "scripts" / "pack_host_program", program], check=True)
    arguments: dict[str, Any] = alembic_migrate.ARGUMENTS
    given = {name: option.get("default", "") for name, option in arguments.items()}
    given |= {"release_dir": str(release.directory), "database_url": release.url, "state": "head"}

    def ask(**more: Any) -> tuple[int, dict[str, Any], str]:
        words = [sys.executable, "-IS", str(program), "--json", "migrations"]
        done = subprocess.run(words, input=json.dumps({**given, **more}), capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout), done.stdout + done.stderr

    release.usual()
    for revision in ("", "aaaa1111", "cccc3333"):
        if revision:
            release.run("revision", revision=revision, allow_classes=["expand", "contract"])
        status, said, _ = ask()
        told = release.run("info")
        assert status == 0
        # It never does what it was asked to do beyond a look.
        assert said == {name: told[name] for name in said}
        assert said["status"] == {"": "uninitialised", "aaaa1111": "behind", "cccc3333": "at"}[revision]
    status, said, printed = ask(database_url=release.url.replace("://", "://wrong:secret-word@"))
    assert status == 1
    assert said["code"] == release.run("info", database_url=release.url.replace("://", "://wrong:secret-word@"))["code"]
    assert "secret-word" not in printed


def test_two_at_once_apply_once(release: Release, run_module: Callable[..., Any]) -> None:
    release.add("aaaa1111", f"{ONE}\nop.execute('SELECT pg_sleep(0.5)')")
    release.add("bbbb2222", TWO)
    root = Path(__file__).resolve().parents[2]
    code = (
        "import sys, json; import ansible.module_utils;"
        f"ansible.module_utils.__path__.append({str(root / 'module_utils')!r});"
        "from ansible.module_utils.floyo.migrations.glue import migrate;"
        "print(json.dumps(migrate(json.load(sys.stdin), check_mode=False)))"
    )
    import alembic_migrate

    arguments: dict[str, Any] = alembic_migrate.ARGUMENTS
    parameters: dict[str, Any] = {name: option.get("default", "") for name, option in arguments.items()}
    parameters |= {
        "release_dir": str(release.directory), "database_url": release.url, "state": "head", "allow_classes": ["expand", "unknown"],
    }  # fmt: skip
    runs = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in runs:
        assert process.stdin
        process.stdin.write(json.dumps(parameters))
        process.stdin.close()
    results = [json.loads(process.stdout.read()) for process in runs if process.stdout]
    assert [process.wait() for process in runs] == [0, 0, 0]
    assert sorted(result["changed"] for result in results) == [False, False, True]
    assert {tuple(result["current"]) for result in results} == {("bbbb2222",)}


def test_a_revision_that_takes_too_long_is_cancelled(release: Release) -> None:
    release.add("aaaa1111", "op.execute('SELECT pg_sleep(600)')")
    for timeout in (3, 15, 60):  # a busy machine needs more before it comes to the revision
        failed = release.run("head", allow_classes=["unknown"], timeout=timeout)
        if failed["code"] == "MIGRATION_TIMEOUT":
            break
    assert failed["code"] == "MIGRATION_TIMEOUT"

    def ours() -> list[Any]:
        return release.sql(
            "SELECT state, query FROM pg_stat_activity"
            " WHERE application_name LIKE 'floyo:%' AND datname = current_database()"
        )

    deadline = time.monotonic() + 60  # a server takes a moment to notice that a client is gone
    while ours() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ours() == []


def test_a_failed_concurrent_build_leaves_a_name_to_drop(release: Release) -> None:
    release.add("aaaa1111", ONE)
    release.run("head")
    release.sql("INSERT INTO users VALUES (1, 'a'), (2, 'a')")
    release.add(
        "bbbb2222",
        "with op.get_context().autocommit_block():\n"
        "    op.create_index('one_name', 'users', ['name'], unique=True, postgresql_concurrently=True)",
    )
    failed = release.run("head", allow_classes=["expand", "contract", "irreversible"])
    assert failed["code"] == "MIGRATION_FAILED"
    assert failed["invalid_indexes"] == ["public.one_name"]
    assert "drop the invalid index" in failed["next_step"]


def test_the_environment_file_is_read_as_systemd_reads_it(release: Release, tmp_path: Path) -> None:
    (tmp_path / "backend.env").write_text(
        "DATABASE_URL=postgresql+psycopg://nobody@nowhere/x\nGREETING='hello world'\n"
    )
    release.add("aaaa1111", "import os\nassert os.environ['GREETING'] == 'hello world'")
    done = release.run(
        "head",
        allow_classes=["unknown"],
        environment_file=str(tmp_path / "backend.env"),
        database_url=release.plain_url,
    )
    assert done.rc == 0, done.json
    assert release.run(environment_file=str(tmp_path / "none.env"))["code"] == "ENVIRONMENT_MISSING"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_another_account_is_refused_when_it_is_not_there(release: Release) -> None:
    assert release.run(run_as="no-such-account")["code"] == "ACCOUNT_UNKNOWN"


def test_a_release_that_is_not_there(release: Release) -> None:
    assert release.run(release_dir="/nonexistent")["code"] == "RELEASE_UNKNOWN"


# --- graphs that are no line -----------------------------------------------------------------------------------------


def branches(release: Release) -> None:
    """Two branches from one root, one of them labelled and in need of the other, and a merge."""
    release.add("aaaa1111", ONE)
    release.add("bbbb2222", TWO, "op.drop_column('users', 'mail')", down="aaaa1111")
    release.add(
        "cccc3333",
        "op.create_table('bills', sa.Column('id', sa.Integer()))",
        "op.drop_table('bills')",
        down="aaaa1111",
        extra="branch_labels = ('billing',)\ndepends_on = 'bbbb2222'",
    )


def test_a_branch_by_its_label_with_what_it_depends_on(release: Release) -> None:
    branches(release)
    done = release.run("revision", revision="billing", multiple_heads=True)
    assert done.rc == 0, done.json
    assert [step["revision"] for step in done["applied"]] == ["aaaa1111", "bbbb2222", "cccc3333"]
    assert done["status"] == "at"
    assert release.run("head", multiple_heads=True)["changed"] is False
    back = release.run("revision", revision="aaaa1111", allow_downgrades=["clean", "lossy"])
    assert [step["revision"] for step in back["applied"]] == ["cccc3333", "bbbb2222"]
    assert release.current == ["aaaa1111"]


def test_through_a_merge_up_and_down(release: Release) -> None:
    branches(release)
    release.add("dddd4444", "pass", down=("bbbb2222", "cccc3333"))
    assert four_runs(lambda check: release.run("head", check=check)) == [True, True, False, False]
    assert release.current == ["dddd4444"]
    back = release.run("revision", revision="bbbb2222", allow_downgrades=["clean", "lossy"])
    assert [step["revision"] for step in back["applied"]] == ["dddd4444", "cccc3333"]
    assert release.current == ["bbbb2222"]


def test_a_database_that_went_another_way(release: Release) -> None:
    release.usual()
    other = [{"revision": "eeee5555", "down_revisions": ["aaaa1111"], "class": "expand"}]
    release.run("revision", revision="aaaa1111")
    release.sql("UPDATE alembic_version SET version_num = 'eeee5555'")
    assert release.run(known_revisions=other)["status"] == "diverged"
    assert release.run("head", known_revisions=other)["code"] == "DATABASE_DIVERGED"


def test_an_application_without_migrations(release: Release) -> None:
    for state in ("info", "verified", "head", "preview"):
        found = release.run(state, alembic_config="")
        assert (found.rc, found["status"], found["changed"]) == (0, "no_revisions", False), found.json


def test_a_published_revision_that_was_edited_is_named(release: Release) -> None:
    release.usual()
    known = release.run("verified", database_url="")["revisions"]
    release.run("head")
    assert release.run(known_revisions=known)["edited"] == []
    path = release.directory / "migrations" / "versions" / "aaaa1111.py"
    path.write_text(path.read_text() + "# afterthought\n")
    assert release.run(known_revisions=known)["edited"] == ["aaaa1111"]


# --- other ways to run the migrations --------------------------------------------------------------------------------

ASYNC_ENV_PY = """
import asyncio, os
from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import create_async_engine

URL = os.environ["DATABASE_URL"]


def work(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


async def online():
    engine = create_async_engine(URL, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(work)
    await engine.dispose()


if context.is_offline_mode():
    context.configure(url=URL, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    asyncio.run(online())
"""


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_an_asynchronous_env(release: Release, other: Any, driver: str) -> None:
    release.env(text=ASYNC_ENV_PY)
    release.url = release.plain_url.replace("postgresql:", f"postgresql+{driver}:")
    plain = release.url.replace(f"+{driver}", "")
    release.add("aaaa1111", ONE, "op.drop_table('users')")
    release.add("bbbb2222", "op.execute('ALTER TABLE users ADD COLUMN x integer DEFAULT 1/0')")
    failed = release.run("head", allow_classes=["expand", "unknown"])
    assert (failed["code"], failed["revision"], failed["sqlstate"]) == ("MIGRATION_FAILED", "bbbb2222", "22012")
    assert "division by zero" in failed["msg"]
    assert "1/0" in failed["statement"]
    assert [step["revision"] for step in failed["applied"]] == ["aaaa1111"]
    with psycopg.connect(plain) as reader:
        reader.execute("SELECT * FROM users")
        blocked = release.run(
            "revision", revision="base", allow_downgrades=["lossy"], lock_timeout=0.3, lock_attempts=2
        )
        assert (blocked["code"], blocked["sqlstate"]) == ("LOCK_TIMEOUT", "55P03")
        assert str(reader.info.backend_pid) in blocked["blockers"][0]
    assert "ALTER TABLE" in release.run("preview", allow_classes=["expand", "unknown"])["sql"][0]["sql"]
    assert release.run("revision", revision="base", allow_downgrades=["lossy"])["status"] == "uninitialised"


@pytest.mark.parametrize(
    "noise",
    [
        "import sys; sys.stdin.read(); print(input.__name__)",
        "import os; os.write(1, b'{\"ok\": false}\\n'); os.write(2, b'{\"ok\": false}\\n')",
        "import logging.config; logging.config.dictConfig({'version': 1, 'disable_existing_loggers': True})",
        "import threading, time; threading.Thread(target=time.sleep, args=(600,)).start()",
        "import subprocess; subprocess.run(['sh', '-c', 'cat; echo noise'], check=True)",
        "import warnings; warnings.simplefilter('error')",
    ],
    ids=["stdin", "answers", "logging", "thread", "child", "warnings"],
)
def test_what_the_application_does_beside_changes_nothing(release: Release, noise: str) -> None:
    release.env(extra=noise)
    release.add("aaaa1111", ONE)
    done = release.run("head")
    assert (done.rc, done["changed"], done["current"]) == (0, True, ["aaaa1111"]), done.json


# --- trying again ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sqlstate", "tries"), [("40P01", 3), ("55P03", 3), ("40001", 1), ("53300", 1), ("57014", 1), ("23505", 1)]
)
def test_only_locks_and_deadlocks_are_tried_again(release: Release, sqlstate: str, tries: int) -> None:
    release.sql("CREATE SEQUENCE tries")  # a rollback does not set it back
    release.add(
        "aaaa1111",
        "op.execute(\"DO $$ BEGIN IF nextval('tries') < 3 THEN RAISE EXCEPTION 'no'"
        f" USING ERRCODE = '{sqlstate}'; END IF; END $$\")",
    )
    release.run("info")
    release.sql("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    release.add("base0000", "pass", down=None)
    path = release.directory / "migrations" / "versions" / "aaaa1111.py"
    path.write_text(path.read_text().replace("down_revision = None", "down_revision = 'base0000'"))
    release.sql("INSERT INTO alembic_version VALUES ('base0000')")
    done = release.run("head", allow_classes=["expand", "unknown", "data"], lock_attempts=5)
    assert release.sql("SELECT last_value FROM tries") == [(tries,)]
    if tries == 3:
        assert done.rc == 0, done.json
        assert done["applied"][0]["attempts"] == 3
    else:
        assert (done["code"], done["sqlstate"]) == ("MIGRATION_FAILED", sqlstate)


def test_a_step_outside_a_transaction_is_not_tried_again(release: Release, other: Any) -> None:
    release.add("aaaa1111", ONE)
    release.run("head")
    release.add(
        "bbbb2222",
        "with op.get_context().autocommit_block():\n"
        "    op.create_index('by_name', 'users', ['name'], postgresql_concurrently=True)\n"
        "op.add_column('users', sa.Column('mail', sa.Text()))",
    )
    other.execute("SELECT * FROM users")
    failed = release.run("head", lock_timeout=0.3)
    assert failed["code"] == "LOCK_TIMEOUT"
    assert "1 times" in failed["msg"]


def test_the_blocker_is_named_and_its_values_are_not(release: Release, other: Any) -> None:
    release.add("aaaa1111", ONE)
    release.run("head")
    release.add("bbbb2222", TWO)
    long = "x" * 400
    for query in ("SELECT 'hunter2' FROM users", f"SELECT name, 'hunter2{long}' FROM users"):  # noqa: S608
        other.execute(query.encode())
        failed = release.run("head", lock_timeout=0.2, lock_attempts=1)
        (blocker,) = failed["blockers"]
        assert f"pid {other.info.backend_pid} (psql of ada, user postgres, idle in transaction" in blocker
        assert "SELECT" in blocker
        assert "hunter2" not in str(failed.json)
        other.rollback()


def test_the_lock_is_the_one_of_backups(release: Release) -> None:
    """Each keeps the other away and says who it is."""
    from contextlib import closing

    from ansible.module_utils.floyo.backup.server import Server
    from ansible.module_utils.floyo.errors import Refused
    from ansible.module_utils.floyo.postgres.url import parse_url

    release.add("aaaa1111", ONE)
    database = release.sql("SELECT current_database()")[0][0]
    with closing(Server(parse_url(release.plain_url), "backup")) as server:
        server.take_lock(database, time.monotonic())
        failed = release.run("head", lock_wait=0.3)
        assert failed["code"] == "LOCK_HELD"
        assert failed["holders"][0]["application_name"].startswith("floyo:backup@")
    release.add("bbbb2222", "op.execute('SELECT pg_sleep(600)')")
    thread = threading.Thread(target=lambda: release.run("head", allow_classes=["expand", "unknown"]))
    thread.start()
    deadline = time.monotonic() + 300
    asleep = "FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(600)%' AND datname = current_database()"
    with closing(Server(parse_url(release.plain_url), "backup")) as server:
        while not release.sql(f"SELECT 1 {asleep}"):
            assert thread.is_alive() and time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(Refused, match="floyo:migrate@"):
            server.take_lock(database, time.monotonic())
    release.sql(f"SELECT pg_cancel_backend(pid) {asleep}")
    thread.join()


# --- the verdict on what is pending ----------------------------------------------------------------------------------


def test_a_verdict_joins_the_sql_and_the_live_sizes(release: Release, other: Any) -> None:
    release.usual()
    release.run("head")
    release.add("dddd4444", "op.create_index('by_name', 'users', ['mail'])")
    release.sql("INSERT INTO users (id) SELECT generate_series(1, 50); ANALYZE users")
    before = release.run("info").json
    small = release.run("linted")
    assert small.rc == 0, small.json
    assert (small["changed"], small["lint"]["verdict"]) == (False, "pass")
    assert [one["revision"] for one in small["lint"]["revisions"]] == ["cccc3333", "dddd4444"], "contract too"
    (hold,) = small["lint"]["revisions"][1]["holds"]
    assert (hold["table"], hold["lock"], hold["rows"]) == ("public.users", "SHARE", 50)
    assert small["rows"][1]["lock"] == "SHARE on users (50 rows)"
    large = release.run("linted", limits={"rows": 50})
    assert [one["verdict"] for one in large["lint"]["revisions"]] == ["pass", "fail"]
    assert "nobody can write public.users (50 rows)" in large["lint"]["revisions"][1]["findings"][0]["found"]
    other.execute("SELECT 'secret' FROM users")
    held = release.run("linted", limits={"blocker_seconds": 0})
    found = held["lint"]["revisions"][0]["findings"][0]["found"]
    assert f"held now by pid {other.info.backend_pid} (psql of ada" in found
    assert "secret" not in str(held.json)
    assert release.run("info").json == before


def test_a_verdict_does_not_wait_for_a_table(release: Release, other: Any) -> None:
    release.usual()
    release.run("head")
    other.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    found = release.run("linted", limits={"blocker_seconds": 0})
    assert found["lint"]["verdict"] == "fail", found.json
    assert "ACCESS EXCLUSIVE" in str(found["live"])


def test_a_verdict_without_anything_pending(release: Release) -> None:
    release.add("aaaa1111", ONE)
    release.run("head")
    found = release.run("linted")
    assert (found["lint"], found["rows"]) == ({"verdict": "pass", "revisions": [], "surroundings": []}, [])


def test_a_verdict_on_what_cannot_be_rendered(release: Release) -> None:
    release.add("aaaa1111", "for row in op.get_bind().execute(sa.text('SELECT 1')).fetchall():\n    print(row)")
    found = release.run("linted")
    assert found["lint"]["verdict"] == "warn"
    assert "rehearse" in found["lint"]["revisions"][0]["findings"][0]["next"]


def surroundings(found: Any) -> dict[str, Any]:
    assert found.rc == 0, found.json
    return {entry["name"]: entry for entry in found["lint"]["surroundings"]}


def test_a_verdict_on_the_database_as_a_whole(release: Release, other: Any, postgres_server: Any) -> None:
    release.add("aaaa1111", ONE)
    release.run("head")
    release.add("bbbb2222", TWO)
    assert surroundings(release.run("linted")) == {}
    other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 'secret'")
    limits: dict[str, Any] = {"blocker_seconds": 0, "transaction_seconds": 0, "slot_bytes": 0}
    release.sql("SELECT pg_create_physical_replication_slot('left_behind', true)")
    try:
        found = surroundings(release.run("linted", limits=limits))
    finally:
        release.sql("SELECT pg_drop_replication_slot('left_behind')")
    assert (found["transaction"]["result"], found["slot"]["result"]) == ("warn", "warn")
    assert f"pid {other.info.backend_pid} (psql of ada" in found["transaction"]["found"]
    assert "secret" not in str(found)
    assert "left_behind" in found["slot"]["found"]
    release.add(
        "cccc3333",
        "with op.get_context().autocommit_block():\n    op.create_index('i', 'users', ['mail'], postgresql_concurrently=True)",
    )
    assert surroundings(release.run("linted", limits=limits))["transaction"]["result"] == "fail"
    # A migration that runs meets what the verdict has told.
    failed = release.run("head", lock_timeout=0.3, allow_classes=["expand"])
    assert (failed["code"], failed["revision"]) == ("LOCK_TIMEOUT", "cccc3333"), failed.json


def test_a_verdict_on_a_replica_that_falls_behind(release: Release, replica: Any) -> None:
    release.add("aaaa1111", ONE)
    release.run("head")
    release.add("bbbb2222", TWO)
    limits = {"slot_bytes": 1 << 20}

    def found() -> Any:
        return surroundings(release.run("linted", limits=limits)).get("replica")

    deadline = time.monotonic() + 60
    while found() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert found() is None
    replica.sql("SELECT pg_wal_replay_pause()")
    release.sql("INSERT INTO users SELECT g, repeat('x', 500) FROM generate_series(1, 10000) g")
    behind = found()
    assert behind["result"] == "warn"
    assert "replica walreceiver is" in behind["found"]


@pytest.mark.parametrize("which", ["postgres_server", "newer_postgres_server"])
def test_the_oldest_and_the_newest_server_tell_the_same(
    request: pytest.FixtureRequest, tmp_path: Path, run_module: Callable[..., Any], which: str
) -> None:
    """What is asked of the statistics differs from version to version."""
    server = request.getfixturevalue(which)
    url = server.fresh_database().replace("postgresql:", "postgresql+psycopg:")
    release = Release(tmp_path / "v2-00000000", url, run_module)
    release.add("aaaa1111", ONE)
    release.run("head")
    release.sql("INSERT INTO users SELECT g, repeat('x', 1000) FROM generate_series(1, 2000) g; ANALYZE users")
    release.sql(
        "CREATE FUNCTION slow(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.001);"
        " RETURN $1; END $$"
    )
    release.add("bbbb2222", "op.execute('CREATE INDEX by_slow ON users (left(slow(name), 10))')")
    judged = release.run("linted", limits={"rows": 100})
    assert judged["lint"]["verdict"] == "fail", judged.json
    done, told = watched(release, tmp_path / "progress.json")
    assert done["applied"][0]["wal"] > 0
    assert any(record["doing"] and record["estimate"]["part"] for record in told)


def test_a_verdict_by_an_account_that_sees_little_says_so(release: Release, postgres_server: Any) -> None:
    release.add("aaaa1111", ONE)
    database = release.sql("SELECT current_database()")[0][0]
    postgres_server.sql("DROP ROLE IF EXISTS modest; CREATE ROLE modest LOGIN PASSWORD 'modest-p4ss'")
    url = postgres_server.url_for(database, user="modest", password="modest-p4ss").replace(":", "+psycopg:", 1)
    assert surroundings(release.run("linted", database_url=url))["rights"]["result"] == "warn"


def test_what_a_verdict_expects_to_be_written_is_what_is_written(release: Release) -> None:
    """A table that is written anew: beside the old one, and once more as WAL."""
    release.add("aaaa1111", ONE)
    release.run("head")
    release.sql("INSERT INTO users SELECT g, repeat('x', 500) FROM generate_series(1, 30000) g")
    release.sql("VACUUM ANALYZE users")
    release.add("bbbb2222", "op.alter_column('users', 'id', type_=sa.BigInteger())")
    found = release.run("linted", limits={"bytes": 1 << 20}, data_free=1)
    (judged,) = found["lint"]["revisions"]
    assert judged["verdict"] == "fail"
    assert surroundings(found)["disk"]["result"] == "fail"
    done = release.run("head", allow_classes=["contract", "irreversible", "expand"])
    written = done["applied"][0]["wal"] + release.sql("SELECT pg_total_relation_size('users')")[0][0]
    assert 0.5 * judged["needs"] < written < 1.5 * judged["needs"]
    assert surroundings(release.run("linted", data_free=1)) == {}, "nothing is pending"


def test_a_table_that_everybody_uses_is_judged_as_a_large_one(release: Release) -> None:
    release.add("aaaa1111", ONE)
    release.run("head")
    release.sql("INSERT INTO users SELECT g, 'x' FROM generate_series(1, 50) g; ANALYZE users")
    release.add("bbbb2222", "op.create_index('by_name', 'users', ['name'])")
    limits = {"rows": 500, "per_second": 20}
    assert release.run("linted", limits=limits)["lint"]["verdict"] == "pass"
    ended = threading.Event()

    def use() -> None:
        with psycopg.connect(release.plain_url, autocommit=True) as connection:
            while not ended.wait(0.005):
                connection.execute("SELECT count(*) FROM users")

    user = threading.Thread(target=use)
    user.start()
    try:
        found = release.run("linted", limits=limits)
    finally:
        ended.set()
        user.join()
    assert found["lint"]["verdict"] == "fail", found["lint"]
    assert "times a second" in found["lint"]["revisions"][0]["findings"][0]["found"]


# --- how far it is ---------------------------------------------------------------------------------------------------


def watched(release: Release, path: Path, **more: Any) -> tuple[Any, list[dict[str, Any]]]:
    """The result of a run, and all that it told while it ran."""

    results: list[Any] = []
    told: list[dict[str, Any]] = []
    options = {"allow_classes": ["expand", "data", "contract", "unknown"], "progress": str(path), **more}
    thread = threading.Thread(target=lambda: results.append(release.run("head", **options)))
    thread.start()
    while thread.is_alive():
        with contextlib.suppress(FileNotFoundError):
            record = json.loads(path.read_text())
            if not told or record["updated"] != told[-1]["updated"]:
                told.append(record)
        time.sleep(0.05)
    thread.join()
    assert not path.exists(), "it is gone with the run"
    return results[0], told


def test_batches_are_counted_while_they_are_filled(release: Release, tmp_path: Path) -> None:
    release.add("aaaa1111", ONE)
    release.run("head")
    release.sql("INSERT INTO users SELECT g, 'x' FROM generate_series(1, 1000) g; ANALYZE users")
    batches = (
        "with op.get_context().autocommit_block():\n"
        "    for low in range(0, 1000, 100):\n"
        "        op.execute(f\"UPDATE users SET name = 'y' WHERE id > {low} AND id <= {low} + 100\"\n"
        "                   ' AND pg_sleep(0.006) IS NOT NULL')"
    )
    release.add("bbbb2222", batches)
    done, told = watched(release, tmp_path / "progress.json")
    assert done.rc == 0, done.json
    counts = [record["rows"].get("public.users", 0) for record in told]
    assert counts == sorted(counts)
    assert len({count for count in counts if 0 < count < 1000}) >= 2, counts
    halfway = next(record for record in told if 0 < record["rows"].get("public.users", 0) < 1000)
    assert halfway["estimate"]["total"] == 1000
    assert halfway["estimate"]["unit"] == "rows"
    assert 0 < halfway["estimate"]["part"] < 1
    assert "of 1000 rows" in halfway["text"]
    assert halfway["text"].endswith("(not rehearsed)")


def test_one_large_transaction_is_measured_by_what_it_writes_and_against_its_rehearsal(
    rehearsals: Rehearsals, tmp_path: Path
) -> None:
    release = rehearsals.release
    release.sql(
        "CREATE FUNCTION slow(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.008);"
        " RETURN repeat('y', 2000); END $$"
    )
    rehearsals.backup("present")
    release.add("bbbb2222", "op.execute('UPDATE users SET name = slow(name)')", "pass")
    rehearsed = by_revision(rehearsals.run())["bbbb2222"]
    assert rehearsed["wal"] > 500_000
    done, told = watched(release, tmp_path / "progress.json", record=str(rehearsals.record))
    assert done.rc == 0, done.json
    assert done["applied"][0]["rehearsed_seconds"] == rehearsed["seconds"]
    assert all(record["rows"].get("public.users", 0) == 0 for record in told), "nobody sees what is not committed"
    written = [record["wal"] for record in told]
    assert written == sorted(written)
    assert written[-1] > written[0] > 0
    assert told[-1]["estimate"]["total"] == rehearsed["wal"]
    assert "of WAL" in told[-1]["text"]
    assert "at the rehearsal" in told[-1]["text"]
    assert "left" in told[-1]["text"]


def test_an_index_that_is_built_tells_its_part(release: Release, tmp_path: Path) -> None:
    release.add("aaaa1111", ONE)
    release.run("head")
    release.sql("INSERT INTO users SELECT g, repeat('x', 1000) FROM generate_series(1, 3000) g; ANALYZE users")
    release.sql(
        "CREATE FUNCTION slow(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.001);"
        " RETURN $1; END $$"
    )
    release.add("bbbb2222", "op.execute('CREATE INDEX by_slow ON users (left(slow(name), 10))')")
    _, told = watched(release, tmp_path / "progress.json")
    parts = [record["estimate"]["part"] for record in told if record["doing"]]
    assert len(parts) >= 2
    assert parts == sorted(parts)
    assert 0 < parts[-1] <= 1
    assert "CREATE INDEX on users, building index" in told[-1]["text"]
    assert "%" in told[-1]["text"]


def test_whoever_is_waited_for_is_told_at_once(release: Release, other: Any, tmp_path: Path) -> None:
    release.add("aaaa1111", ONE)
    release.run("head")
    release.add("bbbb2222", TWO)
    other.execute("SELECT * FROM users")
    failed, told = watched(release, tmp_path / "progress.json", lock_timeout=2.5, lock_attempts=2)
    assert failed["code"] == "LOCK_TIMEOUT"
    assert f"waits for pid {other.info.backend_pid} (psql of ada" in told[0]["text"]
    assert {record["attempt"] for record in told} == {1, 2}


def test_another_look_finds_what_runs(release: Release, tmp_path: Path) -> None:
    import alembic_migrate

    from ansible.module_utils.floyo.migrations.glue import migrate

    path = tmp_path / "progress.json"
    options: dict[str, Any] = alembic_migrate.ARGUMENTS
    arguments = {name: option.get("default", "") for name, option in options.items()} | {
        "release_dir": str(release.directory), "database_url": release.url, "progress": str(path),
    }  # fmt: skip

    def running() -> Any:
        """Without the module around it: two of them in one process would share its standard output."""
        return migrate(arguments, check_mode=False)["running"]

    release.add("aaaa1111", f"{ONE}\nop.execute('SELECT pg_sleep(20)')")
    assert running() == {}
    thread = threading.Thread(target=lambda: watched(release, path))
    thread.start()
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    found = running()
    asleep = "query LIKE 'SELECT pg_sleep(20)%' AND datname = current_database()"
    release.sql(f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE {asleep}")  # noqa: S608 (constants)
    thread.join()
    assert found["revision"] == "aaaa1111"
    path.write_text('{"updated": 1, "text": "left by a run that was killed"}')
    assert running() == {}
    path.write_text("half a li")
    assert running() == {}


def test_what_a_killed_run_has_told_is_removed_also_by_a_run_that_finds_nothing_to_do(
    release: Release, tmp_path: Path
) -> None:
    path = tmp_path / "progress.json"
    ended = subprocess.Popen(["true"])
    ended.wait()
    release.add("aaaa1111", ONE)
    release.run("head")
    for pid, stays in ((ended.pid, False), (os.getpid(), True)):
        path.write_text(json.dumps({"updated": time.time(), "pid": pid, "text": "told just now"}))
        done = release.run("head", progress=str(path))
        assert (done.rc, done["changed"]) == (0, False), done.json
        assert path.exists() == stays


def test_a_file_that_cannot_be_written_holds_up_nothing(release: Release) -> None:
    release.add("aaaa1111", f"{ONE}\nop.execute('SELECT pg_sleep(2)')")
    done = release.run("head", allow_classes=["expand", "unknown"], progress="/nonexistent/progress.json")
    assert (done.rc, done["changed"]) == (0, True), done.json


# --- rehearsing ------------------------------------------------------------------------------------------------------


class Rehearsals:
    """A release, its database, and backups of it."""

    def __init__(self, release: Release, directory: Path, run_module: Callable[..., Any]) -> None:
        self.release, self.directory, self._run = release, directory, run_module
        self.record = directory / "rehearsals.json"

    def backup(self, state: str, **more: Any) -> Any:
        arguments = {
            "directory": str(self.directory / "dumps"), "state": state, "lock_wait": 2, "min_free": "1K", "jobs": 1,
            "database_url": self.release.plain_url + "?connect_timeout=60", **more,
        }  # fmt: skip
        result = self._run("pg_backup", arguments)
        assert result.rc == 0, result["msg"]
        return result

    def copy(self) -> str:
        return str(self.backup("cloned")["clone"]["database"])

    def run(self, **more: Any) -> Any:
        """Copy, rehearse, sweep."""
        copy = self.copy()
        found = self.release.run("rehearsed", scratch=copy, record=str(self.record), backup="a label", **more)
        assert self.backup("swept")["swept"] == [copy]
        assert self.copies() == []
        return found

    def copies(self) -> list[str]:
        name = self.release.sql("SELECT current_database()")[0][0]
        rows = self.release.sql("SELECT datname FROM pg_database")
        return [found for (found,) in rows if found.startswith(f"{name}__")]


@pytest.fixture
def rehearsals(release: Release, tmp_path: Path, run_module: Callable[..., Any]) -> Rehearsals:
    release.add("aaaa1111", ONE)
    release.run("head")
    release.sql("INSERT INTO users SELECT g, 'name ' || g FROM generate_series(1, 500) g")
    found = Rehearsals(release, tmp_path, run_module)
    found.backup("present")
    return found


def by_revision(found: Any) -> dict[str, dict[str, Any]]:
    return {entry["revision"]: entry for entry in found["rehearsal"]["revisions"]}


def test_a_rehearsal_measures_and_leaves_the_live_database_alone(rehearsals: Rehearsals) -> None:
    release = rehearsals.release
    release.add("bbbb2222", TWO, "op.drop_column('users', 'mail')")
    release.add("cccc3333", "op.execute('UPDATE users SET mail = name')", "op.execute('UPDATE users SET mail = NULL')")
    release.add(
        "dddd4444",
        "op.alter_column('users', 'id', type_=sa.BigInteger())",
        "op.alter_column('users', 'id', type_=sa.Integer())",
    )
    before = release.run("info").json
    found = rehearsals.run()
    assert found.rc == 0, found.json
    entries = by_revision(found)
    assert {"table": "public.users", "lock": "ACCESS EXCLUSIVE"}.items() <= entries["bbbb2222"]["locks"][0].items()
    assert (entries["bbbb2222"]["rows"], entries["bbbb2222"]["rewritten"]) == ({}, [])
    assert entries["cccc3333"]["rows"] == {"public.users": [0, 500, 0]}
    assert [lock["lock"] for lock in entries["cccc3333"]["locks"]] == ["ROW EXCLUSIVE"]
    assert entries["dddd4444"]["rewritten"] == ["public.users"]
    assert all(entry["seconds"] > 0 for entry in entries.values())
    for entry in entries.values():
        assert (entry["downgrade"]["lossless"], entry["downgrade"]["differs"]) == (True, []), entry
    after = release.run("info", record=str(rehearsals.record))
    assert after["current"] == before["current"] == ["aaaa1111"]
    assert release.sql("SELECT count(*) FROM information_schema.columns WHERE table_name = 'users'") == [(2,)]
    row = after["rows"][0]
    assert (row["revision"], row["class"], row["what"]) == ("bbbb2222", "expand", "add column users.mail")
    assert row["lock"].startswith("ACCESS EXCLUSIVE on users for ")
    assert row["downgrade"].startswith("lossless, ")
    assert after["rows"][1]["rows"] == "500 of users"
    assert after["rows"][2]["rows"] == "users written anew"


def test_a_rehearsal_says_what_a_downgrade_does_not_bring_back(rehearsals: Rehearsals) -> None:
    release = rehearsals.release
    release.add("bbbb2222", THREE, "op.add_column('users', sa.Column('name', sa.Text()))")
    made = "op.create_table('more', sa.Column('id', sa.Integer()))"
    filled = "op.execute('INSERT INTO more SELECT generate_series(1, 7)')"
    release.add("cccc3333", f"{made}\n{filled}")  # its downgrade does nothing
    found = rehearsals.run()
    assert found.rc == 0, found.json
    entries = by_revision(found)
    assert entries["cccc3333"]["downgrade"]["lossless"] is False
    assert entries["cccc3333"]["rows"] == {"public.more": [7, 0, 0]}
    assert "relation public.more stays" in entries["cccc3333"]["downgrade"]["differs"]
    assert entries["bbbb2222"]["downgrade"]["differs"] == ["rows of public.users have other values"]
    again = rehearsals.run(compare_rows=False)
    assert by_revision(again)["bbbb2222"]["downgrade"]["lossless"] is True, "the structure alone is the same"


def test_a_rehearsal_of_a_downgrade_that_fails(rehearsals: Rehearsals) -> None:
    release = rehearsals.release
    release.add("bbbb2222", TWO, "op.drop_column('users', 'mail')")
    release.add(
        "cccc3333", "op.create_table('more', sa.Column('id', sa.Integer()))", "raise NotImplementedError('no way')"
    )
    found = rehearsals.run()
    assert found.rc == 0, found.json
    entries = by_revision(found)
    assert "no way" in entries["cccc3333"]["downgrade"]["error"]
    assert entries["bbbb2222"]["downgrade"]["error"] == "not reached: cccc3333 cannot be taken back"
    assert found["rows"][1]["downgrade"].startswith("fails: ")


def test_a_rehearsal_of_a_revision_that_fails_on_the_real_rows(rehearsals: Rehearsals) -> None:
    release = rehearsals.release
    release.add("bbbb2222", TWO, "op.drop_column('users', 'mail')")
    release.add("cccc3333", "op.execute('ALTER TABLE users ALTER mail SET NOT NULL')")
    failed = rehearsals.run()
    assert (failed.rc, failed["code"], failed["revision"]) == (1, "MIGRATION_FAILED", "cccc3333")
    assert "contains null values" in failed["msg"]
    assert "as the migration would" in failed["msg"]
    assert [entry["revision"] for entry in failed["rehearsal"]["revisions"]] == ["bbbb2222"]
    assert release.current == ["aaaa1111"]


def test_a_rehearsal_of_what_works_outside_a_transaction(rehearsals: Rehearsals) -> None:
    release = rehearsals.release
    release.add(
        "bbbb2222",
        "with op.get_context().autocommit_block():\n"
        "    op.create_index('by_name', 'users', ['name'], postgresql_concurrently=True)",
        "with op.get_context().autocommit_block():\n    op.drop_index('by_name', postgresql_concurrently=True)",
    )
    found = rehearsals.run()
    assert by_revision(found)["bbbb2222"]["downgrade"]["lossless"] is True


def test_a_changed_file_has_not_been_rehearsed(rehearsals: Rehearsals) -> None:
    release = rehearsals.release
    path = release.add("bbbb2222", TWO, "op.drop_column('users', 'mail')")
    rehearsals.run()
    assert release.run(record=str(rehearsals.record))["rows"][0]["seconds"] > 0
    path.write_text(path.read_text() + "\n")
    row = release.run(record=str(rehearsals.record))["rows"][0]
    assert (row["seconds"], row["lock"]) == (None, "not rehearsed")


def test_only_copies_can_be_rehearsed_in(release: Release, postgres_server: Any) -> None:
    release.usual()
    live = release.plain_url.rpartition("/")[2]
    for name in (
        live,
        "postgres",
        f"{live}__restore_0123456789ab",
        f"{live}__old_20250101t000000z",
        "x__rehearsal_0123456789ab",
    ):
        failed = release.run("rehearsed", scratch=name)
        assert failed["code"] == "NO_SCRATCH", failed.json
    assert release.run("info")["status"] == "uninitialised"


def test_a_copy_in_use_stays_and_an_abandoned_one_goes(rehearsals: Rehearsals) -> None:
    copy = rehearsals.copy()
    url = rehearsals.release.plain_url.rpartition("/")[0] + "/" + copy
    with psycopg.connect(url):
        busy = rehearsals._run(
            "pg_backup",
            {"directory": str(rehearsals.directory / "dumps"), "state": "cloned", "lock_wait": 0.3, "min_free": "1K",
             "database_url": rehearsals.release.plain_url},
        )  # fmt: skip
        assert busy["code"] == "REHEARSAL_ACTIVE", busy.json
        assert rehearsals.backup("drilled")["swept"] == []
        assert rehearsals.copies() == [copy]
    again = rehearsals.backup("cloned")
    assert again["swept"] == [copy]
    assert rehearsals.copies() == [again["clone"]["database"]]
    assert rehearsals.backup("swept")["changed"] is True
    assert rehearsals.backup("swept")["changed"] is False


def test_a_killed_rehearsal_leaves_nothing_for_long(rehearsals: Rehearsals, run_module: Callable[..., Any]) -> None:
    """SIGKILL in the middle of a statement: its helper and its statement end, the next run sweeps the copy."""
    import subprocess

    import alembic_migrate

    release = rehearsals.release
    release.add("bbbb2222", "op.execute('SELECT pg_sleep(600)')")
    copy = rehearsals.copy()
    root = Path(__file__).resolve().parents[2]
    code = (
        "import sys, json; import ansible.module_utils;"
        f"ansible.module_utils.__path__.append({str(root / 'module_utils')!r});"
        "from ansible.module_utils.floyo.migrations.glue import migrate;"
        "migrate(json.load(sys.stdin), check_mode=False)"
    )
    arguments: dict[str, Any] = alembic_migrate.ARGUMENTS
    parameters = {name: option.get("default", "") for name, option in arguments.items()} | {
        "release_dir": str(release.directory), "database_url": release.url, "state": "rehearsed", "scratch": copy,
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True)
    assert process.stdin
    process.stdin.write(json.dumps(parameters))
    process.stdin.close()
    deadline = time.monotonic() + 300
    working = f"SELECT 1 FROM pg_stat_activity WHERE datname = '{copy}' AND query LIKE '%pg_sleep(600)%'"  # noqa: S608
    while not release.sql(working):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert rehearsals.backup("cloned", lock_wait=60)["swept"] == [copy]
    rehearsals.backup("swept")
    assert rehearsals.copies() == []


# --- a new revision --------------------------------------------------------------------------------------------------

MODELS = """
import sqlalchemy as sa
from sqlalchemy.orm import declarative_base

Base = declarative_base()


class User(Base):
    __tablename__ = "users"
    id = sa.Column(sa.Integer, primary_key=True)
    NAME = sa.Column(sa.Text)
"""
MAKO = '''"""${message}."""
from alembic import op
import sqlalchemy as sa
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

def upgrade():
    ${upgrades if upgrades else "pass"}

def downgrade():
    ${downgrades if downgrades else "pass"}
'''


def with_models(release: Release, name: str = "name") -> None:
    (release.directory / "models.py").write_text(MODELS.replace("NAME", name))
    (release.directory / "migrations" / "script.py.mako").write_text(MAKO)
    ini = release.directory / "alembic.ini"
    ini.write_text(ini.read_text() + "prepend_sys_path = .\n")
    release.env("import models\nSETTINGS = {'target_metadata': models.Base.metadata}")


def files_of(release: Release) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in release.directory.rglob("*")
        if path.is_file() and ".venv" not in str(path)
    }


def test_a_new_revision_is_made_elsewhere(release: Release) -> None:
    with_models(release)
    before = files_of(release)
    made = release.run("generated", message="add users")
    assert made.rc == 0, made.json
    assert made["changed"] is True
    assert "op.create_table('users'" in made["content"]
    assert "down_revision = None" in made["content"]
    assert made["file"].startswith("migrations/versions/") and made["file"].endswith("_add_users.py")
    assert (made["rows"][0]["class"], made["rows"][0]["what"]) == ("expand", "create table users")
    assert files_of(release) == before
    assert release.sql("SELECT to_regclass('users')") == [(None,)]
    name = release.sql("SELECT current_database()")[0][0]
    beside = release.sql("SELECT datname FROM pg_database WHERE datname LIKE '%generate%'")
    assert [row for row in beside if row[0].startswith(name[:30])] == []


def test_models_that_agree_make_no_file(release: Release) -> None:
    with_models(release)
    release.add("aaaa1111", ONE, "op.drop_table('users')")
    made = release.run("generated", message="nothing")
    assert (made.rc, made["changed"], made["content"]) == (0, False, ""), made.json


def test_an_env_without_models(release: Release) -> None:
    with_models(release)
    release.env()
    failed = release.run("generated", message="add users")
    assert failed["code"] == "GENERATE_FAILED", failed.json
    assert "MetaData" in failed["msg"]
    assert "target_metadata" in failed["expected"]


def test_a_rename_is_pointed_at(release: Release) -> None:
    with_models(release, "title")
    release.add("aaaa1111", ONE, "op.drop_table('users')")
    made = release.run("generated", message="rename", check=True)
    assert made.rc == 0, made.json
    assert made["rows"][0]["class"] == "contract"
    assert any("rename" in note for note in made["notes"])


def test_several_heads_need_a_name_for_a_new_revision(release: Release) -> None:
    with_models(release, "title")
    branches(release)
    assert release.run("generated", message="x")["code"] == "MULTIPLE_HEADS"


def test_a_database_left_by_a_killed_run_goes(release: Release) -> None:
    with_models(release)
    name = release.sql("SELECT current_database()")[0][0]
    left = f"{name[:30]}__generate_0123456789ab"
    release.sql(f'CREATE DATABASE "{left}"')
    release.env("raise RuntimeError('broken')")
    failed = release.run("generated", message="x")
    assert failed.rc == 1 and "broken" in failed["msg"], failed.json
    rows = release.sql("SELECT datname FROM pg_database")
    assert [found for (found,) in rows if found.startswith(f"{name[:30]}__")] == []


def test_an_account_that_may_make_no_database(release: Release, postgres_server: Any) -> None:
    with_models(release)
    postgres_server.sql("DROP ROLE IF EXISTS maker; CREATE ROLE maker LOGIN PASSWORD 'maker-p4ss'")
    url = postgres_server.url_for("postgres", user="maker", password="maker-p4ss").replace(":", "+psycopg:", 1)
    failed = release.run("generated", message="x", maintenance_url=url)
    assert failed["code"] == "RIGHTS_MISSING", failed.json
    assert "CREATEDB" in failed["next_step"]
