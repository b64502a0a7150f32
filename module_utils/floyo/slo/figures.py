"""Reads what the monitoring endpoints say, and does not believe what cannot be (pure, standard library only).

Units, as the application tells them: latencies in milliseconds, ``hit_rate`` in percent, pool sizes in connections. The
pool's capacity is its size and its overflow; ``overflow`` is negative while the pool is not full.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import Unusable
from ..text import shorten

__all__ = ["NOT_USERS", "cache_figures", "latency_figures", "pool_figures"]

NOT_USERS = r":/(?:health\b|api/(?:v\d+/)?(?:health|monitoring)\b|docs\b|openapi\.json|metrics\b)"
"""Endpoints that a proxy and operators ask, many times a minute and quickly: they would hide how users wait."""

_QUANTILES = ("p50", "p95", "p99", "max")
# Rounding to two digits is honest.
_SLACK = 0.02


def _lie(what: str) -> Unusable:
    return Unusable(
        what,
        code="IMPLAUSIBLE",
        expected="figures that do not contradict each other",
        next_step="do not rely on this endpoint; read the code behind it",
    )


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e15:
        raise _lie(f"{name} is {shorten(value, 40)!r}, which is no amount")
    return float(value)


def latency_figures(body: Mapping[str, Any], ignore: str = NOT_USERS) -> dict[str, dict[str, float]]:
    """``{endpoint: {count, p50, p95, p99, avg, max}}`` of the endpoints that users ask and that were called at all."""
    metrics = body.get("metrics")
    if not isinstance(metrics, Mapping):
        raise Unusable(
            "the answer has no metrics",
            code="NO_METRICS",
            expected='{"metrics": {"GET:/api/x": {"count": 1, "p95": 1.0, ...}}}',
            next_step="ask the path with curl; correct floyo_performance_path",
        )
    left_out = re.compile(ignore) if ignore else None
    found = {}
    for name, value in metrics.items():
        label = shorten(name, 80)
        if not isinstance(value, Mapping):
            raise _lie(f"metrics of {label} are {shorten(value, 40)!r}")
        if left_out and left_out.search(str(name)):
            continue
        told = {key: _number(value.get(key, 0), f"{key} of {label}") for key in ("count", "avg", *_QUANTILES)}
        if told["count"] == 0:
            continue  # never called: the zeros beside it are no latencies
        steps = [told[key] for key in _QUANTILES]
        if any(after + _SLACK < before for before, after in zip(steps, steps[1:])):
            raise _lie(f"the percentiles of {label} fall: {', '.join(f'{key} {told[key]:g}' for key in _QUANTILES)}")
        if told["avg"] > told["max"] + _SLACK:
            raise _lie(f"the mean of {label} ({told['avg']:g}) is above its maximum ({told['max']:g})")
        if told["max"] == 0 and told["count"] > 1:
            raise _lie(f"{label} answered {told['count']:g} requests in no time at all")
        found[str(name)] = told
    return found


def pool_figures(body: Mapping[str, Any]) -> dict[str, Any]:
    """``used`` and ``capacity`` in connections; ``capacity`` None when the pool may grow without end."""
    missing = [key for key in ("size", "checked_out") if key not in body]
    if missing:
        raise Unusable(
            f"the answer has no {' and no '.join(missing)}",
            code="NO_POOL",
            expected='{"size": 10, "checked_out": 1, "max_overflow": 20, ...}',
            next_step="ask the path with curl; correct floyo_pool_path",
        )
    size, used = _number(body["size"], "size"), _number(body["checked_out"], "checked_out")
    more = body.get("max_overflow", 0)
    if more == -1:
        return {"used": int(used), "capacity": None}
    capacity = size + _number(more, "max_overflow")
    if used > capacity:
        raise _lie(f"{used:g} connections are checked out of a pool that holds {capacity:g}")
    return {"used": int(used), "capacity": int(capacity)}


def cache_figures(body: Mapping[str, Any]) -> dict[str, Any]:
    """``type, hits, misses`` of this process since it started."""
    missing = [key for key in ("hits", "misses") if key not in body]
    if missing:
        raise Unusable(
            f"the answer has no {' and no '.join(missing)}",
            code="NO_CACHE_STATS",
            expected='{"type": "redis", "hits": 1, "misses": 1, "hit_rate": 50.0}',
            next_step="ask the path with curl; correct floyo_cache_stats_path",
        )
    hits, misses = _number(body["hits"], "hits"), _number(body["misses"], "misses")
    if "hit_rate" in body and hits + misses:
        told, counted = _number(body["hit_rate"], "hit_rate"), 100 * hits / (hits + misses)
        # A fraction where a percentage is due is a known trap, not a lie.
        if min(abs(told - counted), abs(100 * told - counted)) > 1:
            raise _lie(f"hit_rate is {told:g} where {hits:g} hits and {misses:g} misses make {counted:.1f} %")
    return {"type": str(body.get("type") or "unknown"), "hits": int(hits), "misses": int(misses)}
