"""Which backups stay (pure).

Age is counted from one backup to the next, never from now: when no new ones come, no old ones go, and a clock that was
put forward removes nothing. Only sound ones count. What cannot be relied on (damaged, suddenly small) counts for nothing
and displaces nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..errors import Unusable

__all__ = ["Keep", "Kept", "retained"]


@dataclass(frozen=True)
class Keep:
    """How many to keep: the newest, and the newest of each of the last days, weeks and months that have one."""

    last: int = 7
    daily: int = 7
    weekly: int = 5
    monthly: int = 12

    def __post_init__(self) -> None:
        wrong = [name for name, value in vars(self).items() if value < 0]
        if wrong or self.last < 1:
            raise Unusable(
                f"{', '.join(f'{name}={value}' for name, value in vars(self).items())} keeps nothing that can be relied on",
                code="KEEP_UNUSABLE",
                expected="last of 1 or more, the others of 0 or more",
            )


@dataclass(frozen=True)
class Kept:
    """``reasons``: why it stays; none for what goes."""

    label: str
    reasons: tuple[str, ...]


_Entry = Mapping[str, Any]
_PERIODS: dict[str, Callable[[datetime], tuple[int, ...]]] = {
    "daily": lambda at: (at.year, at.month, at.day),
    "weekly": lambda at: tuple(at.isocalendar()[:2]),
    "monthly": lambda at: (at.year, at.month),
}


def retained(
    entries: Sequence[_Entry],
    keep: Keep,
    *,
    needed_heads: Collection[str] = (),
    busy: Collection[str] = (),
    pinned: Collection[str] = (),
    remove_damaged: bool = False,
) -> list[Kept]:
    """A verdict on each of ``entries`` (as the list of backups has them), in their order, each database by itself."""
    reasons: dict[str, list[str]] = {entry["label"]: [] for entry in entries}

    def keep_for(reason: str, kept: Collection[_Entry]) -> None:
        for entry in kept:
            reasons[entry["label"]].append(reason)

    for database in {entry["database"] for entry in entries}:
        # By sequence: what a clock that went wrong has dated elsewhere keeps its place.
        mine = sorted((e for e in entries if e["database"] == database), key=lambda e: e["sequence"], reverse=True)
        sound = [entry for entry in mine if entry["verified"]]
        good = [entry for entry in sound if not entry["suspect"]]
        drilled = [entry for entry in good if entry["drilled_at"]]
        keep_for("last", good[: keep.last])
        for period, of in _PERIODS.items():
            keep_for(period, _newest_of_each(good, of)[: getattr(keep, period)])
        keep_for("newest sound one", sound[:1])
        keep_for("newest drilled one", drilled[:1])
        for heads in {tuple(entry["heads"]) for entry in good}:
            if set(heads) & set(needed_heads):
                at = [entry for entry in good if tuple(entry["heads"]) == heads]
                keep_for(f"a release needs {', '.join(heads)}", [*[e for e in at if e["drilled_at"]][:1], *at[:1]])
        # Apart, so that they take no healthy one's place.
        keep_for("suspect", [entry for entry in sound if entry["suspect"]][: keep.last])
        newest = good[0]["sequence"] if good else 0
        for entry in mine:
            if not entry["verified"] and not (remove_damaged and 0 < entry["sequence"] < newest):
                keep_for("damaged: a person has to look", [entry])
    keep_for("in use", [entry for entry in entries if entry["label"] in busy])
    keep_for("pinned", [entry for entry in entries if entry["label"] in pinned])
    return [Kept(entry["label"], tuple(dict.fromkeys(reasons[entry["label"]]))) for entry in entries]


def _newest_of_each(entries: Sequence[_Entry], period: Callable[[datetime], tuple[int, ...]]) -> list[_Entry]:
    """Newest first: the newest of each period."""
    found: dict[tuple[int, ...], _Entry] = {}
    for entry in entries:
        found.setdefault(period(datetime.fromisoformat(entry["created"].replace("Z", "+00:00"))), entry)
    return list(found.values())
