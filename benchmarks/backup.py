#!/usr/bin/env python3
"""Time module pg_backup against bare pg_dump and pg_restore on databases of several sizes.

    make bench OPTIONS="--backup"                   10 MB and 1 GB
    make bench OPTIONS="--backup --sizes 10,100"    other sizes, in MB

In one run and in turns, so that a busy machine is busy for both: pg_dump to the same format and a file, then the module,
which dumps, counts and hashes every table in the dump's own moment, and reads the dump back. Prints ratios and the module's
largest memory; a ratio above its bar is marked and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
BARS = {"dump": 1.10, "verify": 1.0, "memory": 80.0}
PROGRAM = f"""
import json, resource, sys
import ansible.module_utils, ansible.module_utils.basic as basic
ansible.module_utils.__path__.append({str(ROOT / "module_utils")!r})
sys.path.insert(0, {str(ROOT / "library")!r})
basic._ANSIBLE_ARGS = b'{{"ANSIBLE_MODULE_ARGS": ' + sys.argv[1].encode() + b"}}"
if hasattr(basic, "_ANSIBLE_PROFILE"):
    basic._ANSIBLE_PROFILE = "legacy"
import pg_backup
try:
    pg_backup.main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""
# Text and numbers as applications have them: they compress by about two thirds.
ROW = "SELECT g AS id, md5(g::text) || ' ' || repeat(md5((g % 1000)::text), 3) AS text, random() AS x, now() AS at, g % 7 AS kind"
ROW_BYTES = 210


def make(server: Any, megabytes: int) -> str:
    url = str(server.fresh_database())
    database = url.rpartition("/")[2]
    rows = megabytes * 1_000_000 // ROW_BYTES
    for part in range(4):
        server.sql(f"CREATE TABLE t{part} AS {ROW} FROM generate_series(1, {rows // 4}) g", database=database)
        server.sql(f"ALTER TABLE t{part} ADD PRIMARY KEY (id)", database=database)
    server.sql("VACUUM ANALYZE", database=database)
    return url


def bare(server: Any, url: str, path: Path) -> float:
    """pg_dump to a file that is on the disk when it is said to be."""
    words = [str(server.bin_dir / "pg_dump"), "--format=custom", "--compress=6", f"--file={path}", f"--dbname={url}"]
    begin = time.monotonic()
    subprocess.run(words, check=True)
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    seconds = time.monotonic() - begin
    path.unlink()
    return seconds


def ours(url: str, directory: Path) -> dict[str, float]:
    arguments = {
        "state": "present",
        "database_url": url,
        "directory": str(directory),
        "compress": "gzip:6",
        "timeout": 7200,
    }
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(arguments)], capture_output=True, text=True, check=False
    )
    whole = time.monotonic() - begin
    result = json.loads(done.stdout.strip().splitlines()[-1])
    if done.returncode:
        sys.exit(result.get("msg"))
    backup = result["backup"]
    for path in directory.glob(f"{backup['label']}*"):
        path.unlink()
    seconds = backup["manifest"]["seconds"]
    return {**seconds, "whole": whole, "size": backup["size"] / 1e6, "memory": int(done.stderr.split()[-1]) / 1024}


def measure(server: Any, megabytes: int, rounds: int, place: Path) -> dict[str, float]:
    url = make(server, megabytes)
    (size,) = server.sql("SELECT pg_database_size(current_database())", database=url.rpartition("/")[2])[0]
    bare(server, url, place / "warm")
    pairs = [(bare(server, url, place / "bare"), ours(url, place / "backups")) for _ in range(rounds)]
    middle = {key: statistics.median(mine[key] for _, mine in pairs) for key in pairs[0][1]}
    found = {
        "database": size / 1e6,
        "bare": statistics.median(alone for alone, _ in pairs),
        "dump ratio": statistics.median(mine["dump"] / alone for alone, mine in pairs),
        "verify ratio": statistics.median(mine["verify"] / mine["dump"] for _, mine in pairs),
        "whole ratio": statistics.median(mine["whole"] / alone for alone, mine in pairs),
        **middle,
    }
    server.sql(f'DROP DATABASE "{url.rpartition("/")[2]}"')
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--sizes", default="10,1000", help="megabytes, separated by commas")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    from tests.conftest import private_postgres

    print(
        "| database | dump | pg_dump | ours | ratio | count beside it | read back / dump | whole run / pg_dump | memory |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    missed = []
    with private_postgres() as server, tempfile.TemporaryDirectory(prefix="floyo-bench-") as place:
        for megabytes in map(int, options.sizes.split(",")):
            found = measure(server, megabytes, options.rounds, Path(place))
            print(
                f"| {found['database']:.0f} MB | {found['size']:.0f} MB | {found['bare']:.2f} s | {found['dump']:.2f} s"
                f" | {found['dump ratio']:.2f} | {found['count']:.2f} s | {found['verify ratio']:.2f}"
                f" | {found['whole ratio']:.2f} | {found['memory']:.0f} MB |",
                flush=True,
            )
            if megabytes >= 100:  # of a small one, starting programs is the larger part
                missed += [f"dump {found['dump ratio']:.2f}"] if found["dump ratio"] > BARS["dump"] else []
                missed += [f"verify {found['verify ratio']:.2f}"] if found["verify ratio"] > BARS["verify"] else []
            missed += [f"memory {found['memory']:.0f} MB"] if found["memory"] > BARS["memory"] else []
    if missed:
        print(f"above the bar: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
