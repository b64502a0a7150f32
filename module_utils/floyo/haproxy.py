"""What HAProxy's statistics say (pure)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["counters", "drained", "states"]


def states(text: str, backend: str) -> dict[str, str]:
    """``{server: status}`` of a backend from HAProxy's CSV; empty when ``text`` is none."""
    rows = csv.DictReader(text.lstrip("# ").splitlines())
    return {
        row["svname"]: row["status"] or ""
        for row in rows
        if row.get("pxname") == backend and row.get("svname") not in (None, "BACKEND", "FRONTEND")
    }


def counters(text: str, frontend: str) -> dict[str, int]:
    """``requests, client_errors, server_errors`` of a frontend since HAProxy started; empty when it is not there."""
    for row in csv.DictReader(text.lstrip("# ").splitlines()):
        if row.get("pxname") == frontend and row.get("svname") == "FRONTEND":
            return {
                "requests": int(row.get("req_tot") or 0),
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
