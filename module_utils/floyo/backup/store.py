"""The directory of backups: lock, unfinished work, publishing (client: one directory of one host)."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..errors import FloyoError, Refused, Unusable
from ..files import fsync_dir, write_json
from .archive import Archive, open_archive
from .catalogue import Catalogue, Files, read_catalogue
from .judge import Owner, Space, has_ended, progress
from .naming import name_of, parse_name

__all__ = ["Store"]

_LOCK = ".lock"
_NOTES = ("checked", "drilled", "copied")
_WRITTEN_BY_NOW = 3600.0


class Store:
    """Backups in one directory. Whoever writes holds ``lock``; reading needs none, for a manifest appears last."""

    def __init__(self, directory: str) -> None:
        self.directory = directory.rstrip("/") or "/"
        self.here = _this_process()

    def path(self, label: str, kind: str) -> str:
        return f"{self.directory}/{name_of(label, kind)}"

    # --- looking ------------------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        return os.path.isdir(self.directory)

    def scan(self) -> dict[str, Files]:
        """What is there, by label."""
        found: dict[str, Files] = {}
        with explained(self.directory):
            names = sorted(os.listdir(self.directory)) if self.exists() else []
            for name in names:
                parsed = parse_name(name)
                if parsed:
                    label, kind = parsed
                    found[label] = self._with(found.get(label, Files()), name, kind)
        return found

    def _with(self, files: Files, name: str, kind: str) -> Files:
        path = f"{self.directory}/{name}"
        try:
            if kind in ("dump", "partial"):
                size = _size(path)
                return replace(files, dump_size=size) if kind == "dump" else replace(files, partial_size=size)
            if kind == "writing" and os.stat(path).st_mtime > time.time() - _WRITTEN_BY_NOW:
                return files
            if kind in ("temporary", "writing"):
                return replace(files, temporary=(*files.temporary, name))
            text = Path(path).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return files  # renamed or removed since the directory was read
        texts: dict[str, Any] = {kind: text}
        return replace(files, **texts)

    def catalogue(self) -> Catalogue:
        return read_catalogue(self.directory, self.scan())

    def running(self) -> list[dict[str, Any]]:
        """Backups that are being made on this host now, as far as they have come."""
        records = [_record(files.running) for files in self.scan().values() if files.running is not None]
        return [progress(record) for record in records if record and not self._ended(record)]

    def space(self) -> Space:
        """Of the file system that the directory is, or will be, on."""
        with explained(self.directory):
            found = os.statvfs(self._nearest())
        return Space(total=found.f_blocks * found.f_frsize, free=found.f_bavail * found.f_frsize)

    def _nearest(self) -> str:
        """The directory, or that of its parents which is there."""
        place = self.directory
        while not os.path.lexists(place):
            place = os.path.dirname(place)
        return place

    @contextmanager
    def open_dump(
        self, label: str, kind: str = "dump", *, sealed: bool = False, identity: str = ""
    ) -> Iterator[Archive]:
        """``sealed``: age has encrypted it; without an ``identity`` its contents stay unread."""
        with explained(self.directory):
            archive = open_archive(self.path(label, kind), sealed=sealed, identity=identity)
        try:
            yield archive
        finally:
            archive.close()

    # --- the lock -----------------------------------------------------------------------------------------------------

    def prepare(self, *, create: bool) -> None:
        """The directory, for root (or whoever we are) alone. ``create=False``: only look (check mode)."""
        with explained(self.directory):
            if create:
                os.makedirs(self.directory, mode=0o700, exist_ok=True)
            place = self._nearest()
            if not os.access(place, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), place)
            mode = os.stat(place).st_mode
        if place == self.directory and mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise Unusable(
                f"{self.directory} can be written by others (mode {stat.S_IMODE(mode):04o})",
                code="DIRECTORY_UNSAFE",
                expected="a directory that only its owner can change",
                next_step=f"chmod 0700 {self.directory}, and look whose the files in it are",
            )

    @contextmanager
    def lock(self, deadline: float, *, create: bool) -> Iterator[None]:
        """One writer on this host. The file stays: removing it would let two hold different files of one name.

        ``create=False``: take it when it is there, leave nothing behind (check mode).
        """
        path = f"{self.directory}/{_LOCK}"
        if not create and not os.path.exists(path):
            yield
            return
        with explained(self.directory):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
        try:
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise self._held(fd) from None
                    time.sleep(0.2)
            if create:
                # For the message to whoever comes next. The lock is ours without it, also on a full disk.
                with suppress(OSError):
                    os.ftruncate(fd, 0)
                    os.pwrite(fd, json.dumps({"owner": asdict(self.here), "since": time.time()}).encode(), 0)
            yield
        finally:
            os.close(fd)

    def _held(self, fd: int) -> Refused:
        holder = _record(os.pread(fd, 4096, 0).decode(errors="replace"))
        owner = holder.get("owner") or {}
        who = f"process {owner['pid']}" if owner.get("pid") else "another process"
        busy = ", ".join(
            f"{record.get('label')}, {record.get('phase')}, {record.get('bytes')} bytes" for record in self.running()
        )
        return Refused(
            f"{who} works in {self.directory}" + (f" ({busy})" if busy else ""),
            code="LOCK_HELD",
            expected="the directory's lock within lock_wait",
            next_step="wait for it, then run the same command again",
            holders=[holder],
        )

    # --- writing ------------------------------------------------------------------------------------------------------

    def announce(self, label: str, facts: Mapping[str, Any], *, again: bool) -> str:
        """Say whose work comes, under a label that is free, or (``again``) one whose backup is damaged. Returns the path
        for it, which is not a backup's."""
        for kind in ("partial",) if again else ("dump", "manifest", "partial"):
            if os.path.lexists(self.path(label, kind)):
                raise FloyoError(f"{self.path(label, kind)} is already there", code="LABEL_TAKEN")
        self.report(label, facts, durable=True)
        return self.path(label, "partial")

    def begin(self, label: str, facts: Mapping[str, Any], *, again: bool = False) -> int:
        """The same, and the empty dump. Returns its descriptor."""
        path = self.announce(label, facts, again=again)
        with explained(self.directory):
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def begin_directory(self, label: str, facts: Mapping[str, Any], *, again: bool = False) -> str:
        """The same with a directory that programs fill. Returns its path."""
        path = self.announce(label, facts, again=again)
        with explained(self.directory):
            os.mkdir(path, 0o700)
        return path

    def report(self, label: str, facts: Mapping[str, Any], *, durable: bool = False) -> None:
        """How far it has come. Only the first word has to survive a crash."""
        record = {**facts, "label": label, "owner": asdict(self.here), "updated": time.time()}
        path = self.path(label, "running")
        with explained(self.directory):
            if durable:
                write_json(path, record)
                return
            aside = f"{self.directory}/.{os.path.basename(path)}.{self.here.pid}"  # two may restore one backup at once
            fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as stream:
                json.dump(record, stream)
            os.rename(aside, path)

    def publish(self, label: str, manifest: Mapping[str, Any]) -> None:
        """The dump gets its name, then its manifest. From here on it is a backup, and survives a power cut."""
        with explained(self.directory):
            if os.path.isdir(self.path(label, "dump")):  # a damaged one, which a fetched one replaces
                shutil.rmtree(self.path(label, "dump"))
            os.rename(self.path(label, "partial"), self.path(label, "dump"))
            fsync_dir(self.directory)
            write_json(self.path(label, "manifest"), manifest)
            self._remove([name_of(label, "running")])

    def note(self, label: str, record: Mapping[str, Any], *, kind: str = "checked") -> None:
        """What a look at the dump has found, or (``drilled``) its restore."""
        with explained(self.directory):
            write_json(self.path(label, kind), record)

    def done(self, label: str) -> None:
        """What ``report`` has said of a backup that is there is over."""
        with explained(self.directory):
            self._remove([name_of(label, "running")])

    def remove(self, label: str) -> None:
        """A backup goes. What makes it a backup becomes the record that it is going, in one step that needs no room on a
        full disk: killed at any point, the next run either finds all of it or sweeps the rest."""
        with explained(self.directory):
            os.rename(self.path(label, "manifest"), self.path(label, "running"))
            fsync_dir(self.directory)
            for kind in (*_NOTES, "dump", "running"):
                self._remove([name_of(label, kind)])

    # --- unfinished work ----------------------------------------------------------------------------------------------

    def unfinished(self) -> list[str]:
        """Names of what killed runs left here. Asked while we hold the lock."""
        names: list[str] = []
        for label, files in self.scan().items():
            if files.running is not None and not self._ended(_record(files.running)):
                continue
            names += self._remains(label, files)
        return names

    @staticmethod
    def _remains(label: str, files: Files) -> list[str]:
        """What to remove of one label. With a manifest the backup is complete and only the record is left over."""
        names = list(files.temporary)
        if files.manifest is None and files.dump_size is None:  # a look at what somebody removed meanwhile
            names += [name_of(label, kind) for kind in _NOTES if getattr(files, kind) is not None]
        if files.partial_size is not None:
            names.append(name_of(label, "partial"))
        if files.running is not None:
            if files.manifest is None:
                found = {**{kind: getattr(files, kind) for kind in _NOTES}, "dump": files.dump_size}
                names += [name_of(label, kind) for kind, value in found.items() if value is not None]
            names.append(name_of(label, "running"))  # last: it is what says that the others are left over
        return names

    def size_of(self, names: list[str]) -> int:
        size = 0
        with explained(self.directory):
            for name in names:
                with suppress(FileNotFoundError):
                    size += _size(f"{self.directory}/{name}")
        return size

    def sweep(self, names: list[str]) -> None:
        with explained(self.directory):
            self._remove(names)

    @contextmanager
    def discarding(self, label: str) -> Iterator[None]:
        """When the block fails, remove what it has left under ``label``. What a kill leaves, the next run sweeps."""
        try:
            yield
        except BaseException:
            self.sweep(self._remains(label, self.scan().get(label, Files())))
            raise

    def _remove(self, names: list[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                path = f"{self.directory}/{name}"
                if os.path.isdir(path) and not os.path.islink(path):
                    shutil.rmtree(path)
                else:
                    os.unlink(path)
        if names:
            fsync_dir(self.directory)

    def _ended(self, record: Mapping[str, Any]) -> bool:
        owner = record.get("owner") or {}
        return has_ended(record, self.here, _started(owner.get("pid", 0)))


@contextmanager
def explained(directory: str) -> Iterator[None]:
    """Errors of the file system, with what to do about them."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise Refused(
                f"{directory} is full: {error.strerror}",
                code="DISK_FULL",
                expected="room for the dump",
                next_step="give the directory more room; nothing was kept of this run, backups made before are untouched",
            ) from error
        raise Unusable(
            f"{error.filename or directory}: {error.strerror}",
            code="DIRECTORY_UNUSABLE",
            expected=f"a directory {directory} that this account can write",
            next_step="become: true, or correct directory",
        ) from error


def _record(text: Any) -> dict[str, Any]:
    """A record that a crash may have cut short."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _size(path: str) -> int:
    """Of a file, or of the files in a directory."""
    found = os.stat(path)
    if not stat.S_ISDIR(found.st_mode):
        return found.st_size
    with os.scandir(path) as entries:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)


def _this_process() -> Owner:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return Owner(host=os.uname().nodename, boot=boot, pid=os.getpid(), started=_started(os.getpid()))


def _started(pid: Any) -> str:
    """When a process was started, in ticks since boot; empty when there is none."""
    try:
        text = Path(f"/proc/{int(pid)}/stat").read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError, TypeError):
        return ""
    return text.rpartition(")")[2].split()[19]
