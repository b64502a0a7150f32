"""Start a release beside the one that serves, with the live environment, on a port of its own (client)."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from typing import Any

from ..errors import FloyoError, Unusable
from ..hostprog.host import LOG_LINES, Host

__all__ = ["rehearse"]


def rehearse(host: Host, release: str, *, timeout: float, check: bool) -> dict[str, Any]:
    """``release, seconds, changed: false``; raises FloyoError with the log's end when it is not ready after ``timeout`` seconds.

    It runs as a transient unit of systemd with the limits of a stranger, and is gone afterwards whatever happens.
    """
    directory = host.release_dir(release)
    manifest = host.manifest(release)
    if not manifest:
        raise Unusable(f"release {release} is not on this host", code="RELEASE_UNKNOWN", next_step="stage it first")
    if check:
        return {"changed": False, "release": release, "seconds": 0.0}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    unit = f"{host.config.name}-rehearsal-{secrets.token_hex(4)}.service"
    begin = time.monotonic()
    started = subprocess.run(
        _command(host, unit, directory, manifest, port, timeout),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if started.returncode:
        raise FloyoError(
            f"systemd did not start the rehearsal of {release}: {started.stderr.strip()}",
            code="REHEARSAL_FAILED",
            next_step=f"read log_tail, or journalctl -u {unit}",
            # A program that ends at once is, to systemd, one that did not start.
            log_tail=_lines(unit),
        )
    try:
        fault = _wait(host, unit, port, begin + timeout)
        if fault:
            raise FloyoError(
                f"{release} does not become ready beside the running release: {fault}",
                code="REHEARSAL_FAILED",
                expected=f"{host.config.readiness_url} to answer 200 within {timeout:g} s",
                next_step="read log_tail; the running release was not touched",
                log_tail=_lines(unit),
            )
    finally:
        host.systemctl("stop", unit)
    return {"changed": False, "release": release, "seconds": round(time.monotonic() - begin, 2)}


def _command(host: Host, unit: str, directory: str, manifest: dict[str, Any], port: int, timeout: float) -> list[str]:
    config = host.config
    properties = {
        "Type": "exec",
        "User": config.user,
        "Group": config.group,
        "WorkingDirectory": os.path.join(directory, manifest.get("project_dir") or "."),
        "EnvironmentFile": config.environment_file,
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "CapabilityBoundingSet": "",
        "KillMode": "control-group",
        "TimeoutStopSec": "3",
        # Should this program be killed, systemd ends the rehearsal.
        "RuntimeMaxSec": f"{timeout + 30:g}",
        "Environment": f"PYTHONUNBUFFERED=1 HOME=/tmp FLOYO_RELEASE={manifest['release']} FLOYO_VERSION={manifest['version']}",
    }
    return [
        "systemd-run", "--quiet", "--collect", f"--unit={unit}", *(f"--property={key}={value}" for key, value in properties.items()),
        os.path.join(directory, ".venv", "bin", "python"), "-m", "uvicorn", "--host=127.0.0.1", f"--port={port}",
        config.asgi,
    ]  # fmt: skip


def _wait(host: Host, unit: str, port: int, deadline: float) -> str:
    """Empty when the release answers ready, else the last fault."""
    url = host.config.readiness_url.replace(host.config.readiness_url.split("/")[2], f"127.0.0.1:{port}", 1)
    pause = 0.05
    while True:
        state = host.systemctl("show", "--property=ActiveState", "--value", unit).stdout.strip()
        if state in ("failed", "inactive"):
            return "its process ended"
        fault = host.unready(url)
        if not fault or time.monotonic() + pause > deadline:
            return fault
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)


def _lines(unit: str) -> list[str]:
    shown = subprocess.run(
        ["journalctl", "-u", unit, "-n", str(LOG_LINES), "-o", "cat", "--no-pager"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return shown.stdout.splitlines()
