"""What the database's revisions mean for a release's graph, and what has to be done to move (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Optional

from ..errors import Refused, Unusable
from .lineage import Lineage

__all__ = ["STATUSES", "Forward", "Target", "backward", "brief", "forward", "status_of", "target_of"]

STATUSES = ("uninitialised", "unstamped", "behind", "at", "ahead", "diverged", "unknown", "no_revisions")


def status_of(live: Iterable[str], lineage: Lineage, *, tables: int, known: Optional[Lineage] = None) -> str:
    """How the revisions in the database (``live``) stand to those of a release.

    ``known`` holds revisions of other releases too: with it a revision that this release lacks is ahead or diverged.
    """
    heads = set(live)
    if not heads:
        if not len(lineage):
            return "no_revisions"
        return "unstamped" if tables else "uninitialised"
    ours = set(lineage.revisions)
    if not heads <= ours:
        if known is None or not heads <= set(known.revisions):
            return "unknown"
        applied = known.closure(heads)
        return "ahead" if ours <= applied else "diverged"
    return "at" if lineage.closure(heads) == ours else "behind"


@dataclass(frozen=True)
class Forward:
    """Revisions to apply, in order, and those that stay out with the reason."""

    apply: list[str]
    held: dict[str, str]


def forward(lineage: Lineage, applied: set[str], wanted: Iterable[str], allow: Iterable[str]) -> Forward:
    """What of ``wanted`` may be applied when only the classes ``allow`` may be passed."""
    allowed, apply, held = set(allow), [], {}
    for name in lineage.ordered(set(wanted) - applied):
        waits = [parent for parent in lineage.parents(name) if parent in held]
        if waits:
            held[name] = f"comes after {waits[0]}, which is held back"
        elif lineage[name]["class"] not in allowed:
            held[name] = f"is {lineage[name]['class']}, and only {', '.join(sorted(allowed)) or 'nothing'} is allowed"
        else:
            apply.append(name)
    return Forward(apply, held)


def backward(lineage: Lineage, applied: set[str], remove: Iterable[str]) -> list[str]:
    """``remove`` and everything in the database that builds on it, the newest first."""
    return list(reversed(lineage.ordered(lineage.descendants(remove) & applied)))


@dataclass(frozen=True)
class Target:
    """Where ``revision`` is from here: ``up`` with what is missing, ``down`` with what goes first to last, or ``here``."""

    direction: str
    revisions: list[str]


def target_of(lineage: Lineage, applied: set[str], revision: str) -> Target:
    """Read an absolute target. ``base`` is the state before the first revision.

    With a comma it names all that the database is to be at: revisions beside these and their ancestors go, too.
    """
    if "," in revision:
        return _exactly(lineage, applied, [name.strip() for name in revision.split(",") if name.strip()])
    if not revision:
        raise Unusable("revision is empty", code="REVISION_UNKNOWN", expected="the identifier of a revision, or base")
    if revision[0] in "+-" or "@" in revision or revision[-2:-1] in ("+", "-"):
        raise Refused(
            f"{revision!r} is a relative revision: with two operators or two heads it means something else each time",
            code="REVISION_RELATIVE",
            expected="the identifier of a revision, or base",
            next_step="look it up with state: info",
        )
    if revision in ("head", "heads"):
        raise Unusable(
            "head is no revision", code="REVISION_RELATIVE", expected="an identifier", next_step="use state: head"
        )
    if revision == "base":
        remove = backward(lineage, applied, applied)
        return Target("down" if remove else "here", remove)
    name = lineage.resolve(revision)
    if name not in applied:
        return Target("up", lineage.ordered(lineage.closure([name]) - applied))
    remove = [other for other in backward(lineage, applied, [name]) if other != name]
    return Target("down" if remove else "here", remove)


def _exactly(lineage: Lineage, applied: set[str], names: list[str]) -> Target:
    wanted = lineage.closure(lineage.resolve(name) for name in names)
    missing = lineage.ordered(wanted - applied)
    if missing:
        raise Refused(
            f"the database does not have {', '.join(missing)}, and several revisions are a way back only",
            code="REVISION_MISSING",
            expected="revisions that are in the database",
            next_step="look them up with state: info",
        )
    remove = backward(lineage, applied, applied - wanted)
    return Target("down" if remove else "here", remove)


def brief(lineage: Lineage, names: Iterable[str], **more: Any) -> list[dict[str, Any]]:
    """Revisions for a result: identifier, class, what it is about."""
    return [
        {"revision": name, "class": lineage[name]["class"], "summary": lineage[name].get("summary", ""), **more}
        for name in names
    ]
