"""Callback floyo: what runs, on one line a task. See DOCUMENTATION."""

from __future__ import annotations

import collections
import threading
import time
from typing import Any

from ansible import constants as C
from ansible.plugins.callback.default import CallbackModule as Default

DOCUMENTATION = """
name: floyo
type: stdout
short_description: One line for each task, with its time and the hosts that changed
description:
  - A task that only finds things as they should be is one quiet line. One that changes something names the hosts. What
    takes long says so while it runs. Includes and skipped tasks are not shown.
  - Failures, warnings, diffs and the recap look as in Ansible's own output. With C(-v) all of it does.
  - C(ANSIBLE_STDOUT_CALLBACK=ansible.builtin.default) gives Ansible's own output.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""

# Seconds after which a task that still runs is announced, and how often it is said again.
PATIENCE = 3.0
REMINDER = 30.0
# What orders, computes or prints: nothing happens on a host.
_SILENT = (
    *C._ACTION_INCLUDE_TASKS,
    *C._ACTION_INCLUDE_ROLE,
    *C._ACTION_META,
    *C._ACTION_SET_FACT,
    "ansible.builtin.assert",
    "floyo_plan",
    "floyo_table",
)
# More changed hosts than this are counted and not named.
NAMED = 4


class CallbackModule(Default):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "floyo"

    def __init__(self) -> None:
        super().__init__()
        self._free = False
        self._name = ""
        self._begin = 0.0
        self._hosts: dict[str, list[str]] = collections.defaultdict(list)
        self._timer: threading.Timer | None = None

    # --- what is shown -------------------------------------------------------------------------------------------------

    @property
    def _plain(self) -> bool:
        """Whether the user asked for everything."""
        return self._display.verbosity > 0

    def _line(self, word: str, text: str, colour: str | None, seconds: float | None = None) -> None:
        took = f"{seconds:6.1f} s" if seconds is not None else " " * 8
        self._display.display(f"  {word:<8}{took}  {text}", color=colour)

    def _still(self, since: float, name: str) -> None:
        self._line("...", name, C.COLOR_VERBOSE, time.monotonic() - since)
        self._watch(REMINDER, since, name)

    def _watch(self, after: float, since: float, name: str) -> None:
        self._timer = threading.Timer(after, self._still, (since, name))
        self._timer.daemon = True
        self._timer.start()

    def _flush(self) -> None:
        """Show the task that ended."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        changed, good = self._hosts.pop("changed", []), self._hosts.pop("ok", [])
        self._hosts.clear()
        if changed:
            shown = ", ".join(sorted(changed)) if len(changed) <= NAMED else f"{len(changed)} hosts"
            self._line("changed", f"{self._name}: {shown}", C.COLOR_CHANGED, time.monotonic() - self._begin)
        elif good:
            self._line("ok", self._name, C.COLOR_OK, time.monotonic() - self._begin)

    def _note(self, result: Any, word: str) -> None:
        host = result.host.get_name()
        if self._free:
            # Every host is elsewhere: only what it changes is of interest.
            if word == "changed":
                self._line(word, f"{_short(result.task)}: {host}", C.COLOR_CHANGED)
            return
        place = self.host_label(result).rpartition(" -> ")[2].partition("(")[0]
        if place not in self._hosts[word]:
            self._hosts[word].append(place)

    # --- events -------------------------------------------------------------------------------------------------------

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._flush()
        self._free = play.strategy == "free"
        if self._plain:
            super().v2_playbook_on_play_start(play)
            return
        self._play = play
        self._display.display(f"\n{play.get_name().strip()}", color=C.COLOR_HIGHLIGHT)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._start(task, "TASK")

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._start(task, "RUNNING HANDLER")

    def _start(self, task: Any, prefix: str) -> None:
        if self._plain:
            self._task_start(task, prefix=prefix)
            return
        if self._free:
            self._task_start(task, prefix=prefix)
            return
        self._flush()
        # What fails prints Ansible's heading first, which needs these.
        self._task_type_cache[task._uuid] = prefix
        self._last_task_name = task.get_name().strip()
        self._begin = time.monotonic()
        self._name = _short(task)
        self._watch(PATIENCE, self._begin, self._name)

    def v2_runner_on_ok(self, result: Any) -> None:
        if self._plain or self._run_is_verbose(result):
            super().v2_runner_on_ok(result)  # also what a task wants to be read, such as a debug message
            return
        if result.task.action in _SILENT:
            return
        if "Validating arguments against arg spec" in result.task.get_name():
            return
        self._note(result, "changed" if result.result.get("changed") else "ok")
        self._handle_warnings_and_exception(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        if self._plain:
            super().v2_runner_on_skipped(result)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        if self._plain:
            super().v2_playbook_on_include(included_file)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        if self._plain:
            super().v2_runner_item_on_ok(result)
        elif result.result.get("changed") and not self._free:
            self._note(result, "changed")

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        if self._plain:
            super().v2_runner_item_on_skipped(result)

    def v2_runner_retry(self, result: Any) -> None:
        if self._plain:
            super().v2_runner_retry(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._flush()
        super().v2_playbook_on_stats(stats)


def _short(task: Any) -> str:
    """The task's name without that of its role."""
    return str(task.get_name()).strip().rpartition(" : ")[2]
