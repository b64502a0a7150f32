"""The samples of the last day in a small file (client, standard library only: also runs inside the host program).

Samples are appended, a line each; every now and then the file is rewritten with the newest. A crash between the two, a
full disk or half a line costs a sample and no more.
"""

from __future__ import annotations

import json
import os

from ..files import write_atomic
from .trend import Sample

__all__ = ["KEPT", "append", "read"]

KEPT = 1440
_MOST_BYTES = 1 << 20


def append(path: str, sample: Sample, *, kept: int = KEPT) -> None:
    """Add a sample; a file that has grown to twice what is kept is cut."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        # A line that a crash left half gets its end here: one sample is lost and not two.
        os.write(descriptor, b"\n" * _is_torn(path) + json.dumps(list(sample)).encode() + b"\n")
        size = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    if size > kept * 2 * 90:
        lines = [json.dumps(list(one)).encode() + b"\n" for one in read(path)[-kept:]]
        write_atomic(path, b"".join(lines), mode=0o640)


def _is_torn(path: str) -> bool:
    with open(path, "rb") as stream:
        if stream.seek(0, os.SEEK_END) == 0:
            return False
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"


def read(path: str) -> list[Sample]:
    """The samples, oldest first; those that cannot be read are left out, and a missing file holds none."""
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _MOST_BYTES))
            lines = stream.read().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            at, start, memory, cpu, restarts, killed = json.loads(line)
            found.append(Sample(float(at), str(start), int(memory), float(cpu), int(restarts), int(killed)))
        except (ValueError, TypeError):
            continue
    return found
