"""Decisions about the archive from facts: base backups, what a loss would cost, whether a moment can be had (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Optional

from ..backup.condition import Check
from ..errors import Refused, Unusable
from .wal import Gap, end_of, position, stamp

__all__ = [
    "Base",
    "Limits",
    "Window",
    "base_type",
    "bases_of",
    "conditions",
    "control_settings",
    "ended_early",
    "newest_segment",
    "reason",
    "require_reachable",
    "window",
]

_HOUR, _DAY = 3600.0, 86400.0
_CLOCK = 5.0  # seconds by which "now" may be ahead on another clock
_PAGE_HEADER = 40  # what a new segment holds before anybody has written


@dataclass(frozen=True)
class Base:
    """A base backup of the cluster: ``kind`` full, diff or incr; times in seconds of the epoch."""

    label: str
    kind: str
    start: float
    stop: float
    size: int
    stored: int
    wal_start: str
    wal_stop: str
    error: bool

    @property
    def first(self) -> float:
        """The first moment that it can become. pgBackRest tells whole seconds: within that of its end nobody knows."""
        return self.stop + 1

    def facts(self) -> dict[str, Any]:
        times = {"start": stamp(self.start), "stop": stamp(self.stop)}
        return {**vars(self), **times, "seconds": round(self.stop - self.start, 1)}


def bases_of(info: Mapping[str, Any]) -> list[Base]:
    """From one stanza of ``pgbackrest info --output=json``, oldest first."""
    found = []
    for each in info.get("backup", []):
        sizes = each.get("info", {})
        found.append(
            Base(
                label=each["label"],
                kind=each["type"],
                start=float(each["timestamp"]["start"]),
                stop=float(each["timestamp"]["stop"]),
                size=int(sizes.get("size", 0)),
                stored=int(sizes.get("repository", {}).get("delta", 0)),
                wal_start=each["archive"]["start"] or "",
                wal_stop=each["archive"]["stop"] or "",
                error=bool(each.get("error")),
            )
        )
    return sorted(found, key=lambda base: base.stop)


def newest_segment(info: Mapping[str, Any]) -> str:
    """The last one that the archive holds; empty without any."""
    return max((each.get("max") or "" for each in info.get("archive", [])), default="")


def base_type(bases: Sequence[Base], now: float, *, max_age: float, full_every: float) -> str:
    """``full`` or ``diff`` when the newest is older than ``max_age`` hours, else empty. Fulls every so many days."""
    sound = [base for base in bases if not base.error]
    if sound and max_age and now - sound[-1].stop < max_age * _HOUR:
        return ""
    fulls = [base for base in sound if base.kind == "full"]
    return "diff" if fulls and now - fulls[-1].stop < full_every * _DAY else "full"


# --- what a loss would cost ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """What only the live server has: bytes of its log, and the seconds in which they were written, at most."""

    bytes: int
    seconds: float

    def __str__(self) -> str:
        return f"at most {self.seconds:.0f} s ({self.bytes} bytes of log)" if self.bytes else "nothing"


def window(live: Mapping[str, Any], newest: str) -> Window:
    """``live``: what the server says of itself; ``newest``: the last segment that the archive holds."""
    if not newest:
        return Window(position(live["lsn"]), max(0.0, live["now"] - live["started"]))
    more = position(live["lsn"]) - end_of(newest, live["segment_size"])
    if more <= _PAGE_HEADER:
        return Window(0, 0.0)
    # What was written before that segment was full is in it.
    since = live["written"].get(newest) or live["archiver"]["last_archived_time"] or live["started"]
    seconds = max(0.0, live["now"] - since)
    if live["archive_timeout"] and not live["waiting"]:
        # What is older was archived, or is the server's own bookkeeping, for which it ends no segment.
        seconds = min(seconds, float(live["archive_timeout"]))
    return Window(more, round(seconds, 1))


# --- whether a moment can be had -------------------------------------------------------------------------------------


def require_reachable(bases: Sequence[Base], moment: Optional[datetime], now: float) -> Base:
    """The base backup to begin with; or why there is none."""
    if not bases:
        raise Refused(
            "the archive holds no base backup",
            code="NO_BASE",
            expected="at least one",
            next_step="take one: module pg_archive, state present, or start the scheduled job",
        )
    if moment is None:
        return bases[-1]
    at = moment.timestamp()
    if at > now + _CLOCK:
        raise Refused(
            f"{stamp(at)} is to come",
            code="MOMENT_AHEAD",
            expected=f"a moment until {stamp(now)}",
            next_step="compare clocks and offsets from UTC; or say latest",
        )
    fit = [base for base in bases if base.first <= at]
    if not fit:
        raise Refused(
            f"{stamp(at)} is before the archive begins",
            code="MOMENT_TOO_OLD",
            expected=f"a moment from {stamp(bases[0].first)} to {stamp(now)}",
            next_step="choose one of those; or restore an older dump (playbooks/backups.yml lists them)",
        )
    return fit[-1]


def ended_early(log: str, moment: Optional[datetime], holes: Sequence[Gap], bases: Sequence[Base]) -> Refused:
    """The log of a server that found the end of the archive before its target."""
    last = re.findall(r"last completed transaction was at log time (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.\d]*\S*)", log)
    until = f"; the last transaction that could be had is of {last[-1]}" if last else ""
    wanted = stamp(moment.timestamp()) if moment else "the end of the archive"
    if not holes:
        return Refused(
            f"the archive ends before {wanted}{until}",
            code="ARCHIVE_SHORT",
            expected="the log up to that moment",
            next_step="choose an earlier moment, or say latest for all that is there",
            reached=last[-1] if last else "",
        )
    hole = holes[0]
    later = [base for base in bases if base.wal_start > hole.last]
    return Refused(
        f"the archive has a hole before {wanted}: WAL segment {hole} is missing{until}",
        code="ARCHIVE_GAP",
        expected="every segment since the base backup",
        next_step="choose an earlier moment"
        + (
            f", or one from {stamp(later[0].first)} on"
            if later
            else "; take a new base backup now: none is after the hole"
        )
        + "; a dump may be nearer (playbooks/backups.yml)",
        missing=[str(each) for each in holes],
        reached=last[-1] if last else "",
    )


# Settings of the server that recovery refuses to go below, and what pg_controldata calls them.
_CONTROL = {
    "max_connections": "max_connections setting",
    "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting",
    "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
}


def control_settings(text: str) -> dict[str, str]:
    """From the output of pg_controldata."""
    lines = dict(re.findall(r"^([^:]+):\s+(.*)$", text, re.MULTILINE))
    absent = [words for words in _CONTROL.values() if words not in lines]
    if absent:
        raise Unusable(f"pg_controldata does not tell {absent[0]}", code="CONTROL_DATA_UNKNOWN")
    return {name: lines[words].strip() for name, words in _CONTROL.items()}


def reason(output: str) -> str:
    """What pgBackRest gives as the reason, with its hints, on one line."""
    found = re.search(r"ERROR: (\[\d+\]: .*)", output, re.DOTALL)
    text = found[1] if found else output
    return " ".join(text.split())[:600] or "it said nothing"


# --- whether one may rely on it --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """Seconds for the window, hours for ages. Zero turns one off."""

    window_warn: float = 180.0
    window_fail: float = 900.0
    base_warn: float = 50.0
    base_fail: float = 194.0
    drill_warn: float = 192.0
    drill_fail: float = 0.0


def conditions(
    *,
    bases: Sequence[Base],
    live: Optional[Mapping[str, Any]],
    newest: str,
    holes: Sequence[Gap],
    drill: Mapping[str, Any],
    limits: Limits,
    now: float,
) -> list[Check]:
    """``live`` is None when the server does not answer; ``drill``: the newest rehearsal of a restore to a moment."""
    checks = [_archiving(live), _loss(live, newest, limits), _base(bases, limits, now), _whole(holes, bases)]
    return [*checks, _drill(drill, limits, now)]


def _archiving(live: Optional[Mapping[str, Any]]) -> Check:
    if live is None:
        return Check("archiving", "fail", "the server does not answer", "systemctl status postgresql")
    if live["archive_mode"] == "off":
        return Check("archiving", "fail", "it is off on this server", "run playbooks/provision.yml; restart PostgreSQL")
    seen = live["archiver"]
    failed, done = seen["last_failed_time"] or 0.0, seen["last_archived_time"] or 0.0
    if failed > done:
        return Check(
            "archiving",
            "fail",
            f"{seen['last_failed_wal']} cannot be archived: {seen['failed_count']} failures, the last at {stamp(failed)},"
            f" {live['waiting']} segments wait",
            "pgbackrest check; the server's log says why. They pile up on its disk",
        )
    if not done:
        return Check("archiving", "warn", "nothing was archived yet", "pgbackrest check")
    return Check("archiving", "pass", f"{seen['archived_count']} segments, the last at {stamp(done)}")


def _loss(live: Optional[Mapping[str, Any]], newest: str, limits: Limits) -> Check:
    if live is None:
        return Check("loss window", "fail", "unknown: the server does not answer", "systemctl status postgresql")
    found = window(live, newest)
    result = _grade(found.seconds, limits.window_warn, limits.window_fail)
    step = "" if result == "pass" else "see archiving; archive_timeout bounds it"
    return Check("loss window", result, f"lost with the host now: {found}", step)


def _base(bases: Sequence[Base], limits: Limits, now: float) -> Check:
    sound = [base for base in bases if not base.error]
    step = "take one: module pg_archive, state present, or start the scheduled job"
    if not sound:
        return Check("base backup", "fail", "there is no sound one", step)
    hours = (now - sound[-1].stop) / _HOUR
    result = _grade(hours, limits.base_warn, limits.base_fail)
    found = f"{len(sound)}, the newest is {max(0.0, hours):.1f} hours old; moments from {stamp(sound[0].first)}"
    if len(sound) < len(bases):
        result, found = "fail", f"damaged pages in {', '.join(base.label for base in bases if base.error)}"
        step = "look at the server's disk (dmesg, smartctl) and for damaged tables (pg_amcheck)"
    return Check("base backup", result, found, "" if result == "pass" else step)


def _whole(holes: Sequence[Gap], bases: Sequence[Base]) -> Check:
    if not holes:
        return Check("continuity", "pass", "no segment is missing")
    shown = ", ".join(str(hole) for hole in holes[:3])
    if bases and bases[-1].wal_start > holes[-1].last:
        return Check("continuity", "warn", f"missing: {shown}; no moment from there to {stamp(bases[-1].first)}")
    step = "take a base backup now: module pg_archive, state present"
    return Check("continuity", "fail", f"missing: {shown}; no moment after it can be had", step)


def _drill(drill: Mapping[str, Any], limits: Limits, now: float) -> Check:
    step = "drill one: playbooks/restore_drill.yml"
    if not drill.get("at"):
        result = "fail" if limits.drill_fail else "warn" if limits.drill_warn else "pass"
        return Check("moment drill", result, "no moment was ever restored", step)
    hours = (now - drill["at"]) / _HOUR
    result = _grade(hours, limits.drill_warn, limits.drill_fail)
    found = f"{max(0.0, hours):.1f} hours ago, back in {drill['seconds']:.0f} s"
    return Check("moment drill", result, found, "" if result == "pass" else step)


def _grade(value: float, warn: float, fail: float) -> str:
    return "fail" if fail and value > fail else "warn" if warn and value > warn else "pass"
