#!/usr/bin/env python3
"""Break deploys and rollbacks at random instants on a real fleet, and see that nothing stays broken.

    make faults                                  40 cases
    make faults OPTIONS="--cases 300 --seed 7"   more; the same seed draws the same faults and instants
    make faults OPTIONS="--case 7:12"            case 12 of seed 7 again

A case starts a deploy or a rollback between two releases, injects one fault at an instant that the seed draws, and runs
the same command once more, undisturbed. Then it asserts: that run ended well; every answer that users got meanwhile came
wholly from one of the two releases; no request was lost; and nothing is left over: lease, intent, half unpacked release,
drained server, failed unit.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FLEET = {"FLOYO_FLEET_NAME": "floyo-faults", "FLOYO_FLEET_SUBNET": "10.89.83.0/24"}
OLD, NEW = "v1.0.0", "v1.1.0"
BACKENDS = ("backend1", "backend2", "backend3")
# Longer than an undisturbed run on two busy cores: some faults come after its end, which must harm nobody either.
SPAN = {"deploy": 14.0, "rollback": 7.0}


@dataclass
class Case:
    kind: str
    action: str
    target: str
    after: float
    host: str
    seed: str
    problems: list[str] = field(default_factory=list)
    lost: int = 0
    worst_ms: int = 0


class Fleet:
    def __init__(self) -> None:
        self.environment = {
            **os.environ,
            **FLEET,
            "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
            "ANSIBLE_FORCE_COLOR": "0",
        }
        self.ssh_config = ROOT / ".cache" / "fleet" / FLEET["FLOYO_FLEET_NAME"] / "ssh_config"
        self.log = ROOT / ".cache" / "faults.log"

    def argv(self, name: str, **variables: Any) -> list[str]:
        return ["ansible-playbook", f"playbooks/{name}.yml", "-e", json.dumps(variables)]

    def play(self, name: str, **variables: Any) -> tuple[int, str]:
        done = subprocess.run(
            self.argv(name, **variables), cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        with self.log.open("a") as log:
            log.write(f"$ {name} {variables} -> {done.returncode}\n{done.stdout}\n")
        return done.returncode, done.stdout

    def on(self, host: str, command: str) -> str:
        """Run a shell command on a host as root; what it printed, whether or not it succeeded."""
        return subprocess.run(
            ["ssh", "-F", str(self.ssh_config), host, f"sudo sh -c {json.dumps(command)}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
        ).stdout  # fmt: skip

    def podman(self, *words: str) -> None:
        subprocess.run(["podman", *words], capture_output=True, check=False)

    def container(self, host: str) -> str:
        return f"{FLEET['FLOYO_FLEET_NAME']}-{host}"

    def prepare(self) -> None:
        subprocess.run([ROOT / "demo" / "make_releases", ROOT / ".cache" / "demo" / "floyo.git"], check=True)
        for name, variables in (
            ("fleet_up", {}),
            ("provision", {}),
            ("deploy", {"floyo_version": OLD}),
            ("deploy", {"floyo_version": NEW}),
        ):
            print(f"{name} {variables or ''}", flush=True)
            code, output = self.play(name, **variables)
            if code:
                sys.exit(output[-3000:])


# --- faults ----------------------------------------------------------------------------------------------------------
# Each injects, and returns what ends the fault.

Heal = Callable[[], None]


def nothing() -> None:
    """The fault needs no end."""


def kill_controller(_: Fleet, __: Case, running: subprocess.Popen[bytes]) -> Heal:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    return nothing


def interrupt_controller(_: Fleet, __: Case, running: subprocess.Popen[bytes]) -> Heal:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGINT)
    return nothing


def kill_host_program(fleet: Fleet, case: Case, _: subprocess.Popen[bytes]) -> Heal:
    fleet.on(case.host, "pkill -KILL -f floyo-release")
    return nothing


def kill_service(fleet: Fleet, case: Case, _: subprocess.Popen[bytes]) -> Heal:
    fleet.on(case.host, "systemctl kill --signal=KILL floyo-backend.service")
    return nothing


def pause_host(fleet: Fleet, case: Case, _: subprocess.Popen[bytes]) -> Heal:
    fleet.podman("pause", fleet.container(case.host))
    time.sleep(2)
    return lambda: fleet.podman("unpause", fleet.container(case.host))


def crash_host(fleet: Fleet, case: Case, _: subprocess.Popen[bytes]) -> Heal:
    """Power off and on."""
    fleet.podman("kill", fleet.container(case.host))
    fleet.podman("start", fleet.container(case.host))

    def back() -> None:
        wait_until(lambda: "yes" in fleet.on(case.host, "test -e /run/systemd/system && echo yes"), 30)

    return back


def cut_connection(fleet: Fleet, case: Case, _: subprocess.Popen[bytes]) -> Heal:
    fleet.on(case.host, "pkill -KILL -u admin sshd")
    return nothing


def second_operator(fleet: Fleet, case: Case, _: subprocess.Popen[bytes]) -> Heal:
    other = OLD if case.target == NEW else NEW
    fleet.play("deploy", floyo_version=other, floyo_backup_before="never")
    return nothing


def spoil_artifact(fleet: Fleet, _: Case, __: subprocess.Popen[bytes]) -> Heal:
    fleet.on("backend1", "for f in /var/lib/floyo/build/artifacts/*.zst; do truncate -s -100 $f; done")
    return nothing


FAULTS: dict[str, Callable[[Fleet, Case, subprocess.Popen[bytes]], Heal]] = {
    function.__name__.replace("_", " "): function
    for function in (
        kill_controller, interrupt_controller, kill_host_program, kill_service, pause_host, crash_host, cut_connection,
        second_operator, spoil_artifact,
    )
}  # fmt: skip


def wait_until(good: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not good():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)
    return True


# --- one case --------------------------------------------------------------------------------------------------------


def draw(seed: int, number: int, only: str) -> Case:
    chance = random.Random(f"{seed}:{number}")
    kind = chance.choice(sorted(FAULTS))
    action = chance.choice(["deploy", "rollback"])
    after = chance.uniform(0.3, SPAN[action])
    return Case(only or kind, action, NEW if number % 2 else OLD, after, chance.choice(BACKENDS), f"{seed}:{number}")


def run(fleet: Fleet, case: Case) -> None:
    variables: dict[str, Any] = (
        {"floyo_version": case.target, "floyo_backup_before": "never"}
        if case.action == "deploy"
        else {"floyo_release": case.target}
    )
    url = f"https://{FLEET['FLOYO_FLEET_SUBNET'].rpartition('.')[0]}.10/health"
    with subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "probe", url, "--clients=1", "--pause=0.05", "--key=version"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as probe:  # fmt: skip
        with subprocess.Popen(
            fleet.argv(case.action, **variables), cwd=ROOT, env=fleet.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        ) as running:  # fmt: skip
            time.sleep(case.after)
            heal = FAULTS[case.kind](fleet, case, running)
            timer = threading.Timer(6, heal)
            timer.start()
            try:
                running.wait(180)
            except subprocess.TimeoutExpired:
                case.problems.append("the disturbed run hung")
                os.killpg(running.pid, signal.SIGKILL)
            timer.join()
        # A host finishes or undoes its switch by itself; the ordinary command comes after that, as a person's would.
        wait_until(lambda: all(not left_on(fleet, host, "intent") for host in BACKENDS), 60)
        code, output = fleet.play("deploy", floyo_version=case.target, floyo_backup_before="never")
        if code:
            case.problems.append(f"the next run failed: {output[-400:]}")
        seen, _ = probe.communicate()
    judge(fleet, case, json.loads(seen))


def left_on(fleet: Fleet, host: str, what: str) -> str:
    places = {
        "intent": "/var/lib/floyo/intent.json",
        "half releases": "/srv/floyo/releases/.staging-* /srv/floyo/releases/.leaving-* /srv/floyo/.build",
    }
    return fleet.on(host, f"ls -d {places[what]} 2>/dev/null").strip()


def judge(fleet: Fleet, case: Case, seen: dict[str, Any]) -> None:
    for kind, found in seen.items():
        case.lost += found["lost"]
        case.worst_ms = max(case.worst_ms, found["worst_ms"])
        if found["errors"]:
            case.problems.append(f"{kind}: lost {found['errors']}")
        strange = set(found["values"]) - {OLD, NEW}
        if strange:
            case.problems.append(f"answers of {strange}")
    for host in BACKENDS:
        info = json.loads(fleet.on(host, "floyo-release --json info") or "{}")
        if (info.get("current") or {}).get("version") != case.target or info["current"]["fault"]:
            case.problems.append(f"{host} runs {info.get('current')}")
        for what in ("intent", "half releases"):
            if left_on(fleet, host, what):
                case.problems.append(f"{host}: {what} left")
        failed = fleet.on(host, "systemctl --failed --no-legend --plain 'floyo*'").strip()
        if failed:
            case.problems.append(f"{host}: {failed}")
    lease = json.loads(fleet.on("backend1", "cat /var/lib/floyo/lease.json") or "{}")
    if lease.get("holder") and not lease.get("given_back"):
        case.problems.append(f"the lease is left to {lease['holder']}")
    states = fleet.on("proxy1", "curl -s 'http://127.0.0.1:8405/;csv' | grep ^floyo,backend")
    if "DRAIN" in states:
        case.problems.append("a server is still drained")


def table(cases: list[Case]) -> str:
    lines = ["| fault | cases | failures | lost requests | worst wait |", "|---|---:|---:|---:|---:|"]
    for kind in sorted({case.kind for case in cases}):
        mine = [case for case in cases if case.kind == kind]
        lines.append(
            f"| {kind} | {len(mine)} | {sum(bool(case.problems) for case in mine)} | {sum(case.lost for case in mine)}"
            f" | {max(case.worst_ms for case in mine)} ms |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", help="seed:number of one case to run again")
    parser.add_argument("--only", default="", choices=["", *sorted(FAULTS)])
    parser.add_argument("--keep", action="store_true", help="leave the fleet for the next run")
    parser.add_argument("--write", type=Path, help="write the table into this page")
    options = parser.parse_args()
    fleet = Fleet()
    fleet.log.parent.mkdir(exist_ok=True)
    fleet.log.write_text("")
    fleet.prepare()
    seed, numbers = options.seed, list(range(1, options.cases + 1))
    if options.case:
        seed, numbers = int(options.case.partition(":")[0]), [int(options.case.partition(":")[2])]
    cases = []
    for number in numbers:
        case = draw(seed, number, options.only)
        begin = time.monotonic()
        run(fleet, case)
        cases.append(case)
        print(
            f"{case.seed:>8} {case.kind:20} {case.action:8} to {case.target} after {case.after:4.1f} s on {case.host}:"
            f" {'; '.join(case.problems) or 'ok'} (lost {case.lost}, worst {case.worst_ms} ms,"
            f" {time.monotonic() - begin:.0f} s)",
            flush=True,
        )
    text = table(cases)
    print(f"\n{text}")
    bad = [case.seed for case in cases if case.problems]
    if options.write:
        options.write.write_text(
            "# Faults\n\nWritten by `make faults`: deploys and rollbacks, each broken at a random instant, then run once more."
            f" Seed {seed}, {len(cases)} cases, {len(bad)} with a failed assertion.\n\n{text}\n"
        )
    if bad:
        print(f"failed: {', '.join(bad)}; what Ansible said: {fleet.log.relative_to(ROOT)}")
    if not options.keep:
        fleet.play("fleet_down")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
