"""What systemd and the kernel say about a unit (client, standard library only: also runs inside the host program).

The control group is found by the main process's own view and the mount table, so it is right on cgroup v2, on v1, on the
hybrid of both, and in containers. Where the kernel counts no memory for the group, its processes are added up.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import Any, Optional

from ..errors import Unusable
from .trend import Sample

__all__ = ["look", "show"]

_PROPERTIES = (
    "LoadState", "ActiveState", "SubState", "MainPID", "NRestarts", "Result", "InvocationID", "ControlGroup", "MemoryMax",
    "MemoryHigh", "TasksCurrent", "TasksMax", "ExecMainStatus", "ActiveEnterTimestamp", "CPUUsageNSec", "UnitFileState",
)  # fmt: skip
_NO_LIMIT = 1 << 60
_ESCAPED = re.compile(r"\\(\d{3})")


def show(unit: str) -> dict[str, str]:
    """systemd's properties of a unit. Raises when there is no such unit."""
    try:
        done = subprocess.run(
            ["systemctl", "show", f"--property={','.join(_PROPERTIES)}", unit],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=20,
        )  # fmt: skip
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise Unusable(
            f"systemd says nothing about {unit}: {type(error).__name__}",
            code="NO_SYSTEMD",
            expected="a host that systemd runs",
            next_step="systemctl is-system-running",
        ) from error
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if done.returncode or found.get("LoadState") in (None, "", "not-found"):
        raise Unusable(
            f"systemd knows no unit {unit}",
            code="UNIT_UNKNOWN",
            expected="a unit that provisioning has made",
            next_step="correct unit, or ansible-playbook playbooks/provision.yml",
        )
    return found


def look(unit: str, *, properties: Optional[dict[str, str]] = None) -> dict[str, Any]:
    """What the unit takes now: ``sample, current, limit, source, pids``. ``sample`` is None when it does not run."""
    told = properties or show(unit)
    pid = int(told.get("MainPID") or 0)
    base: dict[str, Any] = {
        "sample": None,
        "current": None,
        "limit": _amount(told.get("MemoryMax")),
        "source": "",
        "pids": 0,
    }
    if not pid:
        return base
    groups = _groups(pid)
    memory = _memory(groups)
    pids = _pids(groups, told.get("ControlGroup", ""), pid)
    if memory is None:
        held = sum(map(_private, pids))
        memory = {"held": held, "current": held, "killed": 0, "limit": None, "source": "its processes, added up"}
    cpu = told.get("CPUUsageNSec", "")
    sample = Sample(
        round(time.time(), 3),
        told.get("InvocationID") or str(pid),
        int(memory["held"]),
        round(int(cpu) / 1e9, 3) if cpu.isdigit() and int(cpu) < _NO_LIMIT else _cpu(pids),
        int(told.get("NRestarts") or 0),
        int(memory["killed"]),
    )
    limits = [one for one in (base["limit"], memory["limit"]) if one]
    return {
        "sample": sample,
        "current": memory["current"],
        "limit": min(limits, default=None),
        "source": memory["source"],
        "pids": len(pids),
    }


def _amount(text: Optional[str]) -> Optional[int]:
    """systemd and the kernel write no limit in several ways, all of them no number or a huge one."""
    return int(text) if text and text.isdigit() and int(text) < _NO_LIMIT else None


def _read(*parts: str) -> Optional[str]:
    try:
        with open(os.path.join(*parts), encoding="ascii", errors="replace") as stream:
            return stream.read()
    except OSError:
        return None


def _fields(text: Optional[str]) -> dict[str, int]:
    pairs = (line.split() for line in (text or "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _groups(pid: int) -> dict[str, str]:
    """Directories of the process's groups: by v1 controller, and ``unified``; as they are mounted here."""
    mounts = []
    for line in (_read("/proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.partition(" ")
        if kind in ("cgroup", "cgroup2"):
            fields = [_ESCAPED.sub(lambda match: chr(int(match[1], 8)), field) for field in before.split()]
            names = {"unified"} if kind == "cgroup2" else set(options.split()[-1].split(","))
            mounts.append((names, fields[3], fields[4]))
    found = {}
    for line in (_read("/proc", str(pid), "cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(",") if controllers else ["unified"]:
            for names, root, place in mounts:
                if name in names and (path + "/").startswith(root.rstrip("/") + "/"):
                    directory = os.path.join(place, os.path.relpath(path, root)) if path != root else place
                    if os.path.isdir(directory):
                        found[name] = os.path.normpath(directory)
    return found


def _memory(groups: dict[str, str]) -> Optional[dict[str, Any]]:
    unified = groups.get("unified", "")
    current = _read(unified, "memory.current") if unified else None
    if current:
        stat, events = _fields(_read(unified, "memory.stat")), _fields(_read(unified, "memory.events"))
        return {
            "held": stat.get("anon", 0) + stat.get("kernel_stack", 0),
            "current": int(current),
            "killed": events.get("oom_kill", 0),
            "limit": _amount((_read(unified, "memory.max") or "").strip()),
            "source": "cgroup v2",
        }
    old = groups.get("memory", "")
    # The root group holds the whole host, or the whole container.
    usage = _read(old, "memory.usage_in_bytes") if old.endswith((".service", ".scope")) else None
    if not usage:
        return None
    stat = _fields(_read(old, "memory.stat"))
    return {
        "held": stat.get("total_rss", stat.get("rss", 0)),
        "current": int(usage),
        "killed": _fields(_read(old, "memory.oom_control")).get("oom_kill", 0),
        "limit": _amount((_read(old, "memory.limit_in_bytes") or "").strip()),
        "source": "cgroup v1",
    }


def _pids(groups: dict[str, str], control_group: str, pid: int) -> list[int]:
    name = os.path.basename(control_group)
    for directory in groups.values():
        if name and os.path.basename(directory) == name:
            listed = [int(word) for word in (_read(directory, "cgroup.procs") or "").split() if word.isdigit()]
            # 0: a process that this namespace does not see.
            if pid in listed:
                return [one for one in listed if one]
    return [pid]


def _private(pid: int) -> int:
    """Bytes that go when the process ends; what it shares counts for its part."""
    found = re.search(r"^Pss_Anon:\s+(\d+)|^Anonymous:\s+(\d+)", _read("/proc", str(pid), "smaps_rollup") or "", re.M)
    if found:
        return int(found[1] or found[2]) * 1024
    status = re.search(r"^RssAnon:\s+(\d+)", _read("/proc", str(pid), "status") or "", re.M)
    return int(status[1]) * 1024 if status else 0


def _cpu(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        # The name in brackets may hold blanks and brackets.
        fields = (_read("/proc", str(pid), "stat") or "").rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:13])) if len(fields) > 12 else 0
    return round(ticks / os.sysconf("SC_CLK_TCK"), 3)
