#!/usr/bin/python
"""Module pg_backup: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup
short_description: Takes, verifies, restores, drills and lists backups of a PostgreSQL database
description:
  - A backup is a dump by C(pg_dump) and a manifest that binds it to what it is a copy of. The manifest holds the dump's
    sha256, the alembic revision, a fingerprint of the schema, the exact number of rows of each table in the dump's own
    snapshot, and the digest of the manifest before.
  - A new dump is written under another name, read back from the disk to its last byte and compared with the database's
    tables. Only then it gets its name, and its manifest last. What a killed run left is removed by the next one.
  - One run at a time works on a database, whatever host or controller it comes from. Migrations take the same lock.
  - A restore goes into a new database, which is compared with the manifest before it takes the live one's name. That
    exchange is one transaction in which new connections wait and present ones are ended. Until it is committed the live
    database is as it was, whatever ends the run; after it, the one that was live is kept under another name.
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
  - C(age) for encrypted backups
options:
  state:
    description:
      - V(present) takes a backup and verifies it.
      - V(verified) reads existing ones to the last byte, all or the one in O(label), and fails when one is damaged.
      - V(restored) verifies the one in O(label), backs the live database up, restores into a new database, compares
        rows, values, revision, structure and large objects with the manifest, and exchanges the two.
      - V(imported) does the same with a plain dump of somebody else, O(sql_file), and nothing else ever reads one. The file is
        read to its end before anything is made. It has to be whole and to hold only what C(pg_dump) writes; commands to
        C(psql), statements that reach beyond the database and rows from programs or files are refused with their line. It
        is not given to C(psql), so no such command could be carried out. It goes into a new database in one transaction,
        as the owner, who may be no superuser; owners in the file do not count. Its rows are counted before the exchange.
      - V(swapped_back) makes the database that a restore has replaced the live one again.
      - V(drilled) restores the newest backup, or the one in O(label), into a database with a random name, compares, notes
        how long it took, and drops it. The live database is not touched.
      - V(cloned) does the same and leaves the database there, for a rehearsal of migrations in it.
      - V(swept) drops what V(cloned) has left, now or in a run that was killed, once nobody works in it.
      - V(pruned) removes backups that O(keep) does not ask for, and databases kept longer than O(keep_old). It reads the
        newest sound backup to its last byte first.
      - V(copied) sends the sound ones, or the one in O(label), to O(remote), and reads them there again.
      - V(fetched) brings the one in O(label), or the newest, back from O(remote) when it is missing or damaged here.
      - V(checked) judges age, size, redundancy, soundness, room, the last drill and, with O(database_url), the server's
        identity against O(limits), and fails when one is passed. It changes nothing and reads no dump.
      - V(info) lists them by their manifests without reading the dumps.
    type: str
    choices:
      [present, verified, restored, imported, swapped_back, drilled, cloned, swept, pruned, copied, fetched, checked, info]
    default: present
  database_url:
    description: The URL of the database as the owner of its tables. O(state=verified) and O(state=info) need none.
    type: str
    default: ""
  directory:
    description: Where backups lie. Made with mode 0700 when it is missing.
    type: path
    default: /var/backups/floyo
  label:
    description: One backup. O(state=restored) needs it; a new backup makes its own label.
    type: str
    default: ""
  about:
    description:
      - What the manifest says of the application. C(release), C(version), C(commit) and C(reason) are shown in the list.
      - C(as_of) is the moment of what is in a dump that was taken from a recovered server (module pg_archive). It is then
        C(created) in the list.
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
  format:
    description:
      - V(custom) is one file. V(directory) is a file for each table, written by O(jobs) connections at once.
    type: str
    choices: [custom, directory]
    default: custom
  recipients:
    description:
      - Public keys (C(age1...), C(ssh-ed25519 ...)) to which a new backup is encrypted by C(age) before it reaches the
        disk. The secret key of any of them opens it. Without one, it is not encrypted.
      - What a manifest says (names, numbers of rows, sums of hashes) is not encrypted.
    type: list
    elements: str
    default: []
  identity_file:
    description:
      - A file on the host, of mode 0600, with the secret key of a recipient. To restore or drill an encrypted backup needs
        it. To take one does not; then what is in it is read while it is encrypted, and its bytes are compared afterwards.
      - O(state=verified) compares the bytes of encrypted ones without it, and with it reads what is in them.
    type: path
    default: ""
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
  maintenance_url:
    description:
      - The URL of another database of the server, by an account that may create databases, rename the live one and end its
        sessions. Empty, the owner's account in database C(postgres), which needs C(CREATEDB) and membership in the
        application's role.
    type: str
    default: ""
  expected_heads:
    description:
      - For O(state=restored) and O(state=swapped_back), the alembic revisions that the caller has planned with. Anything
        else is refused.
    type: list
    elements: str
  expected_schema:
    description: For O(state=restored), the fingerprint of the schema that the caller has planned with.
    type: str
    default: ""
  accept_in_place:
    description:
      - Where the account lacks C(CREATEDB), O(state=restored) may work in the live database, in one transaction that is
        compared with the manifest before it is committed. Whatever ends it leaves the database as it was.
      - Meanwhile all who use the database wait, sessions that keep a table are ended, and afterwards only the safety backup
        leads back. O(jobs) above 1 is not possible.
    type: bool
    default: false
  sql_file:
    description:
      - For O(state=imported), the file on the host. Only its owner may be able to change it.
    type: path
    default: ""
  sql_sha256:
    description:
      - For O(state=imported), the file's sha256, as whoever has made it says it. Without it nothing is imported; check mode
        returns it in RV(plan).
    type: str
    default: ""
  safety_backup:
    description: Take a backup of the live database before O(state=restored) replaces it.
    type: bool
    default: true
  safety_directory:
    description: Where that backup goes. Empty, into O(directory).
    type: path
    default: ""
  application_role:
    description:
      - For O(state=restored), a role that gets the rights to read and write rows that role floyo_postgres gives, in place
        of the rights in the backup. For servers where the backup's roles are not.
    type: str
    default: ""
  accept_other_database:
    description: The backup may be of a database of another name.
    type: bool
    default: false
  jobs:
    description:
      - Connections that restore, or write the directory format, at once. V(0) is one for each processor, at most 4.
      - An encrypted backup is restored by one.
    type: int
    default: 0
  swap_wait:
    description: Seconds in which the live database's sessions must have ended.
    type: float
    default: 30.0
  keep_old:
    description: Hours in which a database that a restore has replaced can be swapped back. Afterwards O(state=pruned) drops it.
    type: float
    default: 24.0
  kept_database:
    description: For O(state=swapped_back), the kept database. Empty, the newest that a restore has replaced.
    type: str
    default: ""
  data_directory:
    description:
      - Where the server keeps its data, to see whether a second database fits on the disk. Of no use when the server is on
        another host.
    type: path
    default: /var/lib/postgresql
  keep:
    description:
      - For O(state=pruned), how many sound backups of a database stay. The newest C(last) (7), and the newest of each of
        the C(daily) (7) last days, C(weekly) (5) weeks and C(monthly) (12) months that have one, in UTC.
      - Besides these, the newest sound one stays, the newest drilled one, those in use, damaged ones, and as many suspect
        ones as C(last).
    type: dict
    default: {}
  needed_heads:
    description:
      - For O(state=pruned), alembic revisions of which the newest sound and the newest drilled backup stay. C([all]) means
        every revision that there is a backup of, for whoever does not know which the releases need.
    type: list
    elements: str
    default: []
  pinned:
    description: For O(state=pruned), labels that stay.
    type: list
    elements: str
    default: []
  remove_damaged:
    description: For O(state=pruned), damaged backups go too when a newer sound one is there.
    type: bool
    default: false
  remote:
    description:
      - Another place for copies, as C(name:path) of rclone's configuration. With it O(state=present) also copies the new
        backup there (that this fails is a warning), O(state=pruned) also removes copies by the same rule, O(state=checked)
        asks for the age of the newest copy, and O(state=info) lists what is there.
      - A copy is read from there again and compared by its digest; its manifest, which makes it one, comes last.
    type: str
    default: ""
  rclone_config:
    description: rclone's configuration, of mode 0600. Passwords belong there.
    type: path
    default: /etc/floyo/rclone.conf
  limits:
    description:
      - For O(state=checked). Hours since the newest sound backup, C(age_warn) (26) and C(age_fail) (50); since the last
        drill, C(drill_warn) (192) and C(drill_fail) (0, never); with O(remote), since the newest with a copy,
        C(copy_warn) (26) and C(copy_fail) (50); sound backups, C(redundancy_warn) (3) and
        C(redundancy_fail) (1); bytes of the newest, C(min_size) (0).
    type: dict
    default: {}
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

- name: Restore one
  pg_backup:
    state: restored
    database_url: "{{ floyo_database_url }}"
    directory: "{{ floyo_backup_dir }}"
    label: 20250115T103000Z-3f9a1c
    expected_heads: [a1b2c3d4]

- name: Look at what somebody has made with pg_dump > backup.sql
  pg_backup:
    state: imported
    database_url: "{{ floyo_database_url }}"
    sql_file: /root/backup.sql
  check_mode: true
  register: looked

- name: It was the wrong one
  pg_backup:
    state: swapped_back
    database_url: "{{ floyo_database_url }}"

- name: See whether the newest could be restored
  pg_backup:
    state: drilled
    database_url: "{{ floyo_database_url }}"
    directory: "{{ floyo_backup_dir }}"

- name: Remove what nobody needs any more
  pg_backup:
    state: pruned
    directory: "{{ floyo_backup_dir }}"
    keep: {last: 7, daily: 14, weekly: 8, monthly: 12}
    needed_heads: [a1b2c3d4]

- name: Can we rely on them?
  pg_backup:
    state: checked
    directory: "{{ floyo_backup_dir }}"
    limits: {age_fail: 26, drill_fail: 192}

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
    - For O(state=present) C(database), C(heads), versions of C(server) and C(client), C(compress), and in bytes C(forecast)
      of the dump, C(free) and C(reserve).
    - For O(state=restored) C(backup), C(created), C(database), C(heads), C(rows), about how many rows the live database has
      as C(live_rows), C(server), C(client), C(bytes), the bytes that it C(replaces), the C(seconds) that the last restore
      took, and in words what it C(loses). C(in_place) is there and true when it is to be done in the live database.
    - For O(state=imported) also the C(file), its C(sha256), and how many of its statements are C(passed_over).
  returned: O(state=present), O(state=restored) and O(state=imported)
  type: dict
restored:
  description:
    - C(label), C(database), the name of the C(kept) one, the label of the C(safety_backup), C(heads), C(rows), C(tables),
      C(seconds) and, in C(phases), those of each part. Empty in check mode. After a restore in place nothing is C(kept).
    - For O(state=imported) C(label) is the file's name, with C(file) and C(sha256).
  returned: O(state=restored) and O(state=imported)
  type: dict
swapped_back:
  description:
    - C(database), the name that the now live one came C(from), the name under which the other one is C(kept), C(heads), when
      it was C(live_until), and C(seconds).
  returned: O(state=swapped_back)
  type: dict
removed:
  description: Labels that were, or in check mode would be, removed.
  returned: O(state=pruned)
  type: list
  elements: str
removed_elsewhere:
  description: Labels of copies that were, or in check mode would be, removed.
  returned: O(state=pruned)
  type: list
  elements: str
copied:
  description: Labels that were, or in check mode would be, copied to O(remote).
  returned: O(state=copied), and O(state=present) with O(remote)
  type: list
  elements: str
fetched:
  description: The label that was, or in check mode would be, fetched. Empty when it is sound here.
  returned: O(state=fetched)
  type: str
elsewhere:
  description: The copies, described as in RV(backups). A sound one has a manifest and a dump of the right size.
  returned: O(state=fetched), and O(state=info) with O(remote)
  type: list
  elements: dict
kept:
  description: The others, each with C(label), C(size) and the C(reasons) for which it stays.
  returned: O(state=pruned)
  type: list
  elements: dict
databases:
  description: Databases of earlier restores that were, or in check mode would be, dropped.
  returned: O(state=pruned)
  type: list
  elements: str
verdict:
  description: V(pass), V(warn) or V(fail).
  returned: O(state=checked), also when it fails
  type: str
checks:
  description: Each with C(check), C(result), what was C(found), and what comes C(next).
  returned: O(state=checked), also when it fails
  type: list
  elements: dict
drill:
  description: C(label), C(heads), C(rows), C(tables), whether values were C(hashed), C(seconds), C(phases). Empty in check mode.
  returned: O(state=drilled)
  type: dict
clone:
  description:
    - The C(database) that was made, empty in check mode, the C(label) of the backup, its C(heads), C(rows), C(phases).
  returned: O(state=cloned)
  type: dict
backups:
  description:
    - Newest first. Each with C(label), C(created), C(path), C(size), C(sha256), C(database), C(heads), C(release),
      C(version), C(commit), C(reason), C(sequence), C(rows), C(verified), C(verified_at), C(problem), C(suspect), C(encrypted),
      C(server_version), C(dump_seconds), C(drilled_at), C(drill_problem),
      C(copied_at), C(copied_to) and C(seconds) of a restore.
    - C(verified) is false where C(problem) says why. C(suspect) says why a sound one looks wrong.
    - C(seconds) is null until a restore or a drill has measured it.
  returned: when it does not fail, but not for O(state=swapped_back) and O(state=swept); when O(state=verified) fails
  type: list
  elements: dict
running:
  description: Backups that are being made on this host, with C(label), C(phase), C(bytes), C(forecast), C(since), the
    C(rate) in bytes a second, and the seconds C(left) as far as the last run of the kind tells.
  returned: O(state=info)
  type: list
  elements: dict
swept:
  description: Files, or databases, of killed runs that were, or in check mode would be, removed.
  returned: O(state=present), O(state=restored), O(state=imported), O(state=drilled), O(state=cloned), O(state=swept) and
    O(state=pruned)
  type: list
  elements: str
freed:
  description: Their bytes, or those of the removed backups, which a run has and check mode would have given back.
  returned: O(state=present) and O(state=pruned)
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
    "state": {
        "type": "str",
        "choices": [
            "present",
            "verified",
            "restored",
            "imported",
            "swapped_back",
            "drilled",
            "cloned",
            "swept",
            "pruned",
            "copied",
            "fetched",
            "checked",
            "info",
        ],
        "default": "present",
    },
    "database_url": {"type": "str", "default": "", "no_log": True},
    "directory": {"type": "path", "default": "/var/backups/floyo"},
    "label": {"type": "str", "default": ""},
    "about": {"type": "dict", "default": {}},
    "version_table": {"type": "str", "default": "alembic_version"},
    "compress": {"type": "str", "default": "auto"},
    "format": {"type": "str", "choices": ["custom", "directory"], "default": "custom"},
    "recipients": {"type": "list", "elements": "str", "default": []},
    "identity_file": {"type": "path", "default": ""},
    "min_free": {"type": "str", "default": "5%"},
    "accept_shrink": {"type": "bool", "default": False},
    "lock_wait": {"type": "float", "default": 60.0},
    "lock_timeout": {"type": "float", "default": 10.0},
    "timeout": {"type": "float", "default": 3600.0},
    "bin_dir": {"type": "path", "default": ""},
    "maintenance_url": {"type": "str", "default": "", "no_log": True},
    "expected_heads": {"type": "list", "elements": "str"},
    "expected_schema": {"type": "str", "default": ""},
    "accept_in_place": {"type": "bool", "default": False},
    "sql_file": {"type": "path", "default": ""},
    "sql_sha256": {"type": "str", "default": ""},
    "safety_backup": {"type": "bool", "default": True},
    "safety_directory": {"type": "path", "default": ""},
    "application_role": {"type": "str", "default": ""},
    "accept_other_database": {"type": "bool", "default": False},
    "jobs": {"type": "int", "default": 0},
    "swap_wait": {"type": "float", "default": 30.0},
    "keep_old": {"type": "float", "default": 24.0},
    "kept_database": {"type": "str", "default": ""},
    "data_directory": {"type": "path", "default": "/var/lib/postgresql"},
    "keep": {"type": "dict", "default": {}},
    "needed_heads": {"type": "list", "elements": "str", "default": []},
    "pinned": {"type": "list", "elements": "str", "default": []},
    "remove_damaged": {"type": "bool", "default": False},
    "remote": {"type": "str", "default": ""},
    "rclone_config": {"type": "path", "default": "/etc/floyo/rclone.conf"},
    "limits": {"type": "dict", "default": {}},
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
