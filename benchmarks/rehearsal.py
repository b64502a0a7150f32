#!/usr/bin/env python3
"""A rehearsal of migrations on a copy of a backup, beside the real run of the same migrations afterwards.

    make bench OPTIONS=--rehearsal           a database of 1 GB; --megabytes 100 for less

Prints time, locks and rows of each revision, at the rehearsal and in the real run, and the ratio of the times.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "library")]

ENV_PY = """
import os
from alembic import context
from sqlalchemy import create_engine, pool

if context.is_offline_mode():
    context.configure(url=os.environ["DATABASE_URL"], literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""
# About 1 kB a row: a million of them are a gigabyte.
BASE = (
    "op.execute('CREATE TABLE events (id int PRIMARY KEY, kind text, payload text)')",
    "op.execute('DROP TABLE events')",
)
CHAIN = {
    "add a column": ("op.add_column('events', sa.Column('note', sa.Text()))", "op.drop_column('events', 'note')"),
    "index": ("op.create_index('by_kind', 'events', ['kind'])", "op.drop_index('by_kind')"),
    "index, concurrently": (
        "with op.get_context().autocommit_block():\n"
        "        op.create_index('by_both', 'events', ['kind', 'id'], postgresql_concurrently=True)",
        "with op.get_context().autocommit_block():\n        op.drop_index('by_both', postgresql_concurrently=True)",
    ),
    "NOT NULL": (
        "op.alter_column('events', 'kind', nullable=False)",
        "op.alter_column('events', 'kind', nullable=True)",
    ),
    "change of type": (
        "op.alter_column('events', 'id', type_=sa.BigInteger())",
        "op.alter_column('events', 'id', type_=sa.Integer())",
    ),
    "a tenth of the rows": (
        "op.execute(\"UPDATE events SET note = 'x' WHERE id % 10 = 0\")",
        "op.execute('UPDATE events SET note = NULL WHERE id % 10 = 0')",
    ),
    "drop a column": ("op.drop_column('events', 'note')", "op.add_column('events', sa.Column('note', sa.Text()))"),
}


@contextlib.contextmanager
def server() -> Iterator[Any]:
    """The private PostgreSQL of the tests."""
    tests = importlib.import_module("tests.conftest")
    generator = tests.postgres_server.__wrapped__()
    try:
        yield next(generator)
    finally:
        with contextlib.suppress(StopIteration):
            next(generator)


def project(directory: Path) -> None:
    versions = directory / "migrations" / "versions"
    versions.mkdir(parents=True)
    (directory / ".venv").symlink_to(sys.prefix)
    (directory / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    (directory / "migrations" / "env.py").write_text(ENV_PY)
    before = None
    for number, (up, down) in enumerate([BASE, *CHAIN.values()]):
        name = f"{number:04d}aaaa"
        (versions / f"{name}.py").write_text(
            f"from alembic import op\nimport sqlalchemy as sa\nrevision = {name!r}\ndown_revision = {before!r}\n"
            f"def upgrade():\n    {up}\ndef downgrade():\n    {down}\n"
        )
        before = name


def defaults(module: str, **more: Any) -> dict[str, Any]:
    arguments = importlib.import_module(module).ARGUMENTS
    kinds: dict[str, Any] = {"list": [], "dict": {}}
    return {
        name: option.get("default", kinds.get(option["type"], "") if not name.startswith("expected") else None)
        for name, option in arguments.items()
    } | more


def strongest(step: dict[str, Any]) -> str:
    locks = [f"{one['lock']} {one['seconds']:.2f} s" for one in step["locks"]]
    return ", ".join(locks) or "none"


def touched(step: dict[str, Any]) -> str:
    rows = sum(sum(counts) for counts in step["rows"].values())
    return f"{rows} rows" + (", written anew" if step["rewritten"] else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1024)
    options = parser.parse_args()
    with server() as postgres, tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        project(release := Path(scratch, "release"))
        url = postgres.fresh_database()
        name = url.rpartition("/")[2]
        common = {
            "release_dir": str(release), "database_url": url.replace("postgresql:", "postgresql+psycopg:"),
            "allow_classes": ["expand", "data", "contract", "irreversible", "unknown"],
        }  # fmt: skip
        dumps = {"directory": str(Path(scratch, "dumps")), "database_url": url, "min_free": "1K", "jobs": 1}

        glue = "ansible.module_utils.floyo.{}.glue"  # found once the tests' configuration is loaded

        def run(state: str, **more: Any) -> Any:
            migrate = importlib.import_module(glue.format("migrations")).migrate
            return migrate(defaults("alembic_migrate", **common, state=state, **more), check_mode=False)

        def copy(state: str) -> Any:
            backup = importlib.import_module(glue.format("backup")).backup
            return backup(defaults("pg_backup", **dumps, state=state), check_mode=False)

        run("revision", revision="0000aaaa")
        rows = options.megabytes * 1000
        postgres.sql(
            "INSERT INTO events SELECT g, 'kind ' || g % 100,"  # noqa: S608 (a number)
            f" (SELECT string_agg(md5((g * 31 + k)::text), '') FROM generate_series(1, 30) k) FROM generate_series(1, {rows}) g",
            database=name,
        )
        postgres.sql("VACUUM ANALYZE events", database=name)
        (size,) = postgres.sql("SELECT pg_size_pretty(pg_database_size(current_database()))", database=name)[0]
        timed = {}
        for what in ("present", "cloned"):
            begin = time.monotonic()
            made = copy(what)
            timed[what] = time.monotonic() - begin
        begin = time.monotonic()
        tried = run("rehearsed", scratch=made["clone"]["database"])
        timed["rehearsed"] = time.monotonic() - begin
        copy("swept")
        real = run("head", observe=True)
        print(f"database {size}: backup {timed['present']:.1f} s, copy {timed['cloned']:.1f} s (restored, compared),"
              f" rehearsal {timed['rehearsed']:.1f} s (up, down, rows compared)")  # fmt: skip
        print(
            f"{'revision':20} {'rehearsed s':>11} {'real s':>7} {'ratio':>6}  locks at the rehearsal | in the real run"
        )
        for what, there, here in zip(CHAIN, tried["rehearsal"]["revisions"], real["applied"]):
            ratio = here["seconds"] / there["seconds"]
            print(
                f"{what:20} {there['seconds']:11.2f} {here['seconds']:7.2f} {ratio:6.2f}"
                f"  {strongest(there)} | {strongest(here)}; {touched(there)} | {touched(here)};"
                f" way back {'lossless' if there['downgrade']['lossless'] else 'not lossless'}"
            )
            same = [(one["table"], one["lock"]) for one in there["locks"]] == [
                (one["table"], one["lock"]) for one in here["locks"]
            ]
            if not same or there["rows"] != here["rows"] or there["rewritten"] != here["rewritten"]:
                print(f"{'':20} the real run did otherwise than the rehearsal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
