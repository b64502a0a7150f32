"""Statements without what stands in them: values, passwords, remarks (pure, standard library only).

pg_stat_activity shows a statement as it was sent, and pg_stat_statements keeps those that set a password word for word.
So every literal goes, whatever it holds. What cannot be read for sure is cut off.
"""

from __future__ import annotations

import re

from ..text import shorten

__all__ = ["redact"]

_TOKEN = re.compile(
    r"""
      (?P<remark>--[^\n]*|/\*)
    | (?P<quoted>[eE]?'|[bBxXnN]'|[uU]&')
    | (?P<dollar>\$(?:[A-Za-z_\x80-\uffff][A-Za-z0-9_\x80-\uffff]*)?\$)
    | (?P<name>"(?:[^"]|"")*"?)
    | (?P<parameter>\$\d+)
    | (?P<word>[A-Za-z_\x80-\uffff][A-Za-z0-9_$\x80-\uffff]*)
    | (?P<number>(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?\w*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
# Their words after the first may be values without quotes.
_SETTING = re.compile(r"(?is)^(\s*(?:set|alter\s+system\s+set)\s+(?:(?:session|local)\s+)?[\w.\"]+\s*(?:=|to\b)).*")
_LIST = re.compile(r"(?:\?\s*,\s*){3,}\?")


def redact(text: str, limit: int = 400) -> str:
    """``text`` on one line with ? in place of each value, at most ``limit`` characters."""
    setting = _SETTING.match(text)
    if setting:
        return shorten(setting.group(1) + " ?", limit)
    found, at = list[str](), 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            break
        kind, piece, at = str(match.lastgroup), match.group(), match.end()
        if kind == "remark":
            at = _end_of_remark(text, at) if piece == "/*" else at
            found.append(" ")
        elif kind in ("quoted", "dollar"):
            at = _end_of_string(text, at, escapes=piece[0] in "eE") if kind == "quoted" else _after(text, piece, at)
            found.append("?")
        elif kind == "number":
            found.append("?")
        else:
            found.append(piece)
    return shorten(_LIST.sub("?, ...", "".join(found)), limit)


def _after(text: str, mark: str, at: int) -> int:
    end = text.find(mark, at)
    return len(text) if end < 0 else end + len(mark)


def _end_of_remark(text: str, at: int) -> int:
    """Remarks nest."""
    depth = 1
    for match in re.compile(r"/\*|\*/").finditer(text, at):
        depth += 1 if match.group() == "/*" else -1
        if not depth:
            return match.end()
    return len(text)


def _end_of_string(text: str, at: int, *, escapes: bool) -> int:
    """The end of a string, or of the text where that is not for sure: without E before it, what a backslash before a
    quote means depends on a setting of the session.
    """
    while at < len(text):
        if text[at] == "\\":
            if escapes:
                at += 2
                continue
            if text[at + 1 : at + 2] == "'":
                return len(text)
        if text[at] == "'":
            if text[at + 1 : at + 2] != "'":
                return at + 1
            at += 1
        at += 1
    return len(text)
