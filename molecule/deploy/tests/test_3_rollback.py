"""Ways back, planned from the live database. The fleet runs v1.1.0."""

from __future__ import annotations

import re
from typing import Any


def test_a_dry_run_shows_the_plan(world: Any) -> None:
    before = world.snapshot()
    done = world.play("rollback", "--check")
    assert done.rc == 0, done.output
    assert "SAFE" in done.output
    assert "all additive; it stays as it is" in done.flat
    assert world.snapshot() == before


def test_back_over_an_additive_migration_with_one_execution_a_host(world: Any) -> None:
    heads = world.heads()
    # A task's heading comes before what it does only when it does not wait for the first result.
    done = world.play("rollback", "-vvv", settings={"ANSIBLE_DISPLAY_SKIPPED_HOSTS": "true"})
    assert done.rc == 0, done.output
    assert world.versions() == ["v1.0.0"] * 3
    assert world.heads() == heads, "the database is left alone"
    task = re.search(r"TASK \[floyo_deploy : Serve v1\.0\.0.*?(?=^TASK )", done.output, re.DOTALL | re.MULTILINE)
    assert task
    for host in world.backends:
        sent = [line for line in task[0].splitlines() if line.startswith(f"<{world.fleet.address(host)}> SSH: EXEC")]
        assert len(sent) == 1, sent
        assert re.search(
            rf"^{host}\s+v1\.1\.0-\w+\s+v1\.0\.0-\w+\s+[\d.]+\s+switched\s+ready", done.output, re.MULTILINE
        )


def test_nothing_earlier_is_left_to_go_back_to(world: Any) -> None:
    before = world.snapshot()
    done = world.play("rollback")
    assert done.rc != 0
    assert "no earlier release that was proven to serve is on every host" in done.flat
    assert world.snapshot() == before


def test_a_contract_step_runs_when_asked_and_its_way_back_needs_consent(world: Any) -> None:
    assert world.play("deploy", floyo_version="v1.1.0").rc == 0
    # Two hosts first: the third still reads what the contract step removes.
    part = world.play("deploy", "--limit", ",".join(world.backends[:2]), floyo_version="v2.0.0", floyo_contract=True)
    assert part.rc != 0
    assert "which was made before d4b8f6a26e03 and may need what it removes" in part.flat
    assert world.versions() == ["v2.0.0", "v2.0.0", "v1.1.0"]
    assert world.heads() == ["b2e1d4c5f602"]
    done = world.play("deploy", floyo_version="v2.0.0", floyo_contract=True)
    assert done.rc == 0, done.output
    assert world.heads() == ["d4b8f6a26e03"]
    assert "created_at" not in world.sql(r"\d workflows")
    made = world.sql("SELECT min(created_at) FROM workflow_origins")
    before = world.snapshot()
    refused = world.play("rollback")
    assert refused.rc != 0
    assert "floyo_accept_data_loss=true" in refused.flat
    assert world.snapshot() == before
    done = world.play("rollback", floyo_accept_data_loss=True)
    assert done.rc == 0, done.output
    assert "DOWNGRADE" in done.output
    assert world.versions() == ["v1.1.0"] * 3
    assert world.heads() == ["b2e1d4c5f602"]
    assert world.sql("SELECT min(created_at) FROM workflows") == made, "the column came back with its values"
    assert world.get("/api/workflows/1")["id"] == 1


def test_over_what_has_no_way_back_a_restore_is_offered_and_done_when_it_is_agreed_to(world: Any) -> None:
    world.sql("INSERT INTO workflows (name, owner) VALUES ('kept', 'Ada Lovelace')")
    done = world.play("deploy", floyo_version="v2.2.0", floyo_contract=True)
    assert done.rc == 0, done.output
    assert world.heads() == ["e5c7f9a38b04"]
    world.sql("INSERT INTO workflows (name, owner) VALUES ('lost', 'charles babbage')")
    before = world.snapshot()
    refused = world.play("rollback")
    assert refused.rc != 0
    assert "the downgrade of e5c7f9a38b04 is irreversible (it raises an error)" in refused.flat
    assert "floyo_accept_restore=true" in refused.flat
    assert "loses everything written since 20" in refused.flat
    assert world.snapshot() == before
    done = world.play("rollback", floyo_accept_restore=True)
    assert done.rc == 0, done.output
    assert "RESTORE" in done.output
    assert world.versions() == ["v1.1.0"] * 3
    assert world.heads() == ["b2e1d4c5f602"]
    assert world.sql("SELECT owner FROM workflows WHERE name IN ('kept', 'lost')") == "Ada Lovelace"
    world.sql("DELETE FROM workflows WHERE name = 'kept'")
    (aside,) = world.sql(r"SELECT datname FROM pg_database WHERE datname LIKE 'floyo\_\_old\_%'").split()
    world.database.check_output("runuser -u postgres -- dropdb %s", aside)  # what was live is kept beside it


def test_a_named_release_and_one_that_is_not_there(world: Any) -> None:
    done = world.play("rollback", floyo_release="v9.9.9")
    assert done.rc != 0
    assert "no host holds v9.9.9" in done.flat
    done = world.play("rollback", floyo_release="v1.0.0")
    assert done.rc == 0, done.output
    assert world.versions() == ["v1.0.0"] * 3


def test_the_host_rolls_back_by_itself_without_a_controller(world: Any) -> None:
    host = world.hosts[world.backends[0]]
    newest = next(one["release"] for one in world.release(world.backends[0])["releases"] if one["version"] == "v1.1.0")
    assert "outcome: switched" in host.check_output("floyo-release switch %s --reason 'by hand'", newest)
    shown = host.check_output("floyo-release status")
    assert shown.startswith(f"runs      {newest}")
    done = world.play("status")
    assert done.rc != 0, "one host runs something else"
    assert "others v1.0.0" in done.flat
    assert f"Switched by hand: {world.backends[0]}, root switched to {newest} at " in done.flat
    # The next run says so before it does anything, and goes on.
    for name, words in (("deploy", {"floyo_version": "v1.1.0"}), ("rollback", {"floyo_release": "v1.0.0"})):
        done = world.play(name, "--check", **words)
        assert done.rc == 0, done.output
        assert f"{world.backends[0]}: root switched to {newest} at " in done.flat
        assert "(by hand)" in done.flat
    assert "outcome: switched" in host.check_output("floyo-release rollback")
    assert world.versions() == ["v1.0.0"] * 3


def test_requests_wait_for_hosts_that_all_take_long_to_start(world: Any) -> None:
    unit = "/run/systemd/system/floyo-backend.service.d"
    for host in world.hosts.values():
        host.check_output(f"mkdir {unit} && printf '[Service]\\nExecStartPre=sleep 8\\n' >{unit}/slow.conf")
        host.check_output("systemctl daemon-reload")
    try:
        with world.load() as seen:
            done = world.play("rollback", floyo_release="v1.1.0")
            lost = {kind: result["errors"] for kind, result in seen().items()}
    finally:
        for host in world.hosts.values():
            host.check_output(f"rm -r {unit} && systemctl daemon-reload")
    assert done.rc == 0, done.output
    assert world.versions() == ["v1.1.0"] * 3
    assert lost == {"keep-alive": {}, "one request each": {}}, done.output


def test_with_time_it_goes_host_by_host_out_of_the_proxies(world: Any) -> None:
    with world.load() as seen:
        done = world.play("rollback", floyo_release="v1.0.0", floyo_rollback_batches=[1])
        lost = {kind: result["errors"] for kind, result in seen().items()}
    assert done.rc == 0, done.output
    assert world.versions() == ["v1.0.0"] * 3
    assert lost == {"keep-alive": {}, "one request each": {}}, done.output
    for number, host in enumerate(world.backends, 1):
        batch = done.output.partition(f"batch {number} of 3 ({host})")[2].partition("\n\n")[0]
        steps = re.findall(r"traffic to drain|Serve v1\.0\.0\S*: \w+|traffic to enabled", batch)
        assert [step.partition(" ")[0] for step in steps] == ["traffic", "Serve", "traffic"], done.output
    proxy = world.fleet.host(world.fleet.groups["floyo_proxy"][0])
    states = proxy.check_output('curl --silent --globoff "http://127.0.0.1:8405/;csv"')
    for host in world.backends:
        assert re.search(rf"^floyo,{host},.*,UP,", states, re.MULTILINE), states
