"""The index of the reports, and the directory that they are in."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from ansible.module_utils.floyo.report import document, history
from ansible.module_utils.floyo.report.shelf import Shelf

DAY = 86400
NOW = 1764110000.0


def report(kind: str, days: float, verdict: str = "good", **given: Any) -> dict[str, Any]:
    began = NOW - days * DAY
    return document.made(
        kind=kind, title=f"{kind} of something", application="floyo", environment="test", began=began, ended=began + 42,
        verdict=verdict, **given,
    )  # fmt: skip


def shelf_of(tmp_path: Path, *reports: dict[str, Any]) -> Shelf:
    shelf = Shelf(str(tmp_path / "reports" / "floyo-test"))
    for one in reports:
        shelf.put(one)
    return shelf


def index(shelf: Shelf) -> dict[str, Any]:
    documents, strange = shelf.documents()
    return history.index(documents, application="floyo", environment="test", now=NOW, strange=strange)


def section(made: dict[str, Any], title: str) -> dict[str, Any]:
    return next(one for one in made["sections"] if one["title"] == title)


def test_files_are_for_owner_and_group_and_newest_come_first(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, report("health", 2), report("deploy", 1), report("deploy", 1))
    found, strange = shelf.documents()
    assert [one["kind"] for one in found] == ["deploy", "deploy", "health"]
    assert len({one["name"] for one in found}) == 3, "two of the same second are two"
    assert strange == []
    for path in Path(shelf.directory).iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o640, path
    assert {path.suffix for path in Path(shelf.directory).iterdir()} == {".html", ".json"}, "nothing half written"


def test_the_oldest_reports_go_and_other_files_stay(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, *(report("health", days) for days in (5, 4, 3)))
    other = Path(shelf.directory, "notes.json")
    other.write_text("{}")
    shelf.put(report("deploy", 1), keep=2)
    found, _ = shelf.documents()
    assert [one["kind"] for one in found] == ["deploy", "health"]
    assert len(list(Path(shelf.directory).glob("*.html"))) == 2
    assert other.exists()
    assert [one["kind"] for one in shelf.documents("health")[0]] == ["health"]
    shelf.put(report("health", 0.5))
    assert len(shelf.documents("health", limit=1)[0]) == 1
    assert len(shelf.documents()[0]) == 3, "nothing goes unless it is said"


def test_a_damaged_file_is_named_and_does_not_hide_the_others(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, report("deploy", 1))
    Path(shelf.directory, "20990101T000000Z-x.json").write_text("{")
    Path(shelf.directory, "other.json").write_text('{"schema": 99}')
    made = index(shelf)
    assert section(made, "Files that are no reports")["lines"] == ["other.json", "20990101T000000Z-x.json"]
    assert len(section(made, "All reports")["rows"]) == 1


def test_releases_durations_and_rollbacks(tmp_path: Path) -> None:
    facts = {"version": "v1.2.0", "hosts": 3, "on_release": 3, "lost_requests": 0, "migrations": ["a"]}
    shelf = shelf_of(
        tmp_path,
        report("deploy", 40, facts={**facts, "version": "v1.0.0"}),
        report("deploy", 9, facts={**facts, "version": "v1.1.0"}),
        report("deploy", 3, "bad", word="put back", facts={**facts, "on_release": 0}),
        report("rollback", 2, facts={**facts, "version": "v1.0.0", "lost_requests": None}),
    )
    made = index(shelf)
    assert (made["word"], made["verdict"]) == ("last rollback: well", "good")
    tiles = {tile["label"]: (tile["value"], tile["note"]) for tile in section(made, "At a glance")["tiles"]}
    assert tiles["release"][0] == "v1.0.0"
    assert tiles["deploys, 30 days"] == ("2", "1 failed")
    assert tiles["rollbacks, 30 days"][0] == "1"
    rows = section(made, "Releases")["rows"]
    assert [row["version"] for row in rows] == ["v1.0.0", "v1.2.0", "v1.1.0", "v1.0.0"]
    assert rows[1]["result"] == {"text": "put back", "tone": "bad", "href": ""}
    assert rows[1]["hosts"] == "0 of 3"
    linked = Path(shelf.directory, rows[1]["when"]["href"])
    assert linked.exists()
    assert [point[2] for point in section(made, "How long deploys took")["series"][0]["points"]] == [
        "good",
        "good",
        "bad",
    ]
    assert len(section(made, "How long rollbacks took")["series"][0]["points"]) == 1


def test_service_levels_over_time_with_their_targets(tmp_path: Path) -> None:
    def levels(value: Any, ok: bool) -> dict[str, Any]:
        return {"levels": [{"name": "p95", "value": value, "target": 500, "unit": "ms", "ok": ok}]}

    shelf = shelf_of(
        tmp_path,
        report("slo", 2, facts=levels(610.5, False)),
        report("slo", 1, facts=levels(420, True)),
        report("slo", 0, facts=levels(None, False)),
    )
    plot = section(index(shelf), "Service level: p95")
    assert [point[1:] for point in plot["series"][0]["points"]] == [[610.5, "bad"], [420.0, "good"]]
    assert plot["targets"] == [{"label": "target", "value": 500.0}]


def test_levels_are_the_findings_that_are_numbers() -> None:
    findings = [
        {"check": "mean latency", "value": 12.5, "threshold": "< 200 ms", "verdict": "pass"},
        {"check": "hit rate", "value": 71, "threshold": "at least 80 %", "verdict": "fail"},
        {"check": "p95", "value": "not told", "threshold": "< 500 ms", "verdict": "inconclusive"},
        {"check": "queries", "verdict": "inconclusive"},
    ]
    assert history.levels(findings) == [
        {"name": "mean latency", "value": 12.5, "target": 200.0, "unit": "ms", "ok": True},
        {"name": "hit rate", "value": 71, "target": None, "unit": "", "ok": False},
    ]


def test_backups_and_drills_are_one_story(tmp_path: Path) -> None:
    shelf = shelf_of(
        tmp_path,
        report("backups", 2, summary="7 sound"),
        report("restore_drill", 1, facts={"backup": "L1"}, summary="12 rows compared"),
    )
    rows = section(index(shelf), "Backups and drills")["rows"]
    assert [(row["what"], row["backup"], row["found"]) for row in rows] == [
        ("drill", "L1", "12 rows compared"),
        ("check", None, "7 sound"),
    ]


def test_an_empty_directory_has_an_index(tmp_path: Path) -> None:
    made = index(Shelf(str(tmp_path / "missing")))
    assert (made["verdict"], made["word"]) == ("unknown", "no deploy yet")
    assert section(made, "All reports")["rows"] == []
