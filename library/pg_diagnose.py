#!/usr/bin/python
"""Module pg_diagnose: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_diagnose
short_description: Says what ails a PostgreSQL database, with evidence, and ends sessions or analyzes tables when asked to
description:
  - Looks through catalogues and counters only, read-only, with limits of its own. It waits for no lock that a migration
    holds, and reads no row of the application.
  - Each verdict carries what was measured, over how long, how far it can be trusted, and the next command.
  - No value of a statement is shown, and no password that one has set.
  - With O(reserve_url) it still gets in when no connection is free. Without, that nobody gets in is the finding.
attributes:
  check_mode:
    description: Can run in check mode and lists what would be ended or analyzed.
    support: full
  diff_mode:
    description: Shows what was or would be changed.
    support: none
  idempotent:
    description: A second run changes nothing.
    support: full
requirements:
  - psycopg 3 (Debian's package C(python3-psycopg))
  - PostgreSQL 13 or later
options:
  state:
    description:
      - V(info) tells what is there, V(report) judges it too.
      - V(analyzed) makes the statistics of O(tables) anew, unless no row has changed since they were made.
      - V(terminated) cancels statements that run too long, and ends their sessions when that does not help. Never those of
        a backup, a restore or a migration, of replication or of the server itself.
    type: str
    choices: [info, report, analyzed, terminated]
    default: report
  database_url:
    description: The URL of the database, of the server itself and not of a pooler.
    type: str
    required: true
  reserve_url:
    description: The URL to use when no connection is free, of a role that has reserved ones.
    type: str
    default: ""
  reserve_account:
    description: The account of the host by which O(reserve_url) is opened, where the server knows roles by accounts (C(peer)).
    type: str
    default: ""
  statistics_database:
    description: Where the extension C(pg_stat_statements) is, if not in the database itself.
    type: str
    default: postgres
  subset:
    description: What O(state=info) and O(state=report) look at.
    type: list
    elements: str
    choices:
      - connections
      - blocking
      - long_running
      - slow_queries
      - sizes
      - indexes
      - bloat
      - cache_hit
      - wraparound
      - autovacuum
      - sequences
    default:
      - connections
      - blocking
      - long_running
      - slow_queries
      - sizes
      - indexes
      - bloat
      - cache_hit
      - wraparound
      - autovacuum
      - sequences
  window:
    description: Seconds between two looks at statements and blocks. Without, counters are those of their whole life.
    type: float
    default: 0.0
  sample:
    description: An earlier result's C(sample) to compare with, such as that of before a deploy.
    type: dict
    default: {}
  sample_file:
    description: A file that keeps the sample for the next look.
    type: path
    default: ""
  order_by:
    description: Which statements come first.
    type: str
    choices: [mean, total, calls]
    default: total
  most:
    description: How many statements, tables and sequences are told.
    type: int
    default: 20
  measure_bloat:
    description: Measure the five tables that look worst with C(pgstattuple_approx) where it is installed. That reads them.
    type: bool
    default: false
  limits:
    description: Where verdicts warn and fail.
    type: dict
    default: {}
    suboptions:
      connections_warn:
        description: Percent of connections that others than superusers may use.
        type: float
        default: 70.0
      connections_fail:
        description: The same.
        type: float
        default: 90.0
      blocked_warn:
        description: >-
          Seconds for which a session waits for another one; where several wait, for which the transaction is open that they
          wait for, since statements with short timeouts take turns.
        type: float
        default: 5.0
      blocked_fail:
        description: The same.
        type: float
        default: 30.0
      long_after:
        description: Seconds of one statement.
        type: float
        default: 300.0
      idle_after:
        description: Seconds in a transaction without a statement.
        type: float
        default: 60.0
      mean_ms_warn:
        description: Milliseconds of a statement on average.
        type: float
        default: 100.0
      mean_ms_fail:
        description: The same.
        type: float
        default: 1000.0
      min_calls:
        description: With fewer calls there is no verdict on a statement.
        type: float
        default: 10.0
      cache_hit_warn:
        description: Percent of blocks from memory.
        type: float
        default: 99.0
      cache_hit_fail:
        description: The same.
        type: float
        default: 90.0
      wraparound_warn:
        description: Percent of the way to the end of transaction numbers.
        type: float
        default: 25.0
      wraparound_fail:
        description: The same.
        type: float
        default: 50.0
      sequence_warn:
        description: Percent of a sequence's numbers, or of its column's.
        type: float
        default: 70.0
      sequence_fail:
        description: The same.
        type: float
        default: 90.0
      bloat_warn:
        description: Percent of a table that looks empty.
        type: float
        default: 40.0
      bloat_min_mb:
        description: Smaller tables are not judged.
        type: float
        default: 10.0
      unused_days:
        description: Days of counting before an index is called unused.
        type: float
        default: 14.0
      index_min_mb:
        description: Smaller indexes are not called unused.
        type: float
        default: 1.0
      missing_rows:
        description: Smaller tables need no index.
        type: float
        default: 10000.0
  connect_timeout:
    description: Seconds for the login.
    type: float
    default: 5.0
  statement_timeout:
    description: Seconds for one question, or for the C(ANALYZE) of one table.
    type: float
    default: 20.0
  lock_timeout:
    description: Seconds to wait for a lock.
    type: float
    default: 1.0
  tables:
    description: For O(state=analyzed), tables with or without their schema.
    type: list
    elements: str
    default: []
  force:
    description: For O(state=analyzed), also where no row has changed.
    type: bool
    default: false
  lock_wait:
    description: For O(state=analyzed), seconds to wait for a backup, restore or migration to end.
    type: float
    default: 10.0
  after:
    description: For O(state=terminated), seconds after which a statement runs too long.
    type: float
    default: 300.0
  idle:
    description: For O(state=terminated), sessions that keep a transaction open for O(after) and do nothing are ended too.
    type: bool
    default: false
  sessions:
    description:
      - For O(state=terminated), only these, as the list names them (C(6925f3a1.1267), which is C(%c) in the server's log),
        whatever they do and however short.
      - A pid may be another session's by now, so that one alone is ended only when O(after) holds too.
    type: list
    elements: str
    default: []
  grace:
    description: For O(state=terminated), seconds that a cancelled statement has before its session is ended.
    type: float
    default: 10.0
  protect_users:
    description: Roles whose sessions are never ended.
    type: list
    elements: str
    default: []
  protect_applications:
    description: Regular expressions of application names whose sessions are never ended.
    type: list
    elements: str
    default: []
author:
  - Floyo operations
"""

EXAMPLES = r"""
- name: What ails the database
  pg_diagnose:
    database_url: "{{ floyo_database_url }}"
    window: 10

- name: Which statements a release made slower
  pg_diagnose:
    subset: [slow_queries]
    database_url: "{{ floyo_database_url }}"
    sample: "{{ before_the_deploy.sample }}"

- name: Who would be ended
  pg_diagnose:
    state: terminated
    database_url: "{{ floyo_database_url }}"
    after: 300
  check_mode: true

- name: New statistics
  pg_diagnose:
    state: analyzed
    database_url: "{{ floyo_database_url }}"
    tables: [workflows, audit.events]
"""

RETURN = r"""
connected:
  description: Whether there was a connection at all.
  type: bool
  returned: states info and report
by_reserve:
  description: Whether it was a reserved one, since no other was free.
  type: bool
  returned: states info and report
server:
  description: Version, uptime, whether it is a replica, and whether the account sees the sessions of others.
  type: dict
  returned: states info and report, when connected
connections:
  description: C(states), C(clients) by database, role, program and address, and C(room) for all.
  type: dict
  returned: when in O(subset)
blocking:
  description:
    - Those whom others wait for, with those who wait beneath (C(blocks)), as a C(tree), and as C(rows) with a C(depth).
  type: dict
  returned: when in O(subset)
long_running:
  description: Sessions with long statements or open transactions.
  type: list
  elements: dict
  returned: when in O(subset)
slow_queries:
  description: C(statements) without their values, whether of a window (C(windowed)), and how many were C(forgotten).
  type: dict
  returned: when in O(subset)
sizes:
  description: The largest tables; C(exact) is false when somebody held one locked.
  type: dict
  returned: when in O(subset)
indexes:
  description: The indexes that findings name, with their definitions.
  type: dict
  returned: when in O(subset)
bloat:
  description: Estimates (C(method)) of what is empty in the largest tables.
  type: list
  elements: dict
  returned: when in O(subset)
cache_hit:
  description: Blocks from memory and from elsewhere.
  type: dict
  returned: when in O(subset)
wraparound:
  description: Age of the oldest rows, and who keeps them.
  type: dict
  returned: when in O(subset)
autovacuum:
  description: Workers, and the tables with most dead rows.
  type: dict
  returned: when in O(subset)
sequences:
  description: Those nearest to their end, by their own limit or that of their column.
  type: list
  elements: dict
  returned: when in O(subset)
unseen:
  description: Parts of O(subset) that could not be asked; a finding says why.
  type: list
  elements: str
  returned: states info and report
sample:
  description: What O(sample) of a later look wants.
  type: dict
  returned: states info and report, when connected
findings:
  description: Verdicts, the worst first.
  type: list
  elements: dict
  returned: state report
  contains:
    check:
      description: What was judged.
      type: str
    verdict:
      description: C(pass), C(inconclusive), C(warn) or C(fail).
      type: str
    object:
      description: The session, statement, table, index or sequence.
      type: str
    message:
      description: What was found, in words.
      type: str
    value:
      description: What was measured.
      type: raw
    threshold:
      description: Where the limit is.
      type: str
    sample:
      description: Over what it was measured.
      type: str
    confidence:
      description: C(high), C(medium) or C(low).
      type: str
    next_step:
      description: The command to run next.
      type: str
verdict:
  description: The worst of the findings.
  type: str
  returned: state report
tables:
  description: A C(result) for each table (C(analyzed), C(would analyze), C(unchanged), C(skipped), C(failed)), and the reason.
  type: list
  elements: dict
  returned: state analyzed
sessions:
  description:
    - The sessions concerned, each with its C(outcome) (C(would cancel), C(would terminate), C(cancelled), C(terminated),
      C(gone by itself), C(kept), C(refused), C(survived)) and the reason.
  type: list
  elements: dict
  returned: state terminated
"""

from typing import TYPE_CHECKING, Any

from ansible.module_utils.floyo.diagnose.glue import ARGUMENT_SPEC, REQUIRED_IF, diagnose
from ansible.module_utils.floyo.module import run

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def work(module: AnsibleModule) -> dict[str, Any]:
    result = diagnose(module.params, check_mode=module.check_mode)
    for warning in result.pop("warnings"):
        module.warn(warning)
    return result


def main() -> None:
    run(work, argument_spec=ARGUMENT_SPEC, required_if=REQUIRED_IF, supports_check_mode=True)


if __name__ == "__main__":
    main()
