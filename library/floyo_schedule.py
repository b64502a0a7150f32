#!/usr/bin/python
"""Module floyo_schedule: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: floyo_schedule
short_description: How the scheduled backups of a host went
description:
  - Reads what the job of role floyo_backup has written down and what systemd knows of its units. A run that was killed,
    or a timer that is off, is seen as well as a step that failed.
  - Changes nothing.
attributes:
  check_mode:
    description: Can run in check mode and predicts what a run would do.
    support: full
  diff_mode:
    description: Shows what was or would be changed.
    support: none
  idempotent:
    description: A second run changes nothing.
    support: full
options:
  name:
    description: The application. Its units are C(<name>-backup.timer) and C(<name>-backup.service).
    type: str
    default: floyo
  record:
    description: Where the job writes down how it went. Empty, C(/var/lib/<name>-backup/last.json).
    type: path
    default: ""
  late:
    description: Hours after which the last run is too long ago. V(0) turns this off.
    type: float
    default: 50
author: floyo-ops
"""

EXAMPLES = r"""
- name: Are there backups while everybody sleeps?
  floyo_schedule:
    name: floyo
  register: scheduled
  failed_when: scheduled.problem | length > 0
"""

RETURN = r"""
state:
  description: >-
    V(absent) without a timer, V(off), V(waiting) for its first run, V(running), V(ok), V(failed) or V(late).
  returned: success
  type: str
problem:
  description: What is wrong, in words; empty when nothing is.
  returned: success
  type: str
next_run:
  description: When the timer goes off next, as systemd says it.
  returned: success
  type: str
began:
  description: When the last run began.
  returned: success
  type: str
ended:
  description: When it ended; empty while it runs, and when it was killed.
  returned: success
  type: str
steps:
  description: Of the last run, name to C(result) (V(ok) or V(failed)), C(said), C(code), C(seconds), C(at).
  returned: success
  type: dict
"""

from typing import TYPE_CHECKING, Any

from ansible.module_utils.floyo.module import run
from ansible.module_utils.floyo.schedule.unit import look

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def work(module: AnsibleModule) -> dict[str, Any]:
    asked = module.params
    record = asked["record"] or f"/var/lib/{asked['name']}-backup/last.json"
    return {"changed": False, **look(asked["name"], record, asked["late"])}


def main() -> None:
    run(
        work,
        argument_spec={
            "name": {"type": "str", "default": "floyo"},
            "record": {"type": "path", "default": ""},
            "late": {"type": "float", "default": 50.0},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
