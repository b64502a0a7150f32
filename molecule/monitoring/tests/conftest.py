"""The fleet with a release, a backup and a drill, and what Prometheus and the receiver say."""

from __future__ import annotations

import importlib.util
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
INVENTORY = str(HERE.parent / "hosts.yml")
_MESSAGES = "/run/webhook.jsonl"


def _world() -> Any:
    """The deploy scenario's way to run playbooks, under a name of its own."""
    path = HERE.parents[1] / "deploy" / "tests" / "conftest.py"
    spec = importlib.util.spec_from_file_location("deploy_world", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["deploy_world"] = module
    spec.loader.exec_module(module)
    return module.World


class Watch:
    """Prometheus on the host that watches, and the messages that its Alertmanager has sent."""

    def __init__(self, fleet: Any) -> None:
        self.world = _world()(fleet)
        self.name = fleet.groups["floyo_proxy"][0]
        self.host = fleet.host(self.name)
        self.fleet = fleet

    def ask(self, path: str, **parameters: str) -> Any:
        given = " ".join(f"--data-urlencode {shlex.quote(f'{key}={value}')}" for key, value in parameters.items())
        answer = json.loads(self.host.check_output(f"curl -sSG {given} http://127.0.0.1:9090/api/v1/{path}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expr: str) -> dict[str, float]:
        """The value of each host."""
        return {
            one["metric"].get("host", ""): float(one["value"][1]) for one in self.ask("query", query=expr)["result"]
        }

    def alerts(self) -> list[tuple[str, str, str, str]]:
        """``(name, severity, host, state)``, pending ones too."""
        found = self.ask("alerts")["alerts"]
        return sorted(
            (one["labels"]["alertname"], one["labels"]["severity"], one["labels"]["host"], one["state"])
            for one in found
        )

    def firing(self) -> list[tuple[str, str, str, str]]:
        return [one for one in self.alerts() if one[3] == "firing"]

    def received(self, path: str) -> list[Any]:
        lines = self.host.check_output(f"cat {_MESSAGES}").splitlines()
        return [told["body"] for told in map(json.loads, lines) if told["path"] == path]

    def told(self) -> list[tuple[str, str, str, str]]:
        """``(name, severity, host, status)`` of each alert that Alertmanager has sent, in order."""
        return [
            (one["labels"]["alertname"], one["labels"]["severity"], one["labels"]["host"], one["status"])
            for message in self.received("/alertmanager")
            for one in message["alerts"]
        ]

    def messages(self) -> list[dict[str, str]]:
        """What people got through apprise."""
        return self.received("/apprise")

    def forget(self) -> None:
        self.host.check_output(f"truncate -s 0 {_MESSAGES}")

    @staticmethod
    def until(condition: Callable[[], Any], what: Callable[[], Any], seconds: float = 90) -> None:
        limit = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < limit, f"it did not happen; instead: {what()}"
            time.sleep(0.5)

    def fires(self, name: str, severity: str, host: str) -> None:
        self.until(lambda: (name, severity, host, "firing") in self.told(), lambda: (self.told(), self.alerts()))

    def resolves(self, name: str, severity: str, host: str) -> None:
        self.until(lambda: (name, severity, host, "resolved") in self.told(), lambda: (self.told(), self.alerts()))

    def quiet(self) -> None:
        self.until(lambda: not self.alerts(), self.alerts, 150)


@pytest.fixture(scope="session")
def watch(fleet: Any) -> Watch:
    watch = Watch(fleet)
    world = watch.world
    if not world.hosts[world.backends[0]].file("/srv/floyo/current").exists:
        subprocess.run(
            [world.root / "demo" / "make_releases", world.root / ".cache" / "demo" / "floyo.git"], check=True
        )
        done = world.play("deploy", floyo_version="v1.0.0")
        assert done.rc == 0, done.output
    if watch.query("max by (host) (time() - floyo_drill_timestamp_seconds) > 3600 * 24"):
        done = world.play("restore_drill", inventory=INVENTORY)
        assert done.rc == 0, done.output
    fleet.write(watch.name, "/run/receiver.py", (HERE / "receiver.py").read_text())
    watch.host.check_output(
        f"touch {_MESSAGES}; systemctl is-active webhook-receiver"
        f" || systemd-run --unit=webhook-receiver python3 /run/receiver.py {_MESSAGES}"
    )
    # The application measures since it started, and what ran before this has kept requests waiting on purpose.
    for host in world.hosts.values():
        host.check_output("systemctl restart floyo-backend")
    watch.quiet()
    watch.forget()
    return watch
