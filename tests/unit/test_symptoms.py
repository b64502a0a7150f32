"""Each symptom from what the modules return, and what only follows from another one."""

from __future__ import annotations

from typing import Any

import pytest

from ansible.module_utils.floyo.health.fleet import fleet_severity, health_rows
from ansible.module_utils.floyo.process.fleet import process_rows
from ansible.module_utils.floyo.symptoms import EXPLAINS, doubts, symptoms

HOSTS = ("b1", "b2")


def check(name: str, level: str = "healthy", **more: Any) -> dict[str, Any]:
    return {"name": name, "level": level, "reason": "OK", "status": 200, "latency_ms": 1.0, "message": "", "next_step": "",
            "components": [], **more}  # fmt: skip


def health(*checks: dict[str, Any], verdict: str = "healthy") -> dict[str, Any]:
    bad = {one["name"]: "dependency" for one in checks if one["level"] != "healthy"}
    severity = "P1" if bad else "none"
    return {"verdict": "unhealthy" if bad else verdict, "severity": severity, "causes": bad, "checks": list(checks)}


def pattern(count: int, text: str) -> dict[str, Any]:
    return {"pattern": text, "count": count, "sample": text, "first": None, "last": None}


def logs(*patterns: dict[str, Any]) -> dict[str, Any]:
    return {"matched": 0, "patterns": list(patterns), "pattern_count": sum(one["count"] for one in patterns),
            "memory": {"count": 0, "lines": []}, "slow": {"requests": []}}  # fmt: skip


def slo(*, used: int = 1, hits: int = 900, misses: int = 10, kind: str = "redis") -> dict[str, Any]:
    window = {"label": "now", "seconds": 2, "hits": hits, "misses": misses}
    return {
        "measures": {
            "pool": {"looks": [{"used": used, "capacity": 15}] * 3},
            "cache": {"type": kind, "windows": [window]},
        },
        "problems": [],
    }


def process(*bad: str, active: str = "active") -> dict[str, Any]:
    findings = [{"check": one, "verdict": "fail", "message": "grows", "sample": "60 samples"} for one in bad]
    return {"verdict": "pass", "unit": "floyo-backend.service", "active": active, "result": "success", "findings": findings,
            "leak": {"verdict": "stable", "reason": "does not grow"}, "events": {}, "memory": 1 << 20, "memory_limit": None,
            "cpu_percent": None, "since": ""}  # fmt: skip


def proxy(errors: int, requests: int = 1000) -> dict[str, Any]:
    window = {"label": "now", "seconds": 2, "requests": requests, "client_errors": 0, "server_errors": errors}
    return {"measures": {"proxy": {"windows": [window, {**window, "label": "since it started"}]}}}


def facts(**changed: Any) -> dict[str, Any]:
    good = health(check("health"), check("readiness"), check("detailed"))
    whole: dict[str, Any] = {
        "health": dict.fromkeys(HOSTS, good),
        "slo": dict.fromkeys(HOSTS, slo()),
        "process": dict.fromkeys(HOSTS, process()),
        "logs": dict.fromkeys(HOSTS, logs()),
        "proxies": {"p1": proxy(0)},
        "database": {"connected": True, "findings": []},
        "cache": {"server": "redis"},
        "database_host": "db1",
        "cache_host": "db1",
    }
    return {**whole, **changed}


def named(**changed: Any) -> dict[str, str]:
    return {row["symptom"]: row["is"] for row in symptoms(facts(**changed))}


UNREADY = health(
    check("health"),
    check("readiness", "unhealthy", message="answers 503: Service not ready"),
    check(
        "detailed", "unhealthy", components=[{"name": "database", "level": "unhealthy", "word": "error", "message": ""}]
    ),
)
GONE = {"msg": "cannot connect: refused", "code": "DATABASE_UNREACHABLE"}
BLOCKED = {
    "connected": True,
    "findings": [
        {
            "check": "blocking",
            "verdict": "fail",
            "message": "pid 7 keeps waiting 9 sessions",
            "object": "a.7",
            "next_step": "kill",
        }
    ],
}


def test_a_healthy_fleet_is_silent() -> None:
    assert symptoms(facts()) == []
    assert doubts(facts()) == []
    assert symptoms(facts(database=None, cache=None, proxies={})) == []


@pytest.mark.parametrize(
    ("changed", "expected", "action"),
    [
        ({"process": {"b1": process(active="failed"), "b2": process()}}, "service down", ""),
        ({"database": GONE, "health": dict.fromkeys(HOSTS, UNREADY)}, "database gone", ""),
        ({"cache": {"msg": "refused", "reason": "REFUSED"}}, "Redis gone", "start redis"),
        ({"cache": {"msg": "no password", "reason": "NOAUTH"}}, "Redis gone", ""),
        ({"database": BLOCKED}, "blocked", "end blockers"),
        ({"slo": {"b1": slo(used=15), "b2": slo()}}, "pool", "restart"),
        ({"logs": {"b1": logs(pattern(12, "x: QueuePool limit of size 5")), "b2": logs()}}, "pool", "restart"),
        ({"process": {"b1": process("memory leak"), "b2": process()}}, "memory", "restart"),
        ({"slo": dict.fromkeys(HOSTS, slo(hits=10, misses=900))}, "cache", ""),
        ({"slo": dict.fromkeys(HOSTS, slo(kind="memory"))}, "cache", ""),
        ({"proxies": {"p1": proxy(50)}}, "errors", ""),
        ({"logs": {"b1": logs(pattern(30, "floyo.pricing: reset")), "b2": logs()}}, "errors", ""),
    ],
)  # fmt: skip
def test_each_symptom_is_named(changed: dict[str, Any], expected: str, action: str) -> None:
    rows = symptoms(facts(**changed))
    assert rows[0]["symptom"] == expected
    assert (rows[0]["is"], rows[0]["action"]) == ("cause", action)
    assert rows[0]["evidence"]
    assert rows[0]["next"]
    assert {row["is"] for row in rows[1:]} <= {f"follows from: {expected}"}


def test_consequences_are_told_from_causes_and_nothing_is_done_about_them() -> None:
    busy = {"slo": dict.fromkeys(HOSTS, slo(used=15)), "proxies": {"p1": proxy(100)}}
    assert named(**busy) == {"pool": "cause", "errors": "follows from: pool"}
    assert named(**busy, database=BLOCKED) == {
        "blocked": "cause", "pool": "follows from: blocked", "errors": "follows from: blocked",
    }  # fmt: skip
    rows = symptoms(facts(**busy, database=GONE, health=dict.fromkeys(HOSTS, UNREADY)))
    assert [row["symptom"] for row in rows] == ["database gone", "pool", "errors"]
    assert [row["action"] for row in rows] == ["", "", ""]


def test_every_consequence_is_a_symptom() -> None:
    assert {one for many in EXPLAINS.values() for one in many} <= set(EXPLAINS)


def test_what_is_missing_on_our_side_is_no_symptom() -> None:
    ours = {
        "database": {"msg": "no psycopg", "code": "DRIVER_MISSING"},
        "cache": {"msg": "no redis-py", "reason": "DRIVER"},
    }
    assert named(**ours) == {}
    assert doubts(facts(**ours)) == ["database: no psycopg", "cache: no redis-py"]
    blind = {
        "check": "rights",
        "verdict": "inconclusive",
        "message": "states are hidden",
        "object": "",
        "next_step": "grant",
    }
    said = doubts(facts(database={"connected": True, "findings": [blind]}))
    assert said == ["database: states are hidden (Next: grant)"]
    exhausted = {"check": "connections", "verdict": "fail", "message": "nobody gets in", "object": "", "next_step": ""}
    assert named(database={"connected": False, "findings": [exhausted]}) == {"pool": "cause"}


def test_too_little_is_no_symptom() -> None:
    assert named(slo=dict.fromkeys(HOSTS, slo(hits=0, misses=20))) == {}
    assert named(proxies={"p1": proxy(2)}) == {}
    assert named(logs={"b1": logs(pattern(5, "x")), "b2": logs()}) == {}


def test_what_could_not_be_seen_is_said() -> None:
    trouble = {"measure": "pool", "code": "FORBIDDEN", "message": "answers 403", "next_step": ""}
    leak = {**process(), "leak": {"verdict": "inconclusive", "reason": "too few"}}
    said = doubts(
        facts(
            slo={"b1": {"measures": {}, "problems": [trouble]}, "b2": {"unreachable": True}},
            proxies={"p1": {"msg": "a defect in wilson"}, "p2": {"measures": {}, "problems": [trouble]}},
            process={"b1": leak, "b2": {"msg": "no unit"}},
        )
    )
    assert said == [
        "figures of b2: unreachable", "figures of p1: a defect in wilson", "process of b2: no unit",
        "pool: FORBIDDEN: answers 403 (b1, p2)", "memory leak: too few (b1)",
    ]  # fmt: skip


# --- one table of all hosts ------------------------------------------------------------------------------------------


def test_rows_of_endpoints() -> None:
    rows = health_rows({"b1": UNREADY, "b2": {"unreachable": True}})
    assert [(row["host"], row["check"], row["verdict"], row["severity"]) for row in rows] == [
        ("b1", "health", "healthy", "-"), ("b1", "readiness", "unhealthy", "P1"), ("b1", "detailed", "unhealthy", "P1"),
        ("b2", "-", "unknown", "P1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("backends", "fronts", "expected"),
    [
        (["healthy", "healthy"], ["healthy"], "none"),
        (["unhealthy", "healthy"], ["healthy"], "P1"),
        (["unhealthy", "unknown"], ["healthy"], "P0"),
        (["healthy", "healthy"], ["unhealthy"], "P0"),
        (["degraded", "healthy"], [], "P2"),
        ([], [], "none"),
    ],
)
def test_the_severity_of_a_fleet(backends: list[str], fronts: list[str], expected: str) -> None:
    def result(verdict: str) -> dict[str, Any]:
        return {"verdict": verdict, "severity": {"healthy": "none", "degraded": "P2"}.get(verdict, "P1")}

    assert fleet_severity(map(result, backends), map(result, fronts)) == expected


def test_rows_of_processes() -> None:
    rows = process_rows({"b1": process(), "b2": {"msg": "systemd knows no unit"}})
    assert rows[0]["memory"] == 1
    assert rows[1]["active"] == "systemd knows no unit"
