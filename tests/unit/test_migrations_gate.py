"""Pending migrations as gates of a deploy."""

from __future__ import annotations

from typing import Any

import pytest

from ansible.module_utils.floyo.migrations.gate import migration_gates

STOPS = {"result": "fail", "found": "nobody can write public.events", "next": "build it concurrently"}
DOUBTS = {"result": "warn", "found": "public.users has rows changed", "next": "in batches"}
SMALL = {"result": "pass", "found": "public.users (50 rows) is read as a whole: small", "next": "", "small": True}
QUIET = {"result": "pass", "found": "public.users (50 rows) has rows changed: small", "next": ""}


def plan(*revisions: str, what: str = "upgrade") -> dict[str, Any]:
    return {"steps": [{"what": "backup"}, {"what": what, "revisions": list(revisions)}, {"what": "switch"}]}


def lint(surroundings: Any = (), squawk: str = "", **findings: Any) -> dict[str, Any]:
    revisions = [{"revision": name, "findings": found} for name, found in findings.items()]
    return {"revisions": revisions, "surroundings": list(surroundings), "squawk": squawk}


def results(rows: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(row["gate"], row["result"]) for row in rows]


def test_what_production_would_notice_fails_until_it_is_agreed_to_by_name() -> None:
    judged = lint(aaaa=[STOPS], bbbb=[QUIET])
    rows = migration_gates(judged, plan=plan("aaaa", "bbbb"))
    assert results(rows) == [("migrations on live tables", "ok"), ("migration aaaa", "FAIL")]
    assert rows[1]["found"] == STOPS["found"]
    assert rows[1]["next"] == "build it concurrently; or agree to it: -e floyo_migration_consent=aaaa"
    for agreed in (["aaaa"], "aaaa", "cccc, aaaa"):
        rows = migration_gates(judged, plan=plan("aaaa", "bbbb"), consent=agreed)
        assert results(rows)[1] == ("migration aaaa", "warn")
        assert rows[1]["found"].startswith("agreed to by name: ")
    for agreed in ([], "", "bbbb", ["aaa"], "all"):
        assert results(migration_gates(judged, plan=plan("aaaa", "bbbb"), consent=agreed))[1][1] == "FAIL"


@pytest.mark.parametrize(("finding", "result"), [(DOUBTS, "warn"), (SMALL, "warn"), (STOPS, "FAIL")])
def test_a_small_one_warns(finding: dict[str, Any], result: str) -> None:
    assert results(migration_gates(lint(aaaa=[QUIET, finding]), plan=plan("aaaa"))) == [("migration aaaa", result)]


def test_only_what_this_run_applies_counts() -> None:
    judged = lint(aaaa=[QUIET], bbbb=[STOPS])
    assert results(migration_gates(judged, plan=plan("aaaa"))) == [("migrations on live tables", "ok")]
    assert results(migration_gates(judged, plan=plan("bbbb", what="contract"))) == [("migration bbbb", "FAIL")]
    surroundings = [{**STOPS, "name": "disk"}]
    assert migration_gates(lint(surroundings, "no squawk", bbbb=[STOPS]), plan=plan()) == []


def test_the_database_as_a_whole_is_a_gate_too() -> None:
    judged = lint([{**STOPS, "name": "disk"}, {**DOUBTS, "name": "slot"}], aaaa=[])
    assert results(migration_gates(judged, plan=plan("aaaa")))[1:] == [
        ("database now: disk", "FAIL"),
        ("database now: slot", "warn"),
    ]
    assert results(migration_gates(judged, plan=plan("aaaa"), consent="disk"))[1] == ("database now: disk", "warn")


def test_without_squawk_it_is_said() -> None:
    row = migration_gates(lint(squawk="squawk is not installed (Linux riscv64)", aaaa=[]), plan=plan("aaaa"))[-1]
    assert (row["gate"], row["result"]) == ("squawk", "warn")
    assert "riscv64" in row["found"]


def test_many_findings_are_counted() -> None:
    many = [{**STOPS, "found": f"finding {number}"} for number in range(5)]
    assert migration_gates(lint(aaaa=many), plan=plan("aaaa"))[0]["found"] == "finding 0; finding 1; and 3 more"
