#!/usr/bin/python
"""Module pg_archive: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_archive
short_description: PostgreSQL as it was at a moment, beside the live cluster
description:
  - Works on an archive that pgBackRest keeps, with continuous archiving as role floyo_postgres sets it up.
  - A moment is recovered into a second server that listens on a socket of its own, archives nothing and is read-only.
    The live cluster is not touched; one may look at the second one with C(psql), and module pg_backup dumps from it.
  - What a killed run left is removed by the next one. A recovered moment that somebody is connected to is not.
attributes:
  check_mode:
    description: Can run in check mode and predicts what a run would do.
    support: full
    details: Asks whether the moment is in the archive and whether there is room for it. The log itself is not read.
  diff_mode:
    description: Shows what was or would be changed.
    support: none
  idempotent:
    description: A second run changes nothing.
    support: partial
    details: >-
      O(state=present) with O(max_age), and O(state=recovered) of a moment that is recovered already; V(latest) is another
      one each time.
requirements:
  - pgBackRest on the database host (Debian's package C(pgbackrest))
  - root, or the account that owns the cluster
options:
  state:
    description:
      - V(created) makes a place for the cluster in the archive. The server may be told to archive afterwards.
      - V(present) takes a base backup of the cluster when the newest is older than O(max_age).
      - V(recovered) brings the cluster as it was at O(to) up beside the live one.
      - V(discarded) stops that one and removes it.
      - V(checked) judges archiving, loss window, base backups, continuity and the last drill against O(limits), and fails
        when one is passed. On a host without an archive there is nothing to judge.
      - V(info) tells what there is.
    type: str
    choices: [created, present, recovered, discarded, checked, info]
    default: info
  to:
    description:
      - For O(state=recovered), the moment, with its offset from UTC, such as C(2026-11-23 03:10:00+00). What the live
        server has written until then is archived first.
      - V(latest) is what the archive holds now, as if the host had just been lost.
    type: str
    default: latest
  database_url:
    description: For O(state=recovered), the owner's URL of the live database. Only its names are used.
    type: str
    default: ""
  stanza:
    description: The name of the archive.
    type: str
    default: floyo
  config:
    description: pgBackRest's configuration.
    type: path
    default: /etc/pgbackrest/pgbackrest.conf
  scratch:
    description: The directory for the recovered cluster; it needs as much room as the live one. Removed when not needed.
    type: path
    default: /var/lib/postgresql/floyo-moment
  directory:
    description: For O(state=checked), where dumps of recovered moments lie, to see when one was last drilled.
    type: path
    default: /var/backups/floyo/moments
  max_age:
    description: For O(state=present), hours. V(0) takes one in any case.
    type: float
    default: 0
  full_every:
    description: For O(state=present), days between full ones. Those between hold what differs from the last full one.
    type: float
    default: 7
  archive_wait:
    description: Seconds to wait for the live server's newest segment to be archived.
    type: float
    default: 60.0
  min_free:
    description: What must stay free on the file system of O(scratch), such as V(5%) or V(2GiB).
    type: str
    default: 5%
  timeout:
    description: Seconds for the whole run.
    type: float
    default: 7200.0
  account:
    description: The account that owns the cluster.
    type: str
    default: postgres
  socket_directory:
    description: Where the live server's socket is.
    type: path
    default: /var/run/postgresql
  port:
    description: The live server's port.
    type: int
    default: 5432
  limits:
    description:
      - For O(state=checked). Seconds of the loss window, C(window_warn) (180) and C(window_fail) (900); hours since the
        newest base backup, C(base_warn) (50) and C(base_fail) (194); since the last drill, C(drill_warn) (192) and
        C(drill_fail) (0, never).
    type: dict
    default: {}
author: floyo-ops
"""

EXAMPLES = r"""
- name: A base backup a day, a full one a week
  pg_archive:
    state: present
    max_age: 20

- name: The cluster as it was, to look at
  pg_archive:
    state: recovered
    to: 2026-11-23 03:10:00+00
    database_url: "{{ floyo_database_url }}"
  register: recovered

- name: A dump of the database as it was
  pg_backup:
    database_url: "{{ recovered.moment.database_url }}"
    directory: /var/backups/floyo/moments
    accept_shrink: true
    about: {as_of: "{{ recovered.moment.as_of }}"}

- name: That was it
  pg_archive:
    state: discarded

- name: What would be lost with the host now?
  pg_archive:
    state: checked
    limits: {window_fail: 300}
"""

RETURN = r"""
configured:
  description: Whether this host keeps an archive.
  returned: O(state=info) and O(state=checked)
  type: bool
bases:
  description: >-
    Base backups, newest first, each with C(label), C(kind), C(start), C(stop), C(seconds), C(size) of the cluster,
    C(stored) bytes, C(wal_start), C(wal_stop), and whether pages were damaged (C(error)).
  returned: O(state=info) and O(state=present)
  type: list
  elements: dict
from:
  description: The earliest moment that can be had.
  returned: O(state=info)
  type: str
window:
  description: What would be lost with the host now, C(bytes) of the log, written within C(seconds) at most.
  returned: O(state=info)
  type: dict
kind:
  description: V(full) or V(diff), empty when the newest was young enough.
  returned: O(state=present)
  type: str
plan:
  description: The C(base) backup to begin with, C(bytes) needed and C(free). Empty when nothing was to do.
  returned: O(state=recovered)
  type: dict
moment:
  description:
    - C(to) as asked, C(as_of) it holds, the last transaction in it (C(reached)), the C(base) backup, C(database_url) and
      C(socket) of the recovered server, C(seconds) in all and, in C(phases), of each part.
    - C(loss) is what the archive lacked when the recovery began, C(bytes) and C(seconds), lost had the host gone then.
  returned: O(state=recovered) and O(state=info). Empty in check mode and without one.
  type: dict
verdict:
  description: V(pass), V(warn) or V(fail).
  returned: O(state=checked), also when it fails
  type: str
checks:
  description: Each with C(check), C(result), what was C(found), and what comes C(next).
  returned: O(state=checked), also when it fails
  type: list
  elements: dict
code:
  description: >-
    A stable word for why it failed, such as C(ARCHIVE_GAP), C(ARCHIVE_SHORT), C(MOMENT_TOO_OLD), C(DISK_FULL),
    C(LOCK_HELD).
  returned: failure
  type: str
missing:
  description: The segments that the archive lacks.
  returned: failure with C(ARCHIVE_GAP)
  type: list
  elements: str
"""

from typing import TYPE_CHECKING, Any

from ansible.module_utils.floyo.archive.glue import archive
from ansible.module_utils.floyo.module import run

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

ARGUMENTS = {
    "state": {
        "type": "str",
        "choices": ["created", "present", "recovered", "discarded", "checked", "info"],
        "default": "info",
    },
    "to": {"type": "str", "default": "latest"},
    "database_url": {"type": "str", "default": "", "no_log": True},
    "stanza": {"type": "str", "default": "floyo"},
    "config": {"type": "path", "default": "/etc/pgbackrest/pgbackrest.conf"},
    "scratch": {"type": "path", "default": "/var/lib/postgresql/floyo-moment"},
    "directory": {"type": "path", "default": "/var/backups/floyo/moments"},
    "max_age": {"type": "float", "default": 0.0},
    "full_every": {"type": "float", "default": 7.0},
    "archive_wait": {"type": "float", "default": 60.0},
    "min_free": {"type": "str", "default": "5%"},
    "timeout": {"type": "float", "default": 7200.0},
    "account": {"type": "str", "default": "postgres"},
    "socket_directory": {"type": "path", "default": "/var/run/postgresql"},
    "port": {"type": "int", "default": 5432},
    "limits": {"type": "dict", "default": {}},
}


def work(module: AnsibleModule) -> dict[str, Any]:
    result = archive(module.params, check_mode=module.check_mode)
    for warning in result.pop("warnings"):
        module.warn(warning)
    return result


def main() -> None:
    run(
        work,
        argument_spec=ARGUMENTS,
        required_if=[("state", "recovered", ["database_url"])],
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
