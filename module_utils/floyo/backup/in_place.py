"""State restored where the account may not make databases: in the live one, in one transaction (glue).

What is there goes and the backup comes back, is compared, and is committed; whatever ends us before leaves what was there. The
price: nobody can work meanwhile, and nothing is kept to swap back but the safety backup.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from typing import Any, Callable

from ..errors import FloyoError, Refused
from .archive import Archive
from .cluster import quoted
from .inside import Inside
from .judge import restore_failure
from .plain import PlainDump, split_lines
from .programs import script
from .restored import Restore, undisturbed
from .store import Store

__all__ = ["InPlace"]

_LISTED = 5
_LOCK_TIMEOUT = "55P03"


class InPlace(Restore):
    def __init__(
        self, parameters: Mapping[str, Any], store: Store, *, check_mode: bool, safety: Callable[[str], dict[str, Any]]
    ) -> None:
        super().__init__(parameters, store, check_mode=check_mode, safety=safety)
        if parameters["jobs"] > 1:
            raise Refused(
                f"{parameters['jobs']} connections cannot restore in one transaction",
                code="JOBS_UNUSABLE",
                expected="jobs 0 or 1 with accept_in_place, also for the directory format",
                next_step="leave jobs out; or give the account CREATEDB: a new database is filled by several at once",
            )
        if not parameters["safety_backup"]:
            raise Refused(
                "a restore in place keeps nothing of the live database",
                code="NO_WAY_BACK",
                expected="a safety backup, which is the only way back",
                next_step="leave safety_backup out",
            )

    def check(self) -> None:
        super().check()
        with closing(self.inside()) as inside:
            foreign = inside.not_of(self.like.owner)
            lacking = [name for name in self.guarded if name not in inside.extensions()]
        if foreign:
            raise Refused(
                f"in database {self.url.database} not everything is {self.like.owner}'s: {', '.join(foreign[:_LISTED])}",
                code="OTHER_OWNERS",
                expected="a database whose owner may drop all that is in it",
                next_step="give it to the owner (REASSIGN OWNED), or restore with a maintenance_url that may make databases",
                objects=foreign,
            )
        if lacking:
            raise self.needs_a_superuser(lacking)

    def _check_rights(self) -> None:
        lacking = [each for each in self.cluster.lacking(self.like.owner) if each != "CREATEDB"]
        if lacking:
            raise self.lacks(lacking)

    def require_creatable(self) -> None:
        """Extensions that are there stay there: only a look into the database tells."""

    def require_movable(self) -> None:
        """Who is in the database may stay, and waits."""

    def plan(self) -> dict[str, Any]:
        return {**super().plan(), "in_place": True}

    def inside(self) -> Inside:
        return Inside(replace(self._pinned(), database=self.url.database), self.what)

    def restored(self, stack: ExitStack, archive: Archive) -> dict[str, Any]:
        inside = stack.enter_context(closing(self.inside()))
        inside.take_lock(self.url.database, self.wait)
        inside.limit(lock_timeout=self.asked["lock_timeout"], deadline=self.deadline)
        if self.like.owner != self.url.user:
            inside.become(self.like.owner)
        inside.begin()
        public = inside.owner_of_public()
        self.timed("clear", self.clear, inside, public)
        self.timed("restore", self.refill, inside, archive)
        inside.reset()
        if public == self.like.owner:
            inside.execute(f"ALTER SCHEMA public OWNER TO {quoted(public)}")
        self.grant(inside)
        self.timed("analyze", inside.analyze)
        found = self.timed("compare", self.compared, inside)
        self.require_same(found)
        with undisturbed():
            if not self.timed("commit", inside.commit):
                self.warnings.append("the connection was lost at the end of the restore, which has taken place")
        self.noted(found)
        return self.report(found, kept="")

    def clear(self, inside: Inside, public: str) -> None:
        with self.cluster.making_way(inside.pid) as stay:
            try:
                inside.alone(inside.tables())
                if public == self.like.owner:
                    # Else it would go too, and a new one is not what a dump counts on.
                    inside.execute("ALTER SCHEMA public OWNER TO pg_database_owner")
                inside.clear()
            except FloyoError as error:
                if error.details.get("sqlstate") != _LOCK_TIMEOUT:
                    raise
                raise Refused(
                    "somebody works with a table and may not be ended: " + (", ".join(stay[:_LISTED]) or error.message),
                    code="TABLE_LOCKED",
                    expected="every table within lock_timeout",
                    next_step="end that session as an administrator, then run the same command again; nothing was changed",
                    sessions=list(stay),
                ) from error

    def refill(self, inside: Inside, archive: Archive) -> None:
        label, read = self.entry["label"], 0
        record = {"phase": self.what, "database": self.url.database, "since": time.time()}
        record.update(usual_seconds=self.entry["seconds"], forecast=self.manifest.get("database_bytes", 0))

        def report() -> None:
            with suppress(FloyoError):  # how far it has come is not worth a restore
                self.store.report(label, {**record, "bytes": read})

        def counted(chunk: bytes) -> bytes:
            nonlocal read
            read += len(chunk)
            return chunk

        arguments = ["--no-privileges"] if self.asked["application_role"] else []
        try:
            with script(self.programs, arguments, archive, deadline=self.deadline) as chunks:
                inside.load(PlainDump(ours=True).pieces(split_lines(map(counted, chunks))), report)
        except FloyoError as error:
            if error.code not in ("DATABASE_FAILED", "RESTORE_FAILED"):
                raise
            code, step = restore_failure(error.message + str(error.details.get("output_tail", "")))
            error.code, error.next_step = code, f"{step}; the live database is as it was"
            raise
        finally:
            self.store.done(label)
