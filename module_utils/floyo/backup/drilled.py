"""State drilled: a backup is restored where nobody is, compared, measured, dropped (glue)."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from ..errors import Unusable
from .copy import Copy

__all__ = ["Drill"]


class Drill(Copy):
    what = "drill"

    def result(self) -> dict[str, Any]:
        self.store.prepare(create=not self.check_mode)
        self.choose(self.asked["label"] or self.newest())
        drill: dict[str, Any] = {}
        with ExitStack() as stack:
            self.connect(stack)
            self.check()
            self.cluster.take_turn(self.url.database, "drill", self.wait)
            swept = self.sweep()
            archive = stack.enter_context(self.opened())
            if not self.check_mode:
                with self.filled(archive, privileges=False) as name:
                    found = self.settle(name)
                self.note(found)
                self.require_same(found)
                drill = self.report(found)
        return {
            "changed": True,
            "drill": drill,
            "swept": swept,
            "backups": self.store.catalogue().entries,
            "warnings": self.warnings,
        }

    def newest(self) -> str:
        for entry in self.store.catalogue().entries:
            if entry["verified"] and (entry["database"] == self.url.database or self.asked["accept_other_database"]):
                return str(entry["label"])
        raise Unusable(
            f"there is no sound backup of database {self.url.database} in {self.store.directory}",
            code="NO_BACKUP",
            expected="a backup to drill",
            next_step="take one (state present)",
        )

    def report(self, found: dict[str, Any]) -> dict[str, Any]:
        entry = next(entry for entry in self.store.catalogue().entries if entry["label"] == self.entry["label"])
        return {
            "label": self.entry["label"],
            "heads": found["heads"],
            "rows": found["rows"],
            "tables": found["tables"],
            "hashed": found["hashed"],
            "phases": self.seconds,
            "seconds": entry["seconds"],
        }
