"""The health of all hosts in one table and one severity (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..text import one_line

__all__ = ["fleet_severity", "health_rows"]


def health_rows(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows ``host, check, verdict, severity, status, ms, says, next``; a host without an answer has one row."""
    rows = []
    for host, result in results.items():
        if "checks" not in result:
            says = "unreachable" if result.get("unreachable") else one_line(result.get("msg") or "no answer")
            rows.append(_row(host, "-", "unknown", "P1", None, None, says, ""))
            continue
        causes, severity = result["causes"], result["severity"]
        for check in result["checks"]:
            bad = check["name"] in causes
            rows.append(
                _row(
                    host,
                    check["name"],
                    # What an optional endpoint says badly is no fault of the application.
                    "degraded" if causes.get(check["name"]) == "optional" else check["level"],
                    severity if bad else "-",
                    check["status"],
                    check["latency_ms"],
                    check["message"] if bad or check["reason"] != "OK" else "",
                    check["next_step"] if bad else "",
                )
            )
    return rows


def _row(
    host: str, check: str, verdict: str, severity: str, status: Any, ms: Any, says: str, step: str
) -> dict[str, Any]:
    return {
        "host": host, "check": check, "verdict": verdict, "severity": severity, "status": status, "ms": ms, "says": says,
        "next": step,
    }  # fmt: skip


def fleet_severity(backends: Iterable[Mapping[str, Any]], fronts: Iterable[Mapping[str, Any]] = ()) -> str:
    """``none`` or P0 to P3: P0 when users get nothing at all, P1 when a part is out, else the worst of the hosts.

    One backend that is down is a partial outage as long as another one serves.
    """
    backends, fronts = list(backends), list(fronts)
    listed = [*backends, *fronts]
    out = [one for one in backends if one.get("verdict") not in ("healthy", "degraded")]
    dark = [one for one in fronts if one.get("verdict") not in ("healthy", "degraded")]
    if (backends and len(out) == len(backends)) or (fronts and len(dark) == len(fronts)):
        return "P0"
    if out or dark:
        return "P1"
    return min((str(one["severity"]) for one in listed if one.get("severity") not in (None, "none")), default="none")
