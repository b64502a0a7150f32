#!/usr/bin/python
"""Module pg_backup: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup
short_description: Takes, verifies and lists backups of a PostgreSQL database
description:
  - A backup is a dump by C(pg_dump) and a manifest that binds it to what it is a copy of. The manifest holds the dump's
    sha256, the alembic revision, a fingerprint of the schema, the exact number of rows of each table in the dump's own
    snapshot, and the digest of the manifest before.
  - A new dump is written under another name, read back from the disk to its last byte and compared with the database's
    tables. Only then it gets its name, and its manifest last. What a killed run left is removed by the next one.
  - One run at a time works on a database, whatever host or controller it comes from. Migrations take the same lock.
  - Passwords reach the programs by their environment and are in no argument, message or file.
attributes:
  check_mode:
    description: Can run in check mode and predicts what a run would do.
    support: full
    details: Asks for lock, rights, programs and space as a run does, and fails where a run would fail.
  diff_mode:
    description: Shows what was or would be changed.
    support: none
  idempotent:
    description: A second run changes nothing.
    support: partial
    details: O(state=present) takes a backup each time.
requirements:
  - psycopg 3 (Debian's package C(python3-psycopg))
  - C(pg_dump) and C(pg_restore) of the server's version or later
options:
  state:
    description:
      - V(present) takes a backup and verifies it.
      - V(verified) reads existing ones to the last byte, all or the one in O(label), and fails when one is damaged.
      - V(info) lists them by their manifests without reading the dumps.
    type: str
    choices: [present, verified, info]
    default: present
  database_url:
    description: The URL of the database as the owner of its tables. Only O(state=present) needs it.
    type: str
    default: ""
  directory:
    description: Where backups lie. Made with mode 0700 when it is missing.
    type: path
    default: /var/backups/floyo
  label:
    description: One backup, for O(state=verified) and O(state=info). A new one makes its own label.
    type: str
    default: ""
  about:
    description:
      - What the manifest says of the application. C(release), C(version), C(commit) and C(reason) are shown in the list.
    type: dict
    default: {}
  version_table:
    description: The table in which alembic keeps the revision, with or without its schema.
    type: str
    default: alembic_version
  compress:
    description:
      - V(auto), V(none), or V(gzip), V(lz4), V(zstd) with an optional level such as V(zstd:9).
      - V(auto) is zstd where C(pg_dump) offers it (16 and later, built with it), else gzip.
    type: str
    default: auto
  min_free:
    description: What must stay free on the file system beside the new dump, such as V(5%) or V(2GiB).
    type: str
    default: 5%
  accept_shrink:
    description:
      - The database was meant to lose most of its rows or tables. Otherwise the new backup, and those after it, are listed
        as C(suspect).
    type: bool
    default: false
  lock_wait:
    description: Seconds to wait for another run to end.
    type: float
    default: 60.0
  lock_timeout:
    description: Seconds to wait for a table that somebody has locked.
    type: float
    default: 10.0
  timeout:
    description: Seconds for the whole run. What runs longer is ended.
    type: float
    default: 3600.0
  bin_dir:
    description: The directory of C(pg_dump) and C(pg_restore). Empty, the oldest on this host that is new enough.
    type: path
    default: ""
"""

EXAMPLES = r"""
- name: Take a backup before a deploy
  pg_backup:
    database_url: "{{ floyo_database_url }}"
    directory: "{{ floyo_backup_dir }}"
    about:
      release: v1.1.0-0a1b2c3d
      version: v1.1.0
      reason: before the deploy of v1.2.0
  register: taken

- name: Read every backup again
  pg_backup:
    state: verified
    directory: "{{ floyo_backup_dir }}"

- name: List them
  pg_backup:
    state: info
    directory: "{{ floyo_backup_dir }}"
  register: listed
"""

RETURN = r"""
backup:
  description:
    - The new backup with C(label), C(path), C(size), C(sha256), C(manifest), C(manifest_path), C(seconds). Empty in check mode.
  returned: O(state=present)
  type: dict
plan:
  description:
    - C(database), C(heads), versions of C(server) and C(client), C(compress), and in bytes C(forecast) of the dump, C(free)
      and C(reserve).
  returned: O(state=present)
  type: dict
backups:
  description:
    - Newest first. Each with C(label), C(created), C(path), C(size), C(sha256), C(database), C(heads), C(release),
      C(version), C(commit), C(reason), C(sequence), C(rows), C(verified), C(verified_at), C(problem), C(suspect),
      C(server_version), C(dump_seconds) and C(seconds) of a restore.
    - C(verified) is false where C(problem) says why. C(suspect) says why a sound one looks wrong.
    - C(seconds) is null until a restore has measured it.
  returned: always, but not when O(state=present) fails
  type: list
  elements: dict
running:
  description: Backups that are being made on this host, with C(label), C(phase), C(bytes), C(forecast), C(since).
  returned: O(state=info)
  type: list
  elements: dict
swept:
  description: Files of killed runs that were, or in check mode would be, removed.
  returned: O(state=present)
  type: list
  elements: str
freed:
  description: Their bytes, which a run has and check mode would have given back.
  returned: O(state=present)
  type: int
damaged:
  description: Labels of the damaged ones.
  returned: failure of O(state=verified)
  type: list
  elements: str
code:
  description: A stable word for why it failed, such as C(DISK_FULL), C(LOCK_HELD), C(TABLE_LOCKED), C(RIGHTS_MISSING).
  returned: failure
  type: str
"""

from typing import TYPE_CHECKING, Any

from ansible.module_utils.floyo.backup.glue import backup
from ansible.module_utils.floyo.module import run

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "verified", "info"], "default": "present"},
    "database_url": {"type": "str", "default": "", "no_log": True},
    "directory": {"type": "path", "default": "/var/backups/floyo"},
    "label": {"type": "str", "default": ""},
    "about": {"type": "dict", "default": {}},
    "version_table": {"type": "str", "default": "alembic_version"},
    "compress": {"type": "str", "default": "auto"},
    "min_free": {"type": "str", "default": "5%"},
    "accept_shrink": {"type": "bool", "default": False},
    "lock_wait": {"type": "float", "default": 60.0},
    "lock_timeout": {"type": "float", "default": 10.0},
    "timeout": {"type": "float", "default": 3600.0},
    "bin_dir": {"type": "path", "default": ""},
}


def work(module: AnsibleModule) -> dict[str, Any]:
    result = backup(module.params, check_mode=module.check_mode)
    for warning in result.pop("warnings"):
        module.warn(warning)
    return result


def main() -> None:
    run(work, argument_spec=ARGUMENTS, supports_check_mode=True)


if __name__ == "__main__":
    main()
