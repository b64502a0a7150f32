"""Latencies that this process measured: the last thousand requests of each endpoint."""

from __future__ import annotations

import collections
import math

KEPT = 1000


class Metrics:
    def __init__(self) -> None:
        self.seen: dict[str, collections.deque[float]] = {}
        self.counts: collections.Counter[str] = collections.Counter()

    def add(self, endpoint: str, milliseconds: float) -> None:
        self.seen.setdefault(endpoint, collections.deque(maxlen=KEPT)).append(milliseconds)
        self.counts[endpoint] += 1

    def report(self, endpoints: list[str]) -> dict[str, dict[str, float]]:
        """For every endpoint there is; one that was never called reports zeros."""
        return {name: self._of(name) for name in sorted({*endpoints, *self.seen})}

    def _of(self, endpoint: str) -> dict[str, float]:
        values = sorted(self.seen.get(endpoint, ()))
        if not values:
            return {"count": 0, "p50": 0.0, "p95": 0.0, "p99": 0.0, "avg": 0.0, "max": 0.0}

        def at(part: float) -> float:
            return round(values[max(0, math.ceil(part * len(values)) - 1)], 2)

        return {
            "count": len(values),
            "p50": at(0.50),
            "p95": at(0.95),
            "p99": at(0.99),
            "avg": round(sum(values) / len(values), 2),
            "max": round(values[-1], 2),
        }
