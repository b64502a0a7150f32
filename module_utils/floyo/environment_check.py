"""From the parameters of module floyo_env to its result."""

from __future__ import annotations

import dataclasses
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .environment_file import compare, example_names, parse_environment_file
from .errors import FloyoError, Unusable

__all__ = ["ARGUMENT_SPEC", "check_environment"]

# What a finding means for people, in the order of its weight.
_FINDINGS = {
    "missing": "missing",
    "empty": "empty",
    "weak": "too weak or still a placeholder",
    "exposed": "readable by every account",
    "ignored": "not read as written",
    "unset": "in the example and not set",
    "unknown": "set and not in the example",
}

ARGUMENT_SPEC: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "required": {"type": "list", "elements": "str", "default": []},
    "names": {"type": "list", "elements": "str", "default": []},
    "example": {"type": "path", "default": ""},
    "optional": {"type": "list", "elements": "str", "default": []},
    "secrets": {"type": "list", "elements": "str", "default": ["SECRET_KEY"]},
    "fail_on": {
        "type": "list",
        "elements": "str",
        "choices": list(_FINDINGS),
        "default": ["missing", "empty", "weak", "exposed"],
    },
}


def check_environment(params: Mapping[str, Any]) -> dict[str, Any]:
    """Compare, and return the module's result; a FloyoError when a finding is in ``fail_on``."""
    path = params["path"]
    parsed = parse_environment_file(_read(path, "ENVIRONMENT_UNREADABLE"))
    example = _read(params["example"], "EXAMPLE_UNREADABLE") if params["example"] else ""
    placeholders, commented = example_names(example)
    comparison = compare(
        parsed.values,
        required=params["required"],
        known=[*params["names"], *placeholders],
        optional=[*params["optional"], *commented],
        secrets=params["secrets"],
        placeholders=placeholders,
    )
    mode = stat.S_IMODE(Path(path).stat().st_mode)
    result: dict[str, Any] = {
        "changed": False,
        **dataclasses.asdict(comparison),
        "ignored": list(parsed.problems),
        "exposed": [f"{path} has mode {mode:04o}"] if mode & 0o007 else [],
    }
    found = {kind: result[kind] for kind in _FINDINGS if result[kind]}
    result["summary"] = _summary(found) or f"{path}: {len(comparison.present)} variables, nothing is wrong"
    failing = {kind: names for kind, names in found.items() if kind in params["fail_on"]}
    result["ok"] = not failing
    if failing:
        raise FloyoError(
            f"{path}: {_summary(failing)}",
            code="ENVIRONMENT_INCOMPLETE",
            expected="every required variable set, every secret long and random, the file closed to other accounts",
            next_step="set floyo_env or, for what is secret, floyo_env_secrets in the inventory and provision again",
            **result,
        )
    return result


def _summary(found: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{_FINDINGS[kind]}: {', '.join(names)}" for kind, names in found.items())


def _read(path: str, code: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise Unusable(
            f"{path} cannot be read: {error.strerror}",
            code=code,
            expected="a file that this account may read",
            next_step="provision the host, or correct the path; run the task with become",
        ) from error
    except UnicodeDecodeError as error:
        # Without its cause, which carries the file's content.
        raise Unusable(
            f"{path} is not UTF-8 text (byte {error.start})", code=code, expected="UTF-8: systemd refuses anything else"
        ) from None
