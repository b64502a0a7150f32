#!/usr/bin/python
"""Module floyo_release: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: floyo_release
short_description: Builds releases once, puts them on hosts, and switches what a host serves
description:
  - A release is a directory that never changes, named by the version and by a digest of what it is made of.
  - V(built) makes and proves it on one host and packs it. V(staged) puts it on any host. V(rehearsed) starts it beside
    the release that serves. V(switched) serves it, proves that, and puts the old one back when it fails. Deploying and
    rolling back are the same switch with another target.
  - The switch belongs to systemd on the host. A controller that dies or a connection that breaks leaves a host that
    finishes or undoes by itself.
  - For V(switched) and V(info) one light command a host runs the program that role C(floyo_backend) installed, when it
    was made from the same sources; otherwise the module itself does it.
attributes:
  check_mode:
    description: Can run in check mode and predicts what a run would do.
    support: full
  diff_mode:
    description: Shows what was or would be changed.
    support: none
    details: A release is a whole. The result names what was and what is.
  idempotent:
    description: A second run changes nothing.
    support: full
requirements:
  - git, tar, zstd and python3-venv on the build host; tar and zstd on the others
options:
  state:
    description: What must be true of the release.
    type: str
    choices: [built, staged, rehearsed, switched, info, pruned]
    required: true
  config:
    description: The host's description of the application, which role C(floyo_backend) writes.
    type: path
    default: /etc/floyo/floyo-release.json
  release:
    description:
      - The release to rehearse or to switch to.
      - V(previous) is the last one that was proven to serve and that nobody rolled back from.
      - With O(state=built), the name that the same version has where it was built for another platform. Left out, the
        build finds a name of its own.
    type: str
  token:
    description: The fencing token of the lease. A host refuses one that is lower than the highest it has seen.
    type: int
  holder:
    description: Who switches. It goes into the host's history.
    type: str
    default: ansible
  reason:
    description: Why. It goes into the host's history.
    type: str
    default: ""
  kind:
    description: A V(rollback) marks the release that it leaves as one not to come back to.
    type: str
    choices: [deploy, rollback]
    default: deploy
  repository:
    description: The application's git repository, as the build host reaches it.
    type: str
  credentials:
    description:
      - C(user:password), or a token, for O(repository).
      - The action plugin takes them out of the address, so that no log shows them.
    type: str
  version:
    description: Tag, branch or commit to build.
    type: str
  project_dir:
    description: The application's directory inside the repository.
    type: str
    default: ""
  requirements:
    description: Requirements files, relative to O(project_dir).
    type: list
    elements: str
    default: [backend/requirements.txt]
  test_requirements:
    description: Requirements files that only the tests need. They do not go into the release.
    type: list
    elements: str
    default: []
  lock:
    description:
      - How the project pins its packages. V(pip) means files with hashes, V(uv) means C(uv.lock).
      - With V(none) the versions are resolved at the first build of a commit and recorded.
    type: str
    choices: [auto, none, pip, uv]
    default: auto
  asgi:
    description: The ASGI object.
    type: str
    default: backend.main:app
  alembic_config:
    description: The configuration of alembic, relative to O(project_dir). Empty when there are no migrations.
    type: str
    default: alembic.ini
  multiple_heads:
    description: Whether several heads of the migrations are right.
    type: bool
    default: false
  test_command:
    description: Runs the application's tests. Empty when there are none.
    type: str
    default: pytest tests/ -v
  test_environment:
    description: Environment of the tests and of the import check.
    type: dict
    default: {}
  test_user:
    description: The account that runs the application's code at build time. It should own nothing.
    type: str
    default: nobody
  test_timeout:
    description: Seconds for the tests.
    type: float
    default: 1800.0
  env_example:
    description: The file that lists the environment's names. Empty when there is none.
    type: str
    default: .env.example
  build_dir:
    description: Where the build host keeps its mirror, logs and artifacts. Empty, C(build) in the state directory.
    type: path
    default: ""
  rebuild:
    description:
      - Build again although the same was built, with the newest versions of what is not pinned.
      - When they are the same versions, it is the same release, and it is only packed again.
    type: bool
    default: false
  manifest:
    description: The RV(manifest) of a build, for V(staged).
    type: dict
  artifact:
    description: The RV(artifact) of a build, for V(staged).
    type: dict
  artifact_url:
    description: Where hosts fetch the artifact. Empty, it comes over the connection.
    type: str
    default: ""
  source:
    description: The artifact on the host. The action plugin fills it in.
    type: path
    default: ""
  fetched:
    description: A directory on the controller that keeps artifacts between V(built) and V(staged).
    type: path
    default: ""
  ready_timeout:
    description: Seconds in which a rehearsed release must be ready. Left out, as long as the host waits at a switch.
    type: float
  verify:
    description: Read all files of a release that is already staged.
    type: bool
    default: false
  graphs:
    description: Whether V(info) holds the revisions of each release.
    type: bool
    default: false
  health:
    description:
      - Whether V(info) asks the application how it is. One that hangs takes up to ten seconds.
    type: bool
    default: true
  keep:
    description: Releases that served, and that V(pruned) keeps beside what runs and what is pinned.
    type: int
    default: 5
  needed:
    description: Releases that V(pruned) must keep.
    type: list
    elements: str
    default: []
author: floyo-ops
"""

EXAMPLES = r"""
- name: Build and test once
  floyo_release:
    state: built
    repository: https://git.example/floyo.git
    version: v1.4.0
    fetched: .cache/artifacts
  register: build
  delegate_to: backend1
  run_once: true

- name: Put the release on every host
  floyo_release:
    state: staged
    manifest: "{{ build.manifest }}"
    artifact: "{{ build.artifact }}"
    fetched: .cache/artifacts

- name: Serve it
  floyo_release:
    state: switched
    release: "{{ build.release }}"
    token: 42
    holder: anna@laptop
    reason: deploy v1.4.0
"""

RETURN = r"""
release:
  description: The release's name. Empty when a build in check mode cannot know it yet.
  returned: O(state=built), O(state=staged), O(state=rehearsed)
  type: str
  sample: v1.4.0-1a2b3c4d
version:
  description: Tag, or short commit.
  returned: O(state=built)
  type: str
manifest:
  description: What is in it, such as commit, author, requirements, C(alembic) revisions with their classes, tests, C(size) in bytes.
  returned: O(state=built)
  type: dict
artifact:
  description: C(path) on the build host, C(sha256), C(size) in bytes.
  returned: O(state=built)
  type: dict
from:
  description: What the host served before.
  returned: O(state=switched)
  type: str
to:
  description: What was asked for.
  returned: O(state=switched)
  type: str
outcome:
  description: V(switched) or V(unchanged); V(reverted) in the result of a switch that failed.
  returned: O(state=switched)
  type: str
seconds:
  description: From the intent to the proof that the release serves.
  returned: O(state=switched), O(state=rehearsed)
  type: float
current:
  description: >-
    What runs, with C(release), C(version), C(since) in seconds of the epoch, C(pid), and C(fault), empty when it serves
    and null when it was not asked.
  returned: O(state=info)
  type: dict
link:
  description: What the link names.
  returned: O(state=info)
  type: str
releases:
  description: Each with C(release), C(version), C(commit), C(state) (staged, good, left, failed), C(sequence), C(pinned).
  returned: O(state=info)
  type: list
  elements: dict
history:
  description: The newest switches.
  returned: O(state=info)
  type: list
  elements: dict
fence:
  description: The highest token that the host has seen.
  returned: O(state=info)
  type: int
intent:
  description: A switch that has begun and not ended.
  returned: O(state=info)
  type: dict
disk_free:
  description: Bytes; C(disk_total) beside it.
  returned: O(state=info)
  type: int
clock:
  description: >-
    The host's time, seconds of the epoch. C(clock_offset) and C(clock_doubt) beside it, seconds against the controller's
    clock, when the host program answered.
  returned: O(state=info)
  type: float
python_tag:
  description: Of the interpreter that releases run on; C(platform) beside it.
  returned: O(state=info)
  type: str
program_digest:
  description: sha256 of the host program. Empty when the module itself answered.
  returned: O(state=info)
  type: str
removed:
  description: Releases that went or would go; C(kept) beside it.
  returned: O(state=pruned)
  type: list
  elements: str
log_tail:
  description: The end of the log of what failed.
  returned: failure
  type: list
  elements: str
code:
  description: A stable word for why it failed, such as C(VERSION_UNKNOWN), C(TESTS_FAILED), C(SWITCH_REVERTED), C(FENCED).
  returned: failure
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible.module_utils.floyo.module import run
from ansible.module_utils.floyo.release.git import secrets_of
from ansible.module_utils.floyo.release.glue import carry_out

TEXT = {"type": "str", "default": ""}
NAMES = {"type": "list", "elements": "str", "default": []}
SPEC: dict[str, Any] = {
    "state": {
        "type": "str",
        "choices": ["built", "staged", "rehearsed", "switched", "info", "pruned"],
        "required": True,
    },
    "config": {"type": "path", "default": "/etc/floyo/floyo-release.json"},
    "release": {"type": "str"},
    # A fencing token counts deployments; it is no secret.
    "token": {"type": "int", "no_log": False},
    "holder": {"type": "str", "default": "ansible"},
    "reason": TEXT,
    "kind": {"type": "str", "choices": ["deploy", "rollback"], "default": "deploy"},
    "repository": {"type": "str"},
    "credentials": {"type": "str", "no_log": True},
    "version": {"type": "str"},
    "project_dir": TEXT,
    "requirements": {"type": "list", "elements": "str", "default": ["backend/requirements.txt"]},
    "test_requirements": NAMES,
    "lock": {"type": "str", "choices": ["auto", "none", "pip", "uv"], "default": "auto"},
    "asgi": {"type": "str", "default": "backend.main:app"},
    "alembic_config": {"type": "str", "default": "alembic.ini"},
    "multiple_heads": {"type": "bool", "default": False},
    "test_command": {"type": "str", "default": "pytest tests/ -v"},
    "test_environment": {"type": "dict", "default": {}},
    "test_user": {"type": "str", "default": "nobody"},
    "test_timeout": {"type": "float", "default": 1800.0},
    "env_example": {"type": "str", "default": ".env.example"},
    "build_dir": {"type": "path", "default": ""},
    "rebuild": {"type": "bool", "default": False},
    "manifest": {"type": "dict"},
    "artifact": {"type": "dict"},
    "artifact_url": TEXT,
    "source": {"type": "path", "default": ""},
    "fetched": {"type": "path", "default": ""},
    "ready_timeout": {"type": "float"},
    "verify": {"type": "bool", "default": False},
    "graphs": {"type": "bool", "default": False},
    "health": {"type": "bool", "default": True},
    "keep": {"type": "int", "default": 5},
    "needed": NAMES,
}


def work(module: AnsibleModule) -> dict[str, Any]:
    for address in ("repository", "artifact_url"):
        # Ansible shows a module's arguments in its result: what is secret in them is only known now.
        module.no_log_values.update(secrets_of(module.params[address] or ""))
    return carry_out(module.params, check=module.check_mode)


def main() -> None:
    run(
        work,
        argument_spec=SPEC,
        required_if=[
            ("state", "built", ["repository", "version"]),
            ("state", "staged", ["manifest", "artifact"]),
            ("state", "switched", ["release"]),
            ("state", "rehearsed", ["release"]),
        ],
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
