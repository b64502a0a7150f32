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
# One more, of Debian 12. It is booted with the others and serves in the last test.
FOURTH = {"backend4": {"floyo_fleet_number": 104, "floyo_fleet_debian": "bookworm"}}


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("inventory") / "more.yml"
    path.write_text(json.dumps({"all": {"children": {"floyo_backend": {"hosts": FOURTH}}}}))
    return str(path)


@pytest.fixture(scope="module")
def play(world: Any, four: str) -> Iterator[Callable[..., Any]]:
    def run(name: str, *words: str, inventory: str | None = None, **variables: Any) -> Any:
        return world.play(name, *words, inventory=inventory, settings=PLACE, **variables)

    booted = run("fleet_up", inventory=four)
    try:
        assert booted.rc == 0, booted.output
        done = run("provision")
        assert done.rc == 0, done.output
        yield run
    finally:
        run("fleet_down", inventory=four)


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


def test_a_fleet_of_two_systems_is_built_for_each(play: Callable[..., Any], four: str) -> None:
    def mixed(name: str, *words: str, **variables: Any) -> Any:
        return play(name, *words, inventory=four, **variables)

    # The proxy learns of the new one, too.
    done = mixed("provision")
    assert done.rc == 0, done.output
    refused = mixed("deploy", floyo_version="v1.1.0")
    assert refused.rc != 0
    assert "it was built for cpython-313 and this host has cpython-311" in refused.flat
    assert "floyo_build_per_platform=true" in refused.flat
    dry = mixed("deploy", "--check", floyo_version="v1.1.0", floyo_build_per_platform=True)
    assert dry.rc == 0, dry.output
    assert re.search(r"v1\.1\.0-\w+ would be put on .*backend4", dry.flat)
    for version in ("v1.0.0", "v1.1.0"):
        done = mixed("deploy", floyo_version=version, floyo_build_per_platform=True)
        assert done.rc == 0, done.output
    again = mixed("deploy", floyo_version="v1.1.0", floyo_build_per_platform=True)
    assert again.changed == dict.fromkeys([*BACKENDS, *FOURTH], 0)
    done = mixed("rollback")
    assert done.rc == 0, done.output
    for host in [*BACKENDS, *FOURTH]:
        assert re.search(
            rf"^{host}\s+v1\.1\.0-\w+\s+v1\.0\.0-\w+\s+[\d.]+\s+switched\s+ready", done.output, re.MULTILINE
        )
