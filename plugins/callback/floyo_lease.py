"""Callback floyo_lease: a run that ends, also by Ctrl-C, gives its lease back. See DOCUMENTATION."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: floyo_lease
type: aggregate
short_description: Gives a lease back when the run ends before it did so itself
description:
  - Ctrl-C ends a play without its rescue. The lease would stand in the way of other people until it expires.
  - Does nothing when the play has given the lease back. What is killed frees it by its expiry.
"""

TIMEOUT = 60
# What decides how the lease host is reached, by its name on the command line.
_ONE = {"remote_user": "--user", "private_key_file": "--private-key", "connection": "--connection"}
_MANY = {
    "inventory": "--inventory",
    "extra_vars": "--extra-vars",
    "vault_ids": "--vault-id",
    "vault_password_files": "--vault-password-file",
}
_ASKED = ("ask_pass", "become_ask_pass", "ask_vault_pass")


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "floyo_lease"

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[str, dict[str, Any]] = {}
        atexit.register(self._give_back)

    def v2_runner_on_ok(self, result: Any) -> None:
        if result.task.action != "floyo_lease":
            return
        state, answer = result.task.args.get("state"), result.result
        host = answer.get("_ansible_delegated_vars", {}).get("ansible_delegated_host") or result.host.get_name()
        if state == "acquired" and answer.get("token") and not result.task.check_mode:
            self._held[host] = {"state": "released", "token": answer["token"], "state_dir": answer["state_dir"]}
        elif state == "released":
            self._held.pop(host, None)

    def _give_back(self) -> None:
        for host, arguments in self._held.items():
            command = ad_hoc(host, arguments)
            if any(context.CLIARGS.get(name) for name in _ASKED):
                self._display.warning(f"The lease on {host} was not given back; it expires. Next: {' '.join(command)}")
                continue
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT,
                env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal"},
            )
            if done.returncode:
                told = " ".join((done.stdout + done.stderr).split())[-300:]
                self._display.warning(f"The lease on {host} was not given back; it expires. {told}")
            else:
                self._display.display(f"The run ended early; its lease on {host} was given back.")


def ad_hoc(host: str, arguments: dict[str, Any]) -> list[str]:
    """The command that reaches the lease host as this run did."""
    given = context.CLIARGS
    words = [str(Path(sys.argv[0]).with_name("ansible")), host, "-m", "floyo_lease", "-a", json.dumps(arguments)]
    words += [f"{option}={given[name]}" for name, option in _ONE.items() if given.get(name)]
    return words + [f"{option}={value}" for name, option in _MANY.items() for value in given.get(name) or ()]
