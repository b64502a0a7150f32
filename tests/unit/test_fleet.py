"""What all hosts together say: targets for the whole fleet, gates, outcome and status rows."""

from __future__ import annotations

from typing import Any, Optional

import pytest

from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.fleet import (
    age,
    by_hand,
    contract_blockers,
    deploy_rows,
    fleet_gates,
    health_row,
    known_manifests,
    left_behind,
    other_kinds,
    release_gates,
    rollback_target,
    serves,
    status_rows,
    swap_back_target,
)

A, B, C = "v1-aaaaaaaa", "v2-bbbbbbbb", "v3-cccccccc"
GONE = {"unreachable": True, "msg": "no route to host"}


def step(to: str, old: Optional[str] = None, outcome: str = "switched", kind: str = "deploy") -> dict[str, Any]:
    return {"from": old, "to": to, "outcome": outcome, "kind": kind}


def _revision(number: int) -> dict[str, Any]:
    return {"revision": f"r{number}", "down_revisions": [f"r{number - 1}"] if number > 1 else [], "class": "expand"}


def info(
    running: Optional[str], *history: dict[str, Any], staged: tuple[str, ...] = (A, B, C), **more: Any
) -> dict[str, Any]:
    steps = [{**entry, "sequence": number} for number, entry in enumerate(history, 1)]
    sequence = {entry["to"]: entry["sequence"] for entry in steps}
    return {
        "current": {"release": running, "version": (running or "").split("-")[0], "fault": "", "since": 50.0},
        "link": running,
        "releases": [
            {
                "release": name,
                "version": name.split("-")[0],
                "sequence": sequence.get(name, 0),
                "state": "good" if name in sequence else "staged",
                "alembic": {
                    "heads": [f"r{name[1]}"],
                    "revisions": [_revision(n) for n in range(1, int(name[1]) + 1)],
                },
            }
            for name in staged
        ],
        "history": steps,
        "intent": None,
        "disk_free": 10 * 2**30,
        "clock_offset": 0.1,
        "clock_doubt": 0.05,
        "python_tag": "cpython-311",
        "platform": "linux",
        **more,
    }


def test_a_rollback_goes_to_the_release_before_on_all_hosts() -> None:
    fleet = {"b1": info(B, step(A), step(B, A)), "b2": info(B, step(A), step(B, A))}
    assert rollback_target(fleet) == {"release": A, "version": "v1", "current": B}


def test_what_failed_or_was_left_on_one_host_is_no_target_for_any() -> None:
    fleet = {
        "b1": info(C, step(A), step(B, A), step(C, B)),
        "b2": info(C, step(A), step(B, A, outcome="reverted"), step(C, A)),
    }
    assert rollback_target(fleet)["release"] == A
    left = [step(A), step(B, A), step(A, B, kind="rollback")]
    with pytest.raises(FloyoError) as caught:
        rollback_target({"b1": info(A, *left)})
    assert caught.value.code == "NO_PREVIOUS"
    assert B in str(caught.value), "the choices are named"


def test_a_release_that_was_left_and_deployed_again_is_a_target() -> None:
    steps = [step(A), step(B, A), step(A, B, kind="rollback"), step(B, A), step(C, B)]
    assert rollback_target({"b1": info(C, *steps)})["release"] == B


def test_a_target_must_be_on_every_host_that_answers() -> None:
    fleet = {
        "b1": info(C, step(A), step(B, A), step(C, B)),
        "b2": info(C, step(A), step(B, A), step(C, B), staged=(A, C)),
        "b3": GONE,
    }
    assert rollback_target(fleet)["release"] == A
    with pytest.raises(FloyoError, match="v2 is not on every host"):
        rollback_target(fleet, "v2")
    assert rollback_target(fleet, "v1")["release"] == A
    assert rollback_target(fleet, A)["release"] == A
    with pytest.raises(FloyoError, match=f"no host holds v9.*one of: {A}"):
        rollback_target(fleet, "v9")
    with pytest.raises(FloyoError, match="no host tells"):
        rollback_target({"b3": GONE})


def test_a_mixed_fleet_swaps_back_to_what_most_hosts_served() -> None:
    fleet = {"b1": info(C, step(B), step(C, B)), "b2": info(B, step(B)), "b3": info(A, step(A)), "b4": info(B, step(B))}
    assert swap_back_target(fleet, C) == B
    assert swap_back_target({"b1": info(None)}, A) == ""
    assert swap_back_target({"b1": info(C, step(B), step(C, B))}, C) == B


def test_manifests_are_newest_first_and_each_once() -> None:
    fleet = {"b1": info(B, step(A), step(B, A), staged=(A, B)), "b2": info(A, step(A), staged=(A, C)), "b3": GONE}
    assert [one["release"] for one in known_manifests(fleet)] == [B, A, C]


def test_a_release_is_one_to_go_back_to_when_every_host_has_it_and_none_says_that_it_failed() -> None:
    fleet = {"one": info(A), "two": info(A)}
    fleet = {"one": info(A, step(A)), "two": info(A, step(A), staged=(A, B))}
    fleet["one"]["releases"][1]["state"] = "failed"
    seen = {one["release"]: (one["state"], one["everywhere"]) for one in known_manifests(fleet)}
    assert seen == {A: ("good", True), B: ("failed", True), C: ("staged", False)}


def test_twice_the_hosts_are_twice_the_work() -> None:
    class Counted(dict[str, Any]):
        looks = 0

        def __getitem__(self, key: str) -> Any:
            Counted.looks += 1
            return super().__getitem__(key)

    def looks(hosts: int) -> int:
        Counted.looks = 0
        fleet = {}
        for number in range(hosts):
            one = info(B, step(A), step(B, A))
            fleet[f"b{number}"] = {**one, "releases": [Counted(release) for release in one["releases"]]}
        rollback_target(fleet)
        return Counted.looks

    assert looks(200) < 2.5 * looks(100)


def test_a_contract_step_waits_for_every_host_that_may_need_what_goes() -> None:
    infos = {
        "same": info(C),
        "newer": info(C, intent={"from": C, "to": C}),
        "older": info(A),
        "half": info(C, intent={"from": A, "to": C}),
        "idle": info(None),
        "gone": GONE,
    }
    found = contract_blockers(infos, B, ["r3"])
    assert sorted(found) == ["gone", "half", "older"]
    assert found["older"] == f"runs {A}, which was made before r3 and may need what it removes"
    assert "unfinished switch" in found["half"]
    assert "unreachable" in found["gone"]
    # The release of the step itself has the revisions, whatever a host's copy says.
    assert contract_blockers({"one": info(B)}, B, ["r3"]) == {}


def test_a_host_serves_only_when_it_is_well() -> None:
    assert serves(info(A), A)
    assert not serves(info(A), B)
    assert not serves(info(A, intent={"to": B}), A)
    assert not serves({**info(A), "current": {"release": A, "fault": "readiness answers 503"}}, A)
    assert not serves(GONE, A)


def gates(
    infos: dict[str, Any], environments: Optional[dict[str, Any]] = None, **more: Any
) -> dict[str, dict[str, str]]:
    settings: dict[str, Any] = {
        "min_free": 2**30,
        "clock_tolerance": 5.0,
        "database": {"backups": []},
        "lease": {"held": False},
    }
    return {row["gate"]: row for row in fleet_gates(infos, environments or {}, **{**settings, **more})}


def test_a_fleet_that_is_well_passes_every_gate() -> None:
    found = gates({"b1": info(A), "b2": info(A)}, {"b1": {"missing": [], "empty": [], "weak": []}})
    assert {row["result"] for row in found.values()} == {"ok"}
    assert found["health now"]["found"] == "2 run v1"


@pytest.mark.parametrize(
    ("gate", "host", "result", "text"),
    [
        ("hosts answer", GONE, "FAIL", "b2: unreachable"),
        ("hosts are provisioned", {"failed": True, "msg": "floyo-release.json is missing"}, "FAIL", "is missing"),
        ("no switch is unfinished", info(A, intent={"from": A, "to": B, "holder": "eve"}), "FAIL", "begun by eve"),
        ("disk", info(A, disk_free=2**20), "FAIL", "b2: 1 MiB free"),
        ("clocks", info(A, clock_offset=-61.0), "FAIL", "-61.0 s"),
        ("one Python everywhere", info(A, python_tag="cpython-313"), "warn", "cpython-313"),
        ("health now", {**info(A), "current": {"release": A, "fault": "readiness answers 503"}}, "warn", "503"),
    ],
)
def test_each_trouble_of_a_host_shows_in_its_gate(gate: str, host: dict[str, Any], result: str, text: str) -> None:
    found = gates({"b1": info(A), "b2": host})
    assert found[gate]["result"] == result
    assert text in found[gate]["found"]


def test_a_slow_answer_is_no_wrong_clock() -> None:
    assert gates({"b1": info(A, clock_offset=6.0, clock_doubt=3.0)})["clocks"]["result"] == "ok"


def test_hosts_with_the_same_trouble_are_named_together() -> None:
    bad = {"missing": ["SECRET_KEY"], "empty": ["DATABASE_URL"], "weak": [], "exposed": []}
    found = gates({"b1": info(A)}, {"b1": bad, "b2": bad, "b3": {"failed": True, "msg": "no such file"}})
    assert found["environment"]["result"] == "FAIL"
    assert found["environment"]["found"] == "b1, b2: missing SECRET_KEY; empty DATABASE_URL; b3: no such file"
    warned = gates({"b1": info(A)}, {"b1": {"missing": [], "empty": [], "weak": [], "ignored": ["line 3"]}})
    assert warned["environment"]["result"] == "warn"


def test_database_and_lease() -> None:
    found = gates({"b1": info(A)}, database={"failed": False, "msg": "password authentication failed"})
    assert (found["database and backup"]["result"], found["database and backup"]["found"]) == (
        "FAIL",
        "password authentication failed",
    )
    assert "database and backup" not in gates({"b1": info(A)}, database=None)
    held = {"held": True, "holder": "eve", "reason": "deploy v2"}
    assert gates({"b1": info(A)}, lease=held)["lease"]["found"] == "eve holds it (deploy v2)"
    assert gates({"b1": info(A)}, lease=held, holder="eve")["lease"]["result"] == "ok"
    assert gates({"b1": info(A)}, lease={"unreachable": True})["lease"]["result"] == "FAIL"


PLAN = {
    "verdict": "SAFE",
    "code": "SAFE",
    "reason": "",
    "pending": [{"revision": "r2", "class": "expand"}],
    "held_back": [],
}
MANIFEST = {
    "tests": {"passed": True, "command": "pytest", "summary": "3 passed"},
    "alembic": {"heads": ["r2"]},
    "env_names": ["A", "B"],
}


def of_release(
    manifest: dict[str, Any] = MANIFEST, present: tuple[str, ...] = ("A", "B"), **more: Any
) -> dict[str, Any]:
    settings: dict[str, Any] = {"plan": PLAN, "backup": "always", "strict_environment": False, "notified": 1}
    rows = release_gates(manifest, {"b1": {"present": list(present)}}, **{**settings, **more})
    return {row["gate"]: row for row in rows}


def test_gates_of_a_release() -> None:
    found = of_release()
    assert {row["result"] for row in found.values()} == {"ok"}
    assert found["migrations"]["found"] == "head r2; pending: r2 (expand)"
    assert of_release({**MANIFEST, "tests": {"passed": None}})["tests"]["result"] == "warn"
    assert of_release(present=("A",))["environment of the release"]["result"] == "warn"
    assert of_release(present=("A",), strict_environment=True)["environment of the release"]["result"] == "FAIL"
    assert of_release(notified=0)["team"]["result"] == "warn"
    assert of_release(backup="never")["backup"]["result"] == "warn"
    assert "migrations" not in of_release(plan=None)
    refused = {**PLAN, "verdict": "REFUSE", "code": "DATABASE_AHEAD", "reason": "it is ahead", "next_step": "roll back"}
    assert of_release(plan=refused)["migrations"]["result"] == "FAIL"
    assert "held back: r3" in of_release(plan={**PLAN, "held_back": [{"revision": "r3"}]})["migrations"]["found"]


def test_the_outcome_of_each_host() -> None:
    before = {"__floyo_deploy_info": {"current": {"release": A}}}
    switched = {"outcome": "switched", "from": A, "to": B, "seconds": 1.2}
    rows = {
        row["host"]: row
        for row in deploy_rows(
            {
                "done": {**before, "__floyo_deploy_switch": switched, "__floyo_deploy_health": {"verdict": "healthy"}},
                "back": {
                    **before,
                    "__floyo_deploy_switch": switched,
                    "__floyo_deploy_back": {"outcome": "switched", "to": A, "seconds": 0.8},
                },
                "stuck": {
                    **before,
                    "__floyo_deploy_switch": switched,
                    "__floyo_deploy_back": {"failed": True, "msg": "no"},
                },
                "bad": {**before, "__floyo_deploy_switch": {"failed": True, "outcome": "reverted", "from": A, "to": B}},
                "gone": {**before, "__floyo_deploy_switch": {"unreachable": True}},
                "back again": {**before, "__floyo_deploy_switch": switched},
                "later": {**before, "__floyo_deploy_switch": {"skipped": True}},
                "new": {},
            }
        )
    }
    assert {host: (row["result"], row["runs"]) for host, row in rows.items()} == {
        "done": ("switched", B),
        "back": ("put back", A),
        "stuck": ("not put back: no", B),
        "bad": ("reverted", A),
        "gone": ("unreachable", "unknown"),
        "back again": ("switched", B),
        "later": ("not tried", A),
        "new": ("not tried", "-"),
    }
    assert (rows["done"]["health"], rows["later"]["health"]) == ("healthy", "unknown")
    (foreseen,) = deploy_rows({"b1": {**before, "__floyo_deploy_switch": switched}}, dry=True)
    assert (foreseen["result"], foreseen["runs"], foreseen["seconds"]) == ("would switch", B, "-")
    # A switch proves readiness; nobody asked further. A bad one proves nothing.
    assert (rows["back again"]["health"], rows["bad"]["health"]) == ("ready", "unknown")


def test_a_switch_by_hand_is_told_until_a_run_switches_again() -> None:
    hand = {**step(A, B, kind="rollback"), "token": None, "holder": "root", "reason": "disk alarm", "at": 1.7e9}
    run = {**step(B, A), "token": 7, "holder": "anna@laptop pid 1", "reason": "deploy v2", "at": 1.7e9 + 60}
    infos = {"b1": info(A, {**run, "token": 6}, hand), "b2": info(B, run), "b3": GONE}
    said = f"root switched to {A} at 2023-11-14 22:13 UTC (disk alarm)"
    assert by_hand(infos) == {"b1": said}
    assert {"gate": "switched by hand", "result": "warn", "found": f"b1: {said}"}.items() <= gates(infos)[
        "switched by hand"
    ].items()
    assert by_hand({"b1": info(B, hand, run)}) == {}
    # One that came to nothing left the host as the run before it had.
    assert by_hand({"b1": info(B, run, {**hand, "outcome": "reverted"})}) == {}
    assert "switched by hand" not in gates({"b2": info(B, run)})


def test_hosts_that_a_rollback_left_behind() -> None:
    switches = {
        "b1": {"outcome": "switched"},
        "b2": {"outcome": "unchanged"},
        "b3": {"failed": True, "outcome": "reverted", "msg": "A did not\ncome up"},
        "b4": {"unreachable": True},
        "b5": {},
    }
    assert left_behind(switches, A) == {
        "b3": "A did not come up",
        "b4": f"unreachable: it converges with playbooks/rollback.yml -e floyo_release={A}",
        "b5": "no answer",
    }


def test_status_shows_what_drifted() -> None:
    infos = {
        "b1": info(B),
        "b2": info(B),
        "b3": info(A, link=B, intent={"to": B}),
        "b4": GONE,
        "b5": {"failed": True, "msg": "not provisioned"},
    }
    rows = {row["host"]: row for row in status_rows(infos, {"b1": {"verdict": "degraded"}}, heads=["r2"], now=200.0)}
    assert (rows["b1"]["health"], rows["b1"]["drift"], rows["b1"]["since"]) == ("degraded", "", "2 min")
    assert rows["b2"]["health"] == "healthy"
    assert rows["b3"]["drift"] == f"runs {A}, others {B}; the link names {B}; unfinished switch to {B}"
    assert rows["b3"]["database"] == "ahead: r2"
    assert (rows["b4"]["drift"], rows["b5"]["drift"]) == ("unreachable", "not provisioned")
    behind = status_rows({"b1": info(B)}, {}, heads=["r1"], now=0.0)
    assert behind[0]["database"] == "lacks r2"


def test_a_head_that_another_head_depends_on_is_not_missed() -> None:
    """Alembic's table names only what implies the rest."""
    graph = [_revision(1), {**_revision(2), "down_revisions": [], "depends_on": ["r1"]}]
    host = info(
        B,
        releases=[
            {
                "release": B,
                "version": "v2",
                "sequence": 1,
                "state": "good",
                "alembic": {"heads": ["r1", "r2"], "revisions": graph},
            }
        ],
    )
    assert status_rows({"b1": host}, {}, heads=["r2"], now=0.0)[0]["database"] == "at its head"
    assert status_rows({"b1": host}, {}, heads=["r1"], now=0.0)[0]["database"] == "lacks r2"


def test_small_things() -> None:
    assert [age(seconds) for seconds in (-1, 59, 119, 121, 7300, 200000)] == [
        "0 s",
        "59 s",
        "119 s",
        "2 min",
        "2 h",
        "2 d",
    ]
    assert health_row(["b1", {"verdict": "healthy", "severity": "none", "summary": "fine"}])["verdict"] == "healthy"
    assert health_row({"item": "p1", "unreachable": True})["summary"] == "unreachable"


def test_hosts_that_a_build_does_not_fit_are_put_together_by_their_kind() -> None:
    def kind(tag: str, libc: str = "2.36") -> dict[str, Any]:
        return info(A, python_tag=tag, platform=f"linux-x86_64-glibc{libc}")

    fleet = {
        "a": kind("cpython-311"), "b": kind("cpython-313", "2.41"), "c": kind("cpython-311", "2.41"),
        "d": kind("cpython-313", "2.41"), "e": kind("cpython-311", "2.31"), "f": {"unreachable": True},
    }  # fmt: skip
    built = {"python_tag": "cpython-311", "platform": "linux-x86_64-glibc2.36"}
    assert other_kinds(fleet, built) == [["b", "d"], ["e"]]
    assert other_kinds({"a": fleet["a"]}, built) == []
    assert other_kinds(fleet, {"subject": "a build in check mode"}) == []
