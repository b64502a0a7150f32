"""Ancestors, heads and order of alembic revisions (pure).

A revision is a mapping as in the release manifest: ``revision``, ``down_revisions``, ``depends_on``, ``class``, ...
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import Unusable

__all__ = ["Lineage", "Revision"]

Revision = Mapping[str, Any]


class Lineage:
    """A set of revisions and what comes before what. Every parent is present and nothing is its own ancestor."""

    def __init__(self, revisions: Iterable[Revision]) -> None:
        self.revisions: dict[str, Revision] = {}
        for revision in revisions:
            self.revisions.setdefault(revision["revision"], revision)
        self._order = self._sorted()
        self._rank = {name: rank for rank, name in enumerate(self._order)}

    def __contains__(self, revision: object) -> bool:
        return revision in self.revisions

    def __getitem__(self, revision: str) -> Revision:
        return self.revisions[revision]

    def __len__(self) -> int:
        return len(self.revisions)

    def parents(self, revision: str) -> list[str]:
        """What must be in the database before ``revision``: its down revisions and what it depends on."""
        entry = self.revisions[revision]
        return [*entry["down_revisions"], *entry.get("depends_on", ())]

    def heads(self) -> list[str]:
        """Revisions that no other one builds on."""
        below = {parent for entry in self.revisions.values() for parent in entry["down_revisions"]}
        return sorted(set(self.revisions) - below)

    def closure(self, revisions: Iterable[str]) -> set[str]:
        """``revisions`` and all their ancestors; names that are not known here are left out."""
        found: set[str] = set()
        waiting = [name for name in revisions if name in self.revisions]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self.parents(name))
        return found

    def descendants(self, revisions: Iterable[str]) -> set[str]:
        """``revisions`` and everything that builds or depends on them."""
        found = {name for name in revisions if name in self.revisions}
        for name in self._order:
            if not found.isdisjoint(self.parents(name)):
                found.add(name)
        return found

    def tips(self, revisions: Iterable[str]) -> list[str]:
        """Members of ``revisions`` that no other member has as a parent: what alembic's table holds for that set."""
        members = set(revisions)
        covered = {parent for name in members for parent in self.parents(name)}
        return sorted(members - covered)

    def ordered(self, revisions: Iterable[str]) -> list[str]:
        """``revisions`` so that each comes after its parents."""
        return sorted(revisions, key=self._rank.__getitem__)

    def resolve(self, name: str) -> str:
        """The full identifier of ``name``: an identifier, an unambiguous beginning (four characters), or a label."""
        if name in self.revisions:
            return name
        matches = sorted(known for known in self.revisions if len(name) >= 4 and known.startswith(name))
        if len(matches) == 1:
            return matches[0]
        labelled = [key for key, entry in self.revisions.items() if name in entry.get("branch_labels", ())]
        if labelled:
            branch = self.descendants(labelled)
            tips = [tip for tip in self.tips(branch) if tip in self.heads()]
            if len(tips) == 1:
                return tips[0]
        found = "several revisions: " + ", ".join(matches) if matches else "no revision of this release"
        raise Unusable(
            f"{name!r} names {found}",
            code="REVISION_AMBIGUOUS" if matches else "REVISION_UNKNOWN",
            expected="a full revision identifier, or an unambiguous beginning of one",
            next_step=f"choose one of {', '.join(self.heads()) or 'no revision: there are none'} or an ancestor of it",
        )

    def _sorted(self) -> list[str]:
        """All revisions, parents first; the same input gives the same order."""
        missing: dict[str, list[str]] = {}
        children: dict[str, list[str]] = {name: [] for name in self.revisions}
        waits_for: dict[str, int] = {}
        for name in sorted(self.revisions):
            parents = set(self.parents(name))
            waits_for[name] = len(parents)
            for parent in sorted(parents):
                if parent in children:
                    children[parent].append(name)
                else:
                    missing.setdefault(name, []).append(parent)
        if missing:
            raise Unusable(
                "; ".join(
                    f"revision {name} follows {', '.join(parents)}, which no file defines"
                    for name, parents in missing.items()
                ),
                code="REVISION_MISSING",
                expected="a file for every down_revision and depends_on",
                next_step="restore the missing file, or mend down_revision in the named one",
            )
        ready = [name for name in sorted(waits_for, reverse=True) if not waits_for[name]]
        order: list[str] = []
        while ready:
            name = ready.pop()
            order.append(name)
            for child in reversed(children[name]):
                waits_for[child] -= 1
                if not waits_for[child]:
                    ready.append(child)
        if len(order) < len(self.revisions):
            circle = sorted(set(self.revisions) - set(order))
            raise Unusable(
                f"revisions {', '.join(circle[:10])} follow each other in a circle",
                code="REVISION_CYCLE",
                expected="a graph that starts at a revision with down_revision = None",
                next_step="mend down_revision in one of the named revisions",
            )
        return order
