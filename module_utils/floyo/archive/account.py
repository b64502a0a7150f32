"""Programs run as PostgreSQL's account: no shell, a deadline, nothing left behind when we are killed (client)."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Callable

from ..errors import TimedOut, Unusable

__all__ = ["Account", "Done", "find_program"]

_TICK = 1.0
_GRACE = 10.0
_MOST = 64 << 20  # of an answer; listings of an archive are long


@dataclass(frozen=True)
class Done:
    status: int
    output: str
    errors: str


class Account:
    """Whoever owns the cluster. When we are not root we are taken to be it."""

    def __init__(self, name: str) -> None:
        try:
            self.entry = pwd.getpwnam(name) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        except KeyError as error:
            raise Unusable(
                f"this host has no account {name}",
                code="ACCOUNT_MISSING",
                expected="the account that owns the cluster",
                next_step="is this the database host? Correct floyo_backup_host",
            ) from error

    def own(self, path: str) -> None:
        if os.geteuid() == 0:
            os.chown(path, self.entry.pw_uid, self.entry.pw_gid)

    def start(self, argv: Sequence[str], *, bound: bool, **files: Any) -> subprocess.Popen[bytes]:
        """``bound``: it ends when we do, whatever ends us (setpriv of util-linux)."""
        who: dict[str, Any] = {}
        if os.geteuid() == 0:
            groups = os.getgrouplist(self.entry.pw_name, self.entry.pw_gid)
            who = {"user": self.entry.pw_uid, "group": self.entry.pw_gid, "extra_groups": groups}
        setpriv = shutil.which("setpriv") if bound else None
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "HOME": self.entry.pw_dir,
            "TZ": "UTC",
        }
        try:
            return subprocess.Popen(
                [*([setpriv, "--pdeathsig", "TERM"] if setpriv else []), *argv],
                env=environment, cwd="/", stdin=subprocess.DEVNULL, start_new_session=True, umask=0o077, **who, **files,
            )  # fmt: skip
        except OSError as error:
            raise Unusable(
                f"{argv[0]} cannot be run: {error.strerror}",
                code="PROGRAM_MISSING",
                next_step="run playbooks/provision.yml",
            ) from error

    def run(self, argv: Sequence[str], *, deadline: float, progress: Callable[[], None] = lambda: None) -> Done:
        """Wait for the end; ``progress`` is called every second."""
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            process = self.start(argv, bound=True, stdout=output, stderr=errors)
            try:
                while True:
                    with suppress(subprocess.TimeoutExpired):
                        status = process.wait(_TICK)
                        return Done(status, _text(output), _text(errors))
                    if time.monotonic() >= deadline:
                        raise TimedOut(
                            f"{os.path.basename(argv[0])} did not end in time",
                            code="ARCHIVE_TIMEOUT",
                            expected="the whole run within timeout",
                            next_step="look for load on the disk, or run again with a longer timeout",
                        )
                    progress()
            finally:
                _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read(_MOST).decode(errors="replace")


def find_program(directories: Sequence[str], name: str) -> str:
    """The first that is there."""
    for directory in directories:
        path = os.path.join(directory, name)
        if os.access(path, os.X_OK):
            return path
    raise Unusable(
        f"{name} is not on this host",
        code="PROGRAM_MISSING",
        expected=f"{name} in {', '.join(directories) or 'a usual place'}",
        next_step="set floyo_postgres_archive and run playbooks/provision.yml; or is this not the database host?",
    )
