#!/usr/bin/env python3
"""Break migrations at random instants, up and down, and see that each is as if it had been one whole revision more or less.

    make faults OPTIONS=--migrations                          72 cases
    make faults OPTIONS="--migrations --cases 300 --seed 7"   more; the same seed draws the same faults and instants
    make faults OPTIONS="--migrations --resume --minutes 10"  in as many slices as it takes; with --write the page at the end
    make faults OPTIONS="--migrations --case 7:12"            case 12 of seed 7 again

A case moves a database through a chain of revisions with module alembic_migrate and injects one fault: SIGKILL or SIGTERM to
the module, SIGKILL to the process that runs alembic, or every connection cut. The instant is a moment inside one statement of
one revision, or any moment of the run. Then the same command runs once more, undisturbed. After the fault the database must
be as after a whole revision, schema and rows; after the second run it must be at the end, and no lock and no connection may
be left. What a revision does outside a transaction (one index, built concurrently) is judged at the end only.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / ".cache" / "faults" / "migrations"
DIRECTIONS = ("up", "down")
FAULTS = ("SIGKILL", "SIGTERM", "SIGKILL to alembic", "connections cut")
LIMIT = 180.0
# Every revision is slow enough, somewhere, to be met there; the statement names its revision.
PAUSE = 0.4
PROGRAM = f"""
import json, sys
import ansible.module_utils
ansible.module_utils.__path__.append({str(ROOT / "module_utils")!r})
from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.migrations.glue import migrate
try:
    print(json.dumps(migrate(json.load(sys.stdin), check_mode=False)))
except FloyoError as error:
    print(json.dumps({{"code": error.code, "msg": str(error)}}))
    sys.exit(1)
"""
ENV_PY = """
import os
from alembic import context
from sqlalchemy import create_engine, pool

with create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
# What revisions do, and undo: tables, columns, rows, types, names, and one index outside a transaction.
CHAIN = (
    (
        "op.execute('CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL)')\n{pause}\n"
        "op.execute(\"INSERT INTO users (name) SELECT 'User ' || g FROM generate_series(1, 2000) g\")",
        "{pause}\nop.execute('DROP TABLE users')",
    ),
    (
        "op.execute('ALTER TABLE users ADD mail text')\n{pause}\n"
        "op.execute('CREATE FUNCTION slow(text) RETURNS text IMMUTABLE LANGUAGE plpgsql"
        " AS $$ BEGIN PERFORM pg_sleep(0.0002); RETURN $1; END $$')\n"
        "op.execute(\"UPDATE users SET mail = lower(replace(name, ' ', '.')) || '@example.org'\")",
        "{pause}\nop.execute('DROP FUNCTION slow(text)')\nop.execute('ALTER TABLE users DROP mail')",
    ),
    (
        "with op.get_context().autocommit_block():\n"
        "    op.execute('DROP INDEX CONCURRENTLY IF EXISTS outside_mail')\n"
        "    op.execute('CREATE INDEX CONCURRENTLY outside_mail ON users (slow(mail)) {mark}')\n{pause}",
        "{pause}\nwith op.get_context().autocommit_block():\n    op.execute('DROP INDEX CONCURRENTLY IF EXISTS outside_mail')",
    ),
    (
        "op.execute(\"CREATE TYPE mood AS ENUM ('good', 'bad')\")\n{pause}\n"
        "op.execute(\"ALTER TABLE users ADD mood mood NOT NULL DEFAULT 'good'\")",
        "op.execute('ALTER TABLE users DROP mood')\n{pause}\nop.execute('DROP TYPE mood')",
    ),
    (
        "op.execute('CREATE TABLE profiles (user_id int PRIMARY KEY REFERENCES users, mail text)')\n{pause}\n"
        "op.execute('INSERT INTO profiles SELECT id, mail FROM users')\n"
        "op.execute('ALTER TABLE users ALTER id TYPE bigint')",
        "op.execute('ALTER TABLE users ALTER id TYPE int')\n{pause}\nop.execute('DROP TABLE profiles')",
    ),
    (
        "op.execute('ALTER TABLE users RENAME name TO full_name')\n{pause}\n"
        "op.execute('CREATE INDEX users_full_name ON users (full_name)')",
        "op.execute('DROP INDEX users_full_name')\n{pause}\nop.execute('ALTER TABLE users RENAME full_name TO name')",
    ),
)
NAMES = [f"aaaa{number:04}" for number in range(1, len(CHAIN) + 1)]


@dataclass
class Case:
    direction: str
    fault: str
    revision: str  # whose slow statement the fault comes in; empty: at any moment of the run
    part: float  # of that statement, or of the run
    seed: str
    ended: str = ""
    stood: str = ""
    problems: list[str] = field(default_factory=list)


def draw(seed: int, number: int) -> Case:
    """Every pair of direction and fault in turn; the instant by chance."""
    pairs = list(itertools.product(FAULTS, DIRECTIONS))
    chance = random.Random(f"{seed}:{number}")
    fault, direction = pairs[(number - 1) % len(pairs)]
    revision = chance.choice(NAMES) if chance.random() < 0.6 else ""
    return Case(direction, fault, revision, chance.random(), f"{seed}:{number}")


class Ground:
    """A database, and a release whose chain of revisions moves it."""

    def __init__(self, server: Any, place: Path) -> None:
        self.server = server
        self.url = server.fresh_database(prefix="faults")
        self.release = place / "v2-00000000"
        self.progress = place / "progress.json"
        versions = self.release / "migrations" / "versions"
        versions.mkdir(parents=True)
        (self.release / ".venv").symlink_to(sys.prefix)
        (self.release / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
        (self.release / "migrations" / "env.py").write_text(ENV_PY)
        for name, below, (up, down) in zip(NAMES, [None, *NAMES], CHAIN):
            (versions / f"{name}.py").write_text(
                f'"""Step {name}."""\nfrom alembic import op\nrevision = {name!r}\ndown_revision = {below!r}\n\n'
                f"def upgrade():\n{_block(up, name)}\n\ndef downgrade():\n{_block(down, name)}\n"
            )
        self.seconds: dict[str, float] = {}
        # What the database is like after each revision, as alembic alone makes it.
        self.states: dict[str, dict[str, Any]] = {"up": {"": self.state()}, "down": {}}
        for direction, steps in (("up", NAMES), ("down", ["", *NAMES])):
            for name in steps if direction == "up" else reversed(steps):
                self.go_to(name)
                self.states[direction][name] = self.state()

    # --- the database ---------------------------------------------------------------------------------------------

    def sql(self, text: str) -> list[Any]:
        return list(self.server.sql(text, database=self.url.rpartition("/")[2]))

    def version(self) -> str:
        if self.sql("SELECT to_regclass('alembic_version')") == [(None,)]:
            return ""
        return "".join(name for (name,) in self.sql("SELECT version_num FROM alembic_version"))

    def state(self) -> Any:
        """Columns, indexes, constraints, types and every row. What is built outside a transaction is left out."""
        columns = self.sql(
            "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,"
            " pg_get_expr(d.adbin, d.adrelid) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum"
            " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"
            " AND c.relname <> 'alembic_version' ORDER BY 1, 2"
        )
        objects = self.sql(
            "SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indexrelid"
            " WHERE c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'outside%'"
            " AND c.relname <> 'alembic_version_pkc'"
            " UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace AND conrelid <> coalesce(to_regclass('alembic_version'), 0)"
            " UNION ALL SELECT typname FROM pg_type WHERE typtype = 'e' ORDER BY 1"
        )
        rows = [
            self.sql(f"SELECT '{table}', count(*), sum(hashtext(t::text)) FROM {table} t")  # noqa: S608 (our own names)
            for table in sorted({row[0] for row in columns})
        ]
        return json.loads(json.dumps([columns, objects, rows], default=str))

    def outside(self) -> list[Any]:
        """The concurrent index: its name, and whether it is valid."""
        return self.sql(
            "SELECT c.relname, indisvalid FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE c.relname LIKE 'outside%'"
        )

    def sessions(self) -> list[Any]:
        """Of the module and of the migrations, and who has the lock."""
        return self.sql(
            "SELECT application_name, state FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name LIKE 'floyo:%'"
            " UNION ALL SELECT 'lock of ' || pid, mode FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )

    def busy_with(self, revision: str) -> bool:
        """Whether the slow statement of a revision is running."""
        running = f"state = 'active' AND query LIKE '%in {revision}%' AND pid <> pg_backend_pid() AND datname = current_database()"
        found = self.sql(f"SELECT count(*) FROM pg_stat_activity WHERE {running}")  # noqa: S608 (our own names)
        return bool(found[0][0])

    # --- the module -----------------------------------------------------------------------------------------------

    def start(self, direction: str, **more: Any) -> subprocess.Popen[str]:
        """The module in a process of its own, all the way."""
        sys.path.insert(0, str(ROOT / "library"))
        import alembic_migrate

        options: dict[str, Any] = alembic_migrate.ARGUMENTS
        arguments = {name: option.get("default", "") for name, option in options.items()} | {
            "release_dir": str(self.release),
            "database_url": self.url.replace("postgresql://", "postgresql+psycopg://"),
            "state": "revision",
            "revision": NAMES[-1] if direction == "up" else "base",
            "allow_classes": ["expand", "data", "contract", "unknown"],
            "allow_downgrades": ["clean", "lossy", "unknown"],
            "lock_wait": LIMIT,
            "timeout": LIMIT,
            "progress": str(self.progress),
            **more,
        }
        running = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        assert running.stdin
        with contextlib.suppress(BrokenPipeError):
            running.stdin.write(json.dumps(arguments))
            running.stdin.close()
        return running

    def ended(self, running: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
        assert running.stdout
        try:
            status = running.wait(2 * LIMIT)
        except subprocess.TimeoutExpired:
            running.kill()
            return running.wait(), {"msg": "it hung"}
        said = running.stdout.read()
        running.stdout.close()
        with contextlib.suppress(ValueError, IndexError):
            answer: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
            return status, answer
        return status, {"msg": said[-400:]}

    def measure(self, direction: str) -> None:
        """How long an undisturbed run takes."""
        if direction not in self.seconds:
            self.go_to(start_of(direction))
            begin = time.monotonic()
            status, answer = self.ended(self.start(direction))
            self.seconds[direction] = time.monotonic() - begin
            if status:
                raise RuntimeError(f"an undisturbed run failed: {answer}")

    def go_to(self, revision: str) -> None:
        """By alembic alone, in this process."""
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(self.release / "migrations"))
        with mock.patch.dict(os.environ, {"DATABASE_URL": self.url.replace("postgresql://", "postgresql+psycopg://")}):
            now = self.version()
            if (revision or "base") != (now or "base"):
                (command.upgrade if revision > now else command.downgrade)(config, revision or "base")
        assert self.version() == revision

    def inject(self, fault: str, running: subprocess.Popen[str]) -> None:
        if fault == "connections cut":
            self.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'floyo:%'"
                " AND datname = current_database()"
            )
        elif fault == "SIGKILL to alembic":
            for child in children(running.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        else:
            with contextlib.suppress(ProcessLookupError):
                running.send_signal(getattr(signal, fault))


def start_of(direction: str) -> str:
    return "" if direction == "up" else NAMES[-1]


def _block(code: str, name: str) -> str:
    mark = f"/* in {name} */"
    text = code.replace("{pause}", f"op.execute('SELECT pg_sleep({PAUSE}) {mark}')").replace("{mark}", mark)
    return "\n".join("    " + line for line in text.splitlines())


def children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


# --- one case --------------------------------------------------------------------------------------------------------


def run(ground: Ground, case: Case) -> Case:
    if not case.revision:
        ground.measure(case.direction)
    ground.go_to(start_of(case.direction))
    running = ground.start(case.direction)
    if case.revision:
        until = time.monotonic() + LIMIT
        while not ground.busy_with(case.revision) and running.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(case.part * PAUSE)
    else:
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(case.part * ground.seconds[case.direction])
    ground.inject(case.fault, running)
    status, answer = ground.ended(running)
    case.ended = ending(case, status, answer)
    # What was killed may still have a statement in the server. A migration that is under way ends its revision.
    wait_until(lambda: not ground.sessions(), LIMIT)
    judge_whole(ground, case)
    status, answer = ground.ended(ground.start(case.direction))
    if status:
        case.problems.append(f"the next run failed: {answer.get('msg')}")
    judge_end(ground, case)
    return case


def ending(case: Case, status: int, answer: dict[str, Any]) -> str:
    if status == -signal.SIGKILL:
        return "killed"
    if status == -signal.SIGTERM:
        return "ended"
    if status == 0:
        return "done"
    if not answer.get("code"):
        case.problems.append(f"it ended with {status} and without a code: {answer.get('msg')}")
    return str(answer.get("code"))


def wait_until(good: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not good():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def judge_whole(ground: Ground, case: Case) -> None:
    version = ground.version()
    case.stood = version or "base"
    expected = ground.states[case.direction].get(version)
    if expected is None:
        case.problems.append(f"the version table says {version!r}")
    elif ground.state() != expected:
        case.problems.append(f"it says {case.stood} and is something else: {difference(ground.state(), expected)}")


def difference(found: Any, expected: Any) -> str:
    here, there = ({json.dumps(entry) for part in side for entry in part} for side in (found, expected))
    return "; ".join([*(f"has {entry}" for entry in here - there), *(f"lacks {entry}" for entry in there - here)][:4])


def judge_end(ground: Ground, case: Case) -> None:
    end = NAMES[-1] if case.direction == "up" else ""
    if ground.version() != end or ground.state() != ground.states[case.direction][end]:
        case.problems.append(f"the next run did not finish: it is at {ground.version() or 'base'}")
    if ground.outside() != ([("outside_mail", True)] if case.direction == "up" else []):
        case.problems.append(f"the concurrent index: {ground.outside()}")
    if ground.progress.exists():
        case.problems.append("the file that tells how far a run is has stayed")
    if not wait_until(lambda: not ground.sessions(), 30):
        case.problems.append(f"left: {ground.sessions()}")


# --- all of them -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def grounds(servers: Callable[[], contextlib.AbstractContextManager[Any]]) -> Iterator[Ground]:
    with servers() as server, tempfile.TemporaryDirectory(prefix="floyo-faults-") as place:
        yield Ground(server, Path(place))


def table(cases: list[Case]) -> str:
    lines = [
        f"| direction | {' | '.join(FAULTS)} | inside a statement | stopped half way | failed assertions |",
        f"|---|{'---:|' * (len(FAULTS) + 3)}",
    ]
    for direction in DIRECTIONS:
        mine = [case for case in cases if case.direction == direction]
        counts = [sum(case.fault == fault for case in mine) for fault in FAULTS]
        half = sum(case.stood not in ("base", NAMES[-1]) for case in mine)
        lines.append(
            f"| {direction} | {' | '.join(map(str, counts))} | {sum(bool(case.revision) for case in mine)} | {half}"
            f" | {sum(bool(case.problems) for case in mine)} |"
        )
    return "\n".join(lines)


def endings(cases: list[Case]) -> str:
    """How the disturbed runs ended: what they said, and how often."""
    lines = ["| fault | how the disturbed runs ended |", "|---|---|"]
    for fault in FAULTS:
        words = [case.ended for case in cases if case.fault == fault]
        counted = sorted({word: words.count(word) for word in words}.items(), key=lambda pair: (-pair[1], pair[0]))
        lines.append(f"| {fault} | {', '.join(f'{word} {count}' for word, count in counted)} |")
    return "\n".join(lines)


def number_of(case: Case) -> int:
    return int(case.seed.partition(":")[2])


def recorded(record: Path, numbers: list[int]) -> dict[int, Case]:
    """The cases that an earlier slice has done, by number. What was cut short by the end of a slice is none."""
    found: dict[int, Case] = {}
    for line in record.read_text(encoding="utf-8").splitlines() if record.exists() else ():
        with contextlib.suppress(ValueError):
            case = Case(**json.loads(line))
            found[number_of(case)] = case
    return {number: case for number, case in found.items() if number in numbers}


def page(cases: list[Case], seed: int) -> str:
    bad = [case for case in cases if case.problems]
    return (
        "# Faults of migrations\n\nWritten by `make faults OPTIONS=--migrations`: module `alembic_migrate` moves a"
        f" database through {len(NAMES)} revisions, up and down, each run broken at a random instant, then run once more."
        " After the fault the database was at a whole revision, with its schema and rows, in all but the failed cases."
        f" Seed {seed}, {len(cases)} cases, {len(bad)} with a failed assertion.\n\n{table(cases)}\n\n{endings(cases)}\n"
    )


def some(server: Any, seed: int, numbers: list[int], until: float, record: Path) -> list[Case]:
    """A part of the cases, on a database of its own; each goes to the record when it has ended. None begins after ``until``."""
    cases: list[Case] = []
    if not numbers:
        return cases
    with grounds(lambda: contextlib.nullcontext(server)) as ground:
        for number in numbers:
            if time.monotonic() >= until:
                break
            begin = time.monotonic()
            case = run(ground, draw(seed, number))
            cases.append(case)
            with record.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(case)) + "\n")
            where = f"in {case.revision}" if case.revision else f"at {case.part * ground.seconds[case.direction]:.1f} s"
            print(
                f"{case.seed:>11} {case.direction:4} {case.fault:18} {where:11} {case.ended:18} stood at {case.stood:8}"
                f" {'; '.join(case.problems) or 'ok'} ({time.monotonic() - begin:.0f} s)",
                flush=True,
            )
    return cases


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--cases", type=int, default=72)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="databases that are worked on at once")
    parser.add_argument("--case", help="seed:number of one case to run again")
    parser.add_argument("--resume", action="store_true", help="go on with the cases of this seed that are not done yet")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no case after that; --resume goes on")
    parser.add_argument("--write", type=Path, help="write the tables into this page, when all cases are done")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.conftest import private_postgres

    seed, numbers = options.seed, list(range(1, options.cases + 1))
    record = RECORDS / f"seed-{seed}.jsonl"
    if options.case:
        seed, numbers = int(options.case.partition(":")[0]), [int(options.case.partition(":")[2])]
        record = RECORDS / "one.jsonl"
    cases = recorded(record, numbers) if options.resume else {}
    record.parent.mkdir(parents=True, exist_ok=True)
    if not options.resume:
        record.write_text("")
    waiting = [number for number in numbers if number not in cases]
    if waiting:
        until = time.monotonic() + 60 * options.minutes
        with private_postgres() as server, concurrent.futures.ProcessPoolExecutor(options.jobs) as pool:
            shares = [waiting[job :: options.jobs] for job in range(options.jobs)]
            parts = [pool.submit(some, server, seed, share, until, record) for share in shares]
            cases |= {number_of(case): case for part in parts for case in part.result()}
    done = [cases[number] for number in sorted(cases)]
    print(f"\n{table(done)}\n\n{endings(done)}")
    bad = [case.seed for case in done if case.problems]
    if len(done) < len(numbers):
        print(f"{len(done)} of {len(numbers)} are done; --resume goes on")
    elif options.write:
        options.write.write_text(page(done, seed))
    if bad:
        print(f"failed: {', '.join(bad)}")
    return 1 if bad or len(done) < len(numbers) else 0


if __name__ == "__main__":
    sys.exit(main())
