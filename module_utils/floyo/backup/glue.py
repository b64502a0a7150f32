"""What module pg_backup does: take a backup, verify backups, list them (glue)."""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any, Callable, Optional, TypeVar

from ..errors import ConnectionLost, FloyoError, Refused, Unusable
from ..postgres.lock import application_name
from ..postgres.url import parse_url
from .archive import require_recipients
from .catalogue import NO_MANIFEST, Catalogue
from .cloned import Cloned, Swept
from .copied import Copies, Fetch, elsewhere, remote_of
from .drilled import Drill
from .imported import Import
from .in_place import InPlace
from .judge import (
    Programs,
    Toc,
    choose_programs,
    compress_option,
    compression,
    forecast,
    major_of,
    missing_from,
    parse_reserve,
    require_space,
    shrunk,
    usual_seconds,
)
from .looking import flaw_of, recorded, selected
from .manifest import link_to, seal
from .naming import label_for, next_moment, stamp
from .processes import Streamed
from .programs import dump, dump_directory, dump_encrypted, find_programs, jobs_of, offers
from .pruned import Prune, checked
from .restored import Restore, SwapBack
from .server import Counts, Server, Table
from .store import Store, explained

__all__ = ["backup"]

# Between the clocks of this host and of the server.
_CLOCKS_APART = 60.0
# What the server tells pg_dump when --lock-wait-timeout is over: it is a limit of one statement.
_LOCK_WAIT_OVER = "canceling statement due to statement timeout"
_Result = TypeVar("_Result")


def backup(parameters: Mapping[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Carry out the module's parameters and return its result; ``warnings`` are for the person."""
    store = Store(parameters["directory"])
    if parameters["state"] == "info":
        return _info(parameters, store)
    if parameters["state"] == "checked":
        return checked(parameters, store)
    if parameters["state"] == "verified":
        return _Verification(parameters, store, check_mode=check_mode).result()
    with _stoppable():
        if parameters["state"] == "restored":
            return _restored(parameters, store, check_mode)
        if parameters["state"] == "imported":
            return Import(
                parameters, store, check_mode=check_mode, safety=partial(_safety, parameters, store, check_mode)
            ).result()
        if parameters["state"] == "swapped_back":
            return SwapBack(parameters, store, check_mode=check_mode).result()
        if parameters["state"] == "pruned":
            return Prune(parameters, store, check_mode=check_mode).result()
        if parameters["state"] == "drilled":
            return Drill(parameters, store, check_mode=check_mode).result()
        if parameters["state"] == "cloned":
            return Cloned(parameters, store, check_mode=check_mode).result()
        if parameters["state"] == "swept":
            return Swept(parameters, store, check_mode=check_mode).result()
        if parameters["state"] == "copied":
            return Copies(parameters, store, check_mode=check_mode).result()
        if parameters["state"] == "fetched":
            return Fetch(parameters, store, check_mode=check_mode).result()
        # What is wrong with how the other place is named is wrong before a long dump.
        copies = Copies(parameters, store, check_mode=check_mode) if parameters["remote"] else None
        result = _Backup(parameters, store, check_mode=check_mode).result()
        return _copied(copies, result) if copies else result


def _restored(parameters: Mapping[str, Any], store: Store, check_mode: bool) -> dict[str, Any]:
    safety = partial(_safety, parameters, store, check_mode)
    try:
        return Restore(parameters, store, check_mode=check_mode, safety=safety).result()
    except Refused as error:
        if error.details.get("lacking") != ["CREATEDB"] or not parameters["accept_in_place"]:
            raise
    return InPlace(parameters, store, check_mode=check_mode, safety=safety).result()


def _info(parameters: Mapping[str, Any], store: Store) -> dict[str, Any]:
    entries = selected(store.catalogue(), parameters["label"])
    result = {"changed": False, "backups": entries, "running": store.running(), "warnings": list[str]()}
    if parameters["remote"]:
        try:
            remote = remote_of(parameters, time.monotonic() + parameters["timeout"])
            result["elsewhere"] = elsewhere(remote, store).entries
        except ConnectionLost as error:
            result["warnings"] = [f"what is elsewhere is unknown: {error.message}"]
    return result


def _copied(copies: Copies, result: dict[str, Any]) -> dict[str, Any]:
    """The backup is there and sound, whatever becomes of its copy; state checked says when none was made for long."""
    try:
        if copies.check_mode:
            copies.remote.sizes()
            return result
        made = copies.result(result["backup"]["label"])
        return {**result, "copied": made["copied"], "backups": made["backups"]}
    except FloyoError as error:
        if error.code == "STOPPED":
            raise
        warnings = [*result["warnings"], f"the backup has no copy elsewhere: {error.message}"]
        return {**result, "copied": [], "warnings": warnings}


def _safety(parameters: Mapping[str, Any], store: Store, check_mode: bool, reason: str) -> dict[str, Any]:
    """A backup of what a restore is about to replace. That it looks otherwise than the one before is no surprise."""
    more = {"label": "", "accept_shrink": False, "about": {**(parameters["about"] or {}), "reason": reason}}
    if parameters["safety_directory"]:
        store = Store(parameters["safety_directory"])
    result = _Backup({**parameters, **more}, store, check_mode=check_mode).result()
    return dict(result["backup"])


@contextmanager
def _stoppable() -> Iterator[None]:
    """A polite end (SIGTERM, SIGHUP, SIGINT) is an error like others: what is unfinished gets removed."""

    def stop(number: int, _frame: Any) -> None:
        raise FloyoError(
            f"stopped by {signal.Signals(number).name}", code="STOPPED", next_step="run the same command again"
        )

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- state present ---------------------------------------------------------------------------------------------------


class _Backup:
    """One new backup. In check mode everything is asked and nothing is written."""

    server: Server
    facts: dict[str, Any]
    programs: Programs
    compress: str
    catalogue: Catalogue
    tables: list[Table]
    described: dict[str, Any]
    toc: Optional[Toc] = None  # what was read while it was encrypted

    def __init__(self, parameters: Mapping[str, Any], store: Store, *, check_mode: bool) -> None:
        self.asked, self.store, self.check_mode = parameters, store, check_mode
        if parameters["label"]:
            raise Unusable("a new backup makes its own label", code="LABEL_GIVEN", next_step="leave label out")
        if not parameters["database_url"]:
            raise Unusable(
                "database_url is empty", code="DATABASE_URL_UNUSABLE", expected="the owner's URL of the database"
            )
        self.recipients: list[str] = parameters["recipients"] or []
        self.format: str = parameters["format"]
        if self.recipients and self.format == "directory":
            raise Unusable(
                "a backup in the directory format cannot be encrypted: pg_dump writes its files to the disk by itself",
                code="FORMAT_UNUSABLE",
                expected="recipients or the directory format",
                next_step="leave format out: the custom one is encrypted before it reaches the disk",
            )
        self.url = parse_url(parameters["database_url"])
        self.started = time.time()
        self.deadline = time.monotonic() + parameters["timeout"]
        self.warnings: list[str] = []
        self.seconds: dict[str, float] = {}

    def result(self) -> dict[str, Any]:
        self.store.prepare(create=not self.check_mode)
        with closing(Server(self.url)) as self.server:
            self.facts = self.server.facts()
            self.require_primary()
            self.require_rights()
            needs = f"server {self.facts['version'].split()[0]}"
            self.programs = choose_programs(
                find_programs(self.asked["bin_dir"]), self.facts["version_num"] // 10000, needs
            )
            require_recipients(self.recipients)
            self.compress = compression(self.asked["compress"], self.programs.major, partial(offers, self.programs))
            until = min(self.deadline, time.monotonic() + self.asked["lock_wait"])
            # The host's lock first, then the database's: everybody in this order.
            with self.store.lock(until, create=not self.check_mode):
                self.server.take_lock(self.facts["database"], until)
                return self.under_lock()

    def require_primary(self) -> None:
        if self.facts["pooled"]:
            raise Refused(
                f"{self.url} is a connection pooler",
                code="POOLER",
                expected="the server itself: locks and snapshots belong to one connection",
                next_step="name the server's own address and port in database_url",
            )
        if self.facts["in_recovery"]:
            raise Refused(
                f"{self.url} is a replica: it may lag, and its locks do not keep a migration on the primary away",
                code="REPLICA",
                expected="the primary",
                next_step="name the primary, or several hosts and ?target_session_attrs=read-write",
            )
        apart = self.facts["clock"] - time.time()
        if abs(apart) > _CLOCKS_APART:
            self.warnings.append(f"the server's clock is {apart:+.0f} s apart from this host's: is the time in sync?")

    def require_rights(self) -> None:
        found = self.server.unreadable()
        if found:
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            raise Refused(
                f"role {self.facts['user']} cannot read all of database {self.facts['database']}:"
                f" {', '.join(found[:5])}{more}",
                code="RIGHTS_MISSING",
                expected="the owner of all tables, or a role with SELECT on them that row security does not touch",
                next_step="put the owner's account in database_url, or give the rights: a partial backup is none",
                unreadable=found,
            )

    def under_lock(self) -> dict[str, Any]:
        swept = self.store.unfinished()
        freed = self.store.size_of(swept)
        if not self.check_mode:
            self.store.sweep(swept)
        self.catalogue = self.store.catalogue()
        self.server.limit(lock_timeout=self.asked["lock_timeout"], deadline=self.deadline)
        backup: dict[str, Any] = {}
        with ExitStack() as unfinished:
            with self.server.snapshot() as snapshot:
                self.tables = self.server.tables()
                self.server.hold(self.tables)
                self.described = self.server.describe(self.tables, self.asked["version_table"])
                plan = self.plan(more=freed if self.check_mode else 0)
                if not self.check_mode:
                    moment, label = self.new_label()
                    unfinished.enter_context(self.store.discarding(label))
                    with self.counting() as counting:
                        written = self.dump(label, snapshot, plan["forecast"])
                        counts = counting.result()
            # What follows takes time and needs the database no more: its tables are free.
            if not self.check_mode:
                toc = self.timed("verify", self.verified, label, written)
                backup = self.published(label, moment, written, counts, toc)
        return {
            "changed": True,
            "plan": plan,
            "backup": backup,
            "backups": self.store.catalogue().entries,
            "swept": swept,
            "freed": freed,
            "warnings": self.warnings,
        }

    def plan(self, *, more: int) -> dict[str, Any]:
        """What will be made of what, and that there is room for it. ``more``: what a sweep would free."""
        before = self.catalogue.newest(self.facts["database"])
        need = forecast(self.described["table_bytes"], before, self.compress)
        space = self.store.space()
        space = replace(space, free=space.free + more)
        reserve = parse_reserve(self.asked["min_free"], space.total)
        require_space(space, need, reserve, self.store.directory)
        return {
            "database": self.facts["database"],
            "heads": self.described["alembic"]["heads"],
            "server": self.facts["version"],
            "client": self.programs.version,
            "compress": self.compress,
            "forecast": need,
            "free": space.free,
            "reserve": reserve,
        }

    def new_label(self) -> tuple[datetime, str]:
        """Later than every label that is there, whatever the clock says."""
        moment, put_back = next_moment(datetime.now(timezone.utc), self.store.scan())
        if put_back:
            self.warnings.append(
                f"this host's clock is behind the newest backup; the new one is dated {stamp(moment)} to follow it"
            )
        return moment, label_for(moment, secrets.token_hex(3))

    def timed(self, what: str, work: Callable[..., _Result], *arguments: Any) -> _Result:
        begin = time.monotonic()
        result = work(*arguments)
        self.seconds[what] = round(time.monotonic() - begin, 3)
        return result

    @contextmanager
    def counting(self) -> Iterator[Future[Counts]]:
        """Count while pg_dump works: the same snapshot, another of the machine's processors."""
        with ThreadPoolExecutor(1) as pool:
            counting = pool.submit(self.timed, "count", self.server.counts, self.tables)
            try:
                yield counting
            finally:
                while not counting.done():  # the dump has failed; between two statements there is nothing to cancel
                    self.server.cancel()
                    wait([counting], timeout=0.2)

    def dump(self, label: str, snapshot: str, expected: int) -> Streamed:
        usual = usual_seconds(self.catalogue.newest(self.facts["database"]), self.described["table_bytes"])
        facts = {"database": self.facts["database"], "forecast": expected, "since": time.time(), "usual_seconds": usual}
        environment = {
            **self.url.environment(host=self.facts["host"], port=self.facts["port"]),
            "PGAPPNAME": application_name("dump"),
        }
        arguments = [
            compress_option(self.compress, self.programs.major),
            f"--lock-wait-timeout={max(1, int(self.asked['lock_timeout'] * 1000))}",
            f"--snapshot={snapshot}",
        ]

        def report(size: int) -> None:
            self.store.report(label, {**facts, "phase": "dump", "bytes": size})

        common: dict[str, Any] = {"deadline": self.deadline, "progress": report, "secrets": [self.url.password]}

        def write_directory() -> Streamed:
            path = self.store.begin_directory(label, {**facts, "phase": "dump", "bytes": 0})
            return dump_directory(
                self.programs, arguments, environment, path, jobs=jobs_of(self.asked["jobs"]), **common
            )

        def write_file() -> Streamed:
            sink = self.store.begin(label, {**facts, "phase": "dump", "bytes": 0})
            try:
                if self.recipients:
                    written, self.toc = dump_encrypted(
                        self.programs, arguments, environment, sink, recipients=self.recipients, **common
                    )
                else:
                    written = dump(self.programs, arguments, environment, sink, **common)
                os.fsync(sink)
            finally:
                os.close(sink)
            return written

        def write() -> Streamed:
            written = write_directory() if self.format == "directory" else write_file()
            self.store.report(label, {**facts, "phase": "verify", "bytes": written.size})
            return written

        try:
            with explained(self.store.directory):
                return self.timed("dump", write)
        except FloyoError as error:
            if _LOCK_WAIT_OVER in error.details.get("output_tail", ""):
                raise self.server.locked(self.tables) from error
            raise

    def verified(self, label: str, written: Streamed) -> Toc:
        """What was written can be read again, and nothing of the database is missing."""
        identity = self.asked["identity_file"] if self.recipients else ""
        flaw, toc = flaw_of(self.store, label, "partial", self.programs, written, self.deadline, identity)
        toc = toc or self.toc
        if toc is not None and not flaw:
            leaves = {table.oid: str(table) for table in self.tables if not table.partitioned}
            flaw = missing_from(toc, leaves, self.described["large_objects"])
        if toc is None or flaw:
            raise Unusable(
                f"the new dump is not sound: {flaw}",
                code="BACKUP_DAMAGED",
                expected="a dump that reads back as it was written and holds every table",
                next_step="look at the disk (dmesg, smartctl), then run the same command again; nothing was kept of this run",
            )
        return toc

    def published(self, label: str, moment: datetime, written: Streamed, counts: Counts, toc: Toc) -> dict[str, Any]:
        # One that looked wrong itself is no measure for the next.
        suspect = shrunk(counts.rows, self.catalogue.newest(self.facts["database"], suspects=False))
        if self.asked["accept_shrink"]:
            suspect = ""
        if suspect:
            self.warnings.append(
                f"backup {label} is sound and looks wrong: {suspect}; if that is meant, run once with accept_shrink"
            )
        identity = ("version", "version_num", "system_identifier", "encoding", "collate", "user")
        manifest = seal(
            {
                **self.described,
                "label": label,
                "sequence": self.catalogue.sequence + 1,
                "created": stamp(moment),
                "clock": {"host": self.started, "server": self.facts["clock"]},
                "database": self.facts["database"],
                "dump": {
                    "size": written.size,
                    "sha256": written.sha256,
                    "plain_sha256": written.plain,
                    "encryption": {"method": "age", "recipients": self.recipients} if self.recipients else {},
                    "format": self.format,
                    "compress": self.compress,
                    "toc": toc.facts(),
                },
                "rows": counts.rows,
                "hashes": counts.hashes,
                "suspect": suspect,
                "server": {key: self.facts[key] for key in identity},
                "client": {"version": self.programs.version},
                "host": self.store.here.host,
                "about": dict(self.asked["about"] or {}),
                "seconds": self.seconds,
                "verified_at": stamp(datetime.now(timezone.utc)),
                "previous": link_to(self.catalogue.newest()),
            }
        )
        self.store.publish(label, manifest)
        return {
            "label": label,
            "path": self.store.path(label, "dump"),
            "size": written.size,
            "sha256": written.sha256,
            "manifest": manifest,
            "manifest_path": self.store.path(label, "manifest"),
            "seconds": round(sum(self.seconds.values()), 3),
        }


# --- state verified --------------------------------------------------------------------------------------------------


class _Verification:
    """Read existing backups from the first to the last byte. No lock: a dump that is opened stays whole."""

    def __init__(self, parameters: Mapping[str, Any], store: Store, *, check_mode: bool) -> None:
        self.asked, self.store, self.check_mode = parameters, store, check_mode
        self.deadline = time.monotonic() + parameters["timeout"]
        self.warnings: list[str] = []
        self.unread: list[str] = []

    def result(self) -> dict[str, Any]:
        catalogue = self.store.catalogue()
        # A dump without a manifest is no backup: there is nothing to verify it by.
        before = [entry for entry in selected(catalogue, self.asked["label"]) if entry["problem"] != NO_MANIFEST]
        if not before:
            self.warnings.append(f"there is no backup in {self.store.directory}")
        after = [self.looked_at(entry, catalogue) for entry in before]
        damaged = [entry for entry in after if not entry["verified"]]
        if damaged:
            raise Unusable(
                "; ".join(f"backup {entry['label']}: {entry['problem']}" for entry in damaged),
                code="BACKUP_DAMAGED",
                expected="every backup as it was written",
                next_step="take a new backup, and look at the disk (dmesg, smartctl) before these are removed",
                backups=after,
                damaged=[entry["label"] for entry in damaged],
            )
        if self.unread:
            self.warnings.append(
                f"encrypted, and compared by their bytes alone: {', '.join(self.unread)}; with identity_file what is in them"
                " is read too"
            )
        changed = any(new["verified"] != old["verified"] for new, old in zip(after, before))
        return {"changed": changed, "backups": after, "warnings": self.warnings}

    def looked_at(self, entry: dict[str, Any], catalogue: Catalogue) -> dict[str, Any]:
        """The entry after its dump was read. What names, sizes and manifests tell already needs no reading."""
        label = entry["label"]
        manifest = catalogue.manifests.get(label)
        problem = catalogue.problems[label]
        if manifest is not None and not problem:
            found = find_programs(self.asked["bin_dir"])
            programs = choose_programs(found, major_of(manifest["client"]["version"]), f"backup {label}")
            identity = self.asked["identity_file"]
            problem, _ = flaw_of(self.store, label, "dump", programs, recorded(manifest), self.deadline, identity)
            if recorded(manifest).plain and not identity:
                self.unread.append(label)
        at = stamp(datetime.now(timezone.utc))
        if manifest is not None and not self.check_mode:
            self.store.note(label, {"manifest": manifest["digest"], "at": at, "problem": problem})
        return {**entry, "verified": manifest is not None and not problem, "problem": problem, "verified_at": at}
