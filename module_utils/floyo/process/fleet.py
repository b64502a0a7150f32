"""What all hosts' processes take, in one table (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..text import one_line
from .trend import MIB

__all__ = ["process_rows"]


def process_rows(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows ``host, active, since, memory, limit, cpu, leak, starts, killed`` of results of module floyo_process."""
    rows = []
    for host, result in results.items():
        if "active" not in result:
            why = "unreachable" if result.get("unreachable") else one_line(result.get("msg") or "no answer")
            rows.append({"host": host, "active": why})
            continue
        events, leak = result["events"], result["leak"]
        rows.append(
            {
                "host": host,
                "active": result["active"]
                if result["active"] == "active"
                else f"{result['active']} ({result['result']})",
                "since": result["since"],
                "memory": _mib(result["memory"]),
                "limit": _mib(result["memory_limit"]),
                "cpu": result["cpu_percent"],
                "leak": f"{leak['verdict']}: {leak['reason']}",
                "starts": events.get("started"),
                "killed": events.get("killed"),
            }
        )
    return rows


def _mib(size: Any) -> Any:
    return None if size is None else round(size / MIB)
