#!/usr/bin/python
"""Module floyo_lease: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: floyo_lease
short_description: Lets one deploy at a time go on, with a fencing token for the hosts
description:
  - The lease is a file on one host. It has a holder, a reason, an expiry and a token that only ever rises.
  - A holder that died frees it by the expiry, at the latest. A run of the same machine whose process is gone is noticed
    at once. Whoever is taken over is recorded.
  - The token goes to the hosts with every switch. They refuse one that is lower than what they have seen, so a run that
    lost the lease cannot change anything any more.
  - How long it has been held is measured by the host's time since boot. Setting its clock neither frees nor keeps it.
attributes:
  check_mode:
    description: Can run in check mode and predicts what a run would do.
    support: full
  diff_mode:
    description: Shows what was or would be changed.
    support: none
    details: The result tells who holds it.
  idempotent:
    description: A second run changes nothing.
    support: partial
    details: >-
      Renewing moves the expiry each time and says so. Taking what the same holder has already moves it too, and counts
      as no change.
options:
  state:
    description:
      - V(acquired) takes it, V(renewed) moves the expiry, V(released) gives it back, V(info) reads.
    type: str
    choices: [acquired, renewed, released, info]
    default: info
  state_dir:
    description: The directory on the host that holds it.
    type: path
    default: /var/lib/floyo
  holder:
    description:
      - Who takes it, told apart from every other run. The action plugin fills in the account, the machine and the
        process of the command.
    type: str
  reason:
    description: Why, for those who find it taken.
    type: str
    default: ""
  ttl:
    description: Seconds after which it is free when nobody renews it.
    type: float
    default: 1800.0
  token:
    description: What V(acquired) returned. Needed by V(renewed) and V(released).
    type: int
  minimum_token:
    description: The highest token that a host of the fleet has seen. The new one is higher.
    type: int
    default: 0
  takeover:
    description: Take it from whoever holds it. C(lease.jsonl) in O(state_dir) records who lost it to whom.
    type: bool
    default: false
  takeover_from:
    description:
      - Take it from this holder, and from nobody who came later. An account and a machine, as in V(anna@laptop), or the
        whole name of a run.
    type: str
    default: ""
  takeover_token:
    description:
      - Take it from the holder of this token, and from nobody who came later.
      - The action plugin uses it for a run that died, so that two others who both see that do not take it from each other.
    type: int
  wait:
    description: Seconds to wait for somebody else's. In check mode nobody waits.
    type: float
    default: 0.0
author: floyo-ops
"""

EXAMPLES = r"""
- name: Take the lease
  floyo_lease:
    state: acquired
    reason: deploy v1.4.0
  delegate_to: backend1
  run_once: true
  register: lease

- name: Give it back
  floyo_lease:
    state: released
    token: "{{ lease.token }}"
  delegate_to: backend1
  run_once: true
"""

RETURN = r"""
held:
  description: Whether somebody holds it.
  returned: success
  type: bool
token:
  description: The newest token.
  returned: always, but not when the file is damaged
  type: int
holder:
  description: Who holds it, empty when nobody does.
  returned: always, but not when the file is damaged
  type: str
reason:
  description: Why.
  returned: success
  type: str
since:
  description: When it was taken, seconds of the epoch on the host's clock; 0 when nobody holds it.
  returned: success
  type: float
expires:
  description: When it is free at the latest, seconds of the epoch on the host's clock; 0 when nobody holds it.
  returned: success
  type: float
taken_from:
  description: >-
    Who was taken over by the one who holds it, because its time was up or because it was asked for. Empty when it was given back
    before.
  returned: success
  type: str
state_dir:
  description: Where it is; callback C(floyo_lease) gives it back there when a run ends early.
  returned: always, through the action plugin
  type: str
msg:
  description: For V(released), why nothing was given back; empty when it was.
  returned: success with O(state=released), and failure
  type: str
code:
  description: >-
    A stable word for why it failed. C(LEASE_HELD), C(LEASE_LOST), C(LEASE_DAMAGED), C(LEASE_BUSY),
    C(LEASE_UNWRITABLE), C(STATE_DIR_MISSING), C(HOLDER_MISSING), C(TTL_UNUSABLE).
  returned: failure
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible.module_utils.floyo.lease import NEEDED, SPEC, act
from ansible.module_utils.floyo.module import run


def work(module: AnsibleModule) -> dict[str, Any]:
    return act(module.params["state"], module.params, check=module.check_mode)


def main() -> None:
    run(
        work,
        argument_spec=SPEC,
        required_if=[("state", "acquired", ["holder"]), *NEEDED],
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
