"""What module redis_cache does (glue)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Optional

from ..errors import Refused, Unusable
from ..files import read_json, write_json
from ..finding import as_results, overall
from .client import Cache
from .judge import LIMITS, Window, between, findings, lifetime, persistence, sample_of
from .keys import GUARDED, KeyReader
from .removal import Removal, put_back
from .url import parse_url

__all__ = ["ARGUMENT_SPEC", "REQUIRED_IF", "cache"]

ARGUMENT_SPEC: dict[str, Any] = {
    "state": {
        "type": "str",
        "choices": ["ping", "info", "stats", "flushed", "prefix_deleted", "put_back"],
        "default": "ping",
    },
    "url": {"type": "str", "required": True, "no_log": True},
    "timeout": {"type": "float", "default": 10.0},
    "deadline": {"type": "float", "default": 600.0},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path", "default": ""},
    "window": {"type": "float", "default": 0.0},
    "sample": {"type": "dict", "default": {}},
    "sample_file": {"type": "path", "default": ""},
    "looked_at": {"type": "int", "default": 2000},
    "limits": {
        "type": "dict",
        "options": {name: {"type": "float", "default": float(value)} for name, value in LIMITS.items()},
        "apply_defaults": True,
    },
    "confirm_database": {"type": "int"},
    # A glob prefix, no secret: without this Ansible warns of the word "key" in other names.
    "prefix": {"type": "str"},
    "cache_prefixes": {"type": "list", "elements": "str", "default": ["cache:"]},
    "patterns": {"type": "dict", "default": {}},
    "allow": {"type": "list", "elements": "str", "choices": list(GUARDED), "default": []},
    "batch": {"type": "int", "default": 250},
    "pause": {"type": "float", "default": 0.0},
    "copy_to": {"type": "path", "default": ""},
}
REQUIRED_IF = [
    ("state", "flushed", ["confirm_database"]),
    ("state", "prefix_deleted", ["prefix"]),
    ("state", "put_back", ["copy_to"]),
]

_MOST_BATCH = 5000


def cache(parameters: Mapping[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Carry out the module's parameters and return its result; ``warnings`` are for the person."""
    url = parse_url(parameters["url"])
    if not 1 <= parameters["batch"] <= _MOST_BATCH:
        raise Unusable(
            f"batch is {parameters['batch']}", code="BATCH_INVALID", expected=f"1 to {_MOST_BATCH}",
            next_step="a larger one would hold the server up",
        )  # fmt: skip
    server = Cache(
        url,
        timeout=parameters["timeout"],
        validate_certs=parameters["validate_certs"],
        ca_path=parameters["ca_path"],
    )
    with closing(server):
        if parameters["state"] == "ping":
            return _ping(server)
        if parameters["state"] == "info":
            return {"changed": False, "warnings": [], **_described(server, server.info())}
        if parameters["state"] == "stats":
            return _stats(server, parameters, check_mode=check_mode)
        if parameters["state"] == "put_back":
            return put_back(server, parameters, check_mode=check_mode)
        return Removal(server, parameters, check_mode=check_mode).result()


# --- what it is ------------------------------------------------------------------------------------------------------


def _ping(server: Cache) -> dict[str, Any]:
    """INFO is another right than PING: an account without it still learns whether the server answers."""
    latency = min(server.ping() for _ in range(3))
    result = {"changed": False, "warnings": list[str](), "latency_ms": latency, "server": str(server.url)}
    try:
        info = server.info()
    except Refused as error:
        return {**result, "version": "", "role": "", "persistence": {}, "warnings": [str(error)]}
    return {**result, **{key: value for key, value in _described(server, info).items() if key != "server"}}


def _described(server: Cache, info: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "server": str(server.url),
        "version": str(info["redis_version"]),
        "run_id": str(info["run_id"]),
        "uptime_seconds": int(info["uptime_in_seconds"]),
        "mode": str(info.get("redis_mode", "standalone")),
        "role": "replica" if info.get("role") == "slave" else "primary",
        "replication": {
            "primary": f"{info['master_host']}:{info['master_port']}" if info.get("role") == "slave" else "",
            "link": str(info.get("master_link_status", "")),
            "replicas": int(info.get("connected_slaves", 0)),
        },
        "memory": {
            "used": int(info.get("used_memory", 0)),
            "limit": int(info.get("maxmemory", 0)),
            "policy": str(info.get("maxmemory_policy", "")),
            "fragmentation": info.get("mem_fragmentation_ratio"),
        },
        "clients": {"connected": int(info.get("connected_clients", 0)), "most": int(info.get("maxclients", 0))},
        "persistence": persistence(info),
        "databases": {
            name[2:]: {"keys": int(space["keys"]), "without_ttl": int(space["keys"]) - int(space["expires"])}
            for name, space in info.items()
            if name.startswith("db") and isinstance(space, Mapping)
        },
    }


# --- state stats -----------------------------------------------------------------------------------------------------


def _stats(server: Cache, parameters: Mapping[str, Any], *, check_mode: bool) -> dict[str, Any]:
    file, limits = parameters["sample_file"], parameters["limits"]
    info = server.info()
    first = sample_of(info, time.time())
    window: Optional[Window] = None
    warnings: list[str] = []
    if parameters["window"] > 0:
        time.sleep(parameters["window"])
        info = server.info()
        window = between(first, sample_of(info, time.time()), "two looks")
    latest = sample_of(info, time.time())
    if window is None:
        window = _since_earlier(parameters, latest, warnings)
    if file and not check_mode:
        write_json(file, latest)
    described = _described(server, info)
    found = findings(info, database=server.url.database, window=window, limits=limits, node=server.place)
    return {
        "changed": False,
        "warnings": warnings,
        **described,
        "lifetime": lifetime(info, limits["min_lookups"]),
        "window": window.as_result(limits["min_lookups"]) if window else {},
        "sample": latest,
        "names": _names(server, parameters),
        "findings": as_results(found),
        "verdict": overall(found),
    }


def _since_earlier(parameters: Mapping[str, Any], latest: dict[str, Any], warnings: list[str]) -> Optional[Window]:
    if parameters["sample"]:
        return between(parameters["sample"], latest, "earlier sample")
    file = parameters["sample_file"]
    if not file:
        return None
    try:
        kept = read_json(file)
    except ValueError:
        warnings.append(f"{file} is damaged and begins anew")
        return None
    return between(kept, latest, "sample file") if isinstance(kept, Mapping) else None


def _names(server: Cache, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Under which names how many keys lie, from the first keys of a walk, whose order is as good as random."""
    most = parameters["looked_at"]
    if most <= 0:
        return []
    groups: dict[str, dict[str, int]] = {}
    seen = 0
    for keys in server.scan("*", min(parameters["batch"], most)):
        answers = server.many([words for key in keys for words in (("PTTL", key), ("MEMORY", "USAGE", key))])
        for key, ttl, size in zip(keys, answers[::2], answers[1::2]):
            group = groups.setdefault(KeyReader.label(key), {"keys": 0, "without_ttl": 0, "bytes": 0})
            group["keys"] += 1
            group["without_ttl"] += ttl == -1
            group["bytes"] += int(size or 0)
        seen += len(keys)
        if seen >= most:
            break
    return [
        {
            "name": name,
            "share": round(100 * group["keys"] / seen, 1),
            "without_ttl": round(100 * group["without_ttl"] / group["keys"], 1),
            "mean_bytes": round(group["bytes"] / group["keys"]),
            "looked_at": group["keys"],
        }
        for name, group in sorted(groups.items(), key=lambda item: -item[1]["keys"])[:20]
    ]
