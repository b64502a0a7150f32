#!/usr/bin/python
"""Module alembic_migrate: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: alembic_migrate
short_description: Moves a database between alembic revisions, one at a time, from a given release
description:
  - Reads which revision the database is at, plans, and applies or takes back one revision after the other with the
    files and the virtual environment of one release.
  - Each revision has a class, read from its source without running it. C(expand) leaves releases before it working;
    C(data) changes rows; C(contract) may break an older release; C(irreversible) has no way back; C(unknown) could not
    be read. A line C(floyo_class = "...") in the file decides instead.
  - One run at a time works on a database, whatever host or controller it comes from. Backups take the same lock.
  - A statement waits for a table at most O(lock_timeout). The revision is rolled back and tried again after a growing
    pause; at last the session that stands in the way is named.
  - What the application prints, logs or reads does not disturb it.
attributes:
  check_mode:
    description: Can run in check mode and predicts what a run would do.
    support: full
  diff_mode:
    description: Shows what was or would be changed.
    support: full
    details: The revisions before and after.
  idempotent:
    description: A second run changes nothing.
    support: full
requirements:
  - alembic 1.8 or later, SQLAlchemy 1.4 or later and a PostgreSQL driver in the release's virtual environment
options:
  release_dir:
    description:
      - The directory of a staged release, which holds C(.venv).
      - To go back, name the newer release. The older one does not have the files of what it never knew.
    type: path
    required: true
  project_dir:
    description: The application's directory inside the release. The migrations run there.
    type: str
    default: ""
  alembic_config:
    description: The ini or TOML file of alembic, relative to O(project_dir). Empty when there are no migrations.
    type: str
    default: alembic.ini
  database_url:
    description:
      - The URL of the database as the owner of its tables. Needed by all states but V(verified).
      - SQLAlchemy's form with a driver is understood. Without a driver, that of the application's own URL is taken.
    type: str
    default: ""
  database_url_env:
    description: Environment variables from which C(env.py) reads the URL. They get O(database_url).
    type: list
    elements: str
    default: [DATABASE_URL]
  environment_file:
    description: The service's environment, for a C(env.py) that imports the application. Empty when there is none.
    type: path
    default: ""
  run_as:
    description: The unprivileged account that runs the application's code. Empty, the account of the task.
    type: str
    default: ""
  state:
    description:
      - V(info) reads.
      - V(verified) checks the graph of the release without a database.
      - V(preview) shows the SQL that would run from where the database is now.
      - V(linted) judges the SQL of all that is pending, whatever its class, by the sizes of the live tables, by who has them
        now, and by squawk, which runs on the controller. Nothing is changed.
      - V(rehearsed) applies all that is pending, whatever its class, in O(scratch), measures time, locks and rows of each
        revision, takes everything back and compares structure and rows with what was there before. The live database is
        not touched.
      - V(generated) writes a new revision from what the models say and the migrations do not, in a copy of the release and an
        empty database of its own. Its text is in the result; the release and the database stay as they are.
      - V(head) applies what is pending up to the last revision that passes only O(allow_classes).
      - V(revision) moves up or down to O(revision).
    type: str
    choices: [info, verified, preview, linted, rehearsed, generated, head, revision]
    default: info
  revision:
    description:
      - An identifier, an unambiguous beginning of one, a branch label, or V(base). Relative forms are refused.
      - Several in the database, separated by commas (one, with a comma at its end), are all that it is to be at. What is
        beside them goes too, such as another branch.
      - With O(state=preview), the SQL up or down to there. With O(state=generated), what the new revision follows.
    type: str
    default: ""
  allow_classes:
    description: Classes that may be passed on the way up.
    type: list
    elements: str
    choices: [expand, data, contract, irreversible, unknown]
    default: [expand]
  allow_downgrades:
    description:
      - Kinds of downgrades that may run. V(clean) gives the schema back and drops nothing, V(lossy) drops or rewrites
        rows, V(noop) does nothing although its upgrade did, V(unknown) could not be read.
    type: list
    elements: str
    choices: [clean, lossy, noop, unknown]
    default: [clean]
  known_revisions:
    description: Revisions of other releases, as in their manifests. Tells ahead and diverged from unknown.
    type: list
    elements: dict
    default: []
  multiple_heads:
    description: Whether a release with several heads is right.
    type: bool
    default: false
  version_table:
    description: The table in which alembic keeps the revision.
    type: str
    default: alembic_version
  version_table_schema:
    description: Its schema. Empty, wherever it is found.
    type: str
    default: ""
  lock_timeout:
    description: Seconds that a statement may wait for a table, with everybody else waiting behind it.
    type: float
    default: 3.0
  lock_attempts:
    description: How often a revision is tried that gets no lock. One that works outside a transaction is tried once.
    type: int
    default: 8
  lock_wait:
    description: Seconds to wait for another run to end.
    type: float
    default: 60.0
  limits:
    description:
      - For O(state=linted). From when on a table is large, C(rows) (1000000) or C(bytes) (1 GiB); at a tenth of that, when it is
        used more than C(per_second) (100) times a second. For how long a session may have had a table before it stands in
        the way, C(blocker_seconds) (3); how long a transaction may be open, C(transaction_seconds) (300); how far replicas may be
        behind, C(replica_seconds) (30), and they and replication slots, C(slot_bytes) (1 GiB).
    type: dict
    default: {}
  data_free:
    description:
      - For O(state=linted), how many bytes are free where the server keeps its data. Negative when that is not known; then a
        revision that writes much is warned of.
    type: int
    default: -1
  scratch:
    description: For O(state=rehearsed), the copy that C(pg_backup) with C(state=cloned) has made.
    type: str
    default: ""
  backup:
    description: For O(state=rehearsed), the label of the backup that the copy is of; for the record.
    type: str
    default: ""
  observe:
    description: Measure in O(state=head) and O(state=revision) what a rehearsal measures, for a comparison.
    type: bool
    default: false
  compare_rows:
    description: For O(state=rehearsed), compare rows as well. They are read once, and again where a revision has changed them.
    type: bool
    default: true
  message:
    description: For O(state=generated), what the new revision does, in a few words.
    type: str
    default: ""
  maintenance_url:
    description:
      - For O(state=generated), the URL of another database of the server, by an account that may create databases. Empty, that
        of O(database_url) in database C(postgres).
    type: str
    default: ""
  fetched:
    description: For O(state=generated), the controller's directory that the new file is brought to.
    type: str
    default: ""
  record:
    description:
      - A file on the host that keeps what rehearsals have found of each revision, for RV(rows) of later runs. A revision whose
        file was changed since counts as not rehearsed.
    type: path
    default: ""
  progress:
    description:
      - A file on the host that tells once a second how far a run is; gone when it has ended. While the task runs, its line is
        shown on the controller now and then, and O(state=info) on the same host finds it in RV(running).
    type: path
    default: ""
  timeout:
    description: Seconds for all revisions. What runs longer is cancelled in the server.
    type: float
    default: 3600.0
"""

EXAMPLES = r"""
- name: See where the database is
  alembic_migrate:
    release_dir: /srv/floyo/current
    database_url: "{{ floyo_database_url }}"
    environment_file: /etc/floyo/backend.env
    run_as: floyo
  register: database

- name: Apply what the running release does not notice
  alembic_migrate:
    release_dir: /srv/floyo/releases/v1.1.0-0a1b2c3d
    database_url: "{{ floyo_database_url }}"
    environment_file: /etc/floyo/backend.env
    run_as: floyo
    state: head

- name: See what is pending and whether production would notice
  alembic_migrate:
    release_dir: /srv/floyo/current
    database_url: "{{ floyo_database_url }}"
    environment_file: /etc/floyo/backend.env
    run_as: floyo
    state: linted
  register: pending

- name: Try it on a copy of the newest backup
  alembic_migrate:
    release_dir: /srv/floyo/current
    database_url: "{{ floyo_database_url }}"
    environment_file: /etc/floyo/backend.env
    run_as: floyo
    state: rehearsed
    scratch: "{{ cloned.clone.database }}" # of pg_backup, state cloned

- name: Take the schema back with the files of the newer release, before the older one is switched to
  alembic_migrate:
    release_dir: /srv/floyo/releases/v2.0.0-4e5f6a7b
    database_url: "{{ floyo_database_url }}"
    environment_file: /etc/floyo/backend.env
    run_as: floyo
    state: revision
    revision: 3f2a9c1b77de
    allow_downgrades: [clean, lossy]
"""

RETURN = r"""
status:
  description: How the database stands to the release. C(unchecked) after V(verified), which asks no database.
  returned: success
  type: str
  sample: behind
  choices: [uninitialised, unstamped, behind, at, ahead, diverged, unknown, no_revisions, unchecked]
current:
  description: Revisions in the database's version table, after the run.
  returned: success, but not with O(state=verified)
  type: list
  elements: str
heads:
  description: Heads of the release.
  returned: success
  type: list
  elements: str
pending:
  description: Revisions of the release that the database does not have. Each with C(revision), C(class), C(summary).
  returned: success, but not with O(state=verified)
  type: list
  elements: dict
plan:
  description: The steps that this run had, or in check mode would have. Like RV(pending), with C(direction).
  returned: success, but not with O(state=verified)
  type: list
  elements: dict
applied:
  description:
    - The steps that were carried out, with C(seconds), C(rehearsed_seconds) as the last rehearsal took, C(attempts) and C(wal),
      the bytes of WAL that the server has written meanwhile, and with O(observe) C(locks), C(rows) and C(rewritten)
      as in RV(rehearsal). Also in the result of a failed run.
  returned: always, but not with O(state=verified)
  type: list
  elements: dict
running:
  description:
    - How far a run on this host is, as O(progress) tells it; empty when there is none. C(revision), C(direction), C(number)
      C(of) how many, C(attempt), C(seconds), C(rehearsed_seconds), C(doing) (C(what), C(table), C(phase), C(done), C(total)), C(rows)
      changed by table, C(wal), C(blockers), the C(estimate) (C(part), C(done), C(total), C(unit), C(rate), C(left)), and all of
      it as C(text).
  returned: O(state=info)
  type: dict
held_back:
  description: Pending revisions that O(state=head) left out, with the C(reason).
  returned: success, but not with O(state=verified)
  type: list
  elements: dict
sql:
  description: The C(sql) of each C(revision). C(renderable) is false, with a C(reason), where it reads rows first.
  returned: O(state=preview)
  type: list
  elements: dict
revisions:
  description: The whole graph, as in a release's manifest.
  returned: O(state=verified)
  type: list
  elements: dict
version_table:
  description: Schema and name of the version table. Empty when there is none.
  returned: success, but not with O(state=verified)
  type: str
rows:
  description:
    - One line for each pending revision. C(revision), C(class), C(what) it does, the C(lock) it takes, the C(rows) it touches,
      C(seconds) at the last rehearsal, the C(downgrade), and after V(linted) the C(verdict).
  returned: success, but not with O(state=verified)
  type: list
  elements: dict
lint:
  description:
    - The C(verdict), V(pass), V(warn) or V(fail), and of each of the C(revisions) its C(verdict), C(findings) (C(result),
      C(found), C(next), C(statement), C(rule), and C(small) where only the size saves it), C(holds) (C(table), C(lock),
      C(work), C(rows), C(bytes)) and C(needs), the bytes that it may write until it ends.
    - C(surroundings) are findings about the database as a whole, with a C(name), V(disk), V(transaction), V(replica), V(slot)
      or V(rights). C(squawk) is empty, or why squawk was not asked; then the verdict is no better than V(warn).
  returned: O(state=linted)
  type: dict
rehearsal:
  description:
    - Of each of the C(revisions) its C(seconds), C(locks) (C(table), C(lock), C(seconds)), C(rows) by table (inserted, updated,
      deleted), C(rewritten) tables, and the C(downgrade) (C(seconds), C(lossless), C(differs), C(error)).
  returned: O(state=rehearsed)
  type: dict
file:
  description: Where the new file belongs in the project; its C(content) beside it. Both are empty when there is nothing new.
  returned: O(state=generated)
  type: str
notes:
  description: What a person should look at in the new file.
  returned: O(state=generated)
  type: list
  elements: str
fetched:
  description: Where the new file is on the controller, or in check mode would be.
  returned: O(state=generated), when O(fetched) is given
  type: str
edited:
  description: Revisions in the database whose file differs from the one that another release of O(known_revisions) has.
  returned: success, but not with O(state=verified)
  type: list
  elements: str
invalid_indexes:
  description: Indexes that a failed concurrent build left.
  returned: success, but not with O(state=verified)
  type: list
  elements: str
alembic:
  description: Version of the release's alembic; C(sqlalchemy) and C(python) beside it.
  returned: success
  type: str
code:
  description: A stable word for why it failed, such as C(MIGRATION_FAILED), C(LOCK_HELD), C(DATABASE_UNKNOWN).
  returned: failure
  type: str
revision:
  description: The revision that failed; with it C(statement), C(sqlstate), C(detail), C(file), C(line), C(blockers).
  returned: failure
  type: str
"""

from typing import TYPE_CHECKING, Any

# Ansible sends what is imported. The helper's text is read and runs in the release's own Python.
from ansible.module_utils.floyo.migrations import helper as _helper  # noqa: F401 (packs the file)
from ansible.module_utils.floyo.migrations.glue import migrate
from ansible.module_utils.floyo.migrations.options import ARGUMENTS
from ansible.module_utils.floyo.module import run

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def work(module: AnsibleModule) -> dict[str, Any]:
    return migrate(module.params, check_mode=module.check_mode)


def main() -> None:
    run(
        work,
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        required_if=[
            ("state", "revision", ["revision"]),
            ("state", "rehearsed", ["scratch"]),
            ("state", "generated", ["message"]),
        ],
    )


if __name__ == "__main__":
    main()
