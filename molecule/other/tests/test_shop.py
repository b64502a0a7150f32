"""The shop goes the whole way by variables alone; the first application on its hosts notices nothing."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from molecule.conftest import Ansible, Fleet

VARIABLES = "@molecule/other/shop.yml"
CONFIG = "/etc/shop/floyo-release.json"


class Shop:
    """The shop's hosts, and playbooks as a user runs them for it."""

    def __init__(self, fleet: Fleet, ansible: Ansible) -> None:
        self.ansible = ansible
        self.backends = fleet.groups["floyo_backend"]
        self.hosts = {name: fleet.host(name) for name in self.backends}
        self.fleet, self.database = fleet, fleet.first("floyo_database")

    def play(self, name: str, *words: str, expected: int = 0, **variables: Any) -> str:
        """The output on one line; a sentence may be wrapped in a table."""
        given = ["-e", VARIABLES, "-e", json.dumps(variables)]
        done = self.ansible("ansible-playbook", f"playbooks/{name}.yml", *given, *words, COLUMNS="200")
        assert done.returncode == expected, done.stdout + done.stderr
        return " ".join(done.stdout.split())

    def get(self, host: str, path: str) -> Any:
        return json.loads(self.hosts[host].check_output("curl -sS --max-time 10 http://127.0.0.1:8100%s", path))

    def builds(self) -> list[str]:
        return [self.get(host, "/livez")["build"] for host in self.backends]

    def workers(self) -> dict[str, str]:
        """The build that each host's worker has last worked as, among those that worked in the last seconds."""
        found = self.sql("SELECT worker, build FROM rounds WHERE at > now() - interval '5 s' ORDER BY worker")
        return dict(line.split("|") for line in found.splitlines())

    def sql(self, text: str) -> str:
        return str(self.database.check_output("runuser -u postgres -- psql -XAtq -d shop -c %s", text))

    def info(self, host: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            self.hosts[host].check_output(f"floyo-release --json --config {CONFIG} info")
        )
        return found

    def neighbour(self) -> list[str]:
        """What must not change: the first application's processes, files and settings; it notes its memory by itself."""
        look = (
            "systemctl show --property=Id,MainPID,ActiveEnterTimestampMonotonic floyo-backend.service"
            " floyo-backend.socket; ls -l --full-time --ignore=process.jsonl /srv/floyo /var/lib/floyo; cat /etc/floyo/*"
        )
        return [host.check_output(look) for host in self.hosts.values()]


@pytest.fixture(scope="module")
def shop(fleet: Fleet, ansible: Ansible) -> Iterator[Shop]:
    shop = Shop(fleet, ansible)
    before = shop.neighbour()
    yield shop
    assert shop.neighbour() == before


def changed(output: str) -> dict[str, int]:
    return {host: int(count) for host, count in re.findall(r"(\S+) : ok=\d+ changed=(\d+)", output)}


def eventually(look: Any, wanted: Any) -> None:
    """A worker's round takes a second."""
    deadline = time.monotonic() + 20
    while look() != wanted and time.monotonic() < deadline:
        time.sleep(0.3)
    assert look() == wanted


def test_the_first_deploy(shop: Shop) -> None:
    said = shop.play("deploy", floyo_version="2026.1")
    assert "python -m pytest checks -q: 2 passed" in said
    assert shop.builds() == ["2026.1"] * len(shop.backends)
    assert [product["name"] for product in shop.get(shop.backends[0], "/products")] == ["Lamp", "Chair"]
    eventually(shop.workers, dict.fromkeys(shop.backends, "2026.1"))


def test_the_release_is_what_uv_locked(shop: Shop) -> None:
    manifest = json.loads(shop.hosts[shop.backends[-1]].check_output("cat /srv/shop/current/release.json"))
    assert (manifest["lock"], manifest["project_dir"]) == ("uv", "services/api")
    assert manifest["alembic"]["heads"] == ["0d0001", "ca0001"]
    assert manifest["env_names"] == ["SHOP_DATABASE_URL", "SHOP_SIGNING_KEY", "SHOP_WORKER_PAUSE"]
    lock = shop.hosts[shop.backends[0]].check_output("cat /srv/shop/current/services/api/uv.lock")
    locked = dict(re.findall(r'\[\[package\]\]\nname = "([^"]+)"\nversion = "([^"]+)"', lock))
    installed = dict(one.lower().replace("_", "-").split("==") for one in manifest["requirements"])
    assert {name: locked[name] for name in installed} == installed
    assert "asyncpg" in installed
    assert "pytest" in locked
    assert "pytest" not in installed, "only the tests need it"


def test_deploying_what_runs_changes_nothing(shop: Shop) -> None:
    assert changed(shop.play("deploy", floyo_version="2026.1")) == dict.fromkeys(shop.backends, 0)


def test_preflight_shows_the_sql(shop: Shop) -> None:
    said = shop.play("preflight", floyo_version="2026.2")
    assert "ALTER TABLE orders ADD COLUMN note" in said
    assert "pending: 0d0002 (expand)" in said
    assert shop.builds() == ["2026.1"] * len(shop.backends)


def test_the_second_release_migrates_one_of_the_branches(shop: Shop) -> None:
    shop.play("deploy", floyo_version="2026.2")
    assert shop.builds() == ["2026.2"] * len(shop.backends)
    assert shop.sql("SELECT version_num FROM shop_revisions") == "0d0002"
    eventually(shop.workers, dict.fromkeys(shop.backends, "2026.2"))


def test_a_rollback_leaves_what_was_added_and_takes_the_workers_along(shop: Shop) -> None:
    said = shop.play("rollback")
    assert "1 revision ahead, all additive; it stays as it is" in said
    assert shop.builds() == ["2026.1"] * len(shop.backends)
    assert shop.sql("SELECT version_num FROM shop_revisions") == "0d0002"
    eventually(shop.workers, dict.fromkeys(shop.backends, "2026.1"))


def test_the_daily_commands(shop: Shop) -> None:
    said = shop.play("status")
    assert said.count("healthy ahead: 0d0002") == len(shop.backends)
    assert "Last backup: none" not in said
    assert "2 of 2 checks are healthy" in shop.play("verify")
    assert "Nothing to do" in shop.play("migrate")


def test_each_application_has_a_log_of_its_own(shop: Shop) -> None:
    host = shop.hosts[shop.backends[0]]
    assert "Application startup complete" in host.check_output("cat /var/log/shop/app.log")
    assert "maxmessagesize" not in host.run("rsyslogd -N1").stderr.lower(), "each rule stands once"


def test_neither_application_reads_the_other_s_database(shop: Shop) -> None:
    host = shop.hosts[shop.backends[0]]
    asking = (
        "import asyncio, os, asyncpg; url = os.environ['SHOP_DATABASE_URL'].replace('+asyncpg', '')"
        ".replace('/shop?', '/floyo?'); asyncio.run(asyncpg.connect(url))"
    )
    refused = host.run(
        "set -a; . /etc/shop/backend.env; exec /srv/shop/current/.venv/bin/python -c %s", asking
    ).stderr  # fmt: skip
    assert "no pg_hba.conf entry" in refused


def test_provisioning_the_first_application_leaves_the_second_one_its_access(shop: Shop) -> None:
    (server,) = shop.fleet.groups["floyo_database"]
    done = shop.ansible("ansible-playbook", "playbooks/provision.yml", "-l", server, "-t", "floyo_postgres_configure")
    assert done.returncode == 0, done.stdout + done.stderr
    assert changed(" ".join(done.stdout.split())) == {server: 0}
    assert shop.get(shop.backends[0], "/readyz")["condition"] == "pass"


def test_the_proxy_is_not_taken_away_from_the_first_application(shop: Shop) -> None:
    (proxy,) = shop.fleet.groups["floyo_proxy"]
    said = shop.play("provision", "-l", proxy, "-t", "floyo_proxy_configure", expected=2, floyo_has_proxy=True)
    assert f"HAProxy on {proxy} serves floyo" in said
