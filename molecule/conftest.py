"""The provisioned fleet as seen from outside, over ssh."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[1]
INVENTORY = os.environ.get("FLOYO_INVENTORY", str(ROOT / "inventories" / "local"))
Ansible = Callable[..., subprocess.CompletedProcess[str]]
_QUESTION = (
    "{{ {'groups': groups, 'address': ansible_host, 'user': ansible_user, 'key': ansible_ssh_private_key_file,"
    " 'options': ansible_ssh_common_args, 'environment': floyo_env | default({}) | combine(floyo_env_secrets),"
    " 'postgres_password': floyo_postgres_password, 'owner_password': floyo_postgres_owner_password,"
    " 'redis_password': floyo_redis_password} }}"
)


@dataclass(frozen=True)
class Fleet:
    """What the inventory says, and a testinfra host for each of its hosts (as root)."""

    facts: dict[str, dict[str, Any]]

    @property
    def groups(self) -> dict[str, list[str]]:
        return dict(next(iter(self.facts.values()))["groups"])

    def address(self, name: str) -> str:
        return str(self.facts[name]["address"])

    def host(self, name: str) -> Host:
        facts = self.facts[name]
        return testinfra.get_host(
            f"ssh://{facts['user']}@{facts['address']}",
            ssh_identity_file=facts["key"],
            ssh_extra_args=facts["options"].replace("\n", " "),
            sudo=True,
        )

    def write(self, name: str, path: str, text: str) -> None:
        """Put a secret into a file of root's: testinfra's commands are kept in sudo's log."""
        facts = self.facts[name]
        words = [
            "ssh",
            "-o",
            "ConnectTimeout=10",
            "-i",
            facts["key"],
            *shlex.split(facts["options"]),
            f"{facts['user']}@{facts['address']}",
        ]
        subprocess.run([*words, f"sudo sh -c 'umask 077; cat >{path}'"], input=text, text=True, check=True)

    def first(self, group: str) -> Host:
        return self.host(self.groups[group][0])


def run_ansible(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's commands from the project's root against the fleet."""
    return subprocess.run(
        [arguments[0], "-i", INVENTORY, *arguments[1:]],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def ansible() -> Ansible:
    return run_ansible


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    asked = run_ansible(
        "ansible",
        "floyo_backend:floyo_database:floyo_cache:floyo_proxy",
        "-m",
        "ansible.builtin.debug",
        "-a",
        f"msg={_QUESTION}",
        ANSIBLE_STDOUT_CALLBACK="ansible.posix.json",
        ANSIBLE_LOAD_CALLBACK_PLUGINS="true",
    )
    assert asked.returncode == 0, asked.stderr + asked.stdout
    answers = json.loads(asked.stdout)["plays"][0]["tasks"][0]["hosts"]
    return Fleet({name: answer["msg"] for name, answer in answers.items()})


@pytest.fixture(scope="session")
def backend(fleet: Fleet) -> Host:
    return fleet.first("floyo_backend")


@pytest.fixture(scope="session")
def database(fleet: Fleet) -> Host:
    return fleet.first("floyo_database")


@pytest.fixture(scope="session")
def cache(fleet: Fleet) -> Host:
    return fleet.first("floyo_cache")


@pytest.fixture(scope="session")
def proxy(fleet: Fleet) -> Host:
    return fleet.first("floyo_proxy")


@pytest.fixture(scope="session")
def running(fleet: Fleet) -> Iterator[Host]:
    """The last backend with the service running: its own release, or a small stand-in until the end of the tests."""
    host = fleet.host(fleet.groups["floyo_backend"][-1])
    stand_in = not host.file("/srv/floyo/current").exists
    if stand_in:
        made = host.run(
            "cd /srv/floyo && mkdir -p releases/stand-in/.venv/bin && ln -s releases/stand-in current"
            " && ln -sf /usr/bin/python3 current/.venv/bin/python && printf %%s %s >current/uvicorn.py"
            " && systemctl start floyo-backend",
            (Path(__file__).parent / "roles" / "tests" / "stand_in.py").read_text(),
        )
        assert made.succeeded, made.stderr
    yield host
    if stand_in:
        host.check_output(
            "systemctl stop floyo-backend.socket floyo-backend.service"
            " && rm -r /srv/floyo/current /srv/floyo/releases/stand-in"
        )
