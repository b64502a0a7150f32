"""The switch as a transaction on one host: intent, flip, restart, proof, commit or undo (standard library only).

Deploy and rollback are the same call with another target. Every step can be repeated, so ``resume`` after a crash,
a reboot or a lost connection either finishes what the intent says or puts the old release back.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import json
import os
import time
from collections.abc import Iterator
from typing import Any

from ..errors import FloyoError, Refused, Unusable
from ..files import append_line, fsync_dir, read_json, write_json
from .host import Host

__all__ = ["history", "previous_good", "resume", "switch"]


def _path(host: Host, name: str) -> str:
    return os.path.join(host.config.state_dir, name)


@contextlib.contextmanager
def _room(host: Host) -> Iterator[None]:
    """A full or read-only disk is a fact for people, not a defect."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        raise FloyoError(
            f"{host.config.state_dir} or {host.config.root} cannot be written ({error.strerror})",
            code="STATE_UNWRITABLE",
            expected="a writable disk with room for a few hundred bytes",
            next_step="df -h and df -i on this host; floyo-release prune makes room; then the same command again",
        ) from error


@contextlib.contextmanager
def locked(host: Host) -> Iterator[None]:
    """One switch at a time on this host. The lock file stays: removing it would let two holders in."""
    with _room(host), open(_path(host, "lock"), "a", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(
                f"another switch of {host.config.name} runs on this host",
                code="SWITCH_RUNNING",
                next_step="floyo-release status, then try again",
            ) from error
        yield


def history(host: Host) -> list[dict[str, Any]]:
    """Transitions in their order; a line that a crash cut short is left out."""
    entries = []
    with contextlib.suppress(FileNotFoundError), open(_path(host, "history.jsonl"), encoding="utf-8") as stream:
        for line in stream:
            with contextlib.suppress(ValueError):
                entries.append(json.loads(line))
    return entries


def previous_good(entries: list[dict[str, Any]], current: str | None) -> str | None:
    """The newest release before ``current`` that was proven to serve and was not given up later. Order is the record's.

    Given up: it failed to come up, or a rollback left it. So a second rollback goes further back and not to and fro.
    """
    bad = set()
    for entry in reversed(entries):
        target = entry["to"]
        if entry["outcome"] == "reverted":
            bad.add(target)
        elif target != current and target not in bad:
            return str(target)
        elif entry.get("kind") == "rollback":
            bad.add(entry["from"])
    return None


def switch(
    host: Host,
    target: str,
    *,
    token: int | None,
    holder: str,
    reason: str,
    kind: str = "deploy",
    check: bool = False,
    in_unit: bool = True,
) -> dict[str, Any]:
    """Serve ``target``: {outcome: switched | unchanged, from, to, seconds, changed}; raises FloyoError after undoing.

    ``check`` judges and changes nothing. ``in_unit`` false carries it out in this process, for a host without the unit.
    """
    with locked(host):
        if read_json(_path(host, "intent.json")) is not None:
            raise Refused(
                "an earlier switch on this host is not finished",
                code="SWITCH_PENDING",
                next_step="floyo-release resume",
            )
        seen = read_json(_path(host, "fence.json"), default={"token": 0})["token"]
        if token is not None and token < seen:
            raise Refused(
                f"token {token} is older than {seen}, which this host has already obeyed",
                code="FENCED",
                next_step="a newer run is in charge; floyo-release status shows what it did",
            )
        named = bool(target) and not target.startswith(".") and os.sep not in target
        if not named or not os.path.exists(os.path.join(host.release_dir(target), "release.json")):
            raise Unusable(
                f"release {target} is not on this host",
                code="RELEASE_UNKNOWN",
                expected="a release that was staged here",
                next_step="floyo-release status",
            )
        if token is not None and token > seen and not check:
            write_json(_path(host, "fence.json"), {"token": token})
        old = host.linked()
        if old == target and not host.fault(target):
            return {"changed": False, "outcome": "unchanged", "from": target, "to": target, "seconds": 0.0}
        if check:
            return {"changed": True, "outcome": "switched", "from": old, "to": target, "seconds": 0.0}
        intent = {
            "id": os.urandom(8).hex(),
            "from": old,
            "to": target,
            "kind": kind,
            "token": token,
            "holder": holder,
            "reason": reason,
            "began": time.time(),
        }
        # What a kill in the middle of an earlier write left.
        for name in glob.glob(_path(host, ".intent.json.*")) + glob.glob(_path(host, ".fence.json.*")):
            os.unlink(name)
        write_json(_path(host, "intent.json"), intent)
    if not in_unit:
        return resume(host) or {}
    host.run_switch_unit()
    entry = next((entry for entry in reversed(history(host)) if entry["id"] == intent["id"]), None)
    if entry is None:
        raise FloyoError(
            f"the switch to {target} has begun and not ended",
            code="SWITCH_PENDING",
            next_step=f"floyo-release status, journalctl -u {host.config.switch_unit}, then floyo-release resume",
        )
    return _judge(host, entry)


def resume(host: Host) -> dict[str, Any] | None:
    """Finish or undo the switch that an intent names; None when there is none."""
    with locked(host):
        intent = read_json(_path(host, "intent.json"))
        return None if intent is None else _judge(host, _carry_out(host, intent))


def _judge(host: Host, entry: dict[str, Any]) -> dict[str, Any]:
    """The recorded end of a switch as a result, or as the error that it was."""
    if entry["outcome"] == "reverted":
        raise FloyoError(
            f"{entry['to']} did not come up ({entry['why']}); {entry['fate']}",
            code="SWITCH_REVERTED",
            expected=f"{host.config.readiness_url} answers 200 within {host.config.ready_timeout:g} s",
            next_step=f"read log_tail, or journalctl -u {host.config.unit}",
            outcome="reverted",
            log_tail=entry["log_tail"],
            **{"from": entry["from"], "to": entry["to"]},
        )
    return {"changed": True, **{key: entry[key] for key in ("outcome", "from", "to", "seconds")}}


def _carry_out(host: Host, intent: dict[str, Any]) -> dict[str, Any]:
    target, old = intent["to"], intent["from"]
    host.point(target)
    fault = host.restart() or host.wait_ready(target, time.monotonic() + host.config.ready_timeout)
    if not fault:
        return _record(host, intent, "switched")
    lines = host.last_lines()
    host.point(old)
    if old is None:
        host.stop()
        fate = "there was no earlier release, so the service is stopped"
    else:
        trouble = host.restart() or host.wait_ready(old, time.monotonic() + host.config.ready_timeout)
        fate = f"{old} serves again" if not trouble else f"{old} was put back but {trouble}"
    return _record(host, intent, "reverted", why=fault, fate=fate, log_tail=lines)


def _record(host: Host, intent: dict[str, Any], outcome: str, **more: Any) -> dict[str, Any]:
    entry = {
        **{key: intent.get(key) for key in ("id", "from", "to", "kind", "token", "holder", "reason")},
        **more,
        "outcome": outcome,
        "seconds": round(max(0.0, time.time() - intent["began"]), 2),
        "at": time.time(),
        "sequence": len(history(host)) + 1,
    }
    append_line(_path(host, "history.jsonl"), json.dumps(entry, sort_keys=True))
    os.unlink(_path(host, "intent.json"))
    fsync_dir(host.config.state_dir)
    return entry
