"""One deploy at a time: a lease with an expiry and a fencing token, in one file on one host (standard library only).

The token only ever rises, also over releases and expiries: hosts refuse what is older. How long a lease has been held is
measured by the lease host's time since boot, which nobody sets; its clock of the day only labels what people read, and
counts, together with the uptime, for a lease that is older than the last boot.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import glob
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from .errors import FloyoError, Refused, Unusable
from .files import append_line, read_json, write_json

__all__ = ["NEEDED", "SPEC", "Lease", "acquire", "act", "info", "release", "renew"]

# The options of module floyo_lease, which the host program takes as well.
SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["acquired", "renewed", "released", "info"], "default": "info"},
    "state_dir": {"type": "path", "default": "/var/lib/floyo"},
    "holder": {"type": "str"},
    "reason": {"type": "str", "default": ""},
    "ttl": {"type": "float", "default": 1800.0},
    # Fencing tokens count deploys; they are no secrets.
    "token": {"type": "int", "no_log": False},
    "minimum_token": {"type": "int", "default": 0, "no_log": False},
    "takeover": {"type": "bool", "default": False},
    "takeover_from": {"type": "str", "default": ""},
    "takeover_token": {"type": "int", "no_log": False},
    "wait": {"type": "float", "default": 0.0},
}
NEEDED = [("state", "renewed", ["token"]), ("state", "released", ["token"])]

POLL = 0.5
_NO_FILE = object()
# Whoever has the file open needs it for a moment; one that was stopped in between must not hold up a rollback for ever.
GUARD_WAIT = 10.0


@dataclasses.dataclass(frozen=True)
class State:
    """What the file says. ``holder`` stays when it is given back, so that whoever lost it hears to whom."""

    token: int = 0
    holder: str = ""
    reason: str = ""
    given_back: bool = True
    taken_from: str = ""
    ttl: float = 0.0
    since: float = 0.0  # clock of the day when it was taken
    renewed: float = 0.0  # clock of the day, and below time since boot, when it was taken or renewed last
    uptime: float = 0.0
    boot: str = ""


def _uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """The file and its clocks."""

    def __init__(
        self,
        state_dir: str,
        *,
        clock: Callable[[], float] = time.time,
        uptime: Callable[[], float] = _uptime,
        boot: Optional[str] = None,
    ) -> None:
        self.path = os.path.join(state_dir, "lease.json")
        self.guard = os.path.join(state_dir, "lease.lock")
        self.record = os.path.join(state_dir, "lease.jsonl")
        self.clock = clock
        self.uptime = uptime
        self.boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip() if boot is None else boot

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Read and write as one step. The lock file stays: removing it would let two holders in."""
        with _writing(self.guard):
            fd = os.open(self.guard, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + GUARD_WAIT
            while not _locks(fd):
                if time.monotonic() > deadline:
                    raise Refused(
                        f"{self.guard} has been locked for {GUARD_WAIT:g} s",
                        code="LEASE_BUSY",
                        expected="a process that reads and writes the lease in a moment",
                        next_step=f"fuser -v {self.guard} on the lease host names the process",
                    )
                time.sleep(0.01)
            yield
        finally:
            os.close(fd)

    def read(self) -> State:
        """The state; of a missing file, a free lease. Needs no lock: the file is replaced as a whole."""
        if not os.path.isdir(os.path.dirname(self.path)):
            raise _missing(self.path)
        try:
            found = read_json(self.path, default=_NO_FILE)
            return State() if found is _NO_FILE else _parsed(found)
        except (KeyError, OSError, TypeError, ValueError) as error:
            raise Unusable(
                f"{self.path} cannot be read or is damaged ({type(error).__name__})",
                code="LEASE_DAMAGED",
                expected="the JSON object that this module writes",
                next_step="see that no deploy runs, then remove the file: the next token comes from the hosts' own fences",
            ) from error

    def left(self, state: State) -> float:
        """Seconds until it is free; 0 when it is.

        Setting the clock of the day changes nothing. After a boot at least the uptime has passed, whatever that clock says.
        """
        if state.given_back:
            return 0.0
        passed = self.uptime() - state.uptime
        if state.boot != self.boot:
            passed = max(self.clock() - state.renewed, self.uptime())
        return min(max(state.ttl - passed, 0.0), state.ttl)

    def held(self, state: State) -> bool:
        return self.left(state) > 0

    def stamped(self, state: State, ttl: float, **changes: Any) -> State:
        """``state`` with ``changes``, to run ``ttl`` seconds from now."""
        now = {"renewed": self.clock(), "uptime": self.uptime(), "boot": self.boot}
        return dataclasses.replace(state, ttl=ttl, **{**now, **changes})

    def write(self, state: State) -> None:
        with _writing(self.path):
            # What a kill in the middle of an earlier write left.
            for name in glob.glob(os.path.join(glob.escape(os.path.dirname(self.path)), ".lease.json.*")):
                os.unlink(name)
            write_json(self.path, dataclasses.asdict(state), mode=0o644)

    def note(self, **facts: Any) -> None:
        """Record that somebody was taken over, before it happens."""
        with _writing(self.record):
            append_line(self.record, json.dumps(facts, sort_keys=True))


def _locks(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _parsed(found: Any) -> State:
    """Raises KeyError, TypeError or ValueError for what this module did not write: a wrong token must not pass for a low one."""
    if not isinstance(found["token"], int) or isinstance(found["token"], bool) or found["token"] < 1:
        raise ValueError("token")
    kinds = {name: type(default) for name, default in dataclasses.asdict(State()).items()}
    return State(**{name: kinds[name](found[name]) for name in kinds if name in found})


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    """A full or read-only disk is a fact for people, not a defect."""
    try:
        yield
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        raise FloyoError(
            f"{path} cannot be written ({error.strerror})",
            code="LEASE_UNWRITABLE",
            expected="a writable directory with room for a few hundred bytes",
            next_step="df -h and df -i on the lease host; floyo-release prune makes room",
        ) from error


def _missing(path: str) -> Unusable:
    return Unusable(
        f"{os.path.dirname(path)} does not exist on this host",
        code="STATE_DIR_MISSING",
        expected="the state directory of a provisioned host",
        next_step="playbooks/provision.yml",
    )


def _shown(lease: Lease, state: State, *, changed: bool, **more: Any) -> dict[str, Any]:
    left = lease.left(state)
    return {
        "changed": changed,
        "held": left > 0,
        "token": state.token,
        "holder": state.holder if left else "",
        "reason": state.reason if left else "",
        "since": state.since if left else 0.0,
        "expires": lease.clock() + left if left else 0.0,
        "taken_from": state.taken_from if left else "",
        **more,
    }


def act(state: str, given: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """``acquired``, ``renewed``, ``released`` or ``info``, with module floyo_lease's options, all of which are there."""
    lease = Lease(given["state_dir"])
    if state == "info":
        return info(lease)
    if state == "renewed":
        return renew(lease, token=given["token"], ttl=given["ttl"], check=check)
    if state == "released":
        return release(lease, token=given["token"], check=check)
    keys = ("holder", "reason", "ttl", "minimum_token", "takeover", "takeover_from", "takeover_token", "wait")
    return acquire(lease, **{key: given[key] for key in keys}, check=check)


def info(lease: Lease) -> dict[str, Any]:
    """``held, token, holder, reason, since, expires, taken_from``; times are seconds of the epoch."""
    return _shown(lease, lease.read(), changed=False)


def acquire(
    lease: Lease,
    *,
    holder: str,
    reason: str,
    ttl: float,
    minimum_token: int = 0,
    takeover: bool = False,
    takeover_from: str = "",
    takeover_token: Optional[int] = None,
    wait: float = 0.0,
    check: bool = False,
) -> dict[str, Any]:
    """Take the lease with a token above every one before; raises Refused when somebody else holds it and keeps it.

    The same holder again renews and keeps its token, unless a host has seen a higher one.
    ``takeover_from``: take over this person on this machine, or this very run, and nobody else.
    ``takeover_token``: take over the holder of that token, and nobody who came after it.
    """
    _positive(ttl)
    if not holder.strip():
        raise Unusable(
            "a lease needs a holder", code="HOLDER_MISSING", expected="who this run is, told apart from others"
        )
    deadline = time.monotonic() + wait
    while True:
        with contextlib.nullcontext() if check else lease.locked():
            state = lease.read()
            held = lease.held(state)
            ours = not state.given_back and state.holder == holder
            asked = takeover or takeover_from in (state.holder, _person(state.holder)) or state.token == takeover_token
            if not held or ours or asked:
                mine = held and ours and state.token >= minimum_token
                after = lease.stamped(
                    state,
                    ttl,
                    token=state.token if mine else max(state.token, minimum_token) + 1,
                    holder=holder,
                    reason=reason,
                    given_back=False,
                    taken_from=state.taken_from if mine else "" if state.given_back or ours else state.holder,
                    since=state.since if mine else lease.clock(),
                )
                if not check:
                    if after.taken_from and not mine:
                        _note(lease, state, after, expired=not held)
                    lease.write(after)
                return _shown(lease, after, changed=not mine or after.reason != state.reason)
        if check or time.monotonic() >= deadline:
            raise _refused(lease, state)
        time.sleep(POLL)


def _note(lease: Lease, before: State, after: State, *, expired: bool) -> None:
    lease.note(
        at=lease.clock(),
        taken_from=before.holder,
        lost_token=before.token,
        lost_reason=before.reason,
        expired=expired,
        holder=after.holder,
        token=after.token,
        reason=after.reason,
    )


def _refused(lease: Lease, state: State) -> Refused:
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(state.since))
    left = lease.left(state)
    return Refused(
        f"{state.holder} holds the lease ({state.reason or 'no reason given'}) since {since}, token {state.token}",
        code="LEASE_HELD",
        expected="one deploy at a time",
        next_step=f"wait for its end; it expires in {left:.0f} s when it is dead; to take it:"
        f" -e 'floyo_lease_takeover={_person(state.holder)}'",
        **{key: getattr(state, key) for key in ("holder", "reason", "since", "token")},
        expires=lease.clock() + left,
    )


def _person(holder: str) -> str:
    """``anna@laptop`` of ``anna@laptop pid 4711.88231.1a2b3c4d``."""
    return holder.partition(" pid ")[0]


def renew(lease: Lease, *, token: int, ttl: float, check: bool = False) -> dict[str, Any]:
    """Push the expiry; raises Refused when somebody else has had the lease since."""
    _positive(ttl)
    with contextlib.nullcontext() if check else lease.locked():
        state = lease.read()
        if state.token != token or state.given_back:
            raise Refused(
                f"the lease with token {token} was {_fate(state, token)}",
                code="LEASE_LOST",
                expected="to be the one that deploys",
                next_step="playbooks/status.yml shows what the other run did; hosts refuse this run from now on",
                holder=state.holder,
                reason=state.reason,
                token=state.token,
            )
        # Expired and still the newest: nobody came in between, so going on is right.
        renewed = lease.stamped(state, ttl)
        if not check:
            lease.write(renewed)
        return _shown(lease, renewed, changed=True)


def release(lease: Lease, *, token: int, check: bool = False) -> dict[str, Any]:
    """Give the lease back; the token stays, so that the next one is higher. Not ours any more: nothing changes."""
    with contextlib.nullcontext() if check else lease.locked():
        state = lease.read()
        ours = state.token == token and not state.given_back
        freed = dataclasses.replace(state, given_back=True) if ours else state
        if ours and not check:
            lease.write(freed)
        fate = "" if ours else f"nothing was given back: the lease with token {token} was {_fate(state, token)}"
        return _shown(lease, freed, changed=ours, msg=fate)


def _fate(state: State, token: int) -> str:
    """What became of the lease with ``token``, which is not the one that is held."""
    if state.token == token:
        return "given back already"
    if state.token < token:
        return f"never granted here; the newest token is {state.token}"
    after = ", who has given it back" if state.given_back else ""
    return f"lost to {state.holder} ({state.reason or 'no reason given'}, token {state.token}){after}"


def _positive(ttl: float) -> None:
    if not ttl > 0:
        raise Unusable(f"a lease of {ttl:g} s is none", code="TTL_UNUSABLE", expected="ttl above 0")
