#!/usr/bin/env python3
"""What many clients notice of deploys and rollbacks: requests, lost ones, the worst wait. Prints one line for each run.

    make bench OPTIONS="--clients"                    50 clients, half of them with keep-alive; 3 rounds
    make bench OPTIONS="--clients --parallel 100"

A deploy drains each host at the proxies before it restarts; so does a rollback in batches. A plain rollback restarts all
hosts at once, and requests wait for the first that is back. "nothing" is the same time without any, for comparison.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from rollback import NETWORK, NEW, OLD, ROOT, Bench


def noticed(clients: int, work: Callable[[], object]) -> dict[str, dict[str, Any]]:
    with subprocess.Popen(
        [
            sys.executable, str(ROOT / "scripts" / "probe"), f"https://{NETWORK}10/api/workflows",
            f"--clients={clients // 2}", "--pause=0.5",
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as probe:  # fmt: skip
        work()
        output, _ = probe.communicate()
    found: dict[str, dict[str, Any]] = json.loads(output)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--parallel", type=int, default=50, help="clients at once (default 50)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="leave the fleet for the next run")
    options = parser.parse_args()
    bench = Bench(3)
    bench.prepare()
    deploy = {"floyo_version": NEW, "floyo_backup_before": "never"}
    back = {"floyo_release": OLD}
    batches = {**back, "floyo_rollback_batches": [1]}
    ways: list[tuple[str, Callable[[], object]]] = [
        ("rollback", lambda: bench.playbook("playbooks/rollback.yml", "-e", json.dumps(back))),
        ("deploy", lambda: bench.playbook("playbooks/deploy.yml", "-e", json.dumps(deploy))),
        ("in batches", lambda: bench.playbook("playbooks/rollback.yml", "-e", json.dumps(batches))),
        ("deploy", lambda: bench.playbook("playbooks/deploy.yml", "-e", json.dumps(deploy))),
        ("nothing", lambda: time.sleep(15)),
    ]
    lost = 0
    print(
        f"\n{options.parallel} clients\n{'run':10} {'client':18} {'requests':>9} {'lost':>5} {'median':>10} {'worst wait':>11}"
    )
    for _ in range(options.rounds):
        for name, work in ways:
            for kind, seen in noticed(options.parallel, work).items():
                lost += seen["lost"]
                print(
                    f"{name:10} {kind:18} {seen['requests']:9} {seen['lost']:5} {seen['p50_ms']:7} ms {seen['worst_ms']:8} ms",
                    flush=True,
                )
    if not options.keep:
        bench.playbook("playbooks/fleet_down.yml")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
