"""The verdict on pending migrations as gates of a deploy: what would be noticed stops it, unless it was agreed to by name (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union

from ..text import one_line

__all__ = ["migration_gates"]

_NAMED = 2
_ORDER = ("fail", "warn")


def migration_gates(
    lint: Mapping[str, Any], *, plan: Mapping[str, Any], consent: Union[str, Iterable[str]] = ()
) -> list[dict[str, str]]:
    """Rows of ``gate, result (ok, warn, FAIL), found, next``. ``lint`` is alembic_migrate's, ``plan`` floyo_plan's.

    Only what this run would apply counts. ``consent`` names revisions, and surroundings such as ``disk``: what would fail for
    them warns. A list, or words with commas between, as they come from a command line.
    """
    agreed = set(consent.replace(" ", "").split(",") if isinstance(consent, str) else consent)
    runs = {name for step in plan["steps"] if step["what"] in ("upgrade", "contract") for name in step["revisions"]}
    judged = [one for one in lint["revisions"] if one["revision"] in runs]
    if not judged:
        return []
    rows = [_row(f"migration {one['revision']}", one["revision"], one["findings"], agreed) for one in judged]
    quiet = [row for row in rows if row["result"] == "ok"]
    rows = [row for row in rows if row["result"] != "ok"]
    if quiet:
        count = f"{len(quiet)} revision{'s' * (len(quiet) != 1)}"
        rows.insert(0, _gate("migrations on live tables", "ok", f"{count} that nobody would notice"))
    for name in dict.fromkeys(one["name"] for one in lint["surroundings"]):
        found = [one for one in lint["surroundings"] if one["name"] == name]
        rows.append(_row(f"database now: {name}", name, found, agreed))
    if lint.get("squawk"):
        rows.append(
            _gate(
                "squawk",
                "warn",
                f"judged without it: {lint['squawk']}",
                "read the SQL: playbooks/migration_preview.yml",
            )
        )
    return rows


def _row(gate: str, name: str, findings: Sequence[Mapping[str, str]], agreed: set[str]) -> dict[str, str]:
    for result in _ORDER:
        found = [one for one in findings if one["result"] == result]
        if not found:
            continue
        said, advice = _told(found), found[0]["next"]
        if result == "warn":
            return _gate(gate, "warn", said, advice)
        if name in agreed:
            return _gate(gate, "warn", f"agreed to by name: {said}", advice)
        return _gate(gate, "FAIL", said, f"{advice}; or agree to it: -e floyo_migration_consent={name}")
    # What would be noticed on a large table. It is worth a look: the table grows until then.
    small = [one for one in findings if one.get("small")]
    return _gate(gate, "warn", _told(small), "") if small else _gate(gate, "ok", "")


def _told(findings: Sequence[Mapping[str, str]]) -> str:
    said = list(dict.fromkeys(one["found"] for one in findings))
    more = f"; and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    return "; ".join(said[:_NAMED]) + more


def _gate(gate: str, result: str, found: str, next_step: str = "") -> dict[str, str]:
    return {"gate": gate, "result": result, "found": one_line(found), "next": one_line(next_step)}
