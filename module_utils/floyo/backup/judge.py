"""Decisions about a backup from facts: programs, space, contents, plausibility (pure)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Callable, Optional

from ..errors import Refused, Unusable

__all__ = [
    "Owner",
    "Programs",
    "Space",
    "Toc",
    "choose_programs",
    "compress_option",
    "compression",
    "differences",
    "forecast",
    "has_ended",
    "major_of",
    "missing_from",
    "other_structure",
    "parse_reserve",
    "premade",
    "progress",
    "read_toc",
    "require_space",
    "restore_failure",
    "shrunk",
    "usual_seconds",
]

# --- programs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Programs:
    """pg_dump and pg_restore of one directory and one version."""

    directory: str
    version: str

    @property
    def major(self) -> int:
        return major_of(self.version)


def major_of(version: str) -> int:
    """18 of ``18.1`` and of ``18beta1``."""
    match = re.match(r"\d+", version)
    if not match:
        raise Unusable(f"{version!r} is no version of PostgreSQL", code="VERSION_UNKNOWN")
    return int(match.group())


def choose_programs(found: Iterable[Programs], major: int, what: str) -> Programs:
    """The oldest that are new enough: what they write, the programs of the server itself can read.

    ``what`` needs them: "server 16.4" or "backup 20250115T103000Z-3f9a1c".
    """
    programs = sorted(found, key=lambda each: (each.major, each.directory))
    fit = [each for each in programs if each.major >= major]
    if fit:
        return fit[0]
    seen = ", ".join(f"{each.version} in {each.directory}" for each in programs) or "none"
    raise Unusable(
        f"{what} needs pg_dump and pg_restore {major} or later; on this host: {seen}",
        code="CLIENT_TOO_OLD" if programs else "CLIENT_MISSING",
        expected=f"programs of PostgreSQL {major} or later",
        next_step=f"apt-get install postgresql-client-{major}, or name their directory in bin_dir",
    )


def compression(asked: str, major: int, offers: Callable[[str], bool]) -> str:
    """``auto`` or ``method[:level]`` as the manifest says it. ``offers``: whether this build of pg_dump (16 and later,
    before it knows gzip alone) can compress by a method."""
    match = re.fullmatch(r"(auto|gzip|lz4|zstd|none)(?::(\d{1,2}))?", asked)
    if not match or (match[2] and match[1] in ("auto", "none")):
        raise Unusable(
            f"compress {asked!r} is unknown", code="COMPRESS_UNKNOWN", expected="auto, gzip, lz4, zstd or none; gzip:9"
        )
    method = match[1]
    if method == "auto":
        method = "zstd" if major >= 16 and offers("zstd") else "gzip"
    elif method in ("lz4", "zstd") and (major < 16 or not offers(method)):
        raise Unusable(
            f"this pg_dump {major} cannot compress with {method}",
            code="COMPRESS_UNKNOWN",
            expected="gzip or none, or pg_dump 16 and later, built with that library",
            next_step="set compress to auto",
        )
    level = match[2] or ("6" if method == "gzip" else "")
    return f"{method}:{level}" if level else method


def compress_option(compress: str, major: int) -> str:
    """pg_dump's option; before 16 it knows only levels of gzip."""
    if major >= 16:
        return f"--compress={compress}"
    return f"--compress={0 if compress == 'none' else compress.rpartition(':')[2]}"


# --- space -----------------------------------------------------------------------------------------------------------

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
# Without a backup to learn from. Text of numbers and bytes is longer than what the tables hold, compression makes up for it.
_FIRST_RATIO = 1.0
_MARGIN = 1.25
_OVERHEAD = 256 << 10  # definitions, the manifest


@dataclass(frozen=True)
class Space:
    """A file system: bytes in all, and those that can be had."""

    total: int
    free: int


def parse_reserve(text: str, total: int) -> int:
    """Bytes that must stay free: ``5%`` of the file system, or ``500M``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%|([KMGT]?)(?:i?B)?)", text.strip(), re.IGNORECASE)
    if not match or (match[2] == "%" and float(match[1]) >= 100):
        raise Unusable(
            f"min_free {text!r} is no size", code="MIN_FREE_UNKNOWN", expected="a size such as 5%, 500M or 2GiB"
        )
    number = float(match[1])
    return int(total * number / 100) if match[2] == "%" else int(number * _UNITS[(match[3] or "").upper()])


def forecast(table_bytes: int, previous: Optional[Mapping[str, Any]], compress: str) -> int:
    """How large the dump will be: as the previous one was to its tables, with a margin."""
    ratio = _FIRST_RATIO
    dump = (previous or {}).get("dump", {})
    # A small one is all definitions and tells nothing about the tables.
    if dump.get("compress") == compress and (previous or {}).get("table_bytes", 0) > 8 << 20:
        ratio = dump["size"] / (previous or {})["table_bytes"] * _MARGIN
    elif compress == "none":
        ratio = 2.0
    return int(table_bytes * ratio) + _OVERHEAD


def require_space(space: Space, need: int, reserve: int, directory: str) -> None:
    if space.free < need + reserve:
        raise Refused(
            f"{directory} has {space.free >> 20} MiB free; the dump needs about {need >> 20} MiB,"
            f" and {reserve >> 20} MiB must stay free",
            code="DISK_FULL",
            expected=f"{(need + reserve) >> 20} MiB free",
            next_step="remove what is not needed there or give it more room; old backups are untouched",
            free=space.free,
            needed=need + reserve,
        )


# --- progress --------------------------------------------------------------------------------------------------------


def usual_seconds(previous: Optional[Mapping[str, Any]], table_bytes: int) -> Optional[float]:
    """How long the dump of that many bytes takes, as the one before took."""
    seconds = (previous or {}).get("seconds", {}).get("dump")
    before = (previous or {}).get("table_bytes")
    return round(seconds * max(1.0, table_bytes / before), 1) if seconds and before else None


def progress(record: Mapping[str, Any]) -> dict[str, Any]:
    """``record`` of work at hand with its ``rate`` in bytes a second and the seconds ``left``: by how long it took the last
    time, else by what is still to come. None where nothing tells."""
    elapsed = float(record.get("updated", 0.0)) - float(record.get("since", 0.0))
    done, usual = record.get("bytes") or 0, record.get("usual_seconds")
    rate = done / elapsed if done and elapsed > 0 else None
    left = None
    if usual:
        left = max(0.0, usual - elapsed)
    elif rate and record.get("forecast"):
        left = max(0.0, (record["forecast"] - done) / rate)
    return {**record, "rate": rate and int(rate), "left": None if left is None else round(left)}


# --- contents --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Toc:
    """The table of contents of a dump: how many entries, their digest, the tables (by oid) that have data in it."""

    entries: int
    digest: str
    tables: frozenset[int]
    large_objects: bool

    def facts(self) -> dict[str, Any]:
        return {"entries": self.entries, "digest": self.digest, "tables": len(self.tables)}


def read_toc(listing: str) -> Toc:
    """From the output of ``pg_restore --list``. Names may hold blanks and newlines; kinds and oids come before them."""
    lines = [line for line in listing.splitlines() if line and not line.startswith(";")]
    entries = [match for match in (re.match(r"\d+; (\d+) (\d+) (.*)", line) for line in lines) if match]
    tables = frozenset(int(match[2]) for match in entries if match[3].startswith("TABLE DATA "))
    blobs = any(match[3].startswith("BLOBS ") for match in entries)
    return Toc(len(entries), hashlib.sha256("\n".join(lines).encode()).hexdigest(), tables, blobs)


def missing_from(toc: Toc, tables: Mapping[int, str], large_objects: int) -> str:
    """What the database has and the dump has not, in words; empty when it is complete."""
    absent = sorted(name for oid, name in tables.items() if oid not in toc.tables)
    if absent:
        return f"the dump holds no data of {', '.join(absent[:5])}" + (" and others" if len(absent) > 5 else "")
    return "the dump holds no large objects" if large_objects and not toc.large_objects else ""


def differences(
    manifest: Mapping[str, Any], found: Mapping[str, Any], rows: Mapping[str, int], hashes: Mapping[str, str]
) -> list[str]:
    """What a restored database has otherwise than its manifest says, in words; ``found`` is described like a manifest."""
    words = []
    heads, wanted = found["alembic"]["heads"], manifest["alembic"].get("heads", [])
    if heads != wanted:
        words.append(f"alembic is at {', '.join(heads) or 'nothing'} instead of {', '.join(wanted) or 'nothing'}")
    for name in sorted({*manifest["rows"], *rows}):
        if manifest["rows"].get(name) != rows.get(name):
            words.append(
                f"{name} has {rows.get(name, 'no')} rows instead of {manifest['rows'].get(name, 'none at all')}"
            )
        elif manifest.get("hashes", hashes).get(name) != hashes.get(name):
            words.append(f"{name} has other values in its {rows[name]} rows")
    for name, (last, step) in manifest.get("sequences", {}).items():
        now = found["sequences"].get(name, [None])[0]
        if last is not None and (now is None or (last - now) * step > 0):
            words.append(f"sequence {name} is at {'its start' if now is None else now} instead of {last}")
    if manifest.get("large_objects", 0) != found["large_objects"]:
        words.append(f"{found['large_objects']} large objects instead of {manifest.get('large_objects', 0)}")
    return words


def other_structure(manifest: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """Kinds of objects (column, index, ...) that are not as they were. Other versions may write the same differently."""
    before, after = manifest["schema"].get("kinds", {}), schema["kinds"]
    return sorted(kind for kind in {*before, *after} if before.get(kind) != after.get(kind))


_RESTORE_FAILURES = (
    (r'role "[^"]*" does not exist', "ROLES_MISSING", "create the role, or name application_role"),
    (r"extension .* (is not available|control file)", "EXTENSION_MISSING", "install the extension's package"),
    (r"permission denied to create extension", "EXTENSION_RIGHTS", "name a superuser's maintenance_url"),
    (r"No space left on device|could not extend file", "DISK_FULL", "give the server's data directory more room"),
    (
        r"terminating connection|server closed the connection|connection .* failed|no connection to the server",
        "DATABASE_LOST",
        "read the server's log, then run the same command again",
    ),
    (r"permission denied|must be owner", "RIGHTS_MISSING", "name a superuser's maintenance_url and database_url"),
)


def restore_failure(output: str) -> tuple[str, str]:
    """A code and the next step for what pg_restore has said; a plain failure when nothing known is in it."""
    for pattern, code, step in _RESTORE_FAILURES:
        if re.search(pattern, output):
            return code, step
    return "RESTORE_FAILED", "read output_tail"


def premade(listing: str, extensions: Iterable[str]) -> tuple[str, str]:
    """A dump's list in two: schemas, and the rest without extensions that somebody else creates in between."""
    first, rest = [], []
    for line in listing.splitlines():
        entry = re.match(r"\d+; \d+ \d+ (.*)", line)
        what = entry[1].rstrip() if entry else ""
        if what.startswith("SCHEMA - "):
            first.append(line)
        elif what not in {
            text for name in extensions for text in (f"EXTENSION - {name}", f"COMMENT - EXTENSION {name}")
        }:
            rest.append(line)
    return "\n".join(first) + "\n", "\n".join(rest) + "\n"


def shrunk(rows: Mapping[str, int], previous: Optional[Mapping[str, Any]]) -> str:
    """Why a backup that is sound looks wrong: the database has lost most of what the one before had. Empty: it has not."""
    before = (previous or {}).get("rows", {})
    total, was = sum(rows.values()), sum(before.values())
    if was >= 100 and total < was / 2:
        return f"{total} rows, the backup before had {was}"
    gone = sorted(name for name, count in before.items() if count and name not in rows)
    if gone and len(gone) * 2 > len(before):
        return f"most tables of the backup before are gone ({', '.join(gone[:5])})"
    emptied = sorted(name for name, count in before.items() if count >= 100 and rows.get(name) == 0)
    return f"tables are empty that were not: {', '.join(emptied[:5])}" if emptied else ""


# --- what others left ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Owner:
    """A process, so that no later one is taken for it."""

    host: str
    boot: str
    pid: int
    started: str  # in the kernel's clock ticks since boot


def has_ended(record: Mapping[str, Any], here: Owner, started_now: str) -> bool:
    """Whether the process that left unfinished work cannot go on with it. Asked while we hold the host's lock.

    ``started_now``: when the process that has this number now was started; empty when there is none. A directory may be
    shared: of another host's work we know nothing.
    """
    owner = record.get("owner")
    if not isinstance(owner, Mapping):
        return True
    if owner.get("host") != here.host:
        return False
    return owner.get("boot") != here.boot or owner.get("started") != started_now
