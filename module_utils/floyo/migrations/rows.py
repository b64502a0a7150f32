"""One line for each revision: what a person decides on (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Optional

from .lint import size_text
from .locks import LOCKS, blocks

__all__ = ["COLUMNS", "rows_of"]

COLUMNS = ("revision", "class", "what", "lock", "rows", "seconds", "downgrade", "verdict")
_MOST = 3


def rows_of(
    entries: Iterable[Mapping[str, Any]],
    *,
    judged: Optional[Mapping[str, Mapping[str, Any]]] = None,
    rehearsed: Optional[Mapping[str, Mapping[str, Any]]] = None,
) -> list[dict[str, Any]]:
    """Rows with the keys of COLUMNS. ``entries`` of a graph; ``judged`` and ``rehearsed`` by revision, where there are any.

    What a rehearsal has measured is told before what a reading of the SQL expects.
    """
    return [
        _row(entry, (judged or {}).get(entry["revision"]), (rehearsed or {}).get(entry["revision"]))
        for entry in entries
    ]


def _row(
    entry: Mapping[str, Any], judged: Optional[Mapping[str, Any]], rehearsed: Optional[Mapping[str, Any]]
) -> dict[str, Any]:
    done = list(entry.get("operations") or ())
    more = f" and {len(done) - _MOST} more" if len(done) > _MOST else ""
    return {
        "revision": entry["revision"],
        "class": entry["class"],
        "what": ("; ".join(done[:_MOST]) + more) or entry.get("summary", ""),
        "lock": _locks_measured(rehearsed) if rehearsed else _locks_expected(judged) if judged else "not rehearsed",
        "rows": _rows_measured(rehearsed) if rehearsed else _rows_expected(judged) if judged else "",
        "seconds": rehearsed["seconds"] if rehearsed else None,
        "downgrade": _way_back(entry, rehearsed),
        "verdict": judged["verdict"] if judged else "",
    }


def _matters(lock: str) -> bool:
    return bool(blocks(lock))


def _strongest(holds: Iterable[tuple[str, str, str]]) -> str:
    """Of each table the strongest lock that somebody notices: ``ACCESS EXCLUSIVE on users for 0.1 s``."""
    best: dict[str, tuple[str, str]] = {}
    for table, lock, more in holds:
        if _matters(lock) and (table not in best or LOCKS.index(lock) > LOCKS.index(best[table][0])):
            best[table] = (lock, more)
    words = [f"{lock} on {table.removeprefix('public.')}{more}" for table, (lock, more) in best.items()]
    more = f" and {len(words) - _MOST} more" if len(words) > _MOST else ""
    return ("; ".join(words[:_MOST]) + more) or "none that stops anybody"


def _locks_measured(rehearsed: Mapping[str, Any]) -> str:
    return _strongest((one["table"], one["lock"], f" for {one['seconds']:.1f} s") for one in rehearsed["locks"])


def _locks_expected(judged: Mapping[str, Any]) -> str:
    return _strongest((one["table"], one["lock"], f" ({size_text(one)})") for one in judged["holds"])


def _rows_measured(rehearsed: Mapping[str, Any]) -> str:
    words = [
        f"{sum(counts)} of {table.removeprefix('public.')}" for table, counts in sorted(rehearsed["rows"].items())
    ] + [f"{table.removeprefix('public.')} written anew" for table in rehearsed["rewritten"]]
    return "; ".join(words) or "0"


def _rows_expected(judged: Mapping[str, Any]) -> str:
    doing = {"scan": "reads", "rewrite": "writes anew", "rows": "up to"}
    words = [
        f"{doing[one['work']]} {one['rows']} of {one['table'].removeprefix('public.')}"
        for one in judged["holds"]
        if one["work"] in doing
    ]
    return "; ".join(dict.fromkeys(words)) or "0"


def _way_back(entry: Mapping[str, Any], rehearsed: Optional[Mapping[str, Any]]) -> str:
    if not rehearsed or not rehearsed.get("downgrade"):
        way = entry.get("downgrade") or {}
        loses = f": {', '.join(way['loses'])}" if way.get("loses") else ""
        return f"{way.get('kind', 'unknown')}{loses}, not rehearsed"
    found = rehearsed["downgrade"]
    if found["error"]:
        return f"fails: {found['error']}"
    if found["lossless"]:
        return f"lossless, {found['seconds']:.1f} s"
    return f"not lossless: {'; '.join(found['differs'][:_MOST])}"
