"""squawk, the linter of migrations, on the controller (client: one child process for each script)."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import Unusable

__all__ = ["violations_of"]

_TIMEOUT = 60
# It has found something, or nothing. Anything else is an error of its own.
_ANSWERED = (0, 1)


def violations_of(scripts: Iterable[Mapping[str, Any]], *, server_major: int) -> dict[str, list[dict[str, Any]]]:
    """What it says of each script by revision: ``rule``, ``message``, ``help``, ``line`` (the first is 0)."""
    wanted = [script for script in scripts if script["renderable"]]
    program = _program() if wanted else ""
    return {script["revision"]: _said(program, script["sql"], server_major) for script in wanted}


def _program() -> str:
    beside = os.path.join(os.path.dirname(sys.executable), "squawk")
    found = beside if os.access(beside, os.X_OK) else shutil.which("squawk")
    if not found:
        raise Unusable(
            f"squawk is not installed on the controller ({platform.system()} {platform.machine()})",
            code="SQUAWK_MISSING",
            expected="the program of package squawk-cli beside ansible-core or in PATH",
            next_step="make setup; where the package has no build for this platform, build squawk and put it into PATH",
        )
    return found


def _said(program: str, sql: str, server_major: int) -> list[dict[str, Any]]:
    # No configuration of whatever directory we are in: the verdict shall be the same everywhere.
    argv = [program, "--reporter", "json", "--pg-version", f"{server_major}.0", "--config", os.devnull]
    done = subprocess.run(
        [*argv, "--stdin-filepath", "revision.sql"],
        input=sql + "\n", capture_output=True, text=True, check=False, timeout=_TIMEOUT,
    )  # fmt: skip
    try:
        if done.returncode not in _ANSWERED:
            raise ValueError(f"status {done.returncode}")
        found = json.loads(done.stdout or "[]")
        return [
            {
                "rule": one["rule_name"],
                "message": one["message"].rstrip(".") + ".",
                "help": one.get("help") or "",
                "line": one["line"],
            }
            for one in found
        ]
    except (ValueError, KeyError, TypeError) as error:
        said = (done.stderr or done.stdout).strip()[:300]
        raise Unusable(
            f"{program} gave no answer that can be read ({error!r}): {said}",
            code="SQUAWK_FAILED",
            expected="its findings as JSON",
            next_step=f"{program} --version; compare with squawk-cli in requirements/",
        ) from error
