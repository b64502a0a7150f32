"""Starts the helper inside a release's Python and talks to it (client: one child process)."""

from __future__ import annotations

import grp
import json
import os
import pkgutil
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

from ..errors import FloyoError, TimedOut, Unusable
from ..postgres.url import scrub

__all__ = ["Helper", "HelperFailure"]

_OUTPUT_TAIL = 3000
_GRACE = 5.0


class HelperFailure(FloyoError):
    """The helper answered that something failed: ``kind`` and ``facts`` are its answer."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__(str(facts.get("message") or facts.get("type") or "no reason given"), code="MIGRATION_FAILED")
        self.kind = str(facts["kind"])
        self.facts = dict(facts)


class Helper:
    """The running helper: ``ask`` sends a request and returns the answer. Leaving the context ends it."""

    def __init__(
        self,
        python: str,
        *,
        directory: str,
        environment: Mapping[str, str],
        run_as: str,
        passwords: tuple[str, ...],
        dies_with_us: bool = False,
    ) -> None:
        """``dies_with_us``: killed when we are killed. Otherwise it ends the revision that it is at."""
        if not os.access(python, os.X_OK):
            raise Unusable(
                f"{python} cannot be executed",
                code="RELEASE_INCOMPLETE",
                expected="the Python of the release's virtual environment",
                next_step="stage the release again, or name the directory of a complete one",
            )
        self._passwords = passwords
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process that writes it
        self._channel, theirs = socket.socketpair()
        setpriv = shutil.which("setpriv") if dies_with_us else None
        with theirs:
            self._process = subprocess.Popen(
                [*([setpriv, "--pdeathsig", "KILL"] if setpriv else []), python, "-", str(theirs.fileno())],
                cwd=directory,
                env={**_account_environment(run_as), **environment},
                stdin=subprocess.PIPE,
                stdout=self._output,
                stderr=self._output,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                umask=0o077,
                **_account(run_as),
            )
        self._answers = self._channel.makefile("rb")
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: it was asked for as a pipe
        try:
            self._process.stdin.write(_source())
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it ended at once: the first request says so, with what it printed

    def ask(
        self,
        op: str,
        *,
        timeout: float,
        progress: Callable[[dict[str, Any]], None] = lambda facts: None,
        **values: Any,
    ) -> dict[str, Any]:
        """The answer's facts. Raises HelperFailure, or TimedOut after killing a helper that does not answer.

        What it tells before is for ``progress``.
        """
        until = time.monotonic() + timeout
        try:
            self._channel.settimeout(timeout)
            self._channel.sendall(json.dumps({"op": op, **values}).encode() + b"\n")
            line = self._answers.readline()
            while line and "progress" in (told := json.loads(line)):
                progress(told["progress"])
                self._channel.settimeout(max(0.1, until - time.monotonic()))
                line = self._answers.readline()
        except socket.timeout as error:  # TimeoutError only since Python 3.10
            self.close(kill=True)
            raise TimedOut(
                f"the application's alembic did not answer within {timeout:.0f} s ({op})",
                code="HELPER_TIMEOUT",
                expected="an env.py that neither waits for input nor for another service",
                next_step="read output_tail, then run again with a longer timeout",
                output_tail=self.output(),
            ) from error
        except OSError:
            line = b""
        if not line:
            self.close(kill=True)
            raise HelperFailure(
                {
                    "kind": "died",
                    "message": f"the helper ended with status {self._process.returncode} during {op}",
                    "output_tail": self.output(),
                }
            )
        answer: dict[str, Any] = json.loads(line)
        if answer.pop("ok"):
            return answer
        raise HelperFailure({key: self._clean(value) for key, value in answer.items()})

    def output(self) -> str:
        """The end of what the application printed, without passwords."""
        size = os.fstat(self._output.fileno()).st_size
        tail = os.pread(self._output.fileno(), _OUTPUT_TAIL, max(0, size - _OUTPUT_TAIL))
        return scrub(tail.decode(errors="replace"), *self._passwords).strip()

    def _clean(self, value: Any) -> Any:
        return scrub(value, *self._passwords) if isinstance(value, str) else value

    def close(self, *, kill: bool = False) -> None:
        """End the helper: it leaves when its channel closes; what does not is killed with everything it started."""
        self._channel.close()
        self._answers.close()
        for number in (signal.SIGTERM, signal.SIGKILL) if kill else (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None and self._process.poll() is None:
                os.killpg(self._process.pid, number)
            try:
                self._process.wait(_GRACE)
                return
            except subprocess.TimeoutExpired:
                continue

    def __enter__(self) -> Helper:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()
        self._output.close()


def _source() -> bytes:
    """The helper's text, out of the zip that Ansible sends as well as out of a directory."""
    data = pkgutil.get_data(__package__ or "", "helper.py")
    if data is None:
        raise FloyoError("the text of migrations/helper.py cannot be read", code="INTERNAL")
    return data


def _account(run_as: str) -> dict[str, Any]:
    """Popen's words to become ``run_as``; none when we already are that account."""
    account = _entry(run_as)
    if account is None or account.pw_uid == os.geteuid():
        return {}
    if os.geteuid() != 0:
        raise Unusable(
            f"only root can run the migrations as {run_as}",
            code="BECOME_NEEDED",
            expected=f"become: true, or the connection's own account {pwd.getpwuid(os.geteuid()).pw_name} as run_as",
        )
    groups = [group.gr_gid for group in grp.getgrall() if run_as in group.gr_mem]
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}


def _entry(run_as: str) -> Optional[pwd.struct_passwd]:
    if not run_as:
        return None
    try:
        return pwd.getpwnam(run_as)
    except KeyError as error:
        raise Unusable(
            f"there is no account {run_as} on this host",
            code="ACCOUNT_UNKNOWN",
            expected="an unprivileged account in run_as",
            next_step="run playbooks/provision.yml, or correct run_as",
        ) from error


def _account_environment(run_as: str) -> dict[str, str]:
    account = _entry(run_as) or pwd.getpwuid(os.geteuid())
    home = account.pw_dir if Path(account.pw_dir).is_dir() else "/"
    return {
        "HOME": home,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PGCONNECT_TIMEOUT": "10",
        "PYTHONDONTWRITEBYTECODE": "1",  # the release belongs to root
        "PYTHONUNBUFFERED": "1",
    }
