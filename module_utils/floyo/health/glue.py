"""From the parameters of module floyo_health to its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import FloyoError, Unusable
from ..http import Client, safe_url
from .judge import DEFAULT_SEVERITIES, DEFAULT_WORDS, LEVELS, Check, Endpoint, Verdict
from .probe import Probe, ask_until

__all__ = ["ARGUMENT_SPEC", "check_health"]

_PATHS = {
    "health": "/health",
    "readiness": "/health/readiness",
    "detailed": "/health/detailed",
    "liveness": "/health/liveness",
    "migrations": "/health/migrations",
}
_NAMES = [*_PATHS, "frontend"]
_SEVERITIES = ["P0", "P1", "P2", "P3"]

ARGUMENT_SPEC: dict[str, Any] = {
    "base_url": {"type": "str", "default": "http://127.0.0.1:8000"},
    "checks": {"type": "list", "elements": "str", "choices": _NAMES},
    "paths": {
        "type": "dict",
        "options": {name: {"type": "str", "default": path} for name, path in _PATHS.items()},
        "apply_defaults": True,
    },
    "frontend_url": {"type": "str", "default": ""},
    "optional": {"type": "list", "elements": "str", "choices": _NAMES, "default": ["liveness", "migrations"]},
    "expect": {"type": "dict", "default": {}},
    "timeout": {"type": "float", "default": 5.0},
    "wait": {"type": "bool", "default": False},
    "deadline": {"type": "float", "default": 60.0},
    "fail_on": {"type": "str", "choices": ["unhealthy", "degraded", "never"], "default": "unhealthy"},
    "max_bytes": {"type": "int", "default": 1048576},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path", "default": ""},
    "token": {"type": "str", "no_log": True, "default": ""},
    "headers": {"type": "dict", "default": {}},
    "status_field": {"type": "str", "default": "status"},
    "checks_field": {"type": "str", "default": "checks"},
    "status_words": {
        "type": "dict",
        "options": {level: {"type": "list", "elements": "str", "default": []} for level in LEVELS},
        "apply_defaults": True,
    },
    "severities": {
        "type": "dict",
        "options": {
            cause: {"type": "str", "choices": _SEVERITIES, "default": severity}
            for cause, severity in DEFAULT_SEVERITIES.items()
        },
        "apply_defaults": True,
    },
    "return_bodies": {"type": "bool", "default": False},
}


def check_health(params: Mapping[str, Any]) -> dict[str, Any]:
    """Ask, judge, and return the module's result; a FloyoError when ``fail_on`` says so."""
    probe = Probe(
        client=Client(
            timeout=params["timeout"],
            max_bytes=params["max_bytes"],
            validate_certs=params["validate_certs"],
            ca_path=params["ca_path"] or "",
            token=params["token"],
            headers=params["headers"],
        ),
        endpoints=_endpoints(params),
        expect={key: value if isinstance(value, list) else [value] for key, value in params["expect"].items()},
        words=_words(params["status_words"]),
        severities=params["severities"],
        status_field=params["status_field"],
        checks_field=params["checks_field"],
    )
    # Without a wait one round is all: its end is the timeout of its requests.
    latest, rounds, seconds = ask_until(
        probe,
        lambda verdict: not params["wait"] or _is_enough(verdict, params["fail_on"]),
        deadline=params["deadline"] if params["wait"] else params["timeout"],
    )
    result = {
        "changed": False,
        "verdict": latest.verdict.level,
        "severity": latest.verdict.severity,
        "summary": latest.verdict.summary,
        "causes": dict(latest.verdict.causes),
        "checks": [_as_result(check, bodies=params["return_bodies"]) for check in latest.checks],
        "rounds": rounds,
        "seconds": seconds,
    }
    if params["fail_on"] != "never" and not _is_enough(latest.verdict, params["fail_on"]):
        raise _failure(result, latest.checks, latest.verdict, waited=params["wait"])
    return result


def _is_enough(verdict: Verdict, fail_on: str) -> bool:
    """Whether ``verdict`` would not fail the task; with ``never``, whether there is nothing left to wait for."""
    return LEVELS.index(verdict.level) <= (1 if fail_on == "unhealthy" else 0)


def _words(extra: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The known words, those of the caller moved to the level the caller gives them."""
    moved = {word.lower() for words in extra.values() for word in words}
    return {
        level: [word for word in known if word not in moved] + [word.lower() for word in extra[level]]
        for level, known in DEFAULT_WORDS.items()
    }


def _endpoints(params: Mapping[str, Any]) -> tuple[Endpoint, ...]:
    urls = {
        name: path if "://" in path else f"{params['base_url'].rstrip('/')}/{path.lstrip('/')}"
        for name, path in params["paths"].items()
        if path
    }
    if params["frontend_url"]:
        urls["frontend"] = params["frontend_url"]
    asked = list(dict.fromkeys(params["checks"] if params["checks"] is not None else urls))
    without = [name for name in asked if name not in urls]
    if without or not asked:
        raise Unusable(
            f"no address for the check {', '.join(without)}" if without else "there is nothing to check",
            code="NO_ADDRESS",
            expected="frontend_url for the frontend, a path under paths for the others",
            next_step="set the address, or leave the check out of checks",
        )
    if params["expect"] and "health" not in asked:
        raise Unusable(
            "expect is compared with the body of the check health, which is not asked",
            code="EXPECT_WITHOUT_HEALTH",
            next_step="add health to checks",
        )
    return tuple(
        Endpoint(name, urls[name], optional=name in params["optional"], backend=name != "frontend") for name in asked
    )


def _as_result(check: Check, *, bodies: bool) -> dict[str, Any]:
    result = {
        "name": check.endpoint.name,
        "url": safe_url(check.endpoint.url),
        "ok": check.level != "unhealthy",
        "level": check.level,
        "status": check.status,
        "latency_ms": check.latency_ms,
        "reason": check.reason,
        "message": check.message,
        "next_step": check.next_step,
        "components": [vars(component) for component in check.components],
    }
    if bodies:
        result["body"] = check.body
    return result


def _failure(result: dict[str, Any], checks: tuple[Check, ...], verdict: Verdict, *, waited: bool) -> FloyoError:
    causes = dict(verdict.causes)
    # max takes the first of the worst, and the order of checks goes from the process outwards.
    first = max((check for check in checks if check.endpoint.name in causes), key=lambda item: LEVELS.index(item.level))
    seconds = f" after {result['seconds']:g} s and {result['rounds']} rounds" if waited else ""
    return FloyoError(
        f"{safe_url(first.endpoint.url)}: {verdict.summary}{seconds}",
        code=f"HEALTH_{verdict.level.upper()}",
        expected="every check healthy, or adjust fail_on",
        next_step=first.next_step or "run the module with fail_on: never and read checks",
        **result,
    )
