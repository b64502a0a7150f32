#!/usr/bin/env python3
"""What the lines of a run cost: deploys to and fro with our callback, and with none to speak of. Prints ratios.

    make bench OPTIONS=--callback         5 rounds

Both go through the same deploys in turns; ``minimal`` prints what each task returns and nothing else. The journal of a
run, which reports read, takes part on both sides.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys

from rollback import NEW, OLD, Bench, measured

WAYS = {"minimal": "ansible.builtin.minimal", "floyo": "floyo"}


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="leave the fleet for the next run")
    options = parser.parse_args()
    bench = Bench(3)
    bench.prepare()

    def deploy(target: str) -> None:
        words = json.dumps({"floyo_version": target, "floyo_backup_before": "never"})
        bench.playbook("playbooks/deploy.yml", "-e", words)

    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    for number in range(options.rounds + 1):
        for name, callback in WAYS.items():
            bench.environment["ANSIBLE_STDOUT_CALLBACK"] = callback
            for target in (OLD, NEW):
                result = measured(deploy, target)
                if number:
                    found[name].append(result)
        print(f"round {number} of {options.rounds}" + (" (not counted)" if not number else ""), flush=True)
    print(
        f"\n{2 * options.rounds} deploys each, median\n{'callback':10} {'seconds':>8} {'ratio':>6} {'CPU':>8} {'ratio':>6}"
    )
    base = [statistics.median(values) for values in zip(*found["minimal"], strict=True)]
    for name, results in found.items():
        wall, processor = (statistics.median(values) for values in zip(*results, strict=True))
        print(f"{name:10} {wall:8.2f} {wall / base[0]:6.3f} {processor:8.2f} {processor / base[1]:6.3f}")
    if not options.keep:
        bench.playbook("playbooks/fleet_down.yml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
