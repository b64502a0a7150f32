"""States cloned and swept: a copy of a backup that stays, for a rehearsal of migrations in it, and its end (glue)."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

from ..errors import Refused
from .drilled import Drill

__all__ = ["Cloned", "Swept"]

_TICK = 0.5
_LISTED = 3


class Cloned(Drill):
    """Restored and compared as in a drill; then it is left there. Whoever is done with it, or comes next, sweeps it."""

    what = "rehearsal"

    def result(self) -> dict[str, Any]:
        self.store.prepare(create=not self.check_mode)
        self.choose(self.asked["label"] or self.newest())
        made: dict[str, Any] = {"database": "", "label": self.entry["label"], "heads": self.entry["heads"]}
        with ExitStack() as stack:
            self.connect(stack)
            self.check()
            self.cluster.take_turn(self.url.database, self.what, self.wait)
            swept = self.sweep()
            archive = stack.enter_context(self.opened())
            if not self.check_mode:
                with self.filled(archive, privileges=False, keep=True) as name:
                    found = self.settle(name)
                    self.note(found)
                    self.require_same(found)
                made.update(database=name, rows=found["rows"], phases=self.seconds)
        return {
            "changed": True,
            "clone": made,
            "swept": swept,
            "backups": self.store.catalogue().entries,
            "warnings": self.warnings,
        }

    def sweep(self) -> list[str]:
        """Also copies of earlier rehearsals, when nobody is at work in them."""
        names, until = self.copies(), self.wait
        for name in names:
            while sessions := self.cluster.sessions(name):
                if time.monotonic() >= until:
                    raise Refused(
                        f"somebody rehearses in {name}: {', '.join(sessions[:_LISTED])}",
                        code="REHEARSAL_ACTIVE",
                        expected="one rehearsal at a time",
                        next_step="wait for it; or end its session: SELECT pg_terminate_backend(pid)",
                        sessions=sessions,
                    )
                time.sleep(_TICK)
            if not self.check_mode:
                self.cluster.drop(name)
        return names + super().sweep()

    def copies(self) -> list[str]:
        return [aside.name for aside in self.cluster.asides(self.url.database) if aside.kind == self.what]


class Swept(Cloned):
    """The copies of rehearsals go."""

    def result(self) -> dict[str, Any]:
        with ExitStack() as stack:
            self.connect(stack)
            self.cluster.take_turn(self.url.database, self.what, self.wait)
            swept = self.sweep()
        return {"changed": bool(swept), "swept": swept, "warnings": self.warnings}
