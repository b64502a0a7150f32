"""How far a revision has come, from what can be seen of it while it runs (pure).

What a transaction has changed cannot be seen before it ends. What can be: phases of commands that report them (an index that
is built, a table that is copied or written anew by CLUSTER), rows of transactions that have ended (batches), and how much WAL
the server has written meanwhile, which all work leaves behind, and others' work too. Beside it, what the last rehearsal took.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..progress import clock
from .lint import bytes_text

__all__ = ["describe", "estimate"]

_ENOUGH = 0.02  # of the whole, before a rate says anything


def estimate(sample: Mapping[str, Any], rehearsed: Optional[Mapping[str, Any]] = None) -> dict[str, Any]:
    """``part`` (0 to 1), ``done``, ``total``, ``unit``, ``rate`` a second and the seconds ``left``; None where nothing tells.

    ``sample`` is the helper's: ``seconds``, ``doing`` (``what``, ``table``, ``phase``, ``done``, ``total``, ``unit``, ``seconds``
    since it began), ``rows`` that were changed by table, ``live_rows`` of these tables, ``wal`` bytes.
    """
    found = _by_command(sample) or _by_rows(sample, rehearsed or {}) or _by_wal(sample, rehearsed or {})
    seconds = found.pop("seconds")
    rate = found["done"] / seconds if seconds > 0 and found["done"] else None
    part = min(1.0, found["done"] / found["total"]) if found["total"] else None
    left = None
    if part is not None and rate and part >= _ENOUGH:
        left = max(0.0, found["total"] - found["done"]) / rate
    elif rehearsed:
        left = max(0.0, rehearsed["seconds"] - sample["seconds"])
    return {**found, "part": part, "rate": rate and round(rate, 1), "left": None if left is None else round(left)}


def _by_command(sample: Mapping[str, Any]) -> dict[str, Any]:
    doing = sample.get("doing") or {}
    if not doing.get("total"):
        return {}
    return {key: doing[key] for key in ("done", "total", "unit", "seconds")}


def _by_rows(sample: Mapping[str, Any], rehearsed: Mapping[str, Any]) -> dict[str, Any]:
    """Batches that were committed, of the rows that the rehearsal has changed; without one, of the rows that there are."""
    expected = {table: sum(counts) for table, counts in (rehearsed.get("rows") or {}).items()}
    rows = {table: count for table, count in (sample.get("rows") or {}).items() if table in expected or not expected}
    if not any(rows.values()):
        return {}
    live = sample.get("live_rows") or {}
    total = sum(expected.values()) or sum(max(live.get(table, 0), 0) for table in rows)
    return {"done": sum(rows.values()), "total": total or None, "unit": "rows", "seconds": sample["seconds"]}


def _by_wal(sample: Mapping[str, Any], rehearsed: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "done": sample.get("wal") or 0,
        "total": rehearsed.get("wal") or None,
        "unit": "bytes",
        "seconds": sample["seconds"],
    }


def describe(record: Mapping[str, Any]) -> str:
    """One line: ``bbbb2222 (2 of 3): CREATE INDEX on users, 41 %, 0:12 so far, about 0:17 left (0:31 at the rehearsal)``."""
    found, doing = record["estimate"], record.get("doing") or {}
    words = []
    if record.get("blockers"):
        words.append(f"waits for {record['blockers'][0]}")
    elif doing:
        words.append(" ".join(part for part in (doing["what"], doing["table"] and f"on {doing['table']}") if part))
        if doing.get("phase"):
            words.append(doing["phase"])
    if found["part"] is not None:
        words.append(f"{100 * found['part']:.0f} %")
    if found["done"] and not record.get("blockers"):
        words += _amounts(found, record)
    words.append(f"{clock(record['seconds'])} so far")
    if found["left"] is not None:
        words.append(f"about {clock(found['left'])} left")
    usual = record.get("rehearsed_seconds")
    after = f" ({clock(usual)} at the rehearsal)" if usual is not None else " (not rehearsed)"
    way = "" if record["direction"] == "up" else "back, "
    place = f"{record['revision']} ({way}{record['number']} of {record['of']}"
    place += f", attempt {record['attempt']})" if record["attempt"] > 1 else ")"
    return f"{place}: {', '.join(words)}{after}"


def _amounts(found: Mapping[str, Any], record: Mapping[str, Any]) -> Sequence[str]:
    if found["unit"] == "bytes":
        rate = f", {bytes_text(found['rate'])}/s" if found["rate"] else ""
        # Others write WAL, too; what a command reports of itself is its own.
        return [f"{bytes_text(found['done'])}{'' if record.get('doing') else ' of WAL'}{rate}"]
    if found["unit"] == "rows":
        rate = f", {found['rate']:.0f}/s" if found["rate"] else ""
        total = f" of {found['total']}" if found["total"] else ""
        return [f"{found['done']}{total} rows{rate}"]
    return []
