"""The rules under their production windows, by Prometheus' own tool: what fires, when, with which severity; and what does not."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible.module_utils.floyo.monitoring.rules import ALERTS, rules_of, table_of
from ansible.module_utils.floyo.slo.judge import DEFAULT_TARGETS

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "floyo_monitoring"
APP = 'application="floyo"'
FRONT = 'job="floyo_haproxy",host="p1",proxy="floyo_https"'
REQUESTS = f"haproxy_frontend_http_requests_total{{{FRONT}}}"
SERVER_ERRORS = f'haproxy_frontend_http_responses_total{{{FRONT},code="5xx"}}'
CLIENT_ERRORS = f'haproxy_frontend_http_responses_total{{{FRONT},code="4xx"}}'
HITS, MISSES = (f'floyo_cache_{kind}_total{{host="b1",{APP}}}' for kind in ("hits", "misses"))
QUERIES, SLOW = (f'floyo_queries_{kind}total{{host="db",{APP}}}' for kind in ("", "slow_"))


def under(limit: int, host: str = "b1") -> str:
    return f'floyo_requests_under_ratio{{host="{host}",bound="most",limit_ms="{limit}",{APP}}}'


def figure(name: str, host: str, more: str = "") -> str:
    return f'{name}{{host="{host}",{more}{APP}}}'


def probe(job: str, host: str) -> str:
    return f'probe_success{{job="floyo_{job}",host="{host}"}}'


# A fleet that is well: two proxies, two backends, one database. The clock begins at 0, and so do backups.
HEALTHY: dict[str, str] = {
    **{f'up{{job="floyo_node",host="{host}"}}': "1" for host in ("p1", "b1", "db")},
    'up{job="floyo_redis",host="db"}': "1",
    **{probe("front", host): "1" for host in ("p1", "p2")},
    **{probe("backend", host): "1" for host in ("b1", "b2")},
    'probe_ssl_earliest_cert_expiry{job="floyo_front",host="p1"}': "9000000",
    'pg_up{job="floyo_postgres",host="db"}': "1",
    'redis_up{job="floyo_redis",host="db"}': "1",
    REQUESTS: "0+6000",
    SERVER_ERRORS: "0",
    CLIENT_ERRORS: "0+3",
    under(200): "0.99",
    under(300): "1",
    under(500): "1",
    figure("floyo_requests_measured", "b1"): "900",
    figure("floyo_request_mean_seconds", "b1"): "0.05",
    figure("floyo_pool_used", "b1"): "3",
    figure("floyo_pool_capacity", "b1"): "30",
    QUERIES: "0+600",
    SLOW: "0+6",
    'pg_stat_activity_count{host="db",state="active"}': "20",
    'pg_stat_activity_count{host="db",state="idle"}': "40",
    'pg_settings_max_connections{host="db"}': "200",
    HITS: "0+90",
    MISSES: "0+10",
    figure("floyo_backup_timestamp_seconds", "db"): "0",
    figure("floyo_drill_timestamp_seconds", "db"): "0",
    figure("floyo_backup_step_ok", "db", 'step="prune",'): "1",
    figure("floyo_switch_ok", "b1"): "1",
    figure("floyo_switch_unfinished", "b1"): "0",
    **{figure("floyo_release_running", host, 'release="r1",version="v1",'): "1" for host in ("b1", "b2", "b3")},
    'node_filesystem_avail_bytes{job="floyo_node",host="db",fstype="ext4",mountpoint="/"}': "50",
    'node_filesystem_size_bytes{job="floyo_node",host="db",fstype="ext4",mountpoint="/"}': "100",
    'node_filesystem_avail_bytes{job="floyo_node",host="db",fstype="tmpfs",mountpoint="/run"}': "0",
    'node_filesystem_size_bytes{job="floyo_node",host="db",fstype="tmpfs",mountpoint="/run"}': "100",
    figure("floyo_measure_ok", "b1", 'measure="pool",'): "1",
    figure("floyo_collected_timestamp_seconds", "b1"): "0+60",
}
Fired = set[tuple[str, str, str]]

# 5xx are 0.03 % where 0.01 % is allowed, errors 0.18 % where 0.1 % is.
LATER = {
    SERVER_ERRORS: "0+1.8",
    CLIENT_ERRORS: "0+9",
    HITS: "0+70",
    MISSES: "0+30",
    figure("floyo_drill_timestamp_seconds", "db"): str(-200 * 3600),
    figure("floyo_release_running", "b3", 'release="r1",version="v1",'): "_",
    figure("floyo_release_running", "b3", 'release="r2",version="v2",'): "1",
    figure("floyo_measure_ok", "b1", 'measure="pool",'): "0",
    figure("floyo_collected_timestamp_seconds", "b2"): "-600",
    'up{job="floyo_redis",host="db"}': "0",
}

# what is otherwise, after how many minutes, what then fires (and nothing else)
CASES: dict[str, tuple[dict[str, str], int, Fired]] = {
    "well": ({}, 70, set()),
    "nobody can use it": (
        {probe("front", "p1"): "0", probe("front", "p2"): "0"},
        3,
        {("FloyoDown", "P0", "p1"), ("FloyoDown", "P0", "p2"), ("FloyoProxyDown", "P1", "p1"),
         ("FloyoProxyDown", "P1", "p2")},
    ),
    "one proxy of two": ({probe("front", "p1"): "0"}, 3, {("FloyoProxyDown", "P1", "p1")}),
    "one backend": ({probe("backend", "b2"): "0"}, 3, {("FloyoBackendDown", "P1", "b2")}),
    "one backend, for a minute": ({probe("backend", "b2"): "0"}, 1, set()),
    "no database": ({'pg_up{job="floyo_postgres",host="db"}': "0"}, 2, {("FloyoDatabaseDown", "P0", "db")}),
    "no cache": ({'redis_up{job="floyo_redis",host="db"}': "0"}, 11, {("FloyoCacheDown", "P2", "db")}),
    "a host is gone": ({'up{job="floyo_node",host="b1"}': "0"}, 11, {("FloyoHostDown", "P2", "b1")}),
    # 0.01 % is allowed. 0.2 % is twenty times that, 0.1 % ten times, 0.03 % three times.
    "5xx burn fast": (
        {SERVER_ERRORS: "0+12"},
        20,
        {("FloyoServerErrorsFast", "P1", "p1"), ("FloyoServerErrorsSlow", "P2", "p1")},
    ),
    "5xx burn slowly": ({SERVER_ERRORS: "0+6"}, 20, {("FloyoServerErrorsSlow", "P2", "p1")}),
    # A burst ends: the short window says so while the long one still remembers.
    "5xx that are over": ({SERVER_ERRORS: "0+12x30 360+0"}, 37, {("FloyoServerErrorsSlow", "P2", "p1")}),
    # One error in a quiet night is a large share of few requests.
    "few 5xx of few requests": ({REQUESTS: "0+1", SERVER_ERRORS: "0+0.01", CLIENT_ERRORS: "0"}, 70, set()),
    "no request at all": ({REQUESTS: "7", SERVER_ERRORS: "7", CLIENT_ERRORS: "7"}, 20, set()),
    # 0.1 % is allowed: 2 % is twenty times that, 0.15 % a little more.
    "4xx burn fast": ({CLIENT_ERRORS: "0+120"}, 20, {("FloyoErrorsFast", "P2", "p1")}),
    "p95": ({under(200): "0.94"}, 11, {("FloyoLatencyP95", "P2", "b1")}),
    "p95 far over": (
        {under(200): "0.9", under(300): "0.94"},
        11,
        {("FloyoLatencyHigh", "P1", "b1"), ("FloyoLatencyP95", "P2", "b1")},
    ),
    "p95 of few requests": ({under(200): "0.5", figure("floyo_requests_measured", "b1"): "20"}, 11, set()),
    "p99": ({under(500): "0.985"}, 11, {("FloyoLatencyP99", "P2", "b1")}),
    "mean": ({figure("floyo_request_mean_seconds", "b1"): "0.11"}, 11, {("FloyoLatencyMean", "P2", "b1")}),
    "pool is busy": ({figure("floyo_pool_used", "b1"): "25"}, 11, {("FloyoPoolBusy", "P2", "b1")}),
    "pool is full": (
        {figure("floyo_pool_used", "b1"): "30"},
        11,
        {("FloyoPoolFull", "P1", "b1"), ("FloyoPoolBusy", "P2", "b1")},
    ),
    "queries": ({SLOW: "0+36"}, 20, {("FloyoQueriesSlow", "P2", "db")}),
    "queries that became slow only now": ({SLOW: "0+6x100 606+300"}, 130, {("FloyoQueriesSlow", "P2", "db")}),
    "connections": (
        {'pg_stat_activity_count{host="db",state="idle"}': "150"}, 11, {("FloyoConnectionsScarce", "P2", "db")}
    ),
    "cache is useless": ({HITS: "0+40", MISSES: "0+60"}, 20, {("FloyoCacheUseless", "P2", "b1")}),
    "a cache that nobody asks": ({HITS: "0", MISSES: "0+0.1"}, 70, set()),
    "backup of yesterday": (
        {figure("floyo_backup_timestamp_seconds", "db"): str(-27 * 3600)}, 11, {("FloyoBackupLate", "P2", "db")}
    ),
    "backup of long ago": (
        {figure("floyo_backup_timestamp_seconds", "db"): str(-51 * 3600)},
        11,
        {("FloyoBackupStale", "P1", "db"), ("FloyoBackupLate", "P2", "db")},
    ),
    "a step of the backup": (
        {figure("floyo_backup_step_ok", "db", 'step="prune",'): "0"}, 11, {("FloyoBackupFailed", "P2", "db")}
    ),
    "a switch was undone": ({figure("floyo_switch_ok", "b1"): "0"}, 11, {("FloyoSwitchFailed", "P2", "b1")}),
    "a switch stopped midway": (
        {figure("floyo_switch_unfinished", "b1"): "1"}, 11, {("FloyoSwitchFailed", "P2", "b1")}
    ),
    "a disk": (
        {'node_filesystem_avail_bytes{job="floyo_node",host="db",fstype="ext4",mountpoint="/"}': "9"},
        11,
        {("FloyoDiskFull", "P2", "db")},
    ),
    "a certificate": (
        {'probe_ssl_earliest_cert_expiry{job="floyo_front",host="p1"}': "1000000"},
        11,
        {("FloyoCertificateExpires", "P2", "p1")},
    ),
    # What may wait, and waits for an hour.
    "nothing that is urgent": (LATER, 59, set()),
    "what may wait": (
        LATER,
        70,
        {("FloyoServerErrorsBudget", "P3", "p1"), ("FloyoErrorsBudget", "P3", "p1"), ("FloyoCacheMisses", "P3", "b1"),
         ("FloyoDrillOld", "P3", "db"), ("FloyoReleasesDiffer", "P3", "b3"), ("FloyoFiguresMissing", "P3", "b1"),
         ("FloyoFiguresMissing", "P3", "b2"), ("FloyoFiguresMissing", "P3", "db")},
    ),
}  # fmt: skip


def settings(**more: Any) -> dict[str, Any]:
    """What the role hands over by default."""
    given = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    return {
        "application": "floyo",
        "environment": "production",
        "has": {"proxy": True, "database": True, "cache": True},
        "without": given["floyo_monitoring_without"],
        "targets": DEFAULT_TARGETS,
        "windows": given["floyo_monitoring_windows"],
        "patience": given["floyo_monitoring_patience"],
        "ages": given["floyo_monitoring_ages"],
        "fewest": given["floyo_monitoring_fewest"],
        "disk_free_percent": given["floyo_monitoring_disk_free"],
        "collect_seconds": given["floyo_monitoring_collect_seconds"],
        **more,
    }


def promtool(*words: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *words], cwd=directory, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules")
    (path / "rules.yml").write_text(yaml.safe_dump(rules_of(settings())))
    return path


def series(changed: dict[str, str], minutes: int) -> list[dict[str, str]]:
    """A value stays for the whole time, or grows by what follows the plus sign."""
    found = []
    for name, values in {**HEALTHY, **changed}.items():
        last = values if "+" in values or "_" in values else f"{values}+0"
        found.append({"series": name, "values": f"{last}x{minutes + 1}"})
    return found


def test_what_the_role_writes_is_judged_good_by_prometheus(place: Path) -> None:
    done = promtool("check", "rules", "rules.yml", directory=place)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_case_fires_what_it_should_and_nothing_else(place: Path) -> None:
    """All cases in one run of promtool: it says which ones are wrong."""
    tests = [
        {
            "name": name,
            "interval": "1m",
            "input_series": series(changed, minutes),
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname, severity, host) (ALERTS{alertstate="firing"})',
                    "eval_time": f"{minutes}m",
                    "exp_samples": [
                        {"labels": f'{{alertname="{alert}",severity="{severity}",host="{host}"}}', "value": 1}
                        for alert, severity, host in sorted(fired)
                    ],
                }
            ],
        }
        for name, (changed, minutes, fired) in CASES.items()
    ]
    written = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    (place / "cases.yml").write_text(yaml.safe_dump(written))
    done = promtool("test", "rules", "cases.yml", directory=place)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    fired = {alert for _, _, alerts in CASES.values() for alert, _, _ in alerts}
    assert {alert.name for alert in ALERTS} - fired == set()


def test_what_people_read_is_filled_in(place: Path) -> None:
    """promtool shows annotations only when they differ from what was expected: so nothing is expected."""
    everything: dict[str, str] = {}
    for changed, _, fired in CASES.values():
        everything.update(changed if fired else {})
    everything.update({SERVER_ERRORS: "0+12", CLIENT_ERRORS: "0+600", figure("floyo_pool_used", "b1"): "30"})
    everything.update({SLOW: "0+36", under(200): "0.9", HITS: "0+40", MISSES: "0+60"})
    everything[figure("floyo_backup_timestamp_seconds", "db")] = str(-51 * 3600)
    asked = [{"alertname": alert.name, "eval_time": "70m", "exp_alerts": []} for alert in ALERTS]
    test = {"interval": "1m", "input_series": series(everything, 70), "alert_rule_test": asked}
    written = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}
    (place / "words.yml").write_text(yaml.safe_dump(written))
    said = promtool("test", "rules", "words.yml", directory=place)
    told = said.stdout + said.stderr
    shown = set(re.findall(r'alertname="(\w+)"', told))
    assert {alert.name for alert in ALERTS} - shown == set()
    summaries = re.findall(r'summary="((?:[^"\\]|\\.)*)"', told)
    assert [one for one in summaries if "error expanding" in one or "{{" in one or "<no value>" in one] == []
    assert "0.2% of requests through p1 end with 5xx" in summaries
    assert "the newest sound backup on db is 2d 4h 10m 0s old" in summaries


def test_each_alert_names_a_playbook_that_there_is() -> None:
    for alert in ALERTS:
        assert (ROOT / alert.playbook.split()[0]).exists(), alert.name
        assert alert.severity in ("P0", "P1", "P2", "P3")
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)


def test_what_there_is_not_is_not_watched() -> None:
    none = {"proxy": False, "database": False, "cache": False}
    rules = rules_of(settings(has=none, without=["FloyoDiskFull"]))["groups"][1]["rules"]
    names = {rule["alert"] for rule in rules}
    assert (
        names & {"FloyoDatabaseDown", "FloyoCacheDown", "FloyoProxyDown", "FloyoDiskFull", "FloyoBackupStale"} == set()
    )
    down = next(rule["expr"] for rule in rules if rule["alert"] == "FloyoDown")
    assert "floyo_backend" in down, "without a proxy, the backends say whether anybody can use it"


def test_targets_are_the_users(place: Path) -> None:
    other = settings(targets={**DEFAULT_TARGETS, "p95_ms": 350.0, "server_errors_percent": 1.0})
    text = json.dumps(rules_of(other))
    assert r"limit_ms=\"350\"" in text
    assert "> 14.4 * 0.01 " in text


def test_no_word_is_left_unfilled() -> None:
    assert re.findall(r"<[a-z_.]+>", json.dumps(rules_of(settings()))) == []


def test_the_guide_lists_the_alerts_as_they_are() -> None:
    assert table_of() in (ROOT / "docs" / "monitoring.md").read_text()


def test_the_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    dashboard = json.loads((ROLE / "files" / "dashboard.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    asked += [one["expr"] for one in dashboard["annotations"]["list"] if "expr" in one]
    assert len(asked) > 12
    plain = [
        expr.replace("$__rate_interval", "5m").replace("$host", ".*").replace("$application", ".*") for expr in asked
    ]
    rules = [{"record": f"asked:{number}", "expr": expr} for number, expr in enumerate(plain)]
    (tmp_path / "asked.yml").write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    done = promtool("check", "rules", "asked.yml", directory=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    ours = {name for expr in asked for name in re.findall(r"\bfloyo[_:][a-z_:]+", expr) if not name.endswith("_https")}
    jobs = {"floyo_node", "floyo_haproxy", "floyo_postgres", "floyo_redis", "floyo_front", "floyo_backend"}
    source = (ROOT / "module_utils" / "floyo" / "monitoring" / "collect.py").read_text()
    source += "floyo_cache_hits_total floyo_cache_misses_total"
    recorded = {rule["record"] for rule in rules_of(settings())["groups"][0]["rules"]}
    assert {name for name in ours - jobs - recorded if name not in source} == set()
