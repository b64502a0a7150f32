"""What a deploy refuses: said clearly, with nothing changed. The fleet runs v1.0.0."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def test_every_backend_serves_what_was_deployed(world: Any) -> None:
    assert world.versions() == ["v1.0.0"] * 3
    assert world.get("/health")["version"] == "v1.0.0"
    assert world.get("/api/workflows")["total"] >= 200
    for host in world.hosts.values():
        current = host.check_output("readlink -f /srv/floyo/current")
        assert host.check_output("find %s ! -user root -o -perm /022 ! -type l | head -3", current) == ""


def test_it_was_built_and_tested_on_one_host_only(world: Any) -> None:
    built = [name for name, host in world.hosts.items() if host.file("/var/lib/floyo/build/artifacts").exists]
    assert built == world.backends[:1]
    manifest = json.loads(world.hosts[world.backends[1]].check_output("cat /srv/floyo/current/release.json"))
    assert manifest["builder"] == world.backends[0]
    assert manifest["tests"]["passed"]


def test_an_unknown_version_names_the_nearest_tags(world: Any) -> None:
    before = world.snapshot()
    done = world.play("deploy", floyo_version="v1.1.1")
    assert done.rc != 0
    assert "has no tag, branch or commit 'v1.1.1'" in done.flat
    assert "v1.1.0" in done.flat
    assert world.snapshot() == before


def test_missing_and_empty_variables_are_named_and_never_shown(world: Any) -> None:
    first, second, third = world.backends
    secret = str(world.fleet.facts[first]["environment"]["SECRET_KEY"])
    for host, words in ((second, "/^SECRET_KEY=/d"), (third, "s/^DATABASE_URL=.*/DATABASE_URL=/")):
        world.hosts[host].check_output(
            "cp -p /etc/floyo/backend.env /root/kept.env && sed -i %s /etc/floyo/backend.env", words
        )
    try:
        before = world.snapshot()
        done = world.play("deploy", floyo_version="v1.1.0")
        assert world.snapshot() == before
    finally:
        for host in (second, third):
            world.hosts[host].check_output("mv /root/kept.env /etc/floyo/backend.env")
    assert done.rc != 0
    assert f"{second}: missing SECRET_KEY" in done.flat
    assert f"{third}: empty DATABASE_URL" in done.flat
    assert secret not in done.output


def test_an_unreachable_host_stops_the_deploy_before_it_begins(world: Any, tmp_path: Path) -> None:
    gone = world.backends[1]
    elsewhere = tmp_path / "gone.yml"
    # An address of the fleet's network that nobody has.
    address = world.fleet.address(gone).rpartition(".")[0] + ".250"
    elsewhere.write_text(json.dumps({"all": {"hosts": {gone: {"ansible_host": address, "ansible_ssh_retries": 0}}}}))
    before = world.snapshot()
    done = world.play("deploy", inventory=str(elsewhere), floyo_version="v1.1.0")
    assert done.rc != 0
    assert f"{gone}: unreachable" in done.flat
    assert "Nothing was changed" in done.flat
    assert world.snapshot() == before


def test_a_wrong_database_password_is_found_before_anything_is_built(world: Any) -> None:
    before = world.snapshot()
    done = world.play("deploy", floyo_version="v1.1.0", floyo_postgres_owner_password="Not-The-Password-9f8e7d")
    assert done.rc != 0
    assert "password authentication failed" in done.flat
    assert "Not-The-Password-9f8e7d" not in done.output
    assert world.snapshot() == before


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("v1.2.0", "backend.main:app cannot be imported: ModuleNotFoundError: No module named 'backend.experiments'"),
        ("v1.4.0", "the application's tests fail"),
        ("v1.5.0", 'could not create unique index "one_workflow_each"'),
        ("v1.3.0", "Service not ready: /srv/search/index is missing"),
    ],
)
def test_a_broken_release_stops_at_the_first_gate_that_can_know(world: Any, version: str, says: str) -> None:
    before = world.snapshot()
    done = world.play("deploy", floyo_version=version, floyo_ready_timeout=8)
    assert done.rc != 0
    assert says in done.flat
    assert "Next:" in done.flat
    after = world.snapshot()
    if version in ("v1.5.0", "v1.3.0"):
        # What v1.1.0 adds came with them and harms nobody; nothing of the failing revision stayed.
        assert "reports" not in after["tables"]
        assert after["heads"] == ["b2e1d4c5f602"]
        after.update(heads=before["heads"], tables=before["tables"])
    assert after == before
    if version in ("v1.2.0", "v1.4.0"):
        for host in world.hosts.values():
            assert host.run(f"ls -d /srv/floyo/releases/{version}-*").rc != 0, "nothing of it stays"


def test_a_dry_run_shows_the_gates_and_changes_nothing(world: Any) -> None:
    before = world.snapshot()
    done = world.play("deploy", "--check", floyo_version="v1.1.0")
    assert done.rc == 0, done.output
    assert "would be built and tested" in done.flat
    assert world.snapshot() == before


def test_preflight_is_a_table_of_gates_and_the_sql(world: Any) -> None:
    before = world.snapshot()
    done = world.play("preflight", floyo_version="v1.1.0")
    assert done.rc == 0, done.output
    for gate in (
        "tests",
        "migrations",
        "environment of the release",
        "health now",
        "backup",
        "team",
        "disk",
        "clocks",
        "lease",
    ):
        assert any(line.startswith(gate) for line in done.output.splitlines()), gate
    assert world.snapshot() == before
