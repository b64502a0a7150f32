"""Judges health answers: the body and not only the status (pure, standard library only).

Levels, from best to worst: ``healthy``, ``degraded``, ``unhealthy``. An endpoint is as well as the worst of what its
body says: a body whose ``status`` is "healthy" while its database is in "error" is not believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ..text import shorten

__all__ = [
    "DEFAULT_SEVERITIES",
    "DEFAULT_WORDS",
    "LEVELS",
    "Check",
    "Component",
    "Endpoint",
    "Verdict",
    "judge_body",
    "judge_expectation",
    "overall",
    "worst",
]

LEVELS = ("healthy", "degraded", "unhealthy")

DEFAULT_WORDS: dict[str, tuple[str, ...]] = {
    "healthy": (
        "alive", "available", "closed", "connected", "disabled", "healthy", "not_configured", "ok", "operational",
        "pass", "ready", "running", "success", "true", "up", "up_to_date",
    ),
    "degraded": ("degraded", "half_open", "pending", "starting", "unknown", "warn", "warning"),
    "unhealthy": (
        "critical", "dead", "disconnected", "down", "error", "fail", "failed", "failing", "false", "not_ready", "open",
        "stopping", "unavailable", "unhealthy",
    ),
}  # fmt: skip

DEFAULT_SEVERITIES: dict[str, str] = {
    "down": "P0",
    "dependency": "P1",
    "release": "P1",
    "frontend": "P1",
    "degraded": "P2",
    "optional": "P3",
}

# Inside ``checks`` these say something about the checks beside them and are none themselves.
_REMARKS = frozenset({"detail", "details", "duration", "duration_ms", "message", "msg", "reason", "time", "timestamp"})
# Where a check that is an object keeps its word, in this order.
_STATUS_KEYS = ("status", "state", "healthy", "ok")


@dataclass(frozen=True)
class Endpoint:
    """One address. ``optional``: an older release may not offer it. ``backend``: the application itself serves it."""

    name: str
    url: str
    optional: bool = False
    backend: bool = True


@dataclass(frozen=True)
class Component:
    """One entry of ``checks`` in a body."""

    name: str
    level: str
    word: str
    message: str = ""


@dataclass(frozen=True)
class Check:
    """What one endpoint said. ``answered``: the application itself did, as opposed to a proxy or nobody."""

    endpoint: Endpoint
    level: str
    reason: str
    message: str = ""
    status: Optional[int] = None
    latency_ms: float = 0.0
    answered: bool = False
    components: tuple[Component, ...] = ()
    next_step: str = ""
    body: Optional[Mapping[str, Any]] = field(default=None, repr=False)


@dataclass(frozen=True)
class Verdict:
    """The one result of all checks."""

    level: str
    severity: str
    causes: tuple[tuple[str, str], ...]
    summary: str


def worst(levels: Iterable[str]) -> str:
    """The worst of ``levels``; no levels are healthy."""
    return LEVELS[max((LEVELS.index(level) for level in levels), default=0)]


def judge_body(
    body: Mapping[str, Any],
    *,
    words: Mapping[str, Iterable[str]] = DEFAULT_WORDS,
    status_field: str = "status",
    checks_field: str = "checks",
) -> tuple[str, str, str, tuple[Component, ...]]:
    """(level, reason, message, components) of a body."""
    checks = body.get(checks_field)
    components = _components(checks, words)
    level = worst(component.level for component in components)
    word = _word(body[status_field]) if status_field in body else ""
    if not word and not components:
        return "unhealthy", "NO_STATUS", f"has neither {status_field} nor {checks_field} in its body", ()
    said = _level(word, words) if word else level
    if said is None:
        strange = f'says {status_field} "{word}", a word without a known meaning'
        return worst([level, "degraded"]), "UNKNOWN_STATUS", strange, components
    level = worst([level, said])
    if level == "healthy":
        return level, "OK", "", components
    remark = _remark(body) or (_remark(checks) if isinstance(checks, Mapping) else "")
    return level, level.upper(), _complaint(f'says {status_field} "{word}"', components, remark), components


def judge_expectation(body: Mapping[str, Any], expect: Mapping[str, Iterable[Any]]) -> list[str]:
    """Sentences about the fields that hold something else than expected. A field may be a path: ``release.version``."""
    complaints = []
    for path, wanted in sorted(expect.items()):
        accepted = [str(value) for value in wanted]
        found: Any = body
        for key in path.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        if found is None:
            complaints.append(f"has no field {path}, expected {' or '.join(accepted)}")
        elif str(found) not in accepted:
            complaints.append(f"reports {path} {shorten(found, 60)}, expected {' or '.join(accepted)}")
    return complaints


def overall(checks: Iterable[Check], severities: Mapping[str, str] = DEFAULT_SEVERITIES) -> Verdict:
    """The verdict over ``checks``; docs of module floyo_health explain the causes.

    The service is down when its own health endpoint fails, or, when that was not asked, when the application answered
    nowhere. A failing optional endpoint degrades and no more.
    """
    checks = tuple(checks)
    backend = [check for check in checks if check.endpoint.backend]
    health = [check for check in backend if check.endpoint.name == "health"]
    down = any(check.level == "unhealthy" and check.reason != "WRONG_RELEASE" for check in health)
    down = down or (bool(backend) and not any(check.answered for check in backend))
    causes = tuple((check, _cause(check, down=down)) for check in checks if check.level != "healthy")
    level = worst("degraded" if cause == "optional" else check.level for check, cause in causes)
    severity = min((severities[cause] for _check, cause in causes), default="none")
    return Verdict(
        level,
        severity,
        tuple((check.endpoint.name, cause) for check, cause in causes),
        _summary(checks, level, severity),
    )


def _cause(check: Check, *, down: bool) -> str:
    """The key of ``severities`` for a check that is not healthy."""
    if down and check.endpoint.backend and check.level == "unhealthy":
        return "down"
    if check.endpoint.optional:
        return "optional"
    if check.level == "degraded":
        return "degraded"
    if not check.endpoint.backend:
        return "frontend"
    return "release" if check.reason == "WRONG_RELEASE" else "dependency"


def _summary(checks: tuple[Check, ...], level: str, severity: str) -> str:
    offered = [check for check in checks if check.reason != "NOT_OFFERED"]
    good = sum(check.level == "healthy" for check in offered)
    head = f"{level}: {good} of {len(offered)} checks are healthy"
    bad = [f"{check.endpoint.name} {check.reason}: {check.message}" for check in checks if check.level != "healthy"]
    return f"{head} ({severity}); {'; '.join(bad)}" if bad else head


def _components(checks: Any, words: Mapping[str, Iterable[str]]) -> tuple[Component, ...]:
    """The entries of ``checks`` that say how something is: no numbers, no remarks, no objects without a status."""
    if isinstance(checks, list):
        objects = [item for item in checks if _is_object(item)]
        named = [(str(item.get("name", f"#{number}")), item) for number, item in enumerate(objects, 1)]
    else:
        named = list(checks.items()) if _is_object(checks) else []
    found = []
    for name, value in named:
        if _is_object(value):
            word = next((_word(value[key]) for key in _STATUS_KEYS if key in value), "")
            message = _remark(value)
        else:
            word, message = ("" if name in _REMARKS else _word(value)), ""
        if word:
            found.append(Component(shorten(name, 60), _level(word, words) or "degraded", word, message))
    return tuple(found)


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


def _remark(value: Mapping[str, Any]) -> str:
    texts = (value.get(key) for key in ("message", "error", "detail", "reason"))
    return next((shorten(text) for text in texts if isinstance(text, str) and text), "")


def _word(value: Any) -> str:
    """A status as one lower-case word: "Not Ready" and true too. Numbers and objects are none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "unknown"
    return shorten(value, 40).lower().replace(" ", "_").replace("-", "_") if isinstance(value, str) else ""


def _level(word: str, words: Mapping[str, Iterable[str]]) -> str | None:
    # From the worst: a word that stands in two lists counts for the worse one.
    return next((level for level in reversed(LEVELS) if word in tuple(words.get(level, ()))), None)


def _complaint(otherwise: str, components: tuple[Component, ...], remark: str) -> str:
    """What is wrong, the worst first."""
    bad = sorted((item for item in components if item.level != "healthy"), key=lambda item: -LEVELS.index(item.level))
    said = [f"{item.name} is {item.word}" + (f" ({item.message})" if item.message else "") for item in bad]
    return ", ".join(said or [otherwise]) + (f" ({remark})" if remark else "")
