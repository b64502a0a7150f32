"""Moments, positions in the write-ahead log, and what is missing of it (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Optional

from ..errors import Unusable

__all__ = ["Gap", "end_of", "gaps", "parse_moment", "position", "segments", "sql_time", "stamp"]

_SEGMENT = re.compile(r"(?:^|/)([0-9A-F]{24})-[0-9a-f]{40}(?:\.\w+)?$")
_LOG = 1 << 32  # bytes that one "log" of a segment's name covers


# --- moments ---------------------------------------------------------------------------------------------------------


def parse_moment(text: str) -> Optional[datetime]:
    """``2026-11-23 03:10:00+00`` as UTC; None for ``latest``. Without an offset nobody knows whose clock is meant."""
    plain = text.strip()
    if plain == "latest":
        return None
    match = re.fullmatch(
        r"(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2})(:\d{2})?(\.\d{1,6})?\s*(Z|UTC|[+-]\d{2}(?::?\d{2})?)?", plain
    )
    try:
        if not match:
            raise ValueError
        zone = match[5]
        if zone is None:
            raise Unusable(
                f"moment {plain!r} has no offset from UTC: it may be meant in two time zones",
                code="MOMENT_UNUSABLE",
                expected="a moment such as 2026-11-23 03:10:00+00",
                next_step=f"say '{plain}+00' if UTC is meant",
            )
        offset = "+00:00" if zone in ("Z", "UTC") else zone if ":" in zone else f"{zone[:3]}:{zone[3:] or '00'}"
        micros = (match[4] or ".0").ljust(7, "0")
        found = datetime.fromisoformat(f"{match[1]}T{match[2]}{match[3] or ':00'}{micros}{offset}")
    except ValueError:
        raise Unusable(
            f"{plain[:40]!r} is no moment",
            code="MOMENT_UNUSABLE",
            expected="a moment such as 2026-11-23 03:10:00+00, or latest",
        ) from None
    return found.astimezone(timezone.utc)


def sql_time(moment: datetime) -> str:
    """As PostgreSQL and pgBackRest read it."""
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S.%f}+00"


def stamp(seconds: float) -> str:
    """``2026-11-23T03:10:00Z``."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


# --- positions -------------------------------------------------------------------------------------------------------


def position(lsn: str) -> int:
    """Bytes since the beginning: ``0/3000028`` is 50331688."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def end_of(segment: str, size: int) -> int:
    """Where the next segment begins. The name: timeline, log, number in the log; eight digits each."""
    return (_number(segment, size) + 1) * size


def _number(segment: str, size: int) -> int:
    return int(segment[8:16], 16) * (_LOG // size) + int(segment[16:24], 16)


def _name(timeline: str, number: int, size: int) -> str:
    log, rest = divmod(number, _LOG // size)
    return f"{timeline}{log:08X}{rest:08X}"


# --- what is there ---------------------------------------------------------------------------------------------------


def segments(paths: Iterable[str]) -> list[str]:
    """Names of the segments among an archive's files, sorted."""
    return sorted({match[1] for match in map(_SEGMENT.search, paths) if match})


class Gap:
    """Segments that are not there between two that are: ``first`` to ``last``, ``count`` of them."""

    def __init__(self, first: str, last: str, count: int) -> None:
        self.first, self.last, self.count = first, last, count

    def __str__(self) -> str:
        return self.first if self.count == 1 else f"{self.first} to {self.last} ({self.count})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Gap) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.first, self.last))


def gaps(names: Iterable[str], size: int) -> list[Gap]:
    """Holes in each timeline, oldest first. Where a timeline ends and the next begins is no hole."""
    found = []
    before = ""
    for name in sorted(names):
        if before[:8] == name[:8]:
            low, high = _number(before, size) + 1, _number(name, size)
            if low < high:
                found.append(Gap(_name(name[:8], low, size), _name(name[:8], high - 1, size), high - low))
        before = name
    return found
