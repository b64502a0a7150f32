#!/usr/bin/python
"""Module floyo_process: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: floyo_process
short_description: What the unit takes, whether it leaks, how often it was killed or started again
description:
  - Reads the unit's control group (v2, v1, hybrid, in containers), the samples that the timer of role C(floyo_backend) keeps,
    and what systemd said about the unit.
  - Growth is judged by the slope of Theil and Sen with its 95 % interval. Restarts begin a new series. Memory that grew and
    has stopped is no leak. Too few samples are C(inconclusive).
attributes:
  check_mode:
    description: Can run in check mode and then looks as always, since it changes nothing.
    support: full
  diff_mode:
    description: Shows what was or would be changed.
    support: none
    details: Nothing is changed.
  idempotent:
    description: A second run changes nothing.
    support: full
options:
  unit:
    description: The unit, with or without C(.service).
    type: str
    default: floyo-backend
  ring:
    description: The file with the samples. None is no fault; there is less to judge then.
    type: path
    default: /var/lib/floyo/process.jsonl
  fewest:
    description: Samples that a judgement needs.
    type: int
    default: 30
  shortest:
    description: Seconds that the samples must span.
    type: int
    default: 3600
  warm_up:
    description: The first seconds of each process, which do not count.
    type: int
    default: 600
  percent_an_hour:
    description: Growth in percent of the memory held, from which on it is a leak. At least 1 MiB an hour.
    type: float
    default: 2.0
  horizon:
    description: Growth that needs more hours than this to reach the limit is a warning and no failure.
    type: int
    default: 168
  hours:
    description: How far back samples and events are looked at.
    type: int
    default: 24
author:
  - Floyo operations
"""

EXAMPLES = r"""
- name: Does the service leak
  floyo_process:
    unit: floyo-backend
"""

RETURN = r"""
verdict:
  description: The worst of the findings, one of C(pass), C(inconclusive), C(warn), C(fail).
  type: str
  returned: always
findings:
  description: The worst first, each with C(check), C(verdict), C(message), C(value), C(threshold), C(sample), C(next_step).
  type: list
  elements: dict
  returned: always
history:
  description: Pairs of epoch and bytes held, about 288 of them; bytes are null between two processes.
  type: list
  elements: list
  returned: always
leak:
  description:
    - C(verdict) (growing, stable, inconclusive), C(reason), C(bytes_an_hour), its C(interval), C(samples), C(seconds),
      C(hours_left) until the limit.
  type: dict
  returned: always
memory:
  description: Bytes that the unit holds for itself, null when it does not run. Not the page cache.
  type: int
  returned: always
memory_with_cache:
  description: Bytes with the page cache.
  type: int
  returned: always
memory_limit:
  description: The lowest limit, null for none.
  type: int
  returned: always
memory_source:
  description: What counted it.
  type: str
  returned: always
cpu_percent:
  description: Of one processor in the last five minutes, null without samples.
  type: float
  returned: always
events:
  description: C(started), C(restarted) by systemd, C(killed) for memory, C(failed), and the newest C(lines).
  type: dict
  returned: always
active:
  description: systemd's ActiveState.
  type: str
  returned: always
"""

from typing import TYPE_CHECKING, Any

from ansible.module_utils.floyo.module import run
from ansible.module_utils.floyo.process.glue import ARGUMENT_SPEC, observe

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def work(module: AnsibleModule) -> dict[str, Any]:
    return observe(module.params)


def main() -> None:
    run(work, argument_spec=ARGUMENT_SPEC, supports_check_mode=True)


if __name__ == "__main__":
    main()
