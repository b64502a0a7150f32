#!/usr/bin/python
"""Module floyo_slo: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: floyo_slo
short_description: Measures service levels and says whether they are met
description:
  - Asks the application's monitoring endpoints, HAProxy's counters, the log and the database's statistics, as wanted, and
    judges this host alone. Several hosts together are judged by the filter C(floyo_slo_findings) over their results.
  - Nothing passes on too few samples; it is C(inconclusive) then. Rates are judged by their 95 % interval.
  - What is counted is added over endpoints and hosts. Percentiles are not averaged. Whether 95 % of all requests are under a
    limit follows from the points that each endpoint tells; the percentile itself is given as exact or as bounds.
  - Several looks give windows of counters. With O(memory) the time since the last run is a window, too. Counters that
    began again are noticed.
  - Figures that contradict each other are not believed.
attributes:
  check_mode:
    description: Can run in check mode; it then asks as always and does not write O(memory).
    support: full
  diff_mode:
    description: Shows what was or would be changed.
    support: none
    details: Nothing is changed.
  idempotent:
    description: A second run changes nothing.
    support: full
requirements:
  - python3-requests for V(latency), V(pool) and V(cache); python3-psycopg for V(queries)
options:
  base_url:
    description: Where the application listens.
    type: str
    default: http://127.0.0.1:8000
  want:
    description:
      - What to measure. V(proxy) reads HAProxy's socket on this host.
      - V(log) counts requests where the log tells every one of them; it is used for what nobody else measures.
      - V(queries) asks C(pg_stat_statements).
    type: list
    elements: str
    choices: [latency, pool, cache, proxy, log, queries]
    default: [latency, pool, cache]
  paths:
    description: Paths to try, the next one when one answers C(404). Left out, the runbook's form and then the application's.
    type: dict
    default: {}
    suboptions:
      performance:
        description: Latencies of each endpoint.
        type: list
        elements: str
      cache:
        description: Hits and misses of the cache.
        type: list
        elements: str
      pool:
        description: The database pool.
        type: list
        elements: str
  token:
    description: Bearer token of an administrator.
    type: str
    default: ""
  timeout:
    description: Seconds that a request may take.
    type: float
    default: 5.0
  max_bytes:
    description: The largest answer that is read.
    type: int
    default: 8388608
  ignore:
    description: Endpoints that are no users' requests, as a regular expression over C(METHOD:/path).
    type: str
    default: ':/(?:health\b|api/(?:v\d+/)?(?:health|monitoring)\b|docs\b|openapi\.json|metrics\b)'
  looks:
    description: How often to look.
    type: int
    default: 3
  pause:
    description: Seconds between two looks.
    type: float
    default: 1.0
  memory:
    description: A file that keeps the counters for the next run. Empty, none.
    type: path
    default: ""
  haproxy_socket:
    description: HAProxy's socket.
    type: path
    default: /run/haproxy/admin.sock
  frontend:
    description: The frontend that users come through.
    type: str
    default: floyo_https
  log:
    description: The log.
    type: path
    default: /var/log/floyo/app.log
  log_seconds:
    description: How far back the log is read.
    type: int
    default: 3600
  database_url:
    description: The database whose statistics are asked.
    type: str
    default: ""
  database_role:
    description: Only statements of this role, such as the application's. Empty, of all.
    type: str
    default: ""
  statistics_database:
    description: Where the extension is, when the application's database does not have it.
    type: str
    default: postgres
  targets:
    description: What must hold.
    type: dict
    default: {}
    suboptions:
      p95_ms: {description: The 95th percentile is below., type: float, default: 200}
      p99_ms: {description: The 99th percentile is below., type: float, default: 500}
      mean_ms: {description: The mean is below., type: float, default: 100}
      errors_percent: {description: Answers of 4xx and 5xx are less., type: float, default: 0.1}
      server_errors_percent: {description: Answers of 5xx are less., type: float, default: 0.01}
      pool_percent: {description: Less of the pool is in use., type: float, default: 80}
      query_p95_ms: {description: 95 % of the queries are below., type: float, default: 100}
      cache_hits_percent: {description: More of the look-ups hit., type: float, default: 80}
  fail_on:
    description: The mildest verdict that fails the task.
    type: str
    choices: [never, fail, inconclusive]
    default: never
author:
  - Floyo operations
"""

EXAMPLES = r"""
- name: Measure this host
  floyo_slo:
    token: "{{ floyo_admin_token }}"
    memory: /var/lib/floyo/looks.json
  register: slo_result

- name: Measure what the proxy saw
  floyo_slo:
    want: [proxy]
    memory: /var/lib/floyo/looks.json
"""

RETURN = r"""
verdict:
  description: The worst of the findings, one of C(pass), C(inconclusive), C(warn), C(fail).
  type: str
  returned: always
findings:
  description:
    - The worst first, each with C(check), C(verdict), C(message), C(value), C(threshold), C(sample), C(confidence),
      C(next_step).
  type: list
  elements: dict
  returned: always
measures:
  description: What was measured, by kind.
  type: dict
  returned: always
problems:
  description:
    - What could not be measured, each with C(measure), C(code), C(message), C(next_step).
    - Codes are C(UNAUTHORIZED), C(FORBIDDEN), C(NOT_FOUND), C(RATE_LIMITED), C(REDIRECTED), C(STATUS), C(NOT_JSON),
      C(TIMEOUT), C(SLOW), C(TOO_LARGE), C(REFUSED), C(IMPLAUSIBLE) and the others of module floyo_health.
  type: list
  elements: dict
  returned: always
restarted:
  description: Measures whose counters began again since the last look.
  type: list
  elements: str
  returned: always
seconds:
  description: How long it took.
  type: float
  returned: always
"""

from typing import TYPE_CHECKING, Any

from ansible.module_utils.floyo.module import run
from ansible.module_utils.floyo.slo.glue import ARGUMENT_SPEC, measure

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def work(module: AnsibleModule) -> dict[str, Any]:
    return measure(module.params, check=module.check_mode)


def main() -> None:
    run(work, argument_spec=ARGUMENT_SPEC, supports_check_mode=True)


if __name__ == "__main__":
    main()
