"""Whether the backups are what one may rely on: pass, warn or fail, each with its reason (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Optional

from .judge import Space

__all__ = ["Check", "Limits", "conditions", "verdict_of"]

_HOUR = 3600.0
_CLOCK = 300.0  # seconds that clocks may be apart


@dataclass(frozen=True)
class Limits:
    """Hours for ages, numbers for redundancy, bytes for size. Zero turns one off."""

    age_warn: float = 26.0
    age_fail: float = 50.0
    drill_warn: float = 192.0
    drill_fail: float = 0.0
    copy_warn: float = 26.0
    copy_fail: float = 50.0
    redundancy_warn: int = 3
    redundancy_fail: int = 1
    min_size: int = 0


@dataclass(frozen=True)
class Check:
    check: str
    result: str  # pass, warn or fail
    found: str
    next: str = ""

    def facts(self) -> dict[str, str]:
        return asdict(self)


def verdict_of(checks: Sequence[Check]) -> str:
    results = {check.result for check in checks}
    return next((word for word in ("fail", "warn") if word in results), "pass")


def conditions(
    entries: Sequence[Mapping[str, Any]],
    limits: Limits,
    *,
    now: float,
    space: Space,
    reserve: int,
    leftovers: Sequence[str] = (),
    identity: Optional[str] = None,
    identities: Mapping[str, str] = {},
    remote: str = "",
) -> list[Check]:
    """``identity``: the server's system identifier, when it was asked; ``identities``: those in the manifests, by label.
    ``remote``: where copies have to be; empty, nowhere."""
    sound = [entry for entry in entries if entry["verified"]]
    newest = sound[0] if sound else None
    checks = [_redundancy(len(sound), limits)]
    if newest:
        checks += [_age(newest, limits, now), _size(newest, limits), _drill(sound, limits, now)]
    checks += [_soundness(entries), _room(newest, space, reserve)]
    if remote and newest:
        checks.append(_copy(sound, remote, limits, now))
    if identity is not None and newest:
        same = identities.get(newest["label"]) == identity
        checks.append(
            Check("identity", "pass", "of this server")
            if same
            else Check(
                "identity", "fail", f"{newest['label']} is of another server", "look where backups are taken from"
            )
        )
    if leftovers:
        shown = ", ".join(leftovers[:3])
        checks.append(Check("leftovers", "warn", f"of killed runs: {shown}", "the next backup removes them"))
    return checks


def _redundancy(count: int, limits: Limits) -> Check:
    result = "fail" if count < limits.redundancy_fail else "warn" if count < limits.redundancy_warn else "pass"
    return Check("redundancy", result, f"{count} sound backups", "" if result == "pass" else "take backups more often")


def _age(newest: Mapping[str, Any], limits: Limits, now: float) -> Check:
    seconds = now - _moment(newest["created"])
    if seconds < -_CLOCK:
        return Check("age", "fail", f"the newest is dated {newest['created']}, which is to come", "set the clock")
    return _by_age("age", "the newest is", seconds, limits.age_warn, limits.age_fail, "take one: playbooks/backup.yml")


def _drill(sound: Sequence[Mapping[str, Any]], limits: Limits, now: float) -> Check:
    step = "drill one: playbooks/restore_drill.yml"
    last = max((entry["drilled_at"] for entry in sound), default="")
    if not last:
        never = "fail" if limits.drill_fail else "warn" if limits.drill_warn else "pass"
        return Check("drill", never, "none was ever restored", step if never != "pass" else "")
    return _by_age("drill", "the last was", now - _moment(last), limits.drill_warn, limits.drill_fail, step)


def _copy(sound: Sequence[Mapping[str, Any]], remote: str, limits: Limits, now: float) -> Check:
    step = "copy them: playbooks/copy_backups.yml"
    last = max((entry["created"] for entry in sound if entry["copied_to"] == remote.rstrip("/")), default="")
    if not last:
        return Check("copy", "fail" if limits.copy_fail else "warn", f"none is at {remote}", step)
    return _by_age("copy", f"the newest at {remote} is", now - _moment(last), limits.copy_warn, limits.copy_fail, step)


def _by_age(check: str, words: str, seconds: float, warn: float, fail: float, step: str) -> Check:
    hours = max(0.0, seconds / _HOUR)
    result = "fail" if fail and hours > fail else "warn" if warn and hours > warn else "pass"
    return Check(check, result, f"{words} {hours:.1f} hours old", "" if result == "pass" else step)


def _size(newest: Mapping[str, Any], limits: Limits) -> Check:
    if newest["size"] < limits.min_size:
        return Check("size", "fail", f"{newest['size']} bytes, at least {limits.min_size}", "is it the right database?")
    if newest["suspect"]:
        return Check("size", "warn", newest["suspect"], "look at the database; if that is meant, accept_shrink")
    return Check("size", "pass", f"{newest['size']} bytes, {newest['rows']} rows")


def _soundness(entries: Sequence[Mapping[str, Any]]) -> Check:
    bad = [entry for entry in entries if not entry["verified"]]
    if not bad:
        return Check("soundness", "pass", f"all {len(entries)} as they were written")
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    shown = "; ".join(f"{entry['label']}: {entry['problem']}" for entry in bad[:3])
    return Check("soundness", "fail", shown + more, "look at the disk; remove them when a newer sound one is there")


def _room(newest: Optional[Mapping[str, Any]], space: Space, reserve: int) -> Check:
    need = (newest["size"] if newest else 0) + reserve
    found = f"{space.free >> 20} MiB free"
    if space.free < need:
        return Check("room", "fail", f"{found}, the next one needs {need >> 20} MiB", "prune, or give it more room")
    return Check("room", "pass", found)


def _moment(stamp: str) -> float:
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
