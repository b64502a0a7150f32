"""Glue between domain code and AnsibleModule: the only place that calls fail_json."""

from __future__ import annotations

from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule

from .errors import FloyoError

__all__ = ["run"]


def run(work: Callable[[AnsibleModule], dict[str, Any]], **spec: Any) -> None:
    """Build the module from ``spec`` (AnsibleModule's keywords), run ``work`` and exit with what it returns.

    ``work`` returns the result dict with ``changed``; a FloyoError becomes a failed result with ``msg``, ``code``,
    ``expected``, ``next_step``. Any other exception is a defect and keeps its traceback.
    """
    module = AnsibleModule(**spec)
    try:
        result = work(module)
    except FloyoError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)
