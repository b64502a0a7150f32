"""floyo_table as a person sees it: through ansible-playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Play = Callable[..., "subprocess.CompletedProcess[str]"]
ROWS = [{"host": "backend1", "health": "healthy"}, {"host": "backend2", "health": "unhealthy"}]


@pytest.fixture
def play(root: Path, tmp_path: Path) -> Play:
    """Run tasks on three local hosts with the project's configuration; COLUMNS and colours are the test's."""

    def run(tasks: list[dict[str, Any]], *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        playbook = tmp_path / "play.yml"
        playbook.write_text(json.dumps([{"name": "Test", "hosts": "all", "gather_facts": False, "tasks": tasks}]))
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "COLUMNS"))}
        command = [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "-i",
            "a,b,c",
            "-c",
            "local",
            *options,
            str(playbook),
        ]
        settings = {"ANSIBLE_CONFIG": str(root / "ansible.cfg"), "ANSIBLE_HOME": str(tmp_path), **environment}
        return subprocess.run(command, env={**clean, **settings}, capture_output=True, text=True, cwd="/", check=False)

    return run


def _table(**arguments: Any) -> dict[str, Any]:
    return {"name": "Show", "floyo_table": arguments, "run_once": True, "register": "shown"}


def test_prints_once_and_nothing_but_the_table(play: Play) -> None:
    verify = {
        "name": "Verify",
        "ansible.builtin.assert": {"that": ["shown.rows[1].host == 'backend2'", "shown is not changed"]},
        "run_once": True,
    }
    done = play([_table(title="Fleet", rows=ROWS, footer="2 hosts"), verify], "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    table = "Fleet\nhost      health\n--------  ---------\nbackend1  healthy\nbackend2  unhealthy\n2 hosts\n"
    assert done.stdout.count(table) == 1
    assert done.stdout.count("backend2") == 1
    assert done.stderr == ""


def test_verbose_output_repeats_no_rows(play: Play) -> None:
    assert play([_table(rows=ROWS)], "-v").stdout.count("backend2") == 1


def test_fails_with_the_message_after_the_table(play: Play) -> None:
    done = play([_table(rows=ROWS, fail_msg="backend2 is \x1b[31munhealthy. Next: read its journal.")])
    assert done.returncode == 2
    message = "backend2 is unhealthy. Next: read its journal."
    assert message in done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout.index("backend1  healthy") < done.stdout.index("fatal:")
    # on standard output the failed result holds the message and not the rows again
    assert done.stdout.count("backend1") == 1


def test_an_empty_message_does_not_fail(play: Play) -> None:
    assert play([_table(rows=ROWS, fail_msg=" ")]).returncode == 0


@pytest.mark.parametrize(("columns", "longest"), [("", 80), ("60", 60), ("110", 110)])
def test_width(play: Play, columns: str, longest: int) -> None:
    rows = [{"host": "backend1", "reason": "word " * 60}]
    done = play([_table(rows=rows)], **({"COLUMNS": columns} if columns else {}))
    lines = [line for line in done.stdout.splitlines() if "word" in line]
    assert longest - 5 < max(map(len, lines)) <= longest


def test_colours_only_when_ansible_colours(play: Play) -> None:
    assert "\x1b" not in play([_table(rows=ROWS)]).stdout
    coloured = play([_table(rows=ROWS)], ANSIBLE_FORCE_COLOR="1").stdout
    line = next(line for line in coloured.splitlines() if "backend2" in line)
    assert line.startswith("backend2  \x1b[")
    assert "\x1b[0;31munhealthy\x1b[0m" in line


def test_a_row_that_does_not_fit_is_an_error(play: Play) -> None:
    done = play([_table(columns=["a", "b"], rows=[["only one"]])])
    assert done.returncode == 2
    assert "row 1 does not fit the table. Expected: a mapping, or a list of 2 values." in done.stdout + done.stderr
