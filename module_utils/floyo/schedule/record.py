"""What a scheduled job's record and its unit say of it (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

__all__ = ["due", "line_of", "message_of", "progress_line", "properties_of", "verdict_of"]

_HOUR = 3600.0


def due(record: Mapping[str, Any], step: str, now: float, hours: float) -> bool:
    """Whether a step's last success is so long ago. Half an hour early is not early: timers are spread."""
    return now - float(record.get("succeeded", {}).get(step, 0.0)) >= hours * _HOUR - _HOUR / 2


def properties_of(text: str) -> dict[str, str]:
    """Of ``systemctl show``."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def verdict_of(
    record: Mapping[str, Any], service: Mapping[str, str], timer: Mapping[str, str], now: float, late: float
) -> dict[str, Any]:
    """``state`` is absent, off, waiting (never ran), running, ok, failed or late; ``problem`` says what is wrong.

    ``late``: hours after which a success is too long ago. The unit knows of ends that the job could not write down.
    """
    found: dict[str, Any] = {
        "state": "absent",
        "problem": "",
        "next_run": _after(timer.get("NextElapseUSecRealtime", "")),
        "began": stamp(record.get("began")),
        "ended": stamp(record.get("ended")),
        "steps": record.get("steps", {}),
    }
    if timer.get("LoadState") != "loaded":
        return found
    if service.get("ActiveState") == "activating":
        return {**found, "state": "running"}
    failed = [f"{name}: {step['said']}" for name, step in found["steps"].items() if step["result"] == "failed"]
    unit = service.get("Result", "success")
    if record.get("began") and not record.get("ended"):
        how = "it was killed or the host went down" if unit == "success" else f"systemd says {unit}"
        return {**found, "state": "failed", "problem": f"the run of {found['began']} has not ended by itself: {how}"}
    if failed:
        return {**found, "state": "failed", "problem": "; ".join(failed)}
    if unit != "success":
        return {**found, "state": "failed", "problem": f"it could not be run: systemd says {unit}"}
    if timer.get("ActiveState") != "active":
        return {**found, "state": "off", "problem": "the timer does not run"}
    if not record:
        return {**found, "state": "waiting"}
    if late and now - float(record["ended"]) > late * _HOUR:
        return {**found, "state": "late", "problem": f"the last run ended at {found['ended']}"}
    return {**found, "state": "ok"}


def stamp(seconds: Any) -> str:
    return f"{datetime.fromtimestamp(float(seconds), timezone.utc):%Y-%m-%dT%H:%M:%SZ}" if seconds else ""


def _after(text: str) -> str:
    """When the timer goes off next, as systemd says it; empty when it does not know."""
    return "" if text in ("", "n/a") else text


def message_of(name: str, host: str, verdict: Mapping[str, Any]) -> tuple[str, str]:
    """Title and body for those who are told that a run has failed."""
    body = [verdict["problem"] or "Its unit has failed.", f"Next: journalctl -u of its unit on {host};"]
    body.append("playbooks/backups.yml says whether what is there can be relied on.")
    return f"{name}: the scheduled backup on {host} failed", "\n".join(body)


def line_of(step: str, outcome: Mapping[str, Any]) -> str:
    """For the journal."""
    seconds = f" ({outcome['seconds']:.0f} s)" if outcome.get("seconds") else ""
    return f"{step}: {outcome['result']}{seconds}" + (f": {outcome['said']}" if outcome["said"] else "")


def progress_line(record: Mapping[str, Any], now: float) -> str:
    """``dump: 120 MiB of about 400 MiB, 12 MiB/s, about 23 s left``. The forecast comes from the run before."""
    done, whole = int(record.get("bytes") or 0), int(record.get("forecast") or 0)
    took = max(now - float(record.get("since") or now), 0.001)
    words = f"{record.get('phase', 'work')}: {_size(done)}"
    if whole:
        words += f" of about {_size(whole)}"
    if done:
        words += f", {_size(int(done / took))}/s"
        if whole > done:
            words += f", about {(whole - done) * took / done:.0f} s left"
    return words


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"
