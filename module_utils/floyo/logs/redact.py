"""Takes secrets out of log lines before anybody sees them (pure, standard library only).

A log holds what a programmer wrote without thinking of who reads it: addresses with passwords, tokens in headers, the
values of a statement. What is known to be secret goes wherever it stands; the rest goes by its shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..postgres.url import scrub

__all__ = ["Redactor", "secret_values"]

_NAME = r"(?:[\w-]*(?:password|passwd|secret(?:[_-]?key)?|token|api_?key|access_?key|private_?key|authorization|cookie|credential)s?)"
_SHAPES = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        # name=value, name: value, "name": "value", 'name': 'value'; the scheme of an Authorization header stays.
        (
            rf"""(\\?["']?\b{_NAME}\\?["']?\s*[=:]\s*)((?:bearer|basic)\s+)?(\\?"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"',;&)\]}}]+)""",
            r"\1\2***",
        ),
        (r"\b(bearer|basic)(\s+)[\w.~+/=-]{8,}", r"\1\2***"),
        # A JSON web token stands alone in many places; its head is always the same.
        (r"\beyJ[\w-]{8,}\.[\w-]*\.?[\w-]*", "***"),
        (r"\b(?:sk|pk|ghp|gho|glpat|xox[abp])[-_][A-Za-z0-9_-]{16,}", "***"),
        # What SQLAlchemy and PostgreSQL say about the values of a statement.
        (r"(\[parameters: ).*?(\]\s*$|\]\s*\(Background|\](?=\s*\n)|$)", r"\1***\2"),
        (r"(\bKey \([^)]*\)=)\(.*?\)(?= |\.|$)", r"\1(***)"),
        (r"(\bFailing row contains )\(.*?\)(?=\.|$)", r"\1(***)"),
    )
)
# Most lines hold none of these, and then no pattern is tried.
_WORTH = (
    "://", "passw", "secret", "token", "key", "authorization", "cookie", "credential", "bearer", "basic ", "eyj", "sk-", "sk_",
    "pk-", "pk_", "ghp_", "gho_", "glpat", "xox", "parameters: ", "failing row",
)  # fmt: skip
_SECRET_NAME = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASS|DSN|CREDENTIALS?)$", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"://[^\s:/@]*:([^\s@]+)@")
_SHORTEST = 6


def secret_values(environment: Mapping[str, str]) -> list[str]:
    """The values of a service's environment that nobody may see: by name, and the passwords of addresses."""
    found = {value for name, value in environment.items() if _SECRET_NAME.search(name)}
    for value in environment.values():
        found |= set(_URL_PASSWORD.findall(value))
    return sorted((value for value in found if len(value) >= _SHORTEST), key=len, reverse=True)


class Redactor:
    """Callable: a text in, the text without secrets out."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._known = [value for value in values if len(value) >= _SHORTEST]

    def __call__(self, text: str) -> str:
        for value in self._known:
            if value in text:
                text = text.replace(value, "***")
        lowered = text.lower()
        if not any(word in lowered for word in _WORTH):
            return text
        for pattern, replacement in _SHAPES:
            text = pattern.sub(replacement, text)
        return scrub(text)
