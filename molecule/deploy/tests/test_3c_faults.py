"""A few cases of the fault campaign (`make faults`), the same ones each time. The fleet runs v1.0.0, and does at the end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
# Cases 1 to 4 of this seed: what they are is in their lines of output.
SEED, CASES = 32, 4


def test_what_breaks_half_way_is_whole_after_the_next_run(world: Any) -> None:
    done = subprocess.run(
        [
            sys.executable, str(ROOT / "tests" / "faults" / "campaign.py"), "--ready", "--spans=12,5",
            f"--seed={SEED}", f"--cases={CASES}",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(": ok (") == CASES
    assert world.versions() == ["v1.0.0"] * 3
    # An application that has just met its cache again says so for a while.
    limit = time.monotonic() + 90
    while (status := world.play("status")).rc or not all("healthy" in status.row(host) for host in world.backends):
        assert time.monotonic() < limit, status.output
