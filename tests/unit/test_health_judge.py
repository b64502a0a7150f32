"""What a body means, and what all checks together mean."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible.module_utils.floyo.health import judge

HEALTH = judge.Endpoint("health", "http://h/health")
READINESS = judge.Endpoint("readiness", "http://h/health/readiness")
DETAILED = judge.Endpoint("detailed", "http://h/health/detailed")
LIVENESS = judge.Endpoint("liveness", "http://h/health/liveness", optional=True)
FRONTEND = judge.Endpoint("frontend", "http://f/api/health", backend=False)


def _check(endpoint: judge.Endpoint, level: str = "healthy", reason: str = "", *, answered: bool = True) -> judge.Check:
    return judge.Check(endpoint, level, reason or ("OK" if level == "healthy" else level.upper()), answered=answered)


@pytest.mark.parametrize(
    ("body", "level", "reason"),
    [
        ({"status": "healthy", "timestamp": "2025-01-15T10:30:00Z"}, "healthy", "OK"),
        ({"status": "ok"}, "healthy", "OK"),
        ({"status": "ready", "checks": {"database": "ok", "redis": "not_configured"}}, "healthy", "OK"),
        ({"status": "alive"}, "healthy", "OK"),
        ({"status": "Not Ready"}, "unhealthy", "UNHEALTHY"),
        ({"status": "up_to_date", "pending_migrations": 0}, "healthy", "OK"),
        ({"status": "pending", "pending_migrations": 2}, "degraded", "DEGRADED"),
        ({"status": True}, "healthy", "OK"),
        ({"status": False}, "unhealthy", "UNHEALTHY"),
        ({"status": None}, "degraded", "DEGRADED"),
        ({"status": "unknown"}, "degraded", "DEGRADED"),
        ({"status": "ready", "checks": {"database": "ok", "redis": "warning"}}, "degraded", "DEGRADED"),
        ({"status": "error", "checks": {"database": {"status": "error"}}}, "unhealthy", "UNHEALTHY"),
        # the body is not believed where it contradicts itself
        ({"status": "healthy", "checks": {"database": "error"}}, "unhealthy", "UNHEALTHY"),
        ({"status": "ok", "checks": {"database": {"status": "error", "message": "gone"}}}, "unhealthy", "UNHEALTHY"),
        ({"status": "ok", "checks": [{"name": "database", "status": "error"}]}, "unhealthy", "UNHEALTHY"),
        ({"status": "ok", "checks": {"circuit_breaker": {"state": "open"}}}, "unhealthy", "UNHEALTHY"),
        ({"status": "ok", "checks": {"circuit_breaker": {"state": "half_open"}}}, "degraded", "DEGRADED"),
        ({"status": "ok", "checks": {"database": None}}, "degraded", "DEGRADED"),
        ({"checks": {"database": "ok"}}, "healthy", "OK"),
        ({"status": "splendid"}, "degraded", "UNKNOWN_STATUS"),
        ({"status": "splendid", "checks": {"database": "error"}}, "unhealthy", "UNKNOWN_STATUS"),
        ({}, "unhealthy", "NO_STATUS"),
        ({"status": 200}, "unhealthy", "NO_STATUS"),
        ({"status": {}, "checks": {"uptime": 12}}, "unhealthy", "NO_STATUS"),
        ({"detail": "Service not ready"}, "unhealthy", "NO_STATUS"),
    ],
)
def test_body(body: dict[str, Any], level: str, reason: str) -> None:
    assert judge.judge_body(body)[:2] == (level, reason)


def test_message_beside_string_checks_is_a_remark() -> None:
    body = {"status": "unhealthy", "checks": {"database": "error", "message": "Connection timeout"}}
    level, _reason, message, components = judge.judge_body(body)
    assert level == "unhealthy"
    assert message == "database is error (Connection timeout)"
    assert [component.name for component in components] == ["database"]


def test_the_worst_dependency_is_named_first() -> None:
    checks = {"redis": "warning", "database": {"status": "error", "error": "refused"}, "cache": {"status": "ok"}}
    assert judge.judge_body({"checks": checks})[2] == "database is error (refused), redis is warning"


def test_fields_and_words_are_the_applications() -> None:
    body = {"state": "splendid", "parts": {"db": "meh"}}
    words = {**judge.DEFAULT_WORDS, "healthy": ("splendid",), "unhealthy": ("meh",)}
    assert judge.judge_body(body, words=words, status_field="state", checks_field="parts")[:2] == (
        "unhealthy",
        "UNHEALTHY",
    )


def test_text_of_the_body_cannot_drive_the_terminal() -> None:
    body = {
        "status": "error",
        "checks": {"data\x1b[31mbase\n": {"status": "error", "message": "a\r\nb\x07" + "x" * 5000}},
    }
    message = judge.judge_body(body)[2]
    assert message.isprintable()
    assert len(message) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=15,
)


# The first draw builds tables, which a busy machine takes for a slow strategy.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=st.fixed_dictionaries({}, optional={"status": JSON, "checks": JSON, "detail": JSON}))
def test_any_json_object_gets_a_level_and_a_printable_reason(body: dict[str, Any]) -> None:
    level, reason, message, components = judge.judge_body(body)
    assert level in judge.LEVELS
    assert (level == "healthy") == (reason == "OK") == (message == "")
    assert message == "" or message.isprintable()
    assert judge.LEVELS.index(level) >= max((judge.LEVELS.index(item.level) for item in components), default=0)


@pytest.mark.parametrize(
    ("expect", "complaint"),
    [
        ({"version": ["v1.1.0"]}, None),
        ({"version": ["v1.0.0", "v1.1.0"]}, None),
        ({"build.number": [7]}, None),
        ({"version": ["v1.0.0"]}, "reports version v1.1.0, expected v1.0.0"),
        ({"release": ["r1", "r2"]}, "has no field release, expected r1 or r2"),
        ({"version.major": [1]}, "has no field version.major, expected 1"),
    ],
)
def test_expectation(expect: dict[str, list[Any]], complaint: str | None) -> None:
    body = {"status": "healthy", "version": "v1.1.0", "build": {"number": 7}}
    assert judge.judge_expectation(body, expect) == ([complaint] if complaint else [])


@pytest.mark.parametrize(
    ("checks", "level", "severity", "causes"),
    [
        ([_check(HEALTH), _check(READINESS), _check(FRONTEND)], "healthy", "none", {}),
        (
            [_check(HEALTH, "unhealthy", "REFUSED", answered=False), _check(READINESS, "unhealthy", answered=False)],
            "unhealthy",
            "P0",
            {"health": "down", "readiness": "down"},
        ),
        ([_check(HEALTH), _check(READINESS, "unhealthy")], "unhealthy", "P1", {"readiness": "dependency"}),
        (
            [_check(HEALTH), _check(DETAILED, "unhealthy", "TIMEOUT", answered=False)],
            "unhealthy",
            "P1",
            {"detailed": "dependency"},
        ),
        ([_check(READINESS, "unhealthy", "REFUSED", answered=False)], "unhealthy", "P0", {"readiness": "down"}),
        ([_check(READINESS, "unhealthy")], "unhealthy", "P1", {"readiness": "dependency"}),
        ([_check(LIVENESS, "unhealthy", "REFUSED", answered=False)], "unhealthy", "P0", {"liveness": "down"}),
        ([_check(HEALTH), _check(LIVENESS, "unhealthy")], "degraded", "P3", {"liveness": "optional"}),
        ([_check(HEALTH, "unhealthy", "WRONG_RELEASE"), _check(READINESS)], "unhealthy", "P1", {"health": "release"}),
        ([_check(HEALTH), _check(DETAILED, "degraded")], "degraded", "P2", {"detailed": "degraded"}),
        ([_check(HEALTH), _check(FRONTEND, "unhealthy", answered=False)], "unhealthy", "P1", {"frontend": "frontend"}),
        (
            [_check(HEALTH), _check(DETAILED, "degraded"), _check(READINESS, "unhealthy")],
            "unhealthy",
            "P1",
            {"detailed": "degraded", "readiness": "dependency"},
        ),
    ],
)
def test_verdict(checks: list[judge.Check], level: str, severity: str, causes: dict[str, str]) -> None:
    verdict = judge.overall(checks)
    assert (verdict.level, verdict.severity, dict(verdict.causes)) == (level, severity, causes)


def test_severities_are_a_setting() -> None:
    severities = {**judge.DEFAULT_SEVERITIES, "degraded": "P3"}
    assert judge.overall([_check(HEALTH), _check(DETAILED, "degraded")], severities).severity == "P3"


def test_summary_counts_what_is_offered() -> None:
    absent = dataclasses.replace(_check(LIVENESS), reason="NOT_OFFERED", answered=False)
    assert judge.overall([_check(HEALTH), absent]).summary == "healthy: 1 of 1 checks are healthy"
    bad = dataclasses.replace(_check(READINESS, "unhealthy"), message="answers 503: Service not ready")
    assert judge.overall([_check(HEALTH), bad]).summary == (
        "unhealthy: 1 of 2 checks are healthy (P1); readiness UNHEALTHY: answers 503: Service not ready"
    )
