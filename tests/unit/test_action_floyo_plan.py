"""floyo_plan as a playbook sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

GRAPH = [
    {"revision": "r1", "down_revisions": [], "class": "expand", "downgrade": {"kind": "clean", "loses": []}},
    {"revision": "r2", "down_revisions": ["r1"], "class": "contract", "downgrade": {"kind": "clean", "loses": []}},
]
OLD = {"release": "v1-aaaaaaaa", "alembic": {"heads": ["r1"], "revisions": GRAPH[:1]}}
NEW = {"release": "v2-bbbbbbbb", "alembic": {"heads": ["r2"], "revisions": GRAPH}}


def play(root: Path, tmp_path: Path, *tasks: dict[str, Any], check: bool = False) -> subprocess.CompletedProcess[str]:
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([{"name": "Test", "hosts": "all", "gather_facts": False, "tasks": list(tasks)}]))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "a,", "-c", "local", str(playbook)]
    settings = {"ANSIBLE_CONFIG": str(root / "ansible.cfg"), "ANSIBLE_HOME": str(tmp_path)}
    return subprocess.run(
        [*command, *(["--check"] if check else [])],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    )


def plan(**arguments: Any) -> dict[str, Any]:
    return {"name": "Plan", "floyo_plan": arguments, "register": "plan"}


def expect(*that: str) -> dict[str, Any]:
    return {"name": "Judge", "ansible.builtin.assert": {"that": list(that)}}


def test_plans_both_ways_and_changes_nothing(root: Path, tmp_path: Path) -> None:
    for check in (False, True):
        done = play(
            root,
            tmp_path,
            plan(kind="deploy", live=["r1"], status="behind", target=NEW, running=[OLD]),
            expect("plan.verdict == 'SAFE'", "plan.held_back[0].revision == 'r2'", "plan is not changed"),
            plan(kind="rollback", live=["r2"], target=OLD, current=NEW),
            expect(
                "plan.verdict == 'DOWNGRADE'",
                "plan.downgrade_to == ['r1']",
                "plan.downgrade_with == 'v2-bbbbbbbb'",
                "plan.steps | map(attribute='what') | list == ['backup', 'downgrade', 'switch']",
            ),
            check=check,
        )
        assert done.returncode == 0, done.stdout


def test_a_refusal_fails_only_when_told_to(root: Path, tmp_path: Path) -> None:
    strange: dict[str, Any] = {"kind": "rollback", "live": ["r9"], "target": OLD, "current": NEW}
    done = play(root, tmp_path, plan(**strange), expect("plan.verdict == 'REFUSE'", "plan is not failed"))
    assert done.returncode == 0, done.stdout
    done = play(root, tmp_path, plan(**strange, enforce=True))
    assert done.returncode == 2
    assert "REVISION_UNKNOWN" in done.stdout
    assert "Nothing was changed" in done.stdout


def test_a_manifest_without_its_graph_is_named(root: Path, tmp_path: Path) -> None:
    done = play(root, tmp_path, plan(kind="deploy", target={"alembic": 3}))
    assert done.returncode == 2
    assert "without its name or its graph" in done.stdout
