"""Counters of fast and slow statements, from what pg_stat_statements keeps of each (pure, standard library only).

The server keeps a mean and a deviation for the whole life of a statement, and no percentiles. Between two looks, the
differences of calls, sums and sums of squares are mean and deviation of that time alone, and Cantelli's inequality says
for any distribution which share of those calls was surely under the limit, and which surely over it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["advance"]

_COUNTED = ("calls", "fast", "slow")


def advance(memory: Mapping[str, Any], statements: Iterable[Mapping[str, Any]], limit: float) -> dict[str, Any]:
    """The memory after this look: ``calls``, ``fast`` and ``slow`` only grow, ``seen`` is what to compare with next.

    A first look only remembers. A statement that is new, or whose counters began again, counts whole.
    """
    before = memory.get("seen")
    found: dict[str, Any] = {key: float(memory.get(key, 0.0)) for key in _COUNTED}
    found["seen"] = {}
    for one in statements:
        calls, mean = one["calls"], one["mean_ms"]
        now = [calls, calls * mean, calls * (mean**2 + one["deviation_ms"] ** 2)]
        found["seen"][one["id"]] = now
        if before is None:
            continue
        old = before.get(one["id"], [0.0, 0.0, 0.0])
        if old[0] > calls:
            old = [0.0, 0.0, 0.0]
        new, total, squares = (after - earlier for after, earlier in zip(now, old))
        if new > 0:
            fast, slow = _shares(new, total, squares, one, limit)
            found["calls"] += new
            found["fast"] += new * fast
            found["slow"] += new * slow
    return found


def _shares(
    calls: float, total: float, squares: float, statement: Mapping[str, Any], limit: float
) -> tuple[float, float]:
    """The least share under the limit, and the least share over it."""
    if statement["max_ms"] < limit:
        return 1.0, 0.0
    if statement["min_ms"] >= limit:
        return 0.0, 1.0
    mean = total / calls
    variance = max(0.0, squares / calls - mean**2)
    distance = abs(limit - mean)
    share = distance**2 / (variance + distance**2) if distance else 0.0
    return (share, 0.0) if mean < limit else (0.0, share)
