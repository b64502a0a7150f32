"""What Redis' counters say: over its life, over a window, and whether that is well (pure, standard library only)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ..finding import Finding

__all__ = ["LIMITS", "Window", "between", "findings", "lifetime", "persistence", "sample_of"]

LIMITS: dict[str, float] = {
    "hit_rate_warn": 80.0,
    "hit_rate_fail": 50.0,
    "min_lookups": 100,
    "memory_warn": 80.0,
    "memory_fail": 95.0,
    "without_ttl_warn": 10.0,
}
_COUNTERS = {
    "hits": "keyspace_hits",
    "misses": "keyspace_misses",
    "evicted": "evicted_keys",
    "expired": "expired_keys",
    "commands": "total_commands_processed",
    "connections": "total_connections_received",
    "rejected": "rejected_connections",
}


def sample_of(info: Mapping[str, Any], at: float) -> dict[str, Any]:
    """What a later look needs to know of this one."""
    counters = {name: int(info.get(field, 0)) for name, field in _COUNTERS.items()}
    return {"run_id": str(info["run_id"]), "at": at, "uptime": int(info["uptime_in_seconds"]), **counters}


@dataclass(frozen=True)
class Window:
    """Between two looks. ``restarted`` and ``reset`` say why there are no counts."""

    seconds: float
    source: str
    restarted: bool = False
    reset: bool = False
    hits: int = 0
    misses: int = 0
    evicted: int = 0
    expired: int = 0
    commands: int = 0
    rejected: int = 0

    @property
    def comparable(self) -> bool:
        return not (self.restarted or self.reset)

    def as_result(self, min_lookups: float) -> dict[str, Any]:
        counts = {
            name: getattr(self, name) for name in ("hits", "misses", "evicted", "expired", "commands", "rejected")
        }
        return {
            "seconds": round(self.seconds, 1),
            "source": self.source,
            "restarted": self.restarted,
            "reset": self.reset,
            **{name: value if self.comparable else None for name, value in counts.items()},
            "hit_rate": _rate(self.hits, self.misses, min_lookups) if self.comparable else None,
        }


def between(earlier: Mapping[str, Any], later: Mapping[str, Any], source: str) -> Window:
    """The window from one sample to another one of the same server; anything else gives none.

    Another run_id is another process: counters began at zero, by a restart or because another server took over.
    A counter that went back was reset.
    """
    seconds = later["at"] - float(earlier.get("at", later["at"]))
    if earlier.get("run_id") != later["run_id"]:
        return Window(seconds, source, restarted=True)
    counts = {name: later[name] - int(earlier.get(name, 0)) for name in _COUNTERS}
    if seconds <= 0 or any(value < 0 for value in counts.values()):
        return Window(seconds, source, reset=True)
    counts.pop("connections")
    return Window(seconds, source, **counts)


def lifetime(info: Mapping[str, Any], min_lookups: float) -> dict[str, Any]:
    hits, misses = int(info.get("keyspace_hits", 0)), int(info.get("keyspace_misses", 0))
    return {
        "seconds": int(info["uptime_in_seconds"]),
        "hits": hits,
        "misses": misses,
        "hit_rate": _rate(hits, misses, min_lookups),
        "evicted": int(info.get("evicted_keys", 0)),
        "expired": int(info.get("expired_keys", 0)),
        "rejected": int(info.get("rejected_connections", 0)),
    }


def _rate(hits: int, misses: int, min_lookups: float) -> Optional[float]:
    """Percent, or nothing when there were too few lookups to say."""
    return round(100 * hits / (hits + misses), 1) if hits + misses >= max(1, min_lookups) else None


def findings(
    info: Mapping[str, Any], *, database: int, window: Optional[Window], limits: Mapping[str, float], node: str
) -> list[Finding]:
    """The verdicts over one server."""
    return [
        finding
        for look in (
            _hit_rate(info, window, limits),
            _evictions(info, window),
            _memory(info, limits),
            _without_ttl(info, database, limits),
            _restarts(info, window),
            _connections(info, window),
            _persistence(info),
            _replication(info),
        )
        for finding in (Finding(**{**vars(found), "object": node}) for found in look)
    ]


def _hit_rate(info: Mapping[str, Any], window: Optional[Window], limits: Mapping[str, float]) -> Iterator[Finding]:
    warn, fail, least = limits["hit_rate_warn"], limits["hit_rate_fail"], limits["min_lookups"]
    life = lifetime(info, least)
    now = window.as_result(least) if window else {"hit_rate": None}
    recent = now["hit_rate"] is not None
    source = now if recent else life
    rate, lookups = source["hit_rate"], (source["hits"] or 0) + (source["misses"] or 0)
    threshold = f"at least {warn:g} %"
    if recent:
        sample = f"{lookups} lookups in {now['seconds']:g} s"
    else:
        sample = f"{lookups} lookups since the start {_duration(life['seconds'])} ago"
    # Redis counts for all of its databases together: with several in use the figure is of a mixture.
    mixed = sum(1 for key in info if str(key).startswith("db") and isinstance(info[key], Mapping)) > 1
    confidence = "low" if mixed else "high" if recent else "medium"
    if rate is None:
        yield Finding(
            "hit_rate", "inconclusive", f"fewer than {least:g} lookups to judge by", value=None, threshold=threshold,
            sample=sample, confidence="low",
            next_step="look again while the application is used, with a longer floyo_observe_cache_window",
        )  # fmt: skip
        return
    verdict = "pass" if rate >= warn else "warn" if rate >= fail else "fail"
    what = f"{rate:g} % of lookups were answered" + (", of all databases together" if mixed else "")
    yield Finding(
        "hit_rate", verdict, what, value=rate, threshold=threshold if verdict != "fail" else f"at least {fail:g} %",
        sample=sample, confidence=confidence,
        next_step="" if verdict == "pass" else
        "compare evictions and expiries in this table; longer TTLs, or more memory; a release that changed key names starts cold",
    )  # fmt: skip


def _evictions(info: Mapping[str, Any], window: Optional[Window]) -> Iterator[Finding]:
    policy = info.get("maxmemory_policy", "unknown")
    step = "raise floyo_redis_maxmemory and run playbooks/provision.yml, or shorten the TTLs"
    if window and window.comparable:
        sample = f"{window.seconds:.0f} s"
        if window.evicted:
            message = f"{window.evicted} keys were evicted to make room ({policy})"
            yield Finding(
                "evictions", "warn", message, value=window.evicted, threshold="0", sample=sample, next_step=step
            )
        else:
            yield Finding("evictions", "pass", "nothing was evicted", value=0, threshold="0", sample=sample)
        return
    total, seconds = int(info.get("evicted_keys", 0)), int(info["uptime_in_seconds"])
    yield Finding(
        "evictions", "inconclusive" if total else "pass",
        f"{total} keys were evicted since the start, nobody knows when" if total else "nothing was ever evicted",
        value=total, threshold="0", sample=f"since the start {_duration(seconds)} ago",
        confidence="low" if total else "high",
        next_step="look twice: -e floyo_observe_cache_window=30" if total else "",
    )  # fmt: skip


def _memory(info: Mapping[str, Any], limits: Mapping[str, float]) -> Iterator[Finding]:
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    policy = str(info.get("maxmemory_policy", "unknown"))
    if not most:
        yield Finding(
            "memory", "warn", f"{_megabytes(used)} used and no maxmemory: the kernel ends Redis when the host is full",
            value=used, threshold="a maxmemory", next_step="set floyo_redis_maxmemory and run playbooks/provision.yml",
        )  # fmt: skip
        return
    share = round(100 * used / most, 1)
    message = f"{_megabytes(used)} of {_megabytes(most)} used ({share:g} %), {policy}"
    if policy != "noeviction":
        # A full cache that evicts works as meant; whether it evicts too much is another line.
        yield Finding("memory", "pass", message, value=share, threshold="any, since it evicts")
        return
    verdict = "fail" if share >= limits["memory_fail"] else "warn" if share >= limits["memory_warn"] else "pass"
    yield Finding(
        "memory", verdict, message + (": writes fail when it is full" if verdict != "pass" else ""), value=share,
        threshold=f"below {limits['memory_fail' if verdict == 'fail' else 'memory_warn']:g} %",
        next_step="" if verdict == "pass" else "raise floyo_redis_maxmemory and run playbooks/provision.yml",
    )  # fmt: skip


def _without_ttl(info: Mapping[str, Any], database: int, limits: Mapping[str, float]) -> Iterator[Finding]:
    space = info.get(f"db{database}") or {"keys": 0, "expires": 0}
    keys, lasting = int(space["keys"]), int(space["keys"]) - int(space["expires"])
    share = round(100 * lasting / keys, 1) if keys else 0.0
    policy = str(info.get("maxmemory_policy", "unknown"))
    # allkeys-* removes them when it has to. With the others they stay until somebody deletes them.
    stay = not policy.startswith("allkeys")
    verdict = "warn" if stay and share > limits["without_ttl_warn"] else "pass"
    yield Finding(
        "keys_without_ttl", verdict,
        f"{lasting} of {keys} keys in db{database} never expire" + (f", and {policy} does not remove them" if lasting and stay else ""),
        value=share, threshold=f"at most {limits['without_ttl_warn']:g} %",
        next_step="" if verdict == "pass" else "ansible-playbook playbooks/cache_clear.yml --check shows of which kinds they are",
    )  # fmt: skip


def _restarts(info: Mapping[str, Any], window: Optional[Window]) -> Iterator[Finding]:
    if not window:
        return
    age = _duration(int(info["uptime_in_seconds"]))
    sample = f"{window.seconds:.0f} s"
    if window.restarted:
        message = f"another process answers since {age} ago: it was restarted, or another server took over"
        step = "journalctl -u redis-server on the cache host; the cache is cold until it fills"
        yield Finding(
            "restart", "warn", message, value=age, threshold="the same process", sample=sample, next_step=step
        )
    elif window.reset:
        message = "a counter went back: somebody ran CONFIG RESETSTAT, or the clock was put back"
        yield Finding("restart", "inconclusive", message, threshold="counters that only grow", sample=sample)
    else:
        yield Finding("restart", "pass", f"the same process for {age}", value=age, sample=sample)


def _connections(info: Mapping[str, Any], window: Optional[Window]) -> Iterator[Finding]:
    clients, most = int(info.get("connected_clients", 0)), int(info.get("maxclients", 0))
    rejected = window.rejected if window and window.comparable else 0
    full = bool(most) and clients >= 0.9 * most
    verdict = "fail" if rejected else "warn" if full else "pass"
    said = f"{clients} of {most} connections in use" if most else f"{clients} connections in use"
    yield Finding(
        "connections", verdict, said + (f", {rejected} refused" if rejected else ""), value=clients,
        threshold="below 90 %, none refused", sample=f"{window.seconds:.0f} s" if rejected and window else "now",
        next_step="" if verdict == "pass" else "raise maxclients in floyo_redis_settings; which client keeps so many open?",
    )  # fmt: skip


def _persistence(info: Mapping[str, Any]) -> Iterator[Finding]:
    bad = [name for name in ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
           if info.get(name, "ok") != "ok"]  # fmt: skip
    if bad:
        yield Finding(
            "persistence", "fail", f"{bad[0]} is {info[bad[0]]}: Redis refuses writes while it cannot save",
            value=str(info[bad[0]]), threshold="ok",
            next_step="df -h on the cache host; journalctl -u redis-server says why it could not write",
        )  # fmt: skip


def _replication(info: Mapping[str, Any]) -> Iterator[Finding]:
    if info.get("role") != "slave":
        return
    place = f"{info.get('master_host')}:{info.get('master_port')}"
    up = info.get("master_link_status") == "up"
    yield Finding(
        "replication", "pass" if up else "fail",
        f"this is a replica of {place}" + ("" if up else ", which it cannot reach: what it serves gets old"),
        value=str(info.get("master_link_status")), threshold="up",
        next_step="" if up else f"redis-cli -h {info.get('master_host')} -p {info.get('master_port')} ping",
    )  # fmt: skip


def persistence(info: Mapping[str, Any]) -> dict[str, Any]:
    """What is on the disk: with it, what is deleted is gone after a restart too."""
    return {
        "aof": bool(int(info.get("aof_enabled", 0))),
        "saved_at": int(info.get("rdb_last_save_time", 0)),
        "save_status": str(info.get("rdb_last_bgsave_status", "")),
        "unsaved_changes": int(info.get("rdb_changes_since_last_save", 0)),
    }


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _megabytes(size: int) -> str:
    return f"{size / 1048576:.1f} MB"
