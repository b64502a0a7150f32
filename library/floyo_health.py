#!/usr/bin/python
"""Module floyo_health: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: floyo_health
short_description: Asks the application's health endpoints and gives one verdict
description:
  - Asks all endpoints at the same time, judges the body of each answer and not only its status, and maps the result to
    the severity levels of the runbook.
  - The requests go out from the host that runs the task. They follow no redirect and use no proxy of the environment.
  - An endpoint is as well as the worst that its body says. C(status) and the entries of C(checks) are read, whose
    values may be words or objects with C(status), C(state), C(healthy) or C(ok).
  - C(200) with a body that names a failed dependency is unhealthy. C(503) is unhealthy whatever its body says.
attributes:
  check_mode:
    description: Can run in check mode and then asks as always, since it changes nothing.
    support: full
  diff_mode:
    description: Shows what was or would be changed.
    support: none
    details: Nothing is changed.
  idempotent:
    description: A second run changes nothing.
    support: full
requirements:
  - python3-requests on the host that runs the task
options:
  base_url:
    description: Where the application listens, without a path and without a user and password.
    type: str
    default: http://127.0.0.1:8000
  checks:
    description: What to ask. Left out, everything that has an address.
    type: list
    elements: str
    choices: [health, readiness, detailed, liveness, migrations, frontend]
  paths:
    description:
      - Paths under O(base_url), or whole addresses.
      - An empty path says that the application does not have the endpoint.
    type: dict
    default: {}
    suboptions:
      health:
        description: Says that the process answers, and which release it is.
        type: str
        default: /health
      readiness:
        description: Says that the application can serve, dependencies included.
        type: str
        default: /health/readiness
      detailed:
        description: Names each dependency and how it is.
        type: str
        default: /health/detailed
      liveness:
        description: Says that the process is not stuck.
        type: str
        default: /health/liveness
      migrations:
        description: Says whether the database is at the release's revision.
        type: str
        default: /health/migrations
  frontend_url:
    description: The whole address of the frontend's health endpoint. Empty when there is none.
    type: str
    default: ""
  optional:
    description:
      - Checks that a release may not offer.
      - C(404) is then no fault, as long as another endpoint shows that the application answers.
      - An optional endpoint that answers badly degrades the verdict and no more.
    type: list
    elements: str
    choices: [health, readiness, detailed, liveness, migrations, frontend]
    default: [liveness, migrations]
  expect:
    description:
      - Fields of the body of check V(health) and what they must hold, such as C(version).
      - C(build.release) is a field in an object.
      - A list names several values that are right.
    type: dict
    default: {}
  timeout:
    description: Seconds that a whole request may take, from the name look-up to the last byte.
    type: float
    default: 5.0
  wait:
    description:
      - Ask again, with growing pauses, until the verdict would not fail the task.
      - With O(fail_on=never), until it is healthy.
    type: bool
    default: false
  deadline:
    description: Seconds that O(wait) may take in all.
    type: float
    default: 60.0
  fail_on:
    description: The mildest verdict that fails the task.
    type: str
    choices: [unhealthy, degraded, never]
    default: unhealthy
  max_bytes:
    description: The largest body that is read.
    type: int
    default: 1048576
  validate_certs:
    description: Whether the certificate of an C(https) address must be valid.
    type: bool
    default: true
  ca_path:
    description: A file or directory with the certificate authorities to trust. Empty, the system's.
    type: path
    default: ""
  token:
    description: Bearer token, for endpoints that ask for one.
    type: str
    default: ""
  headers:
    description:
      - More request headers, such as C(Host) for an application that answers only to its public name.
      - Not for secrets, since they are shown with the task's arguments.
    type: dict
    default: {}
  status_field:
    description: The field of a body that holds the status.
    type: str
    default: status
  checks_field:
    description: The field of a body that holds the dependencies.
    type: str
    default: checks
  status_words:
    description: Words that the application uses, beside the known ones or with another meaning than theirs.
    type: dict
    default: {}
    suboptions:
      healthy:
        description: Words for all is well.
        type: list
        elements: str
        default: []
      degraded:
        description: Words for it works, with a fault. A word without a known meaning counts here.
        type: list
        elements: str
        default: []
      unhealthy:
        description: Words for it does not work.
        type: list
        elements: str
        default: []
  severities:
    description: The severity of each cause. The worst cause gives the severity of the result.
    type: dict
    default: {}
    suboptions:
      down:
        description:
          - Check V(health) fails, or, when it is not asked, the application answers on none of the backend's endpoints.
          - Every other failed check of the backend then has this cause too.
        type: str
        choices: [P0, P1, P2, P3]
        default: P0
      dependency:
        description: The process answers, and readiness or a dependency fails.
        type: str
        choices: [P0, P1, P2, P3]
        default: P1
      release:
        description: The process answers, and O(expect) does not hold.
        type: str
        choices: [P0, P1, P2, P3]
        default: P1
      frontend:
        description: The frontend fails.
        type: str
        choices: [P0, P1, P2, P3]
        default: P1
      degraded:
        description: Something warns and still works.
        type: str
        choices: [P0, P1, P2, P3]
        default: P2
      optional:
        description: An optional endpoint answers badly.
        type: str
        choices: [P0, P1, P2, P3]
        default: P3
  return_bodies:
    description: Whether each check of the result carries the body as C(body).
    type: bool
    default: false
author:
  - Floyo operations
"""

EXAMPLES = r"""
- name: The application on this host is healthy
  floyo_health:

- name: The new release is up and is the one that was meant
  floyo_health:
    checks: [health, readiness]
    expect:
      version: v1.1.0
    wait: true
    deadline: 60

- name: All endpoints through the proxy, for a report that comes later
  floyo_health:
    base_url: https://floyo.example
    ca_path: /etc/ssl/certs/company.pem
    frontend_url: https://app.floyo.example/api/health
    fail_on: never
  delegate_to: localhost
  register: floyo_health_result
"""

RETURN = r"""
verdict:
  description: One of C(healthy), C(degraded), C(unhealthy).
  type: str
  returned: always
severity:
  description: C(none), or C(P0) to C(P3).
  type: str
  returned: always
summary:
  description: One sentence for people.
  type: str
  returned: always
  sample: "unhealthy: 2 of 3 checks are healthy (P1); readiness UNHEALTHY: answers 503: Service not ready"
causes:
  description: The cause of each check that is not healthy, a key of O(severities).
  type: dict
  returned: always
  sample: {readiness: dependency}
checks:
  description: One entry for each endpoint, in the order asked.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: The name of the check.
      type: str
    url:
      description: The address, without user, password and query.
      type: str
    ok:
      description: Whether it is not unhealthy.
      type: bool
    level:
      description: C(healthy), C(degraded) or C(unhealthy).
      type: str
    status:
      description: The HTTP status, null when there was none.
      type: int
    latency_ms:
      description: Milliseconds until the last byte, or until the failure.
      type: float
    reason:
      description:
        - C(OK), or C(NOT_OFFERED) for an optional endpoint that the release does not have.
        - Said by the body - C(DEGRADED), C(UNHEALTHY), C(WRONG_RELEASE), C(UNKNOWN_STATUS), C(NO_STATUS).
        - Said by the status - C(STATUS), C(REDIRECTED), C(UNAUTHORIZED), C(FORBIDDEN), C(RATE_LIMITED).
        - Wrong with the answer - C(NOT_JSON), C(NOT_HTTP), C(TRUNCATED), C(TOO_LARGE), C(SLOW).
        - No answer - C(REFUSED), C(DNS), C(UNREACHABLE), C(TIMEOUT), C(CLOSED), C(RESET), C(TLS), C(FAILED).
      type: str
    message:
      description: The reason in words.
      type: str
    next_step:
      description: Where to look next.
      type: str
    components:
      description: The dependencies that the body names, each with C(name), C(level), C(word) and C(message).
      type: list
      elements: dict
    body:
      description: The body, when O(return_bodies) is true and there was one.
      type: dict
rounds:
  description: How often everything was asked.
  type: int
  returned: always
seconds:
  description: How long it took in all.
  type: float
  returned: always
"""

from typing import TYPE_CHECKING, Any

from ansible.module_utils.floyo.health.glue import ARGUMENT_SPEC, check_health
from ansible.module_utils.floyo.module import run

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def work(module: AnsibleModule) -> dict[str, Any]:
    return check_health(module.params)


def main() -> None:
    run(work, argument_spec=ARGUMENT_SPEC, supports_check_mode=True)


if __name__ == "__main__":
    main()
