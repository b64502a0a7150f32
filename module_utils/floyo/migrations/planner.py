"""What a rollback or a deploy means for the database, decided from facts before anything is touched (pure).

The order is what the runbook got wrong: once the older files are checked out, nothing on the host knows the newer
revisions, and ``alembic downgrade`` fails with "Can't locate revision". Here a downgrade is a step of its own, before the
switch, with the files of a release that has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ..errors import Unusable
from .lineage import Lineage, Revision
from .state import backward, brief, forward

__all__ = ["VERDICTS", "Consent", "Release", "plan_deploy", "plan_restore", "plan_rollback", "releases_of"]

VERDICTS = ("SAFE", "DOWNGRADE", "RESTORE", "REFUSE")
# The shapes of a revision table that a plan can start from; anything else is refused.
_READABLE = ("uninitialised", "behind", "at", "ahead", "diverged", "unknown", "no_revisions")


@dataclass(frozen=True)
class Release:
    """A release and the revisions of its manifest."""

    name: str
    revisions: Sequence[Revision] = field(default=())
    proven: bool = True  # it served, and every host has it: one to name as a way out


@dataclass(frozen=True)
class Consent:
    """What the person has agreed to."""

    data_loss: bool = False  # downgrades that drop or rewrite rows
    restore: bool = False  # going back to a backup, which loses what was written since
    misfit: bool = False  # a backup that the running release may not be able to work on
    contract: bool = False  # the contract step of a deploy
    classes: tuple[str, ...] = ("expand",)


def releases_of(entries: Iterable[Mapping[str, Any]]) -> list[Release]:
    """Releases from ``{"release": name, "alembic": {"revisions": [...]}}``, the form of a manifest.

    ``state`` and ``everywhere``, which a fleet's record adds, say whether a release is one to go back to.
    """
    found = []
    for entry in entries:
        name, graph = entry.get("release"), entry.get("alembic") or {}
        revisions = (graph.get("revisions") or []) if isinstance(graph, Mapping) else None
        if not isinstance(name, str) or not isinstance(revisions, Sequence) or not all(map(_is_revision, revisions)):
            raise Unusable(
                f"the manifest of {name if isinstance(name, str) else 'a release'} is without its name or its graph",
                code="MANIFEST_UNUSABLE",
                expected="release, and alembic.revisions with revision, down_revisions and class of each",
                next_step="read its release.json; a release that was built anew has a whole one",
            )
        proven = entry.get("state", "good") == "good" and bool(entry.get("everywhere", True))
        found.append(Release(name, tuple(revisions), proven))
    return found


def _is_revision(entry: Any) -> bool:
    return isinstance(entry, Mapping) and {"revision", "down_revisions", "class"} <= entry.keys()


class _Facts:
    """The database and all known releases as one graph."""

    def __init__(self, live: Iterable[str], releases: Iterable[Release]) -> None:
        self.live = sorted(set(live))
        self.releases = list(releases)
        # The newest file counts when a revision is in several releases: the given order decides.
        self.all = Lineage([revision for release in self.releases for revision in release.revisions])
        self.strange = [name for name in self.live if name not in self.all]
        self.applied = self.all.closure(self.live)

    def wanted(self, release: Release) -> set[str]:
        return {revision["revision"] for revision in release.revisions}

    def with_files(self, names: Iterable[str]) -> Optional[Release]:
        """A release whose files hold all of ``names`` and everything that is in the database above them."""
        needed = set(names) | {name for name in self.live if name in self.all}
        return next((release for release in self.releases if needed <= self.wanted(release)), None)


def _result(verdict: str, reason: str, **facts: Any) -> dict[str, Any]:
    result = {
        "verdict": verdict,
        "code": verdict,
        "reason": reason,
        "steps": [],
        "downgrade_to": [],
        "downgrade_with": "",
        "downgrades": [],
        "pending": [],
        "held_back": [],
        "loses": [],
        "backup": "",
        "consent": "",
        "nearest_safe": "",
        "next_step": "",
        "contract_after": [],
    }
    return {**result, **facts}


def _switch(target: str) -> dict[str, Any]:
    return {"what": "switch", "where": "every backend", "release": target, "text": f"switch every backend to {target}"}


def _unreadable(facts: _Facts, status: str) -> Optional[dict[str, Any]]:
    if facts.strange:
        return _result(
            "REFUSE",
            f"the database is at {', '.join(facts.strange)}, which no known release contains",
            code="REVISION_UNKNOWN",
            next_step="find the release that made it (history of deploys, git log), stage it, and plan again",
        )
    if status not in _READABLE:
        return _result(
            "REFUSE",
            "the database has tables and does not say which revision it is at",
            code="DATABASE_UNSTAMPED",
            next_step="find the revision that matches its tables and run alembic stamp <revision>",
        )
    return None


# --- back ------------------------------------------------------------------------------------------------------------


def plan_rollback(
    live: Iterable[str],
    target: Release,
    current: Optional[Release],
    *,
    status: str = "at",
    known: Iterable[Release] = (),
    backups: Sequence[Mapping[str, Any]] = (),
    consent: Consent = Consent(),
) -> dict[str, Any]:
    """The plan to run ``target`` again. ``known``: other releases, newest first; they also are candidates when this fails.

    ``backups``: ``label, heads, verified, created`` and, where they are known, ``sequence, suspect, seconds, rows,
    live_rows, rows_since``.
    """
    others = list(known)
    facts = _Facts(live, [*([current] if current else []), target, *others])
    plan = _back(facts, target, status, backups, consent)
    if plan["verdict"] == "REFUSE":
        skipped = {target.name, current.name if current else ""}
        plan["nearest_safe"] = next(
            (
                release.name
                for release in others
                if release.proven
                and release.name not in skipped
                and _back(facts, release, status, (), Consent())["verdict"] == "SAFE"
            ),
            "",
        )
        if plan["nearest_safe"]:
            instead = f"go back to {plan['nearest_safe']}, which needs no change of the database"
            ways = [plan["next_step"], instead] if plan["consent"] else [instead, plan["next_step"]]
            plan["next_step"] = "; or ".join(way for way in ways if way)
    return plan


def _back(
    facts: _Facts, target: Release, status: str, backups: Sequence[Mapping[str, Any]], consent: Consent
) -> dict[str, Any]:
    unreadable = _unreadable(facts, status)
    if unreadable:
        return unreadable
    wanted = facts.wanted(target)
    missing = wanted - facts.applied
    ahead = facts.applied - wanted
    steps: list[dict[str, Any]] = []
    if missing and ahead:
        return _diverged(facts, target, missing, ahead)
    if missing:
        up = forward(facts.all, facts.applied, missing, consent.classes)
        if up.held:
            return _result(
                "REFUSE",
                "the database lacks revisions of the target: "
                + "; ".join(f"{name} {why}" for name, why in up.held.items()),
                code="TARGET_NEEDS_MIGRATION",
                pending=brief(facts.all, facts.all.ordered(missing)),
                next_step=f"migrate with the files of {target.name} first",
            )
        steps.append(
            {
                "what": "upgrade",
                "where": "one backend",
                "release": target.name,
                "revisions": up.apply,
                "text": f"apply {', '.join(up.apply)} with the files of {target.name}",
            }
        )
    harmful = [name for name in ahead if facts.all[name]["class"] != "expand"]
    if not harmful:
        count = (
            f"{len(ahead)} revision{'s' * (len(ahead) > 1)} ahead, all additive"
            if ahead
            else "at the target's revision"
        )
        return _result(
            "SAFE",
            f"the database is {count}; it stays as it is"
            if not missing
            else f"the database is {count} and gets what it lacks",
            pending=brief(facts.all, facts.all.ordered(missing)),
            steps=[*steps, _switch(target.name)],
        )
    return _undone(facts, target, harmful, backups, consent)


def _diverged(facts: _Facts, target: Release, missing: set[str], ahead: set[str]) -> dict[str, Any]:
    """Neither side has all files: alembic of either release would not find its way."""
    return _result(
        "REFUSE",
        f"the database has {', '.join(facts.all.ordered(ahead))}, which {target.name} lacks, and lacks"
        f" {', '.join(facts.all.ordered(missing))}, which {target.name} needs",
        code="DATABASE_DIVERGED",
        pending=brief(facts.all, facts.all.ordered(missing)),
        next_step="merge both lines in the application (alembic merge) and build a release of that",
    )


def _undone(
    facts: _Facts,
    target: Release,
    harmful: Iterable[str],
    backups: Sequence[Mapping[str, Any]],
    consent: Consent,
) -> dict[str, Any]:
    """Revisions stand between the database and the target that its code does not bear: take them back, or restore."""
    remove = backward(facts.all, facts.applied, harmful)
    entries = brief(facts.all, remove)
    for entry in entries:
        way = _downgrade(facts.all[entry["revision"]])
        entry.update(downgrade=way["kind"], downgrade_reason=way.get("reason", ""))
    stuck = [entry for entry in entries if entry["downgrade"] not in ("clean", "lossy")]
    needed = facts.wanted(target)
    cut = sorted(needed.intersection(remove))  # cannot be: what the target needs does not build on what it lacks
    source = facts.with_files(remove)
    named = ", ".join(f"{name} ({facts.all[name]['class']})" for name in facts.all.ordered(harmful))
    if cut:
        why = f"taking back {named} takes {', '.join(cut)} along, which {target.name} needs"
    elif stuck:
        why = "; ".join(
            f"the downgrade of {entry['revision']} is {entry['downgrade']}"
            + (f" ({entry['downgrade_reason']})" if entry["downgrade_reason"] else "")
            for entry in stuck
        )
    elif source is None:
        why = f"no known release holds the files of {', '.join(remove)}"
    else:
        return _downgraded(facts, target, remove, entries, source, consent)
    return _restored(facts, target, f"{named} stands in the way, and {why}", backups, consent)


def _downgrade(revision: Revision) -> Mapping[str, Any]:
    """How a revision goes back. Manifests of the first releases may not say: then it is unknown."""
    way: Mapping[str, Any] = revision.get("downgrade") or {"kind": "unknown", "loses": []}
    return way


def _downgraded(
    facts: _Facts,
    target: Release,
    remove: list[str],
    entries: list[dict[str, Any]],
    source: Release,
    consent: Consent,
) -> dict[str, Any]:
    heads = facts.all.tips(facts.applied - set(remove))
    loses = [text for name in remove for text in _downgrade(facts.all[name]).get("loses", ())]
    # What an upgrade dropped does not come back with its downgrade: the column is there again, and empty.
    loses += [
        f"{text} stays lost: its downgrade makes it anew, empty"
        for name in remove
        for text in facts.all[name].get("drops", ())
    ]
    lossy = [entry["revision"] for entry in entries if entry["downgrade"] == "lossy"]
    step = {
        "what": "downgrade",
        "where": "one backend",
        "release": source.name,
        "revisions": remove,
        "text": f"take back {', '.join(remove)} with the files of {source.name}, before any switch",
    }
    facts_of_plan = {
        "downgrade_to": heads,
        "downgrade_with": source.name,
        "downgrades": entries,
        "loses": loses,
        "steps": [_backup_step(), step, _switch(target.name)],
    }
    if lossy and not consent.data_loss:
        return _result(
            "REFUSE",
            f"the downgrade of {', '.join(lossy)} loses {', '.join(loses) or 'rows'}",
            **facts_of_plan,
            code="CONSENT_NEEDED",
            consent="data_loss",
            next_step="agree with -e floyo_accept_data_loss=true; a verified backup is taken first",
        )
    count = f"{len(remove)} revision{'s' * (len(remove) > 1)}"
    return _result(
        "DOWNGRADE",
        f"{count} must go before {target.name} can run; each has a downgrade",
        **facts_of_plan,
    )


def _backup_step() -> dict[str, Any]:
    return {"what": "backup", "where": "database host", "release": "", "text": "take and verify a backup"}


def _restored(
    facts: _Facts, target: Release, why: str, backups: Sequence[Mapping[str, Any]], consent: Consent
) -> dict[str, Any]:
    wanted = facts.wanted(target)
    fit = next((backup for backup in _newest_first(backups) if _fits(facts, backup, wanted)), None)
    if fit is None:
        return _result(
            "REFUSE",
            f"{why}; no verified backup is at a revision that {target.name} can run on",
            code="NO_WAY_BACK",
            next_step="mend forward: build a release that works on this database",
        )
    lost, duration = _loss_of(fit), ""
    if isinstance(fit.get("seconds"), (int, float)):
        duration = f"; the restore takes about {fit['seconds']:.0f} s"
    if fit.get("suspect"):
        duration += f"; the backup is suspect: {fit['suspect']}"
    found = {
        "backup": fit["label"],
        "loses": [lost],
        # The restore takes a backup of what is live itself.
        "steps": [_restore_step(fit["label"]), _switch(target.name)],
    }
    if not consent.restore:
        return _result(
            "REFUSE",
            f"{why}; backup {fit['label']} would do, and loses {lost}{duration}",
            **found,
            code="CONSENT_NEEDED",
            consent="restore",
            next_step="agree with -e floyo_accept_restore=true, or mend forward",
        )
    return _result("RESTORE", f"{why}; backup {fit['label']} loses {lost}{duration}", **found)


def _loss_of(backup: Mapping[str, Any]) -> str:
    """What going back to a backup loses. ``live_rows`` is what the live database holds, as far as it is known."""
    since = f"everything written since {backup.get('created') or 'the backup'}"
    if backup.get("rows_since") is not None:
        return f"{since} ({backup['rows_since']} rows)"
    if backup.get("live_rows") is not None and backup.get("rows") is not None:
        return f"{since} (it holds {backup['rows']} rows, the live database about {backup['live_rows']})"
    return since


def _newest_first(backups: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The newest first, and what looks wrong after all others."""

    def worth(backup: Mapping[str, Any]) -> tuple[bool, int, str, str]:
        age = (backup.get("sequence") or 0, str(backup.get("created") or ""), str(backup["label"]))
        return (not backup.get("suspect"), *age)

    return sorted(backups, key=worth, reverse=True)


def _fits(facts: _Facts, backup: Mapping[str, Any], wanted: set[str]) -> bool:
    """Whether the target's code runs on what the backup holds: all it needs, and beyond that only additions."""
    heads = list(backup.get("heads") or ())
    if not backup.get("verified") or any(head not in facts.all for head in heads):
        return False
    held = facts.all.closure(heads)
    return wanted <= held and all(facts.all[name]["class"] == "expand" for name in held - wanted)


def plan_restore(
    backup: Mapping[str, Any], target: Release, *, known: Iterable[Release] = (), consent: Consent = Consent()
) -> dict[str, Any]:
    """Whether ``target``, which runs, can work on what ``backup`` holds (``label, heads, verified, created``)."""
    heads = [str(head) for head in backup.get("heads") or ()]
    label = backup.get("label", "")
    facts = _Facts(heads, [target, *known])
    wanted = facts.wanted(target)
    if not backup.get("verified"):
        problem = backup.get("problem") or "it was not verified"
        return _result("REFUSE", f"backup {label}: {problem}", code="BACKUP_DAMAGED", next_step="choose another one")
    steps = [_restore_step(label)]
    lost = f"everything written since {backup.get('created') or 'the backup'}"
    found = {"backup": label, "loses": [lost], "steps": steps, "pending": []}
    if _fits(facts, backup, wanted):
        return _result("RESTORE", f"{target.name} runs on it; {lost} is kept aside", **found)
    missing = facts.all.ordered(wanted - facts.applied)
    if facts.strange:
        why = f"it is at {', '.join(facts.strange)}, which no known release contains"
        step = "choose a backup of a known revision (playbooks/backups.yml)"
    elif missing:
        why = f"it lacks {', '.join(missing)}, which {target.name} needs"
        step = (
            "roll back to the release that it fits and restore then; or restore it anyway and run playbooks/migrate.yml"
        )
    else:
        harmful = [name for name in facts.applied - wanted if facts.all[name]["class"] != "expand"]
        why = f"it is ahead of {target.name} by {', '.join(facts.all.ordered(harmful))}, which its code may not bear"
        step = "deploy the release that it fits, or choose an older backup"
    if consent.misfit:
        return _result("RESTORE", f"{why}; that is accepted", **{**found, "pending": brief(facts.all, missing)})
    return _result(
        "REFUSE",
        f"backup {label} does not fit {target.name}: {why}",
        **{**found, "pending": brief(facts.all, missing)},
        code="BACKUP_MISFIT",
        consent="misfit",
        next_step=f"{step}; -e floyo_backup_accept_misfit=true restores it as it is",
    )


def _restore_step(label: str) -> dict[str, Any]:
    return {
        "what": "restore",
        "where": "database host",
        "release": "",
        "backup": label,
        "text": f"back up what is live, restore {label} into a new database and swap it in",
    }


# --- forward ---------------------------------------------------------------------------------------------------------


def plan_deploy(
    live: Iterable[str],
    target: Release,
    *,
    status: str = "at",
    running: Iterable[Release] = (),
    known: Iterable[Release] = (),
    consent: Consent = Consent(),
    multiple_heads: bool = False,
) -> dict[str, Any]:
    """The plan to deploy ``target``: what is applied before the switch, what waits, and whether the code can run at all.

    ``running``: the releases that hosts serve now. A contract revision may go in only when each of them knows it.
    ``multiple_heads``: whether several heads are right.
    """
    served = list(running)
    facts = _Facts(live, [target, *served, *known])
    unreadable = _unreadable(facts, status)
    if unreadable:
        return unreadable
    wanted = facts.wanted(target)
    ahead = facts.applied - wanted
    harmful = facts.all.ordered(name for name in ahead if facts.all[name]["class"] != "expand")
    if harmful:
        return _result(
            "REFUSE",
            f"the database is ahead of {target.name} by {', '.join(harmful)}, which its code may not bear",
            code="DATABASE_AHEAD",
            next_step=f"use playbooks/rollback.yml to go back to {target.name}: it plans the database too",
        )
    if ahead and wanted - facts.applied:
        return _diverged(facts, target, wanted - facts.applied, ahead)
    mine = Lineage(target.revisions)
    heads = mine.heads()
    if len(heads) > 1 and not multiple_heads and len(facts.live) <= 1:
        return _result(
            "REFUSE",
            f"{target.name} has {len(heads)} heads: {', '.join(heads)}",
            code="MULTIPLE_HEADS",
            next_step="merge them in the application (alembic merge heads) and build again, or set floyo_multiple_heads",
        )
    return _deployed(facts, target, served, consent)


def _deployed(facts: _Facts, target: Release, served: list[Release], consent: Consent) -> dict[str, Any]:
    wanted = facts.wanted(target)
    pending = facts.all.ordered(wanted - facts.applied)
    up = forward(facts.all, facts.applied, wanted, consent.classes)
    held = brief(facts.all, up.held)
    for entry in held:
        entry["reason"] = up.held[entry["revision"]]
    shown = {"pending": brief(facts.all, pending), "held_back": held}
    behind = [name for name in up.held if facts.all[name]["class"] in consent.classes]
    if behind:
        first = next(name for name in up.held if name not in behind)
        return _result(
            "REFUSE",
            f"{target.name} needs {', '.join(behind)}, which comes after {first} ({facts.all[first]['class']})",
            **shown,
            code="EXPAND_BEHIND_CONTRACT",
            next_step=f"deploy a release that ends at {first} and run its contract step first, or allow its class",
        )
    others = [name for name in up.held if facts.all[name]["class"] in ("data", "unknown")]
    if others:
        return _result(
            "REFUSE",
            "; ".join(f"{name} is {facts.all[name]['class']} ({_why(facts.all[name])})" for name in others),
            **shown,
            code="CLASS_NOT_ALLOWED",
            next_step='review them; then mark the file (floyo_class = "expand") or name the class in floyo_migrate_classes',
        )
    steps: list[dict[str, Any]] = []
    if up.apply:
        text = f"apply {', '.join(up.apply)} with the files of {target.name}, before the switch"
        steps += [
            _backup_step(),
            {"what": "upgrade", "where": "one backend", "release": target.name, "revisions": up.apply, "text": text},
        ]
    steps.append(_switch(target.name))
    contract = list(up.held)
    if contract and consent.contract:
        # After the switch every host that was switched runs the target. What is not switched must know it already.
        text = f"apply {', '.join(contract)} with the files of {target.name}, when no host runs another release"
        steps.append(
            {"what": "contract", "where": "one backend", "release": target.name, "revisions": contract, "text": text}
        )
    unaware = sorted(release.name for release in served if not set(contract) <= facts.wanted(release))
    count = f"{len(up.apply)} revision{'s' * (len(up.apply) != 1)} to apply" if up.apply else "nothing to apply"
    waits = (
        f"; {', '.join(contract)} {'follows the switch' if consent.contract else 'waits until it is asked for'}"
        if contract
        else ""
    )
    return _result("SAFE", count + waits, **shown, steps=steps, contract_after=unaware if contract else [])


def _why(revision: Revision) -> str:
    return ", ".join(list(revision.get("reasons") or ())[:3]) or "no reason given"
