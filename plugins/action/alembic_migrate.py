"""Action plugin alembic_migrate: what the controller adds to the module. See library/alembic_migrate.py.

It asks squawk about the SQL that a host has rendered, and it brings a new revision's file to the controller.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.plugins.action import ActionBase

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_SHARED = str(Path(__file__).resolve().parents[2] / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)

from ansible.module_utils.floyo.errors import FloyoError, Refused
from ansible.module_utils.floyo.files import write_atomic
from ansible.module_utils.floyo.migrations.lint import Live, judge
from ansible.module_utils.floyo.migrations.squawk import violations_of


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        fetched = arguments.pop("fetched", "")
        try:
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

    def _lint(self, result: dict[str, Any], arguments: dict[str, Any]) -> None:
        """The host's verdict once more, with what squawk says of the same SQL."""
        said = violations_of(result["sql"], server_major=result["server_major"])
        live = Live(**result.pop("live"))
        result["lint"] = judge(result["sql"], live, violations=said, limits=arguments.get("limits") or {})
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
