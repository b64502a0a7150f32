"""The page of a document: one HTML file that needs nothing else (controller only).

Everything in a document is text to the template, which escapes it; the page's own policy forbids scripts and any request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from ..tables import tone as tone_of
from . import plots
from .document import moment

__all__ = ["render"]

_HERE = Path(__file__).resolve().parent
# Rows of a table beyond these are folded away, and the reader opens them.
SHOWN_ROWS = 60
_WORDS = {"good": "good", "doubtful": "look here", "bad": "bad", "unknown": "not known"}


def render(document: Mapping[str, Any], *, data: str = "", index: str = "") -> str:
    """``data`` and ``index`` are the names of the JSON file and of the index page beside this page, when there are any."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(
        cell=_cell, moment=moment, seconds=plots.seconds, number=plots.number, utc=_utc, slug=_slug
    )
    environment.globals.update(
        axis=plots.axis, track=plots.track, bar=plots.bar, curve=plots.curve, bounds=_bounds, highest=_highest, scaled=_scaled,
        words=_WORDS, shown_rows=SHOWN_ROWS, shown_hosts=40, style=(_HERE / "style.css").read_text(),
    )  # fmt: skip
    page = environment.get_template("page.html.j2").render(document=document, data=data, index=index)
    return re.sub(r"\n\s*\n+", "\n", page)


def _cell(value: Any, plain: bool = False) -> dict[str, str]:
    """``text``, ``tone`` and ``href`` of a table's cell; unless ``plain``, a word that says how things are has its tone."""
    if isinstance(value, Mapping) and "text" in value:
        return {"text": value["text"], "tone": value["tone"], "href": value["href"]}
    text = _text(value)
    return {"text": text, "tone": tone_of(text) if isinstance(value, str) and not plain else "", "href": ""}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return plots.number(value)
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    return str(value)


def _utc(moment: str) -> str:
    return moment.replace("T", " ").replace("Z", " UTC")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "section"


def _bounds(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """From the first begin to the last end of a timeline."""
    spans = [span for row in rows for span in row["spans"]]
    return min((span["begin"] for span in spans), default=0.0), max((span["end"] for span in spans), default=1.0)


def _highest(section: Mapping[str, Any]) -> float:
    """The end of the scale of bars."""
    values = [bar["value"] for bar in section["bars"] if bar["value"] is not None]
    return max([*values, section["target"]["value"] if section["target"] else 0.0, 0.0])


def _scaled(points: list[list[Any]], count: int = 24) -> list[list[Any]]:
    """Some of a series' points, for its table of numbers: the whole of it is in the JSON."""
    step = max(len(points) // count, 1)
    return points[::step]
