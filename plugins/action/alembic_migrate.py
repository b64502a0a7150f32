"""Action plugin alembic_migrate: what the controller adds to the module. See library/alembic_migrate.py.

It asks squawk about the SQL that a host has rendered, shows how far a run is, and brings a new revision's file to the controller.
"""

from __future__ import annotations

import contextlib
import copy
import json
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible import constants as C
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_SHARED = str(Path(__file__).resolve().parents[2] / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)

from ansible.module_utils.floyo.controller import ask_program
from ansible.module_utils.floyo.errors import FloyoError, Refused, Unusable
from ansible.module_utils.floyo.files import write_atomic
from ansible.module_utils.floyo.migrations.lint import Live, judge, worst
from ansible.module_utils.floyo.migrations.options import ARGUMENTS
from ansible.module_utils.floyo.migrations.squawk import violations_of
from ansible.module_utils.floyo.text import one_line

display = Display()
_LONG = ("head", "revision", "rehearsed")
# Seconds between two looks until there is something to show, and then; how long the last may take when the module has ended.
_FIRST, _EVERY, _PATIENCE = 2.5, 10.0, 5.0


def _show(looker: ActionModule, path: str, ended: threading.Event) -> None:
    shown = text = ""
    while not ended.wait(_EVERY if shown else _FIRST):
        # Whatever is wrong with a look, the task goes on and says how it ended.
        with contextlib.suppress(Exception):
            answer = looker._low_level_execute_command(f"cat {shlex.quote(path)} 2>/dev/null || true", sudoable=True)
            text = one_line(json.loads(answer["stdout"])["text"])
        if text != shown and not ended.is_set():
            shown = text
            display.display(f"  ...               {text}", color=C.COLOR_VERBOSE)


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if arguments.get("state") == "info":
            quick = self._quickly(arguments)
            if quick is not None:
                return quick
        fetched = arguments.pop("fetched", "")
        try:
            with self._told(str(arguments.get("progress") or ""), str(arguments.get("state"))):
                result: dict[str, Any] = self._execute_module(
                    module_name="alembic_migrate", module_args=arguments, task_vars=task_vars
                )
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        if result.get("failed"):
            return result
        try:
            if "lint" in result:
                self._lint(result, arguments)
            if result.get("content"):
                self._bring(result, str(fetched))
        except FloyoError as error:
            return {**result, **error.as_result(), "failed": True, "changed": False}
        return result

    def _quickly(self, arguments: dict[str, Any]) -> dict[str, Any] | None:
        """Let the host program look, in one light execution; None when the module must. Every rollback waits for it."""
        _validated, given = self.validate_argument_spec(argument_spec=ARGUMENTS)
        # Without it the sent text would come after a prompt, or on a terminal that shows it.
        if not self._connection.has_pipelining:
            return None
        return ask_program(self, ["migrations"], sent=json.dumps(given))

    @contextlib.contextmanager
    def _told(self, path: str, state: str) -> Iterator[None]:
        """While the module runs, show now and then what it writes into ``path`` on the host."""
        if not path or state not in _LONG or self._task.check_mode:
            yield
            return
        looker, ended = self._beside(), threading.Event()
        thread = threading.Thread(target=_show, args=(looker, path, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(_PATIENCE)

    def _beside(self) -> ActionModule:
        """This plugin with a connection of its own: the other one is busy with the module."""
        other = copy.copy(self)
        other._connection = copy.copy(self._connection)
        if getattr(other._connection, "become", None):
            other._connection.set_become_plugin(copy.copy(other._connection.become))
        return other

    def _lint(self, result: dict[str, Any], arguments: dict[str, Any]) -> None:
        """The host's verdict once more, with what squawk says of the same SQL; without it, no verdict is a good one."""
        said, missing = {}, ""
        try:
            said = violations_of(result["sql"], server_major=result["server_major"])
        except Unusable as error:
            if error.code != "SQUAWK_MISSING":
                raise
            missing = str(error)
        live = Live(**result.pop("live"))
        result["lint"] = judge(result["sql"], live, violations=said, limits=arguments.get("limits") or {})
        result["lint"]["squawk"] = missing
        if missing:
            result["lint"]["verdict"] = worst(["warn", result["lint"]["verdict"]])
        verdicts = {one["revision"]: one["verdict"] for one in result["lint"]["revisions"]}
        for row in result["rows"]:
            row["verdict"] = verdicts.get(row["revision"], row["verdict"])

    def _bring(self, result: dict[str, Any], fetched: str) -> None:
        """Write the new revision's file where the person wants it, once."""
        if not fetched:
            return
        target = Path(fetched, Path(result["file"]).name)
        result["fetched"] = str(target)
        if target.exists():
            raise Refused(
                f"{target} is there already",
                code="FILE_EXISTS",
                expected="a directory without a file of this name",
                next_step="name another directory, or move the file away",
            )
        if not self._task.check_mode:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(str(target), result["content"].encode(), mode=0o644)
