#!/usr/bin/python
"""Module redis_cache: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_cache
short_description: Looks at a Redis cache, judges it, and removes what is cache and nothing else
description:
  - Works on the database of the URL only. C(FLUSHALL) and C(CONFIG RESETSTAT) are never sent.
  - Before keys go every key that would go is looked at. Queues, sessions, locks, rate limits, and keys of an unknown
    kind that never expire, are no cache. The task is refused until they are allowed by name.
  - Asks in small steps, so that the server is never held up, however many keys there are.
  - On a replica the keys go on its primary. In a cluster every primary is asked.
attributes:
  check_mode:
    description: Can run in check mode and says what would go.
    support: full
    details: Is refused where a run would be refused.
  diff_mode:
    description: Shows what was or would be changed.
    support: none
  idempotent:
    description: A second run changes nothing.
    support: full
requirements:
  - redis-py (Debian's package C(python3-redis))
  - Redis 6.0 or later, or a server that speaks like it
options:
  state:
    description:
      - V(ping) asks for a sign of life. It needs no other right than C(PING).
      - V(info) says what the server is, what it holds and how it is saved.
      - V(stats) judges hit rate, evictions, memory, keys without an expiry, connections, saving and replication.
      - V(flushed) empties the database of the URL.
      - V(prefix_deleted) removes the keys whose names begin with O(prefix), in batches.
      - V(put_back) brings the keys of O(copy_to) back that are not there now.
    type: str
    choices: [ping, info, stats, flushed, prefix_deleted, put_back]
    default: ping
  url:
    description:
      - C(redis://), C(rediss://) or C(unix://), with user, password and the number of the database, as the application has
        it.
    type: str
    required: true
  timeout:
    description: Seconds that one answer may take.
    type: float
    default: 10.0
  deadline:
    description: Seconds for all keys of O(state=flushed) and O(state=prefix_deleted). Run again, the latter goes on.
    type: float
    default: 600.0
  validate_certs:
    description: Whether the certificate of a C(rediss://) server must be valid. C(ssl_cert_reqs=none) in the URL says no too.
    type: bool
    default: true
  ca_path:
    description: A file with the certificate authorities to trust. Empty, the system's.
    type: path
    default: ""
  window:
    description:
      - For O(state=stats), seconds between two looks. The counters of Redis are those of its whole life, and only the
        difference says how it is now.
    type: float
    default: 0.0
  sample:
    description: For O(state=stats) without O(window), an earlier result's C(sample) to compare with.
    type: dict
    default: {}
  sample_file:
    description: For O(state=stats), a file that keeps the sample for the next look. Compared with when there is no other.
    type: path
    default: ""
  looked_at:
    description: For O(state=stats), how many keys are looked at to tell names and sizes. 0 looks at none.
    type: int
    default: 2000
  limits:
    description: Where O(state=stats) warns and fails.
    type: dict
    default: {}
    suboptions:
      hit_rate_warn:
        description: Percent of lookups that should be answered.
        type: float
        default: 80.0
      hit_rate_fail:
        description: Below it the cache does not work as one.
        type: float
        default: 50.0
      min_lookups:
        description: With fewer there is no verdict.
        type: float
        default: 100.0
      memory_warn:
        description: Percent of C(maxmemory), where nothing is evicted.
        type: float
        default: 80.0
      memory_fail:
        description: Percent of C(maxmemory), where nothing is evicted.
        type: float
        default: 95.0
      without_ttl_warn:
        description: Percent of keys that never expire, where the policy does not evict them.
        type: float
        default: 10.0
  confirm_database:
    description: For O(state=flushed), the number of the URL's database once more.
    type: int
  prefix:
    description: For O(state=prefix_deleted), how the names begin. Special characters mean themselves.
    type: str
  cache_prefixes:
    description: Names that begin so are cache, whatever else is said of them.
    type: list
    elements: str
    default: ["cache:"]
  patterns:
    description:
      - More names of V(queues), V(sessions), V(locks) and V(limits), as lists of shell patterns.
    type: dict
    default: {}
  allow:
    description:
      - What may go although it is no cache. V(lasting) are keys of an unknown kind without an expiry.
    type: list
    elements: str
    choices: [queues, sessions, locks, limits, lasting]
    default: []
  batch:
    description: Keys in one step, at most 5000.
    type: int
    default: 250
  pause:
    description: For O(state=prefix_deleted), seconds between two steps, so that the cache gets cold slowly.
    type: float
    default: 0.0
  copy_to:
    description:
      - A file on the host that gets a copy of what is no cache before it goes, for O(state=put_back). Mode 0600.
      - O(state=put_back) needs the right to C(RESTORE).
    type: path
    default: ""
author:
  - Floyo operations
"""

EXAMPLES = r"""
- name: The cache answers
  redis_cache:
    url: "{{ floyo_env_secrets.REDIS_URL }}"

- name: Hit rate of the last ten seconds
  redis_cache:
    state: stats
    url: "{{ floyo_env_secrets.REDIS_URL }}"
    window: 10

- name: Pages of one kind are made anew
  redis_cache:
    state: prefix_deleted
    url: "{{ floyo_env_secrets.REDIS_URL }}"
    prefix: "cache:pages:"

- name: Everything goes, rate limits too
  redis_cache:
    state: flushed
    url: "{{ floyo_env_secrets.REDIS_URL }}"
    confirm_database: 0
    allow: [limits]
"""

RETURN = r"""
server:
  description: Where it is and who asks, without the password.
  type: str
  returned: states ping, info and stats
latency_ms:
  description: The shortest of three round trips.
  type: float
  returned: state ping
version:
  description: The server's version; empty when the account may not ask.
  type: str
  returned: states ping, info and stats
role:
  description: C(primary) or C(replica).
  type: str
  returned: states ping, info and stats
databases:
  description: Keys of each database, and those that never expire.
  type: dict
  returned: states ping, info and stats
persistence:
  description: Whether and when it was saved. With AOF or a later save, what is deleted is gone for good.
  type: dict
  returned: all states but put_back
lifetime:
  description: Counters since the start. The hit rate is null when there were too few lookups.
  type: dict
  returned: state stats
window:
  description: The same between two looks, how they came about (C(source)), and whether the server was C(restarted).
  type: dict
  returned: state stats
sample:
  description: What O(sample) of a later look wants.
  type: dict
  returned: state stats
names:
  description: Share, expiry and mean size of keys by the first word of their names, from those looked at.
  type: list
  elements: dict
  returned: state stats
findings:
  description: Verdicts, the worst first.
  type: list
  elements: dict
  returned: state stats
  contains:
    check:
      description: What was judged.
      type: str
    verdict:
      description: C(pass), C(inconclusive), C(warn) or C(fail).
      type: str
    object:
      description: The server.
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
      description: The command that is safe to run next.
      type: str
verdict:
  description: The worst of the findings.
  type: str
  returned: state stats
before:
  description: Keys that were there to go.
  type: int
  returned: states flushed and prefix_deleted
removed:
  description: Keys that went.
  type: int
  returned: states flushed and prefix_deleted
kinds:
  description: What the keys are, and the first words of the names of those that are no cache. Never a whole name.
  type: dict
  returned: states flushed and prefix_deleted
nodes:
  description: The same for each server that was worked on.
  type: list
  elements: dict
  returned: states flushed and prefix_deleted
passed:
  description: Replicas that led to the primary.
  type: list
  elements: str
  returned: states flushed and prefix_deleted
copied:
  description: Keys that are in O(copy_to).
  type: int
  returned: states flushed and prefix_deleted
put_back:
  description: Keys that came back.
  type: int
  returned: state put_back
reason:
  description:
    - Why it failed, in one word.
    - No answer - C(REFUSED), C(DNS), C(UNREACHABLE), C(TIMEOUT), C(NO_SOCKET), C(SOCKET_DENIED), C(CLOSED), C(TLS),
      C(NOT_REDIS), C(LOADING), C(BUSY), C(MAX_CLIENTS), C(PROTECTED), C(PRIMARY_DOWN), C(CLUSTER_DOWN).
    - No right - C(NOAUTH), C(WRONGPASS), C(PASSWORD_NOT_WANTED), C(NOPERM), C(UNKNOWN_COMMAND), C(READONLY), C(NO_DATABASE).
    - Not carried out - C(HOLDS_OTHERS), C(NOT_CONFIRMED), C(PREFIX_EMPTY), C(DEADLINE), C(MOVED), C(DISK), C(MEMORY).
    - C(URL), C(DRIVER), C(COPY), C(NO_PRIMARY), C(FAILED).
  type: str
  returned: failure
"""

from typing import TYPE_CHECKING, Any

from ansible.module_utils.floyo.cache.glue import ARGUMENT_SPEC, REQUIRED_IF, cache
from ansible.module_utils.floyo.module import run

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def work(module: AnsibleModule) -> dict[str, Any]:
    result = cache(module.params, check_mode=module.check_mode)
    for warning in result.pop("warnings"):
        module.warn(warning)
    return result


def main() -> None:
    run(work, argument_spec=ARGUMENT_SPEC, required_if=REQUIRED_IF, supports_check_mode=True)


if __name__ == "__main__":
    main()
