"""Callback floyo_journal: remembers what ran when, for reports. See DOCUMENTATION."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.plugins.callback import CallbackBase

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_SHARED = str(Path(__file__).resolve().parents[2] / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)

from ansible.module_utils.floyo.controller import phase_of, short_name
from ansible.module_utils.floyo.report.journal import RUN

DOCUMENTATION = """
name: floyo_journal
type: aggregate
short_description: Remembers in memory when each task began and ended on each host
description:
  - M(floyo_report) draws its timeline from that. Nothing is shown and nothing is written.
  - Works beside any callback for the terminal. Without it reports have no timeline.
requirements:
  - enabled by C(callbacks_enabled) in ansible.cfg
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "floyo_journal"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._last_play = ""

    def v2_playbook_on_start(self, playbook: Any) -> None:
        RUN.start_playbook(time.time())

    def v2_playbook_on_play_start(self, play: Any) -> None:
        hosts = [host.name for host in play.get_variable_manager()._inventory.get_hosts(play.hosts)]
        RUN.start_play(play.get_name().strip(), hosts, continued=play._uuid == self._last_play)
        self._last_play = play._uuid

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        state = task.args.get("state", "") if isinstance(task.args, dict) else ""
        RUN.start_task(
            task._uuid, short_name(task), phase=phase_of(task), action=task.action, state=str(state), at=time.time()
        )

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self.v2_playbook_on_task_start(task, False)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        RUN.start_host(task._uuid, host.name, time.time())

    def v2_runner_on_ok(self, result: Any) -> None:
        self._end(result, "changed" if result.result.get("changed") else "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._end(result, "ignored" if ignore_errors else "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._end(result, "unreachable")

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._end(result, "skipped")

    def _end(self, result: Any, word: str) -> None:
        RUN.end_host(result.task._uuid, result.host.get_name(), word, time.time())

    def v2_playbook_on_stats(self, stats: Any) -> None:
        RUN.end_task(time.time())
