"""Tables fit their width, lose no text, and let nothing through that drives the terminal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible.module_utils.floyo import tables, text
from ansible.module_utils.floyo.errors import Unusable


def _render(columns: list[Any], rows: list[Any], **options: Any) -> str:
    return tables.render(tables.columns_of(columns, rows), rows, **options)


def test_table() -> None:
    rows = [
        {"host": "backend1", "to": "v1.1.0", "seconds": 1.234, "health": "healthy", "more": "not a column"},
        ["backend2", None, 10.0, True],
    ]
    columns = ["host", {"key": "to", "label": "runs"}, {"key": "seconds", "align": "right"}, "health"]
    assert _render(columns, rows, title="Fleet", footer="Next: nothing\n2 hosts").splitlines() == [
        "Fleet",
        "host      runs    seconds  health",
        "--------  ------  -------  -------",
        "backend1  v1.1.0      1.2  healthy",
        "backend2             10.0  yes",
        "Next: nothing",
        "2 hosts",
    ]


def test_columns_from_the_first_row() -> None:
    assert _render([], [{"a": 1, "b": [2, 3]}, {"b": {"x": None}}]).splitlines() == [
        "a  b",
        "-  ----",
        "1  2, 3",
        "   x:",
    ]


def test_no_rows() -> None:
    assert _render(["host"], [], title="Fleet") == "Fleet\n(none)"
    assert _render([], [], title="Fleet") == "Fleet"


def test_the_longest_column_wraps_at_words() -> None:
    rows = [["backend1", "failed", "connection refused: nothing listens on port 8000 of this host"]]
    assert _render(["host", "state", "reason"], rows, width=44).splitlines() == [
        "host      state   reason",
        "--------  ------  --------------------------",
        "backend1  failed  connection refused:",
        "                  nothing listens on port",
        "                  8000 of this host",
    ]


def test_too_many_columns_become_blocks() -> None:
    rows = [{f"column{number}": f"value-{number}" for number in range(12)} for _ in range(2)]
    lines = _render([], rows, width=40).splitlines()
    assert lines[0] == "column0: value-0"
    assert lines[12] == ""
    assert len(lines) == 25


def test_wide_characters_are_measured() -> None:
    lines = _render(["a", "b"], [["日本語", "x"], ["é", "y"], ["e\u0301", "z"]]).splitlines()
    assert lines == ["a       b", "------  -", "日本語  x", "é       y", "e\u0301       z"]


def test_painting_does_not_move_columns() -> None:
    painted = _render(
        ["a", "b"], [["healthy", "P0"], ["P0 was here", "x"]], paint=lambda tone, part: f"<{tone}>{part}</>"
    )
    assert painted.splitlines()[2:] == ["<good>healthy</>      <bad>P0</>", "P0 was here  x"]


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b[31mred\x1b[0m",
        "\x1b]0;title\x07x",
        "a\nb",
        "a\rb",
        "a\x08b",
        "a\u202eb",
        "a\x9bb",
        "a\u2028b",
        "\x00",
        "a\tb",
    ],
)
def test_nothing_drives_the_terminal(hostile: str) -> None:
    rendered = _render([hostile], [{hostile: hostile}], title=hostile, footer=hostile)
    assert all(line.isprintable() for line in rendered.split("\n"))
    assert "[31m" not in rendered
    assert "title" not in rendered


CELL = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), width=st.integers(20, 130), count=st.integers(1, 9))
def test_fits_the_width_and_loses_no_text(data: st.DataObject, width: int, count: int) -> None:
    rows = data.draw(st.lists(st.lists(CELL, min_size=count, max_size=count), max_size=4))
    rendered = _render([f"c{number}" for number in range(count)], rows, width=width)
    lines = rendered.split("\n")
    assert all(text.cell_width(line) <= width for line in lines)
    assert all(line.isprintable() for line in lines)
    shown = sorted(rendered.replace(" ", "").replace("\n", ""))
    for row in rows:
        for cell in row:
            if isinstance(cell, str):
                for char in text.one_line(cell).replace(" ", ""):
                    assert char in shown


@pytest.mark.parametrize(
    ("columns", "rows", "code"),
    [
        (["a", "b"], [["only one"]], "ROW_INVALID"),
        (["a"], ["text"], "ROW_INVALID"),
        ([], [["a"]], "COLUMN_INVALID"),
        ([{"label": "a"}], [], "COLUMN_INVALID"),
        ([{"key": "a", "align": "centre"}], [], "COLUMN_INVALID"),
        ([{"key": "a", "wdith": 3}], [], "COLUMN_INVALID"),
    ],
)
def test_what_is_not_a_table(columns: list[Any], rows: list[Any], code: str) -> None:
    with pytest.raises(Unusable) as refused:
        _render(columns, rows)
    assert refused.value.code == code
