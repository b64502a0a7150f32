"""Child processes of a build: argument lists, a log, limits, an account (client)."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from ..errors import FloyoError, TimedOut, Unusable
from ..postgres.url import scrub

__all__ = ["Log"]

TAIL_LINES = 25
# What is read back of a program's output; the cause of a failure stands at its end.
TAIL_BYTES = 256 * 1024
# A program that prints without end must not fill the disk of a host that serves.
LOG_LIMIT = 256 * 1024 * 1024
_LOOK = 0.5


class Log:
    """Runs programs one after the other; what they print goes to one file and its end into errors."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        path.touch(mode=0o640)

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        environment: Optional[Mapping[str, str]] = None,
        account: Optional[pwd.struct_passwd] = None,
        timeout: float,
    ) -> tuple[int, str]:
        """(exit status, the end of the output). Raises when the program takes too long or prints too much."""
        with self.path.open("ab") as log:
            status, begin = self._run(argv, log, log, cwd, environment, account, timeout)
        return status, scrub(self._end(begin))

    def ask(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        environment: Optional[Mapping[str, str]] = None,
        timeout: float,
    ) -> tuple[int, str, str]:
        """(exit status, all of the standard output, the end of the rest) of a tool of ours that answers with data."""
        with self.path.open("ab") as log, tempfile.TemporaryFile() as answer:
            status, begin = self._run(argv, answer, log, cwd, environment, None, timeout)
            answer.seek(0)
            return status, answer.read().decode(errors="replace"), scrub(self._end(begin))

    def _run(
        self,
        argv: Sequence[str],
        output: Any,
        log: Any,
        cwd: Path,
        environment: Optional[Mapping[str, str]],
        account: Optional[pwd.struct_passwd],
        timeout: float,
    ) -> tuple[int, int]:
        """(exit status, where its output begins in the log)."""
        log.write(f"$ {scrub(' '.join(argv))}\n".encode(errors="replace"))
        log.flush()
        begin = log.tell()
        who: dict[str, Any] = {}
        if account is not None and os.geteuid() == 0:
            who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        with (
            _started(
                argv,
                cwd=cwd,
                env=None if environment is None else dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                start_new_session=True,
                **who,
            ) as process,
            _guarded(process.pid),
        ):
            self._wait(process, Path(argv[0]).name, begin, timeout)
        return process.returncode, begin

    def _wait(self, process: subprocess.Popen[bytes], name: str, begin: int, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(min(_LOOK, max(0.0, deadline - time.monotonic())))
                return
            if time.monotonic() >= deadline:
                raise TimedOut(
                    f"{name} was stopped after {timeout:.0f} s",
                    code="BUILD_TIMED_OUT",
                    next_step=f"read {self.path} on this host",
                    log_tail=self.tail(),
                )
            if self.path.stat().st_size - begin > LOG_LIMIT:
                raise FloyoError(
                    f"{name} was stopped after it had printed {LOG_LIMIT >> 20} MiB",
                    code="BUILD_LOG_FULL",
                    expected="output that somebody can read",
                    next_step=f"read the beginning of {self.path} on this host",
                    log_tail=self.tail(),
                )

    def _end(self, begin: int) -> str:
        with self.path.open("rb") as log:
            log.seek(max(begin, self.path.stat().st_size - TAIL_BYTES))
            return log.read().decode(errors="replace")

    def tail(self) -> list[str]:
        """The newest lines, without passwords."""
        return scrub(self._end(0)).splitlines()[-TAIL_LINES:]


def _started(argv: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(list(argv), **how)
    except OSError as error:
        raise Unusable(
            f"{argv[0]} cannot be started: {error}",
            code="PROGRAM_UNUSABLE",
            expected="a program of this host that the account of the tests may run, too",
            next_step="ansible-playbook playbooks/provision.yml --limit this host",
        ) from error


@contextlib.contextmanager
def _guarded(group: int) -> Iterator[None]:
    """Nothing of a program's process group outlives the block, nor this process, should it be killed in it.

    What an orphan writes into a release's directory while the next build fills it would be part of that release.
    """
    with subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _; kill -s KILL -- "-$0"', str(group)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ):
        yield
