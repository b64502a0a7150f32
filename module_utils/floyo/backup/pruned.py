"""States pruned and checked: which backups go, and whether those that are there will do (glue)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from ..errors import Refused, Unusable
from ..postgres.url import parse_url
from .cluster import Cluster
from .condition import Limits, conditions, verdict_of
from .copied import elsewhere, remote_of, remove_elsewhere, unwanted
from .judge import choose_programs, major_of, parse_reserve
from .looking import flaw_of, look_again, recorded
from .programs import find_programs
from .retention import Keep, retained
from .server import Server
from .store import Store

__all__ = ["Prune", "checked"]


class Prune:
    """Remove what nobody needs any more; in check mode, say what."""

    def __init__(self, parameters: Mapping[str, Any], store: Store, *, check_mode: bool) -> None:
        self.asked, self.store, self.check_mode = parameters, store, check_mode
        self.deadline = time.monotonic() + parameters["timeout"]
        given = parameters["keep"] or {}
        unknown = sorted(set(given) - set(vars(Keep())))
        if unknown:
            raise Unusable(
                f"keep has no {', '.join(unknown)}", code="KEEP_UNUSABLE", expected="last, daily, weekly, monthly"
            )
        self.keep = Keep(**{name: int(value) for name, value in given.items()})
        self.warnings: list[str] = []
        self.damaged: dict[str, str] = {}  # what this run has found

    def result(self) -> dict[str, Any]:
        databases: list[str] = []
        removed: list[str] = []
        swept: list[str] = []
        verdicts: list[dict[str, Any]] = []
        if self.store.exists():
            self.store.prepare(create=False)
            until = min(self.deadline, time.monotonic() + self.asked["lock_wait"])
            with self.store.lock(until, create=not self.check_mode):
                swept = self.store.unfinished()
                if not self.check_mode:
                    self.store.sweep(swept)
                verdicts = self.verdicts()
                removed = [each["label"] for each in verdicts if not each["reasons"]]
                if removed:
                    # What stays has to be worth it. A damaged one is noted, and then the next best takes its place.
                    while self.found_damage():
                        verdicts = self.verdicts()
                    removed = [each["label"] for each in verdicts if not each["reasons"]]
                for label in reversed(removed) if not self.check_mode else ():  # the oldest first
                    self.store.remove(label)
        elsewhere_removed = self.pruned_elsewhere() if self.asked["remote"] else []
        if self.asked["database_url"]:
            databases = self.old_databases()
        entries = self.store.catalogue().entries
        return {
            "changed": bool(removed or swept or databases or elsewhere_removed),
            "removed_elsewhere": elsewhere_removed,
            "removed": removed,
            "freed": sum(each["size"] or 0 for each in verdicts if each["label"] in removed),
            "kept": [each for each in verdicts if each["reasons"]],
            "swept": swept,
            "databases": databases,
            "backups": entries,
            "warnings": self.warnings,
        }

    def entries(self) -> list[dict[str, Any]]:
        listed = self.store.catalogue().entries
        return [{**each, "verified": each["verified"] and each["label"] not in self.damaged} for each in listed]

    def verdicts(self) -> list[dict[str, Any]]:
        """Newest first: label, size and why it stays."""
        entries = self.entries()
        kept = retained(
            entries,
            self.keep,
            needed_heads=self.needed(entries),
            busy=[record["label"] for record in self.store.running()],
            pinned=self.asked["pinned"],
            remove_damaged=self.asked["remove_damaged"],
        )
        return [{"label": e["label"], "size": e["size"], "reasons": list(k.reasons)} for e, k in zip(entries, kept)]

    def needed(self, entries: list[dict[str, Any]]) -> list[str]:
        asked: list[str] = self.asked["needed_heads"]
        return sorted({head for entry in entries for head in entry["heads"]}) if asked == ["all"] else asked

    def found_damage(self) -> bool:
        """Read the newest sound backup of each database again, before anything is removed in trust of it."""
        manifests, sound = self.store.catalogue().manifests, [entry for entry in self.entries() if entry["verified"]]
        newest = {entry["database"]: entry["label"] for entry in reversed(sound)}
        for label in newest.values():
            manifest = manifests[label]
            major = major_of(manifest["client"]["version"])
            programs = choose_programs(find_programs(self.asked["bin_dir"]), major, f"backup {label}")
            identity = self.asked["identity_file"]
            problem, _ = flaw_of(self.store, label, "dump", programs, recorded(manifest), self.deadline, identity)
            if problem:
                self.damaged[label] = problem
                self.warnings.append(f"backup {label} is damaged: {problem}")
                if not self.check_mode:
                    look_again(self.store, label, manifest, problem)
                return True
        return False

    def pruned_elsewhere(self) -> list[str]:
        """The copies by the same rule, each place by itself: what is lost here stays there."""
        remote = remote_of(self.asked, self.deadline)
        there = elsewhere(remote, self.store)
        kept = retained(
            there.entries,
            self.keep,
            needed_heads=self.needed(there.entries),
            pinned=self.asked["pinned"],
            remove_damaged=self.asked["remove_damaged"],
        )
        goes = [each.label for each in kept if not each.reasons] + unwanted(remote, there, self.store)
        if not self.check_mode:
            remove_elsewhere(remote, goes[::-1])  # the oldest first
        return goes

    def old_databases(self) -> list[str]:
        """Databases that restores have replaced, once nobody may swap them back any more."""
        url = parse_url(self.asked["database_url"])
        given = self.asked["maintenance_url"]
        maintenance = parse_url(given, name="maintenance_url") if given else replace(url, database="postgres")
        with closing(Cluster(maintenance, "restore")) as cluster:
            cluster.take_turn(url.database, "restore", min(self.deadline, time.monotonic() + self.asked["lock_wait"]))
            limit = cluster.now() - self.asked["keep_old"] * 3600
            found = [a.name for a in cluster.asides(url.database) if a.since and a.since.timestamp() < limit]
            for name in found if not self.check_mode else ():
                cluster.drop(name)
        return found


def checked(parameters: Mapping[str, Any], store: Store) -> dict[str, Any]:
    """Judge the backups against the limits. Changes nothing; fails when one is passed."""
    catalogue = store.catalogue()
    entries = catalogue.entries
    identity, database = None, ""
    if parameters["database_url"]:
        url = parse_url(parameters["database_url"])
        with closing(Server(url, "check")) as server:
            identity = server.facts()["system_identifier"]
        database = url.database
        entries = [entry for entry in entries if entry["database"] in ("", database)]
    given = parameters["limits"] or {}
    unknown = sorted(set(given) - set(vars(Limits())))
    if unknown:
        raise Unusable(f"limits has no {', '.join(unknown)}", code="LIMITS_UNKNOWN", expected=", ".join(vars(Limits())))
    space = store.space()
    checks = conditions(
        entries,
        Limits(**{name: float(value) for name, value in given.items()}),  # type: ignore[arg-type]
        now=time.time(),
        space=space,
        reserve=parse_reserve(parameters["min_free"], space.total),
        leftovers=store.unfinished(),
        remote=parameters["remote"],
        identity=identity,
        identities={label: m["server"].get("system_identifier", "") for label, m in catalogue.manifests.items()},
    )
    verdict = verdict_of(checks)
    facts = {"verdict": verdict, "checks": [check.facts() for check in checks], "backups": entries}
    if verdict == "fail":
        bad = [check for check in checks if check.result == "fail"]
        raise Refused(
            "the backups cannot be relied on: " + "; ".join(f"{check.check}: {check.found}" for check in bad),
            code="BACKUPS_UNFIT",
            expected="every limit kept",
            next_step="; ".join(dict.fromkeys(check.next for check in bad)),
            **facts,
        )
    warnings = [f"{check.check}: {check.found}" for check in checks if check.result == "warn"]
    return {"changed": False, **facts, "warnings": warnings}
