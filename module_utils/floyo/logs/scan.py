"""What is asked of a log's lines, and what comes out (pure, standard library only)."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Optional

from .files import Words
from .lines import LEVELS, Hide, Line, at_least, duration_of, parse, pattern_of

__all__ = ["Question", "Tally", "words_for"]

# The spellings that lines.parse knows; "ERR" is in "ERROR", too.
_SPELLINGS = {
    "WARNING": (b"WARN", b"warn"),
    "ERROR": (b"ERR", b"err", b"SEVERE", b"severe"),
    "CRITICAL": (b"CRIT", b"crit", b"FATAL", b"fatal", b"ALERT", b"alert", b"EMERG", b"emerg", b"PANIC", b"panic"),
}
_MEMORY = (b"memory", b"Memory", b"MEMORY")
# What lines.duration_of can find a time in.
_DURATIONS = (
    b"ms",
    b"low",
    b"LOW",
    b'"duration"',
    *(b"%d%ss" % (n, blank) for n in range(10) for blank in (b"", b" ")),
)
# More different patterns than this are no patterns.
_MOST_PATTERNS = 5000
_MOST_MINUTES = 120


@dataclass(frozen=True)
class Question:
    """Which lines are meant. ``level``: this one and worse. ``since`` and ``until`` are epochs."""

    text: bytes = b""
    regex: Optional[re.Pattern[bytes]] = None
    ignore_case: bool = False
    level: str = ""
    since: Optional[float] = None
    until: Optional[float] = None
    local: bool = True

    @property
    def needs_parsing(self) -> bool:
        return bool(self.level) or self.since is not None or self.until is not None

    def is_meant(self, line: Line) -> bool:
        """Level and time; text and regex were looked at before the line was parsed."""
        if self.level and line.level not in at_least(self.level):
            return False
        if self.since is None and self.until is None:
            return True
        if line.epoch is None:
            return False
        return (self.since is None or line.epoch >= self.since) and (self.until is None or line.epoch < self.until)


def words_for(question: Question, want: Iterable[str]) -> Words:
    """What grep can sort out before anything is parsed; nothing when every line must be looked at."""
    found: list[bytes] = []
    for kind in want:
        if kind == "lines":
            if question.text:
                found.append(question.text)
            elif question.level in _SPELLINGS and not question.regex:
                found += _spellings(question.level)
            else:
                return Words()
        elif kind == "patterns":
            found += _spellings("ERROR")
        elif kind == "memory":
            found += _MEMORY
        elif kind == "slow":
            found += _DURATIONS
    return Words(tuple(dict.fromkeys(found)), question.ignore_case and bool(question.text))


def _spellings(level: str) -> list[bytes]:
    return [word for name in LEVELS[LEVELS.index(level) :] for word in _SPELLINGS.get(name, ())]


@dataclass
class Tally:
    """Takes the lines one by one. ``last`` newest lines that were meant are kept, and of memory and slow ones fewer."""

    question: Question
    want: frozenset[str]
    last: int
    slower_than: float = 0.0
    hide: Hide = str
    matched: int = 0
    undated: int = 0
    lines: collections.deque[tuple[bytes, Optional[Line]]] = field(init=False)
    patterns: dict[str, dict[str, Any]] = field(default_factory=dict)
    memory: collections.deque[Line] = field(default_factory=lambda: collections.deque(maxlen=5))
    memory_count: int = 0
    slow: dict[str, dict[str, Any]] = field(default_factory=dict)
    slow_count: int = 0
    timed_count: int = 0
    first: Optional[float] = None
    newest: Optional[float] = None

    def __post_init__(self) -> None:
        self.lines = collections.deque(maxlen=self.last)
        # Nothing else is asked than what grep has answered: the line is only kept.
        self._plain = self.want == {"lines"} and not self.question.needs_parsing and self.question.regex is None

    def take(self, raw: bytes) -> None:
        if self._plain:
            self.matched += 1
            self.lines.append((raw, None))
            return
        self.take_line(raw, parse(raw, local=self.question.local))

    def take_line(self, raw: bytes, line: Line) -> None:
        question = self.question
        dated = question.since is not None or question.until is not None
        if dated and line.epoch is None:
            self.undated += 1
            return
        if not self._in_time(line):
            return
        if line.epoch is not None:
            self.first = line.epoch if self.first is None else min(self.first, line.epoch)
            self.newest = line.epoch if self.newest is None else max(self.newest, line.epoch)
        if "lines" in self.want and self._is_asked(raw, line):
            self.matched += 1
            self.lines.append((raw, line))
        if "patterns" in self.want and self._is_error(raw, line):
            self._count_pattern(line)
        if "memory" in self.want and b"memory" in raw.lower():
            self.memory_count += 1
            self.memory.append(line)
        if "slow" in self.want:
            self._count_slow(line)

    def _in_time(self, line: Line) -> bool:
        since, until = self.question.since, self.question.until
        if since is None and until is None:
            return True
        epoch = line.epoch or 0.0
        return (since is None or epoch >= since) and (until is None or epoch < until)

    def _is_asked(self, raw: bytes, line: Line) -> bool:
        question = self.question
        if question.text:
            there = question.text.lower() in raw.lower() if question.ignore_case else question.text in raw
            if not there:
                return False
        if question.regex is not None and not question.regex.search(raw):
            return False
        return question.is_meant(line)

    def _is_error(self, raw: bytes, line: Line) -> bool:
        """A JSON line says its level; of a plain one the runbook's ``grep ERROR`` decides as well."""
        return line.level in ("ERROR", "CRITICAL") or (line.kind != "json" and b"ERROR" in raw)

    def _count_pattern(self, line: Line) -> None:
        key = pattern_of(line, self.hide)
        found = self.patterns.get(key)
        if found is None:
            if len(self.patterns) >= _MOST_PATTERNS:
                key = "(more patterns than can be counted)"
            found = self.patterns.setdefault(
                key,
                {
                    "pattern": key,
                    "count": 0,
                    "level": line.level,
                    "first": line.epoch,
                    "last": None,
                    "sample": line,
                    "minutes": collections.Counter(),
                },
            )
        found["count"] += 1
        if line.epoch is not None:
            found["last"] = max(found["last"] or line.epoch, line.epoch)
            minutes = found["minutes"]
            minutes[int(line.epoch // 60)] += 1
            if len(minutes) > _MOST_MINUTES:
                del minutes[min(minutes)]  # a file may hold years; a plot is about the newest

    def _count_slow(self, line: Line) -> None:
        told = duration_of(line, self.hide)
        if told is None:
            return
        self.timed_count += 1
        milliseconds, what = told
        if milliseconds < self.slower_than:
            return
        self.slow_count += 1
        if what not in self.slow and len(self.slow) >= _MOST_PATTERNS:
            what = "(others)"
        found = self.slow.setdefault(what, {"what": what, "count": 0, "max_ms": 0.0, "last": None})
        found["count"] += 1
        found["max_ms"] = max(found["max_ms"], milliseconds)
        if line.epoch is not None:
            found["last"] = max(found["last"] or line.epoch, line.epoch)
