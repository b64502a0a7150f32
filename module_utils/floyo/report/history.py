"""The index page: every report, newest first, and what they say together about a fleet (pure)."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from . import plots
from .document import made

__all__ = ["index", "levels", "levels_over_time"]

# "< 500 ms": the limit and its unit.
_LIMIT = re.compile(r"[<>=\s]*(\d+(?:\.\d+)?)\s*(\S*)")

# How many rows of each history the page shows; the reports themselves stay in the directory.
_RELEASES = 30
_REPORTS = 200
_CHANGES = ("deploy", "rollback")


def _at(document: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(str(document["began"]).replace("Z", "+00:00")).timestamp()


def _facts(document: Mapping[str, Any]) -> Mapping[str, Any]:
    facts = document.get("facts")
    return facts if isinstance(facts, Mapping) else {}


def _page(document: Mapping[str, Any]) -> str:
    return f"{document['name']}.html"


def _when(document: Mapping[str, Any]) -> dict[str, str]:
    return {"text": str(document["began"]).replace("T", " ").replace("Z", ""), "href": _page(document)}


def _word(document: Mapping[str, Any]) -> dict[str, str]:
    return {"text": str(document.get("word") or document["verdict"]), "tone": str(document["verdict"])}


def index(
    documents: Sequence[Mapping[str, Any]],
    *,
    application: str,
    environment: str,
    now: float,
    strange: Sequence[str] = (),
) -> dict[str, Any]:
    """The document of the index page. ``documents`` are reports with their ``name``, newest first."""
    by_kind: dict[str, list[Mapping[str, Any]]] = collections.defaultdict(list)
    for document in documents:
        by_kind[str(document["kind"])].append(document)
    changes = [document for document in documents if document["kind"] in _CHANGES]
    sections = [_tiles(documents, by_kind, changes, now)]
    if changes:
        sections += [_releases(changes), *_durations(changes)]
    if by_kind["backups"] or by_kind["restore_drill"]:
        sections.append(_backups(by_kind["backups"], by_kind["restore_drill"]))
    sections += levels_over_time(by_kind["slo"])
    sections.append(_all(documents))
    if strange:
        sections.append({"type": "text", "title": "Files that are no reports", "lines": list(strange), "folded": True})
    latest = changes[0] if changes else None
    return made(
        kind="index",
        title=f"{application} {environment}: reports",
        application=application,
        environment=environment,
        began=now,
        ended=now,
        verdict=str(latest["verdict"]) if latest else "unknown",
        word=f"last {latest['kind']}: {latest['word']}" if latest else "no deploy yet",
        summary=f"{len(documents)} reports" if len(documents) != 1 else "1 report",
        sections=sections,
    )


def levels(findings: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What a report of service levels keeps of its findings for the index: those that are numbers."""
    kept = []
    for finding in findings:
        value, limit = finding.get("value"), _LIMIT.fullmatch(str(finding.get("threshold") or ""))
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            kept.append(
                {
                    "name": str(finding["check"]),
                    "value": value,
                    "target": float(limit[1]) if limit else None,
                    "unit": limit[2] if limit else "",
                    "ok": finding.get("verdict") == "pass",
                }
            )
    return kept


def _tiles(
    documents: Sequence[Mapping[str, Any]],
    by_kind: Mapping[str, list[Mapping[str, Any]]],
    changes: Sequence[Mapping[str, Any]],
    now: float,
) -> dict[str, Any]:
    good = next((one for one in changes if one["verdict"] in ("good", "doubtful")), None)
    month = [one for one in changes if now - _at(one) < 30 * plots.DAY]
    deploys = [one for one in month if one["kind"] == "deploy"]
    failed = [one for one in deploys if one["verdict"] == "bad"]
    tiles = [
        {
            "label": "release",
            "value": str(_facts(good).get("version") or "-") if good else "not known",
            "note": f"since {plots.seconds(now - _at(good))}" if good else "",
            "tone": "" if good else "unknown",
        },
        {"label": "deploys, 30 days", "value": str(len(deploys)), "note": f"{len(failed)} failed", "tone": ""},
        {"label": "rollbacks, 30 days", "value": str(len(month) - len(deploys)), "note": "", "tone": ""},
    ]
    for kind, label in (
        ("backups", "backups"),
        ("restore_drill", "last drill"),
        ("slo", "service levels"),
        ("health", "health"),
    ):
        if newest := next(iter(by_kind.get(kind) or ()), None):
            tiles.append(
                {
                    "label": label,
                    "value": str(newest["word"]),
                    "note": f"{plots.seconds(now - _at(newest))} ago",
                    "tone": newest["verdict"],
                }
            )
    return {"type": "tiles", "title": "At a glance", "tiles": tiles}


def _releases(changes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = []
    for document in changes[:_RELEASES]:
        facts = _facts(document)
        rows.append(
            {
                "when": _when(document),
                "what": document["kind"],
                "version": facts.get("version"),
                "hosts": f"{facts.get('on_release', '?')} of {facts.get('hosts', '?')}",
                "took": plots.seconds(float(document.get("seconds") or 0)),
                "lost": facts.get("lost_requests"),
                "migrations": len(facts.get("migrations") or ()),
                "result": _word(document),
            }
        )
    right = ("took", "lost", "migrations")
    return {
        "type": "table",
        "title": "Releases",
        "intro": "Deploys and rollbacks, newest first.",
        "columns": [
            {
                "key": name,
                "label": {"lost": "lost requests"}.get(name, name),
                "align": "right" if name in right else "left",
            }
            for name in ("when", "what", "version", "hosts", "took", "lost", "migrations", "result")
        ],
        "rows": rows,
    }


def _durations(changes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A plot for each kind: a rollback takes seconds where a deploy takes minutes."""
    sections = []
    for kind in _CHANGES:
        points = [
            [_at(one), float(one.get("seconds") or 0), one["verdict"]]
            for one in reversed(changes)
            if one["kind"] == kind
        ]
        if points:
            sections.append(
                {
                    "type": "lines",
                    "title": f"How long {kind}s took",
                    "intro": "A dot ended well, a triangle is one to look at, a cross failed.",
                    "unit": "s",
                    "dots": True,
                    "series": [{"label": kind, "points": points}],
                }
            )
    return sections


def _backups(lists: Iterable[Mapping[str, Any]], drills: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    rows = [
        {
            "when": _when(one),
            "what": {"backups": "check"}.get(str(one["kind"]), "drill"),
            "backup": _facts(one).get("backup"),
            "found": one.get("summary"),
            "result": _word(one),
        }
        for one in sorted([*lists, *drills], key=lambda one: str(one["began"]), reverse=True)[:_RELEASES]
    ]
    return {
        "type": "table",
        "title": "Backups and drills",
        "columns": ["when", "what", "backup", "found", "result"],
        "rows": rows,
    }


def levels_over_time(reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A plot for each service level that the reports' facts hold: ``levels: [{name, value, target, unit, ok}]``.

    ``reports`` come newest first.
    """
    series: dict[tuple[str, str], list[list[Any]]] = collections.defaultdict(list)
    targets: dict[tuple[str, str], float] = {}
    for document in reversed(reports):
        for level in _facts(document).get("levels") or ():
            value, key = level.get("value"), (str(level.get("name")), str(level.get("unit") or ""))
            if not isinstance(value, (int, float)):
                continue
            series[key].append([_at(document), float(value), "good" if level.get("ok") else "bad"])
            if isinstance(level.get("target"), (int, float)):
                targets[key] = float(level["target"])
    return [
        {
            "type": "lines",
            "title": f"Service level: {key[0]}",
            "unit": key[1],
            "series": [{"label": key[0], "points": points}],
            "targets": [{"label": "target", "value": targets[key]}] if key in targets else [],
        }
        for key, points in series.items()
    ]


def _all(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = [
        {"when": _when(one), "what": one["kind"].replace("_", " "), "title": one.get("title"), "result": _word(one)}
        for one in documents[:_REPORTS]
    ]
    more = len(documents) - len(rows)
    return {
        "type": "table",
        "title": "All reports",
        "intro": f"The newest {len(rows)}; {more} older ones are in the directory." if more > 0 else "",
        "columns": ["when", "what", "title", "result"],
        "rows": rows,
    }
