#!/usr/bin/env python3
"""Put module pg_backup and community.postgresql's postgresql_db into the same trouble, and write down what each did.

    benchmarks/hazards.py                                    print the table
    benchmarks/hazards.py --write docs/backups-compared.md   write the page

Each row is run on a real server: nothing in the table is a constant but the names of the hazards. Needs root, to mount a file
system that is small enough to be full.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
THEIRS = "ansible_collections.community.postgresql.plugins.modules.postgresql_db"
PROGRAM = f"""
import json, runpy, sys
import ansible.module_utils, ansible.module_utils.basic as basic
ansible.module_utils.__path__.append({str(ROOT / "module_utils")!r})
sys.path.insert(0, {str(ROOT / "library")!r})
request = json.loads(sys.argv[1])
basic._ANSIBLE_ARGS = json.dumps({{"ANSIBLE_MODULE_ARGS": request["arguments"]}}).encode()
if hasattr(basic, "_ANSIBLE_PROFILE"):
    basic._ANSIBLE_PROFILE = "legacy"
runpy.run_module(request["module"], run_name="__main__")
"""
ROWS = 100_000
LIMIT = 90.0


class Trial:
    """A database, and both modules on it."""

    def __init__(self, server: Any, place: Path) -> None:
        self.server, self.place = server, place
        self.url = str(server.fresh_database())
        self.database = self.url.rpartition("/")[2]
        rows = f"SELECT g AS id, md5(random()::text) AS name FROM generate_series(1, {ROWS}) g"  # noqa: S608 (a number)
        self.sql(f"CREATE TABLE users AS {rows}")
        self.place.mkdir()
        self.directory = self.place / "backups"

    def sql(self, text: str) -> list[Any]:
        return list(self.server.sql(text, database=self.database))

    def rows(self) -> int:
        return int(self.sql("SELECT count(*) FROM users")[0][0])

    def start(self, module: str, arguments: dict[str, Any], *, check: bool = False) -> subprocess.Popen[str]:
        request = {"module": module, "arguments": {**arguments, "_ansible_check_mode": check}}
        path = f"{self.server.bin_dir}:{os.environ['PATH']}"
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(request)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PATH": path}, start_new_session=True,
        )  # fmt: skip

    def finish(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        try:
            out, err = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return {"hangs": True}
        found = json.loads(out.strip().splitlines()[-1]) if out.strip() else {"msg": err[-200:]}
        return {**found, "rc": process.returncode}

    def their_arguments(self, state: str, target: Path, **more: Any) -> dict[str, Any]:
        common = {"login_host": self.server.host, "login_port": self.server.port, "login_user": "postgres"}
        return {
            **common,
            "login_password": self.server.password,
            "name": self.database,
            "state": state,
            "target": str(target),
            **more,
        }

    def theirs(self, state: str, target: Path, *, check: bool = False, **more: Any) -> dict[str, Any]:
        return self.finish(self.start(THEIRS, self.their_arguments(state, target, **more), check=check))

    def our_arguments(self, state: str, **more: Any) -> dict[str, Any]:
        common = {"state": state, "database_url": self.url, "directory": str(self.directory), "min_free": "1K"}
        return {**common, "lock_wait": 2, "lock_timeout": 2, **more}

    def ours(self, state: str, *, check: bool = False, **more: Any) -> dict[str, Any]:
        return self.finish(self.start("pg_backup", self.our_arguments(state, **more), check=check))

    def listed(self) -> int:
        return sum(each["verified"] for each in self.ours("info")["backups"])

    def readable(self, path: Path) -> str:
        """What a look at a file alone would say of it."""
        if not path.exists():
            return "nothing under the backup's name"
        words = [str(self.server.bin_dir / "pg_restore"), "--list", str(path)]
        listed = subprocess.run(words, capture_output=True, check=False).returncode == 0
        return f"{path.stat().st_size} bytes under the backup's name" + (
            ", which pg_restore --list accepts" if listed else ""
        )


def said(result: dict[str, Any]) -> str:
    if result.get("hangs"):
        return f"still waiting after {LIMIT:.0f} s"
    if result["rc"]:
        return f"fails ({result['code']})" if result.get("code") else "fails"
    return "changed" if result.get("changed") else "ok"


def full_disk(trial: Trial) -> tuple[str, str]:
    mount = trial.place / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount)], check=True)
    try:
        target = mount / "app.pgc"
        theirs = f"{said(trial.theirs('dump', target))}; {trial.readable(target)}"
        target.unlink(missing_ok=True)
        trial.directory = mount / "backups"
        ours = f"{said(trial.ours('present'))}; {trial.listed()} listed, {left(trial)} files left"
    finally:
        subprocess.run(["umount", str(mount)], check=True)
    return theirs, ours


def left(trial: Trial) -> int:
    return len([path for path in trial.directory.glob("2*")]) if trial.directory.exists() else 0


def over_a_good_one(trial: Trial) -> tuple[str, str]:
    """The second dump fails; is the first still there?"""
    target = trial.place / "app.sql"
    trial.theirs("dump", target)
    before = target.stat().st_size
    again = trial.theirs("dump", target, name="no_such_database")
    trial.ours("present")
    ours = trial.ours("present", database_url=trial.url.replace(trial.database, "no_such_database"))
    return (
        f"{said(again)}; the good one had {before} bytes and has {target.stat().st_size}",
        f"{said(ours)}; {trial.listed()} sound one listed",
    )


def killed(trial: Trial) -> tuple[str, str]:
    target = trial.place / "app.pgc"
    kill_when(
        trial.start(THEIRS, trial.their_arguments("dump", target)), lambda: target.exists() and target.stat().st_size
    )
    theirs = trial.readable(target)

    def partial() -> bool:
        return any(path.stat().st_size for path in trial.directory.glob("*.partial"))

    kill_when(trial.start("pg_backup", trial.our_arguments("present")), partial)
    time.sleep(1)
    listed = trial.listed()
    again = trial.ours("present", lock_wait=30)
    return theirs, f"{listed} listed; the next run is {said(again)} and sweeps {len(again.get('swept', []))} files"


def kill_when(process: subprocess.Popen[str], condition: Callable[[], Any]) -> None:
    limit = time.monotonic() + LIMIT
    while not condition() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def cut_dump(trial: Trial) -> tuple[str, str]:
    target = trial.place / "app.sql"
    trial.theirs("dump", target)
    whole = target.read_bytes()
    target.write_bytes(whole[: len(whole) // 2])
    label = trial.ours("present")["backup"]["label"]
    dump = trial.directory / f"{label}.dump"
    data = dump.read_bytes()
    dump.write_bytes(data[: len(data) // 2])
    ours = f"{said(trial.ours('restored', label=label))}; {trial.rows()} of {ROWS} rows"
    trial.sql("DROP TABLE users")
    result = trial.theirs("restore", target)
    there = trial.sql("SELECT to_regclass('users') IS NOT NULL")[0][0]
    return f"{said(result)}; {trial.rows() if there else 0} of {ROWS} rows", ours


def missing_role(trial: Trial) -> tuple[str, str]:
    role = f"gone_{trial.database}"
    trial.server.sql(f"CREATE ROLE {role}")
    trial.sql(f"GRANT SELECT ON users TO {role}")
    target = trial.place / "app.sql"
    trial.theirs("dump", target)
    label = trial.ours("present")["backup"]["label"]
    trial.sql(f"DROP OWNED BY {role}")
    trial.server.sql(f"DROP ROLE {role}")
    ours = f"{said(trial.ours('restored', label=label))}; {trial.rows()} rows live"
    trial.sql("DROP TABLE users")
    result = trial.theirs("restore", target)
    words = "with the error in its output" if "does not exist" in json.dumps(result) else "without a word of it"
    return f"{said(result)}, {words}", ours


def over_live(trial: Trial) -> tuple[str, str]:
    """A dump of yesterday is restored over today's rows."""
    target = trial.place / "app.sql"
    trial.theirs("dump", target)
    label = trial.ours("present")["backup"]["label"]
    trial.sql("UPDATE users SET name = 'today'")
    theirs = f"{said(trial.theirs('restore', target))}; {trial.rows()} rows of {ROWS}"
    trial.sql("DELETE FROM users WHERE name <> 'today'")
    result = trial.ours("restored", label=label)
    kept = (result.get("restored") or {}).get("kept")
    return theirs, f"{said(result)}; {trial.rows()} rows of {ROWS}" + (", today's kept for a swap back" if kept else "")


def locked(trial: Trial) -> tuple[str, str]:
    import psycopg

    with psycopg.connect(trial.url) as other:
        other.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        ours = said(trial.ours("present"))
        return said(trial.theirs("dump", trial.place / "app.pgc")), ours


def emptied(trial: Trial) -> tuple[str, str]:
    trial.ours("present")
    trial.sql("TRUNCATE users")
    theirs = said(trial.theirs("dump", trial.place / "app.pgc"))
    result = trial.ours("present")
    return theirs, f"{said(result)}, listed as suspect: {result['backups'][0]['suspect'] or 'no'}"


def check_mode(trial: Trial) -> tuple[str, str]:
    return said(trial.theirs("dump", trial.place / "app.pgc", check=True)), said(trial.ours("present", check=True))


def permissions(trial: Trial) -> tuple[str, str]:
    target = trial.place / "app.pgc"
    trial.theirs("dump", target)
    path = Path(trial.ours("present")["backup"]["path"])
    return f"mode {stat.S_IMODE(target.stat().st_mode):04o}", f"mode {stat.S_IMODE(path.stat().st_mode):04o}"


def hostile(trial: Trial) -> tuple[str, str]:
    """A plain dump in which somebody has put a line for psql, and has taken out the restriction that pg_dump begins with. Ours
    takes one by name and digest only, as the owner."""
    target, mark = trial.place / "app.sql", trial.place / "mark"
    trial.theirs("dump", target)
    target.chmod(0o600)
    text = re.sub(r"(?m)^\\(un)?restrict .*$", "", target.read_text())
    place = text.index("COPY public.users")
    target.write_text(f"{text[:place]}\\! touch {mark}\n{text[place:]}")

    def outcome(result: dict[str, Any]) -> str:
        ran = "the command has run on the host" if mark.exists() else "the command has not run"
        mark.unlink(missing_ok=True)
        return f"{said(result)}; {ran}"

    owner = f"owner_{trial.database}"
    trial.server.sql(f"CREATE ROLE {owner} LOGIN CREATEDB PASSWORD '{trial.server.password}'")
    trial.server.sql(f"ALTER DATABASE {trial.database} OWNER TO {owner}")
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    url = trial.server.url_for(trial.database, user=owner)
    ours = outcome(
        trial.ours("imported", database_url=url, sql_file=str(target), sql_sha256=digest, safety_backup=False)
    )
    trial.sql("DROP TABLE users")
    return outcome(trial.theirs("restore", target)), ours


HAZARDS: dict[str, Callable[[Trial], tuple[str, str]]] = {
    "the disk gets full": full_disk,
    "a dump fails where a good one lies": over_a_good_one,
    "killed half way (SIGKILL)": killed,
    "a dump that was cut is restored": cut_dump,
    "a plain dump holds a command for psql": hostile,
    "a role of the dump is not on the server": missing_role,
    "restored over a database that is in use": over_live,
    "a table is locked": locked,
    "the database was emptied by mistake": emptied,
    "check mode, where a run would make a dump": check_mode,
    "who can read the dump (umask 022)": permissions,
}


@contextlib.contextmanager
def trials(servers: Callable[[], contextlib.AbstractContextManager[Any]]) -> Iterator[Callable[[str], Trial]]:
    os.umask(0o022)
    with servers() as server, tempfile.TemporaryDirectory(prefix="floyo-hazards-") as place:
        yield lambda name: Trial(server, Path(place, name))


def version() -> str:
    collection = importlib.import_module("ansible_collections.community.postgresql")
    manifest = json.loads((Path(str(collection.__path__[0])) / "MANIFEST.json").read_text())
    return str(manifest["collection_info"]["version"])


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--write", type=Path, help="write the page")
    options = parser.parse_args()
    from tests.conftest import private_postgres

    lines = [f"| hazard | community.postgresql {version()}, `postgresql_db` | `pg_backup` |", "|---|---|---|"]
    print("\n".join(lines), flush=True)
    database: Optional[str] = None
    with trials(private_postgres) as made:
        for number, (hazard, work) in enumerate(HAZARDS.items()):
            trial = made(str(number))
            database = database or str(trial.sql("SHOW server_version")[0][0]).split()[0]
            theirs, ours = work(trial)
            lines.append(f"| {hazard} | {theirs} | {ours} |")
            print(lines[-1], flush=True)
    if options.write:
        options.write.write_text(
            "# Backups compared\n\nWritten by `benchmarks/hazards.py`: both modules in the same trouble on a real PostgreSQL"
            f" {database}, a table of {ROWS} rows, and what each did. `postgresql_db` dumps and restores as its documentation"
            " shows, without further options.\n\n" + "\n".join(lines) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
