"""What the statements of a database cost, over their life and over a window (pure, standard library only)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Optional

from ..finding import Finding
from .judge import Limits, period
from .redact import redact

__all__ = ["MARK", "ORDERS", "findings", "ranked", "sample_of"]

# Before each question of ours, which the server keeps: they are none of the application's.
MARK = "/* floyo-ops */ "
ORDERS = {"mean": "mean_ms", "total": "total_ms", "calls": "calls"}
# Beyond these a sample holds the costliest; one that comes anew is then counted from its beginning.
_MOST_SAMPLED = 1000


def sample_of(rows: Iterable[Mapping[str, Any]], info: Mapping[str, Any], at: float) -> dict[str, Any]:
    """What a later look needs to know of this one."""
    counted: dict[str, list[float]] = {}
    for row in rows:
        calls, total = counted.get(_key(row), [0, 0.0])
        counted[_key(row)] = [calls + row["calls"], round(total + row["total_ms"], 3)]
    costliest = sorted(counted.items(), key=lambda item: -item[1][1])[:_MOST_SAMPLED]
    return {"at": at, "reset": info.get("reset"), "started": info.get("started"), "statements": dict(costliest)}


def _key(row: Mapping[str, Any]) -> str:
    return f"{row['usename']}/{row['id']}"


def ranked(
    rows: Sequence[Mapping[str, Any]], earlier: Optional[Mapping[str, Any]], *, order: str, most: int
) -> list[dict[str, Any]]:
    """The costliest statements since ``earlier``, or since counting began. Statements without a value in their text."""
    before = (earlier or {}).get("statements", {})
    found = []
    for row in rows:
        if row["id"] is None or (row["query"] or "").startswith(MARK):
            continue
        calls, total = row["calls"], row["total_ms"]
        known = before.get(_key(row))
        if known:
            calls, total = calls - int(known[0]), total - float(known[1])
        if calls <= 0:
            continue
        reads = (row["hits"] or 0) + (row["reads"] or 0)
        found.append(
            {
                "id": row["id"], "user": row["usename"], "calls": calls, "mean_ms": round(total / calls, 2),
                "total_ms": round(total, 1), "worst_ms": round(row.get("worst_ms") or 0.0, 1),
                "rows_each": round(row["rows"] / max(row["calls"], 1), 1),
                "hit_rate": round(100 * (row["hits"] or 0) / reads, 1) if reads else None,
                # Before the window it was as quick as this: what a release made slower shows here.
                "mean_ms_before": round(float(known[1]) / known[0], 2) if known and known[0] else None,
                "query": row["query"],
            }
        )  # fmt: skip
    total = sum(row["total_ms"] for row in found) or 1.0
    found.sort(key=lambda row: (-row[ORDERS[order]], row["id"]))
    return [
        {**row, "share": round(100 * row["total_ms"] / total, 1), "query": redact(row["query"] or "")}
        for row in found[:most]
    ]


def findings(
    rows: Sequence[Mapping[str, Any]], *, seconds: Optional[float], windowed: bool, lost: int, limits: Limits
) -> Iterator[Finding]:
    """``lost``: how often statements were forgotten because the server keeps only so many."""
    slow = 0
    for row in rows:
        mean, calls = row["mean_ms"], row["calls"]
        if mean < limits["mean_ms_warn"]:
            continue
        slow += 1
        few = calls < limits["min_calls"]
        verdict = "inconclusive" if few else "fail" if mean >= limits["mean_ms_fail"] else "warn"
        before = row["mean_ms_before"]
        slower = f", before {before:g} ms" if windowed and before and mean > 1.5 * before else ""
        yield Finding(
            "slow_query", verdict, f"{mean:g} ms on average, {row['share']:g} % of all time{slower}: {row['query'][:160]}",
            object=row["id"], value=mean,
            threshold=f"below {limits['mean_ms_fail' if verdict == 'fail' else 'mean_ms_warn']:g} ms",
            sample=f"{calls} calls in {period(seconds)}",
            confidence="low" if few or lost else "high" if windowed else "medium",
            next_step="look again with a longer window" if few else
            f"EXPLAIN (GENERIC_PLAN) from version 16 on, or EXPLAIN with sample values, of statement {row['id']}",
        )  # fmt: skip
    if not slow:
        calls = sum(row["calls"] for row in rows)
        enough = calls >= limits["min_calls"]
        yield Finding(
            "slow_query", "pass" if enough else "inconclusive",
            "no statement is slow on average" if enough else "hardly any statement ran", value=0,
            threshold=f"below {limits['mean_ms_warn']:g} ms", sample=f"{calls} calls in {period(seconds)}",
            confidence="low" if lost or not enough else "high" if windowed else "medium",
        )  # fmt: skip
