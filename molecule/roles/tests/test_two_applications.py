"""A second application beside the first on one host: each has units of its own, and its switch is its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from testinfra.host import Host

if TYPE_CHECKING:
    from molecule.conftest import Ansible, Fleet

NAME = "shop"
CONFIG = f"/etc/{NAME}/floyo-release.json"
UNITS = f"{NAME}-backend.service {NAME}-backend.socket {NAME}-switch.service"
FIRST = "floyo-backend.service floyo-backend.socket floyo-switch.service"


@pytest.fixture(scope="module")
def host(fleet: Fleet, ansible: Ansible) -> Iterator[Host]:
    """The first backend with both applications; the second is removed again: it would leave the program no default."""
    name = fleet.groups["floyo_backend"][0]
    host = fleet.host(name)
    settings = json.dumps({"floyo_name": NAME, "floyo_port": 8001, "floyo_ready_timeout": 1})
    tags = "floyo_host_configure,floyo_backend_environment,floyo_backend_units"
    try:
        run = ansible("ansible-playbook", "playbooks/provision.yml", "-l", name, "-t", tags, "-e", settings)
        assert run.returncode == 0, run.stdout + run.stderr
        yield host
    finally:
        host.check_output(
            f"systemctl disable --now {UNITS}; systemctl reset-failed {UNITS}; cd /etc &&"
            f" rm -rf {NAME} /srv/{NAME} /var/lib/{NAME} /var/log/{NAME} systemd/system/{NAME}-*"
            f" rsyslog.d/10-{NAME}.conf logrotate.d/{NAME} systemd/journald.conf.d/{NAME}.conf"
            f" && userdel {NAME} && systemctl daemon-reload && systemctl restart rsyslog"
        )


def test_each_application_has_its_units(host: Host) -> None:
    for unit in f"{FIRST} {UNITS}".split():
        assert host.check_output(f"systemctl is-enabled {unit}") == "enabled"
    for name in ("floyo", NAME):
        known = json.loads(host.file(f"/etc/{name}/floyo-release.json").content_string)
        assert (known["name"], known["switch_unit"]) == (name, f"{name}-switch.service")
        assert f"--config /etc/{name}/floyo-release.json resume" in host.check_output(
            f"systemctl show --property=ExecStart --value {name}-switch"
        )


def test_a_switch_runs_in_the_unit_of_its_application(host: Host) -> None:
    """The release cannot run: what counts is who undid it, and that the first application noticed nothing."""
    look = (
        "systemctl show --property=Id,InvocationID,ActiveEnterTimestampMonotonic,MainPID"
        f" {FIRST}; ls -l --full-time /srv/floyo /var/lib/floyo"
    )
    before = host.check_output(look)
    host.check_output(f"mkdir /srv/{NAME}/releases/t-1 && echo '{{}}' >/srv/{NAME}/releases/t-1/release.json")
    done = host.run(f"floyo-release --json --config {CONFIG} switch t-1")
    assert (done.rc, json.loads(done.stdout)["code"]) == (1, "SWITCH_REVERTED"), done.stdout
    assert host.check_output(f"systemctl show --property=InvocationID --value {NAME}-switch") != ""
    assert '"kind": "deploy"' in host.check_output(f"cat /var/lib/{NAME}/history.jsonl")
    assert host.check_output(look) == before


def test_the_program_does_not_guess_which_one_is_meant(host: Host) -> None:
    done = host.run("floyo-release --json switch t-1")
    assert done.rc != 0
    assert "2 applications are configured" in done.stdout + done.stderr
