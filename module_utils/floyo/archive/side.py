"""A second server of the cluster as it was at a moment, beside the live one: its directory, its life (client).

It listens on a socket in its own directory and nowhere else, archives nothing, and is read-only to whoever looks at it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Optional

from ..errors import Refused, Unusable
from ..files import read_json, write_json
from .account import Account, find_program
from .instance import server_places
from .judge import control_settings

__all__ = ["PORT", "Side"]

PORT = 5432  # of a socket in a directory of its own: it clashes with nobody
_MARK = "floyo-moment"  # only a directory with this file in it is ever removed
_STOP = 20.0


class Side:
    def __init__(self, account: Account, directory: str) -> None:
        self._account, self.directory = account, directory.rstrip("/")
        self.data = f"{self.directory}/data"
        self.tablespaces = f"{self.directory}/tablespaces"
        self.log = f"{self.directory}/log"
        self._record = f"{self.directory}/moment.json"
        self._running = f"{self.directory}/running.json"

    # --- what is there ------------------------------------------------------------------------------------------------

    def record(self) -> dict[str, Any]:
        """What the finished recovery has written; empty before."""
        try:
            found = read_json(self._record, {})
        except ValueError:
            return {}
        return found if isinstance(found, dict) and self.pid() else {}

    def pid(self) -> int:
        """Of its server, when that runs."""
        try:
            pid = int(Path(f"{self.data}/postmaster.pid").read_text(encoding="ascii").split()[0])
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            return 0
        return pid if self.data.encode() in words else 0

    def size(self) -> int:
        """Bytes in it so far."""
        total = 0
        for place, _, names in os.walk(self.directory):
            for name in names:
                with suppress(OSError):
                    total += os.lstat(os.path.join(place, name)).st_size
        return total

    def leftovers(self) -> list[str]:
        return [self.directory] if os.path.isdir(self.data) else []

    @contextmanager
    def lock(self, *, create: bool) -> Iterator[None]:
        """One run at a time. Beside the directory: it stays when that goes."""
        path = f"{self.directory}.lock"
        if not create and not os.path.exists(path):
            yield
            return
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refused(
                    f"another run recovers a moment in {self.directory}",
                    code="LOCK_HELD",
                    expected="one at a time",
                    next_step="wait for it, then run the same command again",
                ) from None
            yield
        finally:
            os.close(fd)

    # --- making it ----------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """An empty directory for the cluster's account alone."""
        if os.path.lexists(self.directory) and os.listdir(self.directory) and not os.path.exists(self._marked):
            raise Unusable(
                f"{self.directory} is there and not ours",
                code="DIRECTORY_UNSAFE",
                expected="a directory that nothing else uses",
                next_step="name another one in scratch; this one would be removed",
            )
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        Path(self._marked).touch()
        for path in (self.data, self.tablespaces):
            os.makedirs(path, mode=0o700)
            self._account.own(path)
        self._account.own(self.directory)
        os.chmod(self.directory, 0o700)

    @property
    def _marked(self) -> str:
        return f"{self.directory}/{_MARK}"

    def report(self, facts: Mapping[str, Any]) -> None:
        """How far it has come, for whoever looks."""
        with suppress(FileNotFoundError):  # the directory has just gone: there is nothing to tell
            write_json(self._running, {**facts, "bytes": self.size(), "updated": time.time()}, mode=0o644)

    def finish(self, facts: Mapping[str, Any]) -> None:
        write_json(self._record, facts)
        with suppress(FileNotFoundError):
            os.unlink(self._running)

    def start(self, preload: str, deadline: float) -> tuple[subprocess.Popen[bytes], str]:
        """Start the server in what was restored; it outlives us. The process, and the directory of its socket."""
        major = int(Path(f"{self.data}/PG_VERSION").read_text(encoding="ascii").split(".")[0])
        places = server_places(major)
        control = self._account.run([find_program(places, "pg_controldata"), self.data], deadline=deadline)
        sockets = f"{self.directory}/s-{secrets.token_hex(4)}"
        os.mkdir(sockets, 0o700)
        self._account.own(sockets)
        for name, text in {"hba.conf": "local all all trust\n", "ident.conf": "", "empty.conf": ""}.items():
            Path(f"{self.directory}/{name}").write_text(text, encoding="ascii")
            self._account.own(f"{self.directory}/{name}")
        # On the command line: it wins over what ALTER SYSTEM has once set on the live server.
        settings = {
            **control_settings(control.output),
            "config_file": f"{self.directory}/empty.conf",
            "hba_file": f"{self.directory}/hba.conf",
            "ident_file": f"{self.directory}/ident.conf",
            "listen_addresses": "",
            "unix_socket_directories": sockets,
            "port": str(PORT),
            "cluster_name": _MARK,
            "archive_mode": "off",
            "archive_command": "",
            "primary_conninfo": "",
            "synchronous_standby_names": "",
            "hot_standby": "off",
            "default_transaction_read_only": "on",
            "autovacuum": "off",
            "shared_buffers": "128MB",
            "shared_preload_libraries": preload,
            "logging_collector": "off",
            "log_destination": "stderr",
            "log_timezone": "UTC",
            "lc_messages": "C",
            "ssl": "off",
            # It is thrown away: a crash of the host costs nothing but the time.
            "fsync": "off",
            "full_page_writes": "off",
        }
        argv = [find_program(places, "postgres"), "-D", self.data]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        with open(self.log, "ab") as log:
            os.fchmod(log.fileno(), 0o600)
            process = self._account.start(argv, bound=False, stdout=log, stderr=log)
        return process, sockets

    def said(self) -> str:
        try:
            return Path(self.log).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    # --- its end ------------------------------------------------------------------------------------------------------

    def remove(self) -> None:
        """Stop the server and remove the directory, whatever state a killed run has left them in."""
        if not os.path.exists(self._marked):
            return
        self.stop()
        with suppress(FileNotFoundError):
            os.unlink(self._record)  # first: half of it is no moment
        shutil.rmtree(self.directory)

    def stop(self, process: Optional[subprocess.Popen[bytes]] = None) -> None:
        """At once: nothing in it is worth a checkpoint."""
        for number in (signal.SIGQUIT, signal.SIGKILL):
            pid = process.pid if process is not None and process.poll() is None else self.pid()
            if not pid:
                return
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            until = time.monotonic() + _STOP
            while time.monotonic() < until and (process.poll() is None if process is not None else self.pid() == pid):
                time.sleep(0.05)
