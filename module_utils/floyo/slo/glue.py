"""From the parameters of module floyo_slo to its result."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from typing import Any, Callable, Optional

from ..errors import FloyoError, Unusable
from ..files import read_json, write_json
from ..finding import as_results, overall
from ..http import Client
from .ask import Endpoint, ask_all, log_figures, proxy_figures, query_figures
from .figures import NOT_USERS, cache_figures, latency_figures, pool_figures
from .judge import DEFAULT_TARGETS, judge

__all__ = ["ARGUMENT_SPEC", "measure"]

ARGUMENT_SPEC: dict[str, Any] = {
    "base_url": {"type": "str", "default": "http://127.0.0.1:8000"},
    "want": {
        "type": "list",
        "elements": "str",
        "choices": ["latency", "pool", "cache", "proxy", "log", "queries"],
        "default": ["latency", "pool", "cache"],
    },
    "paths": {
        "type": "dict",
        "default": {},
        "options": {
            "performance": {"type": "list", "elements": "str"},
            "cache": {"type": "list", "elements": "str"},
            "pool": {"type": "list", "elements": "str"},
        },
    },
    "token": {"type": "str", "no_log": True, "default": ""},
    "timeout": {"type": "float", "default": 5.0},
    "max_bytes": {"type": "int", "default": 8388608},
    "ignore": {"type": "str", "default": NOT_USERS},
    "looks": {"type": "int", "default": 3},
    "pause": {"type": "float", "default": 1.0},
    "memory": {"type": "path", "default": ""},
    "haproxy_socket": {"type": "path", "default": "/run/haproxy/admin.sock"},
    "frontend": {"type": "str", "default": "floyo_https"},
    "log": {"type": "path", "default": "/var/log/floyo/app.log"},
    "log_seconds": {"type": "int", "default": 3600},
    "database_url": {"type": "str", "no_log": True, "default": ""},
    "database_role": {"type": "str", "default": ""},
    "statistics_database": {"type": "str", "default": "postgres"},
    "targets": {
        "type": "dict",
        "default": {},
        "options": {name: {"type": "float", "default": value} for name, value in DEFAULT_TARGETS.items()},
        "apply_defaults": True,
    },
    "fail_on": {"type": "str", "choices": ["never", "fail", "inconclusive"], "default": "never"},
}

_PATHS = {
    "performance": ["/api/monitoring/performance", "/api/v1/monitoring/performance"],
    "cache": ["/api/monitoring/cache/stats", "/api/v1/monitoring/cache/stats"],
    "pool": ["/api/monitoring/database/pool", "/api/v1/monitoring/database/pool"],
}
_ENDPOINT_OF = {"latency": "performance", "pool": "pool", "cache": "cache"}
# An older look says more about yesterday than about now.
_OLDEST_LOOK = 6 * 3600
_COUNTED = {"cache": ("hits", "misses"), "proxy": ("requests", "client_errors", "server_errors")}


class _Look:
    """One host's figures, collected over several looks."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = params
        self.measures: dict[str, Any] = {}
        self.problems: list[dict[str, Any]] = []
        self.restarted: list[str] = []
        self._counts: dict[str, list[dict[str, Any]]] = {}

    def problem(self, measure: str, error: FloyoError) -> None:
        self.measures.pop(measure, None)
        if all(one["measure"] != measure for one in self.problems):
            self.problems.append(
                {"measure": measure, "code": error.code, "message": error.message, "next_step": error.next_step}
            )

    def once(self, measure: str, work: Callable[[], dict[str, Any]]) -> None:
        if measure in self.params["want"]:
            try:
                self.measures[measure] = work()
            except FloyoError as error:
                self.problem(measure, error)

    def looks(self) -> None:
        """What changes from one look to the next."""
        params = self.params
        asked = [name for name in ("latency", "pool", "cache") if name in params["want"]]
        endpoints: dict[str, Endpoint] = {}
        if asked:
            client = Client(timeout=params["timeout"], max_bytes=params["max_bytes"], token=params["token"])
            given = {name: paths for name, paths in (params["paths"] or {}).items() if paths}
            for name in asked:
                key = _ENDPOINT_OF[name]
                endpoints[name] = Endpoint(client, params["base_url"], given.get(key, _PATHS[key]))
        for number in range(params["looks"]):
            if number:
                time.sleep(params["pause"])
            # The latencies' own window is long: one look is enough.
            now = {name: one for name, one in endpoints.items() if name != "latency" or not number}
            for name, answer in ask_all(now).items():
                self._take(name, answer)
            if "proxy" in params["want"]:
                try:
                    self._count("proxy", proxy_figures(params["haproxy_socket"], params["frontend"]))
                except FloyoError as error:
                    self.problem("proxy", error)
            if all(any(one["measure"] == name for one in self.problems) for name in [*endpoints]) and endpoints:
                break  # nobody answers: more looks would only cost more time

    def _take(self, name: str, answer: Any) -> None:
        try:
            if isinstance(answer, FloyoError):
                raise answer
            if name == "latency":
                self.measures["latency"] = {
                    "endpoints": latency_figures(answer, self.params["ignore"]),
                    "source": "at most the last 1000 of each endpoint",
                }
            elif name == "pool":
                self.measures.setdefault("pool", {"looks": []})["looks"].append(pool_figures(answer))
            else:
                self._count("cache", cache_figures(answer))
        except FloyoError as error:
            self.problem(name, error)

    def _count(self, name: str, figures: dict[str, Any]) -> None:
        self._counts.setdefault(name, []).append({**figures, "at": time.time()})

    def windows(self, memory: Mapping[str, Any]) -> None:
        """Counters become windows: between the looks of now, since the last run, since the counting began."""
        for name, looks in self._counts.items():
            keys, newest = _COUNTED[name], looks[-1]
            windows = []
            for label, before in (("now", looks[0]), ("since the last look", memory.get(name))):
                old = _usable(before, newest, keys)
                if old is None:
                    continue
                if _began_again(old, newest, keys):
                    if name not in self.restarted:
                        self.restarted.append(name)
                    continue
                windows.append(
                    {
                        "label": label,
                        "seconds": round(newest["at"] - old["at"], 1),
                        **{key: newest[key] - old[key] for key in keys},
                    }
                )
            windows.append(
                {
                    "label": "since it started",
                    "seconds": newest.get("seconds"),
                    **{key: newest[key] for key in keys},
                }
            )
            if not any(one["measure"] == name for one in self.problems):
                self.measures[name] = {"windows": windows, "type": newest.get("type", "")}

    def remembered(self) -> dict[str, Any]:
        return {name: looks[-1] for name, looks in self._counts.items()}


def _usable(old: Any, newest: Mapping[str, Any], keys: tuple[str, ...]) -> Optional[Mapping[str, Any]]:
    """``old`` when it is an earlier look that can be subtracted."""
    if not isinstance(old, Mapping) or old is newest:
        return None
    # The file may be damaged, or from a clock that was ahead.
    if not all(isinstance(old.get(key), (int, float)) for key in (*keys, "at")):
        return None
    return old if 0 < newest["at"] - old["at"] <= _OLDEST_LOOK else None


def _began_again(old: Mapping[str, Any], newest: Mapping[str, Any], keys: tuple[str, ...]) -> bool:
    return any(newest[key] < old[key] for key in keys) or old.get("process") != newest.get("process")


def measure(params: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Look, judge this host alone, remember the counters for the next run (not in check mode)."""
    if params["looks"] < 1 or params["pause"] < 0:
        raise Unusable("there must be at least one look", code="LOOKS_INVALID", expected="looks of 1 or more")
    begun = time.monotonic()
    look = _Look(params)
    look.looks()
    if "log" in params["want"]:
        _from_log(look, params)
    look.once(
        "queries", lambda: query_figures(params["database_url"], params["database_role"], params["statistics_database"])
    )
    look.windows(_recalled(params["memory"]))
    if params["memory"] and look.remembered() and not check:
        _remember(params["memory"], look)
    result: dict[str, Any] = {
        "changed": False,
        "measures": look.measures,
        "problems": look.problems,
        "restarted": look.restarted,
        "seconds": round(time.monotonic() - begun, 3),
    }
    findings = judge({"this host": result}, params["targets"])
    result["findings"] = as_results(findings)
    result["verdict"] = overall(findings)
    bad = {"never": (), "fail": ("fail",), "inconclusive": ("fail", "warn", "inconclusive")}[params["fail_on"]]
    worst: Optional[Mapping[str, Any]] = next((one for one in result["findings"] if one["verdict"] in bad), None)
    if worst:
        raise FloyoError(
            f"{worst['check']}: {worst['message']}",
            code=f"SLO_{worst['verdict'].upper()}",
            expected=worst["threshold"],
            next_step=worst["next_step"] or "read findings",
            **result,
        )
    return result


def _from_log(look: _Look, params: Mapping[str, Any]) -> None:
    """The log speaks where neither the application nor a proxy does."""
    try:
        told = log_figures(params["log"], time.time() - params["log_seconds"])
    except FloyoError as error:
        look.problem("log", error)
        return
    label = "in the log"
    window = {key: told[key] for key in _COUNTED["proxy"]}
    look.measures["log"] = {"windows": [{"label": label, "seconds": params["log_seconds"], **window}]}
    if "latency" not in look.measures and told["endpoints"]:
        look.measures["latency"] = {
            "endpoints": told["endpoints"],
            "source": f"the log of the last {params['log_seconds']} s",
        }


def _recalled(path: str) -> dict[str, Any]:
    """The counters of the last run; nothing when there was none, or when what is there cannot be read."""
    found = None
    if path:
        with contextlib.suppress(ValueError, OSError):  # it only makes a window longer
            found = read_json(path)
    return found if isinstance(found, dict) else {}


def _remember(path: str, look: _Look) -> None:
    try:
        write_json(path, {**_recalled(path), **look.remembered()})
    except OSError as error:
        # The figures are as good without it; the next run has a shorter window.
        problem = FloyoError(
            f"the counters cannot be kept in {path}: {error.strerror}",
            code="MEMORY_FAILED",
            next_step=f"look at {os.path.dirname(path)}: room, rights",
        )
        look.problem("memory", problem)
