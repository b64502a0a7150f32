"""Nothing secret comes out: not in the most talkative output, not in arguments, logs, or files that others may read."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def secrets(world: Any) -> dict[str, str]:
    facts = world.fleet.facts[world.backends[0]]
    environment = facts["environment"]
    found = {name: environment[name] for name in ("SECRET_KEY", "ADMIN_TOKEN")}
    found |= {name: facts[name] for name in ("postgres_password", "owner_password", "redis_password")}
    assert all(len(value) >= 32 for value in found.values()), "long enough to be told apart from other text"
    return found


def shown(secrets: dict[str, str], text: str) -> list[str]:
    """Names of the secrets that ``text`` holds."""
    return [name for name, value in secrets.items() if value in text]


@pytest.fixture(scope="module")
def story(world: Any) -> Iterator[dict[str, str]]:
    """Output of a day at -vvv, and the arguments of all processes meanwhile on the hosts and here."""
    hosts = {**world.hosts, "database": world.database}
    here: set[str] = set()
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    here.add(path.read_text(errors="replace"))
                except OSError:  # it ended meanwhile
                    continue

    for host in hosts.values():
        host.check_output(
            "touch /root/began && systemd-run --quiet --unit=watch-arguments sh -c"
            ' \'while sleep 0.1; do cat /proc/[0-9]*/cmdline; done 2>/dev/null | tr "\\0" " " >/root/arguments\''
        )
    watcher = threading.Thread(target=sample, daemon=True)
    watcher.start()
    output = ""
    try:
        for name, variables in (
            ("deploy", {"floyo_version": "v2.1.0"}),
            ("rollback", {}),
            ("backup", {}),
            ("status", {}),
            ("verify", {}),
            ("provision", {}),
        ):
            output += world.play(name, "-vvv", "--diff", **variables).output
        yield {
            "output": output,
            "here": "\n".join(here),
            **{name: host.check_output("cat /root/arguments") for name, host in hosts.items()},
        }
    finally:
        stop.set()
        watcher.join()
        for host in hosts.values():
            host.run("systemctl stop watch-arguments; rm -f /root/arguments")


def test_output_and_arguments_hold_no_secret(story: dict[str, str], secrets: dict[str, str], world: Any) -> None:
    assert "PLAY RECAP" in story["output"]
    assert len(story["here"]) > 1000
    assert all(len(story[name]) > 1000 for name in world.backends)
    assert {place: shown(secrets, text) for place, text in story.items() if shown(secrets, text)} == {}


def test_journals_and_logs_hold_no_secret(story: dict[str, str], secrets: dict[str, str], world: Any) -> None:
    for name, host in {**world.hosts, "database": world.database}.items():
        text = host.check_output(
            "journalctl --no-pager -o cat; cat /var/log/*.log /var/log/*/*.log 2>/dev/null || true"
        )
        assert len(text) > 1000
        assert shown(secrets, text) == [], name


def test_no_file_that_others_may_read_holds_a_secret(
    story: dict[str, str], secrets: dict[str, str], world: Any
) -> None:
    for name, host in {**world.hosts, "database": world.database}.items():
        found = host.run(
            "printf %%s %s >/root/needles && find /etc /srv /var /tmp /home /usr/lib/floyo -xdev -type f -perm /004"
            " -size -4M -not -path '*/.venv/*' -print0 | xargs -0 -r grep -lF -f /root/needles; rm /root/needles",
            "\n".join(secrets.values()),
        ).stdout
        assert found == "", name
    for value in secrets.values():
        found = subprocess.run(
            ["find", ".cache", "-type", "f", "-perm", "/004", "-size", "-4M", "-not", "-path", "*/image/*"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout.split("\n")  # fmt: skip
        assert [name for name in found if name and value in (ROOT / name).read_text(errors="replace")] == []
