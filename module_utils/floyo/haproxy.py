"""What HAProxy's statistics say (pure)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["counters", "drained", "states"]

# How a request may end: by the first digit of its status; "other" is one whose client went away, say.
_ENDS = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")


def states(text: str, backend: str) -> dict[str, str]:
    """``{server: status}`` of a backend from HAProxy's CSV; empty when ``text`` is none."""
    rows = csv.DictReader(text.lstrip("# ").splitlines())
    return {
        row["svname"]: row["status"] or ""
        for row in rows
        if row.get("pxname") == backend and row.get("svname") not in (None, "BACKEND", "FRONTEND")
    }


def counters(text: str, frontend: str) -> dict[str, int]:
    """``requests, client_errors, server_errors`` of a frontend since HAProxy started; empty when it is not there.

    Requests count when they end, as errors do: ``req_tot`` counts them when they come, and between two looks more may
    fail than came.
    """
    for row in csv.DictReader(text.lstrip("# ").splitlines()):
        if row.get("pxname") == frontend and row.get("svname") == "FRONTEND":
            return {
                "requests": sum(int(row.get(f"hrsp_{kind}") or 0) for kind in _ENDS),
                "client_errors": int(row.get("hrsp_4xx") or 0),
                "server_errors": int(row.get("hrsp_5xx") or 0),
            }
    return {}


def drained(answers: Iterable[Mapping[str, Any]], backend: str) -> list[list[str]]:
    """``[[proxy, server], ...]`` that take no new requests because somebody drained them.

    ``answers`` are results of a command in a loop over proxies. Maintenance is another state: it is meant.
    """
    return [
        [answer["item"], server]
        for answer in answers
        for server, status in states(str(answer.get("stdout") or ""), backend).items()
        if status.startswith("DRAIN")
    ]
