"""States copied and fetched: backups elsewhere, and back from there (glue).

A copy is made as a backup is: the dump first, compared by its digest as it lies there, then its manifest, which makes it one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ..errors import Unusable
from .catalogue import NO_MANIFEST, Catalogue, Files, read_catalogue
from .judge import choose_programs, major_of
from .looking import flaw_of, look_again, recorded, selected
from .naming import moment_of, name_of, parse_name, stamp
from .processes import write_all
from .programs import find_programs
from .remote import Remote
from .store import Store, explained

__all__ = ["Copies", "Fetch", "elsewhere", "remote_of", "remove_elsewhere", "unwanted"]

_COMPLETED_BY_NOW = 2 * 86400.0


def remote_of(parameters: Mapping[str, Any], deadline: float) -> Remote:
    if not parameters["remote"]:
        raise Unusable(
            "remote is empty",
            code="REMOTE_UNUSABLE",
            expected="name:path of rclone's configuration",
            next_step="name the place of the copies",
        )
    return Remote(parameters["remote"], parameters["rclone_config"], deadline)


def elsewhere(remote: Remote, store: Store) -> Catalogue:
    """What is there, judged by sizes and manifests as the directory here is. Nothing is said of what was not read."""
    sizes = remote.sizes()
    here = store.scan()
    found: dict[str, Files] = {}
    for name, size in sizes.items():
        parsed = parse_name(name)
        if not parsed or parsed[1] not in ("dump", "manifest"):
            continue
        label, kind = parsed
        files = found.get(label, Files(drilled=here[label].drilled if label in here else None))
        if kind == "dump":
            found[label] = Files(dump_size=size, manifest=files.manifest, drilled=files.drilled)
        else:
            found[label] = Files(dump_size=files.dump_size, manifest=remote.text(name), drilled=files.drilled)
    return read_catalogue(remote.spec, found)


class Copies:
    """Send the sound backups that are not there yet."""

    def __init__(self, parameters: Mapping[str, Any], store: Store, *, check_mode: bool) -> None:
        self.asked, self.store, self.check_mode = parameters, store, check_mode
        self.deadline = time.monotonic() + parameters["timeout"]
        self.remote = remote_of(parameters, self.deadline)

    def result(self, label: str = "") -> dict[str, Any]:
        catalogue = self.store.catalogue()
        sound = [entry for entry in selected(catalogue, label or self.asked["label"]) if entry["verified"]]
        sizes = self.remote.sizes()
        missing = [entry for entry in sound if not self._is_there(entry, sizes)]
        for entry in missing if not self.check_mode else ():  # the newest first: it is the most worth
            self.send(entry, catalogue.manifests[entry["label"]])
        return {
            "changed": bool(missing),
            "copied": [entry["label"] for entry in missing],
            "backups": self.store.catalogue().entries,
            "warnings": [],
        }

    def _is_there(self, entry: Mapping[str, Any], sizes: Mapping[str, int]) -> bool:
        """As far as names, sizes and our own note tell. It was compared by its digest when the note was made."""
        label = entry["label"]
        there = sizes.get(name_of(label, "dump")) == entry["size"] and name_of(label, "manifest") in sizes
        return there and entry["copied_to"] == self.remote.spec

    def send(self, entry: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
        label, written = entry["label"], recorded(manifest)
        dump, directory = name_of(label, "dump"), manifest["dump"].get("format") == "directory"
        self.remote.send(self.store.path(label, "dump"), dump)
        found = self.remote.digest(dump, directory=directory)
        if (found.size, found.sha256) != (written.size, written.sha256):
            raise Unusable(
                f"the copy of backup {label} at {self.remote.spec} is not what was sent:"
                f" {found.size} bytes with another sha256",
                code="COPY_DIFFERS",
                expected="the bytes of the backup",
                next_step="run the same command again; when it stays so, do not rely on that place",
            )
        with explained(self.store.directory), open(self.store.path(label, "manifest"), encoding="utf-8") as stream:
            text = stream.read()
        self.remote.write(name_of(label, "manifest"), text)
        if self.remote.text(name_of(label, "manifest")) != text:
            raise Unusable(
                f"the copy of the manifest of {label} at {self.remote.spec} is not what was sent",
                code="COPY_DIFFERS",
                expected="the manifest",
                next_step="run the same command again",
            )
        record = {
            "manifest": manifest["digest"],
            "at": stamp(datetime.now(timezone.utc)),
            "remote": self.remote.spec,
            "sha256": found.sha256,
        }
        self.store.note(
            label, record, kind="copied"
        )  # if the backup was removed meanwhile, the next run sweeps the note


class Fetch:
    """Bring a backup back into the directory; one that is damaged here is replaced once the other was read."""

    def __init__(self, parameters: Mapping[str, Any], store: Store, *, check_mode: bool) -> None:
        self.asked, self.store, self.check_mode = parameters, store, check_mode
        self.deadline = time.monotonic() + parameters["timeout"]
        self.remote = remote_of(parameters, self.deadline)

    def result(self) -> dict[str, Any]:
        there = elsewhere(self.remote, self.store)
        label = self.asked["label"] or next((e["label"] for e in there.entries if e["verified"]), "")
        if not label:
            raise Unusable(
                f"there is no backup at {self.remote.spec}",
                code="NO_BACKUP",
                expected="a backup to fetch",
                next_step="is it the right place? rclone lsf shows it",
            )
        (entry,) = selected(there, label)
        here = [each for each in self.store.catalogue().entries if each["label"] == label and each["verified"]]
        if not here:
            if not entry["verified"]:
                raise Unusable(
                    f"the copy of backup {label} at {self.remote.spec} is no sound one: {entry['problem']}",
                    code="BACKUP_DAMAGED",
                    expected="a dump and its manifest",
                    next_step="choose another one",
                )
            self.store.prepare(create=not self.check_mode)
            if not self.check_mode:
                until = min(self.deadline, time.monotonic() + self.asked["lock_wait"])
                with self.store.lock(until, create=True):
                    self.store.sweep(self.store.unfinished())
                    self.fetch(label, there.manifests[label])
        entries = self.store.catalogue().entries
        return {
            "changed": not here,
            "fetched": "" if here else label,
            "elsewhere": there.entries,
            "backups": entries,
            "warnings": [],
        }

    def fetch(self, label: str, manifest: Mapping[str, Any]) -> None:
        facts = {"phase": "fetch", "bytes": 0, "forecast": manifest["dump"]["size"], "since": time.time()}
        with self.store.discarding(label):
            self._bring(label, manifest, facts)
            found = find_programs(self.asked["bin_dir"])
            programs = choose_programs(found, major_of(manifest["client"]["version"]), f"backup {label}")
            identity = self.asked["identity_file"]
            problem, _ = flaw_of(self.store, label, "partial", programs, recorded(manifest), self.deadline, identity)
            if problem:
                raise Unusable(
                    f"backup {label} as it came from {self.remote.spec} is damaged: {problem}",
                    code="BACKUP_DAMAGED",
                    expected="every byte as it was written",
                    next_step="choose another one; what lies here is untouched",
                )
            self.store.publish(label, manifest)
        look_again(self.store, label, manifest, "")

    def _bring(self, label: str, manifest: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        name = name_of(label, "dump")
        if manifest["dump"].get("format") == "directory":
            path = self.store.begin_directory(label, facts, again=True)
            self.remote.fetch_directory(name, path)
            return
        sink = self.store.begin(label, facts, again=True)
        try:
            with explained(self.store.directory):
                self.remote.receive(name, lambda chunk: write_all(sink, chunk))
                os.fsync(sink)
        finally:
            os.close(sink)


def unwanted(remote: Remote, there: Catalogue, store: Store) -> list[str]:
    """Dumps there that lack a manifest, and that no run is about to complete: left of copies and removals that were killed."""
    before, here = time.time() - _COMPLETED_BY_NOW, store.scan()
    return [
        entry["label"]
        for entry in there.entries
        if entry["problem"] == NO_MANIFEST
        and entry["label"] not in here
        and moment_of(entry["label"]).timestamp() < before
    ]


def remove_elsewhere(remote: Remote, labels: Sequence[str]) -> None:
    """First what makes each a backup."""
    for label in labels:
        remote.remove(name_of(label, "manifest"))
        remote.remove(name_of(label, "dump"))
