"""Reads environment files as systemd does, and compares their names with what should be there (pure, standard library).

Nothing here puts a value into a message, a result or an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .environment import is_weak

__all__ = ["Comparison", "EnvironmentFile", "compare", "example_names", "parse_environment_file"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# The second line of a secret that was not quoted may look like a name ("MIIBOwIBAAJ="); names that people give do not.
_USUAL_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,59}|[a-z][a-z0-9_]{0,59}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_BLANKS = " \t\n\r"
_NEWLINES = "\n\r"
# Inside double quotes a backslash takes its meaning from these and from the end of the line.
_ESCAPABLE = '"\\`$'
_EXAMPLE_LINE = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(.*)$", re.MULTILINE)
_EXAMPLE_COMMENT = re.compile(r"^[ \t]*#[ \t]*(?:export[ \t]+)?([A-Z_][A-Z0-9_]*)[ \t]*=", re.MULTILINE)


@dataclass(frozen=True)
class EnvironmentFile:
    """What the service gets, and sentences about lines that do not do what they say."""

    values: Mapping[str, str] = field(repr=False)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Names by what is wrong with them; each list is sorted."""

    present: list[str]
    missing: list[str]
    empty: list[str]
    unset: list[str]
    unknown: list[str]
    weak: list[str]


def parse_environment_file(text: str) -> EnvironmentFile:
    """``text`` as ``EnvironmentFile=`` reads it: quotes, escapes, continued lines, ``#`` and ``;`` comments.

    The states are those of systemd's env-file.c. There is no expansion, no ``export`` and no comment after a value.
    """
    return _Parser().parse(text)


class _Parser:
    """systemd's automaton. Each state is a method that takes a character and returns the next state's method."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._problems: list[str] = []
        self._line = 1
        self._key = ""
        self._value: list[str] = []
        # How much of the value stays when blanks at its end are cut: what was quoted or escaped does.
        self._kept = 0

    def parse(self, text: str) -> EnvironmentFile:
        state = self._before_key
        for char in text:
            state = state(char)
            self._line += char == "\n"
        if state == self._in_key:
            self._no_assignment()
        elif state in (self._in_single, self._in_double, self._in_double_escape):
            self._problems.append(
                f"line {self._line}: the quote of {_shown(self._key.rstrip(_BLANKS))} is never closed"
            )
            self._push()
        elif state not in (self._before_key, self._in_comment, self._in_comment_escape):
            self._push()
        return EnvironmentFile(self._values, tuple(self._problems))

    def _before_key(self, char: str) -> Any:
        if char in "#;":
            return self._in_comment
        if char in _BLANKS:
            return self._before_key
        self._key, self._value, self._kept = char, [], 0
        return self._in_key

    def _in_key(self, char: str) -> Any:
        if char in _NEWLINES:
            self._no_assignment()
            return self._before_key
        if char == "=":
            return self._before_value
        self._key += char
        return self._in_key

    def _before_value(self, char: str) -> Any:
        if char in _NEWLINES:
            return self._push()
        if char == "'":
            return self._in_single
        if char == '"':
            return self._in_double
        if char == "\\":
            return self._in_escape
        return self._before_value if char in _BLANKS else self._in_value(char)

    def _in_value(self, char: str) -> Any:
        if char in _NEWLINES:
            return self._push()
        if char == "\\":
            return self._in_escape
        self._value.append(char)
        if char not in _BLANKS:
            self._kept = len(self._value)
        return self._in_value

    def _in_escape(self, char: str) -> Any:
        # An escaped end of line continues the value on the next line.
        if char not in _NEWLINES:
            self._keep(char)
        return self._in_value

    def _in_single(self, char: str) -> Any:
        if char == "'":
            return self._before_value
        self._keep(char)
        return self._in_single

    def _in_double(self, char: str) -> Any:
        if char == '"':
            return self._before_value
        if char == "\\":
            return self._in_double_escape
        self._keep(char)
        return self._in_double

    def _in_double_escape(self, char: str) -> Any:
        if char in _ESCAPABLE:
            self._keep(char)
        elif char not in _NEWLINES:
            self._keep("\\" + char)
        return self._in_double

    def _in_comment(self, char: str) -> Any:
        if char == "\\":
            return self._in_comment_escape
        return self._before_key if char in _NEWLINES else self._in_comment

    def _in_comment_escape(self, char: str) -> Any:
        if char not in _NEWLINES:
            return self._in_comment
        # systemd before 254 takes the next line for a part of the comment, later ones do not.
        self._problems.append(
            f"line {self._line}: a comment ends in a backslash, which hides the next line on some hosts"
        )
        return self._before_key

    def _keep(self, text: str) -> None:
        self._value += text
        self._kept = len(self._value)

    def _no_assignment(self) -> None:
        # Not the text of the line: it may be the second half of a secret.
        self._problems.append(f"line {self._line}: is no assignment and is ignored")

    def _push(self) -> Any:
        name = self._key.rstrip(_BLANKS)
        value = "".join(self._value[: self._kept])
        if not _NAME.fullmatch(name):
            exported = re.fullmatch(r"export[ \t]+([A-Za-z_][A-Za-z0-9_]*)", name)
            what = f"export {_shown(exported.group(1))}" if exported else "what stands before ="
            self._problems.append(f"line {self._line}: {what} is not a name, so systemd ignores the line")
        elif _CONTROL.search(value):
            self._problems.append(
                f"line {self._line}: {_shown(name)} holds a control character and is ignored by systemd"
            )
        else:
            if name in self._values:
                self._problems.append(f"line {self._line}: {_shown(name)} is set again; the last value counts")
            self._values[name] = value
        return self._before_key


def _shown(name: str, vouched: Iterable[str] = ()) -> str:
    return name if name in vouched or _USUAL_NAME.fullmatch(name) else "(a name that is not shown)"


def example_names(text: str) -> tuple[dict[str, str], set[str]]:
    """(names with their placeholder values, names that are commented out) of a ``.env.example``.

    Such files are written for people and for python-dotenv: ``export`` and a comment after the value are no surprise.
    """
    active = {name: _example_value(value) for name, value in _EXAMPLE_LINE.findall(text)}
    return active, set(_EXAMPLE_COMMENT.findall(text)) - set(active)


def _example_value(text: str) -> str:
    quoted = re.match(r"""(['"])(.*?)\1""", text)
    return quoted.group(2) if quoted else re.split(r"[ \t]#", text, maxsplit=1)[0].strip()


def compare(
    values: Mapping[str, str],
    *,
    required: Iterable[str],
    known: Iterable[str],
    optional: Iterable[str] = (),
    secrets: Iterable[str] = (),
    placeholders: Mapping[str, str] | None = None,
) -> Comparison:
    """Compare ``values`` with the ``required`` names, the ``known`` ones (of ``.env.example``) and the ``optional``.

    ``unknown`` needs something to be known. A secret is weak when it is short, regular, or the example's placeholder.
    """
    needed, listed = set(required), set(known)
    vouched = needed | listed | set(optional)
    placeholders = placeholders or {}
    return Comparison(
        present=sorted({_shown(name, vouched) for name in values}),
        missing=sorted(needed - set(values)),
        empty=sorted(name for name in needed & set(values) if not values[name].strip()),
        unset=sorted(listed - set(values) - needed),
        unknown=sorted({_shown(name) for name in set(values) - vouched}) if listed else [],
        weak=sorted(
            name
            for name in set(secrets) & set(values)
            if values[name].strip() and (is_weak(values[name]) or values[name] == placeholders.get(name))
        ),
    )
