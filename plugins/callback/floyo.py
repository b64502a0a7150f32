"""Callback floyo: what runs, on one line a task. See DOCUMENTATION."""

from __future__ import annotations

import atexit
import collections
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible import constants as C
from ansible.plugins.callback.default import CallbackModule as Default
from ansible.utils.helpers import pct_to_int

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_SHARED = str(Path(__file__).resolve().parents[2] / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)

from ansible.module_utils.floyo.controller import phase_of, short_name
from ansible.module_utils.floyo.progress import Footer, Progress, listed

DOCUMENTATION = """
name: floyo
type: stdout
short_description: One line for each task, with its time and the hosts that changed, and where the run is
description:
  - A task that only finds things as they should be is one quiet line. One that changes something names the hosts. The
    line begins with the step of the playbook; a play that goes batch by batch says which one. Includes and skipped
    tasks are not shown.
  - On a terminal three lines at the bottom say what runs, on which hosts, for how long, and what is done. Elsewhere
    (no terminal, C(CI) in the environment, C(TERM=dumb)) what takes long says so while it runs, on lines of their own.
  - Failures, warnings, diffs and the recap look as in Ansible's own output. With C(-v) all of it does.
  - C(ANSIBLE_STDOUT_CALLBACK=ansible.builtin.default) gives Ansible's own output.
options:
  progress:
    description: C(plain) has no lines at the bottom, C(auto) has them on a terminal.
    type: str
    choices: [auto, plain]
    default: auto
    env:
      - name: FLOYO_PROGRESS
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
    "floyo_report",
    "floyo_table",
)
# Seconds between two looks at the clock by the lines at the bottom.
TICK = 1.0


class CallbackModule(Default):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "floyo"

    def __init__(self) -> None:
        super().__init__()
        self._free = False
        self._name = ""
        self._heading = ""
        self._begin = 0.0
        self._hosts: dict[str, list[str]] = collections.defaultdict(list)
        self._timer: threading.Timer | None = None
        self._progress = Progress(time.monotonic())
        self._footer: Footer | None = None
        self._ended = threading.Event()
        self._play_uuid = ""
        self._batch = 0

    # --- what is shown -------------------------------------------------------------------------------------------------

    @property
    def _plain(self) -> bool:
        """Whether the user asked for everything."""
        return self._display.verbosity > 0

    def _line(self, word: str, text: str, colour: str | None, seconds: float | None = None) -> None:
        took = f"{seconds:6.1f} s" if seconds is not None else " " * 8
        self._display.display(f"  {word:<8}{took}  {text}", color=colour)

    def _still(self, since: float, name: str) -> None:
        where = f" ({self._progress.hosts})" if self._progress.hosts else ""
        self._line("...", f"{name}{where}", C.COLOR_VERBOSE, time.monotonic() - since)
        self._watch(REMINDER, since, name)

    def _watch(self, after: float, since: float, name: str) -> None:
        if self._footer:
            return  # it tells all the time
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
            self._line("changed", f"{self._name}: {listed(changed)}", C.COLOR_CHANGED, time.monotonic() - self._begin)
        elif good:
            self._line("ok", self._name, C.COLOR_OK, time.monotonic() - self._begin)

    def _note(self, result: Any, word: str) -> None:
        host = result.host.get_name()
        if self._free:
            # Every host is elsewhere: only what it changes is of interest.
            if word == "changed":
                self._line(word, f"{short_name(result.task)}: {host}", C.COLOR_CHANGED)
            return
        place = self.host_label(result).rpartition(" -> ")[2].partition("(")[0]
        if "{{" in place:  # of a loop whose items are elsewhere; those that changed have been noted
            if word == "changed":
                return
            place = host
        if place not in self._hosts[word]:
            self._hosts[word].append(place)

    # --- the lines at the bottom ----------------------------------------------------------------------------------------

    def _open_footer(self) -> None:
        stream = sys.stdout
        wanted = self.get_option("progress") == "auto" and not self._plain and stream.isatty()
        if not wanted or os.environ.get("CI") or os.environ.get("TERM", "dumb") == "dumb":
            return
        self._footer = Footer(stream)
        atexit.register(self._footer.close)  # whatever ends the run, the terminal is whole again
        threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while not self._ended.wait(TICK):
            self._draw()

    def _draw(self) -> None:
        footer = self._footer
        if footer and not self._ended.is_set():
            footer.show(self._progress.lines(time.monotonic(), footer.width))

    # --- events -------------------------------------------------------------------------------------------------------

    def v2_playbook_on_start(self, playbook: Any) -> None:
        super().v2_playbook_on_start(playbook)
        self._open_footer()

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        super().v2_runner_on_start(host, task)
        self._progress.start_host(host.name)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._flush()
        self._free = play.strategy == "free"
        if self._plain:
            super().v2_playbook_on_play_start(play)
            return
        self._play = play
        name, batch = play.get_name().strip(), self._batch_of(play)
        self._progress.start_play(name, batch)
        self._heading = f"\n{name}{f': {batch}' if batch else ''}"

    def _head(self) -> None:
        """A play that ends before its first task has no heading."""
        if self._heading:
            self._display.display(self._heading, color=C.COLOR_HIGHLIGHT)
            self._heading = ""

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._head()
        super().v2_playbook_on_no_hosts_matched()

    def _batch_of(self, play: Any) -> str:
        """``batch 2 of 3 (backend2, backend3)``; empty when the play takes all its hosts at once."""
        self._batch = self._batch + 1 if play._uuid == self._play_uuid else 1
        self._play_uuid = play._uuid
        if not play.serial:
            return ""
        inventory = play.get_variable_manager()._inventory
        total = _batches(play.serial, len(inventory.get_hosts(play.hosts, ignore_restrictions=True)))
        if total < 2:
            return ""
        hosts = [host.name for host in inventory.get_hosts(play.hosts)]
        return f"batch {self._batch} of {total} ({listed(hosts)})"

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._start(task, "TASK")

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._start(task, "RUNNING HANDLER")

    def _start(self, task: Any, prefix: str) -> None:
        if self._plain:
            self._task_start(task, prefix=prefix)
            return
        if task.action not in C._ACTION_META:
            self._head()
        if self._free:
            self._task_start(task, prefix=prefix)
            return
        self._flush()
        # What fails prints Ansible's heading first, which needs these.
        self._task_type_cache[task._uuid] = prefix
        self._last_task_name = task.get_name().strip()
        self._begin = time.monotonic()
        phase, short = phase_of(task), short_name(task)
        self._name = f"{phase}: {short}" if phase and phase != short else short
        self._progress.start_task(short, phase, self._begin)
        self._draw()
        self._watch(PATIENCE, self._begin, self._name)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._end_host(result, "ok" if ignore_errors else "failed")
        super().v2_runner_on_failed(result, ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._end_host(result, "unreachable")
        super().v2_runner_on_unreachable(result)

    def _end_host(self, result: Any, word: str) -> None:
        self._progress.end_host(result.host.get_name(), word)
        self._draw()

    def v2_runner_on_ok(self, result: Any) -> None:
        self._end_host(result, "changed" if result.result.get("changed") else "ok")
        if result.task.action == "floyo_table":
            self._progress.judge(result.result.get("rows") or ())
        if self._plain or self._run_is_verbose(result):
            super().v2_runner_on_ok(result)  # also what a task wants to be read, such as a debug message
            return
        self._handle_warnings_and_exception(result)
        if result.task.action in _SILENT:
            return
        if "Validating arguments against arg spec" in result.task.get_name():
            return
        self._note(result, "changed" if result.result.get("changed") else "ok")

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._end_host(result, "skipped")
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
        self._ended.set()
        if self._footer:
            self._footer.close()
        super().v2_playbook_on_stats(stats)


def _batches(serial: list[Any], hosts: int) -> int:
    """How many batches Ansible makes of so many hosts: the last size goes on until all are done."""
    count, left = 0, hosts
    while left > 0:
        size = pct_to_int(serial[min(count, len(serial) - 1)], hosts)
        if size <= 0:
            return count + 1
        count, left = count + 1, left - size
    return count
