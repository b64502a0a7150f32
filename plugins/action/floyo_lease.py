"""Action plugin floyo_lease: says who holds the lease, and frees it from a run of this machine that died. See library/floyo_lease.py."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import socket
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.plugins.action import ActionBase

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_SHARED = str(Path(__file__).resolve().parents[2] / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)

from ansible.module_utils.floyo.controller import ask_program
from ansible.module_utils.floyo.lease import NEEDED, SPEC

_HOLDER = re.compile(r".*@\S+ pid (?P<pid>\d+)\.(?P<began>\d+)\.(?P<machine>[0-9a-f]{8})")


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        # The action runs in a child of the command that the user started.
        _validated, given = self.validate_argument_spec(argument_spec=SPEC, required_if=NEEDED)
        arguments = {**given, "holder": given["holder"] or holder(os.getppid())}
        result = self._execute({**arguments, "wait": 0}, task_vars)
        if _held(result) and is_dead(str(result.get("holder"))):
            # Its token and not any: another run may have seen the same, and have taken it by now.
            result = self._execute({**arguments, "wait": 0, "takeover_token": result["token"]}, task_vars)
        if _held(result) and arguments["wait"]:
            result = self._execute(arguments, task_vars)
        return {**result, "state_dir": arguments["state_dir"]}

    def _execute(self, arguments: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        given = {name: value for name, value in arguments.items() if name != "state"}
        answer = ask_program(self, ["lease", arguments["state"], json.dumps(given)])
        if answer is not None:
            return answer
        result: dict[str, Any] = self._execute_module(
            module_name="floyo_lease",
            module_args={name: value for name, value in arguments.items() if value is not None},
            task_vars=task_vars,
        )
        return result


def _held(result: dict[str, Any]) -> bool:
    return result.get("code") == "LEASE_HELD"


def holder(pid: int) -> str:
    """``anna@laptop pid 4711.88231.1a2b3c4d``: a run, told apart from every other one, also on machines of the same name."""
    return f"{getpass.getuser()}@{socket.gethostname()} pid {pid}.{_began(pid)}.{_machine()}"


def is_dead(who: str) -> bool:
    """Whether ``who`` was a run on this machine whose process is gone. Of another machine's runs nothing is known."""
    match = _HOLDER.fullmatch(who)
    if match is None or match["machine"] != _machine():
        return False
    return match["began"] != _began(int(match["pid"]))


def _began(pid: int) -> str:
    """When a process started, in ticks since the boot; empty when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The name in brackets may hold blanks; field 22 is the start time.
    return stat.rpartition(")")[2].split()[19]


def _machine() -> str:
    """This boot of this machine, and this namespace of processes on it."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    space = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{boot}{space}".encode()).hexdigest()[:8]
