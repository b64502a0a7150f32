#!/usr/bin/python
"""Several directories, files and links in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: floyo_tree
short_description: Have directories, files and links as described, in one call
description:
  - Does for many paths what C(ansible.builtin.file) and C(ansible.builtin.copy) do for one, in one remote execution.
  - Everything is read, planned and judged by its validator before the first change. Files appear by a rename.
  - Works in check mode on a bare host, where neither parent directories nor owners exist yet.
author: floyo-ops
attributes:
  check_mode: {support: full, description: Predicts every change.}
  diff_mode: {support: full, description: Text and attributes. Set C(no_log) on a task that carries secrets.}
  idempotent: {support: full, description: Compares content and attributes.}
options:
  directories:
    description: Directories, made before the files.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Where., type: path, required: true}
      mode: {description: Octal mode in quotes., type: str}
      owner: {description: User., type: str, default: root}
      group: {description: Group., type: str, default: root}
  files:
    description: Files. The default mode is V(0644).
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Where., type: path, required: true}
      content: {description: Text of the file., type: str}
      content_base64: {description: Bytes of the file., type: str}
      mode: {description: Octal mode in quotes., type: str}
      owner: {description: User., type: str, default: root}
      group: {description: Group., type: str, default: root}
      validate:
        description: Command that judges the new file before it replaces the old one; V(%s) stands for its path.
        type: list
        elements: str
        default: []
  links:
    description: Symbolic links, made last.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Where., type: path, required: true}
      target: {description: What it points to., type: str, required: true}
"""

EXAMPLES = r"""
- name: Have the log directory and its rotation
  floyo_tree:
    directories:
      - {path: /var/log/floyo, mode: "0750", group: adm}
    files:
      - path: /etc/logrotate.d/floyo
        content: "{{ lookup('ansible.builtin.template', 'logrotate.j2') }}"
        validate: [logrotate, --debug, "%s"]
"""

RETURN = r"""
paths:
  description: Paths that were, or in check mode would be, made or changed.
  returned: always
  type: list
  elements: str
"""

import base64
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible.module_utils.floyo.module import run
from ansible.module_utils.floyo.tree import Directory, File, Link, carry_out, parse_mode, plan

_ROOT = {"type": "str", "default": "root"}
_OWNER = {"mode": {"type": "str"}, "owner": _ROOT, "group": _ROOT}
_PATH = {"path": {"type": "path", "required": True}}


def wanted(parameters: dict[str, Any]) -> list[Any]:
    entries: list[Any] = [
        Directory(item["path"], parse_mode(item["mode"], 0o755), item["owner"], item["group"])
        for item in parameters["directories"]
    ]
    for item in parameters["files"]:
        encoded = item["content_base64"]
        content = base64.b64decode(encoded) if encoded is not None else item["content"].encode()
        mode = parse_mode(item["mode"], 0o644)
        entries.append(File(item["path"], content, mode, item["owner"], item["group"], tuple(item["validate"])))
    return entries + [Link(item["path"], item["target"]) for item in parameters["links"]]


def work(module: AnsibleModule) -> dict[str, Any]:
    changes = plan(wanted(module.params))
    if changes and not module.check_mode:
        carry_out(changes, module.tmpdir)
    return {
        "changed": bool(changes),
        "paths": [change.wanted.path for change in changes],
        "diff": [part for change in changes for part in change.diff()],
    }


def main() -> None:
    files = {
        **_PATH,
        **_OWNER,
        "content": {"type": "str"},
        "content_base64": {"type": "str"},
        "validate": {"type": "list", "elements": "str", "default": []},
    }
    links = {**_PATH, "target": {"type": "str", "required": True}}
    run(
        work,
        supports_check_mode=True,
        argument_spec={
            "directories": {"type": "list", "elements": "dict", "default": [], "options": {**_PATH, **_OWNER}},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": files,
                "mutually_exclusive": [("content", "content_base64")],
                "required_one_of": [("content", "content_base64")],
            },
            "links": {"type": "list", "elements": "dict", "default": [], "options": links},
        },
    )


if __name__ == "__main__":
    main()
