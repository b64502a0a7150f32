"""What is wrong, what follows from it, and what is safe to do: the runbook's troubleshooting over what was collected (pure).

A symptom needs evidence from what was just seen; what could not be seen is said and makes none. Causes come before what
they explain: a database that is gone empties no pool by restarting the service.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .logs.merge import patterns_of_all
from .slo.judge import wilson
from .text import one_line, shorten

__all__ = ["EXPLAINS", "Symptom", "doubts", "symptoms"]

EXPLAINS: dict[str, tuple[str, ...]] = {
    "service down": ("errors",),
    "database gone": ("database not ready", "pool", "errors", "cache", "blocked"),
    "Redis gone": ("cache",),
    "blocked": ("pool", "errors", "database not ready"),
    "pool": ("errors", "database not ready"),
    "memory": (),
    "cache": (),
    "database not ready": ("errors",),
    "errors": (),
}
"""A symptom, and those that are only its consequence. In the order in which they are shown."""

_PLAY = "ansible-playbook playbooks"
_POOL_WORDS = re.compile(
    r"QueuePool limit|pool\S* (?:is )?exhausted|remaining connection slots|too many (?:clients|connections)"
)
_NO_DATABASE = ("DATABASE_UNREACHABLE", "DATABASE_LOST")
# What module redis_cache gives as its reason when Redis does not serve; the others are ours, such as a missing driver.
_NO_REDIS = (
    "REFUSED", "UNREACHABLE", "TIMEOUT", "NO_SOCKET", "CLOSED", "LOADING", "BUSY", "MAX_CLIENTS", "PRIMARY_DOWN", "CLUSTER_DOWN",
    "NOAUTH", "WRONGPASS", "NOPERM", "DNS", "TLS", "NOT_REDIS", "PROTECTED",
)  # fmt: skip
_FEWEST_ERRORS = 10
_FEWEST_LOOKUPS = 100
_POOL_LIMIT = 80
_HITS_LIMIT = 50


@dataclass
class Symptom:
    """``action``: what ``floyo_apply`` does, nothing when nothing is safe. ``because``: the symptom that explains it."""

    symptom: str
    severity: str
    hosts: list[str]
    evidence: list[str]
    next_step: str
    action: str = ""
    because: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        return {
            "symptom": self.symptom,
            "severity": self.severity,
            "is": f"follows from: {self.because}" if self.because else "cause",
            "where": ", ".join(self.hosts),
            "evidence": "; ".join(self.evidence),
            "next": "" if self.because else self.next_step,
            "action": "" if self.because else self.action,
            "hosts": self.hosts,
            **self.details,
        }


Facts = Mapping[str, Any]


def symptoms(facts: Facts) -> list[dict[str, Any]]:
    """Rows ``symptom, severity, is, where, evidence, next, action, hosts``, causes first.

    ``facts``: ``health``, ``slo``, ``process``, ``logs`` map backends to results of the modules, ``proxies`` proxies to
    results of floyo_slo; ``database`` is pg_diagnose's result and ``cache`` redis_cache's, None where there is none.
    """
    found = [one for look in _LOOKS for one in look(facts)]
    named = {one.symptom for one in found}
    for one in found:
        one.because = next((cause for cause in EXPLAINS if cause in named and one.symptom in EXPLAINS[cause]), "")
    order = list(EXPLAINS)
    found.sort(key=lambda one: (bool(one.because), order.index(one.symptom)))
    return [one.row() for one in found]


def doubts(facts: Facts) -> list[str]:
    """What could not be judged, and why, in sentences."""
    said = []
    for kind, name, key in (
        ("health", "health", "verdict"), ("slo", "figures", "measures"), ("proxies", "figures", "measures"),
        ("process", "process", "verdict"), ("logs", "log", "matched"),
    ):  # fmt: skip
        silent: dict[str, list[str]] = {}
        for host, result in (facts.get(kind) or {}).items():
            if key not in result:
                text = "unreachable" if result.get("unreachable") else one_line(result.get("msg") or "no answer")
                silent.setdefault(shorten(text, 160), []).append(host)
        said += [f"{name} of {', '.join(hosts)}: {text}" for text, hosts in silent.items()]
    for kind, key, reason in (("database", "connected", "code"), ("cache", "server", "reason")):
        result = facts.get(kind)
        if result is not None and key not in result:
            word, known = str(result.get(reason) or ""), _NO_DATABASE if kind == "database" else _NO_REDIS
            if word not in known:
                said.append(f"{kind}: {_message(result)}")
    # What an account may not see is no proof of anything.
    blind = [one for one in (facts.get("database") or {}).get("findings") or () if one["verdict"] == "inconclusive"]
    said += [f"database: {one['message']} (Next: {one['next_step']})" for one in blind]
    problems: dict[str, list[str]] = {}
    for host, result in (*(facts.get("slo") or {}).items(), *(facts.get("proxies") or {}).items()):
        for one in result.get("problems") or ():
            problems.setdefault(f"{one['measure']}: {one['code']}: {shorten(one['message'], 120)}", []).append(host)
    said += [f"{text} ({', '.join(hosts)})" for text, hosts in problems.items()]
    leaks = {
        host: result["leak"]["reason"]
        for host, result in (facts.get("process") or {}).items()
        if (result.get("leak") or {}).get("verdict") == "inconclusive"
    }
    if leaks:
        said.append(f"memory leak: {next(iter(leaks.values()))} ({', '.join(leaks)})")
    return said


def _message(result: Mapping[str, Any]) -> str:
    """What a failed result says, without what was expected and what comes next: these have columns of their own."""
    return shorten(str(result.get("msg") or "no answer").partition(" Expected: ")[0].partition(" Next: ")[0], 200)


# --- the looks -------------------------------------------------------------------------------------------------------


def _components(facts: Facts, name: str) -> dict[str, Mapping[str, Any]]:
    """What hosts say of a dependency where they do not say that it is well."""
    found = {}
    for host, result in (facts.get("health") or {}).items():
        for check in result.get("checks") or ():
            for one in check.get("components") or ():
                if one["name"] == name and one["level"] != "healthy":
                    found[host] = one
    return found


def _checks(facts: Facts, name: str) -> dict[str, Mapping[str, Any]]:
    return {
        host: check
        for host, result in (facts.get("health") or {}).items()
        for check in result.get("checks") or ()
        if check["name"] == name and check["level"] == "unhealthy"
    }


def _down(facts: Facts) -> Iterable[Symptom]:
    stopped = {
        host: f"{result['unit']} is {result['active']}, result {result['result']}"
        for host, result in (facts.get("process") or {}).items()
        if "active" in result and result["active"] not in ("active", "reloading")
    }
    dead = {host: one["message"] for host, one in _checks(facts, "health").items()}
    hosts = sorted(set(stopped) | set(dead))
    if hosts:
        everywhere = len(hosts) == len(facts.get("health") or ())
        yield Symptom(
            "service down",
            "P0" if everywhere else "P1",
            hosts,
            [_told(host, stopped.get(host) or f"health {dead[host]}") for host in hosts],
            f"{_PLAY}/service.yml -e floyo_observe_service=journal --limit {','.join(hosts)}",
        )


def _told(host: str, text: str) -> str:
    return f"{host}: {shorten(text, 160)}"


def _database(facts: Facts) -> Iterable[Symptom]:
    database = facts.get("database")
    if database is None:
        return
    unready = {**_checks(facts, "readiness"), **_components(facts, "database")}
    unready = {host: one for host, one in unready.items() if host not in _checks(facts, "health")}
    evidence = [f"{host} says {one.get('word') or one.get('message')}" for host, one in sorted(unready.items())]
    if "connected" not in database and (unready or database.get("code") in _NO_DATABASE):
        where = str(facts.get("database_host") or "the database's host")
        yield Symptom(
            "database gone",
            "P0" if unready else "P1",
            sorted(unready) or [where],
            [f"asked from {where}: {_message(database)}", *evidence],
            # Not done by itself: a server that was stopped after a failover must not come back as a second primary.
            f"ansible {where} -b -m ansible.builtin.command -a 'systemctl status postgresql@*'; start it when nobody"
            " stopped it on purpose",
        )
    elif unready and "connected" in database:
        yield Symptom(
            "database not ready",
            "P1",
            sorted(unready),
            [*evidence, "the database itself answers"],
            f"{_PLAY}/database_connections.yml",
        )


def _redis(facts: Facts) -> Iterable[Symptom]:
    cache = facts.get("cache")
    if cache is None or "server" in cache or cache.get("reason") not in _NO_REDIS:
        return
    where = str(facts.get("cache_host") or "the cache's host")
    warned = _components(facts, "redis")
    reason = str(cache.get("reason") or "")
    yield Symptom(
        "Redis gone",
        "P2",
        sorted(warned) or [where],
        [
            f"asked from {where}: {_message(cache)}",
            *(f"{host} says {one['word']}" for host, one in sorted(warned.items())),
        ],
        f"{_PLAY}/troubleshoot.yml -e floyo_apply=true (starts redis-server on {where})"
        if reason in ("REFUSED", "NO_SOCKET")
        else f"{_PLAY}/cache_stats.yml",
        # Only a server that is not there is started; one that refuses has its reason.
        action="start redis" if reason in ("REFUSED", "NO_SOCKET") else "",
    )


def _blocked(facts: Facts) -> Iterable[Symptom]:
    database = facts.get("database") or {}
    blocking = [
        one
        for one in database.get("findings") or ()
        if one["check"] == "blocking" and one["verdict"] in ("warn", "fail")
    ]
    if blocking:
        yield Symptom(
            "blocked",
            "P1",
            [str(facts.get("database_host") or "database")],
            [one["message"] for one in blocking[:3]],
            blocking[0]["next_step"],
            action="end blockers",
            details={"sessions": [one["object"] for one in blocking if one.get("object")]},
        )


def _memory(facts: Facts) -> Iterable[Symptom]:
    evidence, hosts, spoken = [], [], []
    for host, result in (facts.get("process") or {}).items():
        bad = [
            one
            for one in result.get("findings") or ()
            if one["check"] in ("memory leak", "memory limit", "killed for memory") and one["verdict"] == "fail"
        ]
        if bad:
            hosts.append(host)
            evidence += [_told(host, f"{one['check']}: {one['message']} ({one['sample']})") for one in bad]
            told = ((facts.get("logs") or {}).get(host) or {}).get("memory") or {}
            spoken += [_told(host, f"the log speaks of memory {told['count']} times")] if told.get("count") else []
    if hosts:
        yield Symptom(
            "memory",
            "P1" if any("killed" in text or "limit:" in text for text in evidence) else "P2",
            hosts,
            evidence + spoken,
            f"{_PLAY}/service.yml -e floyo_observe_service=restarted --limit {','.join(hosts)}",
            action="restart",
        )


def _pool(facts: Facts) -> Iterable[Symptom]:
    full: dict[str, list[str]] = {}
    for host, result in (facts.get("slo") or {}).items():
        looks = ((result.get("measures") or {}).get("pool") or {}).get("looks") or []
        shares = sorted(100 * look["used"] / look["capacity"] for look in looks if look["capacity"])
        if shares and shares[len(shares) // 2] >= _POOL_LIMIT:
            newest = looks[-1]
            full[host] = [f"{newest['used']} of {newest['capacity']} connections in use in {len(looks)} looks"]
    for host, result in (facts.get("logs") or {}).items():
        count = sum(
            one["count"]
            for one in result.get("patterns") or ()
            if _POOL_WORDS.search(one["sample"]) or _POOL_WORDS.search(one["pattern"])
        )
        if count >= _FEWEST_ERRORS or (count and host in full):
            full.setdefault(host, []).append(f"{count} log lines of a pool without a free connection")
    for one in (facts.get("database") or {}).get("findings") or ():
        if one["check"] == "connections" and one["verdict"] == "fail":
            full.setdefault(str(facts.get("database_host") or "database"), []).append(one["message"])
    if full:
        hosts = sorted(full)
        backends = [host for host in hosts if host in (facts.get("slo") or {})]
        yield Symptom(
            "pool",
            "P1",
            hosts,
            [_told(host, ", ".join(full[host])) for host in hosts],
            f"{_PLAY}/database_connections.yml; then {_PLAY}/service.yml -e floyo_observe_service=restarted --limit"
            f" {','.join(backends or ['floyo_backend'])}, or raise DATABASE_POOL_SIZE",
            action="restart" if backends else "",
            details={"hosts": backends},
        )


def _cache(facts: Facts) -> Iterable[Symptom]:
    if facts.get("cache") is None:
        return
    open_circuits = sorted(_components(facts, "circuit_breaker"))
    hits = misses = 0
    elsewhere, spans = [], []
    for host, result in (facts.get("slo") or {}).items():
        told = (result.get("measures") or {}).get("cache") or {}
        windows = {window["label"]: window for window in told.get("windows") or ()}
        if told and told.get("type") != "redis":
            elsewhere.append(f"{host} caches in {told.get('type')} and not in Redis")
        window = windows.get("now")
        if window:
            hits, misses = hits + window["hits"], misses + window["misses"]
            spans.append(window["seconds"])
    total = hits + misses
    evidence = elsewhere + [f"{host} leaves its cache alone (circuit breaker)" for host in open_circuits]
    if total >= _FEWEST_LOOKUPS and 100 * wilson(hits, total)[1] < _HITS_LIMIT:
        evidence.insert(0, f"{100 * hits / total:.0f} % hits of {total} lookups in {max(spans):.0f} s")
    if evidence:
        yield Symptom(
            "cache",
            "P2",
            sorted(facts.get("slo") or ()),
            evidence,
            # A flush makes a cache that misses miss more: it is the runbook's last step and not the first.
            f"{_PLAY}/cache_stats.yml; then the time to live of what is asked most, and what is never asked twice",
        )


def _errors(facts: Facts) -> Iterable[Symptom]:
    evidence, hosts = [], []
    for host, result in (facts.get("proxies") or {}).items():
        for window in ((result.get("measures") or {}).get("proxy") or {}).get("windows") or ():
            low, _ = wilson(window["server_errors"], window["requests"])
            if window["label"] == "now" and window["server_errors"] >= 5 and low > 0.0001:
                evidence.append(
                    f"{window['server_errors']} of {window['requests']} answers of {host} are 5xx in {window['seconds']:.0f} s"
                )
                hosts.append(host)
    logs = facts.get("logs") or {}
    counted = {host: int(result.get("pattern_count") or 0) for host, result in logs.items()}
    if sum(counted.values()) >= _FEWEST_ERRORS:
        hosts += [host for host, count in counted.items() if count]
        evidence += [
            f"{row['count']} x {row['pattern']} ({', '.join(row['hosts'])})" for row in patterns_of_all(logs, 3)
        ]
    if evidence:
        yield Symptom(
            "errors",
            "P1",
            sorted(set(hosts)),
            evidence,
            f"{_PLAY}/logs.yml -e floyo_observe_logs=patterns; {_PLAY}/rollback.yml --check when a deploy came before",
        )


_LOOKS = (_down, _database, _redis, _blocked, _memory, _pool, _cache, _errors)
