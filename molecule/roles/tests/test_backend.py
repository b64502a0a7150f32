"""floyo_backend: environment, units, sandbox, logs, host program."""

from __future__ import annotations

import json
import threading
import urllib.request
import uuid
from typing import TYPE_CHECKING

import pytest
from testinfra.host import Host

if TYPE_CHECKING:
    from molecule.conftest import Ansible, Fleet


def get(address: str, path: str) -> dict[str, object]:
    with urllib.request.urlopen(f"http://{address}:8000{path}", timeout=30) as answer:
        document = json.load(answer)
    assert isinstance(document, dict)
    return document


@pytest.fixture(scope="module")
def address(fleet: Fleet, running: Host) -> str:
    return fleet.address(running.check_output("hostname"))


def test_secrets_are_for_the_service_alone(backend: Host) -> None:
    file = backend.file("/etc/floyo/backend.env")
    assert (file.user, file.group, file.mode) == ("root", "floyo", 0o640)
    assert not backend.run("sudo -u nobody cat /etc/floyo/backend.env").succeeded


def test_the_service_gets_every_value_unchanged(fleet: Fleet, running: Host) -> None:
    pid = running.check_output("systemctl show --property=MainPID --value floyo-backend")
    listed = json.loads(
        running.check_output(
            f"""python3 -c 'import json; print(json.dumps(open("/proc/{pid}/environ").read().split(chr(0))))'"""
        )
    )
    environment = dict(item.split("=", 1) for item in listed if item)
    expected = fleet.facts[running.check_output("hostname")]["environment"]
    differing = [name for name, value in expected.items() if environment.get(name) != str(value)]
    assert differing == []
    assert environment["ENVIRONMENT"] == "production"


def test_the_host_program_knows_the_application(backend: Host) -> None:
    known = json.loads(backend.file("/etc/floyo/floyo-release.json").content_string)
    assert known["readiness_url"] == "http://127.0.0.1:8000/health/readiness"
    assert known["unit"] == "floyo-backend.service"
    assert known["socket_unit"] == "floyo-backend.socket"
    assert known["switch_unit"] == "floyo-switch.service"
    assert known["state_dir"] == "/var/lib/floyo"


def test_the_host_program_is_a_command(backend: Host) -> None:
    assert backend.file("/usr/bin/floyo-release").linked_to == "/usr/lib/floyo/floyo-release.pyz"
    assert backend.run("floyo-release --help").succeeded


def test_a_host_without_a_release_has_no_failed_unit(backend: Host) -> None:
    assert backend.check_output("systemctl list-units --state=failed --plain --no-legend 'floyo*'") == ""
    for unit in ("floyo-backend.service", "floyo-backend.socket", "floyo-switch.service"):
        assert backend.check_output(f"systemctl is-enabled {unit}") == "enabled"


def test_the_sandbox_is_tight(backend: Host) -> None:
    verdict = backend.check_output("systemd-analyze security --no-pager floyo-backend.service").splitlines()[-1]
    exposure = float(verdict.split(":")[1].split()[0])
    assert exposure < 3.0, verdict


def test_units_are_accepted_without_a_word(backend: Host) -> None:
    judged = backend.run("systemd-analyze verify --man=no floyo-switch.service floyo-backend.socket")
    assert "/etc/systemd/system/floyo" not in judged.stderr


def test_the_service_cannot_write_to_its_release(running: Host) -> None:
    pid = running.check_output("systemctl show --property=MainPID --value floyo-backend")
    mounts = [line.split() for line in running.check_output(f"cat /proc/{pid}/mountinfo").splitlines()]
    (options,) = (mount[5] for mount in mounts if mount[4] == "/")
    assert "ro" in options.split(",")
    assert not [mount for mount in mounts if mount[4].startswith("/srv") and "rw" in mount[5].split(",")]


@pytest.mark.parametrize("length", [10, 20_000])
def test_a_line_reaches_the_file_and_the_journal(running: Host, address: str, length: int) -> None:
    mark = uuid.uuid4().hex
    if "stand-in" in running.check_output("readlink /srv/floyo/current"):
        get(address, f"/{mark}/{'x' * length}")
        journal = running.run(f"journalctl --unit floyo-backend --output cat --no-pager | grep -c {mark}")
    else:  # An application of its own writes what it likes: take the way that its output takes.
        running.check_output(f"""printf '{{"message":"{mark}%0{length}d"}}\\n' 0 | systemd-cat -t floyo-backend""")
        journal = running.run(f"journalctl --identifier floyo-backend --output cat --no-pager | grep -c {mark}")
    assert journal.stdout.strip() == "1"
    running.check_output(f"timeout 10 sh -c 'until grep -q {mark} /var/log/floyo/app.log; do sleep 0.1; done'")
    line = running.check_output(f"grep {mark} /var/log/floyo/app.log")
    assert len(json.loads(line)["message"]) > length
    assert not running.file("/var/log/syslog").contains(mark)


def test_a_restart_refuses_no_connection(running: Host, address: str) -> None:
    refused: list[str] = []
    answered: list[object] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                answered.append(get(address, "/health"))
            except ConnectionRefusedError as error:
                refused.append(str(error))

    client = threading.Thread(target=ask)
    client.start()
    before = running.check_output("systemctl show --property=MainPID --value floyo-backend")
    running.check_output("systemctl restart floyo-backend")
    after = running.check_output("systemctl show --property=MainPID --value floyo-backend")
    over.set()
    client.join()
    assert before != after
    assert answered
    assert refused == []


@pytest.mark.parametrize(
    ("variables", "said", "unsaid"),
    [
        ({"floyo_required_env": ["DATABASE_URL", "PAYMENT_KEY"]}, "PAYMENT_KEY is missing", "postgresql"),
        ({"floyo_env_secrets": {"DATABASE_URL": "u-123", "SECRET_KEY": "x"}}, "SECRET_KEY is weak", "u-123"),
        (
            {"floyo_env_secrets": {"DATABASE_URL": "", "SECRET_KEY": "k3-123-value"}},
            "DATABASE_URL is empty",
            "k3-123-value",
        ),
    ],
)
def test_a_bad_environment_stops_before_anything_changes(
    ansible: Ansible, variables: dict[str, object], said: str, unsaid: str
) -> None:
    run = ansible("ansible-playbook", "playbooks/provision.yml", "-e", json.dumps(variables))
    assert run.returncode != 0
    assert said in run.stdout + run.stderr
    assert unsaid not in run.stdout + run.stderr
    assert "\nJudge what was asked\n" in run.stdout
    assert "\nProvision\n" not in run.stdout
