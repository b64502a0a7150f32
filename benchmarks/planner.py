#!/usr/bin/env python3
"""The planner over long histories: processor seconds for one plan, and against one tenth of the revisions.

make bench OPTIONS=--planner             1,000 and 10,000 revisions of each shape
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ansible.module_utils

ROOT = Path(__file__).resolve().parent.parent
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

from ansible.module_utils.floyo.migrations.planner import Release, plan_deploy, plan_rollback  # noqa: E402 - found by the path above

SHAPES: dict[str, Callable[[int], list[int]]] = {
    "linear": lambda number: [number - 1],
    "branched": lambda number: [(number - 1) // 2],
    "merged": lambda number: sorted({number - 1, max(0, number - 2)}),
}


def history(shape: str, size: int) -> list[dict[str, Any]]:
    """The newest revision removes something and can be taken back."""
    made = []
    for number in range(size):
        below = SHAPES[shape](number) if number else []
        kind = "contract" if number == size - 1 else "expand"
        made.append(
            {
                "revision": f"r{number}",
                "down_revisions": [f"r{one}" for one in below],
                "class": kind,
                "downgrade": {"kind": "clean", "loses": []},
            }
        )
    return made


def seconds(work: Callable[[], dict[str, Any]], verdict: str) -> float:
    """The best of three."""
    best = float("inf")
    for _ in range(3):
        begin = time.process_time()
        plan = work()
        best = min(best, time.process_time() - begin)
        if plan["verdict"] != verdict:
            sys.exit(f"the plan is {plan['verdict']} ({plan['reason']}) and not {verdict}")
    return best


def once(shape: str, size: int) -> tuple[float, float]:
    made = history(shape, size)
    covered = {parent for one in made for parent in one["down_revisions"]}
    live = [one["revision"] for one in made if one["revision"] not in covered]
    new, old = Release("new", made), Release("old", made[:-1])
    more = [Release(f"more{number}", made[: size // 2]) for number in range(5)]
    return (
        seconds(lambda: plan_rollback(live, old, new, known=more), "DOWNGRADE"),
        seconds(lambda: plan_deploy(old_live(made), new, running=[old], known=more, multiple_heads=True), "SAFE"),
    )


def old_live(made: list[dict[str, Any]]) -> list[str]:
    covered = {parent for one in made[:-1] for parent in one["down_revisions"]}
    return [one["revision"] for one in made[:-1] if one["revision"] not in covered]


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--revisions", type=int, nargs="+", default=[1000, 10000])
    options = parser.parse_args()
    print(f"{'shape':10} {'revisions':>10} {'rollback s':>11} {'deploy s':>9} {'x a tenth':>10}")
    for shape in SHAPES:
        for size in options.revisions:
            (back, forth), (less, _) = once(shape, size), once(shape, size // 10)
            print(f"{shape:10} {size:10} {back:11.3f} {forth:9.3f} {back / less:10.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
