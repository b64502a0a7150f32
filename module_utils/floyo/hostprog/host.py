"""The one client of a host's systemd, /proc and readiness address (standard library only).

A switch of a whole fleet waits for this program to start, two or three times on each host: what takes long to import is
imported where it is used.
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any, NamedTuple

from ..errors import Unusable
from ..files import fsync_dir, read_json
from .ask import ask

__all__ = ["Config", "Host"]

LOG_LINES = 15


class Config(NamedTuple):
    """/etc/<name>/floyo-release.json; role floyo_backend writes it."""

    name: str
    root: str
    state_dir: str
    unit: str
    socket_unit: str
    extra_units: tuple[str, ...]
    readiness_url: str
    health_url: str
    ready_timeout: float
    release_field: str
    environment_file: str
    user: str
    group: str
    python: str
    asgi: str
    switch_unit: str

    @classmethod
    def read(cls, path: str) -> Config:
        """Raises Unusable when the file is missing, is not JSON or lacks a key."""
        try:
            raw = {"switch_unit": "floyo-switch.service", **(read_json(path) or {})}
            return cls(
                **{key: raw[key] for key in cls._fields if key not in ("extra_units", "ready_timeout")},
                extra_units=tuple(raw["extra_units"]),
                ready_timeout=float(raw["ready_timeout"]),
            )
        except (TypeError, ValueError, KeyError) as error:
            raise Unusable(
                f"{path} is missing or damaged ({type(error).__name__}: {error})",
                code="CONFIG_UNUSABLE",
                expected="the file that provisioning writes",
                next_step="ansible-playbook playbooks/provision.yml --limit this host",
            ) from error


class Host:
    """What runs here and how to change it. The truth is the process, never the link."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.link = os.path.join(config.root, "current")

    def release_dir(self, release: str) -> str:
        return os.path.join(self.config.root, "releases", release)

    def manifest(self, release: str) -> dict[str, Any]:
        """What a release says of itself; empty when it is not there, or damaged: that is no reason to show nothing."""
        try:
            found = read_json(os.path.join(self.release_dir(release), "release.json"))
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def linked(self) -> str | None:
        """The release that ``current`` names, whether or not it runs."""
        try:
            return os.path.basename(os.readlink(self.link))
        except FileNotFoundError:
            return None

    def point(self, release: str | None) -> None:
        """Flip the link by one rename; None removes it."""
        if release is None:
            if os.path.lexists(self.link):
                os.unlink(self.link)
        else:
            temporary = f"{self.link}.new"
            if os.path.lexists(temporary):
                os.unlink(temporary)
            os.symlink(os.path.join("releases", release), temporary)
            os.rename(temporary, self.link)
        fsync_dir(self.config.root)

    def systemctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["systemctl", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def restart(self) -> str:
        """Restart the service and its workers; empty, or why systemd refused."""
        units = [self.config.unit, *self.config.extra_units]
        done = self.systemctl("restart", *units)
        if done.returncode:
            # A release that died again and again has used up what systemd allows, and the one that is put back must not
            # pay for it. What "Result" says is no help: a refused start leaves the result of the last process there.
            self.systemctl("reset-failed", *units)
            done = self.systemctl("restart", *units)
        return done.stderr.strip() if done.returncode else ""

    def run_switch_unit(self) -> None:
        """Let systemd carry out the intent and wait: what it runs does not end with the caller's connection."""
        started = self.systemctl("start", self.config.switch_unit).returncode == 0
        if not started and os.path.exists(os.path.join(self.config.state_dir, "intent.json")):
            # It did not come to its end (killed, say): systemd tries again in some seconds, and nobody wants to wait.
            self.systemctl("start", self.config.switch_unit)

    def stop(self) -> None:
        self.systemctl("stop", self.config.unit, *self.config.extra_units)

    def main_process(self) -> tuple[str, int]:
        """(ActiveState, MainPID) of the unit; MainPID 0 when nothing runs."""
        shown = self.systemctl("show", "-p", "ActiveState", "-p", "MainPID", self.config.unit).stdout
        fields = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        return fields.get("ActiveState", "unknown"), int(fields.get("MainPID") or 0)

    def running(self, pid: int | None = None) -> str | None:
        """The release whose directory the service's main process works in; ``pid`` when it is known already."""
        if pid is None:
            _, pid = self.main_process()
        if not pid:
            return None
        try:
            directory = os.readlink(f"/proc/{pid}/cwd")
        except (FileNotFoundError, ProcessLookupError):
            return None
        except PermissionError as error:
            raise Unusable(
                f"/proc/{pid}/cwd, where the service's process works, may not be read",
                code="PROCESS_HIDDEN",
                expected="root with CAP_SYS_PTRACE, which containers drop",
                next_step="run floyo-release as root; add SYS_PTRACE when the host is a container",
            ) from error
        base = os.path.realpath(os.path.join(self.config.root, "releases")) + os.sep
        return directory[len(base) :].split(os.sep)[0] if directory.startswith(base) else None

    def fault(self, release: str, process: tuple[str, int] | None = None) -> str:
        """Empty when ``release`` runs, is ready and says so itself; else what is wrong right now.

        ``process`` is what main_process() said, when that is known already.
        """
        state, pid = process or self.main_process()
        if state == "failed" or (state == "inactive" and not pid):
            return f"unit {self.config.unit} is {state}"
        serving = self.running(pid)
        if serving != release:
            return f"the running process belongs to {serving or 'no release'}"
        return self.unready(self.config.readiness_url) or self.wrong_version(release)

    def unready(self, url: str) -> str:
        """Empty when the application says at ``url`` that it can serve; else what it says."""
        status, body = ask(url, timeout=5)
        if status != 200:
            detail = body.get("detail", "") if isinstance(body, dict) else ""
            if 300 <= status < 400:
                detail = "and leads elsewhere: floyo_readiness_path must name the path that answers itself"
            return f"readiness answers {status or 'nothing'} {detail}".strip()
        if isinstance(body, dict) and body.get("status") in ("unhealthy", "error", "not_ready"):
            return f"readiness says {body['status']}"
        return ""

    def wrong_version(self, release: str) -> str:
        if not self.config.release_field:
            return ""
        expected = self.manifest(release).get("version")
        _, body = ask(self.config.health_url, timeout=5)
        reported = body.get(self.config.release_field) if isinstance(body, dict) else None
        if expected and reported and str(reported).lstrip("v") not in (expected.lstrip("v"), release):
            return f"/health reports {reported}, not {expected}"
        return ""

    def wait_ready(self, release: str, deadline: float) -> str:
        """Poll until ``release`` serves or ``deadline`` (time.monotonic) passes; empty, or the last fault."""
        pause = 0.02
        while True:
            fault = self.fault(release)
            if not fault:
                return ""
            if self.main_process()[0] == "failed" or time.monotonic() + pause > deadline:
                return fault
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    def last_lines(self) -> list[str]:
        """The unit's newest log lines, for the one who must find the cause."""
        shown = subprocess.run(
            ["journalctl", "-u", self.config.unit, "-n", str(LOG_LINES), "-o", "cat", "--no-pager"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return shown.stdout.splitlines()
