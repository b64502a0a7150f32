"""Text from elsewhere, made fit to be shown (pure, standard library only)."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["cell_width", "one_line", "shorten"]

# Escape sequences go as a whole: without its first byte a colour code would still leave "[31m" in the text.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
# Controls, surrogates, private use, unassigned; "Cf" holds the marks that reverse the direction of a line.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def one_line(text: object) -> str:
    """``text`` on one line without anything that moves the cursor, changes colours or hides: blanks in its place."""
    plain = _ESCAPE.sub("", str(text))
    return " ".join("".join(" " if unicodedata.category(char) in _HIDDEN else char for char in plain).split())


def cell_width(text: str) -> int:
    """The columns that a terminal uses for ``text``: combining marks none, wide characters two."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def shorten(text: object, limit: int = 200) -> str:
    """``one_line`` of at most ``limit`` characters; what was cut is marked by three dots."""
    plain = one_line(str(text)[: limit * 4])
    return plain if len(plain) <= limit else plain[: limit - 3].rstrip() + "..."
