"""What a run is doing at this moment, and the lines at the bottom of a terminal that say so (controller only)."""

from __future__ import annotations

import collections
import dataclasses
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from .text import cell_width, one_line

__all__ = ["Footer", "Progress", "clock", "listed"]

# More hosts than these are counted and not named.
NAMED = 4
_GATES = ("ok", "warn", "FAIL")


def listed(hosts: Sequence[str], named: int = NAMED) -> str:
    """``a, b``, or ``37 hosts`` when they are many."""
    return ", ".join(sorted(hosts)) if len(hosts) <= named else f"{len(hosts)} hosts"


def clock(seconds: float) -> str:
    """``0:07``, ``12:30``, ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@dataclasses.dataclass
class Progress:
    """Where a run is. ``began`` and ``since`` (of the task) are seconds of one clock."""

    began: float
    play: str = ""
    batch: str = ""
    phase: str = ""
    task: str = ""
    since: float = 0.0
    phases: list[str] = dataclasses.field(default_factory=list)
    gates: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    changed: set[str] = dataclasses.field(default_factory=set)
    failed: set[str] = dataclasses.field(default_factory=set)
    _running: dict[str, None] = dataclasses.field(default_factory=dict)
    _done: set[str] = dataclasses.field(default_factory=set)

    def start_play(self, name: str, batch: str) -> None:
        self.play, self.batch, self.phase, self.task = name, batch, "", ""
        self._running, self._done = {}, set()

    def start_task(self, name: str, phase: str, now: float) -> None:
        if phase and phase != self.phase and phase not in self.phases:
            self.phases.append(phase)
        self.task, self.phase, self.since = name, phase, now
        self._running, self._done = {}, set()

    def start_host(self, host: str) -> None:
        self._running[host] = None

    def end_host(self, host: str, word: str) -> None:
        self._running.pop(host, None)
        self._done.add(host)
        if word in ("failed", "unreachable"):
            self.failed.add(host)
        elif word == "changed":
            self.changed.add(host)

    def judge(self, rows: Sequence[Any]) -> None:
        """A table of gates was shown."""
        found = [row.get("result") for row in rows if isinstance(row, Mapping) and "gate" in row]
        if found:
            self.gates = collections.Counter(str(word) for word in found)

    @property
    def hosts(self) -> str:
        """``2 of 5 hosts, waits for a, b``; empty for a task of one host."""
        running, total = list(self._running), len(self._running) + len(self._done)
        if total < 2:
            return ""
        waits = f", waits for {listed(running)}" if running else ""
        return f"{len(self._done)} of {total} hosts{waits}"

    def lines(self, now: float, width: int) -> list[str]:
        """Three lines for the bottom of a terminal, none wider than ``width``."""
        place = self.play + (f": {self.batch}" if self.batch else "")
        done, total = len(self._done), len(self._done) + len(self._running)
        full = 20 * done // total if total else 0
        bar = f"[{'#' * full}{'-' * (20 - full)}] {self.hosts}" if total > 1 else "one host"
        words = [f"{self.gates[word]} {word}" for word in _GATES if self.gates[word]]
        story = ", ".join(phase for phase in self.phases if phase != self.phase)
        notes = [
            f"done: {story}" if story else "",
            f"gates: {', '.join(words)}" if words else "",
            f"changed: {listed(list(self.changed))}" if self.changed else "",
            f"failed: {listed(list(self.failed))}" if self.failed else "",
        ]
        head = " > ".join(part for part in (place, self.phase, self.task) if part)
        return [
            _spread(head, clock(now - self.began), width),
            _spread(bar if self.task else "", f"{now - self.since:.0f} s" if self.task else "", width),
            _cut("; ".join(note for note in notes if note), width),
        ]


def _cut(text: str, width: int) -> str:
    plain = one_line(text)
    if cell_width(plain) <= width:
        return plain
    while plain and cell_width(plain) > width - 3:
        plain = plain[:-1]
    return plain.rstrip() + "..."


def _spread(left: str, right: str, width: int) -> str:
    """``left`` and ``right`` at both ends of the line."""
    text = _cut(left, max(width - len(right) - 1, 4))
    return text + " " * max(width - cell_width(text) - len(right), 1) + right


class Footer:
    """Lines at the bottom of a terminal; everything else scrolls above them.

    The terminal itself keeps them apart (a scrolling region, as apt does it): what others write, a prompt of ssh or sudo
    included, is neither wrapped nor covered nor held back.
    """

    HEIGHT = 3
    # A smaller terminal is better used for the output itself.
    SMALLEST = (40, 12)

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._size: tuple[int, int] | None = None
        self._shown: list[str] = []
        self._lock = threading.Lock()

    @property
    def width(self) -> int:
        return self._terminal()[0]

    def _terminal(self) -> tuple[int, int]:
        try:
            columns, rows = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return 0, 0
        return columns, rows

    def show(self, lines: Sequence[str]) -> None:
        """Draw ``lines``. Nothing happens when they are there already, or when the terminal is too small."""
        with self._lock:
            size = self._terminal()
            if size[0] < self.SMALLEST[0] or size[1] < self.SMALLEST[1]:
                self._leave()
                return
            text = ""
            if size != self._size:
                text += self._enter(size)
                self._size, self._shown = size, []
            first = size[1] - self.HEIGHT + 1
            drawn = "".join(
                f"\x1b[{first + at};1H\x1b[2K\x1b[7m{line:<{size[0]}}\x1b[0m"
                for at, line in enumerate(lines)
                if [line] != self._shown[at : at + 1]
            )
            if drawn:
                text += f"\x1b7{drawn}\x1b8"
                self._shown = list(lines)
            self._write(text)

    def close(self) -> None:
        """Give the whole terminal back."""
        with self._lock:
            self._leave()

    def _enter(self, size: tuple[int, int]) -> str:
        # Room first, so that the last lines of the output are not covered; setting the region moves the cursor.
        return "\n" * self.HEIGHT + f"\x1b7\x1b[1;{size[1] - self.HEIGHT}r\x1b8\x1b[{self.HEIGHT}A"

    def _leave(self) -> None:
        if self._size is None:
            return
        first = self._size[1] - self.HEIGHT + 1
        self._write(f"\x1b7\x1b[r\x1b[{first};1H\x1b[J\x1b8")
        self._size, self._shown = None, []

    def _write(self, text: str) -> None:
        if text:
            self._stream.write(text)
            self._stream.flush()
