"""States restored and swapped_back: another database takes the live one's name (glue)."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timezone
from typing import Any, Callable, Optional

from ..errors import ConnectionLost, FloyoError, Refused, Unusable
from .archive import Archive
from .cluster import Cluster, quoted
from .copy import Copy
from .databases import Aside, kept_name
from .naming import stamp
from .server import Server
from .store import Store

__all__ = ["Restore", "SwapBack", "undisturbed"]

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class _Exchange(Copy):
    """What ends in an exchange of two databases."""

    what = "restore"

    def require_movable(self) -> None:
        stay = self.cluster.immovable(self.url.database)
        if stay:
            raise Refused(
                f"role {self.facts['user']} may not end sessions in database {self.url.database}: {', '.join(stay[:5])}",
                code="SESSIONS_LEFT",
                expected="no session, or an account that may end it",
                next_step="end them as an administrator; let the owner be a member of their role; or name maintenance_url",
                sessions=stay,
            )

    def require_heads(self, heads: list[str], what: str) -> None:
        """What the caller has planned with is what is there."""
        expected = self.asked["expected_heads"]
        if expected is not None and sorted(expected) != sorted(heads):
            raise Refused(
                f"{what} is at {', '.join(heads) or 'no revision'}, not at {', '.join(expected) or 'none'}",
                code="OTHER_HEADS",
                expected="the revision that the caller has planned with",
                next_step="plan again, or choose a backup of that revision (state info)",
            )

    def hold_live(self, stack: ExitStack) -> Server:
        """Keeps migrations and backups away from the live database. Its connection has to end before the exchange."""
        live = stack.enter_context(closing(self.owner_at(self.url.database)))
        live.take_lock(self.url.database, self.wait)
        return live

    def kept(self, kind: str) -> str:
        """A new name for the live database. By the server's clock, and no older than what is there."""
        now = self.cluster.now()
        times = [aside.since.timestamp() for aside in self.cluster.asides(self.url.database) if aside.since]
        now = max([now, *(moment + 1 for moment in times)])
        return kept_name(self.url.database, kind, datetime.fromtimestamp(now, timezone.utc))

    def exchange(self, incoming: str, kept: str) -> None:
        """Whoever wants to stop us waits: it is over soon, and half of it does not exist."""
        taken = self.cluster.database(incoming)
        assert self.live is not None and taken is not None  # noqa: S101 - for the type checker: both were there just now
        until = min(self.deadline, time.monotonic() + self.asked["swap_wait"])
        with undisturbed():
            try:
                self.timed("swap", self.cluster.exchange, self.live, incoming, kept, until)
            except ConnectionLost:
                # Only the server knows whether the commit has reached it.
                with closing(Cluster(self.maintenance, self.what)) as again:
                    now = again.database(self.url.database)
                if now is None or now.oid != taken.oid:
                    raise
                self.warnings.append("the connection was lost at the end of the exchange, which has taken place")


class Restore(_Exchange):
    """A backup becomes the live database; what was live is kept beside it for a while."""

    def __init__(
        self, parameters: Mapping[str, Any], store: Store, *, check_mode: bool, safety: Callable[[str], dict[str, Any]]
    ) -> None:
        """``safety(reason)`` takes a backup of the live database, or in check mode tries whether it could be taken."""
        super().__init__(parameters, store, check_mode=check_mode)
        self.safety = safety
        self.require_named()

    def require_named(self) -> None:
        if not self.asked["label"]:
            newest = ", ".join(entry["label"] for entry in self.store.catalogue().entries[:3]) or "there is none"
            raise Unusable(
                "no backup is named",
                code="LABEL_MISSING",
                expected="the label of the backup to restore",
                next_step=f"choose one of the list; the newest: {newest}",
            )

    def result(self) -> dict[str, Any]:
        self.store.prepare(create=not self.check_mode)
        self.choose(self.asked["label"])
        self.require_heads(self.manifest["alembic"].get("heads", []), f"backup {self.entry['label']}")
        self.require_fingerprint()
        with ExitStack() as stack:
            self.connect(stack)
            self.check()
            self.require_movable()
            self.cluster.take_turn(self.url.database, "restore", self.wait)
            swept = self.sweep()
            archive = stack.enter_context(self.opened())
            plan = self.plan()
            safe: dict[str, Any] = {}
            if self.live and self.asked["safety_backup"]:
                safe = self.timed("safety", self.safe)
            restored = {} if self.check_mode else self.restored(stack, archive)
        return {
            "changed": True,
            "plan": plan,
            "restored": {**restored, "safety_backup": safe.get("label", "")} if restored else {},
            "swept": swept,
            "backups": self.store.catalogue().entries,
            "warnings": self.warnings,
        }

    def require_fingerprint(self) -> None:
        expected, found = self.asked["expected_schema"], self.manifest["schema"].get("sha256", "")
        if expected and expected != found:
            raise Refused(
                f"the schema of backup {self.entry['label']} is {found[:12]}, not {expected[:12]}",
                code="OTHER_SCHEMA",
                expected="the schema that the caller has planned with",
                next_step="same revision, other structure: somebody changed it by hand; compare both before you go on",
            )

    def plan(self) -> dict[str, Any]:
        return {
            "backup": self.entry["label"],
            "database": self.url.database,
            "created": self.entry["created"],
            "heads": self.entry["heads"],
            "rows": self.entry["rows"],
            "server": self.facts["version"],
            "client": self.programs.version,
            "bytes": self.manifest.get("database_bytes", 0),
            "replaces": self.live.size if self.live else None,
            "live_rows": self.live_rows(),
            "seconds": self.entry["seconds"],
            "loses": f"what was written since {self.entry['created']}" if self.live else "",
        }

    def live_rows(self) -> Optional[int]:
        if not self.live:
            return None
        with closing(self.owner_at(self.url.database)) as live:
            return live.about_rows()

    def safe(self) -> dict[str, Any]:
        try:
            return self.safety(f"before the restore of {self.entry['label']}")
        except FloyoError as error:
            error.message = f"no backup of the live database can be taken before it is replaced: {error.message}"
            error.next_step += (
                "; or agree with safety_backup=false: the live database is kept beside the restored one anyway"
            )
            raise

    def grant(self, inside: Server) -> None:
        if self.asked["application_role"]:
            if self.like.owner != self.url.user:
                inside.become(self.like.owner)
            inside.admit(self.asked["application_role"])

    def give_public(self, name: str) -> None:
        """A new database's schema public belongs to whoever owns the database: the same in effect, not in name."""
        with closing(self.owner_at(name)) as inside:
            if inside.owner_of_public() not in ("", self.like.owner):
                inside.execute(f"ALTER SCHEMA public OWNER TO {quoted(self.like.owner)}")

    def restored(self, stack: ExitStack, archive: Archive) -> dict[str, Any]:
        live = self.hold_live(stack) if self.live else None
        kept = ""
        with self.filled(archive, privileges=not self.asked["application_role"]) as name:
            found = self.settle(name)
            self.require_same(found)
            if live and live.owner_of_public() == self.like.owner:
                self.give_public(name)
            if live and self.live:
                self.warnings += [
                    f"a setting needs an administrator: {text}" for text in self.cluster.dress(name, self.live)
                ]
                kept = self.kept("old")
                live.close()
                self.exchange(name, kept)
            else:
                self.cluster.rename(name, self.url.database, self.asked["application_role"])
        self.noted(found)
        return self.report(found, kept=kept)

    def noted(self, found: Mapping[str, Any]) -> None:
        try:
            self.note(found)
        except FloyoError as error:  # the restored database is live already: that is not undone by a full disk
            self.warnings.append(f"how long it took could not be noted: {error.message}")

    def report(self, found: Mapping[str, Any], *, kept: str) -> dict[str, Any]:
        return {
            "label": self.entry["label"],
            "database": self.url.database,
            "kept": kept,
            "heads": found["heads"],
            "rows": found["rows"],
            "tables": found["tables"],
            "phases": self.seconds,
            "seconds": round(sum(self.seconds.values()), 3),
        }


class SwapBack(_Exchange):
    """The database that a restore has replaced becomes the live one again."""

    def result(self) -> dict[str, Any]:
        with ExitStack() as stack:
            self.connect(stack)
            if self.live is None:
                raise Unusable(
                    f"there is no database {self.url.database}",
                    code="DATABASE_MISSING",
                    next_step="correct database_url",
                )
            self.like = self.live
            self._check_rights()
            self.require_movable()
            self.cluster.take_turn(self.url.database, "restore", self.wait)
            back = self.chosen()
            heads = self.heads_of(back)
            self.require_heads(heads, f"database {back.name}")
            kept = self.kept("undone")
            if not self.check_mode:
                live = self.hold_live(stack)
                live.close()
                self.exchange(back.name, kept)
        assert back.since is not None  # noqa: S101 - for the type checker: only kept ones are chosen
        return {
            "changed": True,
            "swapped_back": {
                "database": self.url.database,
                "from": back.name,
                "kept": kept,
                "live_until": stamp(back.since),
                "heads": heads,
                "seconds": self.seconds.get("swap", 0.0),
            },
            "warnings": self.warnings,
        }

    def chosen(self) -> Aside:
        kept = [aside for aside in self.cluster.asides(self.url.database) if aside.since is not None]
        name = self.asked["kept_database"]
        found = [aside for aside in kept if (aside.name == name if name else aside.kind == "old")]
        if not found:
            raise Refused(
                f"no database {name or 'of an earlier restore'} is kept beside {self.url.database}",
                code="NOTHING_TO_SWAP_BACK",
                expected="a database that a restore has replaced",
                next_step="restore the safety backup that it has taken (state info)"
                + (f"; kept are {', '.join(aside.name for aside in kept)}" if kept else ""),
            )
        newest = found[0]
        assert newest.since is not None  # noqa: S101 - for the type checker: only kept ones are listed
        hours = (self.cluster.now() - newest.since.timestamp()) / 3600
        if hours > self.asked["keep_old"]:
            raise Refused(
                f"database {newest.name} was live until {stamp(newest.since)}, {hours:.1f} hours ago",
                code="TOO_OLD",
                expected=f"at most keep_old, {self.asked['keep_old']:g} hours",
                next_step="what was written since is lost by going back; agree with a longer keep_old",
            )
        return newest

    def heads_of(self, back: Aside) -> list[str]:
        with closing(self.owner_at(back.name)) as inside:
            found = inside.describe(inside.tables(), self.asked["version_table"])
        return list(found["alembic"]["heads"])


@contextmanager
def undisturbed() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
