"""The callback as a person sees it: through ansible-playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TASKS: list[dict[str, Any]] = [
    {"name": "Find it well", "ansible.builtin.command": "true", "changed_when": False},
    {"name": "Change it", "ansible.builtin.command": "true"},
    {"name": "Change one", "ansible.builtin.command": "true", "changed_when": "inventory_hostname == 'b'"},
    {"name": "Leave it out", "ansible.builtin.command": "true", "when": False},
    {"name": "Compute", "ansible.builtin.set_fact": {"found": 1}},
    {"name": "Say it", "ansible.builtin.debug": {"msg": "read me"}, "run_once": True},
]


def play(root: Path, tmp_path: Path, tasks: list[dict[str, Any]], *options: str, **keywords: Any) -> str:
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        json.dumps([{"name": "Try", "hosts": "all", "gather_facts": False, "tasks": tasks, **keywords}])
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "a,b,c,d,e", "-c", "local", *options]
    settings = {"ANSIBLE_CONFIG": str(root / "ansible.cfg"), "ANSIBLE_HOME": str(tmp_path), "ANSIBLE_FORCE_COLOR": "0"}
    done = subprocess.run(
        [*command, str(playbook)],
        env={**clean, **settings, "ANSIBLE_PYTHON_INTERPRETER": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        check=False,
    )
    return done.stdout


def lines(text: str) -> list[str]:
    """Without times: they differ."""
    return [
        " ".join(word for word in line.split() if not word.replace(".", "").isdigit() and word != "s")
        for line in text.splitlines()
    ]


def test_one_line_a_task_with_the_hosts_that_changed(root: Path, tmp_path: Path) -> None:
    shown = lines(play(root, tmp_path, TASKS))
    assert "Try" in shown
    assert "ok Find it well" in shown
    assert "changed Change it: hosts" in shown, "five hosts are counted"
    assert "changed Change one: b" in shown
    assert not any("Leave it out" in line or "Compute" in line for line in shown)
    assert any("read me" in line for line in shown), "what a task wants to be read is shown"
    assert any(line.startswith("a : ok=") for line in shown), "the recap stays"


def test_a_failure_looks_as_in_ansibles_own_output(root: Path, tmp_path: Path) -> None:
    broken = [TASKS[0], {"name": "Break it", "ansible.builtin.fail": {"msg": "because of this"}}]
    text = play(root, tmp_path, broken)
    assert "TASK [Break it]" in text
    assert "because of this" in text
    assert text.count("fatal: [") == 5
    ignored = play(root, tmp_path, [{**broken[1], "ignore_errors": True}])
    assert "...ignoring" in ignored


def test_ansibles_own_output_is_one_switch_away(root: Path, tmp_path: Path) -> None:
    text = play(root, tmp_path, TASKS, "-v")
    assert "TASK [Find it well]" in text
    assert "ok: [a]" in text


def test_hosts_at_their_own_pace_show_what_they_change(root: Path, tmp_path: Path) -> None:
    shown = lines(play(root, tmp_path, TASKS, strategy="free"))
    for host in "abcde":
        assert f"changed Change it: {host}" in shown
    assert "changed Change one: b" in shown
    assert not any("Find it well" in line for line in shown)
