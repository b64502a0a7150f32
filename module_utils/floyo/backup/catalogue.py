"""The list of backups, from what is in their directory (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ..errors import Unusable
from .manifest import read_manifest
from .naming import moment_of, stamp

__all__ = ["NO_MANIFEST", "Catalogue", "Files", "read_catalogue"]

NO_MANIFEST = "there is no manifest: this is not a backup"


@dataclass(frozen=True)
class Files:
    """What lies in the directory under one label; None for what does not."""

    dump_size: Optional[int] = None
    manifest: Optional[str] = None
    checked: Optional[str] = None
    drilled: Optional[str] = None
    copied: Optional[str] = None
    partial_size: Optional[int] = None
    running: Optional[str] = None
    temporary: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalogue:
    """``entries``: newest first, as the module returns them. ``manifests``: the readable ones by label.

    ``problems``: what is wrong by names, sizes and manifests alone, without what an earlier look at the dump has found.
    """

    entries: list[dict[str, Any]]
    manifests: dict[str, dict[str, Any]]
    problems: dict[str, str]

    def newest(self, database: str = "", *, suspects: bool = True) -> Optional[dict[str, Any]]:
        """The manifest with the highest sequence, of one database or of all."""
        fit = [found for found in self.manifests.values() if database in ("", found["database"])]
        fit = [found for found in fit if suspects or not found.get("suspect")]
        return max(fit, key=lambda found: found["sequence"], default=None)

    @property
    def sequence(self) -> int:
        newest = self.newest()
        return newest["sequence"] if newest else 0


def read_catalogue(directory: str, files: Mapping[str, Files]) -> Catalogue:
    """Judge by names, sizes, manifests and the newest look at each dump. No dump is read."""
    manifests: dict[str, dict[str, Any]] = {}
    problems: dict[str, str] = {}
    for label, found in files.items():
        if found.manifest is None:
            if found.dump_size is not None and found.running is None:
                problems[label] = NO_MANIFEST
            continue
        try:
            manifests[label] = read_manifest(found.manifest, label)
        except Unusable as error:
            problems[label] = error.message
            continue
        problems[label] = _size_problem(found, manifests[label])
    for label, problem in _broken_links(manifests).items():
        problems[label] = problems[label] or problem
    entries = [_entry(directory, label, files[label], manifests.get(label), problems[label]) for label in problems]
    entries.sort(key=lambda entry: (entry["sequence"], entry["label"]), reverse=True)
    return Catalogue(entries, manifests, problems)


def _size_problem(found: Files, manifest: Mapping[str, Any]) -> str:
    size = manifest["dump"]["size"]
    if found.dump_size is None:
        return "the dump is missing"
    return f"the dump has {found.dump_size} bytes instead of {size}" if found.dump_size != size else ""


def _broken_links(manifests: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Manifests that a later one has seen differently: exchanged since, digest and all."""
    found = {}
    for label, manifest in manifests.items():
        before = manifest.get("previous") or {}
        other = manifests.get(before.get("label", ""))
        if other and other["digest"] != before.get("digest"):
            found[other["label"]] = f"the manifest is not the one that {label} was chained to"
    return found


def _entry(
    directory: str, label: str, found: Files, manifest: Optional[Mapping[str, Any]], problem: str
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "label": label,
        "created": stamp(moment_of(label)),
        "path": f"{directory}/{label}.dump",
        "size": found.dump_size,
        "sha256": "",
        "database": "",
        "heads": [],
        "release": "",
        "version": "",
        "commit": "",
        "reason": "",
        "sequence": 0,
        "rows": None,
        "suspect": "",
        "encrypted": False,
        "server_version": "",
        "verified_at": "",
        "drilled_at": "",
        "drill_problem": "",
        "copied_at": "",
        "copied_to": "",
        # How long a restore takes: only a restore can tell.
        "seconds": None,
        "dump_seconds": None,
    }
    if manifest is not None:
        checked, drilled = _noted(found.checked, manifest), _noted(found.drilled, manifest)
        copied = _noted(found.copied, manifest)
        drill_problem = str(drilled.get("problem") or "")
        # A dump that came back as something else is no backup, however well it reads.
        problem = problem or str(checked.get("problem") or "") or drill_problem
        about = {key: str(manifest["about"].get(key) or "") for key in ("release", "version", "commit", "reason")}
        entry.update(
            about,
            # A dump of a moment that was recovered from the archive is as old as what is in it.
            created=str(manifest["about"].get("as_of") or manifest["created"]),
            sha256=manifest["dump"]["sha256"],
            database=manifest["database"],
            heads=manifest["alembic"].get("heads", []),
            sequence=manifest["sequence"],
            rows=sum(manifest["rows"].values()),
            suspect=manifest.get("suspect", ""),
            encrypted=bool(manifest["dump"].get("encryption")),
            server_version=manifest["server"].get("version", ""),
            verified_at=str(checked.get("at") or manifest.get("verified_at", "")),
            drilled_at="" if drill_problem else str(drilled.get("at") or ""),
            drill_problem=drill_problem,
            copied_at=str(copied.get("at") or ""),
            copied_to=str(copied.get("remote") or ""),
            seconds=drilled.get("seconds"),
            dump_seconds=manifest["seconds"].get("dump"),
        )
    # The manifest is written after the dump was read back, so it vouches for the first time.
    return {**entry, "verified": manifest is not None and not problem, "problem": problem}


def _noted(text: Optional[str], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the newest look at the dump, or its newest restore, has found. Nothing when it was not about this manifest."""
    try:
        record = json.loads(text or "{}")
    except ValueError:
        return {}  # a note about the dump, not a part of it: the next look writes it again
    return record if isinstance(record, dict) and record.get("manifest") == manifest["digest"] else {}
