"""Requests and lost requests over a deploy, from the proxies' counters (pure).

A sample is what one proxy had counted at a moment: ``{proxy, at, requests, lost}``. Counters begin again when a proxy restarts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..haproxy import counters

__all__ = ["lost", "rates", "samples"]

_AT = re.compile(r"^# at (\d+(?:\.\d+)?)\s*$", re.MULTILINE)


def samples(answers: Iterable[Any], frontend: str) -> list[dict[str, Any]]:
    """The samples in results of a loop over proxies whose command printed the CSV statistics and, last, ``# at <seconds>``."""
    found = []
    for answer in answers:
        for one in answer.get("results") or () if isinstance(answer, Mapping) else ():
            text = str(one.get("stdout") or "")
            counted, at = counters(text, frontend), _AT.search(text)
            if counted and at:
                found.append(
                    {
                        "proxy": str(one["item"]),
                        "at": float(at[1]),
                        "requests": counted["requests"],
                        "lost": counted["server_errors"],
                    }
                )
    return found


def _stretches(taken: Iterable[Mapping[str, Any]]) -> list[tuple[float, float, int, int]]:
    """(begin, end, requests, lost) between one sample of a proxy and its next."""
    by_proxy: dict[str, dict[float, Mapping[str, Any]]] = {}
    for one in taken:
        by_proxy.setdefault(str(one["proxy"]), {})[float(one["at"])] = one
    found = []
    for counted in by_proxy.values():
        moments = sorted(counted)
        for begin, end in zip(moments, moments[1:]):
            first, then = counted[begin], counted[end]
            # A counter that fell was reset: what it shows was counted since.
            requests, gone = (
                then[key] - first[key] if then[key] >= first[key] else then[key] for key in ("requests", "lost")
            )
            found.append((begin, end, int(requests), int(gone)))
    return found


def lost(taken: Iterable[Mapping[str, Any]]) -> int | None:
    """How many requests were lost; None when nobody counted."""
    found = _stretches(taken)
    return sum(stretch[3] for stretch in found) if found else None


def rates(taken: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """``series`` of requests and lost requests per second, as steps, and their ``total``; empty when nobody counted."""
    found = _stretches(taken)
    if not found:
        return {}
    edges = sorted({edge for begin, end, *_ in found for edge in (begin, end)})
    requests: list[list[float]] = []
    gone: list[list[float]] = []
    for begin, end in zip(edges, edges[1:]):
        if end - begin < 0.05:
            continue
        over = [stretch for stretch in found if stretch[0] < end and stretch[1] > begin]
        for points, place in ((requests, 2), (gone, 3)):
            rate = sum(stretch[place] / (stretch[1] - stretch[0]) for stretch in over)
            points += [[begin, rate], [end, rate]]
    return {
        "series": [{"label": "requests", "points": requests}, {"label": "lost", "points": gone}],
        "total": sum(stretch[2] for stretch in found),
    }
