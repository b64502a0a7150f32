"""Programs as child processes: no shell, no pipe of a shell, no secret in arguments, none outlives us (client)."""

from __future__ import annotations

import hashlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any, Callable, Optional

from ..errors import FloyoError, TimedOut, Unusable
from ..postgres.url import scrub

__all__ = [
    "CHUNK",
    "TICK",
    "Child",
    "Streamed",
    "flow",
    "minimal_environment",
    "read_whole",
    "running",
    "time_left",
    "write_all",
]

CHUNK = 1 << 20
TICK = 1.0
_GRACE = 5.0
_TAIL = 3000


@dataclass(frozen=True)
class Streamed:
    """Bytes that have gone by. ``plain``: sha256 of what they are the encrypted form of."""

    size: int
    sha256: str
    plain: str = ""


def minimal_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Nothing of ours reaches the programs by accident (PGSERVICE, PGOPTIONS); their messages are English."""
    base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.path.expanduser("~"), "LC_ALL": "C.UTF-8"}
    return {**base, "PGCONNECT_TIMEOUT": "10", **more}


def write_all(sink: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(sink, view) :]


def read_whole(stream: IO[bytes], *, deadline: float) -> Streamed:
    """Every byte of a file, from the disk: what only the cache has is not yet known to be readable."""
    size, digest = 0, hashlib.sha256()
    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    stream.seek(0)
    while True:
        chunk = stream.read(CHUNK)
        if not chunk:
            return Streamed(size, digest.hexdigest())
        time_left(deadline, "reading the dump back")
        digest.update(chunk)
        size += len(chunk)


def flow(
    source: Child,
    targets: Sequence[Child],
    *,
    curious: Sequence[Child] = (),
    result: Optional[Child] = None,
    taken: Callable[[bytes], None] = lambda chunk: None,
    progress: Callable[[int], None] = lambda size: None,
) -> Streamed:
    """What a program says goes to others, and what ``result`` (one of them) makes of it to ``taken``. Returns what went by.

    One that is ``curious`` may stop listening; of the others that is an error, which its status explains.
    """
    size, digest, next_tick = 0, hashlib.sha256(), time.monotonic() + TICK
    listening = {_descriptor(child.process.stdin): child for child in (*targets, *curious)}
    said, made = _descriptor(source.process.stdout), _descriptor(result.process.stdout) if result else -1
    for descriptor in listening:
        os.set_blocking(descriptor, False)
    left: dict[int, memoryview] = {}  # of the chunk at hand, what each has still to get
    open_ends = {said, made} - {-1}
    while open_ends:
        sources = [end for end in open_ends if end != said or not left]
        readable, writable, _ = select.select(sources, list(left), [], min(TICK, source.left()))
        if made in readable:
            chunk = os.read(made, CHUNK)
            taken(chunk)
            if not chunk:
                open_ends.discard(made)
        for descriptor in writable:
            try:
                left[descriptor] = left[descriptor][os.write(descriptor, left[descriptor]) :]
            except BrokenPipeError:
                child = listening.pop(descriptor)
                if child not in curious:
                    child.succeed()  # it explains itself by its status
                    raise FloyoError(f"{child.name} has stopped listening", code="PROGRAM_FAILED") from None
                left[descriptor] = left[descriptor][:0]
            if not left[descriptor]:
                del left[descriptor]
        if said in readable:
            chunk = os.read(said, CHUNK)
            if chunk:
                digest.update(chunk)
                size += len(chunk)
                left = {descriptor: memoryview(chunk) for descriptor in listening}
            else:
                open_ends.discard(said)
                for child in listening.values():
                    assert child.process.stdin is not None  # noqa: S101 - for the type checker: it listens
                    child.process.stdin.close()
        if time.monotonic() >= next_tick:
            progress(size)
            next_tick = time.monotonic() + TICK
    for child in (source, *targets, *curious):
        child.succeed()
    return Streamed(size, digest.hexdigest())


def _descriptor(pipe: Optional[IO[bytes]]) -> int:
    assert pipe is not None  # noqa: S101 - for the type checker: it was asked for as a pipe
    return pipe.fileno()


class Child:
    """A program that has to end well before a deadline."""

    def __init__(
        self, process: subprocess.Popen[bytes], errors: IO[bytes], secrets: Sequence[str], deadline: float
    ) -> None:
        self.process, self._errors, self._secrets, self._deadline = process, errors, secrets, deadline

    @property
    def name(self) -> str:
        arguments = self.process.args
        assert isinstance(arguments, list)  # noqa: S101 - for the type checker: we start programs by lists
        return os.path.basename(arguments[3] if arguments[1:2] == ["--pdeathsig"] else arguments[0])

    def left(self) -> float:
        return time_left(self._deadline, self.name)

    def read(self, source: int, size: int) -> bytes:
        """What it says next, before the deadline; nothing when it has said all."""
        while not select.select([source], [], [], min(TICK, self.left()))[0]:
            continue
        return os.read(source, size)

    def succeed(self, progress: Callable[[], None] = lambda: None) -> None:
        """Wait for the end and look at the status. What it wrote before counts for nothing otherwise."""
        while True:
            try:
                status = self.process.wait(min(TICK, self.left()))
                break
            except subprocess.TimeoutExpired:
                progress()
        if status:
            said = self.said()
            ended = f"ended with status {status}" if status > 0 else f"was ended by signal {-status}"
            raise FloyoError(
                f"{self.name} {ended}: {_reason(said)}",
                code={"pg_dump": "DUMP_FAILED", "pg_restore": "RESTORE_FAILED"}.get(self.name, "PROGRAM_FAILED"),
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
def running(
    argv: Sequence[str], environment: Mapping[str, str], secrets: Sequence[str], deadline: float, **files: Any
) -> Iterator[Child]:
    """The child does not outlive the block; and not us: the kernel ends it when we are killed (setpriv of util-linux)."""
    bound = [program, "--pdeathsig", "TERM"] if (program := shutil.which("setpriv")) else []
    files.setdefault("stdin", subprocess.DEVNULL)
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                [*bound, *argv],
                env=minimal_environment(environment),
                cwd="/",
                stderr=errors,
                start_new_session=True,
                **files,
            )
        except OSError as error:
            raise Unusable(f"{argv[0]} cannot be run: {error.strerror}", code="CLIENT_MISSING") from error
        child = Child(process, errors, secrets, deadline)
        try:
            yield child
        finally:
            child.stop()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()


def _reason(said: str) -> str:
    lines = [line for line in said.splitlines() if "error:" in line] or said.splitlines()
    return lines[0] if lines else "it said nothing"


def time_left(deadline: float, what: str) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimedOut(
            f"{what} did not end in time",
            code="BACKUP_TIMEOUT",
            expected="the whole run within timeout",
            next_step="look for load on the database and the disk, or run again with a longer timeout",
        )
    return left
