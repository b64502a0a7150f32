"""A healthy fleet is quiet; each trouble fires its alert, with its severity, at a real receiver, and ends again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Takes the newest backup for one that was made three days ago; its manifest is sealed again.
AGE = """
import datetime, glob, json, shutil, sys
from floyo.backup.manifest import seal
from floyo.files import write_json
path = sorted(p for p in glob.glob("/var/backups/floyo.aside/*Z-*.json") if p.count(".") == 2)[-1]
shutil.copy(path.replace(".json", ".dump"), "/var/backups/floyo/")
manifest = json.load(open(path))
then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=3)
manifest.update(created=then.strftime("%Y-%m-%dT%H:%M:%SZ"), previous={})
write_json(path.replace("floyo.aside", "floyo"), seal(manifest))
"""


@contextmanager
def undone(host: Any, command: str) -> Iterator[None]:
    try:
        yield
    finally:
        host.check_output(command)


def test_everything_is_watched(watch: Any) -> None:
    targets = watch.ask("targets", state="active")["activeTargets"]
    down = [(one["labels"], one["lastError"]) for one in targets if one["health"] != "up"]
    assert down == []
    jobs = sorted({one["labels"]["job"] for one in targets})
    assert jobs == [
        "floyo_alertmanager", "floyo_backend", "floyo_front", "floyo_haproxy", "floyo_node", "floyo_postgres",
        "floyo_prometheus", "floyo_redis",
    ]  # fmt: skip
    nodes = {one["labels"]["host"] for one in targets if one["labels"]["job"] == "floyo_node"}
    assert nodes == set(watch.fleet.facts)
    assert watch.query("floyo_measure_ok == 0") == {}
    assert watch.query("sum(prometheus_rule_evaluation_failures_total)") == {"": 0.0}


def test_a_healthy_fleet_fires_nothing(watch: Any) -> None:
    with watch.world.load() as end:
        for _ in range(12):
            time.sleep(1.5)
            # One probe may be late, on a machine that does much else: an alert that waits for the next one tells nobody.
            assert watch.firing() == []
        seen = end()
    assert sum(one["requests"] for one in seen.values()) > 100
    watch.quiet()
    assert watch.told() == []
    # And it is not quiet for want of figures.
    assert all(value > 50 for value in watch.query("floyo_requests_measured").values())
    assert set(watch.query('floyo_requests_under_ratio{limit_ms="200",bound="most"} > 0.95')) == set(
        watch.world.backends
    )
    assert watch.query('floyo:server_errors:ratio{window="fast_long"}') == {watch.name: 0.0}
    assert watch.query("floyo_queries_total > 0")
    assert set(watch.query("floyo:pool:ratio < 0.8")) == set(watch.world.backends)


def test_what_was_done_is_in_the_figures(watch: Any) -> None:
    for host in watch.world.backends:
        facts = watch.world.release(host)
        asked = f'floyo_release_running{{host="{host}",release="{facts["current"]["release"]}"}}'
        assert watch.query(asked) == {host: 1.0}
        switched = watch.query(f'floyo_switch_timestamp_seconds{{host="{host}"}}')
        assert abs(switched[host] - facts["history"][-1]["at"]) < 1
    backup = watch.query("time() - floyo_backup_timestamp_seconds")
    assert set(backup) == set(watch.fleet.groups["floyo_database"])


def test_a_stopped_backend(watch: Any) -> None:
    name = watch.world.backends[1]
    host = watch.world.hosts[name]
    with undone(host, "systemctl start floyo-backend.socket floyo-backend.service"):
        host.check_output("systemctl stop floyo-backend.socket floyo-backend.service")
        watch.fires("FloyoBackendDown", "P1", name)
    watch.resolves("FloyoBackendDown", "P1", name)
    # People get the same in words, with what to do, and what is over.
    titles = [f"floyo production: [{state}P1] FloyoBackendDown on {name}" for state in ("", "over: ")]
    watch.until(lambda: set(titles) <= {message["title"] for message in watch.messages()}, watch.messages)
    first = watch.messages()[0]
    assert first["type"] == "failure"
    assert "ansible-playbook playbooks/troubleshoot.yml" in first["message"]


def test_a_stale_backup(watch: Any) -> None:
    host, name = watch.world.database, watch.fleet.groups["floyo_database"][0]
    back = "rm -rf /var/backups/floyo && mv /var/backups/floyo.aside /var/backups/floyo"
    host.check_output("mv /var/backups/floyo /var/backups/floyo.aside && install -d -m 0700 /var/backups/floyo")
    with undone(host, back):
        host.check_output("PYTHONPATH=/usr/lib/floyo/floyo-metrics.pyz python3 -c %s", AGE)
        watch.fires("FloyoBackupStale", "P1", name)
        assert 3 * 86400 <= watch.query("time() - floyo_backup_timestamp_seconds")[name] < 3 * 86400 + 600
    watch.resolves("FloyoBackupStale", "P1", name)


def test_a_burst_of_5xx(watch: Any) -> None:
    watch.world.sql("ALTER TABLE workflows RENAME TO workflows_away")
    try:
        address = watch.fleet.address(watch.name)
        watch.world.hosts[watch.world.backends[0]].check_output(
            f"curl --silent --insecure --output /dev/null 'https://{address}/api/workflows?[1-40]'"
        )
        watch.fires("FloyoServerErrorsFast", "P1", watch.name)
    finally:
        watch.world.sql("ALTER TABLE workflows_away RENAME TO workflows")
    watch.resolves("FloyoServerErrorsFast", "P1", watch.name)


def test_a_full_pool(watch: Any) -> None:
    """Requests wait for a table that somebody has locked, each with a connection of the pool."""
    name = watch.world.backends[0]
    host, database = watch.world.hosts[name], watch.world.database
    locked = "BEGIN; LOCK TABLE workflows IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(120)"
    asking = "for i in $(seq 20); do (while :; do curl -s -m 20 -o /dev/null localhost:8000/api/workflows; done) & done; wait"
    with (
        undone(database, "systemctl stop table-lock"),
        undone(host, "systemctl stop pool-filler; systemctl restart floyo-backend"),
    ):
        database.check_output("systemd-run --unit=table-lock runuser -u postgres -- psql -Xq -d floyo -c %s", locked)
        host.check_output("systemd-run --unit=pool-filler sh -c %s", asking)
        watch.fires("FloyoPoolFull", "P1", name)
    watch.resolves("FloyoPoolFull", "P1", name)


def test_the_fleet_is_quiet_again(watch: Any) -> None:
    watch.quiet()
    fired = {one[:3] for one in watch.told() if one[3] == "firing"}
    over = {one[:3] for one in watch.told() if one[3] == "resolved"}
    watch.until(lambda: fired <= over | {one[:3] for one in watch.told() if one[3] == "resolved"}, watch.told)
