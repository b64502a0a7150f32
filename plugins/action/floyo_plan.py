"""Action plugin floyo_plan: the planner over facts, on the controller. See library/floyo_plan.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_SHARED = str(Path(__file__).resolve().parents[2] / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)

from ansible.module_utils.floyo.errors import FloyoError, Unusable
from ansible.module_utils.floyo.migrations.planner import (
    Consent,
    plan_deploy,
    plan_restore,
    plan_rollback,
    releases_of,
)

_FLAG = {"type": "bool", "default": False}
_MANIFESTS = {"type": "list", "elements": "dict", "default": []}
_NAMES = {"type": "list", "elements": "str", "default": []}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        # A release that is not there comes as none: the same as not being named.
        self._task.args = {name: value for name, value in self._task.args.items() if value is not None}
        _validated, given = self.validate_argument_spec(
            argument_spec={
                "kind": {"type": "str", "choices": ["deploy", "rollback", "restore"], "required": True},
                "live": _NAMES,
                "status": {"type": "str", "default": "at"},
                "target": {"type": "dict"},
                "current": {"type": "dict", "default": {}},
                "running": _MANIFESTS,
                "known": _MANIFESTS,
                "backups": _MANIFESTS,
                "accept_data_loss": _FLAG,
                "accept_restore": _FLAG,
                "accept_misfit": _FLAG,
                "backup": {"type": "dict", "default": {}},
                "contract": _FLAG,
                "multiple_heads": _FLAG,
                "classes": {"type": "list", "elements": "str", "default": ["expand"]},
                "enforce": _FLAG,
            },
            required_if=[("kind", "deploy", ["target"]), ("kind", "rollback", ["target"])],
        )
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            plan = _plan(given)
        except FloyoError as error:
            raise AnsibleActionFail(str(error)) from error
        result.update(plan, changed=False)
        if given["enforce"] and plan["verdict"] == "REFUSE":
            next_step = f" Next: {plan['next_step']}." if plan["next_step"] else ""
            result.update(failed=True, msg=f"{plan['code']}: {plan['reason']}.{next_step} Nothing was changed.")
        return result


def _plan(given: dict[str, Any]) -> dict[str, Any]:
    consent = Consent(
        data_loss=given["accept_data_loss"],
        restore=given["accept_restore"],
        misfit=given["accept_misfit"],
        contract=given["contract"],
        classes=tuple(given["classes"]),
    )
    known = releases_of(given["known"])
    if given["kind"] == "restore":
        every = releases_of([given["target"]] if given["target"] else given["running"])
        if not every:
            raise Unusable("no release is named", code="TARGET_MISSING", expected="target, or running for a restore")
        plans = [plan_restore(given["backup"], release, known=known, consent=consent) for release in every]
        return next((plan for plan in plans if plan["verdict"] == "REFUSE"), plans[0])
    (target,) = releases_of([given["target"]])
    if given["kind"] == "deploy":
        running = releases_of(given["running"])
        return plan_deploy(
            given["live"],
            target,
            status=given["status"],
            running=running,
            known=known,
            consent=consent,
            multiple_heads=given["multiple_heads"],
        )
    (current,) = releases_of([given["current"]]) if given["current"] else (None,)
    return plan_rollback(
        given["live"],
        target,
        current,
        status=given["status"],
        known=known,
        backups=given["backups"],
        consent=consent,
    )
