#!/usr/bin/python
"""Module floyo_env: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: floyo_env
short_description: Compares the names in a host's environment file with what should be there
description:
  - Reads the file as systemd's C(EnvironmentFile) does and compares it with the required names and with those of the
    application's C(.env.example).
  - Names are reported and values never. A name that is in no list and looks like a piece of a value is not shown.
attributes:
  check_mode:
    description: Can run in check mode and then compares as always, since it changes nothing.
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
    description: The environment file on the host.
    type: path
    required: true
  required:
    description: Names that must be there with a value.
    type: list
    elements: str
    default: []
  names:
    description: Names that the application knows, such as C(env_names) of a release's manifest.
    type: list
    elements: str
    default: []
  example:
    description: The path of a C(.env.example) on the host, whose names are added to O(names). Empty when there is none.
    type: path
    default: ""
  optional:
    description: Names that may be there, beside those that are commented out in O(example).
    type: list
    elements: str
    default: []
  secrets:
    description: Names whose values must be long, random, and not the placeholder of O(example).
    type: list
    elements: str
    default: [SECRET_KEY]
  fail_on:
    description: The findings that fail the task. See the returned lists of the same names.
    type: list
    elements: str
    choices: [missing, empty, weak, exposed, ignored, unset, unknown]
    default: [missing, empty, weak, exposed]
author: floyo-ops
"""

EXAMPLES = r"""
- name: The environment is complete for the new release
  floyo_env:
    path: /etc/floyo/backend.env
    required: [DATABASE_URL, SECRET_KEY]
    names: "{{ floyo_release_manifest.env_names }}"
    fail_on: [missing, empty, weak, exposed, unset]
  become: true
"""

RETURN = r"""
ok:
  description: Whether there is no finding of O(fail_on).
  type: bool
  returned: when the file can be read
summary:
  description: One sentence for people.
  type: str
  returned: when the file can be read
present:
  description: All names in the file.
  type: list
  returned: when the file can be read
missing:
  description: Required names that are not in the file.
  type: list
  returned: when the file can be read
empty:
  description: Required names without a value.
  type: list
  returned: when the file can be read
weak:
  description: Secrets that are short, regular, or a placeholder.
  type: list
  returned: when the file can be read
exposed:
  description: The file and its mode, when accounts outside its owner and group have access.
  type: list
  returned: when the file can be read
ignored:
  description: Lines that systemd does not read as they are written, by number.
  type: list
  returned: when the file can be read
unset:
  description: Names of the example, not required, that are not in the file.
  type: list
  returned: when the file can be read
unknown:
  description: Names in the file that no list has. Empty when neither O(names) nor O(example) has any.
  type: list
  returned: when the file can be read
"""

from typing import TYPE_CHECKING, Any

from ansible.module_utils.floyo.environment_check import ARGUMENT_SPEC, check_environment
from ansible.module_utils.floyo.module import run

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def work(module: AnsibleModule) -> dict[str, Any]:
    return check_environment(module.params)


def main() -> None:
    run(work, argument_spec=ARGUMENT_SPEC, supports_check_mode=True)


if __name__ == "__main__":
    main()
