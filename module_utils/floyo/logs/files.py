"""The files of one log, its rotated and compressed ones included, and the journal, as streams of lines (client).

Whatever can be sorted out by a fixed word is sorted out by grep: it is on every host and no Python loop is as fast.
Memory is bounded by the longest line that is kept, whatever a file holds.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import resource
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Optional

from ..errors import FloyoError, Unusable
from ..text import shorten

__all__ = ["LogFile", "Words", "journal", "last_lines", "log_files", "matching"]

LONGEST_LINE = 256 * 1024
_CHUNK = 256 * 1024
_TAIL_LIMIT = 32 * 1024 * 1024
# grep keeps a whole line in memory; a file of junk may be one line.
_GREP_MEMORY = 48 * 1024 * 1024
_PRIORITIES = ("CRITICAL", "CRITICAL", "CRITICAL", "ERROR", "WARNING", "INFO", "INFO", "DEBUG")
_READERS = {".gz": "gzip", ".xz": "xz", ".bz2": "bzip2", ".zst": "zstd"}


@dataclass(frozen=True)
class Words:
    """What a line must hold at least one of to be looked at; none: every line is."""

    words: tuple[bytes, ...] = ()
    ignore_case: bool = False

    def __bool__(self) -> bool:
        return bool(self.words)

    def within(self, line: bytes) -> bool:
        if self.ignore_case:
            lowered = line.lower()
            return any(word.lower() in lowered for word in self.words)
        return not self.words or any(word in line for word in self.words)


@dataclass
class LogFile:
    """``remarks``: what was wrong with it and did not stop the reading."""

    path: str
    size: int
    modified: float
    remarks: list[str] = field(default_factory=list)

    @property
    def reader(self) -> str:
        return _READERS.get(os.path.splitext(self.path)[1], "")


def log_files(path: str, *, rotated: bool) -> list[LogFile]:
    """``path`` and what logrotate made of it, oldest first. Raises when ``path`` cannot be read."""
    directory, name = os.path.split(path)
    try:
        names = os.listdir(directory or ".")
        if name in names:
            with open(path, "rb"):
                pass
    except OSError as error:
        raise Unusable(
            f"the log {path} cannot be read: {error.strerror}",
            code="LOG_UNREADABLE",
            expected="a file that this account may read",
            next_step="become root, or correct path",
        ) from error
    wanted = [other for other in names if other == name or (rotated and _is_rotated(other, name))]
    if not wanted:
        raise Unusable(
            f"there is no log {path}",
            code="LOG_MISSING",
            expected="a file that rsyslog writes as soon as the application says something",
            next_step="systemctl status rsyslog; journalctl shows the same lines",
        )
    found = []
    for other in wanted:
        whole = os.path.join(directory, other)
        with contextlib.suppress(FileNotFoundError):  # rotated away between the two looks
            status = os.stat(whole)
            if os.path.isfile(whole):
                found.append(LogFile(whole, status.st_size, status.st_mtime))
    return sorted(found, key=lambda one: (one.path == path, one.modified, one.path))


def _is_rotated(other: str, name: str) -> bool:
    """app.log.1, app.log.2.gz, app.log-20250115.xz, app-20250115.log (dateext before the extension)."""
    stem, extension = os.path.splitext(name)
    plain = os.path.splitext(other)[0] if os.path.splitext(other)[1] in _READERS else other
    for begin, end in ((name, ""), (stem, extension)):
        middle = plain[len(begin) : len(plain) - len(end)]
        if plain.startswith(begin) and plain.endswith(end) and middle[:1] in (".", "-", "_"):
            rest = middle[1:]
            if rest and all(char.isdigit() or char in "-_.T" for char in rest):
                return True
    return False


# --- reading ---------------------------------------------------------------------------------------------------------


def matching(file: LogFile, words: Words) -> Iterator[bytes]:
    """The lines of ``file``, without their end, that hold one of ``words``."""
    if not words:
        yield from _all_lines(file)
        return
    count = 0
    with _opened(file) as stream, _grep(stream, words) as grep:
        for line in _lines(_stdout(grep), file):
            count += 1
            yield line
        status = grep.wait()
    if status > 1:
        # It gave up on a line that is longer than its memory. What it printed before is the beginning of the same lines.
        file.remarks.append("holds a line too long for grep; was read without it")
        skipped = 0
        for line in _all_lines(file):
            if words.within(line):
                skipped += 1
                if skipped > count:
                    yield line


def _all_lines(file: LogFile) -> Iterator[bytes]:
    with _opened(file) as stream:
        yield from _lines(stream, file)


@contextlib.contextmanager
def _opened(file: LogFile) -> Iterator[IO[bytes]]:
    """The bytes of ``file``, unpacked. What its unpacker complains about becomes a remark."""
    if not file.reader:
        with open(file.path, "rb", buffering=0) as stream:
            yield stream
        return
    try:
        unpacker = subprocess.Popen(
            [file.reader, "-dc", "--", file.path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError:
        file.remarks.append(f"was not read: {file.reader} is not installed")
        with open(os.devnull, "rb", buffering=0) as nothing:
            yield nothing
        return
    with unpacker:
        try:
            yield _stdout(unpacker)
            _stdout(unpacker).close()
            said = unpacker.stderr.read(4096).decode(errors="replace") if unpacker.stderr else ""
            # 141 and SIGPIPE: it was told to stop.
            if unpacker.wait() not in (0, -13, 141):
                file.remarks.append(f"is damaged: {shorten(said.replace(file.path, '').lstrip(': '), 120)}")
        finally:
            unpacker.kill()


def _stdout(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdout is None:
        raise AssertionError("started without a pipe")
    return process.stdout


@contextlib.contextmanager
def _grep(stream: IO[bytes], words: Words) -> Iterator[subprocess.Popen[bytes]]:
    command = ["grep", "--fixed-strings", "--text", *(["--ignore-case"] if words.ignore_case else [])]
    for word in words.words:
        command += ["-e", os.fsdecode(word)]
    # Bytes: what is no UTF-8 would not match in another locale.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (_GREP_MEMORY, _GREP_MEMORY))

    with subprocess.Popen(
        command,
        stdin=stream,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        preexec_fn=limit,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _lines(stream: IO[bytes], file: Optional[LogFile] = None) -> Iterator[bytes]:
    """Lines without their end. Of one that is longer than what is kept, the beginning."""
    rest = b""
    cut, skipping = 0, False
    while True:
        chunk = stream.read(_CHUNK)
        if not chunk:
            break
        if skipping:
            _, end, chunk = chunk.partition(b"\n")
            skipping = not end
        parts = (rest + chunk).split(b"\n")
        rest = parts.pop()
        yield from parts
        if len(rest) > LONGEST_LINE:
            yield rest[:LONGEST_LINE]
            rest = b""
            cut, skipping = cut + 1, True
    if rest:
        yield rest
    if cut and file is not None:
        file.remarks.append(f"{cut} line{'s' * (cut > 1)} longer than {LONGEST_LINE // 1024} KiB cut off")


def last_lines(file: LogFile, count: int) -> list[bytes]:
    """The newest ``count`` lines; of a file that is not packed only its end is read."""
    if file.reader:
        return list(collections.deque(_all_lines(file), maxlen=count))
    end: bytes = b""
    with open(file.path, "rb", buffering=0) as stream:
        position = stream.seek(0, os.SEEK_END)
        # A whole line more than asked for, since the first may have been cut in the middle.
        while position > 0 and end.count(b"\n") <= count and len(end) < _TAIL_LIMIT:
            step = min(_CHUNK, position)
            position -= step
            stream.seek(position)
            end = stream.read(step) + end
    lines = end.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line[:LONGEST_LINE] for line in lines[-count:]]


def journal(unit: str, *, count: int, since: Optional[float], until: Optional[float]) -> Iterator[dict[str, Any]]:
    """The newest entries of a unit's journal, oldest first: ``text, epoch, level``. All of them when ``count`` is 0."""
    command = ["journalctl", f"--unit={unit}", "--output=json", "--no-pager", "--quiet"]
    command += [f"--lines={count}"] if count else []
    command += [f"--since=@{since:.0f}"] if since is not None else []
    command += [f"--until=@{until:.0f}"] if until is not None else []
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise Unusable(
            "this host has no journalctl",
            code="NO_JOURNAL",
            expected="systemd",
            next_step="leave unit out to read the file",
        ) from error
    with process:
        try:
            for raw in _lines(_stdout(process)):
                with contextlib.suppress(ValueError):  # half an entry: it was cut off for its length
                    yield _journal_entry(json.loads(raw))
            _stdout(process).close()
            if process.wait() not in (0, 1):  # 1: nothing to show
                raise FloyoError(
                    f"journalctl ended with {process.returncode}",
                    code="JOURNAL_FAILED",
                    next_step=f"journalctl -u {unit}",
                )
        finally:
            process.kill()


def _journal_entry(value: dict[str, Any]) -> dict[str, Any]:
    said = value.get("MESSAGE") or ""
    # journald gives what is no UTF-8 as a list of numbers, and nothing for what is too long.
    text = bytes(said).decode("utf-8", "replace") if isinstance(said, list) else str(said)
    told = str(value.get("__REALTIME_TIMESTAMP") or "")
    priority = str(value.get("PRIORITY") or "")
    return {
        "text": text,
        "epoch": int(told) / 1e6 if told.isdigit() else None,
        "level": _PRIORITIES[int(priority)] if priority.isdigit() and int(priority) < len(_PRIORITIES) else "",
        "by": str(value.get("SYSLOG_IDENTIFIER") or ""),
    }
