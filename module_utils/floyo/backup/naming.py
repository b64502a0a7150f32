"""Labels of backups, and the files that belong to one (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Optional

__all__ = ["KINDS", "is_label", "label_for", "moment_of", "name_of", "next_moment", "parse_name", "stamp"]

_LABEL = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{6}")
_TOLERANCE = timedelta(minutes=1)
_FORM = "%Y%m%dT%H%M%SZ"
# What a file of a backup is, by what follows its label. A dump without a manifest is no backup.
KINDS = {
    "dump": ".dump",
    "manifest": ".json",
    "checked": ".checked.json",  # what the newest look at the dump found
    "drilled": ".drilled.json",  # what its newest restore found, and how long it took
    "copied": ".copied.json",  # where a copy is, which was read there
    "partial": ".dump.partial",
    "running": ".running.json",  # whose work the partial one is, and how far it has come
}
_KIND_OF = {suffix: kind for kind, suffix in KINDS.items()}


def label_for(moment: datetime, token: str) -> str:
    """``20250115T103000Z-3f9a1c``: sorts by time; the token keeps two hosts with one directory apart."""
    return f"{moment.astimezone(timezone.utc):{_FORM}}-{token}"


def is_label(text: str) -> bool:
    return _LABEL.fullmatch(text) is not None


def moment_of(label: str) -> datetime:
    return datetime.strptime(label.partition("-")[0], _FORM).replace(tzinfo=timezone.utc)


def next_moment(now: datetime, labels: Iterable[str]) -> tuple[datetime, bool]:
    """When a new backup is said to be made, later than every label that is there; whether the clock was put back."""
    now = now.astimezone(timezone.utc).replace(microsecond=0)
    newest = max((moment_of(label) for label in labels), default=None)
    if newest is None or now > newest:
        return now, False
    # Several backups within one second run ahead a little; that is not the clock.
    return newest + timedelta(seconds=1), newest - now > _TOLERANCE


def stamp(moment: datetime) -> str:
    """``2025-01-15T10:30:00Z``."""
    return f"{moment.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def name_of(label: str, kind: str) -> str:
    return label + KINDS[kind]


def parse_name(name: str) -> Optional[tuple[str, str]]:
    """(label, kind) of a file's name; kind ``temporary`` for what a killed atomic write left; None for other files.

    ``writing`` is that of a note that is written without the lock, maybe just now.
    """
    hidden = re.fullmatch(r"\.(\d{8}T\d{6}Z-[0-9a-f]{6})(?:\.running|\.drilled|(\.checked|\.copied))?\.json\.\w+", name)
    if hidden:
        return hidden[1], "writing" if hidden[2] else "temporary"
    match = _LABEL.match(name)
    kind = _KIND_OF.get(name[match.end() :]) if match else None
    return (match.group(), kind) if match and kind else None
