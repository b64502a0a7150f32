#!/usr/bin/env python3
"""The controller's share of a rollback: hosts that answer at once, so what is left is Ansible and this project.

    make bench OPTIONS=--scale               100, 300 and 1,000 hosts

Prints processor seconds, the memory of the largest process, and both against the number of hosts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VARIABLES = {
    "ansible_connection": "instant", "ansible_become": True, "floyo_database_url": "postgresql://floyo@127.0.0.1/floyo",
}  # fmt: skip


def run(hosts: int) -> tuple[float, float, float, int]:
    """(wall seconds, processor seconds, largest resident set in MB, remote executions)."""
    with tempfile.TemporaryDirectory() as scratch:
        calls = Path(scratch, "calls")
        calls.touch()
        names: dict[str, dict[str, str]] = {f"backend{number}": {} for number in range(1, hosts + 1)}
        inventory = Path(scratch, "hosts.yml")
        inventory.write_text(json.dumps({"floyo_backend": {"hosts": names, "vars": VARIABLES}}))
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(
            [ROOT / ".venv" / "bin" / "ansible-playbook", "-i", inventory, "playbooks/rollback.yml"],
            cwd=ROOT,
            # Byte code is kept, whatever this machine's habits are.
            env={**{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
                 "PYTHONPYCACHEPREFIX": str(ROOT / ".cache" / "bench" / "bytecode"),
                 "ANSIBLE_CONNECTION_PLUGINS": str(ROOT / "benchmarks" / "connection"),
                 "FLOYO_BENCH_CALLS": str(calls), "ANSIBLE_PIPELINING": "true"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        wall, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        made = calls.stat().st_size
    if done.returncode or done.stdout.count("switched") < hosts:
        sys.exit(f"the rollback of {hosts} hosts ended with {done.returncode}:\n{done.stdout[-3000:]}")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, processor, after.ru_maxrss / 1024, made


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--hosts", type=int, nargs="+", default=[100, 300, 1000])
    options = parser.parse_args()
    print(f"{'hosts':>6} {'wall s':>8} {'CPU s':>8} {'ms a host':>10} {'MB':>6} {'executions a host':>18}")
    for hosts in sorted(options.hosts):
        wall, processor, memory, made = run(hosts)
        print(
            f"{hosts:6} {wall:8.1f} {processor:8.1f} {processor / hosts * 1000:10.1f} {memory:6.0f} {made / hosts:18.2f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
