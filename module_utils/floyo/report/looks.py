"""What looks at the fleet have on their pages as plots (pure).

Each function gives sections as docs/reports.md has them; nothing to draw gives none.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import plots
from .history import levels

__all__ = ["errors_over_time", "level_bars", "memory_over_time", "query_bars", "slow_bars"]

MIB = 1024 * 1024
_TONES = {"pass": "good", "warn": "doubtful", "fail": "bad", "inconclusive": "unknown"}
# More curves than the page has dashes for cannot be told apart.
_CURVES = plots.SERIES
_BARS = 15

Results = Mapping[str, Mapping[str, Any]]


def level_bars(findings: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each level as a share of its limit, so that milliseconds and percent stand side by side; above 100 is not met."""
    bars = []
    for finding in findings:
        for level in levels([finding]):
            value, limit = level["value"], level["target"]
            # "> 80 %" asks for more: half of what is asked for is twice as far off.
            rising = str(finding["threshold"]).lstrip().startswith(">")
            share = None
            if limit and not (rising and not value):
                share = round(100 * (limit / value if rising else value / limit), 1)
            told = f"{plots.number(value)} {level['unit']}, limit {finding['threshold']}".replace(" ,", ",")
            bars.append({"label": level["name"], "value": share, "note": told, "tone": _TONES[finding["verdict"]]})
    if not bars:
        return []
    target = {"label": "limit", "value": 100}
    intro = "In percent of what is allowed; where more is better, of what is asked for."
    return [
        {"type": "bars", "title": "Against the targets", "intro": intro, "unit": "%", "target": target, "bars": bars}
    ]


def memory_over_time(results: Results) -> list[dict[str, Any]]:
    """A curve for each host of what module floyo_process has of its ring, the growing ones first; a restart is a gap."""
    shown = {host: result for host, result in results.items() if result.get("history")}
    # The fastest growing ones are what one looks for.
    growing = sorted(shown, key=lambda host: -((shown[host].get("leak") or {}).get("bytes_an_hour") or 0))
    series = [
        {
            "label": host,
            "points": [[at, None if size is None else size / MIB] for at, size in shown[host]["history"]],
        }
        for host in growing
    ]
    return _lines("Memory of the processes", "A gap is a restart.", "MiB", series)


def errors_over_time(results: Results) -> list[dict[str, Any]]:
    """The most frequent error patterns of all hosts, by the minute."""
    minutes: dict[str, collections.Counter[float]] = collections.defaultdict(collections.Counter)
    for result in results.values():
        for pattern in result.get("patterns") or ():
            for at, count in pattern.get("by_minute") or ():
                minutes[pattern["pattern"]][float(at)] += int(count)
    times = [at for counted in minutes.values() for at in counted]
    if not times:
        return []
    every = [min(times) + 60 * step for step in range(int((max(times) - min(times)) // 60) + 1)]
    most = sorted(minutes, key=lambda name: (-sum(minutes[name].values()), name))
    series = [{"label": name, "points": [[at, minutes[name][at]] for at in every]} for name in most]
    return _lines("Errors by the minute", "", "lines", series)


def _lines(title: str, intro: str, unit: str, series: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if not series:
        return []
    more = len(series) - _CURVES
    told = f"{intro} {more} more are not drawn.".strip() if more > 0 else intro
    return [{"type": "lines", "title": title, "intro": told, "unit": unit, "series": list(series[:_CURVES])}]


def slow_bars(slow: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Slow requests as logs.merge.slow_of_all has them."""
    bars = [
        {"label": row["what"], "value": row["max_ms"], "note": f"{row['count']} times on {', '.join(row['hosts'])}"}
        for row in slow[:_BARS]
    ]
    return [{"type": "bars", "title": "Slow requests, the worst of each", "unit": "ms", "bars": bars}] if bars else []


def query_bars(statements: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Statements as pg_diagnose has them, by the time that each of their executions takes."""
    slowest = sorted(statements, key=lambda one: -float(one["mean_ms"]))[:_BARS]
    bars = [
        {
            "label": one["query"],
            "value": one["mean_ms"],
            "note": f"{one['calls']} calls, {one['share']} % of the time",
        }
        for one in slowest
    ]
    return [{"type": "bars", "title": "Slowest statements", "unit": "ms each", "bars": bars}] if bars else []
