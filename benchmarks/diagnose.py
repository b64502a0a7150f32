#!/usr/bin/env python3
"""A database with many tables: how long pg_diagnose takes for all it looks at.

    make bench OPTIONS=--diagnose            5,000 tables

In the same run psql asks the runbook's two questions (indexes, sizes), for comparison.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ansible.module_utils
import psycopg

ROOT = Path(__file__).resolve().parent.parent
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

from ansible.module_utils.floyo.diagnose.glue import ARGUMENT_SPEC, SUBSETS, diagnose
from ansible.module_utils.floyo.diagnose.judge import LIMITS

MOST_SECONDS = 2.0
TABLE = (
    "CREATE TABLE t{0} (id serial PRIMARY KEY, name text, parent int{1});"
    "CREATE INDEX ON t{0} (name); INSERT INTO t{0} (name) SELECT md5(g::text) FROM generate_series(1, 20) g;"
)
RUNBOOK = (
    "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT schemaname, tablename, pg_size_pretty(pg_total_relation_size(schemaname||'.'||tablename)) FROM pg_tables"
    " WHERE schemaname = 'public' ORDER BY pg_total_relation_size(schemaname||'.'||tablename) DESC",
)


@contextlib.contextmanager
def server() -> Iterator[tuple[str, Path]]:
    """A server without durability, for the time of the bench."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    account: dict[str, Any] = {}
    work = Path(tempfile.mkdtemp(prefix="flbench-"))
    if os.geteuid() == 0:
        entry = pwd.getpwnam("postgres")
        account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        os.chown(work, entry.pw_uid, entry.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        subprocess.run(
            [programs / "initdb", "-D", work / "data", "-U", "postgres", "--auth=trust", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, cwd="/", **account,
        )  # fmt: skip
        command = [
            str(programs / "postgres"),
            "-D",
            str(work / "data"),
            "-p",
            str(port),
            "-k",
            str(work),
            "-h",
            "127.0.0.1",
        ]
        for setting in ("fsync=off", "max_locks_per_transaction=1000", "shared_preload_libraries=pg_stat_statements"):
            command += ["-c", setting]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **account
        ) as process:
            ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
            while subprocess.run(ready, check=False).returncode:
                time.sleep(0.1)
            try:
                yield f"postgresql://postgres@127.0.0.1:{port}/postgres", programs
            finally:
                process.terminate()
    finally:
        shutil.rmtree(work)


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--tables", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    defaults = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}
    with server() as (url, programs):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
            connection.execute("CREATE TABLE parents (id int PRIMARY KEY)")
            for first in range(0, options.tables, 100):
                numbers = range(first, min(first + 100, options.tables))
                # A table that thousands refer to has thousands of triggers, which nobody's has.
                keys = ["" if number % 100 else " REFERENCES parents" for number in numbers]
                connection.execute("".join(map(TABLE.format, numbers, keys)))
            connection.execute("ANALYZE")
        ours, theirs, result = [], [], {}
        for _ in range(options.rounds):
            begin = time.perf_counter()
            result = diagnose({**defaults, "limits": LIMITS, "database_url": url, "state": "report"}, check_mode=True)
            ours.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            for question in RUNBOOK:
                subprocess.run([programs / "psql", "-XAtqc", question, url], check=True, stdout=subprocess.DEVNULL)
            theirs.append(time.perf_counter() - begin)
        parts = {}
        for subset in SUBSETS:
            begin = time.perf_counter()
            diagnose(
                {**defaults, "limits": LIMITS, "database_url": url, "state": "report", "subset": [subset]},
                check_mode=True,
            )
            parts[subset] = time.perf_counter() - begin
    if result["unseen"] or result["sizes"]["number"] != options.tables + 1:
        sys.exit(f"not all was seen: {result['unseen']}, {result['sizes']['number']} tables")
    median, runbook = statistics.median(ours), statistics.median(theirs)
    print(f"{options.tables} tables, {result['indexes']['number']} indexes, {len(result['findings'])} findings")
    print("alone, s: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items()))
    print(f"all of it: median {median:.2f} s, best {min(ours):.2f} s of {options.rounds} (at most {MOST_SECONDS:g})")
    print(f"the runbook's two questions: median {runbook:.2f} s, so {median / runbook:.2f} x")
    return int(median > MOST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
