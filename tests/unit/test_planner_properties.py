"""What holds for every plan, whatever the graph: linear, branched, merged, with dependencies, unknown, unstamped, empty."""

from __future__ import annotations

import random
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible.module_utils.floyo.migrations.classify import CLASSES, DOWNGRADES
from ansible.module_utils.floyo.migrations.lineage import Lineage
from ansible.module_utils.floyo.migrations.planner import Consent, Release, plan_deploy, plan_rollback
from ansible.module_utils.floyo.migrations.state import STATUSES, target_of

NONE = Consent()
CONSENTS = st.builds(Consent, data_loss=st.booleans(), restore=st.booleans(), contract=st.booleans())


def revision(
    name: str, below: list[str], kind: str = "expand", downgrade: str = "clean", **more: Any
) -> dict[str, Any]:
    return {
        "revision": name, "down_revisions": below, "depends_on": [], "class": kind, "summary": name,
        "downgrade": {"kind": downgrade, "loses": [f"rows of {name}"] if downgrade == "lossy" else [], "reason": "why"},
        **more,
    }  # fmt: skip


def graph(seed: int, size: int, *, additive: float = 0.7) -> list[dict[str, Any]]:
    """Branches, merges, dependencies and several roots, parents first; the seed decides."""
    chance = random.Random(seed)
    made: list[dict[str, Any]] = []
    tips: list[str] = []
    for number in range(size):
        name, kind = f"r{number}", chance.random()
        below = [] if not tips or kind < 0.03 else [chance.choice(tips)]
        if kind > 0.85 and len(tips) > 1:
            below = chance.sample(tips, 2)  # a merge
        elif kind > 0.7 and made:
            below = [chance.choice(made)["revision"]]  # a branch
        others = [one["revision"] for one in made if one["revision"] not in below]
        made.append(
            revision(
                name,
                below,
                "expand" if chance.random() < additive else chance.choice(CLASSES),
                "clean" if chance.random() < 0.6 else chance.choice(DOWNGRADES),
                depends_on=[chance.choice(others)] if others and chance.random() < 0.08 else [],
            )
        )
        tips = [tip for tip in tips if tip not in below] + [name]
    return made


@dataclass(frozen=True)
class Case:
    """A graph, the database's heads in it, and the releases: each holds what some heads are built on."""

    every: Lineage
    live: list[str]
    target: Release
    current: Release
    known: list[Release]
    backups: list[dict[str, Any]]


def case(seed: int, size: int) -> Case:
    chance = random.Random(seed)
    made = graph(seed, size, additive=chance.choice([0.5, 0.9, 1.0]))
    every = Lineage(made)

    def some(name: str) -> Release:
        held = every.closure(chance.sample(sorted(every.revisions), min(len(made), chance.randint(0, 3))))
        return Release(name, [one for one in made if one["revision"] in held])

    current = Release("current", made) if chance.random() < 0.7 else some("current")
    applied = every.closure(chance.sample(sorted(every.revisions), min(len(made), chance.randint(0, 3))))
    if chance.random() < 0.5:
        applied = {one["revision"] for one in current.revisions}
    backups = [
        {
            "label": f"k{number}",
            "heads": every.tips(every.closure(chance.sample(sorted(every.revisions), min(len(made), 2)))),
            "verified": chance.random() < 0.8,
            "created": f"2025-01-{chance.randint(1, 28):02}",
            "suspect": chance.choice(["", "", "it shrank"]),
        }
        for number in range(chance.randint(0, 4))
    ]
    known = [some(f"known{number}") for number in range(chance.randint(0, 4))]
    return Case(every, every.tips(applied), some("target"), current, known, backups)


CASES = st.builds(case, st.integers(0, 2**32), st.integers(0, 25))


def rollback(given_: Case, consent: Consent = NONE, **more: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "status": "at" if given_.live else "uninitialised", "known": given_.known, "backups": given_.backups,
        "consent": consent, **more,
    }  # fmt: skip
    return plan_rollback(given_.live, given_.target, given_.current, **facts)


def after(given_: Case, plan: dict[str, Any]) -> set[str]:
    """What the database has when the steps of a plan are done; each step must be possible where it comes."""
    releases = {one.name: one for one in [given_.target, given_.current, *given_.known]}
    now = given_.every.closure(given_.live)
    for step in plan["steps"]:
        held = {one["revision"] for one in releases[step["release"]].revisions} if step["release"] else set()
        if step["what"] == "upgrade":
            for name in step["revisions"]:
                assert name in held and name not in now
                assert set(given_.every.parents(name)) <= now, "after its parents"
                now.add(name)
        elif step["what"] == "downgrade":
            assert now <= held, "alembic needs the files of all that is in the database"
            for name in step["revisions"]:
                assert given_.every[name]["downgrade"]["kind"] in ("clean", "lossy")
                now.remove(name)
                assert not any(name in given_.every.parents(other) for other in now), "before its parents"
            assert given_.every.tips(now) == plan["downgrade_to"]
        elif step["what"] == "restore":
            (backup,) = [one for one in given_.backups if one["label"] == step["backup"]]
            assert backup["verified"]
            now = given_.every.closure(backup["heads"])
    return now


def bears(given_: Case, release: Release, now: set[str]) -> bool:
    """Whether a release can run: it has all it needs, and beyond that only what is additive."""
    needed = {one["revision"] for one in release.revisions}
    return needed <= now and all(given_.every[name]["class"] == "expand" for name in now - needed)


@settings(max_examples=400)
@given(CASES, CONSENTS)
def test_a_plan_ends_where_its_release_can_run(given_: Case, consent: Consent) -> None:
    plan = rollback(given_, consent)
    if plan["verdict"] == "REFUSE":
        assert plan["next_step"] and plan["reason"] and plan["code"] != "REFUSE"
        return
    assert bears(given_, given_.target, after(given_, plan))
    assert [step["what"] for step in plan["steps"]][-1] == "switch"
    assert plan["steps"][-1]["release"] == "target"


@settings(max_examples=300)
@given(CASES, CONSENTS)
def test_what_loses_data_is_agreed_to_and_said(given_: Case, consent: Consent) -> None:
    plan = rollback(given_, consent)
    what = {step["what"] for step in plan["steps"]}
    if plan["verdict"] == "SAFE":
        assert what <= {"upgrade", "switch"}
        assert plan["loses"] == []
    if plan["verdict"] == "DOWNGRADE":
        assert [step["what"] for step in plan["steps"]] == ["backup", "downgrade", "switch"]
        assert consent.data_loss or all(entry["downgrade"] == "clean" for entry in plan["downgrades"])
        lossy = [entry["revision"] for entry in plan["downgrades"] if entry["downgrade"] == "lossy"]
        assert {f"rows of {name}" for name in lossy} <= set(plan["loses"])
    if plan["verdict"] == "RESTORE":
        assert consent.restore and plan["backup"] and plan["loses"]


@settings(max_examples=200)
@given(CASES)
def test_safe_never_passes_what_is_not_additive(given_: Case) -> None:
    plan = rollback(given_)
    needed = {one["revision"] for one in given_.target.revisions}
    ahead = given_.every.closure(given_.live) - needed
    if any(given_.every[name]["class"] != "expand" for name in ahead):
        assert plan["verdict"] != "SAFE"


@settings(max_examples=200)
@given(CASES, CONSENTS, st.integers(0, 2**32))
def test_the_order_of_what_is_given_does_not_matter(given_: Case, consent: Consent, seed: int) -> None:
    chance = random.Random(seed)

    def mixed(things: Any) -> list[Any]:
        return chance.sample(list(things), len(list(things)))

    other = Case(
        given_.every,
        mixed(given_.live),
        Release("target", mixed(given_.target.revisions)),
        Release("current", mixed(given_.current.revisions)),
        given_.known,
        mixed(given_.backups),
    )
    assert rollback(other, consent) == rollback(given_, consent)
    shuffled = Case(**{**vars(other), "known": mixed(given_.known)})
    for key in ("verdict", "code", "downgrade_to", "backup", "loses"):
        assert rollback(shuffled, consent)[key] == rollback(given_, consent)[key]


@settings(max_examples=200)
@given(CASES)
def test_consent_never_makes_a_plan_worse(given_: Case) -> None:
    """A SAFE plan stays SAFE, and what needed consent is done once it is there."""
    without, everything = rollback(given_), rollback(given_, Consent(data_loss=True, restore=True))
    if without["verdict"] in ("SAFE", "DOWNGRADE"):
        assert everything == without
    if without["consent"]:
        agreed = rollback(given_, Consent(**{without["consent"]: True}))
        assert agreed["verdict"] in ("DOWNGRADE", "RESTORE")
        assert agreed["loses"] == without["loses"], "what was shown is what happens"


@settings(max_examples=200)
@given(CASES)
def test_a_refusal_names_a_release_that_is_safe_when_there_is_one(given_: Case) -> None:
    plan = rollback(given_)
    safe = [
        one.name
        for one in given_.known
        if plan_rollback(
            given_.live, one, given_.current, status="at" if given_.live else "uninitialised",
            known=[given_.target, *given_.known],
        )["verdict"] == "SAFE"
    ]  # fmt: skip
    if plan["verdict"] == "REFUSE":
        assert plan["nearest_safe"] == (safe[0] if safe else "")
        assert plan["nearest_safe"] in plan["next_step"]


@settings(max_examples=200)
@given(CASES, st.sampled_from([*STATUSES, "something new"]))
def test_a_database_that_cannot_be_read_is_refused(given_: Case, status: str) -> None:
    plan = rollback(given_, Consent(data_loss=True, restore=True), status=status)
    if status in ("unstamped", "something new"):
        assert plan["verdict"] == "REFUSE"
        assert plan["code"] in ("DATABASE_UNSTAMPED", "REVISION_UNKNOWN")
    strange = Case(**{**vars(given_), "live": [*given_.live, "nobody-knows"]})
    plan = rollback(strange, Consent(data_loss=True, restore=True))
    assert (plan["verdict"], plan["code"]) == ("REFUSE", "REVISION_UNKNOWN")
    assert "nobody-knows" in plan["reason"]


@settings(max_examples=300)
@given(CASES, CONSENTS)
def test_a_deploy_leaves_the_running_releases_able_to_run(given_: Case, consent: Consent) -> None:
    """Before the switch: whoever could run on the database still can, and the new release can, too."""
    made = Case(**{**vars(given_), "known": [given_.target, *given_.known]})
    plan = plan_deploy(
        made.live, made.current, status="at" if made.live else "uninitialised", running=made.known, known=made.known,
        consent=consent, multiple_heads=True,
    )  # fmt: skip
    if plan["verdict"] == "REFUSE":
        return
    before_switch = {**plan, "steps": [step for step in plan["steps"] if step["what"] != "contract"]}
    now = after(made, before_switch)
    assert after(made, before_switch) >= made.every.closure(made.live)
    for release in made.known:
        if bears(made, release, made.every.closure(made.live)):
            assert bears(made, release, now)
    held = {entry["revision"] for entry in plan["held_back"]}
    wanted = {one["revision"] for one in made.current.revisions}
    assert wanted - now == held
    assert all(made.every[name]["class"] in ("contract", "irreversible") for name in held)
    contract = [step["revisions"] for step in plan["steps"] if step["what"] == "contract"]
    assert contract == ([made.every.ordered(held)] if held and consent.contract else [])
    unaware = [one.name for one in made.known if not held <= {entry["revision"] for entry in one.revisions}]
    assert plan["contract_after"] == (sorted(unaware) if held else [])


@settings(max_examples=300)
@given(CASES)
def test_the_way_down_is_the_planned_one(given_: Case) -> None:
    """The module gets the plan's heads with a comma, and must take back exactly what was planned."""
    plan = rollback(given_, Consent(data_loss=True))
    if plan["verdict"] == "DOWNGRADE":
        (step,) = [one for one in plan["steps"] if one["what"] == "downgrade"]
        (source,) = {
            r.name: r for r in [given_.target, given_.current, *given_.known] if r.name == step["release"]
        }.values()
        lineage = Lineage(source.revisions)
        heads = ",".join(plan["downgrade_to"]) + "," if plan["downgrade_to"] else "base"
        found = target_of(lineage, lineage.closure(given_.live), heads)
        assert (found.direction, set(found.revisions)) == ("down", set(step["revisions"]))


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_alembic_would_keep_the_same_heads(seed: int, size: int) -> None:
    """Going up and down one by one, the version table holds what alembic itself computes."""
    from alembic.runtime.migration import HeadMaintainer, RevisionStep
    from alembic.script.revision import Revision, RevisionMap

    class Script(Revision):
        module = SimpleNamespace(upgrade=None, downgrade=None)

    # Without dependencies: with several across branches, alembic itself loses count of its rows.
    made = [{**one, "depends_on": []} for one in graph(seed, size)]
    lineage = Lineage(made)
    theirs: Any = RevisionMap(lambda: [Script(one["revision"], tuple(one["down_revisions"]) or None) for one in made])
    assert sorted(theirs.heads) == lineage.heads()

    class Heads(HeadMaintainer):
        """Without a table."""

        def __init__(self) -> None:
            self.heads = set()

        def _insert_version(self, version: str) -> None:
            self.heads.add(version)

        def _delete_version(self, version: str) -> None:
            self.heads.remove(version)

        def _update_version(self, from_: str, to_: str) -> None:
            self.heads.remove(from_)
            self.heads.add(to_)

    kept, applied = Heads(), set()
    order = lineage.ordered(lineage.revisions)
    for name in order:
        kept.update_to_step(RevisionStep(theirs, theirs.get_revision(name), True))
        applied.add(name)
        assert sorted(kept.heads) == lineage.tips(applied)
    for name in reversed(order):
        kept.update_to_step(RevisionStep(theirs, theirs.get_revision(name), False))
        applied.remove(name)
        assert sorted(kept.heads) == lineage.tips(applied)


@pytest.mark.parametrize("shape", ["linear", "branched", "merged"])
def test_a_thousand_revisions_of_any_shape(shape: str) -> None:
    made = [revision("r0", [])]
    for number in range(1, 1000):
        below = {"linear": [number - 1], "branched": [0], "merged": [number - 1, max(0, number - 2)]}[shape]
        made.append(revision(f"r{number}", [f"r{one}" for one in sorted(set(below))]))
    made[-1]["class"] = "contract"
    every = Lineage(made)
    live = every.tips(every.revisions)
    plan = plan_rollback(live, Release("old", made[:500]), Release("new", made), known=[Release("mid", made[:-1])])
    assert (plan["verdict"], plan["downgrades"][0]["revision"]) == ("DOWNGRADE", "r999")
