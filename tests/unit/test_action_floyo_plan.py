"""floyo_plan as a playbook sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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


@pytest.mark.parametrize(
    "manifest",
    [
        {"alembic": 3},
        {"release": "v1", "alembic": {"revisions": 3}},
        {"release": "v1", "alembic": {"revisions": [3]}},
        {"release": "v1", "alembic": {"revisions": [{"revision": "r1", "class": "expand"}]}},
    ],
)
def test_a_manifest_without_its_graph_is_named(root: Path, tmp_path: Path, manifest: dict[str, Any]) -> None:
    done = play(root, tmp_path, plan(kind="deploy", target=manifest))
    assert done.returncode == 2
    said = " ".join(done.stdout.split())
    assert f"the manifest of {manifest.get('release', 'a release')} is without its name or its graph" in said


def test_nothing_runs_yet(root: Path, tmp_path: Path) -> None:
    done = play(
        root, tmp_path, plan(kind="rollback", live=["r1"], target=OLD, current=None), expect("plan.code == 'SAFE'")
    )
    assert done.returncode == 0, done.stdout


def test_consent_is_passed_on(root: Path, tmp_path: Path) -> None:
    """Each flag of the task is the one that the planner asks for."""
    lossy = {**GRAPH[1], "downgrade": {"kind": "lossy", "loses": ["table notes"]}}
    stuck = {**GRAPH[1], "downgrade": {"kind": "none", "loses": []}}
    backup = {"label": "b1", "heads": ["r1"], "verified": True, "created": "2026-01-01", "sequence": 1}
    done = play(
        root,
        tmp_path,
        *ask(
            "data_loss", "DOWNGRADE", {"release": "v2", "alembic": {"revisions": [GRAPH[0], lossy]}}, backups=[backup]
        ),
        *ask("restore", "RESTORE", {"release": "v2", "alembic": {"revisions": [GRAPH[0], stuck]}}, backups=[backup]),
        plan(kind="deploy", live=["r1"], status="behind", target=NEW, running=[OLD], contract=True),
        expect("plan.steps[-1].what == 'contract'", "plan.contract_after == ['v1-aaaaaaaa']"),
        plan(kind="deploy", live=["r1"], status="behind", target=NEW, running=[OLD], classes=["expand", "contract"]),
        expect("plan.held_back == []", "plan.steps[1].revisions == ['r2']"),
    )
    assert done.returncode == 0, done.stdout


def ask(consent: str, verdict: str, current: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """Tasks that plan a way back without and with ``consent``."""
    arguments = {"kind": "rollback", "live": ["r2"], "target": OLD, "current": current, **more}
    return [
        plan(**arguments),
        expect("plan.code == 'CONSENT_NEEDED'", f"plan.consent == '{consent}'"),
        plan(**arguments, **{f"accept_{consent}": True}, enforce=True),
        expect(f"plan.verdict == '{verdict}'"),
    ]


def test_a_restore_has_to_fit_every_release_that_runs(root: Path, tmp_path: Path) -> None:
    backup = {"label": "20250115T103000Z-3f9a1c", "heads": ["r1"], "created": "2025-01-15T10:30:00Z", "verified": True}
    asked = {"kind": "restore", "backup": backup, "known": [OLD, NEW]}
    done = play(
        root,
        tmp_path,
        plan(**asked, running=[OLD]),
        expect("plan.verdict != 'REFUSE'"),
        plan(**asked, running=[OLD, NEW]),
        expect("plan.code == 'BACKUP_MISFIT'", "'v2-bbbbbbbb' in plan.reason"),
        plan(**asked, target=OLD, running=[OLD, NEW]),
        expect("plan.verdict != 'REFUSE'"),
    )
    assert done.returncode == 0, done.stdout
    refused = play(root, tmp_path, plan(**asked))
    assert refused.returncode != 0
    assert "target, or running for a restore" in refused.stdout
