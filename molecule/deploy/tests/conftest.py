"""Playbooks run as a user runs them, and what the fleet looks like before and after."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
_RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Played:
    """A finished ansible-playbook: ``rc``, ``output`` (both streams), ``changed`` tasks of each host."""

    rc: int
    output: str

    @property
    def changed(self) -> dict[str, int]:
        return {host: int(changed) for host, changed, _, _ in _RECAP.findall(self.output)}

    @property
    def flat(self) -> str:
        """The output on one line: sentences wrap in tables and messages."""
        return " ".join(self.output.replace("''", "'").split())

    @property
    def report(self) -> dict[str, Any]:
        """The JSON beside the page that the run has left."""
        page = re.findall(r"^Report: (\S+)\.html$", self.output, re.MULTILINE)[-1]
        read: dict[str, Any] = json.loads((ROOT / f"{page}.json").read_text())
        return read

    def row(self, host: str) -> str:
        """The last line of a table that begins with ``host``."""
        return next(
            line for line in reversed(self.output.splitlines()) if re.match(rf"{host}\s+\S", line) and " : " not in line
        )


def command(name: str, *words: str, inventory: str | None = None, **variables: Any) -> list[str]:
    given = ["-i", inventory] if inventory else []
    return [
        "ansible-playbook", "-i", str(ROOT / "inventories" / "local"), *given, f"playbooks/{name}.yml",
        *(["-e", json.dumps(variables)] if variables else []), *words,
    ]  # fmt: skip


def environment() -> dict[str, str]:
    return {**os.environ, "ANSIBLE_FORCE_COLOR": "0", "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}


def play(
    name: str, *words: str, inventory: str | None = None, settings: dict[str, str] | None = None, **variables: Any
) -> Played:
    done = subprocess.run(
        command(name, *words, inventory=inventory, **variables),
        cwd=ROOT,
        env={**environment(), **(settings or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Played(done.returncode, done.stdout)


class World:
    """The fleet and what can be seen of it."""

    def __init__(self, fleet: Any) -> None:
        self.fleet = fleet
        self.backends = fleet.groups["floyo_backend"]
        self.hosts = {name: fleet.host(name) for name in self.backends}
        self.database = fleet.host(fleet.groups["floyo_database"][0])
        self.url = f"https://{fleet.address(fleet.groups['floyo_proxy'][0])}"

    root = ROOT
    command = staticmethod(command)
    environment = staticmethod(environment)
    play = staticmethod(play)

    def release(self, host: str) -> dict[str, Any]:
        """What floyo-release says on a host."""
        found: dict[str, Any] = json.loads(self.hosts[host].check_output("floyo-release --json info"))
        return found

    def sql(self, text: str) -> str:
        """An answer of the application's database, unaligned."""
        return str(self.database.check_output("runuser -u postgres -- psql -XAtq -d floyo -c %s", text))

    def heads(self) -> list[str]:
        return sorted(self.sql("SELECT version_num FROM alembic_version").split())

    def versions(self) -> list[str]:
        """The version each backend runs."""
        return [self.release(host)["current"]["version"] for host in self.backends]

    def get(self, path: str) -> Any:
        """Through the proxy, as a user."""
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--insecure", "--max-time", "20", self.url + path],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    def snapshot(self) -> dict[str, Any]:
        """Everything that must stay as it is when nothing may change."""
        seen: dict[str, Any] = {"heads": self.heads(), "tables": self.sql(r"\dt")}
        for host in self.backends:
            info = self.release(host)
            seen[host] = {
                "running": info["current"]["release"],
                "pid": info["current"]["pid"],
                "link": info["link"],
                "switches": len(info["history"]),
                "environment": self.hosts[host].check_output("sha256sum /etc/floyo/backend.env"),
            }
        return seen

    @contextmanager
    def load(self) -> Iterator[Callable[[], dict[str, Any]]]:
        """Clients that keep asking; call what is yielded for what they saw."""
        with subprocess.Popen(
            [
                sys.executable,
                str(ROOT / "scripts" / "probe"),
                f"{self.url}/api/workflows",
                "--clients=1",
                "--pause=0.05",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as probe:

            def end() -> dict[str, Any]:
                output, _ = probe.communicate()
                answer: dict[str, Any] = json.loads(output)
                return answer

            yield end
            if probe.poll() is None:
                probe.kill()


@pytest.fixture(scope="session")
def world(fleet: Any) -> World:
    return World(fleet)
