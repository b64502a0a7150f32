"""The service's environment: what may be in it and how it is written to a file (pure, standard library only)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import Unusable

__all__ = ["environment_problems", "environment_text", "environment_values", "is_weak", "quote_value"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PLACEHOLDER = re.compile(r"change.?me|your.?secret|placeholder|example|insecure|password|default", re.IGNORECASE)
_WEAK_LENGTH = 32
_WEAK_DISTINCT = 10


def environment_values(environment: Mapping[str, Any]) -> dict[str, str]:
    """``environment`` with every value as text: YAML's true is ``true``, null is empty."""
    return {str(name): _as_text(value) for name, value in environment.items()}


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def environment_problems(environment: Mapping[str, Any], required: Iterable[str], *, production: bool) -> list[str]:
    """Sentences about what is wrong with ``environment``, naming variables and never a value."""
    values = environment_values(environment)
    problems = [f"{name} is {'empty' if name in values else 'missing'}" for name in required if not values.get(name)]
    for name, raw in sorted(environment.items(), key=lambda item: str(item[0])):
        value = values[str(name)]
        if not _NAME.fullmatch(str(name)):
            problems.append(f"{name!r} is not a name for an environment variable")
        if isinstance(raw, (dict, list, tuple, set)):
            problems.append(f"{name} is a {type(raw).__name__}, not text: write it as the application reads it")
        elif _CONTROL.search(value):
            problems.append(f"{name} holds a line break or another control character")
    if production and values.get("SECRET_KEY") and is_weak(values["SECRET_KEY"]):
        problems.append(
            f"SECRET_KEY is weak for production: it needs {_WEAK_LENGTH} characters or more, random, and no placeholder"
        )
    return problems


def is_weak(secret: str) -> bool:
    """Whether ``secret`` is too short, too regular or a placeholder that somebody forgot."""
    return len(secret) < _WEAK_LENGTH or len(set(secret)) < _WEAK_DISTINCT or bool(_PLACEHOLDER.search(secret))


def environment_text(environment: Mapping[str, Any]) -> str:
    """The lines of an environment file, sorted by name. Refuses names and values that no file can carry."""
    problems = environment_problems(environment, (), production=False)
    if problems:
        raise Unusable("; ".join(problems), code="ENVIRONMENT_INVALID", expected="names and one-line values")
    return "".join(f"{name}={quote_value(value)}\n" for name, value in sorted(environment_values(environment).items()))


def quote_value(value: str) -> str:
    """``value`` so that systemd and a POSIX shell read the same text from it.

    Plain words stay as they are. Single quotes are literal for both (and for shlex and python-dotenv). Only a value
    that holds one takes double quotes, inside which both remove a backslash before backslash, quote, dollar, backtick.
    """
    if _PLAIN.fullmatch(value):
        return value
    if "'" not in value and not value.endswith("\\"):
        return f"'{value}'"
    return '"' + re.sub(r'([\\"$`])', r"\\\1", value) + '"'
