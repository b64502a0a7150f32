"""Copies of keys in a file, as Redis itself makes them (DUMP and RESTORE)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import Unusable
from ..files import write_atomic
from .client import Cache

__all__ = ["Copy", "read_copies", "write_copies"]


@dataclass(frozen=True)
class Copy:
    """``expires`` is the moment in milliseconds, 0 when never."""

    key: bytes
    value: bytes
    expires: int


def write_copies(path: str, keys: Sequence[tuple[Cache, bytes]], *, database: int) -> int:
    """A line for each key; what went away meanwhile has none. Only its owner may read the file."""
    lines = [json.dumps({"database": database, "at": int(time.time())})]
    for node, key in keys:
        value, ttl = node.many([("DUMP", key), ("PTTL", key)])
        if value is not None:
            expires = int(time.time() * 1000) + int(ttl) if int(ttl) >= 0 else 0
            lines.append(json.dumps({"key": _text(key), "value": _text(value), "expires": expires}))
    write_atomic(path, "".join(f"{line}\n" for line in lines).encode(), mode=0o600)
    return len(lines) - 1


def read_copies(path: str, *, database: int) -> list[Copy]:
    try:
        with open(path, encoding="ascii") as stream:
            head, *lines = [json.loads(line) for line in stream]
        copies = [
            Copy(base64.b64decode(line["key"]), base64.b64decode(line["value"]), int(line["expires"])) for line in lines
        ]
        written = head["database"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unusable(
            f"{path} cannot be read as a copy of keys: {type(error).__name__}", code="COPY_UNUSABLE", reason="COPY",
            expected="a file that copy_to has written", next_step="name the file in copy_to",
        ) from error  # fmt: skip
    if written != database:
        raise Unusable(
            f"{path} is of database {written} and the URL means {database}", code="COPY_OF_ANOTHER", reason="COPY",
            expected="the database that was copied", next_step="compare the URL with the one that was flushed",
        )  # fmt: skip
    return copies


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
