"""The same deploy and rollback on Debian 13: Python 3.13, PostgreSQL 17, Redis 8, HAProxy 3. A fleet of its own."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

PLACE = {"FLOYO_FLEET_NAME": "floyo-test13", "FLOYO_FLEET_SUBNET": "10.89.80.0/24", "FLOYO_FLEET_DEBIAN": "trixie"}
BACKENDS = ["backend1", "backend2", "backend3"]


@pytest.fixture(scope="module")
def play(world: Any) -> Iterator[Callable[..., Any]]:
    def run(name: str, *words: str, **variables: Any) -> Any:
        return world.play(name, *words, settings=PLACE, **variables)

    booted = run("fleet_up")
    try:
        assert booted.rc == 0, booted.output
        done = run("provision")
        assert done.rc == 0, done.output
        yield run
    finally:
        run("fleet_down")
        subprocess.run(
            ["podman", "rm", "--force", "--time=1", "floyo-test13-backend4"], capture_output=True, check=False
        )


def health() -> Any:
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--insecure", "--max-time", "20", "https://10.89.80.10/health"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_a_second_provision_changes_nothing(play: Callable[..., Any]) -> None:
    done = play("provision")
    assert done.rc == 0, done.output
    assert set(done.changed.values()) == {0}


def test_deploy_rollback_verify_and_backup(play: Callable[..., Any]) -> None:
    for version in ("v1.0.0", "v1.1.0"):
        done = play("deploy", floyo_version=version)
        assert done.rc == 0, done.output
        assert health()["version"] == version
    done = play("deploy", floyo_version="v1.1.0")
    assert done.changed == dict.fromkeys(BACKENDS, 0)
    done = play("rollback")
    assert done.rc == 0, done.output
    assert health()["version"] == "v1.0.0"
    for host in BACKENDS:
        assert re.search(r"switched\s+ready", done.row(host))
    for name in ("verify", "backup", "status"):
        done = play(name)
        assert done.rc == 0, done.output


def test_a_release_of_another_python_is_refused_with_the_reason(play: Callable[..., Any], world: Any) -> None:
    """The artifact that Debian 12 built, on Debian 13."""
    built = world.hosts[world.backends[0]]
    record = json.loads(built.check_output("cat $(ls /var/lib/floyo/build/artifacts/v1.1.0-*.json | head -1)"))
    arguments = {"state": "staged", "manifest": record["manifest"], "artifact": record["artifact"]}
    done = subprocess.run(
        ["ansible", "-i", "inventories/local", "backend2", "-m", "floyo_release", "-a", json.dumps(arguments)],
        cwd=world.root, env={**world.environment(), **PLACE}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "TAG_MISMATCH" in done.stdout
    assert "it was built for cpython-311 and this host has cpython-313" in " ".join(done.stdout.split())
