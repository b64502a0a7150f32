"""What all hosts together say: which release to go back to, what stands in the way of a deploy (pure).

``infos`` maps a host's name to what ``floyo_release`` (state info) returned for it, a failed or unreachable result included.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from .errors import Unusable
from .migrations.lineage import Lineage
from .release.platform import fitting
from .text import one_line

__all__ = [
    "by_hand",
    "contract_blockers",
    "deploy_rows",
    "fleet_gates",
    "health_row",
    "known_manifests",
    "left_behind",
    "release_gates",
    "rollback_target",
    "serves",
    "status_rows",
    "swap_back_target",
]

Info = Mapping[str, Any]

_DOUBT = ("good", "staged", "left", "failed")  # states of a release, the best first


def serves(info: Info, release: str) -> bool:
    """Whether a host runs ``release``, and well, and has nothing unfinished."""
    current = info.get("current") or {}
    return current.get("release") == release and not current.get("fault") and not info.get("intent")


def _usable(infos: Mapping[str, Info]) -> dict[str, Info]:
    return {host: info for host, info in infos.items() if info.get("current") is not None}


def by_hand(infos: Mapping[str, Info]) -> dict[str, str]:
    """Hosts whose last switch was not a run's but somebody's on the host itself: who, to what, when and why."""
    found = {}
    for host, info in _usable(infos).items():
        last: dict[str, Any] = next(
            (entry for entry in reversed(info["history"]) if entry["outcome"] == "switched"), {}
        )
        # A run brings the token of its lease; the host's own command has none.
        if last.get("at") and last.get("token") is None:
            when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(last["at"]))
            found[host] = f"{last.get('holder')} switched to {last['to']} at {when} ({last.get('reason')})"
    return found


def known_manifests(infos: Mapping[str, Info]) -> list[dict[str, Any]]:
    """Every release that some host holds, newest first by the fleet's record, with its revisions.

    ``state`` is the worst that a host says of it, ``everywhere`` whether all hosts that answer have it.
    """
    found: dict[str, dict[str, Any]] = {}
    for info in _usable(infos).values():
        for release in info["releases"]:
            kept = found.setdefault(release["release"], {**release})
            kept["sequence"] = max(kept["sequence"], release["sequence"])
            kept["state"] = max(kept["state"], release["state"], key=_DOUBT.index)  # one bad host is reason enough
    everywhere = _everywhere(infos)
    for name, kept in found.items():
        kept["everywhere"] = name in everywhere
    return sorted(found.values(), key=lambda release: (-release["sequence"], release["release"]))


def other_kinds(infos: Mapping[str, Info], manifest: Mapping[str, Any]) -> list[list[str]]:
    """Hosts that a build does not fit, those with the same Python and platform together, in the inventory's order."""
    kinds: dict[tuple[str, str], list[str]] = {}
    if "python_tag" not in manifest:
        return []  # a build in check mode
    for host, info in _usable(infos).items():
        if fitting(manifest, info):
            kinds.setdefault((info["python_tag"], info["platform"]), []).append(host)
    return list(kinds.values())


def swap_back_target(infos: Mapping[str, Info], new: str) -> str:
    """The one release that all hosts go back to when ``new`` fails: what most of them served. Empty when there is none."""
    served = [info["current"].get("release") for info in _usable(infos).values()]
    counted = collections.Counter(release for release in served if release and release != new)
    if counted:
        return str(counted.most_common(1)[0][0])
    # All served it already: what they served before, if they agree.
    everywhere = _everywhere(infos)
    return next((release for release in _earlier(infos, new) if release in everywhere), "")


def rollback_target(infos: Mapping[str, Info], wanted: str = "") -> dict[str, Any]:
    """``release, version, current``: one target for the whole fleet, present on every host that answers.

    ``wanted`` is a release, a version, or empty for the newest release that was proven to serve before the current one.
    Raises Unusable naming what there is to choose from.
    """
    hosts = _usable(infos)
    if not hosts:
        raise Unusable("no host tells what it runs", code="FLEET_UNKNOWN", next_step="playbooks/status.yml")
    current = collections.Counter(info["current"].get("release") for info in hosts.values()).most_common(1)[0][0]
    manifests = known_manifests(infos)
    everywhere = [one["release"] for one in manifests if one["everywhere"]]
    choices = ", ".join(release for release in everywhere if release != current)
    if wanted:
        matching = [one["release"] for one in manifests if wanted in (one["release"], one["version"])]
        candidates = [release for release in matching if release in everywhere]
        if not candidates:
            raise Unusable(
                f"{wanted} is not on every host" if matching else f"no host holds {wanted}",
                code="RELEASE_UNKNOWN",
                expected="one of: " + (choices or "none is on every host"),
                next_step="-e floyo_release=<one of them>; or playbooks/deploy.yml -e floyo_version=<version>, which stages it",
            )
    else:
        candidates = [release for release in _earlier(infos, current) if release in everywhere]
        if not candidates:
            raise Unusable(
                "no earlier release that was proven to serve is on every host",
                code="NO_PREVIOUS",
                expected=f"a release to go back to; there are: {choices or 'none'}",
                next_step="-e floyo_release=<one of them>; or playbooks/deploy.yml -e floyo_version=<version>",
            )
    target = candidates[0]
    version = next(one["version"] for one in manifests if one["release"] == target)
    return {"release": target, "version": version, "current": current}


def _everywhere(infos: Mapping[str, Info]) -> set[str]:
    """Releases that all hosts that answer hold. In one pass: a fleet may have a thousand hosts."""
    held = [{release["release"] for release in info["releases"]} for info in _usable(infos).values()]
    return set.intersection(*held) if held else set()


def _earlier(infos: Mapping[str, Info], current: Optional[str]) -> list[str]:
    """Proven releases before ``current``, newest first, by the host that has switched most often.

    A release that failed to come up, or that a rollback left, is none on any host: one bad host is reason enough.
    """
    usable = _usable(infos).values()
    bad: set[str] = set()
    best: list[str] = []
    longest = -1
    for info in usable:
        given_up: set[str] = set()
        proven: list[str] = []
        for entry in reversed(info["history"]):
            target = entry["to"]
            if entry["outcome"] == "reverted":
                if target not in proven:
                    given_up.add(target)
                continue
            if target != current and target not in proven and target not in given_up:
                proven.append(target)
            if entry.get("kind") == "rollback" and entry["from"] not in proven and entry["from"] != current:
                given_up.add(entry["from"])
        bad |= given_up
        if len(info["history"]) > longest:
            longest, best = len(info["history"]), proven
    return [release for release in best if release not in bad]


def deploy_rows(hosts: Mapping[str, Mapping[str, Any]], *, dry: bool = False) -> list[dict[str, Any]]:
    """What became of each host, or would: ``host, from, to, seconds, result, runs, health``.

    ``hosts`` maps names to their variables; read are what the steps of role floyo_deploy registered.
    """
    rows = [_outcome(host, facts) for host, facts in hosts.items()]
    for row in rows if dry else ():
        row.update(seconds="-", result={"switched": "would switch"}.get(row["result"], row["result"]))
    return rows


def _outcome(host: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    switch = facts.get("__floyo_deploy_switch") or {}
    back = facts.get("__floyo_deploy_back") or {}
    health = facts.get("__floyo_deploy_health") or {}
    before = (facts.get("__floyo_deploy_info") or {}).get("current") or {}
    old = switch.get("from") or before.get("release") or "-"
    built = (facts.get("__floyo_deploy_build") or {}).get("release")
    served = switch.get("outcome") in ("switched", "unchanged")
    row = {
        "host": host,
        "from": old,
        "to": switch.get("to") or "-",
        "seconds": switch.get("seconds", "-"),
        "result": switch.get("outcome") or ("unchanged" if built and built == old else "not tried"),
        "runs": switch.get("to") or old,
        # A switch ends well only when the service says that it is ready; a deploy asks further afterwards.
        "health": health.get("verdict") or ("ready" if served and not health else "unknown"),
    }
    if switch.get("unreachable"):
        row.update(result="unreachable", runs="unknown")
    elif switch.get("failed"):
        # A switch that failed has put the old release back by itself, unless it was refused before it began.
        row.update(result=str(switch.get("outcome") or switch.get("code") or "failed"), runs=old)
    if back.get("outcome") == "switched":
        row.update(result="put back", runs=back["to"], seconds=back["seconds"])
    elif back.get("failed") or back.get("unreachable"):
        row.update(result=f"not put back: {one_line(back.get('msg') or 'unreachable')}")
    return row


def left_behind(switches: Mapping[str, Mapping[str, Any]], release: str) -> dict[str, str]:
    """Hosts that a rollback to ``release`` did not bring there, and why. ``switches`` are their results by name."""
    found = {}
    for host, switch in switches.items():
        if switch.get("unreachable"):
            found[host] = f"unreachable: it converges with playbooks/rollback.yml -e floyo_release={release}"
        elif switch.get("outcome") not in ("switched", "unchanged"):
            found[host] = one_line(switch.get("msg") or "no answer")
    return found


def contract_blockers(infos: Mapping[str, Info], release: str, revisions: Iterable[str]) -> dict[str, str]:
    """Hosts that a contract step has to wait for, and why: what they run, or will run, may need what goes.

    ``infos`` are of every backend, also of those that a run leaves out. A release that holds ``revisions`` bears them.
    """
    found, wanted = {}, set(revisions)
    for host, info in infos.items():
        if info.get("current") is None:
            why = "unreachable" if info.get("unreachable") else one_line(info.get("msg") or "no answer")
            found[host] = f"what it runs cannot be seen ({why})"
            continue
        known = {
            one["release"]: {entry["revision"] for entry in (one.get("alembic") or {}).get("revisions") or ()}
            for one in info["releases"]
        }
        intent = info.get("intent") or {}
        for running in {info["current"].get("release"), intent.get("from"), intent.get("to")} - {None, "", release}:
            lacking = sorted(wanted - known.get(running, set()))
            if lacking:
                what = "has an unfinished switch with" if intent else "runs"
                found[host] = (
                    f"{what} {running}, which was made before {', '.join(lacking)} and may need what it removes"
                )
    return found


def status_rows(
    infos: Mapping[str, Info], healths: Mapping[str, Mapping[str, Any]], *, heads: Sequence[str], now: float
) -> list[dict[str, str]]:
    """The fleet at a glance: ``host, release, since, health, database, drift``; ``drift`` is empty where all is as it should be.

    ``heads`` are the database's, ``now`` seconds of the epoch. What most hosts run is what all should.
    """
    usable = _usable(infos)
    counted = collections.Counter(info["current"]["release"] for info in usable.values() if info["current"]["release"])
    usual = counted.most_common(1)[0][0] if counted else None
    shared = {one["release"]: one for one in known_manifests(infos)}
    rows = []
    for host, info in infos.items():
        if host not in usable:
            why = "unreachable" if info.get("unreachable") else str(info.get("msg") or "no answer")
            rows.append(_status(host, "?", "", "unknown", "", one_line(why)))
            continue
        current, release = info["current"], info["current"]["release"]
        drift = []
        if release != usual:
            drift.append(f"runs {release or 'nothing'}, others {usual}")
        if info["link"] != release:
            drift.append(f"the link names {info['link'] or 'nothing'}")
        if info.get("intent"):
            drift.append(f"unfinished switch to {info['intent'].get('to')}")
        manifest = shared.get(release) or {}
        lineage = Lineage((manifest.get("alembic") or {}).get("revisions") or ())
        # A head that another one depends on is applied with it, and alembic's table then names only the other.
        missing = lineage.tips(set(lineage.revisions) - lineage.closure(heads))
        ahead = sorted(set(heads) - set(lineage.revisions))
        database = "at its head" if not missing else f"lacks {', '.join(missing)}"
        if ahead:
            database = f"ahead: {', '.join(ahead)}"
        health = healths.get(host) or {}
        verdict = str(health.get("verdict") or ("healthy" if not current["fault"] else current["fault"]))
        since = age(now - current["since"]) if current.get("since") else "?"
        rows.append(_status(host, release or "nothing", since, verdict, database if heads else "-", "; ".join(drift)))
    return rows


def health_row(answer: Any) -> dict[str, str]:
    """``host, verdict, severity, summary`` of ``[host, result of floyo_health]``, or of a result in a loop over hosts."""
    host, found = (answer["item"], answer) if isinstance(answer, Mapping) else answer
    gone = "unreachable" if found.get("unreachable") else one_line(found.get("msg") or "no answer")
    verdict = found.get("verdict") or "unknown"
    return {
        "host": host,
        "verdict": verdict,
        "severity": found.get("severity") or "-",
        "summary": found.get("summary") or gone,
    }


def _status(host: str, release: str, since: str, health: str, database: str, drift: str) -> dict[str, str]:
    return {"host": host, "release": release, "since": since, "health": health, "database": database, "drift": drift}


def age(seconds: float) -> str:
    """``42 s``, ``5 min``, ``3 h``, ``12 d``."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


# --- gates -----------------------------------------------------------------------------------------------------------


def _gate(gate: str, result: str, found: str, next_step: str = "") -> dict[str, str]:
    return {"gate": gate, "result": result, "found": one_line(found), "next": next_step}


def _hosts(found: Mapping[str, str]) -> str:
    """``b1, b2: text; b3: other text``: hosts with the same trouble together."""
    by_text: dict[str, list[str]] = {}
    for host, text in found.items():
        by_text.setdefault(text, []).append(host)
    return "; ".join(f"{', '.join(hosts)}: {text}" for text, hosts in by_text.items())


def fleet_gates(
    infos: Mapping[str, Info],
    environments: Mapping[str, Mapping[str, Any]],
    *,
    min_free: float,
    clock_tolerance: float,
    database: Optional[Mapping[str, Any]],
    lease: Mapping[str, Any],
    holder: str = "",
) -> list[dict[str, str]]:
    """What can be judged before anything is built: rows of ``gate, result (ok, warn, FAIL), found, next``.

    ``min_free`` bytes, ``clock_tolerance`` seconds; ``database`` is the trial run of a backup, None without a database.
    A result is judged by what only a good one holds: a task that goes on after a failure does not say "failed" any more.
    """
    down = {host: "unreachable" for host, info in infos.items() if info.get("unreachable")}
    bare = {
        host: str(info.get("msg") or "gives no answer")
        for host, info in infos.items()
        if host not in down and info.get("current") is None
    }
    usable = _usable(infos)
    rows = [
        _gate("hosts answer", "FAIL", _hosts(down), "reach them, or leave them out with --limit")
        if down
        else _gate("hosts answer", "ok", f"{len(infos)} of {len(infos)}"),
    ]
    if bare:
        rows.append(_gate("hosts are provisioned", "FAIL", _hosts(bare), "playbooks/provision.yml"))
    pending = {
        host: f"from {info['intent'].get('from')} to {info['intent'].get('to')}, begun by {info['intent'].get('holder')}"
        for host, info in usable.items()
        if info.get("intent")
    }
    if pending:
        rows.append(_gate("no switch is unfinished", "FAIL", _hosts(pending), "floyo-release resume on these hosts"))
    rows.append(_disk(usable, min_free))
    rows.append(_clocks(usable, clock_tolerance))
    kinds = {host: f"{info['python_tag']} {info['platform']}" for host, info in usable.items()}
    rows.append(
        _gate("one Python everywhere", "ok", next(iter(kinds.values()), "-"))
        if len(set(kinds.values())) <= 1
        else _gate(
            "one Python everywhere",
            "warn",
            _hosts(kinds),
            "a release runs only where it fits: -e floyo_build_per_platform=true",
        )
    )
    rows.append(_environments(environments))
    rows.append(_healths(usable))
    if switched := by_hand(infos):
        rows.append(_gate("switched by hand", "warn", _hosts(switched), "see that nobody is still at it"))
    if database is not None:
        rows.append(
            _gate("database and backup", "FAIL", str(database.get("msg") or "unreachable"), "mend this first")
            if "backups" not in database
            else _gate("database and backup", "ok", "a backup can be taken")
        )
    rows.append(_lease(lease, holder))
    return rows


def _disk(usable: Mapping[str, Info], min_free: float) -> dict[str, str]:
    low = {h: f"{i['disk_free'] / 2**20:.0f} MiB free" for h, i in usable.items() if i["disk_free"] < min_free}
    if low:
        return _gate("disk", "FAIL", _hosts(low), "floyo-release prune on these hosts")
    least = min((info["disk_free"] for info in usable.values()), default=0)
    return _gate("disk", "ok", f"at least {least / 2**30:.1f} GiB free")


def _clocks(usable: Mapping[str, Info], tolerance: float) -> dict[str, str]:
    offsets = {h: (i.get("clock_offset"), i.get("clock_doubt") or 0) for h, i in usable.items()}
    off = {
        host: f"{offset:+.1f} s"
        for host, (offset, doubt) in offsets.items()
        if offset and abs(offset) - doubt > tolerance
    }
    if off:
        return _gate("clocks", "FAIL", _hosts(off), "timedatectl on these hosts and on the controller")
    worst = max((abs(offset) for offset, _ in offsets.values() if offset is not None), default=0.0)
    return _gate("clocks", "ok", f"within {worst:.1f} s of the controller's")


def _environments(environments: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    trouble, weak = {}, {}
    for host, found in environments.items():
        if found.get("failed"):
            trouble[host] = str(found.get("msg"))
            continue
        words = [f"{kind} {', '.join(found[kind])}" for kind in ("missing", "empty", "weak") if found.get(kind)]
        if found.get("exposed"):
            words.append("readable by others")
        if words:
            trouble[host] = "; ".join(words)
        elif found.get("ignored"):
            weak[host] = "lines that systemd ignores"
    if trouble:
        next_step = "set them in floyo_env or floyo_env_secrets, then playbooks/provision.yml"
        return _gate("environment", "FAIL", _hosts(trouble), next_step)
    if weak:
        return _gate("environment", "warn", _hosts(weak), "look at the environment file")
    return _gate("environment", "ok", "what is required is there")


def _healths(usable: Mapping[str, Info]) -> dict[str, str]:
    """A sick host is shown and does not stop a deploy, which may be the cure."""
    sick = {
        host: str(info["current"]["fault"])
        for host, info in usable.items()
        if info["current"].get("fault") and info.get("link")
    }
    if sick:
        return _gate("health now", "warn", _hosts(sick), "playbooks/verify.yml tells more")
    running = collections.Counter(info["current"].get("version") or "nothing" for info in usable.values())
    return _gate("health now", "ok", ", ".join(f"{count} run {version}" for version, count in running.items()) or "-")


def _lease(lease: Mapping[str, Any], holder: str) -> dict[str, str]:
    if "held" not in lease:
        return _gate("lease", "FAIL", str(lease.get("msg") or "its host is unreachable"), "reach the lease host")
    if lease.get("held") and lease.get("holder") != holder:
        return _gate("lease", "warn", f"{lease.get('holder')} holds it ({lease.get('reason')})", "wait for its end")
    return _gate("lease", "ok", "free" if not lease.get("held") else "ours")


def release_gates(
    manifest: Mapping[str, Any],
    environments: Mapping[str, Mapping[str, Any]],
    *,
    plan: Optional[Mapping[str, Any]],
    backup: str,
    strict_environment: bool,
    notified: int,
) -> list[dict[str, str]]:
    """The gates of a built release. ``plan`` is floyo_plan's, None without a database; ``backup`` says what will be done."""
    tests = manifest.get("tests") or {}
    rows = [
        _gate("tests", "ok", f"{tests.get('command')}: {tests.get('summary')}")
        if tests.get("passed")
        else _gate("tests", "warn", "the application has none (floyo_test_command is empty)")
    ]
    if plan is not None:
        rows.append(_migrations(manifest, plan))
    unset = {}
    for host, found in environments.items():
        names = sorted(set(manifest.get("env_names") or ()) - set(found.get("present") or ()))
        if names and not found.get("failed"):
            unset[host] = ", ".join(names)
    rows.append(
        _gate(
            "environment of the release",
            "FAIL" if strict_environment else "warn",
            _hosts({host: f"lacks {names} of the example file" for host, names in unset.items()}),
            "set them in floyo_env or floyo_env_secrets, or leave the application's defaults",
        )
        if unset
        else _gate("environment of the release", "ok", "has every name of the example file")
    )
    rows.append(_gate("backup", "ok" if backup != "never" else "warn", {
        "always": "is taken and verified before the first change",
        "migrations": "is taken and verified before migrations",
        "never": "floyo_backup_before is never",
        "none": "the application has no database",
    }[backup]))  # fmt: skip
    rows.append(
        _gate("team", "ok", f"{notified} target{'s' * (notified != 1)} will be told")
        if notified
        else _gate("team", "warn", "nobody is told", "set floyo_notify_urls")
    )
    return rows


def _migrations(manifest: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, str]:
    heads = (manifest.get("alembic") or {}).get("heads") or []
    if plan["verdict"] == "REFUSE":
        return _gate("migrations", "FAIL", f"{plan['code']}: {plan['reason']}", str(plan.get("next_step") or ""))
    listed: Sequence[Mapping[str, Any]] = plan.get("pending") or []
    words = ", ".join(f"{one['revision']} ({one['class']})" for one in listed)
    held = ", ".join(one["revision"] for one in plan.get("held_back") or [])
    found = f"head {', '.join(heads) or 'none'}; pending: {words or 'nothing'}"
    if held:
        return _gate(
            "migrations", "ok", f"{found}; held back: {held}", "-e floyo_contract=true when nobody needs what goes"
        )
    return _gate("migrations", "ok", found)
