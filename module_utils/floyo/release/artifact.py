"""A release as one file: packed in a fixed order, verified by digest, unpacked aside (client)."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from pathlib import Path

from ..errors import FloyoError, Unusable
from ..files import fsync_dir

__all__ = ["file_digest", "make_durable", "pack", "size_of", "tree_digest", "unpack"]

MANIFEST = "release.json"
_BLOCK = 1 << 20
_PAGE = 4096


def file_digest(path: Path) -> str:
    """sha256 in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def tree_digest(root: Path) -> str:
    """sha256 over path, kind, permissions and content of all that is below ``root``, but the manifest that holds it."""
    digest = hashlib.sha256()
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted([*files, *names]):
            path = Path(directory, name)
            shown = str(path.relative_to(root))
            if shown == MANIFEST:
                continue
            found = path.lstat()
            if stat.S_ISLNK(found.st_mode):
                what = f"link {os.readlink(path)}"
            elif stat.S_ISDIR(found.st_mode):
                what = f"directory {stat.S_IMODE(found.st_mode):o}"
            elif not stat.S_ISREG(found.st_mode):
                what = f"special {found.st_mode:o}"
            else:
                what = f"file {stat.S_IMODE(found.st_mode):o} {file_digest(path)}"
            digest.update(f"{shown}\0{what}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def size_of(root: Path) -> int:
    """Bytes on disk below ``root``, in blocks of 4 KiB: what a file system has allocated so far differs from host to host."""
    found = (Path(directory, name) for directory, names, files in os.walk(root) for name in [*names, *files])
    return sum(-(-path.lstat().st_size // _PAGE) * _PAGE for path in found)


def pack(release: Path, target: Path) -> str:
    """Pack ``release`` into ``target`` (tar.zst) and return its sha256. The same tree gives the same bytes."""
    partial = target.with_name(target.name + ".partial")
    try:
        _run(
            [
                "tar", "--create", f"--file={partial}", "--use-compress-program=zstd -T0 -3 -q",
                "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=posix",
                "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
                f"--directory={release.parent}", release.name,
            ],
            f"{release.name} cannot be packed",
            "room in the build directory",
        )  # fmt: skip
    except FloyoError:
        # It may have filled the disk.
        partial.unlink(missing_ok=True)
        raise
    partial.chmod(0o640)
    digest = file_digest(partial)
    fd = os.open(partial, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    partial.rename(target)
    fsync_dir(str(target.parent))
    return digest


def unpack(artifact: Path, sha256: str, directory: Path) -> None:
    """Unpack into ``directory`` (which exists), durable when it returns. Bytes that are not those are refused."""
    found = file_digest(artifact)
    if found != sha256:
        raise Unusable(
            f"the artifact's digest is {found[:16]}...",
            code="ARTIFACT_DAMAGED",
            expected=f"{sha256[:16]}..., which the build recorded",
            next_step="run the same command again: it is transferred anew",
        )
    _run(
        [
            "tar", "--extract", f"--file={artifact}", "--use-compress-program=zstd -q", "--no-same-owner",
            "--preserve-permissions", f"--directory={directory}",
        ],
        "the artifact cannot be unpacked",
        f"room in {directory}",
    )  # fmt: skip
    make_durable(directory)


def make_durable(directory: Path) -> None:
    """One call for the whole file system instead of one for each of thousands of files."""
    _run(["sync", "--file-system", str(directory)], f"{directory} cannot be written", "a disk that works")


def _run(argv: list[str], what: str, expected: str) -> None:
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise FloyoError(
            f"{what}: {lines[0] if lines else f'{argv[0]} ended with {done.returncode}'}",
            code="ARTIFACT_FAILED",
            expected=expected,
            next_step="df -h on this host, then run the same command again",
        )
