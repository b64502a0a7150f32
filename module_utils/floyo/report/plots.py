"""Plots as SVG that needs nobody's help: no script, no font, no address (pure; controller only).

Text keeps its size on every screen: places along the width are percentages, heights are pixels, and only curves are
stretched. Nothing is told by hue alone: states have shapes, series have dashes, and every plot has its numbers in a table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from markupsafe import Markup

__all__ = ["axis", "bar", "curve", "number", "seconds", "ticks", "track"]

HEIGHT = 200
TOP = 12
BOTTOM = 24
# A curve is drawn in these units and stretched to the page.
WIDTH = 1000
SERIES = 6
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
DAY = 86400


def number(value: float | None) -> str:
    """As few digits as say it: 0.12, 3.4, 1,250."""
    if value is None:
        return "-"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    return (
        f"{value:.0f}" if size >= 100 or float(value).is_integer() else f"{value:.1f}" if size >= 1 else f"{value:.3g}"
    )


def seconds(value: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round values from at most ``low`` on that cover ``high``."""
    if high <= low:
        high = low + 1
    rough = (high - low) / count
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    first = math.floor(low / step)
    last = math.ceil(high / step - 1e-9)
    return [round(step * index, 10) for index in range(first, last + 1)]


def _percent(value: float, low: float, high: float) -> str:
    place = 100 * (value - low) / (high - low) if high > low else 0.0
    return f"{min(max(place, 0.0), 100.0):.2f}%"


def _clock(at: float, span: float) -> str:
    moment = datetime.fromtimestamp(at, timezone.utc)
    if span > 3 * DAY:
        return moment.strftime("%d %b")
    return moment.strftime("%H:%M:%S" if span < 1800 else "%d %b %H:%M" if span > DAY else "%H:%M")


def _times(low: float, high: float, count: int = 4) -> list[float]:
    """Round moments between ``low`` and ``high``."""
    span = max(high - low, 1e-6)
    step = next((step for step in _STEPS if span / step <= count), math.ceil(span / count / DAY) * DAY)
    first = math.ceil(low / step) * step
    return [first + step * index for index in range(int((high - first) // step) + 1)]


def axis(low: float, high: float) -> Markup:
    """A ruler of time above tracks, as offsets from its begin."""
    parts = []
    for at in _times(0, high - low):
        place = _percent(at, 0, high - low)
        anchor = "start" if at == 0 else "end" if at > (high - low) * 0.93 else "middle"
        parts.append(Markup('<text x="{}" y="12" text-anchor="{}">{}</text>').format(place, anchor, _offset(at)))
    return Markup('<svg class="axis" width="100%" height="16" aria-hidden="true">{}</svg>').format(
        Markup("").join(parts)
    )


def _offset(at: float) -> str:
    if at < 120:
        return f"{number(at)} s"
    return f"{number(at / 60)} min" if at < 7200 else f"{number(at / 3600)} h"


def track(spans: Sequence[Mapping[str, Any]], low: float, high: float) -> Markup:
    """One row of a timeline. What it says is in the row's text, too."""
    parts = []
    for span in spans:
        begin = _percent(span["begin"], low, high)
        width = max(float(_percent(span["end"], low, high)[:-1]) - float(begin[:-1]), 0.0)
        parts.append(
            Markup(
                '<rect class="span {}" x="{}" y="3" width="{:.2f}%" height="10" rx="2"><title>{}</title></rect>'
            ).format(
                span["tone"] or "plain",
                begin,
                max(width, 0.35),
                f"{span['label']}: {seconds(span['end'] - span['begin'])}",
            )
        )
    return Markup('<svg class="track" width="100%" height="16" aria-hidden="true">{}</svg>').format(
        Markup("").join(parts)
    )


def bar(value: float | None, high: float, tone: str, target: float | None = None) -> Markup:
    """A bar from nought to ``value`` on a scale to ``high``, with a line where the target is."""
    width = 0.0 if not value else max(min(100 * value / high, 100.0), 0.4) if high else 0.0
    parts = [
        Markup('<rect class="span {}" x="0" y="3" width="{:.2f}%" height="10" rx="2"/>').format(tone or "plain", width)
    ]
    if target is not None and high:
        place = f"{min(100 * target / high, 100):.2f}%"
        parts.append(Markup('<line class="target" x1="{0}" x2="{0}" y1="0" y2="16"/>').format(place))
    return Markup('<svg class="track" width="100%" height="16" aria-hidden="true">{}</svg>').format(
        Markup("").join(parts)
    )


def curve(section: Mapping[str, Any], name: str) -> Markup:
    """Series over time with their targets, and marks at moments. ``name`` is unique on the page."""
    points = [point for one in section["series"] for point in one["points"]]
    values = [point[1] for point in points if point[1] is not None] + [one["value"] for one in section["targets"]]
    times = [point[0] for point in points] + [mark["at"] for mark in section["marks"]]
    low, high = (min(times), max(times)) if times else (0.0, 1.0)
    if high <= low:
        low, high = low - 30, high + 30
    elif section["dots"]:
        low, high = low - (high - low) * 0.03, high + (high - low) * 0.03
    scale = ticks(min([0.0, *values]), max(values, default=1.0))
    bottom, top = scale[0], scale[-1]
    plot = HEIGHT - TOP - BOTTOM

    def y(value: float) -> float:
        return TOP + plot * (1 - (value - bottom) / (top - bottom))

    parts = [
        Markup('<title id="{0}-t">{1}</title><desc id="{0}-d">{2}</desc>').format(
            name, section["title"], _told(section)
        )
    ]
    for value in scale:
        parts.append(
            Markup(
                '<line class="grid" x1="0" x2="100%" y1="{0:.1f}" y2="{0:.1f}"/><text x="0" y="{1:.1f}">{2}</text>'
            ).format(y(value), y(value) - 3, f"{number(value)} {section['unit'] if value == top else ''}".strip())
        )
    for at in _times(low, high):
        place = _percent(at, low, high)
        anchor = "start" if float(place[:-1]) < 7 else "end" if float(place[:-1]) > 93 else "middle"
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
                place, HEIGHT - 6, anchor, _clock(at, high - low)
            )
        )
    for mark in section["marks"]:
        place = _percent(mark["at"], low, high)
        parts.append(
            Markup('<line class="mark" x1="{0}" x2="{0}" y1="{1}" y2="{2}"><title>{3}</title></line>').format(
                place, TOP, HEIGHT - BOTTOM, mark["label"]
            )
        )
    for target in section["targets"]:
        parts.append(
            Markup(
                '<line class="target" x1="0" x2="100%" y1="{0:.1f}" y2="{0:.1f}"/>'
                '<text class="aim" x="100%" y="{1:.1f}" text-anchor="end">{2}</text>'
            ).format(y(target["value"]), y(target["value"]) - 4, target["label"])
        )
    for index, one in enumerate(section["series"]):
        parts.append(_series(one, index % SERIES, section["dots"], low, high, y))
    return Markup(
        '<svg class="plot" width="100%" height="{0}" role="img" aria-labelledby="{1}-t {1}-d">{2}</svg>'
    ).format(HEIGHT, name, Markup("").join(parts))


def _series(one: Mapping[str, Any], index: int, dots: bool, low: float, high: float, y: Any) -> Markup:
    parts = []
    if not dots:
        path, pen = [], "M"
        for at, value, _tone in one["points"]:
            if value is None:
                pen = "M"
                continue
            path.append(f"{pen}{WIDTH * (at - low) / (high - low):.1f} {y(value):.1f}")
            pen = "L"
        parts.append(
            Markup(
                '<svg width="100%" height="{0}" viewBox="0 0 {1} {0}" preserveAspectRatio="none"><path class="series s{2}" d="{3}"/></svg>'
            ).format(HEIGHT, WIDTH, index, " ".join(path))
        )
    for at, value, tone in one["points"]:
        if value is None or not (tone or dots or len(one["points"]) == 1):
            continue
        shape = tone or f"s{index}"
        parts.append(
            Markup('<use href="#{0}" class="{0}" x="{1}" y="{2:.1f}"><title>{3}</title></use>').format(
                f"dot-{shape}", _percent(at, low, high), y(value), f"{one['label']}: {number(value)}"
            )
        )
    return Markup("").join(parts)


def _told(section: Mapping[str, Any]) -> str:
    """The plot in words."""
    told = []
    for one in section["series"]:
        values = [point[1] for point in one["points"] if point[1] is not None]
        if values:
            told.append(
                f"{one['label']}: {len(values)} values from {number(min(values))} to {number(max(values))}, "
                f"last {number(values[-1])} {section['unit']}".rstrip()
            )
    told += [f"{one['label']} at {number(one['value'])} {section['unit']}".rstrip() for one in section["targets"]]
    return "; ".join(told) or "no values"
