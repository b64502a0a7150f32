"""Names of the databases that stand beside the live one while, and after, it is replaced (pure)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Optional

__all__ = ["Aside", "asides", "kept_name", "scratch_name"]

_LONGEST = 63  # bytes; PostgreSQL cuts what is longer
_ROOM = 25  # of the longest ending
_FORM = "%Y%m%dt%H%M%Sz"
_SCRATCH = r"(?P<scratch>restore|drill|rehearsal)_(?P<token>[0-9a-f]{12})"
_KEPT = r"(?P<kept>old|undone)_(?P<moment>\d{8}t\d{6}z)"


@dataclass(frozen=True)
class Aside:
    """``kind``: ``restore``, ``drill`` and ``rehearsal`` are unfinished or about to go; ``old`` was live until a restore, ``undone``
    until a swap back, at ``since``."""

    name: str
    kind: str
    since: Optional[datetime] = None


def _base(database: str) -> str:
    """The name that all of them begin with: the database's own, shortened when it is very long."""
    encoded = database.encode()
    if len(encoded) <= _LONGEST - _ROOM:
        return database
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return encoded[: _LONGEST - _ROOM - 9].decode(errors="ignore") + "_" + digest


def scratch_name(database: str, kind: str, token: str) -> str:
    return f"{_base(database)}__{kind}_{token}"


def kept_name(database: str, kind: str, moment: datetime) -> str:
    return f"{_base(database)}__{kind}_{moment.astimezone(timezone.utc):{_FORM}}"


def asides(database: str, names: Iterable[str]) -> list[Aside]:
    """Those of ``names`` that stand beside ``database``; the newest kept ones first."""
    form = re.compile(rf"{re.escape(_base(database))}__(?:{_SCRATCH}|{_KEPT})")
    found = []
    for name in names:
        match = form.fullmatch(name)
        if match and match["scratch"]:
            found.append(Aside(name, match["scratch"]))
        elif match:
            since = datetime.strptime(match["moment"], _FORM).replace(tzinfo=timezone.utc)
            found.append(Aside(name, match["kept"], since))
    return sorted(found, key=lambda aside: (aside.since.timestamp() if aside.since else 0.0, aside.name), reverse=True)
