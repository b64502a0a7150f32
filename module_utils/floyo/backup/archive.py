"""Dumps as they lie on a disk: one file, one file encrypted by age, or a directory (client: the file system, age).

What is encrypted is so before it reaches a disk, and goes from one program to the next when it is read.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, Optional

from ..errors import FloyoError, Refused, Unusable
from .processes import Child, Streamed, flow, read_whole, running

__all__ = ["Archive", "Directory", "Sealed", "encrypting", "open_archive", "require_recipients"]

_RECIPIENT = re.compile(r"age1[0-9a-z]{20,}|ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( .*)?")
_TRIAL = 30.0
_WRONG_KEY = "no identity matched any of the recipients"


class Archive:
    """An opened dump in one file. Whatever is done to its name, it stays this one."""

    parallel = True  # several connections can restore from it at once
    readable = True  # what is in it can be read

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def close(self) -> None:
        self.stream.close()

    def read(self, deadline: float) -> Streamed:
        """Every byte, from the disk."""
        return read_whole(self.stream, deadline=deadline)

    @property
    def source(self) -> str:
        """Its name for pg_restore, whose workers open it anew."""
        return "/dev/stdin"

    @contextmanager
    def fed(self, deadline: float) -> Iterator[dict[str, Any]]:
        """How a program gets it: keywords for Popen."""
        self.stream.seek(0)
        yield {"stdin": self.stream}


class Directory(Archive):
    """A dump of the directory format: a file for each table, and a table of contents."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self.fd)

    def read(self, deadline: float) -> Streamed:
        """The digest is that of ``sha256sum * | sha256sum`` in it."""
        size, lines = 0, []
        for name in sorted(os.listdir(self.fd)):
            opener = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
            with os.fdopen(opener, "rb", buffering=0) as stream:
                found = read_whole(stream, deadline=deadline)
            size += found.size
            lines.append(f"{found.sha256}  {name}\n")
        return Streamed(size, hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest())

    def sync(self) -> None:
        """All of it is on the disk."""
        for name in os.listdir(self.fd):
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.fd)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        os.fsync(self.fd)

    @property
    def source(self) -> str:
        return f"/proc/self/fd/{self.fd}"

    @contextmanager
    def fed(self, deadline: float) -> Iterator[dict[str, Any]]:
        yield {"pass_fds": [self.fd]}


class Sealed(Archive):
    """A file that age has encrypted. Without an identity only its bytes can be compared."""

    parallel = False

    def __init__(self, stream: IO[bytes], identity: str) -> None:
        super().__init__(stream)
        self.identity = identity
        self.readable = bool(identity)
        if identity:
            _require_identity(identity)

    @property
    def source(self) -> str:
        return ""

    @contextmanager
    def opened(self, deadline: float) -> Iterator[Child]:
        """age, which says what is in it."""
        self.stream.seek(0)
        argv = [_age(), "--decrypt", "--identity", self.identity]
        with _explained(self.identity), running(
            argv, {}, (), deadline, stdin=self.stream, stdout=subprocess.PIPE
        ) as child:  # fmt: skip
            yield child

    def through(self, readers: Sequence[Child], deadline: float) -> Streamed:
        """What is in it, given to those readers too; they need not read on to the end."""
        with self.opened(deadline) as child:
            return flow(child, [], curious=readers)

    @contextmanager
    def fed(self, deadline: float) -> Iterator[dict[str, Any]]:
        with self.opened(deadline) as child:
            yield {"stdin": child.process.stdout}
            assert child.process.stdout is not None  # noqa: S101 - for the type checker: it was asked for as a pipe
            # Who has read a listing stops there; age is told so, and that is no fault.
            child.process.stdout.close()
            try:
                child.succeed()
            except FloyoError as error:
                if "broken pipe" not in str(error.details.get("output_tail")) and error.details.get("status") != -13:
                    raise


def open_archive(path: str, *, sealed: bool, identity: str) -> Archive:
    if stat.S_ISDIR(os.stat(path).st_mode):
        return Directory(path)
    stream = open(path, "rb", buffering=0)  # noqa: SIM115 - the archive closes it
    try:
        return Sealed(stream, identity) if sealed else Archive(stream)
    except BaseException:
        stream.close()
        raise


# --- age -------------------------------------------------------------------------------------------------------------


def require_recipients(recipients: Sequence[str]) -> None:
    """Public keys only; what is secret by mistake is not shown."""
    for number, recipient in enumerate(recipients, 1):
        if "SECRET" in recipient.upper() or "PRIVATE" in recipient.upper():
            raise Refused(
                f"recipient {number} is a secret key, which is now in a variable",
                code="KEY_EXPOSED",
                expected="the public key, age1... or ssh-ed25519 ...",
                next_step="make a new pair (age-keygen), and give the public key: age-keygen -y <file>",
            )
        if not _RECIPIENT.fullmatch(recipient):
            raise Unusable(
                f"recipient {number} is no public key: {recipient[:20]}",
                code="RECIPIENT_UNUSABLE",
                expected="age1... or ssh-ed25519 ...",
                next_step="age-keygen -y <identity file> prints the public key",
            )
    if recipients:
        # One mistyped letter only age finds: it encrypts nothing for a trial.
        try:
            with running(_encrypt(recipients), {}, (), time.monotonic() + _TRIAL, stdout=subprocess.DEVNULL) as child:
                child.succeed()
        except FloyoError as error:
            if error.code != "PROGRAM_FAILED":
                raise
            raise Unusable(
                f"age cannot encrypt to these recipients: {error.message}",
                code="RECIPIENT_UNUSABLE",
                expected="public keys: age1... or ssh-ed25519 ...",
                next_step="age-keygen -y <identity file> prints the public key",
            ) from error


@contextmanager
def encrypting(recipients: Sequence[str], deadline: float) -> Iterator[Child]:
    """age, which says in encrypted form what it is told."""
    with running(_encrypt(recipients), {}, (), deadline, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        yield child


def _encrypt(recipients: Sequence[str]) -> list[str]:
    return [_age(), "--encrypt", *(word for recipient in recipients for word in ("--recipient", recipient))]


def _age() -> str:
    program: Optional[str] = shutil.which("age")
    if not program:
        raise Unusable(
            "age is not on this host, by which backups are encrypted",
            code="AGE_MISSING",
            expected="Debian's package age",
            next_step="apt-get install age, or run playbooks/provision.yml",
        )
    return program


def _require_identity(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
        with open(path, "rb"):
            pass
    except OSError as error:
        raise Unusable(
            f"identity_file {path} cannot be read: {error.strerror}",
            code="KEY_MISSING",
            expected="the secret key of a recipient of the backup",
            next_step="put it there with mode 0600 for as long as it is needed",
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Refused(
            f"identity_file {path} can be read by others (mode {stat.S_IMODE(mode):04o})",
            code="KEY_EXPOSED",
            expected="mode 0600",
            next_step=f"chmod 0600 {path}, and think of whether somebody has it",
        )


@contextmanager
def _explained(identity: str) -> Iterator[None]:
    """What age says of keys is about keys; the rest is about the file."""
    try:
        yield
    except FloyoError as error:
        said = str(error.details.get("output_tail", ""))
        if error.code != "PROGRAM_FAILED":
            raise
        if _WRONG_KEY in said:
            raise Refused(
                f"identity_file {identity} is no key of this backup",
                code="KEY_WRONG",
                expected="the secret key of one of the recipients that its manifest names",
                next_step="give the right one; the backup is not said to be damaged",
            ) from error
        if "identit" in said or "secret key" in said:
            raise Unusable(
                f"identity_file {identity} is no usable key: {error.message}",
                code="KEY_UNUSABLE",
                expected="a file that age-keygen has made, or an ssh key without a passphrase",
                next_step="give the right file",
            ) from error
        raise Unusable(f"the dump cannot be decrypted: {said[-300:]}", code="RESTORE_FAILED") from error
