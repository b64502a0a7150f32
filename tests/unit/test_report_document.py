"""What a report may hold, and that its JSON is what the schema says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ansible.module_utils.floyo.errors import Unusable
from ansible.module_utils.floyo.report import document

SECTIONS: list[dict[str, Any]] = [
    {"type": "tiles", "tiles": [{"label": "hosts", "value": 3, "tone": "good"}, {"label": "lost", "value": None}]},
    {"type": "table", "title": "Hosts", "rows": [{"host": "a", "seconds": 1.25, "tags": ["x", 1], "up": True}]},
    {"type": "table", "columns": ["a", {"key": "b", "align": "right"}], "rows": [[1, {"text": "page", "href": "x.html"}]]},
    {"type": "findings", "findings": [{"check": "memory", "verdict": "fail", "message": "no room", "value": 97}]},
    {"type": "timeline", "rows": [{"label": "Build", "spans": [{"begin": 1, "end": 2.5, "label": "Build"}]}]},
    {"type": "lines", "unit": "ms", "series": [{"label": "p95", "points": [[1, 2], [2, None], [3, 4.5, "bad"]]}],
     "targets": [{"label": "target", "value": 500}], "marks": [{"at": 2, "label": "switch"}]},
    {"type": "bars", "unit": "ms", "target": {"label": "slow", "value": 100}, "bars": [{"label": "SELECT 1", "value": 3}]},
    {"type": "text", "lines": "one\ntwo", "folded": True},
]  # fmt: skip


def made(**given: Any) -> dict[str, Any]:
    whole = {"kind": "health", "title": "T", "application": "floyo", "environment": "test", "verdict": "good"}
    return document.made(**{**whole, "began": 1764110000.0, "ended": 1764110012.34, **given})


@pytest.fixture(scope="module")
def schema(root: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((root / "docs" / "report.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(read)
    return read


def test_every_section_is_what_the_schema_says(schema: dict[str, Any]) -> None:
    report = made(sections=SECTIONS, facts={"hosts": 3, "levels": [{"name": "p95", "value": 1.5}]})
    jsonschema.validate(json.loads(json.dumps(report)), schema)
    assert report["began"] == "2025-11-25T22:33:20Z"
    assert report["seconds"] == 12.3
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**report, "more": 1}, schema)
    for section in report["sections"]:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**report, "sections": [{**section, "type": "other"}]}, schema)


def test_findings_become_a_table_without_empty_columns() -> None:
    table = made(sections=[SECTIONS[3]])["sections"][0]
    assert [column["label"] for column in table["columns"]] == ["check", "verdict", "found", "what it means"]
    assert table["rows"][0]["verdict"] == {"text": "fail", "tone": "bad", "href": ""}


def test_of_several_verdicts_the_worst_counts() -> None:
    assert made(verdict=["pass", "fail", "warn"])["verdict"] == "bad"
    assert made(verdict=["pass", "inconclusive"])["verdict"] == "unknown"
    assert made(verdict=["inconclusive", "warn"])["verdict"] == "doubtful"
    assert made(verdict=[])["verdict"] == "unknown"
    with pytest.raises(Unusable):
        made(verdict=["pass", "fine"])


@pytest.mark.parametrize(
    ("word", "tone"), [("pass", "good"), ("inconclusive", "unknown"), ("unhealthy", "bad"), ("doubtful", "doubtful")]
)
def test_the_words_of_our_looks_are_verdicts(word: str, tone: str) -> None:
    assert made(verdict=word)["verdict"] == tone


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "Deploy/../x"},
        {"verdict": "fine"},
        {"sections": ["text"]},
        {"sections": [{"type": "picture"}]},
        {"sections": [{"type": "table", "columns": ["a", "b"], "rows": [[1]]}]},
        {"sections": [{"type": "table", "rows": [{"a": {"text": "x", "href": "javascript:alert(1)"}}]}]},
        {"sections": [{"type": "table", "rows": [{"a": {"text": "x", "href": "//elsewhere.example/x.html"}}]}]},
        {"sections": [{"type": "tiles", "tiles": [{"label": "x"}]}]},
        {"sections": [{"type": "tiles", "tiles": [{"label": "x", "value": 1, "tone": "red"}]}]},
        {"sections": [{"type": "lines", "series": [{"label": "x", "points": [["now", 1]]}]}]},
        {"sections": [{"type": "bars", "bars": 3}]},
    ],
)
def test_what_cannot_be_shown_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(Unusable, match=r"cannot be shown.*docs/reports\.md"):
        made(**wrong)


def test_what_is_too_much_is_cut_and_counted() -> None:
    rows = [{"n": number} for number in range(document.MAX_ROWS + 7)]
    points = [[at, 900 if at == 4321 else 1] for at in range(10_000)]
    table, lines, text = made(
        sections=[
            {"type": "table", "rows": rows},
            {"type": "lines", "series": [{"label": "x", "points": points}]},
            {"type": "text", "lines": [str(number) for number in range(1000)]},
        ]
    )["sections"]
    assert (len(table["rows"]), table["left_out"]) == (document.MAX_ROWS, 7)
    drawn = lines["series"][0]["points"]
    assert len(drawn) <= document.MAX_POINTS
    assert [4321.0, 900.0, ""] in drawn, "a peak stays"
    assert (text["lines"][-1], text["left_out"]) == ("999", 600), "the end of a log is what counts"


def test_nothing_that_moves_the_cursor_or_breaks_json() -> None:
    report = made(title="a\x1b[31mb\u202ec", facts={"x": float("nan"), "y": {1: (1, "\0")}}, summary="s\n\nt")
    assert report["title"] == "ab c"
    assert report["facts"] == {"x": None, "y": {"1": [1, ""]}}
    assert report["summary"] == "s t"
    json.dumps(report, allow_nan=False)
