"""What a report is: one JSON document, described by docs/report.schema.json, from which the page is drawn (pure).

A document holds a verdict, facts for machines and sections for people: tiles, tables, timelines, lines, bars, text.
``made`` takes what a playbook hands over, says what is wrong with it, and leaves nothing in it but plain JSON.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ..errors import Unusable
from ..tables import columns_of
from ..text import one_line, shorten

__all__ = ["SCHEMA", "TONES", "made", "moment", "spans", "stem"]

SCHEMA = 1
TONES = ("good", "doubtful", "bad", "unknown")

# What is not known is not well, and not worse than what is known to be doubtful.
_FROM_BEST = ("good", "unknown", "doubtful", "bad")
VERDICTS = {
    "pass": "good", "warn": "doubtful", "fail": "bad", "inconclusive": "unknown",
    "healthy": "good", "degraded": "doubtful", "unhealthy": "bad",
}  # fmt: skip
"""The words of findings and of floyo_health."""

# A page is for people and stays small; what is cut is counted on it.
MAX_ROWS = 500
MAX_LINES = 400
MAX_POINTS = 600
CELL_LIMIT = 2000
NAME_LIMIT = 200

_KIND = re.compile(r"[a-z][a-z_]*")
# A page beside this one, or a place in it: nothing that a browser would run or fetch from elsewhere.
_LINK = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*\.(?:html|json))?(?:#[A-Za-z0-9_-]+)?")
_FINDING = {
    "check": "check", "object": "object", "verdict": "verdict", "value": "found", "threshold": "limit",
    "sample": "measured over", "message": "what it means", "next_step": "next",
}  # fmt: skip
_COLUMN = ("key", "label", "align")


def moment(seconds: float) -> str:
    """Seconds of the epoch as ``2026-11-25T22:50:13Z``."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def stem(document: Mapping[str, Any]) -> str:
    """The name of a document's files without their endings; sorted by name they are sorted by time."""
    began = re.sub(r"[-:]", "", str(document["began"]))
    return f"{began}-{document['kind']}"


def made(
    *,
    kind: str,
    title: str,
    application: str,
    environment: str,
    began: float,
    ended: float,
    verdict: str | Sequence[str],
    word: str = "",
    summary: str = "",
    facts: Mapping[str, Any] | None = None,
    sections: Sequence[Any] = (),
) -> dict[str, Any]:
    """The document. Of several verdicts the worst counts. Raises Unusable naming what is not as it must be."""
    if not _KIND.fullmatch(kind):
        raise _wrong(f"the report's kind {shorten(kind, 40)}", "lower case letters and underscores")
    verdict = _worst(verdict)
    return {
        "schema": SCHEMA,
        "kind": kind,
        "title": shorten(title, NAME_LIMIT),
        "application": shorten(application, NAME_LIMIT),
        "environment": shorten(environment, NAME_LIMIT),
        "began": moment(began),
        "ended": moment(ended),
        "seconds": round(max(ended - began, 0.0), 1),
        "verdict": verdict,
        "word": shorten(word or {"good": "well", "doubtful": "look", "bad": "failed"}.get(verdict, "unknown"), 40),
        "summary": shorten(summary, CELL_LIMIT),
        "facts": _plain(facts or {}),
        "sections": [_section(section, number) for number, section in enumerate(sections, 1)],
    }


def _worst(given: str | Sequence[str]) -> str:
    """The tone of a verdict, or of the worst of several; none at all is not known."""
    tones = [VERDICTS.get(word, word) for word in ([given] if isinstance(given, str) else given)]
    for word in tones:
        if word not in TONES:
            raise _wrong(f"the verdict {shorten(word, 40)}", f"one of {', '.join((*TONES, *VERDICTS))}")
    return max(tones, key=_FROM_BEST.index, default="unknown")


def _wrong(what: str, expected: str) -> Unusable:
    return Unusable(f"{what} cannot be shown", code="REPORT_INVALID", expected=expected, next_step="docs/reports.md")


def _plain(value: Any) -> Any:
    """JSON of ``value``: text without control characters, no NaN, keys that are text."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {shorten(key, NAME_LIMIT): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    return shorten(value, CELL_LIMIT)


def _section(given: Any, number: int) -> dict[str, Any]:
    if not isinstance(given, Mapping) or given.get("type") not in _READERS:
        raise _wrong(f"section {number} of the report", f"a mapping whose type is one of {', '.join(_READERS)}")
    place = f"section {number} ({given['type']} {shorten(given.get('title', ''), 40)})"
    section = {
        "type": "table" if given["type"] == "findings" else given["type"],
        "title": shorten(given.get("title") or str(given["type"]).capitalize(), NAME_LIMIT),
        "intro": shorten(given.get("intro") or "", CELL_LIMIT),
        "folded": bool(given.get("folded", False)),
        "left_out": 0,
    }
    try:
        return {**section, **_READERS[given["type"]](given)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _wrong(f"{place} of the report", f"what docs/reports.md describes ({one_line(repr(error))})") from error


def _tone(value: Any) -> str:
    if value in TONES:
        return str(value)
    if value in (None, ""):
        return ""
    raise ValueError(f"tone {shorten(value, 20)}")


def _number(value: Any) -> float | None:
    """A number that can be drawn; None is a gap."""
    if value is None:
        return None
    if isinstance(value, bool):
        raise ValueError(f"number {value}")
    found = float(value)
    return found if math.isfinite(found) else None


def _tiles(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tiles": [
            {
                "label": shorten(tile["label"], NAME_LIMIT),
                "value": shorten(tile["value"], NAME_LIMIT),
                "note": shorten(tile.get("note") or "", NAME_LIMIT),
                "tone": _tone(tile.get("tone")),
            }
            for tile in given["tiles"]
        ]
    }


def _table(given: Mapping[str, Any]) -> dict[str, Any]:
    """Columns as floyo_table has them, so that a playbook shows one list of rows in the terminal and on the page."""
    rows = list(given["rows"])
    columns = columns_of(given.get("columns") or (), rows)
    read = []
    for row in rows[:MAX_ROWS]:
        if isinstance(row, Mapping):
            read.append({column.key: _cell(row.get(column.key)) for column in columns})
        elif isinstance(row, (list, tuple)) and len(row) == len(columns):
            read.append({column.key: _cell(value) for column, value in zip(columns, row)})
        else:
            raise ValueError("a row is neither a mapping nor a list as long as the columns")
    return {
        "columns": [{name: getattr(column, name) for name in _COLUMN} for column in columns],
        "rows": read,
        "left_out": max(len(rows) - MAX_ROWS, 0),
    }


def _findings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Findings as our looks return them, as a table; what nobody has filled in has no column."""
    rows = [
        {name: finding.get(name) for name in _FINDING}
        | {"verdict": {"text": str(finding["verdict"]), "tone": VERDICTS[finding["verdict"]]}}
        for finding in given["findings"]
    ]
    filled = [
        name for name in _FINDING if name in ("check", "verdict") or any(row[name] not in (None, "") for row in rows)
    ]
    columns = [{"key": name, "label": _FINDING[name]} for name in filled]
    return _table({"columns": columns, "rows": rows})


def _cell(value: Any) -> Any:
    """A value, or ``{text, tone, href}``."""
    if isinstance(value, Mapping) and "text" in value:
        link = str(value.get("href") or "")
        if not _LINK.fullmatch(link):
            raise ValueError(f"link {shorten(link, 60)}")
        return {"text": shorten(value["text"], CELL_LIMIT), "tone": _tone(value.get("tone")), "href": link}
    return _plain(value)


def _timeline(given: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        {
            "label": shorten(row["label"], NAME_LIMIT),
            "result": shorten(row.get("result") or "", NAME_LIMIT),
            "tone": _tone(row.get("tone")),
            "spans": spans(row.get("spans") or ()),
        }
        for row in given["rows"]
    ]
    return {"rows": rows[:MAX_ROWS], "left_out": max(len(rows) - MAX_ROWS, 0)}


def spans(given: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Stretches of time, from ``begin`` to ``end`` in seconds of the epoch."""
    return [
        {
            "begin": round(float(span["begin"]), 3),
            "end": round(max(float(span["end"]), float(span["begin"])), 3),
            "label": shorten(span.get("label") or "", NAME_LIMIT),
            "tone": _tone(span.get("tone")),
        }
        for span in given
    ]


def _lines(given: Mapping[str, Any]) -> dict[str, Any]:
    series = []
    for one in given["series"]:
        points = [
            [_number(point[0]), _number(point[1]), _tone(point[2]) if len(point) > 2 else ""] for point in one["points"]
        ]
        drawn = _thinned([point for point in points if point[0] is not None])
        series.append({"label": shorten(one["label"], NAME_LIMIT), "points": drawn})
    return {
        "unit": shorten(given.get("unit") or "", 20),
        "dots": bool(given.get("dots", False)),
        "series": series,
        "targets": [{"label": shorten(one["label"], NAME_LIMIT), "value": float(one["value"])} for one in given.get("targets") or ()],
        "marks": [{"at": float(one["at"]), "label": shorten(one["label"], NAME_LIMIT)} for one in given.get("marks") or ()],
    }  # fmt: skip


def _thinned(points: list[list[Any]]) -> list[list[Any]]:
    """At most MAX_POINTS of them, the highest of each stretch: a peak is what one looks for."""
    if len(points) <= MAX_POINTS:
        return points
    size = math.ceil(len(points) / MAX_POINTS)
    return [
        max(points[at : at + size], key=lambda point: -math.inf if point[1] is None else point[1])
        for at in range(0, len(points), size)
    ]


def _bars(given: Mapping[str, Any]) -> dict[str, Any]:
    target = given.get("target")
    return {
        "unit": shorten(given.get("unit") or "", 20),
        "target": {"label": shorten(target["label"], NAME_LIMIT), "value": float(target["value"])} if target else None,
        "bars": [
            {
                "label": shorten(bar["label"], CELL_LIMIT),
                "value": _number(bar["value"]),
                "note": shorten(bar.get("note") or "", NAME_LIMIT),
                "tone": _tone(bar.get("tone")),
            }
            for bar in list(given["bars"])[:MAX_ROWS]
        ],
        "left_out": max(len(given["bars"]) - MAX_ROWS, 0),
    }


def _text(given: Mapping[str, Any]) -> dict[str, Any]:
    lines = given["lines"].splitlines() if isinstance(given["lines"], str) else list(given["lines"])
    return {
        "lines": [_indented(str(line)) for line in lines[-MAX_LINES:]],
        "left_out": max(len(lines) - MAX_LINES, 0),
    }


def _indented(line: str) -> str:
    """One line of a log, with the blanks that it begins with."""
    return " " * min(len(line) - len(line.lstrip(" ")), 40) + shorten(line, CELL_LIMIT)


_READERS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "tiles": _tiles,
    "table": _table,
    "findings": _findings,
    "timeline": _timeline,
    "lines": _lines,
    "bars": _bars,
    "text": _text,
}
