#!/usr/bin/python
"""Documentation of floyo_plan, which is an action plugin: plugins/action/floyo_plan.py."""

DOCUMENTATION = r"""
module: floyo_plan
short_description: Plans what a deploy or a rollback means for the database
description:
  - Runs on the controller, from facts that other modules read. Nothing is asked and nothing is changed.
  - A rollback is C(SAFE) when the database is at the target's revision or only additions ahead, C(DOWNGRADE) when each
    step between has a way back that runs with the newer release's files, C(RESTORE) when a backup is the way, C(REFUSE)
    otherwise, with the nearest release that is safe.
  - A restore is C(RESTORE) when the release that runs works on what the backup holds, all it needs and beyond that only
    additions, and C(REFUSE) otherwise.
attributes:
  check_mode:
    description: Can run in check mode and then plans as always, since it changes nothing.
    support: full
  diff_mode:
    description: Shows what was or would be changed.
    support: none
    details: Nothing is changed.
  idempotent:
    description: A second run changes nothing.
    support: full
options:
  kind:
    description: What is planned.
    type: str
    choices: [deploy, rollback, restore]
    required: true
  live:
    description: Revisions in the database's version table.
    type: list
    elements: str
    default: []
  status:
    description: How the database stands to a release, as M(alembic_migrate) tells it.
    type: str
    default: at
  target:
    description:
      - The manifest of the release to run, of which C(release) and C(alembic.revisions) are read.
      - For a restore, O(running) may stand in its place.
    type: dict
  current:
    description: The manifest of the release that runs, for a rollback.
    type: dict
    default: {}
  running:
    description: >-
      Manifests of the releases that hosts serve now, for a deploy; for a restore without O(target), each must be able
      to work on the backup.
    type: list
    elements: dict
    default: []
  known:
    description: Manifests of other releases, newest first.
    type: list
    elements: dict
    default: []
  backups:
    description: Backups that a rollback may go back to, as M(pg_backup) lists them.
    type: list
    elements: dict
    default: []
  backup:
    description: The backup to restore, as M(pg_backup) lists it, or another database with its C(heads) and C(label).
    type: dict
    default: {}
  accept_misfit:
    description: Consent to the restore of a backup that the release that runs may not be able to work on.
    type: bool
    default: false
  accept_data_loss:
    description: Consent to a downgrade that drops or rewrites rows.
    type: bool
    default: false
  accept_restore:
    description: Consent to going back to a backup.
    type: bool
    default: false
  contract:
    description: Plan the step after a deploy that removes what no release needs any more.
    type: bool
    default: false
  multiple_heads:
    description: Whether several heads of the target are right.
    type: bool
    default: false
  classes:
    description: Classes of revisions that may run before the switch.
    type: list
    elements: str
    default: [expand]
  enforce:
    description: Fail when the verdict is C(REFUSE).
    type: bool
    default: false
author: floyo-ops
"""

EXAMPLES = r"""
- name: Plan the way back
  floyo_plan:
    kind: rollback
    live: "{{ database.current }}"
    status: "{{ database.status }}"
    target: "{{ older_manifest }}"
    current: "{{ newer_manifest }}"
    enforce: true
"""

RETURN = r"""
verdict:
  description: One of C(SAFE), C(DOWNGRADE), C(RESTORE), C(REFUSE).
  type: str
  returned: always
code:
  description: The verdict, or a stable word for why it is refused.
  type: str
  returned: always
reason:
  description: A sentence for people.
  type: str
  returned: always
steps:
  description: What is to be done, in this order. Each has C(what), C(where), C(release) and C(text).
  type: list
  elements: dict
  returned: always
pending:
  description: Revisions of the target that the database lacks.
  type: list
  elements: dict
  returned: always
held_back:
  description: Those of them that wait, each with its C(reason).
  type: list
  elements: dict
  returned: always
contract_after:
  description: Releases that run now and do not know what the contract step removes. It waits until they are gone.
  type: list
  elements: str
  returned: always
downgrades:
  description: Revisions to take back, each with the kind of its C(downgrade).
  type: list
  elements: dict
  returned: always
downgrade_to:
  description: Revisions that the database is at after the downgrade.
  type: list
  elements: str
  returned: always
downgrade_with:
  description: The release whose files the downgrade needs.
  type: str
  returned: always
backup:
  description: The label of the backup to go back to.
  type: str
  returned: always
loses:
  description: What is lost on the way.
  type: list
  elements: str
  returned: always
consent:
  description: What must be agreed to first, C(data_loss), C(restore) or C(misfit).
  type: str
  returned: always
nearest_safe:
  description: A release that would be safe.
  type: str
  returned: always
next_step:
  description: What to do when it is refused.
  type: str
  returned: always
"""
