"""Directories, files and links as they should be: read all, plan all, then act (standard library only)."""

from __future__ import annotations

import contextlib
import grp
import hashlib
import os
import pwd
import stat
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional

from .errors import FloyoError, Refused, Unusable
from .files import fsync_dir, write_atomic

__all__ = ["Change", "Directory", "File", "Link", "carry_out", "parse_mode", "plan"]

_KINDS = {"directory": stat.S_ISDIR, "file": stat.S_ISREG, "link": stat.S_ISLNK}


@dataclass(frozen=True)
class Directory:
    path: str
    mode: int
    owner: str
    group: str
    kind: str = field(default="directory", init=False)


@dataclass(frozen=True)
class File:
    path: str
    content: bytes
    mode: int
    owner: str
    group: str
    validate: tuple[str, ...] = ()
    kind: str = field(default="file", init=False)


@dataclass(frozen=True)
class Link:
    path: str
    target: str
    kind: str = field(default="link", init=False)


@dataclass(frozen=True)
class Change:
    """One step: what should be, and what there is now (attributes and, of files, text)."""

    wanted: Any
    before: dict[str, str]
    after: dict[str, str]

    def diff(self) -> list[dict[str, str]]:
        """What Ansible shows for --diff: the attributes that differ and the text that differs."""
        attributes = [key for key in self.after if key != "content" and self.before.get(key) != self.after[key]]
        shown = []
        if attributes:
            shown.append(
                {
                    "before_header": f"{self.wanted.path} (attributes)",
                    "after_header": f"{self.wanted.path} (attributes)",
                    "before": "".join(f"{key}: {self.before[key]}\n" for key in attributes if key in self.before),
                    "after": "".join(f"{key}: {self.after[key]}\n" for key in attributes),
                }
            )
        if self.before.get("content") != self.after.get("content"):
            shown.append(
                {
                    "before_header": self.wanted.path,
                    "after_header": self.wanted.path,
                    "before": self.before.get("content", ""),
                    "after": self.after["content"],
                }
            )
        return shown


def plan(wanted: list[Any]) -> list[Change]:
    """The steps from what there is to what is wanted, in the order given. Changes nothing."""
    changes = []
    for entry in wanted:
        before, after = _found(entry), _described(entry)
        if before != after:
            changes.append(Change(entry, before, after))
    return changes


def carry_out(changes: list[Change], scratch: str) -> None:
    """Take the steps. Names of users and what validators say are settled before the first of them."""
    owners = {change.wanted.path: _ids(change.wanted) for change in changes if change.wanted.kind != "link"}
    for change in changes:
        if change.wanted.kind == "file" and change.wanted.validate:
            _validate(change.wanted, scratch)
    act: dict[str, Callable[[Any, tuple[int, int]], None]] = {"directory": _make_directory, "file": _write_file}
    for change in changes:
        if change.wanted.kind == "link":
            _make_link(change.wanted)
        else:
            act[change.wanted.kind](change.wanted, owners[change.wanted.path])


def _described(entry: Any) -> dict[str, str]:
    described = {"kind": entry.kind}
    if entry.kind == "link":
        return {**described, "target": entry.target}
    described.update(mode=f"{entry.mode:04o}", owner=entry.owner, group=entry.group)
    if entry.kind == "file":
        described["content"] = _text(entry.content)
    return described


def _found(entry: Any) -> dict[str, str]:
    try:
        status = os.lstat(entry.path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    if not _KINDS[entry.kind](status.st_mode):
        raise Refused(
            f"{entry.path} is there and is no {entry.kind}",
            code="WRONG_KIND",
            expected=f"a {entry.kind} or nothing",
            next_step=f"ls -ld {entry.path}, then move it away",
        )
    if entry.kind == "link":
        return {"kind": "link", "target": str(Path(entry.path).readlink())}
    found = {
        "kind": entry.kind,
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
        "owner": _name(lambda: pwd.getpwuid(status.st_uid).pw_name, status.st_uid),
        "group": _name(lambda: grp.getgrgid(status.st_gid).gr_name, status.st_gid),
    }
    if entry.kind == "file":
        found["content"] = _text(Path(entry.path).read_bytes())
    return found


def _text(content: bytes) -> str:
    """Text as it is; of anything else a description that differs when the bytes do."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}\n"


def _name(lookup: Callable[[], str], number: int) -> str:
    try:
        return lookup()
    except KeyError:
        return str(number)


def _ids(entry: Any) -> tuple[int, int]:
    try:
        return pwd.getpwnam(entry.owner).pw_uid, grp.getgrnam(entry.group).gr_gid
    except KeyError as error:
        raise Unusable(
            f"{entry.path} should belong to {entry.owner}:{entry.group}, and the host lacks one of them",
            code="UNKNOWN_OWNER",
            expected="an existing user and group",
        ) from error


def _validate(entry: File, scratch: str) -> None:
    fd, copy = tempfile.mkstemp(prefix=f"{Path(entry.path).name}.", dir=scratch)
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.write(entry.content)
        command = [copy if word == "%s" else word for word in entry.validate]
        judged = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except OSError as error:
        raise FloyoError(f"{entry.validate[0]}, which judges {entry.path}, cannot run: {error}") from error
    finally:
        Path(copy).unlink()
    if judged.returncode != 0:
        said = judged.stdout.decode(errors="replace").strip().replace(copy, entry.path)
        raise Unusable(
            f"{entry.validate[0]} refuses the new {entry.path}: {said[-2000:]}",
            code="FILE_REFUSED",
            next_step="correct the variables it is made of; the old file is untouched",
        )


def _make_directory(entry: Directory, owner: tuple[int, int]) -> None:
    directory = Path(entry.path)
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(0o700, exist_ok=True)  # nobody looks in before owner and mode are right
    os.chown(directory, *owner)
    directory.chmod(entry.mode)


def _write_file(entry: File, owner: tuple[int, int]) -> None:
    Path(entry.path).parent.mkdir(parents=True, exist_ok=True)
    write_atomic(entry.path, entry.content, mode=entry.mode, uid=owner[0], gid=owner[1])


def _make_link(entry: Link) -> None:
    link = Path(entry.path)
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):  # left by a process of that number that was killed
        temporary.unlink()
    temporary.symlink_to(entry.target)
    temporary.rename(link)
    fsync_dir(str(link.parent))


def parse_mode(text: Optional[str], default: int) -> int:
    """An octal mode written as text."""
    if text is None:
        return default
    try:
        mode = int(text, 8)
    except ValueError as error:
        raise Unusable(f"{text!r} is no file mode", expected="octal digits in quotes, such as '0644'") from error
    return mode
