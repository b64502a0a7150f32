"""The report of a deploy or of a rollback, from what the steps of role floyo_deploy left (pure).

Nothing is required to be there: a run that ended early has its page, too. ``hosts`` maps names to their variables.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping
from typing import Any

from ..fleet import deploy_rows
from ..text import one_line
from .traffic import lost, rates, samples

__all__ = ["deploy_report"]

# Where the steps left the proxies' counters: before the first switch, after each batch, at the end.
_TRAFFIC = ("__floyo_deploy_traffic_before", "__floyo_deploy_traffic_after", "__floyo_deploy_seen")
# Results that hold the last lines of a log when they failed, and of how many hosts they are shown.
_LOGGED = ("__floyo_deploy_build", "__floyo_deploy_rehearsal", "__floyo_deploy_switch")
_MAX_LOGS = 5
_WELL = ("healthy", "degraded", "ready")
# The gates' words and the tones of tiles.
_GATE_TONES = {"ok": "good", "warn": "doubtful", "FAIL": "bad"}


def deploy_report(
    hosts: Mapping[str, Mapping[str, Any]],
    what: str,
    failures: Mapping[str, str],
    *,
    frontend: str = "",
    started: bool = True,
) -> dict[str, Any]:
    """``verdict, word, summary, facts, sections`` for floyo_report. ``started`` is false when no host was touched."""
    rows = deploy_rows(hosts)
    plan = _first(hosts, "__floyo_deploy_second_plan", "verdict") or _first(hosts, "__floyo_deploy_plan", "verdict")
    manifest = (_first(hosts, "__floyo_deploy_build", "release") or {}).get("manifest") or {}
    backup = (_first(hosts, "__floyo_deploy_backup", "backup") or {}).get("backup") or {}
    applied = (_first(hosts, "__floyo_deploy_migration", "applied") or {}).get("applied") or []
    gates = _shared(hosts, "__floyo_deploy_gates") or []
    target = _target(hosts, manifest)
    taken = samples((facts.get(name) for facts in hosts.values() for name in _TRAFFIC), frontend)
    verdict, word, summary = _ended(rows, failures, started)
    on_target = [row for row in rows if row["runs"] == target and target]
    facts = {
        "what": one_line(what),
        "release": target,
        "version": _version(hosts, manifest),
        "from": sorted({row["from"] for row in rows if row["from"] not in ("-", target)}),
        "hosts": len(rows),
        "on_release": len(on_target),
        "failed_hosts": sorted(failures),
        "outcome": word,
        "put_back": sum(row["result"] == "put back" for row in rows),
        "backup": backup.get("label"),
        "migrations": [one.get("revision") for one in applied],
        "lost_requests": lost(taken),
    }
    sections: list[dict[str, Any]] = [_tiles(rows, target, on_target, gates, backup, applied, plan, taken, started)]
    if failures:
        sections += [_failures(failures), *_logs(hosts)]
    sections.append(
        {
            "type": "table",
            "title": "Hosts",
            "columns": [
                "host", "from", {"key": "runs", "label": "runs now"}, {"key": "seconds", "align": "right"}, "result", "health",
            ],
            "rows": rows,
        }
    )  # fmt: skip
    sections.append(
        {"type": "timeline", "title": "Who switched when", "intro": "The steps, then each host's own switch."}
    )
    if requests := rates(taken):
        sections.append(
            {
                "type": "lines",
                "title": "Requests through the proxies",
                "intro": "By the proxies' own counters, between one step and the next. Lost: answered with 5xx.",
                "unit": "per s",
                **requests,
            }
        )
    if gates:
        sections.append(
            {"type": "table", "title": "Gates", "columns": ["gate", "result", "found", "next"], "rows": gates,
             "intro": "What was judged before the first change."}
        )  # fmt: skip
    sections += _database(plan, applied, backup)
    if manifest:
        sections.append(_built(manifest))
    return {"verdict": verdict, "word": word, "summary": summary, "facts": facts, "sections": sections}


def _shared(hosts: Mapping[str, Mapping[str, Any]], name: str) -> Any:
    """What a step left on the hosts of its play: the first that has it."""
    return next((facts[name] for facts in hosts.values() if facts.get(name)), None)


def _first(hosts: Mapping[str, Mapping[str, Any]], name: str, key: str) -> dict[str, Any]:
    """A result that holds ``key``; what was skipped or failed holds it not."""
    for facts in hosts.values():
        found = facts.get(name)
        if isinstance(found, Mapping) and found.get(key) is not None:
            return dict(found)
    return {}


def _target(hosts: Mapping[str, Mapping[str, Any]], manifest: Mapping[str, Any]) -> str:
    asked = _first(hosts, "__floyo_deploy_target", "release")
    return str(asked.get("release") or manifest.get("release") or "")


def _version(hosts: Mapping[str, Mapping[str, Any]], manifest: Mapping[str, Any]) -> str:
    asked = _first(hosts, "__floyo_deploy_target", "release")
    return str(asked.get("version") or manifest.get("version") or "")


def _ended(rows: Iterable[Mapping[str, Any]], failures: Mapping[str, str], started: bool) -> tuple[str, str, str]:
    results = collections.Counter(row["result"] for row in rows)
    sick = [row["host"] for row in rows if started and row["health"] not in _WELL]
    why = "; ".join(f"{host}: {one_line(text)}" for host, text in failures.items())
    if failures and not started:
        return (
            "bad",
            "stopped",
            f"Stopped before any host was switched. {'; '.join(dict.fromkeys(map(one_line, failures.values())))}",
        )
    if failures:
        return "bad", "put back" if results["put back"] else "failed", why
    if sick:
        return "doubtful", "done, not well", f"Not well: {', '.join(sick)}."
    if results["unchanged"] == sum(results.values()):
        return "good", "unchanged", "Every host ran it already."
    return "good", "done", ""


def _tiles(
    rows: list[dict[str, Any]],
    target: str,
    on_target: list[dict[str, Any]],
    gates: list[Mapping[str, Any]],
    backup: Mapping[str, Any],
    applied: list[Mapping[str, Any]],
    plan: Mapping[str, Any],
    taken: list[dict[str, Any]],
    started: bool,
) -> dict[str, Any]:
    well = sum(row["health"] in _WELL for row in rows)
    tiles = [
        {
            "label": "hosts on the release",
            "value": f"{len(on_target)} of {len(rows)}",
            "note": target or "not known yet",
            "tone": "good" if len(on_target) == len(rows) else "bad" if started else "unknown",
        }
    ]
    if started:
        tiles.append(
            {
                "label": "healthy",
                "value": f"{well} of {len(rows)}",
                "note": "",
                "tone": "good" if well == len(rows) else "bad",
            }
        )
    if gates:
        counted = collections.Counter(str(gate.get("result")) for gate in gates)
        worst = next((word for word in ("FAIL", "warn", "ok") if counted[word]), "ok")
        said = ", ".join(f"{counted[word]} {word}" for word in ("ok", "warn", "FAIL") if counted[word])
        tiles.append({"label": "gates", "value": said, "note": "", "tone": _GATE_TONES[worst]})
    if plan:
        tiles.append(
            {"label": "plan", "value": str(plan["verdict"]), "note": str(plan.get("reason") or ""), "tone": ""}
        )
    tiles.append(
        {
            "label": "migrations",
            "value": f"{len(applied)} run" if applied else "none run",
            "note": ", ".join(str(one.get("revision")) for one in applied),
            "tone": "",
        }
    )
    if backup:
        tiles.append({"label": "backup", "value": "verified", "note": str(backup.get("label") or ""), "tone": "good"})
    gone = lost(taken)
    if gone is not None:
        total = rates(taken).get("total", 0)
        tiles.append(
            {"label": "lost requests", "value": f"{gone:,} of {total:,}", "note": "by the proxies' counters",
             "tone": "bad" if gone else "good" if total else "unknown"}
        )  # fmt: skip
    return {"type": "tiles", "title": "At a glance", "tiles": tiles}


def _failures(failures: Mapping[str, str]) -> dict[str, Any]:
    """Why, with the hosts that say the same together."""
    alike: dict[str, list[str]] = {}
    for host, text in failures.items():
        alike.setdefault(str(text), []).append(host)
    lines = []
    for text, hosts in alike.items():
        named = ", ".join(hosts) if len(hosts) <= 6 else f"{', '.join(hosts[:6])} and {len(hosts) - 6} more"
        lines += [f"{named}:", *(f"  {line}" for line in text.splitlines() if line.strip())]
    return {"type": "text", "title": "What failed", "lines": lines}


def _logs(hosts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The last lines of what failed: a build on its host, or the service of hosts that did not come up."""
    found: dict[str, list[str]] = {}
    for host, facts in hosts.items():
        for name in _LOGGED:
            result = facts.get(name)
            lines = result.get("log_tail") if isinstance(result, Mapping) and _gone_wrong(result) else None
            if lines and lines not in found.values():
                found[f"{name.rpartition('_')[2]} on {host}"] = list(lines)
    return [
        {"type": "text", "title": f"Last lines of the {title}", "lines": lines}
        for title, lines in list(found.items())[:_MAX_LOGS]
    ]


def _gone_wrong(result: Mapping[str, Any]) -> bool:
    """A rollback's switch is allowed to fail, and then says only that it reverted."""
    return bool(result.get("failed")) or result.get("outcome") == "reverted"


def _database(
    plan: Mapping[str, Any], applied: list[Mapping[str, Any]], backup: Mapping[str, Any]
) -> list[dict[str, Any]]:
    sections: list[dict[str, Any]] = []
    steps = [one.get("text") for one in plan.get("steps") or () if isinstance(one, Mapping)]
    if steps:
        sections.append(
            {"type": "table", "title": "Plan", "intro": str(plan.get("reason") or ""), "columns": ["step", "what"],
             "rows": [[str(number), text] for number, text in enumerate(steps, 1)]}
        )  # fmt: skip
    if applied:
        classes = {one.get("revision"): one for one in [*(plan.get("pending") or ())] if isinstance(one, Mapping)}
        sections.append(
            {
                "type": "table",
                "title": "Migrations",
                "columns": ["revision", "direction", "class", "summary", {"key": "seconds", "align": "right"}],
                "rows": [
                    # A direction is no state.
                    {**classes.get(one.get("revision"), {}), **one, "direction": {"text": one.get("direction") or ""}}
                    for one in applied
                ],
            }
        )
    if backup:
        manifest = backup.get("manifest") or {}
        rows = [
            ["label", backup.get("label")],
            ["size", _bytes(backup.get("size"))],
            ["sha256", backup.get("sha256")],
            ["heads", backup.get("heads") or manifest.get("heads")],
            ["took", f"{backup['seconds']:.1f} s" if backup.get("seconds") is not None else None],
            ["verified", "read back from the first byte to the last" if backup.get("label") else None],
        ]
        sections.append(
            {
                "type": "table",
                "title": "Backup",
                "columns": ["what", "is"],
                "rows": [row for row in rows if row[1] not in (None, [])],
            }
        )
    return sections


def _bytes(size: Any) -> str | None:
    if not isinstance(size, (int, float)):
        return None
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _built(manifest: Mapping[str, Any]) -> dict[str, Any]:
    tests = manifest.get("tests") or {}
    wanted = (
        "release",
        "version",
        "commit",
        "subject",
        "author",
        "date",
        "python_tag",
        "platform",
        "built_at",
        "builder",
    )
    rows: list[list[Any]] = [[name.replace("_", " "), manifest[name]] for name in wanted if manifest.get(name)]
    if tests:
        rows.append(["tests", tests.get("summary") or ("passed" if tests.get("passed") else "none")])
    return {"type": "table", "title": "What was built", "folded": True, "columns": ["what", "is"], "rows": rows}
