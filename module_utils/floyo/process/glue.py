"""From the parameters of module floyo_process to its result."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..errors import Unusable
from ..finding import Finding, as_results, overall
from ..text import shorten
from .cgroup import look, show
from .ring import read
from .trend import MIB, Sample, history, leak, series

__all__ = ["ARGUMENT_SPEC", "observe"]

ARGUMENT_SPEC: dict[str, Any] = {
    "unit": {"type": "str", "default": "floyo-backend"},
    "ring": {"type": "path", "default": "/var/lib/floyo/process.jsonl"},
    "fewest": {"type": "int", "default": 30},
    "shortest": {"type": "int", "default": 3600},
    "warm_up": {"type": "int", "default": 600},
    "percent_an_hour": {"type": "float", "default": 2.0},
    "horizon": {"type": "int", "default": 168},
    "hours": {"type": "int", "default": 24},
}

# systemd's own names of what it says about units (systemd/sd-messages.h).
_STARTED = "39f53479d3a045ac8e11786248231fbf"
_RESTARTED = "5eb03494b6584870a536b337290809b3"
_KILLED = "fe6faa94e7774663a0da52717891d8ef"
_FAILED = "d9b373ed55a64feb8242e02dbe79a49c"
_EXITED = "98e322203f7a4ed290d09fe03c09fe15"
_MOST_EVENTS = 10
_FULL = 0.9
_OFTEN = 3


def observe(params: Mapping[str, Any]) -> dict[str, Any]:
    """Look at the unit now, at its samples and at what systemd said; judge."""
    if params["fewest"] < 5 or params["shortest"] < 1 or params["hours"] < 1:
        raise Unusable(
            "too little is asked for to judge anything",
            code="SPAN_INVALID",
            expected="fewest of 5 or more, shortest and hours of 1 or more",
        )
    unit = params["unit"] if "." in params["unit"] else f"{params['unit']}.service"
    told = show(unit)
    now = look(unit, properties=told)
    sample: Optional[Sample] = now["sample"]
    since = time.time() - 3600 * params["hours"]
    samples = [one for one in read(params["ring"]) if one.at >= since]
    if sample is not None:
        samples.append(sample)
    events = _events(unit, since)
    trend = leak(
        samples,
        fewest=params["fewest"],
        shortest=params["shortest"],
        warm_up=params["warm_up"],
        percent_an_hour=params["percent_an_hour"],
        limit=now["limit"],
    )
    findings = _judge(unit, told, now, trend, events, params["hours"], params["horizon"])
    return {
        "changed": False,
        "unit": unit,
        "active": told.get("ActiveState", ""),
        "result": told.get("Result", ""),
        "pid": int(told.get("MainPID") or 0),
        "since": told.get("ActiveEnterTimestamp", ""),
        "memory": None if sample is None else sample.memory,
        "memory_with_cache": now["current"],
        "memory_limit": now["limit"],
        "memory_source": now["source"],
        "processes": now["pids"],
        "cpu_seconds": None if sample is None else sample.cpu,
        "cpu_percent": _cpu_percent(samples),
        "leak": trend,
        "history": history(samples),
        "events": events,
        "findings": as_results(findings),
        "verdict": overall(findings),
    }


def _cpu_percent(samples: Sequence[Sample]) -> Optional[float]:
    """Of one processor, over the last five minutes of the process; None with one sample only."""
    runs = series(samples)
    newest = [one for one in runs[-1] if one.at >= runs[-1][-1].at - 300] if runs else []
    if len(newest) < 2:
        return None
    return round(100 * (newest[-1].cpu - newest[0].cpu) / (newest[-1].at - newest[0].at), 1)


def _events(unit: str, since: float) -> dict[str, Any]:
    """``started, restarted, killed, failed`` of the time asked for, and the newest ``lines``; empty without a journal."""
    words: list[str] = []
    for name in (_STARTED, _RESTARTED, _KILLED, _FAILED, _EXITED):
        words += [*(["+"] if words else []), f"UNIT={unit}", f"MESSAGE_ID={name}"]
    try:
        done = subprocess.run(
            ["journalctl", "--output=json", "--no-pager", "--quiet", f"--since=@{since:.0f}",
             "--output-fields=MESSAGE,MESSAGE_ID,__REALTIME_TIMESTAMP", *words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False, timeout=30,
        )  # fmt: skip
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return {}
    if done.returncode not in (0, 1):
        return {}
    counted = dict.fromkeys((_STARTED, _RESTARTED, _KILLED, _FAILED, _EXITED), 0)
    lines = []
    for text in done.stdout.splitlines():
        with contextlib.suppress(ValueError, KeyError):
            entry = json.loads(text)
            counted[entry["MESSAGE_ID"]] += 1
            if entry["MESSAGE_ID"] != _STARTED:
                when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(entry["__REALTIME_TIMESTAMP"]) / 1e6))
                lines.append({"time": when, "message": shorten(entry.get("MESSAGE") or "")})
    return {
        "started": counted[_STARTED],
        "restarted": counted[_RESTARTED],
        "killed": counted[_KILLED],
        "failed": counted[_FAILED],
        "lines": lines[-_MOST_EVENTS:],
    }


def _judge(
    unit: str,
    told: Mapping[str, str],
    now: Mapping[str, Any],
    trend: Mapping[str, Any],
    events: Mapping[str, Any],
    hours: int,
    horizon: int,
) -> list[Finding]:
    restart = "ansible-playbook playbooks/service.yml -e floyo_observe_service=restarted"
    active = told.get("ActiveState", "")
    if active != "active":
        return [
            Finding(
                "service",
                "fail",
                f"{unit} is {active or 'unknown'}, result {told.get('Result') or 'unknown'}",
                value=active,
                threshold="active",
                next_step="ansible-playbook playbooks/service.yml -e floyo_observe_service=journal",
            )
        ]
    found = [Finding("service", "pass", f"{unit} is active", value=active, threshold="active")]
    verdict = {"growing": "fail", "stable": "pass", "inconclusive": "inconclusive"}[trend["verdict"]]
    if verdict == "fail" and (trend["hours_left"] or 0) > horizon:
        verdict = "warn"  # a young process grows for hours; what is so far from its limit is nobody's emergency
    sampled = f"{trend['samples']} samples over {trend['seconds'] / 60:.0f} min of {trend['processes']} processes"
    found.append(
        Finding(
            "memory leak",
            verdict,
            trend["reason"],
            value=trend.get("bytes_an_hour"),
            threshold="no lasting growth",
            sample=sampled,
            confidence="low" if verdict == "inconclusive" else "high",
            next_step=restart if verdict == "fail" else "",
        )
    )
    sample, limit = now["sample"], now["limit"]
    if sample is not None and limit:
        share = sample.memory / limit
        found.append(
            Finding(
                "memory limit",
                "fail" if share >= _FULL else "pass",
                f"{sample.memory / MIB:.0f} of {limit / MIB:.0f} MiB ({now['source']})",
                value=round(100 * share, 1),
                threshold=f"< {100 * _FULL:.0f} %",
                next_step=restart if share >= _FULL else "",
            )
        )
    if events:
        killed = max(events["killed"], sample.killed if sample else 0)
        found.append(
            Finding(
                "killed for memory",
                "fail" if killed else "pass",
                f"{killed} times" if killed else "never",
                value=killed,
                threshold="0",
                sample=f"the last {hours} h",
                next_step=restart if killed else "",
            )
        )
        often = events["restarted"]
        found.append(
            Finding(
                "restarts",
                "warn" if often >= _OFTEN else "pass",
                f"{often} by systemd, {events['started']} starts in all",
                value=often,
                threshold=f"< {_OFTEN}",
                sample=f"the last {hours} h",
                next_step="ansible-playbook playbooks/service.yml -e floyo_observe_service=journal"
                if often >= _OFTEN
                else "",
            )
        )
    return found
