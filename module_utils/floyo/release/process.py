"""Child processes of a build: argument lists, a log, a time limit, an account (client)."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from ..errors import TimedOut
from ..postgres.url import scrub

__all__ = ["Log"]

TAIL_LINES = 25


class Log:
    """Runs programs one after the other; what they print goes to one file and its end into errors."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        path.write_bytes(b"")
        path.chmod(0o640)

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        environment: Optional[Mapping[str, str]] = None,
        account: Optional[pwd.struct_passwd] = None,
        timeout: float,
    ) -> tuple[int, str]:
        """(exit status, output). Raises TimedOut after killing the program and all that it started."""
        with self.path.open("ab") as log:
            log.write(f"$ {scrub(' '.join(argv))}\n".encode())
            log.flush()
            begin = log.tell()
            who: dict[str, Any] = {}
            if account is not None and os.geteuid() == 0:
                who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            with subprocess.Popen(
                list(argv),
                cwd=cwd,
                env=None if environment is None else dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **who,
            ) as process:
                try:
                    process.wait(timeout)
                except subprocess.TimeoutExpired as error:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    raise TimedOut(
                        f"{Path(argv[0]).name} was stopped after {timeout:.0f} s",
                        code="BUILD_TIMED_OUT",
                        next_step=f"read {self.path} on this host",
                        log_tail=self.tail(),
                    ) from error
        with self.path.open("rb") as log:
            log.seek(begin)
            return process.returncode, scrub(log.read().decode(errors="replace"))

    def tail(self) -> list[str]:
        """The newest lines, without passwords."""
        return scrub(self.path.read_text(errors="replace")).splitlines()[-TAIL_LINES:]
