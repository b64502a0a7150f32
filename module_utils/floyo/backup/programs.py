"""pg_dump and pg_restore as child processes: no shell, no pipe between programs, no secret in arguments (client)."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Callable

from ..errors import FloyoError, TimedOut, Unusable
from ..postgres.url import scrub
from .judge import Programs, Toc, read_toc

__all__ = ["PLACES", "Streamed", "dump", "find_programs", "listing", "offers", "read_back", "restore"]

# Where Debian and the PostgreSQL project's own packages for Red Hat put the programs of each version.
PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
_CHUNK = 1 << 20
_GRACE = 5.0
_TAIL = 3000
_TICK = 1.0


@dataclass(frozen=True)
class Streamed:
    size: int
    sha256: str


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
        [program, "--version"], capture_output=True, text=True, check=False, env=_environment({}), timeout=30
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
        argv, capture_output=True, text=True, check=False, env=_environment({}), stdin=subprocess.DEVNULL, timeout=30
    )
    return "compress" not in done.stderr


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Nothing of ours reaches the programs by accident (PGSERVICE, PGOPTIONS); their messages are English."""
    base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.path.expanduser("~"), "LC_ALL": "C.UTF-8"}
    return {**base, "PGCONNECT_TIMEOUT": "10", **more}


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
    argv = [os.path.join(programs.directory, "pg_dump"), "--format=custom", "--no-password", *arguments]
    size, digest, next_tick = 0, hashlib.sha256(), time.monotonic() + _TICK
    with _running(argv, environment, secrets, deadline, stdout=subprocess.PIPE) as child:
        assert child.process.stdout is not None  # noqa: S101 - for the type checker: it was asked for as a pipe
        source = child.process.stdout.fileno()
        while True:
            if not select.select([source], [], [], min(_TICK, child.left()))[0]:
                continue
            chunk = os.read(source, _CHUNK)
            if not chunk:
                break
            _write(sink, chunk)
            digest.update(chunk)
            size += len(chunk)
            if time.monotonic() >= next_tick:
                progress(size)
                next_tick = time.monotonic() + _TICK
        child.succeed()
    return Streamed(size, digest.hexdigest())


def _write(sink: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(sink, view) :]


def read_back(programs: Programs, stream: IO[bytes], *, deadline: float) -> tuple[Streamed, Toc]:
    """Read every byte of a dump, twice: for its digest, and as pg_restore does to restore it. Its listing alone would
    read the beginning only. ``stream`` stays the same file whatever happens to its name."""
    size, digest = 0, hashlib.sha256()
    # From the disk: what only the cache has is not yet known to be readable.
    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    stream.seek(0)
    while True:
        chunk = stream.read(_CHUNK)
        if not chunk:
            break
        _time_left(deadline, "reading the dump back")
        digest.update(chunk)
        size += len(chunk)
    restore = os.path.join(programs.directory, "pg_restore")
    stream.seek(0)
    with _running([restore, "--file=/dev/null"], {}, (), deadline, stdin=stream, stdout=subprocess.DEVNULL) as child:
        child.succeed()
    return Streamed(size, digest.hexdigest()), read_toc(listing(programs, stream, deadline=deadline))


def listing(programs: Programs, stream: IO[bytes], *, deadline: float) -> str:
    """What ``pg_restore --list`` says of a dump."""
    stream.seek(0)
    with tempfile.TemporaryFile() as output:
        argv = [os.path.join(programs.directory, "pg_restore"), "--list"]
        with _running(argv, {}, (), deadline, stdin=stream, stdout=output) as child:
            child.succeed()
        output.seek(0)
        return output.read().decode(errors="surrogateescape")


def restore(
    programs: Programs,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stream: IO[bytes],
    *,
    only: str = "",
    deadline: float,
    progress: Callable[[], None],
    secrets: Sequence[str],
) -> None:
    """Run pg_restore into the database that ``environment`` names. The first error ends it. ``only``: a list as of
    ``listing``; what is not in it is left out."""
    # Its workers open the dump anew, by this name: whatever has become of the real one, it is the file that we hold.
    source = "/dev/stdin"
    # One keyword: a name that looks like a URL or like keywords stays a name.
    name = environment["PGDATABASE"].replace("\\", "\\\\").replace("'", "\\'")
    argv = [os.path.join(programs.directory, "pg_restore"), "--exit-on-error", "--no-owner", "--no-password"]
    argv += [*arguments, f"--dbname=dbname='{name}'"]
    stream.seek(0)
    with _as_file(only) as (use_list, inherited):
        argv += [*use_list, source]
        with _running(
            argv, environment, secrets, deadline, stdin=stream, stdout=subprocess.DEVNULL, pass_fds=inherited
        ) as child:
            child.succeed(progress)


@contextmanager
def _as_file(text: str) -> Iterator[tuple[list[str], list[int]]]:
    """An option that names a list, and the descriptors it needs. In memory: nothing stays behind when we are killed."""
    if not text:
        yield [], []
        return
    fd = os.memfd_create("list")
    try:
        _write(fd, text.encode(errors="surrogateescape"))
        yield [f"--use-list=/proc/self/fd/{fd}"], [fd]
    finally:
        os.close(fd)


# --- child processes -------------------------------------------------------------------------------------------------


class _Child:
    """A program that has to end well before a deadline."""

    def __init__(
        self, process: subprocess.Popen[bytes], errors: IO[bytes], secrets: Sequence[str], deadline: float
    ) -> None:
        self.process, self._errors, self._secrets, self._deadline = process, errors, secrets, deadline

    @property
    def name(self) -> str:
        arguments = self.process.args
        assert isinstance(arguments, list)  # noqa: S101 - for the type checker: we start programs by lists
        return next(os.path.basename(word) for word in arguments if "pg_" in word)

    def left(self) -> float:
        return _time_left(self._deadline, self.name)

    def succeed(self, progress: Callable[[], None] = lambda: None) -> None:
        """Wait for the end and look at the status. What it wrote before counts for nothing otherwise."""
        while True:
            try:
                status = self.process.wait(min(_TICK, self.left()))
                break
            except subprocess.TimeoutExpired:
                progress()
        if status:
            said = self.said()
            ended = f"ended with status {status}" if status > 0 else f"was ended by signal {-status}"
            raise FloyoError(
                f"{self.name} {ended}: {_reason(said)}",
                code="DUMP_FAILED" if self.name == "pg_dump" else "RESTORE_FAILED",
                expected="status 0",
                next_step="read output_tail; nothing was kept of this run, backups made before are untouched",
                output_tail=said,
                status=status,
            )

    def said(self) -> str:
        size = os.fstat(self._errors.fileno()).st_size
        tail = os.pread(self._errors.fileno(), _TAIL, max(0, size - _TAIL))
        return scrub(tail.decode(errors="replace"), *self._secrets).strip()

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is not None:
                return
            os.killpg(self.process.pid, number)
            try:
                self.process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                continue


@contextmanager
def _running(
    argv: Sequence[str], environment: Mapping[str, str], secrets: Sequence[str], deadline: float, **files: Any
) -> Iterator[_Child]:
    """The child does not outlive the block; and not us: the kernel ends it when we are killed (setpriv of util-linux)."""
    bound = [program, "--pdeathsig", "TERM"] if (program := shutil.which("setpriv")) else []
    files.setdefault("stdin", subprocess.DEVNULL)
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                [*bound, *argv], env=_environment(environment), cwd="/", stderr=errors, start_new_session=True, **files
            )
        except OSError as error:
            raise Unusable(f"{argv[0]} cannot be run: {error.strerror}", code="CLIENT_MISSING") from error
        child = _Child(process, errors, secrets, deadline)
        try:
            yield child
        finally:
            child.stop()
            if process.stdout is not None:
                process.stdout.close()


def _reason(said: str) -> str:
    lines = [line for line in said.splitlines() if "error:" in line] or said.splitlines()
    return lines[0] if lines else "it said nothing"


def _time_left(deadline: float, what: str) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimedOut(
            f"{what} did not end in time",
            code="BACKUP_TIMEOUT",
            expected="the whole run within timeout",
            next_step="look for load on the database and the disk, or run again with a longer timeout",
        )
    return left
