"""What Alertmanager sends, as a message to people (pure, standard library only)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..text import one_line

__all__ = ["message_of"]

_KINDS = {"P0": "failure", "P1": "failure", "P2": "warning"}


def message_of(payload: Mapping[str, Any]) -> tuple[str, str, str]:
    """``(title, body, kind)`` of a group of alerts; what fires comes first. Raises ValueError for anything else."""
    alerts = payload.get("alerts")
    if not isinstance(alerts, list) or not alerts or not all(isinstance(one, Mapping) for one in alerts):
        raise ValueError("no alerts")
    ordered = sorted(alerts, key=lambda one: (one.get("status") == "resolved", _label(one, "host")))
    firing = [one for one in ordered if one.get("status") != "resolved"]
    shown = firing or ordered
    severity = min((_label(one, "severity") or "P9" for one in shown), default="P9")
    names = ", ".join(sorted({_label(one, "alertname") for one in shown}))
    hosts = ", ".join(sorted({_label(one, "host") for one in shown} - {""}))
    title = f"[{severity if firing else 'over: ' + severity}] {names}" + (f" on {hosts}" if hosts else "")
    body = "\n".join(line for one in ordered for line in _lines(one))
    return title, body, _KINDS.get(severity, "info") if firing else "success"


def _label(alert: Mapping[str, Any], name: str) -> str:
    return one_line((alert.get("labels") or {}).get(name, ""))


def _lines(alert: Mapping[str, Any]) -> list[str]:
    told = {name: one_line(text) for name, text in (alert.get("annotations") or {}).items()}
    over = alert.get("status") == "resolved"
    since, ended = (str(alert.get(name, ""))[:19].replace("T", " ") for name in ("startsAt", "endsAt"))
    what = told.get("summary") or _label(alert, "alertname")
    lines = [f"{'over' if over else 'fires'}: {what} (UTC: since {since}{', until ' + ended if over else ''})"]
    if not over and told.get("playbook"):
        lines.append(f"next: {told['playbook']}")
    return lines
