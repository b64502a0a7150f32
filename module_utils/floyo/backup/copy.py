"""A backup, put into a new database beside the live one and compared with its manifest (glue).

What restores and drills have in common. The live database is not touched here.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Optional, TypeVar

from ..errors import ConnectionLost, FloyoError, Refused, Unusable
from ..postgres.lock import application_name
from ..postgres.url import DatabaseUrl, parse_url
from .archive import Archive
from .cluster import Cluster, Database, quoted
from .databases import scratch_name
from .judge import (
    Programs,
    Space,
    choose_programs,
    differences,
    major_of,
    other_structure,
    parse_reserve,
    premade,
    restore_failure,
)
from .looking import flaw_in, look_again, recorded, selected
from .naming import stamp
from .programs import find_programs, jobs_of, listing, restore
from .server import Server
from .store import Store

__all__ = ["Copy"]

_SPACE_MARGIN = 1.1  # a new database has no bloat, and the log of its making beside it
_Result = TypeVar("_Result")


class Copy:
    """One backup and the databases beside the live one. Subclasses say what becomes of the copy."""

    what = ""  # restore or drill: names the copies, the connections and the lock

    cluster: Cluster
    live: Optional[Database]
    like: Database
    entry: dict[str, Any]
    manifest: dict[str, Any]
    programs: Programs
    facts: dict[str, Any]
    guarded: list[str]  # extensions that only a superuser may create

    def __init__(self, parameters: Mapping[str, Any], store: Store, *, check_mode: bool) -> None:
        self.asked, self.store, self.check_mode = parameters, store, check_mode
        if not parameters["database_url"]:
            raise Unusable(
                "database_url is empty", code="DATABASE_URL_UNUSABLE", expected="the owner's URL of the database"
            )
        self.url = parse_url(parameters["database_url"])
        given = parameters["maintenance_url"]
        self.maintenance = parse_url(given, name="maintenance_url") if given else replace(self.url, database="postgres")
        self.started = time.time()
        self.deadline = time.monotonic() + parameters["timeout"]
        self.warnings: list[str] = []
        self.seconds: dict[str, float] = {}

    @property
    def wait(self) -> float:
        return min(self.deadline, time.monotonic() + self.asked["lock_wait"])

    def timed(self, what: str, work: Callable[..., _Result], *arguments: Any) -> _Result:
        begin = time.monotonic()
        try:
            return work(*arguments)
        finally:
            self.seconds[what] = round(time.monotonic() - begin, 3)

    # --- which one ----------------------------------------------------------------------------------------------------

    def choose(self, label: str) -> None:
        catalogue = self.store.catalogue()
        (self.entry,) = selected(catalogue, label)
        # What one drill has found, another one may look at again.
        if not self.entry["verified"] and (
            self.what != "drill" or self.entry["problem"] != self.entry["drill_problem"]
        ):
            raise Unusable(
                f"backup {label} is no sound one: {self.entry['problem']}",
                code="BACKUP_DAMAGED",
                expected="a backup that reads back as it was written",
                next_step="choose another one of the list (state info)",
            )
        self.manifest = catalogue.manifests[label]
        if recorded(self.manifest).plain and not self.asked["identity_file"]:
            raise Unusable(
                f"backup {label} is encrypted, and no key is given",
                code="KEY_MISSING",
                expected="identity_file, the secret key of one of its recipients",
                next_step="put it on the host with mode 0600 for as long as it is needed, and name it",
            )
        if self.manifest["database"] != self.url.database and not self.asked["accept_other_database"]:
            raise Refused(
                f"backup {label} is of database {self.manifest['database']}, not of {self.url.database}",
                code="OTHER_DATABASE",
                expected="a backup of the database that is named",
                next_step="choose another one; or agree with accept_other_database",
            )

    @contextmanager
    def opened(self) -> Iterator[Archive]:
        """The dump, after every byte of it was read. Whatever is done to its name, it stays this one."""
        label, sealed = self.entry["label"], bool(recorded(self.manifest).plain)
        with self.store.open_dump(label, sealed=sealed, identity=self.asked["identity_file"]) as archive:
            self.timed("verify", self.verify, label, archive)
            yield archive

    def verify(self, label: str, archive: Archive) -> None:
        problem, toc = flaw_in(archive, self.programs, recorded(self.manifest), self.deadline)
        expected = self.manifest["dump"]["toc"]
        # Another version of pg_restore may list the same dump differently; sha256 and the reading count.
        if not problem and toc is not None and expected.get("entries") not in (None, toc.entries):
            problem = f"the dump has {toc.entries} entries instead of {expected['entries']}"
        if problem:
            if not self.check_mode:
                look_again(self.store, label, self.manifest, problem)
            raise Unusable(
                f"backup {label} is damaged: {problem}",
                code="BACKUP_DAMAGED",
                expected="every byte as it was written",
                next_step="choose another one of the list, and look at the disk (dmesg, smartctl); nothing was changed",
            )

    # --- whether it can be --------------------------------------------------------------------------------------------

    def connect(self, stack: ExitStack) -> None:
        self.cluster = stack.enter_context(closing(Cluster(self.maintenance, self.what)))
        self.facts = self.cluster.facts()
        for condition, code, found in (
            (self.facts["pooled"], "POOLER", "a connection pooler"),
            (self.facts["in_recovery"], "REPLICA", "a replica"),
        ):
            if condition:
                raise Refused(
                    f"{self.maintenance} is {found}",
                    code=code,
                    expected="the primary server itself",
                    next_step="name its own address and port in database_url or maintenance_url",
                )
        self.cluster.limit(lock_timeout=self.asked["lock_timeout"], deadline=self.deadline)
        self.live = self.cluster.database(self.url.database)

    def check(self) -> None:
        """All that can stand in the way is looked for before anything is made."""
        server, major = self.facts["version_num"] // 10000, major_of(self.manifest["server"]["version"])
        if server < major:
            raise Refused(
                f"backup {self.entry['label']} is of PostgreSQL {major}, the server is {self.facts['version'].split()[0]}",
                code="SERVER_OLDER",
                expected=f"PostgreSQL {major} or later",
                next_step="restore on a newer server; what a newer one has written an older one may not read",
            )
        client = max(server, major_of(self.manifest["client"]["version"]))
        self.programs = choose_programs(find_programs(self.asked["bin_dir"]), client, "the restore")
        self.like = self.live or self._like_the_manifest()
        self._check_rights()
        self._check_roles()
        self._check_extensions()
        self._check_space()

    def _like_the_manifest(self) -> Database:
        """The live database is gone: what the manifest and the account tell has to do."""
        server = self.manifest["server"]
        return Database(
            0, self.url.database, self.url.user or self.facts["user"], server["encoding"], server["collate"],
            server["collate"], "c", "", "pg_default", 0,
        )  # fmt: skip

    def _check_rights(self) -> None:
        lacking = self.cluster.lacking(self.like.owner)
        if lacking:
            raise self.lacks(lacking)

    def lacks(self, lacking: list[str]) -> Refused:
        offer = self.what == "restore" and lacking == ["CREATEDB"] and self.live is not None and self.asked["label"]
        return Refused(
            f"role {self.facts['user']} may not make a database beside {self.url.database}:"
            f" it lacks {' and '.join(lacking)}",
            code="RIGHTS_MISSING",
            expected="the owner with CREATEDB, or a maintenance_url of an account that may",
            next_step="set floyo_postgres_owner_restores and run playbooks/provision.yml; or name maintenance_url"
            + (
                "; or agree with accept_in_place (-e floyo_backup_in_place=true): in one transaction, nobody works meanwhile"
                if offer
                else ""
            ),
            lacking=lacking,
        )

    def _check_roles(self) -> None:
        absent = self.cluster.absent_roles(self.manifest.get("roles", []))
        needed = [] if self.asked["application_role"] or self.what != "restore" else absent
        if needed:
            raise Refused(
                f"the server has no role {', '.join(needed)}, which backup {self.entry['label']} gives rights to",
                code="ROLES_MISSING",
                expected="every role of the backup",
                next_step="create them, or name application_role: it gets the usual rights in place of the backup's",
                roles=needed,
            )
        role = self.asked["application_role"]
        if role and self.cluster.absent_roles([role]):
            raise Refused(f"the server has no role {role}", code="ROLES_MISSING", next_step="correct application_role")

    def _check_extensions(self) -> None:
        wanted = [name for name in self.manifest.get("extensions", {}) if name != "plpgsql"]
        absent, guarded = self.cluster.unmakeable(wanted)
        if absent:
            raise Refused(
                f"the server lacks extensions: {', '.join(absent)}",
                code="EXTENSION_MISSING",
                expected="every extension of the backup",
                next_step="install their packages on the database host, then run the same command again",
                extensions=absent,
            )
        self.guarded = guarded
        self.require_creatable()

    def require_creatable(self) -> None:
        if self.guarded and not self.cluster.is_superuser():
            raise self.needs_a_superuser(self.guarded)

    @staticmethod
    def needs_a_superuser(extensions: list[str]) -> Refused:
        return Refused(
            f"only a superuser may create extensions {', '.join(extensions)}",
            code="EXTENSION_RIGHTS",
            expected="a maintenance_url of a superuser",
            next_step="name one, such as postgresql:///postgres?host=/var/run/postgresql as user postgres",
            extensions=extensions,
        )

    def _check_space(self) -> None:
        need = int(self.manifest.get("database_bytes", 0) * _SPACE_MARGIN)
        place = self.asked["data_directory"]
        if not _is_here(self.facts["host"]) or not os.path.isdir(place):
            return  # the server's disk cannot be seen from here; a full one fails the restore, not the live database
        found = os.statvfs(place)
        space = Space(total=found.f_blocks * found.f_frsize, free=found.f_bavail * found.f_frsize)
        reserve = parse_reserve(self.asked["min_free"], space.total)
        if space.free < need + reserve:
            raise Refused(
                f"{place} has {space.free >> 20} MiB free; a second database needs about {need >> 20} MiB,"
                f" and {reserve >> 20} MiB must stay free",
                code="DISK_FULL",
                expected=f"{(need + reserve) >> 20} MiB free",
                next_step="give it more room, or drop databases kept by earlier restores (state pruned)",
                free=space.free,
                needed=need + reserve,
            )

    # --- making it ----------------------------------------------------------------------------------------------------

    def sweep(self) -> list[str]:
        """Copies that killed runs have left; only where nobody is at work on them."""
        found = [aside for aside in self.cluster.asides(self.url.database) if aside.since is None]
        # Who works in a rehearsal's copy has no turn: only rehearsals know when they may drop it.
        found = [aside for aside in found if aside.kind != "rehearsal"]
        kinds = {aside.kind for aside in found}
        free = {kind for kind in kinds if kind == self.what or self.cluster.has_turn(self.url.database, kind)}
        names = [aside.name for aside in found if aside.kind in free]
        for name in names if not self.check_mode else []:
            self.cluster.drop(name)
        return names

    @contextmanager
    def filled(self, archive: Archive, *, privileges: bool, keep: bool = False) -> Iterator[str]:
        """A new database with the backup in it. It is dropped when the block fails or, unless ``keep``, leaves it there."""
        name, goes = scratch_name(self.url.database, self.what, secrets.token_hex(6)), True
        try:
            self.cluster.create(name, self.like)
            self.timed("restore", self.fill, name, archive, privileges)
            yield name
            goes = not keep
        finally:
            if goes:
                with suppress(ConnectionLost):  # then the next run drops it; after an exchange it has another name
                    self.cluster.drop(name)

    def fill(self, name: str, archive: Archive, privileges: bool) -> None:
        if not self.guarded:
            self._pg_restore(name, archive, privileges, "")
            return
        # Schemas first, then what only a superuser may create, then the rest without it.
        schemas, rest = premade(listing(self.programs, archive, deadline=self.deadline), self.guarded)
        self._pg_restore(name, archive, privileges, schemas)
        places = self.manifest.get("extension_schemas", {})
        with closing(self.cluster.at(name, self.what)) as inside:
            for extension in self.guarded:
                where = f" SCHEMA {quoted(places[extension])}" if extension in places else ""
                inside.execute(f"CREATE EXTENSION IF NOT EXISTS {quoted(extension)}{where} CASCADE")
        self._pg_restore(name, archive, privileges, rest)

    def _pg_restore(self, name: str, archive: Archive, privileges: bool, only: str) -> None:
        url = replace(self.url, database=name)
        environment = {
            **url.environment(host=self.facts["host"], port=self.facts["port"]),
            "PGAPPNAME": application_name(self.what),
        }
        jobs = jobs_of(self.asked["jobs"])
        arguments = [] if privileges else ["--no-privileges"]
        if self.like.owner != self.url.user:
            arguments.append(f"--role={self.like.owner}")
        label = self.entry["label"]
        record = {"phase": self.what, "database": name, "since": time.time(), "usual_seconds": self.entry["seconds"]}
        record["forecast"] = self.manifest.get("database_bytes", 0)

        def report() -> None:
            made = self.cluster.database(name)
            with suppress(FloyoError):  # how far it has come is not worth a restore, least of all on a full disk
                self.store.report(label, {**record, "bytes": made.size if made else 0})

        try:
            restore(
                self.programs, arguments, environment, archive,
                jobs=jobs, only=only, deadline=self.deadline, progress=report, secrets=[self.url.password],
            )  # fmt: skip
        except FloyoError as error:
            if error.code != "RESTORE_FAILED":
                raise
            code, step = restore_failure(str(error.details.get("output_tail", "")))
            error.code, error.next_step = code, f"{step}; the live database is as it was"
            raise
        finally:
            self.store.done(label)

    # --- comparing ----------------------------------------------------------------------------------------------------

    def settle(self, name: str) -> dict[str, Any]:
        """Analyse the copy and compare it with the manifest. Returns what differs, in words, and what was counted."""
        with closing(self.owner_at(name)) as inside:
            inside.limit(lock_timeout=self.asked["lock_timeout"], deadline=self.deadline)
            self.grant(inside)
            self.timed("analyze", inside.analyze)
            return self.timed("compare", self.compared, inside)

    def owner_at(self, name: str) -> Server:
        return Server(replace(self._pinned(), database=name), self.what)

    def _pinned(self) -> DatabaseUrl:
        """The owner's URL for the server that the cluster's connection has found."""
        return replace(self.url, hosts=((self.facts["host"], self.facts["port"]),)) if self.facts["host"] else self.url

    def grant(self, inside: Server) -> None:
        """Rights of the copy; a drill's needs none."""

    def compared(self, inside: Server) -> dict[str, Any]:
        tables = inside.tables()
        found = inside.describe(tables, self.manifest["alembic"].get("version_table") or self.asked["version_table"])
        counts = inside.counts(tables)
        words = differences(self.manifest, found, counts.rows, counts.hashes)
        structure = other_structure(self.manifest, found["schema"])
        if structure and self.facts["version_num"] // 10000 == major_of(self.manifest["server"]["version"]):
            words.append(f"other definitions of: {', '.join(structure)}")
        elif structure:
            self.warnings.append(
                f"this version of PostgreSQL writes some definitions differently: {', '.join(structure)}; rows were compared"
            )
        return {"differences": words, "rows": sum(counts.rows.values()), "tables": len(counts.rows),
                "hashed": "hashes" in self.manifest, "heads": found["alembic"]["heads"]}  # fmt: skip

    def require_same(self, found: Mapping[str, Any]) -> None:
        words = found["differences"]
        if words:
            more = f" and {len(words) - 5} more" if len(words) > 5 else ""
            raise Unusable(
                f"backup {self.entry['label']} came back otherwise than it was: {'; '.join(words[:5])}{more}",
                code="RESTORE_DIFFERS",
                expected="the rows, values, revision and structure of the manifest",
                next_step="choose another backup, and take a new one; the live database is as it was",
                differences=words,
            )

    def note(self, found: Mapping[str, Any]) -> None:
        """Beside the manifest: how this restore went. Under the directory's lock, for the backup may be pruned meanwhile."""
        record = {
            "manifest": self.manifest["digest"],
            "at": stamp(datetime.now(timezone.utc)),
            "problem": "; ".join(found["differences"][:5]),
            "what": self.what,
            "seconds": round(sum(self.seconds.get(part, 0.0) for part in ("restore", "analyze", "compare")), 3),
            "phases": self.seconds,
            "rows": found["rows"],
            "tables": found["tables"],
            "hashed": found["hashed"],
            "heads": found["heads"],
            "server": self.facts["version"],
            "host": self.store.here.host,
        }
        with self.store.lock(self.wait, create=True):
            if self.entry["label"] in self.store.catalogue().manifests:
                self.store.note(self.entry["label"], record, kind="drilled")


def _is_here(host: str) -> bool:
    """Whether an address, or a socket's directory, is this host's: only one's own address can be bound."""
    if not host or host.startswith("/"):
        return True
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True
