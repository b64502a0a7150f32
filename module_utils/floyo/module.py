"""Glue between domain code and AnsibleModule: the only place that calls fail_json."""

from __future__ import annotations

import traceback
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule

from .errors import FloyoError

__all__ = ["run"]


def run(work: Callable[[AnsibleModule], dict[str, Any]], **spec: Any) -> None:
    """Build the module from ``spec`` (AnsibleModule's keywords), run ``work`` and exit with what it returns.

    ``work`` returns the result dict with ``changed``; a FloyoError becomes a failed result with ``msg``, ``code``,
    ``expected``, ``next_step``. Any other exception is a defect: ``msg`` says where, and -vvv shows the traceback.
    """
    module = AnsibleModule(**spec)
    try:
        result = work(module)
    except FloyoError as error:
        module.fail_json(**error.as_result())
    except Exception as error:  # noqa: BLE001 - where failures are judged with all hosts, nobody would say what it was
        at = traceback.extract_tb(error.__traceback__)[-1]
        defect = FloyoError(
            f"a defect in {at.name} (line {at.lineno} of {at.filename}): {type(error).__name__}: {error}",
            code="DEFECT",
            next_step="run it again with -vvv, and report what it shows",
        )
        module.fail_json(**defect.as_result(), exception=traceback.format_exc())
    module.exit_json(**result)
