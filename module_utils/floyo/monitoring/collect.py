"""What a host's node exporter tells beside the machine: the application's own figures, the release, the backups (client).

It asks what commands ask and reads what they have written down, so that a figure and a command cannot differ. Each part
that fails says so in a figure of its own and takes none of the others with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Callable

from ..backup.store import Store
from ..errors import FloyoError
from ..files import read_json, write_atomic, write_json
from ..hostprog.host import Config, Host
from ..hostprog.switch import history
from ..slo.ask import query_figures
from ..slo.glue import ARGUMENT_SPEC, measure
from ..slo.judge import share_under
from ..text import shorten
from .exposition import Family, Sample, expose
from .queries import advance

__all__ = ["collect"]

_PERCENTILES = (("50", "p50"), ("95", "p95"), ("99", "p99"), ("100", "max"))


def collect(settings: Mapping[str, Any], say: Callable[[str], None]) -> str:
    """Ask all parts that the settings name and replace the file that the exporter reads; its path."""
    families: list[Family] = []
    states: list[Sample] = []
    for name, part in (("release", _release), ("backups", _backups), ("queries", _queries)):
        if settings.get(name):
            try:
                families += part(settings)
                states.append(Sample(1, {"measure": name}))
            except FloyoError as error:
                say(f"{name}: {error}")
                states.append(Sample(0, {"measure": name}))
            except Exception as error:  # noqa: BLE001 - a defect in one part shall not hide the others
                say(f"{name}: a defect: {type(error).__name__}: {shorten(error)}")
                states.append(Sample(0, {"measure": name}))
    if settings.get("application"):
        told = _application(settings, say)
        families += told[0]
        states += told[1]
    families.append(Family("floyo_measure_ok", "gauge", "Whether this could be measured", states))
    families.append(Family("floyo_collected_timestamp_seconds", "gauge", "When", [Sample(time.time())]))
    path = os.path.join(settings["directory"], f"{settings['name']}-floyo.prom")
    write_atomic(path, expose(families, {"application": settings["name"]}).encode(), mode=0o644)
    return path


# --- the application -------------------------------------------------------------------------------------------------


def _application(settings: Mapping[str, Any], say: Callable[[str], None]) -> tuple[list[Family], list[Sample]]:
    """What its monitoring endpoints say, one look at each."""
    given = settings["application"]
    params = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}
    wanted = given["want"]
    result = measure(
        {**params, **given, "looks": 1, "pause": 0.0, "targets": settings["targets"], "fail_on": "never"}, check=True
    )
    for problem in result["problems"]:
        say(f"{problem['measure']}: {problem['code']}: {problem['message']}")
    measures = result["measures"]
    families = _latency(measures.get("latency"), settings["targets"])
    if "pool" in measures:
        look = measures["pool"]["looks"][-1]
        families.append(_gauge("floyo_pool_used", "Connections that are checked out", look["used"]))
        if look["capacity"] is not None:
            families.append(_gauge("floyo_pool_capacity", "Connections that the pool may have", look["capacity"]))
    if "cache" in measures:
        window = measures["cache"]["windows"][-1]
        families += [
            Family(
                f"floyo_cache_{key}_total", "counter", f"Cache {key} since the process started", [Sample(window[key])]
            )
            for key in ("hits", "misses")
        ]
    return families, [Sample(int(name in measures), {"measure": name}) for name in wanted]


def _latency(told: Any, targets: Mapping[str, float]) -> list[Family]:
    """Shares under a limit, which may be added, as bounds; percentiles of each endpoint, for people."""
    endpoints: dict[str, dict[str, float]] = (told or {}).get("endpoints") or {}
    total = sum(one["count"] for one in endpoints.values())
    families = []
    if told is not None:
        families.append(_gauge("floyo_requests_measured", "Requests that the latencies are made of", total))
    if not total:
        return families
    mean = sum(one["count"] * one["avg"] for one in endpoints.values()) / total
    shares = []
    for limit in sorted({targets["p95_ms"], 1.5 * targets["p95_ms"], targets["p99_ms"]}):
        bounds = [(one["count"], share_under(one, limit)) for one in endpoints.values()]
        shares += [
            Sample(sum(count * both[i] for count, both in bounds) / total, {"limit_ms": f"{limit:g}", "bound": bound})
            for i, bound in enumerate(("least", "most"))
        ]
    percentiles = [
        Sample(one[key] / 1000, {"endpoint": name, "percentile": percentile})
        for name, one in endpoints.items()
        for percentile, key in _PERCENTILES
    ]
    return [
        *families,
        _gauge("floyo_request_mean_seconds", "Mean latency of the measured requests", mean / 1000),
        Family("floyo_requests_under_ratio", "gauge", "Share of requests under a limit, as bounds", shares),
        Family("floyo_endpoint_seconds", "gauge", "Latency of the last requests of an endpoint", percentiles),
    ]


# --- what the other programs of this host have written down -----------------------------------------------------------


def _release(settings: Mapping[str, Any]) -> list[Family]:
    """The release that runs (the process, never the link) and how the last switch ended."""
    host = Host(Config.read(settings["release"]["config"]))
    running = host.running()
    version = str(host.manifest(running).get("version", "")) if running else ""
    families = [
        Family(
            "floyo_release_running", "gauge", "1 for the release that runs, 0 when none does",
            [Sample(int(bool(running)), {"release": running or "", "version": version})],
        ),
        _gauge(
            "floyo_switch_unfinished", "Whether a switch has begun and not ended",
            int(os.path.exists(os.path.join(host.config.state_dir, "intent.json"))),
        ),
    ]  # fmt: skip
    entries = history(host)
    if entries:
        last = entries[-1]
        labels = {"release": str(last["to"]), "kind": str(last.get("kind") or ""), "outcome": str(last["outcome"])}
        families += [
            Family(
                "floyo_switch_timestamp_seconds", "gauge", "When the last switch ended", [Sample(last["at"], labels)]
            ),
            _gauge("floyo_switch_ok", "Whether the last switch went well", int(last["outcome"] == "switched")),
        ]
    return families


def _backups(settings: Mapping[str, Any]) -> list[Family]:
    """The newest sound backup and drill, whoever has made them, and how the scheduled job went."""
    given = settings["backups"]
    sound = [one for one in Store(given["directory"]).catalogue().entries if one["verified"] and not one["suspect"]]
    families = [
        _gauge("floyo_backups_verified", "Backups that were read back whole", len(sound)),
        _gauge("floyo_backup_timestamp_seconds", "When the newest of them was made, or 0", _newest(sound, "created")),
        _gauge(
            "floyo_drill_timestamp_seconds", "When one was last restored on trial, or 0", _newest(sound, "drilled_at")
        ),
    ]
    try:
        record = read_json(given["record"], {})
    except ValueError:
        record = {}  # a crash has cut it short; the next run writes it anew
    steps = [
        Sample(int(step["result"] == "ok"), {"step": name}) for name, step in sorted(record.get("steps", {}).items())
    ]
    families.append(Family("floyo_backup_step_ok", "gauge", "Steps of the last scheduled run", steps))
    if record.get("ended"):
        families.append(_gauge("floyo_backup_run_timestamp_seconds", "When that run ended", float(record["ended"])))
    return families


def _newest(entries: Iterable[Mapping[str, Any]], key: str) -> float:
    """Seconds since the epoch; 0, which is long ago, for never."""
    moments = [datetime.fromisoformat(str(one[key]).replace("Z", "+00:00")).timestamp() for one in entries if one[key]]
    return max(moments, default=0.0)


# --- the database ----------------------------------------------------------------------------------------------------


def _queries(settings: Mapping[str, Any]) -> list[Family]:
    given = settings["queries"]
    told = query_figures(given["database_url"], given["database_role"], given["statistics_database"])
    try:
        memory = read_json(settings["memory"], {})
    except ValueError:
        memory = {}  # a first look again
    after = advance(memory, told["statements"], settings["targets"]["query_p95_ms"])
    write_json(settings["memory"], after)
    texts = {
        "calls": ("floyo_queries_total", "Statements of the application"),
        "fast": ("floyo_queries_fast_total", "Those that were surely under the limit"),
        "slow": ("floyo_queries_slow_total", "Those that were surely over the limit"),
    }
    return [Family(name, "counter", text, [Sample(after[key])]) for key, (name, text) in texts.items()]


def _gauge(name: str, text: str, value: float) -> Family:
    return Family(name, "gauge", text, [Sample(value)])
