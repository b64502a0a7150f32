#!/usr/bin/env python3
"""Break backups, prunes, restores, swaps back and drills at random instants, and see that nothing is lost or left.

    make faults OPTIONS=--backups                          100 cases
    make faults OPTIONS="--backups --cases 300 --seed 7"   more; the same seed draws the same faults and instants
    make faults OPTIONS="--backups --case 7:12"            case 12 of seed 7 again

A case starts one operation of module pg_backup on a real PostgreSQL server and injects one fault: SIGKILL, SIGTERM, a full
disk (of the backups and of the database), or every connection cut. The instant is either one step of the run (a file opened,
renamed or removed, a program started, a statement sent: the seed draws which one), or a moment of time, so that it also comes
in the middle of what a program does. Then, and once more after the same operation was run undisturbed, it asserts: every
listed backup reads back; as many sound ones are there as have to be; the live database is the old or the new one, whole and
open; and afterwards no lock, no connection, no scratch database, no password file and no partial file is left.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = ("backup", "prune", "restore", "swap back", "drill")
FAULTS = ("SIGKILL", "SIGTERM", "full disk", "connections cut")
ROWS = 40_000
KEEP = {"last": 2, "daily": 0, "weekly": 0, "monthly": 0}
LIMIT = 120.0
# Imports the module once and forks for each run. Before each step a run asks whether the fault is due, and waits until it was
# injected. Says "<pid>" when a run has begun, "<pid> <status>" when it is over.
PROGRAM = f"""
import json, os, sys
import ansible.module_utils, ansible.module_utils.basic as basic
ansible.module_utils.__path__.append({str(ROOT / "module_utils")!r})
sys.path.insert(0, {str(ROOT / "library")!r})
import pg_backup
from ansible.module_utils.floyo.backup.server import Server
import psycopg

says, hears = int(sys.argv[1]), int(sys.argv[2])

def run(request):
    steps, busy = [0], [False]

    def step(what):
        if busy[0]:
            return
        busy[0] = True
        try:
            steps[0] += 1
            if steps[0] == request["step"]:
                os.write(says, what.encode()[:200])
                os.read(hears, 1)
        finally:
            busy[0] = False

    def audit(event, arguments):
        if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(request["directory"]):
            step("open " + os.path.basename(arguments[0]))
        elif event in ("os.rename", "os.remove", "os.mkdir"):
            step(event + " " + os.path.basename(str(arguments[0])))
        elif event == "subprocess.Popen":
            step("start " + " ".join(os.path.basename(str(word)) for word in arguments[1][:5]))

    real = Server._rows

    def rows(self, statement, parameters=()):
        step("before " + " ".join(statement.split())[:60])
        found = real(self, statement, parameters)
        step("after " + " ".join(statement.split())[:60])
        return found

    Server._rows = rows
    basic._ANSIBLE_ARGS = json.dumps({{"ANSIBLE_MODULE_ARGS": request["arguments"]}}).encode()
    if hasattr(basic, "_ANSIBLE_PROFILE"):
        basic._ANSIBLE_PROFILE = "legacy"
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.addaudithook(audit)
    try:
        pg_backup.main()
    except SystemExit as end:
        print("\\n" + json.dumps({{"steps": steps[0]}}), flush=True)
        return int(end.code or 0)
    except BaseException:
        import traceback
        traceback.print_exc()
        return 70

for line in sys.stdin:
    request = json.loads(line)
    pid = os.fork()
    if not pid:
        status = run(request)
        sys.stdout.flush()
        os._exit(status)
    print(pid, flush=True)
    print(pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
TABLES = """
CREATE TABLE alembic_version (version_num text PRIMARY KEY);
INSERT INTO alembic_version VALUES ('aaaa1111');
CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL);
INSERT INTO users (name) SELECT md5(g::text) FROM generate_series(1, {rows}) g;
CREATE INDEX ON users (name);
SELECT lo_from_bytea(0, 'large'::bytea);
GRANT SELECT, INSERT, UPDATE, DELETE ON users TO {app};
GRANT USAGE ON SCHEMA public TO {app};
"""


@dataclass
class Case:
    operation: str
    fault: str
    part: float  # of the run's steps, or of its time
    by_step: bool
    seed: str
    at: str = ""
    ended: str = ""
    live: str = ""
    problems: list[str] = field(default_factory=list)


def draw(seed: int, number: int) -> Case:
    """Every pair of operation and fault in turn; the instant by chance."""
    pairs = list(itertools.product(FAULTS, OPERATIONS))
    chance = random.Random(f"{seed}:{number}")
    fault, operation = pairs[(number - 1) % len(pairs)]
    return Case(operation, fault, chance.random(), chance.random() < 0.6, f"{seed}:{number}")


class Ground:
    """A database with an owner and an application's role, and the directory of its backups. When we may mount, both are on
    a small file system of their own."""

    def __init__(self, server: Any, place: Path) -> None:
        self.server, self.place = server, place
        self.key = secrets.token_hex(4)
        self.database, self.owner, self.app = f"live_{self.key}", f"owner_{self.key}", f"app_{self.key}"
        self.mounted = os.geteuid() == 0 and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=400m,mode=0755", "tmpfs", str(place)], capture_output=True, check=False
        ).returncode  # fmt: skip
        self.directory, self.filler, self.scratch = place / "backups", place / "filler", place / "tmp"
        self.directory.mkdir(mode=0o700)
        self.scratch.mkdir()
        space = place / "space"
        space.mkdir()
        shutil.chown(space, "postgres", "postgres") if os.geteuid() == 0 else None
        server.sql(
            f"CREATE ROLE {self.owner} LOGIN PASSWORD '{self.key}' CREATEDB; CREATE ROLE {self.app} LOGIN PASSWORD 'app';"
            f"GRANT {self.app} TO {self.owner}"
        )
        server.sql(f"CREATE TABLESPACE space_{self.key} LOCATION '{space}'")
        server.sql(f"GRANT CREATE ON TABLESPACE space_{self.key} TO {self.owner}")
        server.sql(f"CREATE DATABASE {self.database} OWNER {self.owner} TABLESPACE space_{self.key}")
        self.sql(TABLES.format(rows=ROWS, app=self.app))
        fd, output = tempfile.mkstemp(prefix="floyo-faults-")  # not where the disk gets full
        os.close(fd)
        self.output = Path(output)
        self.said, says = os.pipe()
        self.hears, self.heard = os.pipe()
        self.runner = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(says), str(self.hears)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, pass_fds=(says, self.hears),
            env={**os.environ, "TMPDIR": str(self.scratch)},
        )  # fmt: skip
        os.close(says)
        assert self.runner.stdin is not None
        assert self.runner.stdout is not None
        self.asks, self.answers = self.runner.stdin, self.runner.stdout
        self.steps: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self.good = self.state()  # what the backups hold

    def close(self) -> None:
        self.asks.close()
        self.runner.kill()
        self.runner.wait()
        self.output.unlink()
        self.server.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND application_name LIKE 'floyo:%'"
        )
        for (name,) in self.server.sql("SELECT datname FROM pg_database"):
            if name.startswith(self.database):
                self.server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')
        self.server.sql(f"DROP TABLESPACE space_{self.key}")
        self.server.sql(f"DROP ROLE {self.app}, {self.owner}")
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.place)], check=True)

    # --- the database ---------------------------------------------------------------------------------------------

    def sql(self, text: str, *, user: str = "", password: str = "") -> list[Any]:
        import psycopg

        url = self.server.url_for(self.database, user=user or self.owner, password=password or self.key)
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(text.encode())
            return list(cursor.fetchall()) if cursor.description else []

    def state(self) -> tuple[Any, ...]:
        return tuple(
            self.sql(
                "SELECT count(*), sum(hashtext(u::text)), (SELECT min(version_num) FROM alembic_version),"
                " (SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0),"
                " (SELECT count(*) FROM pg_index WHERE indrelid = 'users'::regclass AND indisvalid) FROM users u"
            )[0]
        )

    def change(self) -> tuple[Any, ...]:
        """What happened after the backups: rows went, a migration came."""
        if self.state() == self.good:
            self.sql(
                "DELETE FROM users WHERE id > 100; UPDATE alembic_version SET version_num = 'bbbb2222';"
                " ALTER TABLE users ADD x int"
            )
        return self.state()

    def beside(self) -> list[str]:
        rows = self.server.sql("SELECT datname FROM pg_database ORDER BY 1")
        return [name for (name,) in rows if name.startswith(f"{self.database}__")]

    def drop_kept(self) -> None:
        for name in self.beside():
            self.server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')

    # --- the module -----------------------------------------------------------------------------------------------

    def arguments(self, state: str, **more: Any) -> dict[str, Any]:
        url = self.server.url_for(self.database, user=self.owner, password=self.key)
        common = {"database_url": url, "directory": str(self.directory), "state": state, "min_free": "1K", "jobs": 1}
        return {**common, "lock_wait": 30, "timeout": LIMIT, **more, "_ansible_remote_tmp": str(self.scratch)}

    def start(self, arguments: dict[str, Any], step: int = 0) -> int:
        """The number of a process that carries them out, and stops before a step until ``go_on``."""
        request = {"arguments": arguments, "step": step, "directory": str(self.directory), "output": str(self.output)}
        self.asks.write(json.dumps(request).encode() + b"\n")
        self.asks.flush()
        return int(self.told(LIMIT))

    def told(self, seconds: float) -> str:
        """The runner's next line; empty when there is none within that time."""
        if not select.select([self.answers], [], [], seconds)[0]:
            return ""
        return self.answers.readline().decode().strip()

    def reached(self) -> str:
        """What comes next in a run that has come to its step; empty when it has ended without."""
        watched: list[Any] = [self.said, self.answers]
        ready = select.select(watched, [], [], 2 * LIMIT)[0]
        return os.read(self.said, 300).decode() if self.said in ready else ""

    def go_on(self) -> None:
        os.write(self.heard, b"!")

    def ended(self, pid: int) -> tuple[int, str]:
        """How it has ended, and what it has said."""
        line = self.told(2 * LIMIT)
        if not line:
            os.kill(pid, signal.SIGKILL)
            return int(self.told(LIMIT).split()[1]), "it hung"
        os.set_blocking(self.hears, False)
        with contextlib.suppress(BlockingIOError):  # nobody waits for this any more
            os.read(self.hears, 100)
        os.set_blocking(self.hears, True)
        return int(line.split()[1]), self.output.read_text()

    def run(self, state: str, **more: Any) -> dict[str, Any]:
        status, said = self.ended(self.start(self.arguments(state, **more)))
        return {**answer(said), "rc": status}

    def labels(self) -> list[str]:
        return [each["label"] for each in self.run("info")["backups"] if each["verified"]]

    def operation(self, name: str) -> dict[str, Any]:
        """The arguments that do it; before it, what it needs is made."""
        if name == "swap back":
            return {"state": "swapped_back"}
        if name == "restore":
            return {"state": "restored", "label": self.kept_label, "safety_backup": False}
        more = {"keep": KEEP} if name == "prune" else {}
        return {"state": {"backup": "present", "prune": "pruned", "drill": "drilled"}[name], **more}

    def prepare(self, name: str) -> None:
        """A fresh start for one operation, with at least three sound backups of the good state."""
        self.drop_kept()
        if self.state() != self.good:
            must(self.run("restored", label=self.kept_label, safety_backup=False))
            self.drop_kept()
        while len(found := self.labels()) < 3:
            must(self.run("present"))
        self.kept_label = found[0]
        if name == "drill":
            return
        if name == "restore":
            self.change()
        elif name == "swap back":
            self.change()
            must(self.run("restored", label=self.kept_label, safety_backup=False))

    kept_label = ""

    def measure(self, name: str) -> None:
        """How many steps and seconds an undisturbed run has."""
        if name not in self.steps:
            self.prepare(name)
            begin = time.monotonic()
            result = must(self.run(**self.operation(name)))
            self.seconds[name] = time.monotonic() - begin
            self.steps[name] = result["steps"]
            assert self.steps[name] > 5, result

    # --- faults -----------------------------------------------------------------------------------------------------

    def sessions(self, what: str) -> list[Any]:
        ours = f"application_name LIKE 'floyo:%' AND usename = '{self.owner}'"
        return list(self.server.sql(f"SELECT {what} FROM pg_stat_activity WHERE {ours}"))  # noqa: S608 (our own role)

    def inject(self, fault: str, pid: int) -> None:
        if fault in ("SIGKILL", "SIGTERM"):
            os.kill(pid, getattr(signal, fault))
        elif fault == "connections cut":
            self.sessions("pg_terminate_backend(pid)")
        elif self.mounted:
            # A run that goes on meanwhile may have ended before the disk is full.
            os.kill(pid, signal.SIGSTOP)
            fill(self.filler)
            os.kill(pid, signal.SIGCONT)
        else:
            import resource

            resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    def heal(self) -> None:
        self.filler.unlink(missing_ok=True)


def fill(path: Path) -> None:
    """To the last byte."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    stream.write(b"\0" * size)


def must(result: dict[str, Any]) -> dict[str, Any]:
    if result["rc"]:
        raise RuntimeError(f"an undisturbed run failed: {result.get('msg')}")
    return result


# --- one case --------------------------------------------------------------------------------------------------------


def run(ground: Ground, case: Case) -> Case:
    ground.measure(case.operation)
    ground.prepare(case.operation)
    before = ground.state()
    sound = len(ground.labels())
    step = 1 + int(case.part * ground.steps[case.operation]) if case.by_step else -1
    pid = ground.start(ground.arguments(**ground.operation(case.operation)), step)
    if case.by_step:
        case.at = " ".join(ground.reached().split()) or "its end"
        alive = case.at != "its end"
    else:
        pause = case.part * ground.seconds[case.operation]
        case.at = f"{pause:.1f} s"
        alive = not select.select([ground.answers], [], [], pause)[0]
    if alive:
        ground.inject(case.fault, pid)
        if case.by_step:
            ground.go_on()
    status, said = ground.ended(pid)
    case.ended = ending(case, status, said)
    ground.heal()
    minimum = min(sound, KEEP["last"]) if case.operation == "prune" else sound
    judge(ground, case, before, minimum)
    # The same command again, as a person or the next timer would.
    again = ground.run(**ground.operation(case.operation))
    done = (
        case.operation == "swap back" and again.get("code") == "NOTHING_TO_SWAP_BACK" and ground.state() != ground.good
    )
    if again["rc"] and not done:
        case.problems.append(f"the next run failed: {again.get('msg')}")
    judge(ground, case, before, minimum)
    judge_remains(ground, case)
    return case


def answer(said: str) -> dict[str, Any]:
    """What the module has printed, and how many steps it had."""
    found: dict[str, Any] = {}
    for line in said.splitlines():
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            found.update(value if isinstance(value, dict) else {})
    return found or {"msg": said[-400:]}


def ending(case: Case, status: int, said: str) -> str:
    if said == "it hung":
        case.problems.append(said)
    result = answer(said)
    if status == -signal.SIGKILL:
        return "killed"
    if status == -signal.SIGTERM and case.fault == "SIGTERM":  # before the work has begun, or when it is over
        return "ended"
    if status == 0:
        return "done"
    if not result.get("code"):
        case.problems.append(f"it ended with {status} and without a code: {result.get('msg')}")
    return str(result.get("code"))


def judge_live(ground: Ground, case: Case, before: tuple[Any, ...]) -> None:
    try:
        now = ground.state()
        (app,) = ground.sql("SELECT count(*) FROM users", user=ground.app, password="app")[0]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the users would see
        case.problems.append(f"the live database cannot be used: {error}")
        return
    case.live = case.live or ("unchanged" if now == before else "changed")
    allowed = {before, ground.good} if case.operation == "restore" else {before}
    if case.operation == "swap back":
        allowed = {before, *([now] if now[2] == "bbbb2222" and now[0] == 100 else [])}
    if now not in allowed:
        case.problems.append(f"the live database is neither the old nor the new one: {now}")
    if app != now[0]:
        case.problems.append(f"the application sees {app} rows of {now[0]}")


def judge(ground: Ground, case: Case, before: tuple[Any, ...], minimum: int) -> None:
    judge_live(ground, case, before)
    listed = ground.run("info")["backups"]
    read = ground.run("verified")
    if read["rc"]:
        case.problems.append(f"a listed backup is not sound: {read.get('msg')}")
    sound = sum(each["verified"] for each in read.get("backups", []))
    if sound < minimum or sound != sum(each["verified"] for each in listed):
        case.problems.append(f"{sound} sound backups, {len(listed)} listed, at least {minimum} expected")


def judge_remains(ground: Ground, case: Case) -> None:
    """Nothing is left of either run."""
    labels = ground.labels()
    known = {f"{label}.{kind}" for label in labels for kind in ("dump", "json", "checked.json", "drilled.json")}
    files = sorted({path.name for path in ground.directory.iterdir()} - known - {".lock"})
    scratch = [name for name in ground.beside() if "__restore_" in name or "__drill_" in name]
    temporary = [path.name for path in ground.scratch.iterdir() if not path.name.startswith("ansible")]
    sessions: list[Any] = []
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        sessions = ground.sessions("application_name")
        if not sessions:
            break
        time.sleep(0.1)
    for what, left in (
        ("files", files),
        ("databases", scratch),
        ("temporary files", temporary),
        ("sessions", sessions),
    ):
        if left:
            case.problems.append(f"{what} left: {left}")


# --- all of them -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def grounds(servers: Callable[[], contextlib.AbstractContextManager[Any]]) -> Iterator[Ground]:
    with servers() as server, tempfile.TemporaryDirectory(prefix="floyo-faults-") as place:
        Path(place).chmod(0o755)
        ground = Ground(server, Path(place))
        try:
            yield ground
        finally:
            ground.close()


def table(cases: list[Case]) -> str:
    lines = [
        f"| operation | {' | '.join(FAULTS)} | live database replaced | failed assertions |",
        f"|---|{'---:|' * len(FAULTS)}---:|---:|",
    ]
    for operation in OPERATIONS:
        mine = [case for case in cases if case.operation == operation]
        counts = [sum(case.fault == fault for case in mine) for fault in FAULTS]
        lines.append(
            f"| {operation} | {' | '.join(map(str, counts))} | {sum(case.live == 'changed' for case in mine)}"
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


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", help="seed:number of one case to run again")
    parser.add_argument("--write", type=Path, help="write the tables into this page")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.conftest import private_postgres

    seed, numbers = options.seed, list(range(1, options.cases + 1))
    if options.case:
        seed, numbers = int(options.case.partition(":")[0]), [int(options.case.partition(":")[2])]
    cases: list[Case] = []
    with grounds(private_postgres) as ground:
        if not ground.mounted:
            print("no file system can be mounted here: a full disk is a limit of file size, of the backups alone")
        for number in numbers:
            case: Optional[Case] = draw(seed, number)
            assert case is not None
            begin = time.monotonic()
            cases.append(run(ground, case))
            print(
                f"{case.seed:>6} {case.operation:9} {case.fault:15} at {case.at[:70]:70} {case.ended:16}"
                f" {'; '.join(case.problems) or 'ok'} ({time.monotonic() - begin:.0f} s)",
                flush=True,
            )
    text = f"{table(cases)}\n\n{endings(cases)}"
    print(f"\n{text}")
    bad = [case.seed for case in cases if case.problems]
    if options.write:
        options.write.write_text(
            "# Faults of backups\n\nWritten by `make faults OPTIONS=--backups`: operations of module `pg_backup` on a real"
            f" PostgreSQL server, each broken at a random instant, then run once more. Seed {seed}, {len(cases)} cases,"
            f" {len(bad)} with a failed assertion.\n\n{text}\n"
        )
    if bad:
        print(f"failed: {', '.join(bad)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
