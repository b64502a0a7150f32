"""Text tables that fit a terminal (pure, standard library only).

A table is as wide as its contents and never wider than it may be: long cells wrap at words, and a table that cannot be
made narrow enough becomes one block of lines for each row. Cells hold text from servers and commits, so nothing in them
can move the cursor or change colours.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

from .errors import Unusable
from .text import cell_width, one_line, shorten

__all__ = ["Column", "Paint", "columns_of", "render", "tone"]

Paint = Callable[[str, str], str]
"""(tone, text) -> text in the tone's colour; the tones are ``good``, ``doubtful`` and ``bad``."""

_GAP = "  "
# Narrower than this, a wrapped column is harder to read than a block.
_NARROWEST = 8
# What a cell of a terminal table can still be read as; the rest belongs in a report.
_CELL_LIMIT = 600

_TONES = {
    "good": ("done", "healthy", "no drift", "ok", "pass", "passed", "ready", "switched", "unchanged", "up", "verified"),
    "doubtful": ("degraded", "drift", "inconclusive", "p2", "p3", "pending", "reverted", "skipped", "unknown", "warn", "warning"),
    "bad": ("down", "error", "fail", "failed", "missing", "p0", "p1", "refused", "unhealthy", "unreachable"),
}  # fmt: skip
_TONE_OF = {word: name for name, words in _TONES.items() for word in words}


@dataclass(frozen=True)
class Column:
    """One column: the key of its cells in a row, its heading, and ``left`` or ``right``."""

    key: str
    label: str
    align: str = "left"


def columns_of(given: Sequence[Any], rows: Sequence[Any]) -> list[Column]:
    """Columns from names or from ``{key, label, align}``; without any, the keys of the first row."""
    if not given and rows and isinstance(rows[0], Mapping):
        given = list(rows[0])
    columns = []
    for item in given:
        if isinstance(item, Mapping):
            unknown = sorted(set(item) - {"key", "label", "align"})
            align = item.get("align", "left")
            if "key" not in item or unknown or align not in ("left", "right"):
                raise Unusable(
                    f"the column {shorten(dict(item), 80)} cannot be read",
                    code="COLUMN_INVALID",
                    expected="key, and if wanted label and align (left or right)",
                )
            columns.append(Column(str(item["key"]), one_line(item.get("label", item["key"])), align))
        else:
            columns.append(Column(str(item), one_line(item)))
    if not columns and rows:
        raise Unusable("a table of lists needs columns", code="COLUMN_INVALID", expected="a name for each column")
    return columns


def tone(text: str) -> str:
    """The tone of a cell that is a status word, else nothing."""
    return _TONE_OF.get(text.strip().lower(), "")


def render(
    columns: Sequence[Column],
    rows: Sequence[Any],
    *,
    title: str = "",
    footer: str = "",
    width: int = 80,
    paint: Optional[Paint] = None,
) -> str:
    """The table as text without a line break at its end. A row is a mapping by key or a list in the columns' order."""
    paint = paint or (lambda _tone, text: text)
    cells = [_cells(columns, row, number) for number, row in enumerate(rows, 1)]
    lines = _wrap(one_line(title), width) if title else []
    if cells:
        widths = _widths(columns, cells, width)
        lines += _grid(columns, cells, widths, paint) if widths else _blocks(columns, cells, width, paint)
    elif columns:
        lines.append("(none)")
    for line in footer.splitlines():
        lines += _wrap(one_line(line), width)
    return "\n".join(line.rstrip() for line in lines)


def _cells(columns: Sequence[Column], row: Any, number: int) -> list[str]:
    if isinstance(row, Mapping):
        return [_text(row.get(column.key)) for column in columns]
    if isinstance(row, (list, tuple)) and len(row) == len(columns):
        return [_text(value) for value in row]
    raise Unusable(
        f"row {number} does not fit the table",
        code="ROW_INVALID",
        expected=f"a mapping, or a list of {len(columns)} values",
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) < 1e15 else f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{one_line(key)}: {_text(item)}" for key, item in value.items())
    return shorten(value, _CELL_LIMIT)


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """A width for each column so that the table fits, or nothing when it cannot."""
    natural = [
        max([cell_width(column.label), *(cell_width(row[index]) for row in cells)])
        for index, column in enumerate(columns)
    ]
    room = width - len(_GAP) * (len(columns) - 1)
    # The widest gives first: a message wraps before a host's name does.
    limit = max(natural)
    while sum(min(size, limit) for size in natural) > room:
        limit -= 1
        if limit < _NARROWEST:
            return []
    return [min(size, limit) for size in natural]


def _grid(columns: Sequence[Column], cells: Sequence[Sequence[str]], widths: Sequence[int], paint: Paint) -> list[str]:
    labels = [column.label for column in columns]
    lines = _row(columns, labels, widths, lambda _tone, text: text)
    lines.append(_GAP.join("-" * size for size in widths))
    for row in cells:
        lines += _row(columns, row, widths, paint)
    return lines


def _row(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int], paint: Paint) -> list[str]:
    """One row, on as many lines as its longest cell needs."""
    wrapped = [_wrap(cell, size) for cell, size in zip(cells, widths)]
    lines = []
    for number in range(max(len(parts) for parts in wrapped)):
        pieces = []
        for column, cell, size, parts in zip(columns, cells, widths, wrapped):
            part = parts[number] if number < len(parts) else ""
            blanks = " " * (size - cell_width(part))
            # Painted after it was measured: colour codes have no width.
            shown = paint(tone(cell), part) if part and tone(cell) else part
            pieces.append(blanks + shown if column.align == "right" else shown + blanks)
        lines.append(_GAP.join(pieces))
    return lines


def _blocks(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int, paint: Paint) -> list[str]:
    """Each row as ``label: value`` lines: for more columns than the width has room for."""
    lines: list[str] = []
    for number, row in enumerate(cells):
        lines += [""] if number else []
        for column, cell in zip(columns, row):
            first, *rest = _wrap(cell, max(width - cell_width(column.label) - 2, _NARROWEST))
            lines.append(f"{column.label}: " + (paint(tone(cell), first) if tone(cell) else first))
            lines += [" " * (cell_width(column.label) + 2) + part for part in rest]
    return lines


def _wrap(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` columns, broken at words where it can be."""
    if cell_width(text) <= width:
        return [text]
    if text.isascii():
        return textwrap.wrap(text, width, break_on_hyphens=False)
    lines, line = [], ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if cell_width(joined) <= width:
            line = joined
            continue
        lines += [line] if line else []
        line = ""
        for char in word:
            if line and cell_width(line + char) > width:
                lines.append(line)
                line = ""
            line += char
    return [*lines, line]
