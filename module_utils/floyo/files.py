"""Files that matter: right mode from the first byte, fsync, rename (standard library only)."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

__all__ = ["append_line", "fsync_dir", "read_json", "write_atomic", "write_json"]


def fsync_dir(path: str) -> None:
    """Make renames inside the directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: str, data: bytes, *, mode: int = 0o600, uid: int = -1, gid: int = -1) -> None:
    """Replace ``path`` by ``data``: a reader, or a crash, sees the old or the new content and nothing else."""
    import tempfile  # the host program only writes at a switch, and a fleet waits for its start at every look

    directory = os.path.dirname(path) or "."
    fd, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=directory)
    try:
        with os.fdopen(fd, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            if uid != -1 or gid != -1:
                os.fchown(stream.fileno(), uid, gid)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    fsync_dir(directory)


def write_json(path: str, value: Any, *, mode: int = 0o600) -> None:
    """write_atomic of ``value`` as sorted, indented JSON."""
    write_atomic(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode(), mode=mode)


def read_json(path: str, default: Any = None) -> Any:
    """The parsed file, or ``default`` when it is not there. A damaged file raises ValueError."""
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except FileNotFoundError:
        return default


def append_line(path: str, line: str, *, mode: int = 0o640) -> None:
    """Append one line durably (a single write: concurrent appenders do not interleave)."""
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, mode)
    try:
        data = line.rstrip("\n").encode() + b"\n"
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            # A full disk or a crash cut the last line short: it must not swallow this one.
            data = b"\n" + data
        while data:
            data = data[os.write(fd, data) :]
        os.fsync(fd)
    finally:
        os.close(fd)
