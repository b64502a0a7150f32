"""One deploy at a time: a lease with an expiry and a fencing token, in one file on one host (standard library only).

Time is the lease host's own. The token only ever rises, also over releases and expiries: hosts refuse what is older.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from .errors import Refused, Unusable
from .files import read_json, write_json

__all__ = ["Lease", "acquire", "info", "release", "renew"]

POLL = 0.5
_FREE: dict[str, Any] = {
    "token": 0,
    "holder": "",
    "reason": "",
    "since": 0.0,
    "expires": 0.0,
    "boot": "",
    "taken_from": "",
}


class Lease:
    """The file and its clock."""

    def __init__(self, state_dir: str, *, clock: Callable[[], float] = time.time, boot: Optional[str] = None) -> None:
        self.path = os.path.join(state_dir, "lease.json")
        self.guard = os.path.join(state_dir, "lease.lock")
        self.clock = clock
        self.boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip() if boot is None else boot

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Read and write as one step. The lock file stays: removing it would let two holders in."""
        try:
            stream = open(self.guard, "a", encoding="utf-8")  # noqa: SIM115 - closed by the with below
        except FileNotFoundError as error:
            raise Unusable(
                f"{os.path.dirname(self.guard)} does not exist on this host",
                code="STATE_DIR_MISSING",
                expected="the state directory of a provisioned host",
                next_step="playbooks/provision.yml",
            ) from error
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def read(self) -> dict[str, Any]:
        try:
            found = read_json(self.path, default={})
            state = {**_FREE, **found}
            state["token"], state["expires"] = int(state["token"]), float(state["expires"])
        except (ValueError, TypeError) as error:
            raise Unusable(
                f"{self.path} is damaged ({type(error).__name__})",
                code="LEASE_DAMAGED",
                expected="the JSON object that this module writes",
                next_step="see that no deploy runs, then remove the file: the next token comes from the hosts' own fences",
            ) from error
        return state

    def held(self, state: Mapping[str, Any]) -> bool:
        """A holder that is neither expired nor from a clock that was set back by more than the lease was for."""
        now = self.clock()
        return bool(state["holder"]) and state["since"] - 1 <= now < state["expires"]

    def write(self, state: Mapping[str, Any]) -> None:
        write_json(self.path, dict(state), mode=0o644)


def _shown(lease: Lease, state: Mapping[str, Any], *, changed: bool) -> dict[str, Any]:
    keys = ("token", "holder", "reason", "since", "expires", "taken_from")
    return {"changed": changed, "held": lease.held(state), **{key: state[key] for key in keys}}


def info(lease: Lease) -> dict[str, Any]:
    """``held, token, holder, reason, since, expires, taken_from``; times are seconds of the epoch."""
    with lease.locked():
        return _shown(lease, lease.read(), changed=False)


def acquire(
    lease: Lease,
    *,
    holder: str,
    reason: str,
    ttl: float,
    minimum_token: int,
    takeover: bool,
    wait: float,
    check: bool,
) -> dict[str, Any]:
    """Take the lease with a token above every one before; raises Refused when somebody else holds it and keeps it.

    The same holder again renews and keeps its token, unless a host has seen a higher one.
    """
    deadline = time.monotonic() + wait
    while True:
        with lease.locked():
            state = lease.read()
            held = lease.held(state)
            mine = held and state["holder"] == holder and state["token"] >= minimum_token
            if mine or not held or takeover or state["holder"] == holder:
                now = lease.clock()
                taken = {
                    **state,
                    "token": state["token"] if mine else max(state["token"], minimum_token) + 1,
                    "holder": holder,
                    "reason": reason,
                    "since": state["since"] if mine else now,
                    "expires": now + ttl,
                    "boot": lease.boot,
                    "taken_from": state["holder"] if held and state["holder"] != holder else "",
                }
                if not check:
                    lease.write(taken)
                return _shown(lease, taken, changed=not mine)
        if time.monotonic() >= deadline:
            left = state["expires"] - lease.clock()
            raise Refused(
                f"{state['holder']} holds the lease ({state['reason'] or 'no reason given'}) since"
                f" {lease.clock() - state['since']:.0f} s",
                code="LEASE_HELD",
                expected="one deploy at a time",
                next_step=f"wait for its end; it expires in {left:.0f} s when it is dead; -e floyo_lease_takeover=true takes it",
                holder=state["holder"],
                token=state["token"],
                expires=state["expires"],
            )
        time.sleep(POLL)


def renew(lease: Lease, *, token: int, ttl: float, check: bool) -> dict[str, Any]:
    """Push the expiry; raises Refused when somebody else has the lease by now."""
    with lease.locked():
        state = lease.read()
        if state["token"] != token or not state["holder"]:
            raise Refused(
                f"the lease with token {token} was lost"
                + (f" to {state['holder']} ({state['reason']}), token {state['token']}" if state["holder"] else ""),
                code="LEASE_LOST",
                expected="to be the one that deploys",
                next_step="playbooks/status.yml shows what the other run does; hosts refuse this run from now on",
                holder=state["holder"],
                token=state["token"],
            )
        # Expired and still the newest: nobody came in between, so going on is right.
        renewed = {**state, "expires": lease.clock() + ttl, "boot": lease.boot}
        if not check:
            lease.write(renewed)
        return _shown(lease, renewed, changed=True)


def release(lease: Lease, *, token: int, check: bool) -> dict[str, Any]:
    """Give the lease back; the token stays, so that the next one is higher. Not ours any more: nothing changes."""
    with lease.locked():
        state = lease.read()
        ours = state["token"] == token and bool(state["holder"])
        freed = {**state, "holder": "", "reason": "", "expires": 0.0, "taken_from": ""} if ours else state
        if ours and not check:
            lease.write(freed)
        return _shown(lease, freed, changed=ours)
