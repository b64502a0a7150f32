"""Deploys that work, that fail half way, that are killed, that meet another one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
FAULT = "/etc/systemd/system/floyo-backend.service.d/fault.conf"


def test_a_failed_batch_takes_the_switched_hosts_back_in_the_same_run(world: Any) -> None:
    last = world.hosts[world.backends[2]]
    last.check_output(
        "mkdir -p $(dirname %s) && printf '[Service]\nExecStartPre=/bin/sh -c \"! readlink %s | grep -q v1.1.0\"\n' >%s"
        " && systemctl daemon-reload",
        FAULT, "/srv/floyo/current", FAULT,
    )  # fmt: skip
    try:
        with world.load() as seen:
            done = world.play("deploy", floyo_version="v1.1.0", floyo_batches=[1])
            lost = {kind: result["errors"] for kind, result in seen().items()}
    finally:
        last.check_output("rm %s && systemctl daemon-reload && systemctl reset-failed floyo-backend", FAULT)
    assert done.rc != 0
    assert world.versions() == ["v1.0.0"] * 3
    assert "put back" in done.row(world.backends[0])
    assert "put back" in done.row(world.backends[1])
    assert "reverted" in done.row(world.backends[2])
    assert "did not come up" in done.flat
    assert lost == {"keep-alive": {}, "one request each": {}}, done.output
    report = done.report
    assert (report["verdict"], report["word"], report["facts"]["put_back"]) == ("bad", "put back", 2)
    assert world.backends[2] in report["summary"]


def test_a_deploy_loses_no_request(world: Any) -> None:
    with world.load() as seen:
        done = world.play("deploy", floyo_version="v1.1.0")
        result = seen()
    assert done.rc == 0, done.output
    assert world.versions() == ["v1.1.0"] * 3
    assert world.get("/api/tags") == {}
    report = done.report
    assert (report["verdict"], report["facts"]["on_release"], report["facts"]["lost_requests"]) == ("good", 3, 0)
    (timeline,) = [section for section in report["sections"] if section["type"] == "timeline"]
    assert {*world.backends, "Build", "Change the database"} <= {row["label"] for row in timeline["rows"]}
    for kind, found in result.items():
        assert found["requests"] > 50, kind
        assert found["errors"] == {}, kind


def test_deploying_what_runs_changes_nothing(world: Any) -> None:
    before = world.snapshot()
    done = world.play("deploy", floyo_version="v1.1.0")
    assert done.rc == 0, done.output
    assert done.changed == dict.fromkeys(world.backends, 0)
    assert world.snapshot() == before


def test_a_killed_controller_frees_its_lease_and_the_next_run_goes_on(world: Any) -> None:
    with subprocess.Popen(
        world.command("deploy", floyo_version="v2.0.0", floyo_batches=[1]),
        cwd=ROOT, env=world.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    ) as running:  # fmt: skip
        assert running.stdout
        for line in running.stdout:
            if "Switch, batch by batch" in line:
                break
        deadline = time.monotonic() + 60
        while "v2.0.0" not in world.versions() and time.monotonic() < deadline:
            time.sleep(0.2)
        os.killpg(running.pid, signal.SIGKILL)
    assert "v2.0.0" in world.versions()
    done = world.play("deploy", floyo_version="v2.0.0")
    assert done.rc == 0, done.output
    assert world.versions() == ["v2.0.0"] * 3
    assert world.heads() == ["b2e1d4c5f602"], "what contracts waits until it is asked for"


def test_somebody_elses_lease_is_respected_and_named(world: Any) -> None:
    taken = subprocess.run(
        [
            "ansible", "-i", str(ROOT / "inventories" / "local"), world.backends[0], "-m", "floyo_lease",
            "-a", "state=acquired holder=eve@elsewhere reason='deploy of hers' ttl=300",
        ],
        cwd=ROOT, env=world.environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "eve@elsewhere" in taken.stdout
    done = world.play("deploy", floyo_version="v1.1.0")
    assert done.rc != 0
    assert "eve@elsewhere" in done.flat
    assert "deploy of hers" in done.flat
    assert "since 20" in done.flat
    assert "-e 'floyo_lease_takeover=eve@elsewhere'" in done.flat
    # One lease for all of the application: other hosts than hers make no difference, nor does another name.
    for words in ({"floyo_lease_takeover": "ben@elsewhere"}, {}):
        done = world.play("deploy", "--limit", world.backends[2], floyo_version="v1.1.0", **words)
        assert done.rc != 0
        assert "eve@elsewhere" in done.flat
    assert world.versions() == ["v2.0.0"] * 3


def test_a_rollback_takes_the_lease_over(world: Any) -> None:
    done = world.play("rollback")
    assert done.rc == 0, done.output
    assert world.versions() == ["v1.1.0"] * 3


def proxy_says(world: Any, *words: str) -> str:
    """An answer of HAProxy's own socket."""
    program = (
        "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock');"
        " s.sendall((sys.argv[1]+chr(10)).encode()); print(s.makefile().read())"
    )
    proxy = world.fleet.host(world.fleet.groups["floyo_proxy"][0])
    return str(proxy.check_output("python3 -c %s %s", program, " ".join(words)))


def test_what_a_killed_run_left_drained_serves_again_and_maintenance_stays(world: Any) -> None:
    _, second, third = world.backends
    proxy_says(world, f"set server floyo/{second} state drain")
    proxy_says(world, f"set server floyo/{third} state maint")
    try:
        done = world.play("deploy", floyo_version=world.versions()[0])
        assert done.rc == 0, done.output
        states = {
            line.split(",")[1]: line
            for line in proxy_says(world, "show stat").splitlines()
            if line.startswith("floyo,")
        }
        assert ",DRAIN," not in states[second]
        assert ",MAINT," in states[third]
    finally:
        proxy_says(world, f"set server floyo/{third} state ready")
