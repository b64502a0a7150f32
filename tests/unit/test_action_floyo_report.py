"""floyo_report as a playbook uses it: files on the controller, what is left out of them, and what never stops a run."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

Play = Callable[..., "subprocess.CompletedProcess[str]"]
SECRET = "correct-horse-battery"
REPORT: dict[str, Any] = {
    "verdict": "pass",
    "summary": f"asked postgresql://owner:{SECRET}@db/floyo as the owner ({SECRET}) <script>",
    "facts": {"hosts": "{{ ansible_play_hosts | length }}"},
    "sections": [
        {"type": "timeline", "title": "When"},
        {"type": "table", "title": "Hosts", "columns": ["host"], "rows": [["<script>alert(1)</script>"]]},
    ],
}


@pytest.fixture
def play(root: Path, tmp_path: Path) -> Play:
    """Run tasks on three local hosts with the project's configuration."""

    def run(tasks: list[dict[str, Any]], *options: str) -> subprocess.CompletedProcess[str]:
        playbook = tmp_path / "play.yml"
        secrets = {
            "floyo_database_url": f"postgresql://owner:{SECRET}@db/floyo",
            "floyo_broken_password": "{{ nothing }}",
        }
        playbook.write_text(
            json.dumps([{"name": "Try", "hosts": "all", "gather_facts": False, "vars": secrets, "tasks": tasks}])
        )
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "a,b,c", "-c", "local", *options]
        settings = {
            "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
            "ANSIBLE_HOME": str(tmp_path),
            "ANSIBLE_FORCE_COLOR": "0",
        }
        return subprocess.run(
            [*command, str(playbook)],
            env={**clean, **settings, "ANSIBLE_PYTHON_INTERPRETER": sys.executable},
            capture_output=True, text=True, cwd=tmp_path, check=False,
        )  # fmt: skip

    return run


def report(directory: Path, given: dict[str, Any] = REPORT, **more: Any) -> dict[str, Any]:
    shared = {"application": "floyo", "environment": "test", "directory": str(directory)}
    return {
        "name": "Report",
        "floyo_report": {"kind": "health", "title": "T", **shared, "report": given, **more},
        "run_once": True,
        "register": "made",
    }


def test_a_page_its_data_and_the_index(play: Play, root: Path, tmp_path: Path) -> None:
    shelf = tmp_path / "reports" / "floyo-test"
    index = {"application": "floyo", "environment": "test", "directory": str(shelf), "state": "index"}
    done = play(
        [
            {"name": "Work", "ansible.builtin.command": "true"},
            report(shelf),
            {"name": "Index", "floyo_report": index, "run_once": True, "register": "listed"},
            {"ansible.builtin.assert": {"that": ["made is not changed", "listed.reports[0].what == 'health'"]}},
        ]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (data,) = shelf.glob("*-health.json")
    page = data.with_suffix(".html")
    assert f"Report: reports/floyo-test/{page.name}" in done.stdout
    read = json.loads(data.read_text())
    jsonschema.validate(read, json.loads((root / "docs" / "report.schema.json").read_text()))
    assert (read["verdict"], read["facts"]) == ("good", {"hosts": 3})
    assert [row["label"] for row in read["sections"][0]["rows"]] == ["Work"], "what ran until then"
    for path in (data, page):
        assert SECRET not in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert "(hidden)" in read["summary"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.read_text()
    assert "<script" not in page.read_text()
    assert page.name in (shelf / "index.html").read_text()


def test_check_writes_nothing(play: Play, tmp_path: Path) -> None:
    done = play([report(tmp_path / "reports")], "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "reports").exists()


def test_what_cannot_be_written_is_told_and_stops_nothing(play: Play, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    after = {"name": "Go on", "ansible.builtin.command": "true"}
    wrong = report(tmp_path / "reports", {"verdict": "good", "sections": [{"type": "picture"}]})
    done = play([report(tmp_path / "file" / "reports"), wrong, after])
    assert done.returncode == 0, done.stdout + done.stderr
    told = " ".join((done.stdout + done.stderr).split())
    assert told.count("The report cannot be written") == 2
    assert "Go on" in done.stdout


def test_levels_are_drawn_with_those_of_earlier_reports(play: Play, tmp_path: Path) -> None:
    shelf = tmp_path / "reports"

    def measured(value: float) -> dict[str, Any]:
        level = {"name": "p95", "value": value, "target": 200.0, "unit": "ms", "ok": True}
        return {"verdict": "good", "facts": {"levels": [level]}, "sections": []}

    for value in (120.0, 150.0):
        done = play([report(shelf, measured(value), kind="slo")])
        assert done.returncode == 0, done.stdout + done.stderr
    newest = json.loads(max(shelf.glob("*.json"), key=lambda path: path.stat().st_mtime_ns).read_text())
    (section,) = newest["sections"]
    assert section["title"] == "Service level: p95"
    assert [point[1] for point in section["series"][0]["points"]] == [120.0, 150.0]
    assert section["targets"] == [{"label": "target", "value": 200.0}]
