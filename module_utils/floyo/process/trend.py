"""Whether a process leaks (pure, standard library only: also runs inside the host program).

The slope is Theil and Sen's, the median of the slopes between all pairs of samples: a few odd ones do not move it. Its
interval is Sen's, from Kendall's statistic. A restart begins a new series. The newest counts alone when it is long enough,
since what ran before may have been another release; otherwise the slopes of all series count together. A process that only
fills its caches stops growing: so the newer half of the samples has to grow, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

__all__ = ["Sample", "Slope", "history", "leak", "series", "slope"]

# Pairs grow with the square of the samples.
_MOST_SAMPLES = 240
_MOST_POINTS = 288
_Z = 1.96
MIB = 1024 * 1024


class Sample(NamedTuple):
    """``memory`` is what the process holds for itself in bytes, without the page cache. ``start`` names the process."""

    at: float
    start: str
    memory: int
    cpu: float = 0.0
    restarts: int = 0
    killed: int = 0


class Slope(NamedTuple):
    """Bytes a second, with the 95 % interval; ``pairs`` is the number of slopes behind it."""

    middle: float
    low: float
    high: float
    pairs: int


def series(samples: Sequence[Sample]) -> list[list[Sample]]:
    """The samples of one process after the other. A clock that stepped back begins a new series."""
    found: list[list[Sample]] = []
    for sample in samples:
        if found and found[-1][-1].start == sample.start and sample.at > found[-1][-1].at:
            found[-1].append(sample)
        elif not (found and found[-1][-1].start == sample.start and sample.at == found[-1][-1].at):
            found.append([sample])
    return found


def history(samples: Sequence[Sample]) -> list[list[Optional[float]]]:
    """``[time, bytes]`` for a plot, about 288 of them; bytes are None between two processes."""
    runs = series(samples)
    most = max(_MOST_POINTS // max(len(runs), 1), 2)
    points: list[list[Optional[float]]] = []
    for run in runs:
        if points:
            points.append([run[0].at, None])
        points += [[sample.at, sample.memory] for sample in _thinned(run, most)]
    return points


def _thinned(samples: Sequence[Sample], most: int) -> Sequence[Sample]:
    step = math.ceil(len(samples) / most)
    return samples[::step]


def slope(runs: Sequence[Sequence[Sample]]) -> Optional[Slope]:
    """The slope over all runs together; None with less than two samples in each."""
    most = max(_MOST_SAMPLES // max(len(runs), 1), 10)
    slopes: list[float] = []
    variance = 0.0
    for run in runs:
        chosen = _thinned(run, most)
        count = len(chosen)
        variance += count * (count - 1) * (2 * count + 5) / 18
        slopes += [
            (later.memory - earlier.memory) / (later.at - earlier.at)
            for number, earlier in enumerate(chosen)
            for later in chosen[number + 1 :]
        ]
    if not slopes:
        return None
    slopes.sort()
    reach = _Z * math.sqrt(variance)
    low = max(0, int((len(slopes) - reach) / 2))
    high = min(len(slopes) - 1, math.ceil((len(slopes) + reach) / 2))
    return Slope(_median(slopes), slopes[low], slopes[high], len(slopes))


def _median(values: Sequence[float]) -> float:
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def leak(
    samples: Sequence[Sample],
    *,
    fewest: int = 30,
    shortest: float = 3600,
    warm_up: float = 600,
    percent_an_hour: float = 2.0,
    limit: Optional[int] = None,
) -> dict[str, Any]:
    """``verdict`` (growing, stable, inconclusive), ``reason``, and the figures behind it.

    ``percent_an_hour`` of the memory held, and at least 1 MiB an hour, is what counts as growth. ``warm_up`` seconds of each
    process are left out. ``limit`` in bytes gives the time until it is reached.
    """
    runs = [[sample for sample in run if sample.at - run[0].at >= warm_up] for run in series(samples)]
    runs = [run for run in runs if len(run) >= 5]
    if runs and len(runs[-1]) >= fewest and runs[-1][-1].at - runs[-1][0].at >= shortest:
        runs = runs[-1:]
    count = sum(len(run) for run in runs)
    span = sum(run[-1].at - run[0].at for run in runs)
    result: dict[str, Any] = {
        "samples": count,
        "seconds": round(span),
        "processes": len(runs),
        "verdict": "inconclusive",
    }
    found = slope(runs)
    if count < fewest or span < shortest or found is None:
        return {
            **result,
            "reason": f"{count} samples over {span:.0f} s are too few ({fewest} over {shortest:.0f} s are needed,"
            f" the first {warm_up:.0f} s of a process left out)",
        }
    newest = runs[-1]
    held = _median(sorted(sample.memory for sample in newest[-5:]))
    enough = max(percent_an_hour / 100 * held, MIB) / 3600
    # A run that is short has no newer half to speak of; the whole then counts.
    half = slope([run[len(run) // 2 :] for run in runs]) or found
    result |= {
        "bytes_an_hour": round(found.middle * 3600),
        "interval": [round(found.low * 3600), round(found.high * 3600)],
        "newer_half": [round(half.low * 3600), round(half.high * 3600)],
        "memory": round(held),
        "hours_left": None,
    }
    words = f"{_mib(found.middle)} an hour (95 %: {_mib(found.low)} to {_mib(found.high)})"
    if found.low > enough and half.middle > enough and half.low > 0:
        left = (limit - held) / half.middle / 3600 if limit and limit > held else None
        return {
            **result,
            "verdict": "growing",
            "hours_left": None if left is None else round(left, 1),
            "reason": f"grows by {words}" + ("" if left is None else f"; {_hours(left)} until its limit"),
        }
    if found.high < enough or half.high < enough:
        grew = found.low > enough
        reason = f"grew by {words} and has stopped" if grew else f"does not grow: {words}"
        return {**result, "verdict": "stable", "reason": reason}
    return {**result, "reason": f"may grow: {words}; {_mib(enough)} an hour would count"}


def _mib(bytes_a_second: float) -> str:
    value = bytes_a_second * 3600 / MIB
    return f"{value:.1f} MiB" if abs(value) < 1000 else f"{value / 1024:.1f} GiB"


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 2 else f"{hours * 60:.0f} min"
