"""pg_dump and pg_restore (client). No secret is in their arguments."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Optional

from ..errors import FloyoError
from .archive import Archive, Directory, Sealed, encrypting
from .judge import Programs, Toc, read_toc
from .processes import CHUNK, TICK, Child, Streamed, flow, minimal_environment, running, write_all

__all__ = [
    "PLACES",
    "dump",
    "dump_directory",
    "dump_encrypted",
    "find_programs",
    "jobs_of",
    "listing",
    "offers",
    "read_back",
    "restore",
    "script",
]

# Where Debian and the PostgreSQL project's own packages for Red Hat put the programs of each version.
PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
_MOST_JOBS = 4


def find_programs(directory: str = "") -> list[Programs]:
    """All versions of pg_dump with their pg_restore: in ``directory``, or in the usual places and in PATH."""
    places = [directory] if directory else [place for pattern in PLACES for place in sorted(glob.glob(pattern))]
    in_path = "" if directory else shutil.which("pg_dump")
    if in_path:
        places.append(os.path.dirname(os.path.realpath(in_path)))
    found = []
    for place in dict.fromkeys(places):
        if all(os.access(os.path.join(place, name), os.X_OK) for name in ("pg_dump", "pg_restore")):
            version = _version(os.path.join(place, "pg_dump"))
            if version:
                found.append(Programs(place, version))
    return found


def _version(program: str) -> str:
    """``16.4``; empty for what is not pg_dump (Debian's wrapper in PATH fails when it knows no cluster)."""
    done = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, env=minimal_environment({}), timeout=30
    )
    match = re.search(r"\(PostgreSQL\) (\d+[\w.]*)", done.stdout)
    return match[1] if match and done.returncode == 0 else ""


def offers(programs: Programs, method: str) -> bool:
    """Whether this build can compress by ``method``. It tells when it reads its options, before it connects."""
    argv = [
        os.path.join(programs.directory, "pg_dump"),
        "--format=custom",
        f"--compress={method}",
        "--host=/nonexistent",
    ]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        env=minimal_environment({}),
        stdin=subprocess.DEVNULL,
        timeout=30,
    )
    return "compress" not in done.stderr


def jobs_of(asked: int) -> int:
    """Connections that work at once: as many as processors, so many that the application still has some."""
    return asked or min(_MOST_JOBS, len(os.sched_getaffinity(0)))


def dump(
    programs: Programs,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    sink: int,
    *,
    deadline: float,
    progress: Callable[[int], None],
    secrets: Sequence[str],
) -> Streamed:
    """Run pg_dump and write what it says to ``sink``; the digest is of what came out of it, not of what a disk kept."""
    size, digest, next_tick = 0, hashlib.sha256(), time.monotonic() + TICK
    with _dumping(programs, ["--format=custom", *arguments], environment, secrets, deadline) as child:
        assert child.process.stdout is not None  # noqa: S101 - for the type checker: it was asked for as a pipe
        source = child.process.stdout.fileno()
        while chunk := child.read(source, CHUNK):
            write_all(sink, chunk)
            digest.update(chunk)
            size += len(chunk)
            if time.monotonic() >= next_tick:
                progress(size)
                next_tick = time.monotonic() + TICK
        child.succeed()
    return Streamed(size, digest.hexdigest())


def _dumping(
    programs: Programs,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    secrets: Sequence[str],
    deadline: float,
    stdout: int = subprocess.PIPE,
) -> Any:
    argv = [os.path.join(programs.directory, "pg_dump"), "--no-password", *arguments]
    return running(argv, environment, secrets, deadline, stdout=stdout)


def dump_directory(
    programs: Programs,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    path: str,
    *,
    jobs: int,
    deadline: float,
    progress: Callable[[int], None],
    secrets: Sequence[str],
) -> Streamed:
    """The same into files of a new directory, by several connections. pg_dump writes them itself: the digest is of what
    the disk has."""

    def size() -> int:
        with os.scandir(path) as entries:
            return sum(entry.stat().st_size for entry in entries)

    words = ["--format=directory", f"--jobs={jobs}", f"--file={path}", *arguments]
    with _dumping(programs, words, environment, secrets, deadline, stdout=subprocess.DEVNULL) as child:
        try:
            child.succeed(lambda: progress(size()))
        except FloyoError as error:
            full = re.search(
                r"No space left on device|Disk quota exceeded|File too large", str(error.details.get("output_tail"))
            )
            if full:
                raise OSError(
                    {"N": errno.ENOSPC, "D": errno.EDQUOT, "F": errno.EFBIG}[full[0][0]], full[0], path
                ) from error
            raise
    archive = Directory(path)
    try:
        archive.sync()
        return archive.read(deadline)
    finally:
        archive.close()


def dump_encrypted(
    programs: Programs,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    sink: int,
    *,
    recipients: Sequence[str],
    deadline: float,
    progress: Callable[[int], None],
    secrets: Sequence[str],
) -> tuple[Streamed, Toc]:
    """The same, encrypted on its way. Who can encrypt may not be able to decrypt: so what is in it is read as pg_restore
    does before it is encrypted, while it is made, and what was written is compared by its digest afterwards."""
    size, digest = 0, hashlib.sha256()

    def taken(chunk: bytes) -> None:
        nonlocal size
        write_all(sink, chunk)
        digest.update(chunk)
        size += len(chunk)

    with ExitStack() as stack:
        source = stack.enter_context(
            _dumping(programs, ["--format=custom", *arguments], environment, secrets, deadline)
        )
        age = stack.enter_context(encrypting(recipients, deadline))
        with _readers(programs, deadline) as (readers, listed):
            plain = flow(source, [age], curious=readers, result=age, taken=taken, progress=progress)
            toc = read_toc(listed())
    return Streamed(size, digest.hexdigest(), plain.sha256), toc


@contextmanager
def _readers(programs: Programs, deadline: float) -> Iterator[tuple[list[Child], Callable[[], str]]]:
    """Two that read a dump from a pipe: all of it, as to restore it, and its listing, which the function returns."""
    pg_restore = os.path.join(programs.directory, "pg_restore")
    with ExitStack() as stack:
        output = stack.enter_context(tempfile.TemporaryFile())
        whole = running(
            [pg_restore, "--file=/dev/null"], {}, (), deadline, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        listing = running([pg_restore, "--list"], {}, (), deadline, stdin=subprocess.PIPE, stdout=output)

        def listed() -> str:
            output.seek(0)
            return output.read().decode(errors="surrogateescape")

        yield [stack.enter_context(whole), stack.enter_context(listing)], listed


def read_back(programs: Programs, archive: Archive, written: Streamed, *, deadline: float) -> tuple[str, Optional[Toc]]:
    """Read every byte of a dump, twice: for its digest, and as pg_restore does to restore it. Its listing alone would
    read the beginning only. Returns what is wrong, in words, and its table of contents when that could be read."""
    found = archive.read(deadline)
    if found.size != written.size:
        return f"the dump has {found.size} bytes instead of {written.size}", None
    if found.sha256 != written.sha256:
        return "the dump's sha256 is not the recorded one", None
    if not archive.readable:
        return "", None
    if isinstance(archive, Sealed):
        with _readers(programs, deadline) as (readers, listed):
            plain = archive.through(readers, deadline)
            same = plain.sha256 == written.plain
            return ("" if same else "what is in the dump has another sha256 than the recorded one"), read_toc(listed())
    with _restoring(programs, archive, ["--file=/dev/null"], deadline, stdout=subprocess.DEVNULL) as child:
        child.succeed()
    return "", read_toc(listing(programs, archive, deadline=deadline))


@contextmanager
def _restoring(
    programs: Programs,
    archive: Archive,
    arguments: Sequence[str],
    deadline: float,
    *,
    environment: Mapping[str, str] = {},
    secrets: Sequence[str] = (),
    inherited: Sequence[int] = (),
    **files: Any,
) -> Iterator[Child]:
    """pg_restore at work on a dump."""
    argv = [os.path.join(programs.directory, "pg_restore"), *arguments, *([archive.source] if archive.source else [])]
    with archive.fed(deadline) as how:
        files = {**files, **how, "pass_fds": [*how.get("pass_fds", []), *inherited]}
        with running(argv, environment, secrets, deadline, **files) as child:
            yield child


def listing(programs: Programs, archive: Archive, *, deadline: float) -> str:
    """What ``pg_restore --list`` says of a dump."""
    with tempfile.TemporaryFile() as output:
        with _restoring(programs, archive, ["--list"], deadline, stdout=output) as child:
            child.succeed()
        output.seek(0)
        return output.read().decode(errors="surrogateescape")


@contextmanager
def script(
    programs: Programs, arguments: Sequence[str], archive: Archive, *, deadline: float
) -> Iterator[Iterator[bytes]]:
    """What pg_restore would run, as text. The block has to take all of it."""
    words = ["--file=-", "--no-owner", *arguments]
    with _restoring(programs, archive, words, deadline, stdout=subprocess.PIPE) as child:
        assert child.process.stdout is not None  # noqa: S101 - for the type checker: it was asked for as a pipe
        source = child.process.stdout.fileno()
        yield iter(lambda: child.read(source, CHUNK), b"")
        child.succeed()


def restore(
    programs: Programs,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    archive: Archive,
    *,
    jobs: int = 1,
    only: str = "",
    deadline: float,
    progress: Callable[[], None],
    secrets: Sequence[str],
) -> None:
    """Run pg_restore into the database that ``environment`` names. The first error ends it. ``only``: a list as of
    ``listing``; what is not in it is left out."""
    # One keyword: a name that looks like a URL or like keywords stays a name.
    name = environment["PGDATABASE"].replace("\\", "\\\\").replace("'", "\\'")
    argv = ["--exit-on-error", "--no-owner", "--no-password", *arguments, f"--dbname=dbname='{name}'"]
    if archive.parallel and jobs > 1:
        argv.append(f"--jobs={jobs}")
    with _as_file(only) as (use_list, inherited), _restoring(
        programs, archive, [*argv, *use_list], deadline,
        environment=environment, secrets=secrets, inherited=inherited, stdout=subprocess.DEVNULL,
    ) as child:  # fmt: skip
        child.succeed(progress)


@contextmanager
def _as_file(text: str) -> Iterator[tuple[list[str], list[int]]]:
    """An option that names a list, and the descriptors it needs. In memory: nothing stays behind when we are killed."""
    if not text:
        yield [], []
        return
    fd = os.memfd_create("list")
    try:
        write_all(fd, text.encode(errors="surrogateescape"))
        yield [f"--use-list=/proc/self/fd/{fd}"], [fd]
    finally:
        os.close(fd)
