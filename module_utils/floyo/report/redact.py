"""Secrets go before anything is written (pure). Reports are made from chosen fields; this is the net below that."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

__all__ = ["HIDDEN", "hide", "is_secret", "secret_values"]

HIDDEN = "(hidden)"
# A shorter one is in too many innocent words.
_SHORTEST = 5
_NAME = re.compile(
    r"(?i)(?:password|passwd|secrets?|token|api_?key|secret_?key|database_url|maintenance_url|notify_urls?)$"
)
_USERINFO = re.compile(r"(?i)([a-z][a-z0-9+.-]*://)[^\s/@:]*:[^\s@/]+@")


def is_secret(name: str) -> bool:
    """Whether a variable's name says that its value is secret."""
    return bool(_NAME.search(name))


def secret_values(variables: Mapping[str, Any]) -> list[str]:
    """The texts that no report may hold: values of variables whose names say so, and passwords inside of URLs. Longest first."""
    found: set[str] = set()
    for name, value in variables.items():
        if is_secret(name):
            for text in _texts(value):
                found.update(_forms(text))
    return sorted((text for text in found if len(text) >= _SHORTEST), key=lambda text: (-len(text), text))


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _forms(text: str) -> Iterable[str]:
    """The text, and when it is a URL its password, as it is there and as a client sees it."""
    if "://" not in text:
        return {text, quote(text, safe="")}
    try:
        password = urlsplit(text).password
    except ValueError:
        password = None
    return {text, *((password, unquote(password)) if password else ())}


def hide(value: Any, secrets: Iterable[str]) -> Any:
    """``value`` with every secret in its texts, and every password of a URL, replaced."""
    words = list(secrets)
    pattern = re.compile("|".join(map(re.escape, words))) if words else None

    def text(found: str) -> str:
        plain = pattern.sub(HIDDEN, found) if pattern else found
        return _USERINFO.sub(rf"\1{HIDDEN}@", plain)

    def walk(item: Any) -> Any:
        if isinstance(item, Mapping):
            return {text(str(key)): walk(part) for key, part in item.items()}
        if isinstance(item, (list, tuple)):
            return [walk(part) for part in item]
        return text(str(item)) if isinstance(item, str) else item

    return walk(value)
