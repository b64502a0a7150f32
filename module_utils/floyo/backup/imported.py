"""State imported: a plain dump of somebody else takes the live database's place (glue).

It goes the way of a restore. What the manifest of a backup tells, here the file tells itself when it is read for the first time.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from typing import IO, Any, Callable

from ..errors import FloyoError, Refused, Unusable
from .cluster import quoted
from .inside import Inside
from .judge import differences, restore_failure
from .naming import stamp
from .plain import PlainDump, split_lines
from .processes import CHUNK, time_left
from .restored import Restore
from .server import Server
from .store import Store

__all__ = ["Import"]

_ARCHIVES = {
    b"PGDMP": "an archive of pg_dump",
    b"\x1f\x8b": "compressed by gzip",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
}
# Text is shorter than tables with their indexes.
_GROWS = 3


class Import(Restore):
    dump: PlainDump
    sha256: str

    def __init__(
        self, parameters: Mapping[str, Any], store: Store, *, check_mode: bool, safety: Callable[[str], dict[str, Any]]
    ) -> None:
        super().__init__(parameters, store, check_mode=check_mode, safety=safety)
        self.path: str = parameters["sql_file"]

    def require_named(self) -> None:
        if not self.asked["sql_file"]:
            raise Unusable(
                "no file is named",
                code="SQL_FILE_MISSING",
                expected="sql_file, the path of a plain dump on this host",
                next_step="name it; a backup of ours is restored by its label (state restored)",
            )

    # --- the file -----------------------------------------------------------------------------------------------------

    def choose(self, label: str) -> None:
        self.dump, self.sha256, size, changed = self.timed("verify", self.read)
        self.require_consent()
        if not self.dump.server:
            raise Unusable(
                f"{self.path} does not say of which server it is",
                code="SQL_UNREADABLE",
                expected="the output of pg_dump in the plain format, with its comments",
                next_step="take it again with pg_dump; nothing was changed",
            )
        if not self.dump.rows:
            self.warnings.append(
                f"{self.path} holds no rows of any table in the form of COPY: their number is not compared"
            )
        self.entry = {
            "label": os.path.basename(self.path),
            "created": stamp(datetime.fromtimestamp(changed, timezone.utc)),
            "heads": self.dump.heads,
            "rows": sum(self.dump.rows.values()),
            "seconds": None,
        }
        self.manifest = {
            "server": {"version": self.dump.server},
            "client": {"version": self.dump.server},
            "alembic": {"heads": self.dump.heads},
            "schema": {},
            "roles": sorted(self.dump.roles),
            "extensions": dict.fromkeys(self.dump.extensions, ""),
            "extension_schemas": self.dump.extensions,
            "database_bytes": size * _GROWS,
            "large_objects": self.dump.large_objects,
        }

    def read(self) -> tuple[PlainDump, str, int, float]:
        """All of it, as it would run, without running it."""
        dump, digest = self.reading(), hashlib.sha256()
        with self.open() as stream:
            for _ in dump.pieces(split_lines(self.chunks(stream, digest))):
                continue
            found = os.fstat(stream.fileno())
        return dump, digest.hexdigest(), found.st_size, found.st_mtime

    def reading(self) -> PlainDump:
        return PlainDump(version_table=self.asked["version_table"], privileges=not self.asked["application_role"])

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        try:
            stream = open(self.path, "rb", buffering=0)  # noqa: SIM115 - closed below
        except OSError as error:
            raise Unusable(
                f"sql_file {self.path} cannot be read: {error.strerror}",
                code="SQL_FILE_MISSING",
                expected="a plain dump on this host",
                next_step="copy it to this host, and name it",
            ) from error
        with stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise Refused(
                    f"sql_file {self.path} can be changed by others (mode {stat.S_IMODE(found.st_mode):04o}), or is no file",
                    code="SQL_FILE_UNSAFE",
                    expected="a file that only its owner can change",
                    next_step=f"chmod 0600 {self.path}, and compare its sha256 with that of where it comes from",
                )
            begin = os.pread(stream.fileno(), 5, 0)
            for magic, what in _ARCHIVES.items():
                if begin.startswith(magic):
                    raise Unusable(
                        f"sql_file {self.path} is {what}",
                        code="SQL_UNREADABLE",
                        expected="text: pg_dump in the plain format",
                        next_step="unpack it; pg_restore --file=backup.sql makes text of an archive",
                    )
            yield stream

    def chunks(self, stream: IO[bytes], digest: Any) -> Iterator[bytes]:
        while chunk := stream.read(CHUNK):
            time_left(self.deadline, "reading the file")
            digest.update(chunk)
            yield chunk

    def require_consent(self) -> None:
        asked = self.asked["sql_sha256"].lower()
        if asked and asked != self.sha256:
            raise Refused(
                f"{self.path} has the sha256 {self.sha256}, not {asked[:64]}",
                code="SQL_OTHER",
                expected="the file that was agreed to",
                next_step="compare it with where it comes from; nothing was changed",
                sha256=self.sha256,
            )
        if not asked and not self.check_mode:
            raise Refused(
                f"an import of {self.path} needs the file's sha256: what is in it takes the live database's place",
                code="SQL_UNCONFIRMED",
                expected="sql_sha256, as whoever has made the file says it",
                next_step=f"compare it; here it is {self.sha256}",
                sha256=self.sha256,
            )

    # --- the way of a restore -----------------------------------------------------------------------------------------

    @contextmanager
    def opened(self) -> Iterator[Any]:
        yield None

    def check(self) -> None:
        if self.live is None:
            raise Unusable(
                f"there is no database {self.url.database}",
                code="DATABASE_MISSING",
                expected="the database whose place the file takes, be it empty",
                next_step="correct database_url, or run playbooks/provision.yml",
            )
        super().check()
        elsewhere = [name for name in self.guarded if self.dump.extensions[name] not in ("public", "pg_catalog")]
        if elsewhere:
            raise self.needs_a_superuser(elsewhere)
        with closing(Inside(replace(self._pinned(), database=self.url.database), self.what)) as inside:
            inside.require_modest()

    def plan(self) -> dict[str, Any]:
        return {**super().plan(), "file": self.path, "sha256": self.sha256, "passed_over": self.dump.passed_over}

    def fill(self, name: str, archive: Any, privileges: bool) -> None:
        if self.guarded:
            with closing(self.cluster.at(name, self.what)) as above:
                for extension in self.guarded:
                    where = quoted(self.dump.extensions[extension])
                    above.execute(f"CREATE EXTENSION IF NOT EXISTS {quoted(extension)} SCHEMA {where} CASCADE")
        digest = hashlib.sha256()
        with closing(Inside(replace(self._pinned(), database=name), self.what)) as inside, self.open() as stream:
            inside.limit(lock_timeout=self.asked["lock_timeout"], deadline=self.deadline)
            if self.like.owner != self.url.user:
                inside.become(self.like.owner)
            inside.begin()
            try:
                # Judged once more while it runs: it may have been changed since.
                inside.load(self.reading().pieces(split_lines(self.chunks(stream, digest))))
            except FloyoError as error:
                if error.code == "DATABASE_FAILED":
                    code, step = restore_failure(error.message)
                    error.code, error.next_step = code, f"{step}; the live database is as it was"
                raise
            if digest.hexdigest() != self.sha256:
                raise Refused(
                    f"{self.path} was changed while it was read",
                    code="SQL_OTHER",
                    expected="a file that nobody writes",
                    next_step="compare it with where it comes from; the live database is as it was",
                )
            inside.commit()

    def compared(self, inside: Server) -> dict[str, Any]:
        tables = inside.tables()
        found = inside.describe(tables, self.asked["version_table"])
        counts = inside.counts(tables)
        # Rows in the form of INSERT are not counted, and hashes are known of backups only.
        said = {**self.manifest, "rows": {**counts.rows, **self.dump.rows}}
        if not self.dump.heads:
            said["alembic"] = found["alembic"]
        words = differences(said, found, counts.rows, {})
        return {"differences": words, "rows": sum(counts.rows.values()), "tables": len(counts.rows),
                "hashed": False, "heads": found["alembic"]["heads"]}  # fmt: skip

    def noted(self, found: Mapping[str, Any]) -> None:
        """There is no backup whose restore this was."""

    def report(self, found: Mapping[str, Any], *, kept: str) -> dict[str, Any]:
        return {**super().report(found, kept=kept), "file": self.path, "sha256": self.sha256}
