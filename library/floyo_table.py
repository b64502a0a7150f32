#!/usr/bin/python
"""Documentation of floyo_table, which is an action plugin: plugins/action/floyo_table.py."""

DOCUMENTATION = r"""
module: floyo_table
short_description: Prints one short table and fails when told to
description:
  - Runs on the controller. The table fits the terminal. Long cells wrap at words, and a table with too many columns
    for the width becomes one block of lines for each row.
  - Control characters in cells become blanks. Cells that are status words are coloured when Ansible colours its output.
  - With several hosts, set C(run_once) on the task; otherwise each host prints its table.
attributes:
  check_mode:
    description: Can run in check mode and then prints as always, since it changes nothing.
    support: full
  diff_mode:
    description: Shows what was or would be changed.
    support: none
    details: Nothing is changed.
  idempotent:
    description: A second run changes nothing.
    support: full
options:
  title:
    description: The line above the table.
    type: str
    default: ""
  columns:
    description:
      - Names, or mappings with C(key), C(label) and C(align) (C(left) or C(right)).
      - Left out, the keys of the first row.
    type: list
    elements: raw
    default: []
  rows:
    description: Mappings by key, or lists in the order of O(columns).
    type: list
    elements: raw
    required: true
  footer:
    description: Lines below the table.
    type: str
    default: ""
  width:
    description: Columns that the table may take. Left out, C(COLUMNS) of the environment, the terminal's width, or 80.
    type: int
  fail_msg:
    description: When it is not empty, the task fails with this message after the table was printed.
    type: str
    default: ""
author: floyo-ops
"""

EXAMPLES = r"""
- name: Show what runs where
  floyo_table:
    title: Fleet
    columns:
      - host
      - {key: release, label: running}
      - {key: seconds, align: right}
      - health
    rows:
      - {host: backend1, release: v1.1.0-0f3a91c2, seconds: 1.2, health: healthy}
      - {host: backend2, release: v1.0.0-77aa01de, seconds: 0.9, health: unhealthy}
    fail_msg: backend2 is unhealthy. Next - journalctl -u floyo-backend on backend2.
  run_once: true
"""

RETURN = r"""
rows:
  description: The rows as given.
  type: list
  returned: when the task does not fail
"""
