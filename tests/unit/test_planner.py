"""The rollback and deploy planner: a verdict for each shape of graph and database."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible.module_utils.floyo.migrations.planner import (
    VERDICTS,
    Consent,
    Release,
    plan_deploy,
    plan_restore,
    plan_rollback,
)


def revision(name: str, below: str | None, kind: str = "expand", downgrade: str = "clean") -> dict[str, Any]:
    return {
        "revision": name,
        "down_revisions": [below] if below else [],
        "class": kind,
        "summary": name,
        "file": f"{name}.py",
        "sha256": "0" * 64,
        "downgrade": {"kind": downgrade, "loses": []},
    }


A, B = revision("a", None), revision("b", "a")
OLD = Release("old", [A])


def rollback(*newer: dict[str, Any], live: str, **more: Any) -> dict[str, Any]:
    return plan_rollback([live], OLD, Release("new", [A, *newer]), **more)


def test_additive_revisions_stay() -> None:
    plan = rollback(B, live="b")
    assert plan["verdict"] == "SAFE"
    assert [step["what"] for step in plan["steps"]] == ["switch"]


def test_a_reversible_contraction_is_taken_back_with_the_newer_files_before_the_switch() -> None:
    plan = rollback(revision("b", "a", "contract"), live="b")
    assert plan["verdict"] == "DOWNGRADE"
    assert (plan["downgrade_to"], plan["downgrade_with"]) == (["a"], "new")
    assert [step["what"] for step in plan["steps"]] == ["backup", "downgrade", "switch"]


def test_losing_rows_needs_consent() -> None:
    lossy = revision("b", "a", "contract", "lossy")
    refused = rollback(lossy, live="b")
    assert (refused["verdict"], refused["code"]) == ("REFUSE", "CONSENT_NEEDED")
    assert rollback(lossy, live="b", consent=Consent(data_loss=True))["verdict"] == "DOWNGRADE"


def test_no_downgrade_and_no_backup_is_no_way_back() -> None:
    plan = rollback(revision("b", "a", "irreversible", "none"), live="b")
    assert (plan["verdict"], plan["code"]) == ("REFUSE", "NO_WAY_BACK")


def test_a_restore_names_its_backup_and_needs_consent() -> None:
    backup = {"label": "k1", "heads": ["a"], "verified": True, "created": "2026-01-01T00:00:00Z", "rows_since": 7}
    one_way = revision("b", "a", "irreversible", "none")
    assert rollback(one_way, live="b", backups=[backup])["verdict"] == "REFUSE"
    plan = rollback(one_way, live="b", backups=[backup], consent=Consent(restore=True))
    assert (plan["verdict"], plan["backup"]) == ("RESTORE", "k1")
    assert "7 rows" in plan["loses"][0]


def test_a_revision_nobody_knows_is_refused() -> None:
    assert rollback(B, live="x")["code"] == "REVISION_UNKNOWN"


def test_a_deploy_applies_additive_revisions_and_holds_the_contracting_one() -> None:
    target = Release("new", [A, B, revision("c", "b", "contract")])
    plan = plan_deploy(["a"], target, running=[OLD], known=[OLD])
    assert plan["verdict"] == "SAFE"
    upgrades = [step["revisions"] for step in plan["steps"] if step["what"] == "upgrade"]
    assert upgrades == [["b"]]
    assert not any(step["what"] == "contract" for step in plan["steps"])


@pytest.mark.parametrize("live", [[], ["a"]])
def test_an_empty_graph_is_a_state(live: list[str]) -> None:
    plan = plan_rollback(live, Release("old"), Release("new"), status="no_revisions")
    assert plan["verdict"] == ("REFUSE" if live else "SAFE")


KINDS = st.sampled_from(["expand", "contract", "data", "irreversible", "unknown"])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(KINDS, st.sampled_from(["clean", "lossy", "noop", "none"])), min_size=1, max_size=12), st.data()
)
def test_only_additive_revisions_are_passed_in_silence(chain: list[tuple[str, str]], data: st.DataObject) -> None:
    line = [revision(f"r{i}", f"r{i - 1}" if i else None, *what) for i, what in enumerate(chain)]
    cut = data.draw(st.integers(1, len(line)))
    plan = plan_rollback([line[-1]["revision"]], Release("old", line[:cut]), Release("new", line))
    assert plan["verdict"] in VERDICTS
    additive = all(entry["class"] == "expand" for entry in line[cut:])
    assert (plan["verdict"] == "SAFE") == additive
    if plan["verdict"] == "DOWNGRADE":
        assert plan["downgrade_with"] == "new"
    if plan["verdict"] == "REFUSE":
        assert plan["next_step"]


def test_a_thousand_revisions() -> None:
    line = [revision(f"r{i}", f"r{i - 1}" if i else None) for i in range(1000)]
    assert plan_rollback(["r999"], Release("old", line[:1]), Release("new", line))["verdict"] == "SAFE"


def test_several_heads_are_right_only_when_somebody_says_so() -> None:
    branches = Release("new", [A, revision("o", None)])
    refused = plan_deploy([], branches, status="uninitialised")
    assert (refused["verdict"], refused["code"]) == ("REFUSE", "MULTIPLE_HEADS")
    plan = plan_deploy([], branches, status="uninitialised", multiple_heads=True)
    assert (plan["verdict"], [entry["revision"] for entry in plan["pending"]]) == ("SAFE", ["a", "o"])


def test_an_application_without_revisions_can_be_deployed() -> None:
    plan = plan_deploy([], Release("new"), status="no_revisions")
    assert (plan["verdict"], [step["what"] for step in plan["steps"]]) == ("SAFE", ["switch"])


@pytest.mark.parametrize(
    ("heads", "verdict", "words"),
    [
        (["a"], "REFUSE", "lacks b, which v2 needs"),
        (["b"], "RESTORE", "v2 runs on it"),
        (["c"], "RESTORE", "v2 runs on it"),
        (["d"], "REFUSE", "ahead of v2 by d"),
        (["x"], "REFUSE", "at x, which no known release contains"),
    ],
)
def test_a_backup_fits_the_release_that_runs_or_not(heads: list[str], verdict: str, words: str) -> None:
    line = [revision("a", None), revision("b", "a"), revision("c", "b"), revision("d", "c", "contract")]
    running, newest = Release("v2", line[:2]), Release("v4", line)
    backup = {"label": "L", "heads": heads, "verified": True, "created": "then"}
    plan = plan_restore(backup, running, known=[newest])
    assert (plan["verdict"], words in plan["reason"], plan["backup"]) == (verdict, True, "L")
    assert plan["consent"] == ("misfit" if verdict == "REFUSE" else "")
    assert plan_restore(backup, running, known=[newest], consent=Consent(misfit=True))["verdict"] == "RESTORE"
    damaged = plan_restore({**backup, "verified": False, "problem": "cut"}, running, consent=Consent(misfit=True))
    assert (damaged["verdict"], damaged["reason"]) == ("REFUSE", "backup L: cut")
