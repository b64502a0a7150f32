"""Who may reach and read what."""

from __future__ import annotations

import re
from typing import Any

PORTS = ("8405", "9090", "9093", "9094", "9095", "9100", "9115", "9121", "9187")


def test_exporters_listen_for_the_fleet_and_pages_for_this_host(watch: Any) -> None:
    for name in watch.fleet.facts:
        listening = re.findall(r"\s(\S+):(\d+)\s+\S+:\*", watch.fleet.host(name).check_output("ss -Hltn"))
        open_to = {port: address.strip("[]") for address, port in listening if port in PORTS}
        allowed = {watch.fleet.address(name), "127.0.0.1"}
        assert {port: address for port, address in open_to.items() if address not in allowed} == {}
        assert {open_to.get(port, "127.0.0.1") for port in ("9090", "9093", "9095", "9115")} == {"127.0.0.1"}


def test_the_proxys_figures_are_for_those_who_watch(watch: Any) -> None:
    url = f"http://{watch.fleet.address(watch.name)}:8405/metrics"
    ask = f"curl -s -i {url} | head -n 1"
    assert " 403 " in watch.world.hosts[watch.world.backends[0]].check_output(ask)
    assert " 200 " in watch.host.check_output(ask)


def test_the_exporters_see_figures_and_no_data(watch: Any) -> None:
    database = watch.world.database
    as_exporter = "runuser -u prometheus -- psql -XAtq -h /var/run/postgresql -d postgres -c %s"
    assert int(database.check_output(as_exporter, "SELECT count(*) FROM pg_stat_activity")) > 0
    # Not even the database: the line in pg_hba.conf is for the one with the statistics.
    assert database.run("runuser -u prometheus -- psql -Xq -h /var/run/postgresql -d floyo -c 'SELECT 1'").failed
    asked = database.check_output(
        'set -a; . /etc/floyo/redis-exporter.env; export REDISCLI_AUTH="$REDIS_PASSWORD"; '
        "for c in PING KEYS\\ \\* 'CONFIG GET save' 'GET a'; do redis-cli --no-auth-warning --user prometheus $c; done"
    )
    assert asked.splitlines()[0] == "PONG"
    assert asked.count("NOPERM") == 3


def test_secrets_are_for_those_who_need_them(watch: Any) -> None:
    modes = "stat -c '%a %U %G' "
    assert watch.world.hosts[watch.world.backends[0]].check_output(modes + "/etc/floyo/metrics.json") == "600 root root"
    paths = "/etc/floyo/metrics.json /etc/floyo/redis-exporter.env"
    assert set(watch.world.database.check_output(modes + paths).splitlines()) == {"600 root root"}
    paths = "/etc/floyo/alerts.json /etc/prometheus/floyo/alertmanager.yml"
    assert set(watch.host.check_output(modes + paths).splitlines()) == {"640 root prometheus"}
    for name in watch.fleet.facts:
        host = watch.fleet.host(name)
        figures = host.check_output(
            f"curl -s http://{watch.fleet.address(name)}:9100/metrics; ps axww; journalctl -u floyo-metrics --no-pager"
        )
        for secret in (
            watch.fleet.facts[name]["environment"]["ADMIN_TOKEN"],
            watch.fleet.facts[name]["owner_password"],
        ):
            assert secret not in figures
