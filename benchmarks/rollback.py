#!/usr/bin/env python3
"""How long a whole fleet takes to serve the other release, against a floor and three other ways. Prints ratios.

    make bench                            3 backends, 5 rounds
    make bench OPTIONS="--hosts 12"       more hosts; they boot, are provisioned and deployed to first
    make bench OPTIONS='--ssh "-o KexAlgorithms=curve25519-sha256"'    other settings of ssh, for floor and Ansible alike

All ways take turns in each round and go to and fro between two staged releases, every connection cold at its start:

    floor      one ssh for each host, all at once: flip the link, restart, poll until ready; no safety at all
    raw        the floor's command as the only task of a playbook: what no playbook can be faster than
    floyo      playbooks/rollback.yml with everything: plan from the live database, lease, proof, record, table
    tasks      the floor's steps as Ansible tasks, as Ansistrano does it
    pyinfra    the floor's command by pyinfra (left out with --without pyinfra)
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "bench"
FLEET = {"FLOYO_FLEET_NAME": "floyo-bench", "FLOYO_FLEET_SUBNET": "10.89.82.0/24"}
NETWORK = "10.89.82."
OLD, NEW = "v1.0.0", "v1.1.0"


class Bench:
    def __init__(self, hosts: int, settings: str = "") -> None:
        self.settings = shlex.split(settings)
        self.names = [f"backend{number}" for number in range(1, hosts + 1)]
        self.addresses = [f"{NETWORK}{100 + number}" for number in range(1, hosts + 1)]
        CACHE.mkdir(parents=True, exist_ok=True)
        self.more = CACHE / "more.yml"
        extra = {name: {"floyo_fleet_number": 100 + int(name[7:])} for name in self.names[3:]}
        self.more.write_text(json.dumps({"all": {"children": {"floyo_backend": {"hosts": extra}}}}))
        # Byte code is kept for all sides, whatever this machine's habits are.
        clean = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
        self.environment = {**clean, **FLEET, "PATH": path, "PYTHONPYCACHEPREFIX": str(CACHE / "bytecode"),
                            "ANSIBLE_FORKS": str(max(24, hosts)), "ANSIBLE_SSH_EXTRA_ARGS": settings}  # fmt: skip
        self.fleet = ROOT / ".cache" / "fleet" / FLEET["FLOYO_FLEET_NAME"]
        self.releases: dict[str, str] = {}

    def call(self, argv: list[str], **environment: str) -> str:
        done = subprocess.run(
            argv, cwd=ROOT, env={**self.environment, **environment}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
        return done.stdout

    def playbook(self, path: str, *words: str) -> str:
        inventories = ["-i", "inventories/local", *(["-i", str(self.more)] if len(self.names) > 3 else [])]
        # All applications start at once, on this machine's few processors.
        patience = ["-e", json.dumps({"floyo_ready_timeout": 120})]
        return self.call(["ansible-playbook", *inventories, path, *patience, *words])

    def ssh(self, address: str) -> list[str]:
        return [
            "ssh", "-F", "/dev/null", "-i", str(self.fleet / "id_ed25519"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
            "-o", f"UserKnownHostsFile={' '.join(str(self.fleet / 'known_hosts' / name) for name in self.names)}",
            "-o", "ControlMaster=no", "-o", "ControlPath=none", *self.settings, f"admin@{address}",
        ]  # fmt: skip

    def prepare(self) -> None:
        self.call([str(ROOT / "demo" / "make_releases"), str(ROOT / ".cache" / "demo" / "floyo.git")])
        for path, words in (
            ("playbooks/fleet_up.yml", []),
            ("playbooks/provision.yml", []),
            *(
                ("playbooks/deploy.yml", ["-e", json.dumps({"floyo_version": version, "floyo_batches": ["100%"]})])
                for version in (OLD, NEW)
            ),
        ):
            print(f"{path} {' '.join(words)}", flush=True)
            self.playbook(path, *words)
        listed = self.call([*self.ssh(self.addresses[0]), "ls", "/srv/floyo/releases"]).split()
        self.releases = {v: next(name for name in listed if name.startswith(f"{v}-")) for v in (OLD, NEW)}

    def serving(self) -> set[str]:
        """What the backends really serve."""
        command = "curl -s http://127.0.0.1:8000/health"
        return {json.loads(self.call([*self.ssh(address), command]))["version"] for address in self.addresses}

    # --- the ways -----------------------------------------------------------------------------------------------------

    def command(self, target: str) -> str:
        release = self.releases[target]
        return (
            f"cd /srv/floyo && ln -s releases/{release} current.new && mv -T current.new current"
            " && systemctl reset-failed floyo-backend && systemctl restart floyo-backend"
            " && until curl -sf -o /dev/null http://127.0.0.1:8000/health/readiness; do sleep 0.02; done"
        )

    def floor(self, target: str) -> None:
        with concurrent.futures.ThreadPoolExecutor(len(self.addresses)) as pool:
            words = ["sudo", "sh", "-c", f"'{self.command(target)}'"]
            list(pool.map(lambda address: self.call([*self.ssh(address), *words]), self.addresses))

    def raw(self, target: str) -> None:
        self.playbook("benchmarks/raw.yml", "-e", json.dumps({"command": self.command(target), **self.cold()}))

    def floyo(self, target: str) -> None:
        self.playbook(
            "playbooks/rollback.yml", "-e", json.dumps({"floyo_release": self.releases[target], **self.cold()})
        )

    def tasks(self, target: str) -> None:
        self.playbook("benchmarks/tasks.yml", "-e", json.dumps({"target": self.releases[target], **self.cold()}))

    def pyinfra(self, target: str) -> None:
        hosts = [
            (a, {"ssh_user": "admin", "ssh_key": str(self.fleet / "id_ed25519"), "ssh_strict_host_key_checking": "off"})
            for a in self.addresses
        ]
        (CACHE / "hosts.py").write_text(f"backends = {hosts!r}\n")
        (CACHE / "deploy.py").write_text(
            "from pyinfra.operations import server\n"
            f"server.shell(name='Roll back', commands=[{self.command(target)!r}], _sudo=True)\n"
        )
        self.call([str(CACHE / "pyinfra" / "bin" / "pyinfra"), "-y", str(CACHE / "hosts.py"), str(CACHE / "deploy.py")])

    def cold(self) -> dict[str, Any]:
        """Connections of the run before do not count."""
        return {"ansible_control_path_dir": tempfile.mkdtemp(prefix="cp", dir="/tmp")}

    def install_pyinfra(self) -> None:
        if not (CACHE / "pyinfra" / "bin" / "pyinfra").exists():
            shutil.rmtree(CACHE / "pyinfra", ignore_errors=True)
            self.call([sys.executable, "-m", "venv", str(CACHE / "pyinfra")])
            self.call([str(CACHE / "pyinfra" / "bin" / "pip"), "install", "--quiet", "pyinfra>=3"])


def measured(work: Callable[[str], None], target: str) -> tuple[float, float]:
    """(wall seconds, the controller's processor seconds) of one run."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    work(target)
    spent, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--hosts", type=int, default=3, help="backends, at least 3 (default 3)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without", action="append", default=[], choices=["raw", "tasks", "pyinfra"])
    parser.add_argument("--keep", action="store_true", help="leave the fleet for the next run")
    parser.add_argument("--ssh", default="", metavar="SETTINGS", help="words for every ssh command but pyinfra's")
    options = parser.parse_args()
    bench = Bench(max(3, options.hosts), options.ssh)
    ways = [name for name in ("floor", "raw", "floyo", "tasks", "pyinfra") if name not in options.without]
    if "pyinfra" in ways:
        bench.install_pyinfra()
    bench.prepare()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    serving = NEW
    # One round for the caches, which nobody counts.
    for number in range(options.rounds + 1):
        for name in ways:
            serving = OLD if serving == NEW else NEW
            result = measured(getattr(bench, name), serving)
            if bench.serving() != {serving}:
                sys.exit(f"{name} left {bench.serving()}, not {serving}")
            if number:
                found[name].append(result)
        print(f"round {number} of {options.rounds}" + (" (not counted)" if not number else ""), flush=True)
    floor = statistics.median(wall for wall, _ in found["floor"])
    print(f"\n{len(bench.names)} hosts, {options.rounds} rounds, median")
    print(f"{'way':10} {'seconds':>8} {'x floor':>8} {'controller CPU a host':>22}")
    for name, results in found.items():
        wall = statistics.median(wall for wall, _ in results)
        processor = statistics.median(cpu for _, cpu in results)
        print(f"{name:10} {wall:8.2f} {wall / floor:8.2f} {processor / len(bench.names):20.2f} s")
    if not options.keep:
        bench.playbook("playbooks/fleet_down.yml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
