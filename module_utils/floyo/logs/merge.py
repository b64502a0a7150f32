"""One log of the logs of many hosts (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..text import one_line

__all__ = ["footer", "lines_of_all", "memory_of_all", "patterns_of_all", "silent", "slow_of_all"]

Results = Mapping[str, Mapping[str, Any]]


def silent(results: Results) -> dict[str, str]:
    """Hosts whose log was not read, and why."""
    return {
        host: "unreachable" if result.get("unreachable") else one_line(result.get("msg") or "no answer")
        for host, result in results.items()
        if "matched" not in result
    }


def _read(results: Results) -> dict[str, Mapping[str, Any]]:
    return {host: result for host, result in results.items() if "matched" in result}


def lines_of_all(results: Results, last: int) -> list[dict[str, Any]]:
    """Rows ``time, host, level, message``: by time; a line without one stays behind the line before it of its host."""
    dated = []
    for host, result in _read(results).items():
        epoch = 0.0
        for number, line in enumerate(result["lines"]):
            # Clocks step back, and a traceback has no time: the order within a host is the file's.
            epoch = max(epoch, line["epoch"] or 0.0)
            dated.append((epoch, host, number, line))
    dated.sort(key=lambda one: one[:3])
    return [
        {
            "time": (line["time"] or "-").removesuffix("Z").replace("T", " "),
            "host": host,
            "level": line["level"] or "-",
            "message": f"{line['logger']}: {line['message']}" if line["logger"] else line["message"],
        }
        for _, host, _, line in dated[-last:]
    ]


def patterns_of_all(results: Results, top: int = 20) -> list[dict[str, Any]]:
    """Rows ``count, pattern, hosts, first, last``, the most frequent first."""
    found: dict[str, dict[str, Any]] = {}
    for host, result in _read(results).items():
        for one in result["patterns"]:
            row = found.setdefault(
                one["pattern"],
                {
                    "count": 0,
                    "pattern": one["pattern"],
                    "hosts": [],
                    "first": None,
                    "last": None,
                    "sample": one["sample"],
                },
            )
            row["count"] += one["count"]
            row["hosts"].append(host)
            row["first"] = min(filter(None, (row["first"], one["first"])), default=None)
            row["last"] = max(filter(None, (row["last"], one["last"])), default=None)
    return sorted(found.values(), key=lambda row: (-row["count"], row["pattern"]))[:top]


def slow_of_all(results: Results, top: int = 20) -> list[dict[str, Any]]:
    """Rows ``count, max_ms, what, hosts``."""
    found: dict[str, dict[str, Any]] = {}
    for host, result in _read(results).items():
        for one in result["slow"]["requests"]:
            row = found.setdefault(one["what"], {"count": 0, "max_ms": 0.0, "what": one["what"], "hosts": []})
            row["count"] += one["count"]
            row["max_ms"] = max(row["max_ms"], one["max_ms"])
            row["hosts"].append(host)
    return sorted(found.values(), key=lambda row: (-row["count"], row["what"]))[:top]


def memory_of_all(results: Results) -> list[dict[str, Any]]:
    """Rows ``time, host, level, message`` of lines that speak of memory."""
    told = {host: {**result, "lines": result["memory"]["lines"]} for host, result in _read(results).items()}
    return lines_of_all(told, 5 * len(told))


def footer(results: Results, kind: str = "lines") -> list[str]:
    """How much was looked at, and what was wrong with it."""
    read = _read(results)
    files = sum(len(result["files"]) for result in read.values())
    unread = sum(result["unread_files"] for result in read.values())
    count = sum(_count(result, kind) for result in read.values())
    said = [f"{count} lines match" if not unread else f"at least {count} lines match"]
    if files:
        said[0] += f", in {files} files of {len(read)} hosts"
    if unread:
        said[0] += f"; {unread} older files were not needed"
    undated = sum(result["undated"] for result in read.values())
    if undated:
        said.append(f"{undated} lines tell no time and could not be sorted in")
    said += [
        f"{host}: {file['name']} {remark}"
        for host, result in read.items()
        for file in result["files"]
        for remark in file["remarks"]
    ]
    return said


def _count(result: Mapping[str, Any], kind: str) -> int:
    if kind == "patterns":
        return int(result["pattern_count"])
    return int(result[kind]["count"] if kind in ("memory", "slow") else result["matched"])
