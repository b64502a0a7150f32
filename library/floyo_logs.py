#!/usr/bin/python
"""Module floyo_logs: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: floyo_logs
short_description: Reads, searches and counts the application's log, rotated files included
description:
  - Reads the log and what logrotate made of it (C(.1), C(.2.gz), C(-20250115.xz), C(.zst)), the newest first, or the
    journal of a unit.
  - Lines may be JSON objects, C(DATE TIME LEVEL logger text), or syslog's, also mixed in one file. Junk, half lines,
    damaged archives and clocks that step do not stop it. What could not be read is said in RV(ignore:files).
  - Everything is streamed. What a fixed word can sort out, C(grep) sorts out.
  - Passwords, tokens, the values of SQL statements, and what the service's environment file keeps secret are replaced
    by C(***) before anything is shown.
attributes:
  check_mode:
    description: Can run in check mode and then reads as always, since it changes nothing.
    support: full
  diff_mode:
    description: Shows what was or would be changed.
    support: none
    details: Nothing is changed.
  idempotent:
    description: A second run changes nothing.
    support: full
options:
  path:
    description: The log.
    type: path
    default: /var/log/floyo/app.log
  unit:
    description: Read the journal of this unit and not the file. Holds what systemd says about it, too.
    type: str
    default: ""
  rotated:
    description: Whether rotated files are read as well.
    type: bool
    default: true
  want:
    description:
      - What to collect, in one pass.
      - V(lines) are the newest lines that O(text), O(regex), O(level) and the times leave.
      - V(patterns) counts errors by what they have in common. Of a plain line that is its fifth field, of a JSON line its
        logger and its message without numbers, names and addresses.
      - V(memory) are lines that speak of memory. V(slow) are requests that took longer than O(slower_than).
    type: list
    elements: str
    choices: [lines, patterns, memory, slow]
    default: [lines]
  text:
    description: Words that a line must hold.
    type: str
    default: ""
  regex:
    description: A regular expression that must be found in a line. Alone it is slower than O(text); both must hold.
    type: str
    default: ""
  ignore_case:
    description: Whether O(text) and O(regex) take capitals and small letters for the same.
    type: bool
    default: false
  level:
    description: Lines of this level or a worse one. Lines without a level are not among them.
    type: str
    choices: ["", DEBUG, INFO, WARNING, ERROR, CRITICAL]
    default: ""
  since:
    description: From when on, such as C(15m), C(2h), C(3d) (ago), C(2025-01-15), C(2025-01-15 10:30).
    type: str
    default: ""
  until:
    description: Until when, itself not included.
    type: str
    default: ""
  zone:
    description: What a time without a zone means, in lines and in options. The host's own zone, or UTC.
    type: str
    choices: [local, utc]
    default: local
  last:
    description: Most lines to return.
    type: int
    default: 100
  all_files:
    description:
      - Whether older files are read also when the newer ones gave O(last) lines already.
      - Only then RV(ignore:matched) counts all of them.
    type: bool
    default: false
  top:
    description: Most patterns and slow requests to return.
    type: int
    default: 20
  slower_than:
    description: Milliseconds.
    type: float
    default: 500.0
  environment_file:
    description: The service's environment file. Its secrets are hidden wherever they stand.
    type: path
    default: ""
author:
  - Floyo operations
"""

EXAMPLES = r"""
- name: The last hundred errors
  floyo_logs:
    level: ERROR

- name: What goes wrong most often, since an hour ago
  floyo_logs:
    want: [patterns, slow, memory]
    since: 1h

- name: What systemd and the service said last
  floyo_logs:
    unit: floyo-backend
    last: 50
"""

RETURN = r"""
matched:
  description: How many lines match. See RV(complete).
  type: int
  returned: always
complete:
  description: Whether every file was read that can hold a matching line.
  type: bool
  returned: always
lines:
  description: The newest of them, oldest first, each with C(time), C(epoch), C(level), C(logger), C(message).
  type: list
  elements: dict
  returned: always
patterns:
  description: The most frequent errors, each with C(pattern), C(count), C(first), C(last), C(sample), and
    C(by_minute), pairs of epoch and count of the newest 120 minutes that had one.
  type: list
  elements: dict
  returned: always
pattern_count:
  description: How many errors were counted.
  type: int
  returned: always
memory:
  description: C(count) of lines that speak of memory, and the newest C(lines).
  type: dict
  returned: always
slow:
  description:
    - C(timed) lines that tell how long something took, C(count) of those above C(threshold_ms), and C(requests) with
      C(what), C(count), C(max_ms), C(last).
  type: dict
  returned: always
undated:
  description: Lines without a time, left out because a time was asked for.
  type: int
  returned: always
files:
  description: What was read, newest first, each with C(name), C(size), C(remarks).
  type: list
  elements: dict
  returned: always
unread_files:
  description: Older files that were not needed.
  type: int
  returned: always
source:
  description: What was read.
  type: str
  returned: always
seconds:
  description: How long it took.
  type: float
  returned: always
"""

from typing import TYPE_CHECKING, Any

from ansible.module_utils.floyo.logs.glue import ARGUMENT_SPEC, look
from ansible.module_utils.floyo.module import run

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def work(module: AnsibleModule) -> dict[str, Any]:
    return look(module.params)


def main() -> None:
    run(work, argument_spec=ARGUMENT_SPEC, supports_check_mode=True)


if __name__ == "__main__":
    main()
