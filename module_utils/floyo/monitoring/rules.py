"""Prometheus' rules for the runbook's targets (pure, standard library only).

Where a target is a rate, an alert asks how fast the budget of errors burns, over a long window and a short one: the long
one tells that it matters, the short one that it still goes on. ``windows`` has them; ``factor`` is how many times faster
than allowed. Severities are the runbook's, and how long an alert waits follows from its severity alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

__all__ = ["ALERTS", "Alert", "rules_of", "table_of"]

_SPANS = ("long", "short")


class Alert(NamedTuple):
    """``expr`` has the settings' names in ``<...>``; ``summary`` is one of Prometheus' templates."""

    name: str
    severity: str
    expr: str
    summary: str
    playbook: str
    meaning: str
    needs: str = ""


def _burn(ratio: str, windows: str, budget: str, count: str = "", fewest: str = "") -> str:
    """Both windows over ``factor`` times the budget; and enough of it that it is no single accident."""
    over = f"<{windows}.factor> * <{budget}>"
    both = " and on (host) ".join(f'floyo:{ratio}:ratio{{window="{windows}_{span}",<app>}} > {over}' for span in _SPANS)
    return both + (
        f' and on (host) floyo:{count}:count{{window="{windows}_long",<app>}} >= <{fewest}>' if count else ""
    )


def _share(windows: str, ratio: str, limit: str, count: str, fewest: str) -> str:
    """As ``_burn`` for targets whose budget is too large to burn many times faster."""
    both = " and on (host) ".join(
        f'floyo:{ratio}:ratio{{window="{windows}_{span}",<app>}} > {limit}' for span in _SPANS
    )
    return f'{both} and on (host) floyo:{count}:count{{window="{windows}_long",<app>}} >= <{fewest}>'


def _latency(limit: str, part: str) -> str:
    """Even the upper bound of the share of requests under the limit is too small."""
    return (
        f'max by (host) (floyo_requests_under_ratio{{bound="most",limit_ms="<{limit}>",<app>}}) < {part}'
        " and on (host) floyo_requests_measured{<app>} >= <fewest.requests>"
    )


_PERCENT = "{{ $value | humanizePercentage }}"
_HOST = "{{ $labels.host }}"
_TROUBLE = "playbooks/troubleshoot.yml"

ALERTS = (
    Alert("FloyoDown", "P0", "<down>", f"nobody can use the application: {_HOST} and all like it are not ready",
          _TROUBLE, "the readiness check fails through every proxy (of every backend, where there is no proxy)"),
    Alert("FloyoDatabaseDown", "P0", 'pg_up{job="floyo_postgres"} == 0', f"PostgreSQL on {_HOST} takes no connection",
          "playbooks/database_connections.yml", "its exporter cannot connect", "database"),
    Alert("FloyoProxyDown", "P1", 'probe_success{job="floyo_front"} == 0', f"the application is not ready through {_HOST}",
          "playbooks/health.yml", "the readiness check fails through this proxy, others work", "proxy"),
    Alert("FloyoBackendDown", "P1", 'probe_success{job="floyo_backend"} == 0', f"the backend on {_HOST} is not ready",
          _TROUBLE, "the backend's own readiness check fails"),
    Alert("FloyoServerErrorsFast", "P1",
          _burn("server_errors", "fast", "budget.server_errors", "server_errors", "fewest.errors"),
          f"{_PERCENT} of requests through {_HOST} end with 5xx", "playbooks/logs.yml -e floyo_observe_logs=patterns",
          "the budget for 5xx burns so fast that a day would use up two weeks", "proxy"),
    Alert("FloyoServerErrorsSlow", "P2",
          _burn("server_errors", "slow", "budget.server_errors", "server_errors", "fewest.errors"),
          f"{_PERCENT} of requests through {_HOST} end with 5xx", "playbooks/logs.yml -e floyo_observe_logs=patterns",
          "the same, slower and longer", "proxy"),
    Alert("FloyoServerErrorsBudget", "P3",
          _burn("server_errors", "budget", "budget.server_errors", "server_errors", "fewest.errors"),
          f"{_PERCENT} of requests through {_HOST} end with 5xx, more than the target", "playbooks/slo.yml",
          "over days, 5xx are more than the target", "proxy"),
    Alert("FloyoErrorsFast", "P2", _burn("errors", "fast", "budget.errors", "errors", "fewest.errors"),
          f"{_PERCENT} of requests through {_HOST} end with 4xx or 5xx", "playbooks/logs.yml -e floyo_observe_logs=patterns",
          "the budget for errors of all kinds burns fast", "proxy"),
    Alert("FloyoErrorsBudget", "P3", _burn("errors", "budget", "budget.errors", "errors", "fewest.errors"),
          f"{_PERCENT} of requests through {_HOST} end with 4xx or 5xx, more than the target", "playbooks/slo.yml",
          "over days, errors of all kinds are more than the target", "proxy"),
    Alert("FloyoLatencyHigh", "P1", _latency("latency.worse", "0.95"),
          f"only {_PERCENT} of requests on {_HOST} are within one and a half times the p95 target", _TROUBLE,
          "p95 is more than half over its target"),
    Alert("FloyoLatencyP95", "P2", _latency("latency.p95", "0.95"),
          f"only {_PERCENT} of requests on {_HOST} are within the p95 target",
          "playbooks/logs.yml -e floyo_observe_logs=slow", "p95 is surely over its target"),
    Alert("FloyoLatencyP99", "P2", _latency("latency.p99", "0.99"),
          f"only {_PERCENT} of requests on {_HOST} are within the p99 target",
          "playbooks/logs.yml -e floyo_observe_logs=slow", "p99 is surely over its target"),
    Alert("FloyoLatencyMean", "P2",
          "floyo_request_mean_seconds{<app>} > <latency.mean>"
          " and on (host) floyo_requests_measured{<app>} >= <fewest.requests>",
          f"requests on {_HOST} take {{{{ $value | humanizeDuration }}}} in the mean",
          "playbooks/logs.yml -e floyo_observe_logs=slow", "the mean latency is over its target"),
    Alert("FloyoPoolFull", "P1", "floyo_pool_used{<app>} / floyo_pool_capacity{<app>} >= 1",
          f"all connections of the pool on {_HOST} are in use", _TROUBLE,
          "the database pool has no connection left at any look", "database"),
    Alert("FloyoPoolBusy", "P2", "floyo:pool:ratio{<app>} > <budget.pool>",
          f"{_PERCENT} of the pool's connections on {_HOST} are in use", _TROUBLE,
          "pool use is over its target in the mean of the short window", "database"),
    Alert("FloyoQueriesSlow", "P2", _share("fast", "slow_queries", "0.05", "queries", "fewest.queries"),
          f"{_PERCENT} of the application's queries are surely slower than the target",
          "playbooks/database_slow_queries.yml", "p95 of queries is surely over its target", "database"),
    Alert("FloyoConnectionsScarce", "P2",
          "sum by (host) (pg_stat_activity_count) / on (host) max by (host) (pg_settings_max_connections) > 0.8",
          f"{_PERCENT} of PostgreSQL's connections on {_HOST} are taken", "playbooks/database_connections.yml",
          "the server's limit of connections is near", "database"),
    Alert("FloyoCacheDown", "P2", 'redis_up{job="floyo_redis"} == 0', f"Redis on {_HOST} does not answer",
          "playbooks/cache_stats.yml", "its exporter cannot connect; the application goes on without it", "cache"),
    Alert("FloyoCacheUseless", "P2", _share("fast", "cache_misses", "0.5", "lookups", "fewest.lookups"),
          f"{_PERCENT} of the cache's look-ups on {_HOST} miss", "playbooks/cache_stats.yml",
          "the runbook's symptom of a cache in trouble: less than half of the look-ups hit", "cache"),
    Alert("FloyoCacheMisses", "P3", _share("slow", "cache_misses", "<budget.cache_misses>", "lookups", "fewest.lookups"),
          f"{_PERCENT} of the cache's look-ups on {_HOST} miss", "playbooks/cache_stats.yml",
          "the hit rate is under its target", "cache"),
    Alert("FloyoBackupStale", "P1", "time() - floyo_backup_timestamp_seconds{<app>} > <ages.backup_stale>",
          f"the newest sound backup on {_HOST} is {{{{ $value | humanizeDuration }}}} old", "playbooks/backup.yml",
          "there is no sound backup, or it is far too old", "database"),
    Alert("FloyoBackupLate", "P2", "time() - floyo_backup_timestamp_seconds{<app>} > <ages.backup_late>",
          f"the newest sound backup on {_HOST} is {{{{ $value | humanizeDuration }}}} old", "playbooks/backups.yml",
          "a daily backup is missing", "database"),
    Alert("FloyoBackupFailed", "P2", "floyo_backup_step_ok{<app>} == 0",
          f"step {{{{ $labels.step }}}} of the scheduled backup on {_HOST} failed", "playbooks/backups.yml",
          "a step of the last scheduled run failed", "database"),
    Alert("FloyoDrillOld", "P3", "time() - floyo_drill_timestamp_seconds{<app>} > <ages.drill>",
          f"no restore has been tried on {_HOST} for {{{{ $value | humanizeDuration }}}}", "playbooks/restore_drill.yml",
          "nobody knows whether a restore works", "database"),
    Alert("FloyoSwitchFailed", "P2", "floyo_switch_ok{<app>} == 0 or floyo_switch_unfinished{<app>} == 1",
          f"the last switch of {_HOST} did not come to a good end", "playbooks/status.yml",
          "a deploy or rollback was undone on this host, or stopped in the middle"),
    Alert("FloyoReleasesDiffer", "P3",
          "floyo_release_running{<app>} == 1 unless on (release) topk(1, count by (release) (floyo_release_running{<app>} == 1))",
          f"{_HOST} runs {{{{ $labels.version }}}}, and most others do not", "playbooks/status.yml",
          "hosts run different releases for longer than a deploy takes"),
    Alert("FloyoHostDown", "P2", 'up{job="floyo_node"} == 0', f"{_HOST} does not answer", "playbooks/status.yml",
          "the node exporter cannot be reached: the host or its network is down"),
    Alert("FloyoDiskFull", "P2",
          'min by (host) (node_filesystem_avail_bytes{job="floyo_node",fstype!~"tmpfs|ramfs"}'
          ' / node_filesystem_size_bytes{job="floyo_node",fstype!~"tmpfs|ramfs"}) < <disk_free>',
          f"a file system of {_HOST} has {_PERCENT} left", "playbooks/status.yml", "a disk is nearly full"),
    Alert("FloyoCertificateExpires", "P2",
          'min by (host) (probe_ssl_earliest_cert_expiry{job="floyo_front"}) - time() < <ages.certificate>',
          f"the certificate of {_HOST} is good for {{{{ $value | humanizeDuration }}}} only", "playbooks/provision.yml",
          "the proxy's certificate is about to expire", "proxy"),
    Alert("FloyoFiguresMissing", "P3",
          "floyo_measure_ok{<app>} == 0 or time() - floyo_collected_timestamp_seconds{<app>} > <ages.figures>"
          ' or up{job!="floyo_node"} == 0',
          f"{_HOST}: {{{{ or $labels.measure $labels.job }}}} cannot be measured",
          "playbooks/provision.yml", "what watches this host is itself broken"),
)  # fmt: skip


def rules_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The rules file as data. ``settings``: see ``roles/floyo_monitoring/vars/main.yml``."""
    words = _words(settings)
    return {
        "groups": [
            {
                "name": "floyo_records",
                "rules": [
                    {
                        **record,
                        "expr": _fill(record["expr"], words),
                        "labels": {**record["labels"], "application": settings["application"]},
                    }
                    for record in _records(settings["windows"])
                ],
            },
            {
                "name": "floyo_alerts",
                "rules": [_rule(alert, settings, words) for alert in ALERTS if _wanted(alert, settings)],
            },
        ]
    }


def table_of(alerts: Iterable[Alert] = ALERTS) -> str:
    """The alerts as a table of Markdown, for docs/monitoring.md."""
    rows = [f"| `{one.name}` | {one.severity} | {one.meaning} | `{one.playbook}` |" for one in alerts]
    return "\n".join(["| alert | severity | when | playbook |", "|---|---|---|---|", *rows])


def _wanted(alert: Alert, settings: Mapping[str, Any]) -> bool:
    return alert.name not in settings["without"] and (not alert.needs or bool(settings["has"][alert.needs]))


def _rule(alert: Alert, settings: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": _fill(alert.expr, words),
        "for": settings["patience"][alert.severity],
        "labels": {
            "severity": alert.severity,
            "application": settings["application"],
            "environment": settings["environment"],
        },
        "annotations": {
            "summary": alert.summary,
            "description": alert.meaning,
            "playbook": f"ansible-playbook {alert.playbook}",
        },
    }


def _words(settings: Mapping[str, Any]) -> dict[str, str]:
    """What stands for each ``<word>``."""
    targets, ages = settings["targets"], settings["ages"]
    job = "floyo_front" if settings["has"]["proxy"] else "floyo_backend"
    probe = f'probe_success{{job="{job}"}}'
    words = {
        "app": f'application="{settings["application"]}"',
        "frontend": f'proxy="{settings["application"]}_https",job="floyo_haproxy"',
        "down": f"{probe} == 0 and on () (max({probe}) == 0)",
        "budget.server_errors": f"{targets['server_errors_percent'] / 100:g}",
        "budget.errors": f"{targets['errors_percent'] / 100:g}",
        "budget.pool": f"{targets['pool_percent'] / 100:g}",
        "budget.cache_misses": f"{(100 - targets['cache_hits_percent']) / 100:g}",
        "latency.p95": f"{targets['p95_ms']:g}",
        "latency.worse": f"{1.5 * targets['p95_ms']:g}",
        "latency.p99": f"{targets['p99_ms']:g}",
        "latency.mean": f"{targets['mean_ms'] / 1000:g}",
        "disk_free": f"{settings['disk_free_percent'] / 100:g}",
        "ages.figures": f"{max(120.0, 5 * settings['collect_seconds']):g}",
        "ages.certificate": f"{ages['certificate'] * 86400:g}",
    }
    words.update({f"ages.{name}": f"{ages[name] * 3600:g}" for name in ("backup_late", "backup_stale", "drill")})
    words.update({f"fewest.{name}": f"{value:g}" for name, value in settings["fewest"].items()})
    words.update({f"{name}.factor": f"{one['factor']:g}" for name, one in settings["windows"].items()})
    return words


def _records(windows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Ratios and counts of each window by host; one name for a figure, whatever the length of the windows."""
    records = [
        _record(record, expr, window=f"{name}_{span}")
        for name, one in windows.items()
        for span in _SPANS
        for record, expr in _figures(str(one[span]), counts=span == "long")
    ]
    width = windows["fast"]["short"]
    used, capacity = (
        f"sum by (host) (avg_over_time(floyo_pool_{name}{{<app>}}[{width}]))" for name in ("used", "capacity")
    )
    return [*records, _record("pool:ratio", f"{used} / {capacity}")]


def _figures(width: str, *, counts: bool) -> list[tuple[str, str]]:
    """``(name, expression)`` over one window. Counts are of long windows: they say whether a share means anything."""

    def rate(series: str) -> str:
        return f"sum by (host) (rate({series}[{width}]))"

    def count(series: str) -> str:
        return f"sum by (host) (increase({series}[{width}]))"

    requests = "haproxy_frontend_http_requests_total{<frontend>}"
    errors = 'haproxy_frontend_http_responses_total{<frontend>,code=~"4xx|5xx"}'
    server_errors = 'haproxy_frontend_http_responses_total{<frontend>,code="5xx"}'
    hits, misses = "floyo_cache_hits_total{<app>}", "floyo_cache_misses_total{<app>}"
    queries, slow = "floyo_queries_total{<app>}", "floyo_queries_slow_total{<app>}"
    found = [
        ("errors:ratio", f"{rate(errors)} / {rate(requests)}"),
        ("server_errors:ratio", f"{rate(server_errors)} / {rate(requests)}"),
        ("cache_misses:ratio", f"{rate(misses)} / ({rate(hits)} + {rate(misses)})"),
        ("slow_queries:ratio", f"{rate(slow)} / {rate(queries)}"),
    ]
    if counts:
        found += [
            ("errors:count", count(errors)),
            ("server_errors:count", count(server_errors)),
            ("lookups:count", f"{count(hits)} + {count(misses)}"),
            ("queries:count", count(queries)),
        ]
    return found


def _record(name: str, expr: str, **labels: str) -> dict[str, Any]:
    return {"record": f"floyo:{name}", "expr": expr, "labels": labels}


def _fill(expr: str, words: Mapping[str, str]) -> str:
    for name, text in words.items():
        expr = expr.replace(f"<{name}>", text)
    return expr
