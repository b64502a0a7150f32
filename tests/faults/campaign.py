#!/usr/bin/env python3
"""Break deploys and rollbacks at random instants on a real fleet, and see that nothing stays broken.

    make faults                                          40 cases
    make faults OPTIONS="--cases 300 --seed 7 --resume"  more, in as many slices as it takes
    make faults OPTIONS="--case 7:12"                    case 12 of seed 7 again
    make faults OPTIONS="--cases 300 --seed 7 --resume --write docs/faults.md"

A case starts a deploy or a rollback between two releases, injects one fault at an instant that the seed draws, and runs
the same command once more, undisturbed, unless the first ended well all the same. Then it asserts: that run ended well
and every host serves its release; all that users and the hosts themselves answered meanwhile came wholly from one of
the two releases; no request through the proxy was lost; no host obeyed a token that was older than one before; and
nothing is left over: lease, intent, half unpacked release, temporary directory, drained server, failed unit.

Instants are shares of the time that an undisturbed run takes on this machine, so that a seed means the same everywhere.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FLEET = {
    "FLOYO_FLEET_NAME": os.environ.get("FLOYO_FLEET_NAME") or "floyo-faults",
    "FLOYO_FLEET_SUBNET": os.environ.get("FLOYO_FLEET_SUBNET") or "10.89.83.0/24",
}
# Which files each release consists of shows in what it can answer; the later one adds this.
OLD, NEW, ADDED = "v1.0.0", "v1.1.0", "/api/tags"
BACKENDS = ("backend1", "backend2", "backend3")
# A fault lasts for a while, as the seed draws: short enough that a person could not have helped.
LASTS = (1.0, 5.0)
# A service that starts on a busy machine is slow, not broken.
PATIENCE = 90
# After this share of a run's time it has ended: some faults come then, which must harm nobody either.
LATEST = 1.1
# The application cannot answer without its database. Its proxies' checks see it come back after this many seconds.
RECOVERY = 8.0


@dataclasses.dataclass
class Case:
    seed: str
    kind: str
    action: str
    target: str
    share: float
    lasts: float
    delay: float
    host: str
    after: float = 0.0
    problems: list[str] = dataclasses.field(default_factory=list)
    lost: int = 0
    excused: int = 0
    worst_ms: int = 0
    seconds: float = 0.0

    @property
    def other(self) -> str:
        return OLD if self.target == NEW else NEW

    def __str__(self) -> str:
        end = "; ".join(self.problems) or "ok"
        excused = f" and {self.excused} without a database" if self.excused else ""
        return (
            f"{self.seed:>8} {self.kind:19} {self.action:8} to {self.target} after {self.after:4.1f} s on {self.host}:"
            f" {end} (lost {self.lost}{excused}, worst {self.worst_ms} ms, {self.seconds:.0f} s)"
        )


class Fleet:
    def __init__(self) -> None:
        self.environment = {
            **os.environ,
            **FLEET,
            "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
            "ANSIBLE_FORCE_COLOR": "0",
            "COLUMNS": "200",
        }
        self.log = ROOT / ".cache" / "faults" / f"{FLEET['FLOYO_FLEET_NAME']}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.net = FLEET["FLOYO_FLEET_SUBNET"].rpartition(".")[0]
        self.spans: dict[str, float] = {}

    def argv(self, case: Case, action: str, target: str) -> list[str]:
        """The command of a person, without what only takes time here."""
        if action == "rollback":
            return self.playbook("rollback", floyo_release=target)
        return self.playbook("deploy", floyo_version=target, floyo_backup_before="never", floyo_reason=case.seed)

    def playbook(self, name: str, **variables: Any) -> list[str]:
        given = json.dumps({"floyo_ready_timeout": PATIENCE, **variables})
        return ["ansible-playbook", "-i", "inventories/local", f"playbooks/{name}.yml", "-e", given]

    def start(self, argv: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            argv, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def play(self, argv: list[str]) -> tuple[int, str]:
        with self.start(argv) as running:
            output, _ = running.communicate()
        self.note(argv, running.returncode, output)
        return running.returncode, output

    def note(self, argv: list[str], code: int, output: str) -> None:
        with self.log.open("a") as log:
            log.write(f"$ {' '.join(argv)} -> {code}\n{output}\n")

    def on(self, host: str, command: str) -> str:
        """What a shell command printed as root on a host, whether or not it succeeded; past the network and sshd."""
        return self.podman("exec", self.container(host), "sh", "-c", command)

    def podman(self, *words: str) -> str:
        return subprocess.run(["podman", *words], capture_output=True, text=True, check=False).stdout

    def container(self, host: str) -> str:
        return f"{FLEET['FLOYO_FLEET_NAME']}-{host}"

    def address(self, host: str) -> str:
        return f"{self.net}.{ {'proxy1': 10, 'database1': 20}.get(host) or 100 + int(host[-1]) }"

    def filter(self, host: str, verb: str, port: int) -> None:
        """``-A`` or ``-D``: drop what comes to a port of a host and what leaves it, in the host's own nftables."""
        pid = self.podman("inspect", "--format", "{{.State.Pid}}", self.container(host)).strip()
        for chain, side in (("INPUT", "--dport"), ("OUTPUT", "--sport")):
            rule = ["-p", "tcp", side, str(port), "-j", "DROP"]
            subprocess.run(
                ["nsenter", "--target", pid, "--net", "iptables", "-w", verb, chain, *rule],
                capture_output=True,
                check=False,
            )

    def prepare(self) -> None:
        """Both releases on every host, whatever ran before."""
        subprocess.run(
            [ROOT / "demo" / "make_releases", ROOT / ".cache" / "demo" / "floyo.git"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for name, variables in (
            ("fleet_up", {}),
            ("provision", {}),
            ("deploy", {"floyo_version": OLD}),
            ("deploy", {"floyo_version": NEW}),
        ):
            print(f"{name} {variables or ''}", flush=True)
            code, output = self.play(self.playbook(name, **variables))
            if code:
                sys.exit(output[-3000:])

    def measure(self) -> None:
        """How long an undisturbed run of each kind takes, both releases being there."""
        case = draw(0, 0, "")
        for action, target in (("deploy", OLD), ("rollback", NEW), ("rollback", OLD), ("deploy", NEW)):
            begin = time.monotonic()
            code, output = self.play(self.argv(case, action, target))
            if code:
                sys.exit(output[-3000:])
            self.spans[action] = min(self.spans.get(action, 1e9), time.monotonic() - begin)
        print(", ".join(f"an undisturbed {name} takes {span:.1f} s" for name, span in self.spans.items()), flush=True)


# --- faults ----------------------------------------------------------------------------------------------------------
# Each injects, and returns what ends the fault. ``Before`` is what a fault needs before the run begins.

Running = subprocess.Popen[str]
Heal = Callable[[], object]


def nothing() -> None:
    """The fault needs no end."""


def kill_controller(_: Fleet, __: Case, running: Running) -> Heal:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    return nothing


def interrupt_controller(_: Fleet, __: Case, running: Running) -> Heal:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGINT)
    return nothing


def kill_host_program(fleet: Fleet, case: Case, running: Running) -> Heal:
    """It runs for moments only: wait for it, then for a part of its time."""
    hunt = (
        "pattern='[/]floyo-release .*(switch|resume)'; n=0; while [ $n -lt 400 ] && ! pgrep -f \"$pattern\" >/dev/null;"
        f' do n=$((n+1)); sleep 0.03; done; sleep {case.delay:.2f}; pkill -KILL -f "$pattern"'
    )
    hunter = threading.Thread(target=fleet.on, args=(case.host, hunt))
    hunter.start()
    while hunter.is_alive() and running.poll() is None:
        time.sleep(0.05)
    return hunter.join


def kill_service(fleet: Fleet, case: Case, _: Running) -> Heal:
    fleet.on(case.host, "systemctl kill --signal=KILL floyo-backend.service")
    return nothing


def pause_host(fleet: Fleet, case: Case, _: Running) -> Heal:
    fleet.podman("pause", fleet.container(case.host))
    return lambda: fleet.podman("unpause", fleet.container(case.host))


def power_cut(fleet: Fleet, case: Case, _: Running) -> Heal:
    fleet.podman("kill", fleet.container(case.host))

    def back() -> None:
        fleet.podman("start", fleet.container(case.host))
        wait_until(lambda: "running" in fleet.on(case.host, "systemctl is-system-running --wait"), 60)

    return back


def connection_cut(fleet: Fleet, case: Case, _: Running) -> Heal:
    fleet.filter(case.host, "-A", 22)
    return lambda: fleet.filter(case.host, "-D", 22)


def connection_reset(fleet: Fleet, case: Case, _: Running) -> Heal:
    fleet.on(case.host, "pkill -KILL -u admin sshd")
    return nothing


def disk_full(fleet: Fleet, case: Case, _: Running) -> Heal:
    fleet.on(case.host, "dd if=/dev/zero of=/var/lib/floyo/.filler bs=4k 2>/dev/null")
    return lambda: fleet.on(case.host, "rm -f /var/lib/floyo/.filler")


@contextlib.contextmanager
def small_disk(fleet: Fleet, case: Case) -> Iterator[None]:
    """The state of a host on a small file system of its own, moved back at the end."""
    fleet.on(
        case.host,
        "mkdir -p /mnt/small && mount -t tmpfs -o size=1m,mode=755 tmpfs /mnt/small && cp -a /var/lib/floyo/. /mnt/small"
        " && mount --bind /mnt/small /var/lib/floyo",
    )
    try:
        yield
    finally:
        fleet.on(
            case.host,
            "umount /var/lib/floyo && rm -f /var/lib/floyo/*.json* && cp -a /mnt/small/. /var/lib/floyo && umount /mnt/small",
        )


def database_down(fleet: Fleet, _: Case, __: Running) -> Heal:
    fleet.on("database1", "systemctl kill --signal=KILL 'postgresql@*'; systemctl stop 'postgresql@*'")
    return lambda: fleet.on(
        "database1", "systemctl reset-failed 'postgresql@*'; systemctl start postgresql 'postgresql@*-main'"
    )


def database_cut_off(fleet: Fleet, case: Case, _: Running) -> Heal:
    fleet.filter("database1", "-A", 5432)
    return lambda: fleet.filter("database1", "-D", 5432)


def redis_down(fleet: Fleet, _: Case, __: Running) -> Heal:
    fleet.on("database1", "systemctl stop redis-server")
    return lambda: fleet.on("database1", "systemctl start redis-server")


THIEF = "import socket\ns = socket.create_server(('', 8000))\nwhile True:\n    s.accept()[0].close()"


def port_taken(fleet: Fleet, case: Case, _: Running) -> Heal:
    """Somebody's process has the port, and speaks no HTTP."""
    fleet.on(
        case.host,
        "systemctl stop floyo-backend.socket floyo-backend.service; systemd-run --quiet --unit=thief --collect"
        f' python3 -c "{THIEF}"',
    )
    return lambda: fleet.on(
        case.host, "systemctl stop thief; systemctl start floyo-backend.socket floyo-backend.service"
    )


def spoil(command: str) -> Callable[[Fleet, Case, Running], Heal]:
    """Every artifact on the controller and on the build host; the release is missing on one host, so one is needed."""

    def fault(fleet: Fleet, _: Case, __: Running) -> Heal:
        for path in (ROOT / ".cache" / "artifacts").glob("*.zst"):
            subprocess.run(["sh", "-c", command, "sh", str(path)], check=False, capture_output=True)
        fleet.on("backend1", f"for f in /var/lib/floyo/build/artifacts/*.zst; do set -- $f; {command}; done")
        return nothing

    return fault


truncated_artifact = spoil("truncate -s -1000 $1")
tampered_artifact = spoil("printf tampered | dd of=$1 bs=1 seek=5000 conv=notrunc")


@contextlib.contextmanager
def without_the_target(fleet: Fleet, case: Case) -> Iterator[None]:
    fleet.on(
        case.host,
        f"cd /srv/floyo && case $(readlink current) in */{case.target}-*) ;; *) rm -rf releases/{case.target}-* ;; esac",
    )
    yield


def clock_jump(fleet: Fleet, case: Case, _: Running) -> Heal:
    """All hosts here share one clock, which nobody may set: so only what Python programs of the host read of it jumps."""
    place = "$(python3 -c 'import sitecustomize; print(sitecustomize.__file__)')"
    jump = random.Random(case.seed).choice([-86400, -600, 600, 86400])
    lie = f"import time; time.time = lambda now=time.time: now() + {jump}"
    fleet.on(case.host, f'p={place}; test -e /root/sitecustomize || cp -L $p /root/sitecustomize; echo "{lie}" >>$p')
    return lambda: fleet.on(case.host, f"p={place}; cat /root/sitecustomize >$p")


def earlier_run(fleet: Fleet, case: Case, running: Running) -> Heal:
    """A run is killed, and somebody goes back at once; the run that must end well goes forward again."""
    kill_controller(fleet, case, running)
    running.wait()
    code, output = fleet.play(fleet.argv(case, "rollback", case.other))
    told(case, code, output, "unfinished", "SWITCH_PENDING", "SWITCH_RUNNING", "is not on every host")
    return nothing


def second_operator(fleet: Fleet, case: Case, running: Running) -> Heal:
    code, output = fleet.play(fleet.argv(case, "deploy", case.other))
    # With what follows it: a step of the deploy has the words in its name.
    held = "holds the lease ("
    told(case, code, output, held, "LEASE_LOST", "FENCED", "SWITCH_RUNNING", "SWITCH_PENDING", "unfinished",
         "RELEASES_BUSY", "another build")  # fmt: skip
    if held in " ".join(output.split()) and "floyo_lease_takeover" not in output:
        case.problems.append("the second operator was not told how to take over")
    return nothing


def told(case: Case, code: int, output: str, *words: str) -> None:
    flat = " ".join(output.split())
    if code and not any(word in flat for word in words):
        case.problems.append(f"the other run was not told why: {flat[-300:]}")


FAULTS: dict[str, Callable[[Fleet, Case, Running], Heal]] = {
    "kill controller": kill_controller,
    "interrupt controller": interrupt_controller,
    "kill host program": kill_host_program,
    "kill service": kill_service,
    "pause host": pause_host,
    "power cut": power_cut,
    "connection cut": connection_cut,
    "connection reset": connection_reset,
    "disk full": disk_full,
    "database down": database_down,
    "database cut off": database_cut_off,
    "redis down": redis_down,
    "port taken": port_taken,
    "truncated artifact": truncated_artifact,
    "tampered artifact": tampered_artifact,
    "clock jump": clock_jump,
    "earlier run": earlier_run,
    "second operator": second_operator,
}
BEFORE: dict[str, Callable[[Fleet, Case], contextlib.AbstractContextManager[None]]] = {
    "disk full": small_disk,
    "truncated artifact": without_the_target,
    "tampered artifact": without_the_target,
}
# A rollback stages nothing, so these would not touch it.
DEPLOYS_ONLY = ("truncated artifact", "tampered artifact")
# The build host keeps more than the small file system holds.
NOT_THE_BUILD_HOST = ("disk full", *DEPLOYS_ONLY)
WITHOUT_DATABASE = ("database down", "database cut off")


def wait_until(good: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not good():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)
    return True


# --- what hosts and users see ----------------------------------------------------------------------------------------


class Watch(threading.Thread):
    """Keeps asking one backend itself which release it is: its setting, and its files by what they can answer."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.address, self.stop, self.seen = address, threading.Event(), Counter[tuple[str, bool]]()

    def run(self) -> None:
        while not self.stop.wait(0.15):
            # A host that is off, or a port that somebody took, says nothing about a release.
            with contextlib.suppress(OSError, ValueError, http.client.HTTPException, KeyError):
                connection = http.client.HTTPConnection(self.address, 8000, timeout=2)
                with contextlib.closing(connection):
                    connection.request("GET", "/openapi.json", headers={"Connection": "close"})
                    answer = json.loads(connection.getresponse().read())
                    self.seen[(answer["info"]["version"], ADDED in answer["paths"])] += 1


@contextlib.contextmanager
def watched(fleet: Fleet, case: Case, window: list[float]) -> Iterator[None]:
    """Judge all that was answered while the block ran. ``window``: when the application could not answer."""
    probe = subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "probe", f"https://{fleet.net}.10/health", "--clients=1", "--pause=0.05",
         "--key=version"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    watches = [Watch(fleet.address(host)) for host in BACKENDS]
    for watch in watches:
        watch.start()
    try:
        yield
    finally:
        seen, _ = probe.communicate()
        for watch in watches:
            watch.stop.set()
            watch.join()
    for kind, found in json.loads(seen).items():
        excused = [when for when in found["lost_at"] if window and window[0] <= when <= window[-1]]
        case.excused += len(excused)
        case.lost += found["lost"] - len(excused)
        case.worst_ms = max(case.worst_ms, found["worst_ms"])
        if found["lost"] > len(excused):
            case.problems.append(f"{kind}: lost {found['errors']}")
        if strange := set(found["values"]) - {OLD, NEW}:
            case.problems.append(f"answers of {strange}")
    for host, watch in zip(BACKENDS, watches, strict=True):
        if mixed := set(watch.seen) - {(OLD, False), (NEW, True)}:
            case.problems.append(f"{host} served a mixture: {mixed}")


# --- one case --------------------------------------------------------------------------------------------------------


def draw(seed: int, number: int, only: str) -> Case:
    chance = random.Random(f"{seed}:{number}")
    # Every fault in turn, in an order of the seed's: so none is rare in a short campaign.
    kinds = sorted(FAULTS)
    random.Random(f"{seed}:{number // len(kinds)}").shuffle(kinds)
    kind = only or kinds[number % len(kinds)]
    action = "deploy" if kind in DEPLOYS_ONLY else chance.choice(["deploy", "rollback", "rollback"])
    return Case(
        seed=f"{seed}:{number}",
        kind=kind,
        action=action,
        target=NEW if number % 2 else OLD,
        share=chance.uniform(0.02, LATEST),
        lasts=chance.uniform(*LASTS),
        delay=chance.uniform(0.0, 0.8),
        host=chance.choice(BACKENDS[1:] if kind in NOT_THE_BUILD_HOST else BACKENDS),
    )


def run(fleet: Fleet, case: Case) -> None:
    begin = time.monotonic()
    case.after = case.share * fleet.spans[case.action]
    window: list[float] = []
    with BEFORE.get(case.kind, lambda *_: contextlib.nullcontext())(fleet, case):
        with watched(fleet, case, window):
            ended_well = disturbed(fleet, case, window) == 0
            # A host finishes or undoes its switch by itself; the command comes again after that, as a person's would.
            if not wait_until(lambda: not any(everywhere(fleet, UNFINISHED).values()), 60 + PATIENCE):
                case.problems.append("a switch did not end by itself")
            # A run that ended well and left all as it should be needs no other one.
            if not ended_well or judge(fleet, case):
                again(fleet, case)
        case.problems += judge(fleet, case)
    case.seconds = time.monotonic() - begin


def disturbed(fleet: Fleet, case: Case, window: list[float]) -> int:
    argv = fleet.argv(case, case.action, case.target)
    outputs: list[str] = []
    with fleet.start(argv) as running:
        assert running.stdout
        stream = running.stdout
        reader = threading.Thread(target=lambda: outputs.append(stream.read()))
        reader.start()
        time.sleep(case.after)
        if case.kind in WITHOUT_DATABASE:
            window.append(time.time())
        heal = FAULTS[case.kind](fleet, case, running)
        time.sleep(case.lasts if heal is not nothing else 0)
        heal()
        if window:
            window.append(time.time() + RECOVERY)
        try:
            running.wait(120 + 20 * fleet.spans[case.action])
        except subprocess.TimeoutExpired:
            case.problems.append("the disturbed run hung")
            os.killpg(running.pid, signal.SIGKILL)
        reader.join()
    fleet.note(argv, running.returncode, "".join(outputs))
    return running.returncode


def again(fleet: Fleet, case: Case) -> None:
    """The same command, undisturbed; a rollback cannot bring what a host lost, and says so: a deploy can."""
    code, output = fleet.play(fleet.argv(case, case.action, case.target))
    if code and case.action == "rollback" and "is not on every host" in output:
        code, output = fleet.play(fleet.argv(case, "deploy", case.target))
    if code:
        case.problems.append(f"the next run failed: {' '.join(output.split())[-400:]}")


def everywhere(fleet: Fleet, command: str) -> Mapping[str, str]:
    with ThreadPoolExecutor() as pool:
        return dict(zip(BACKENDS, pool.map(lambda host: fleet.on(host, command).strip(), BACKENDS), strict=True))


UNFINISHED = "ls /var/lib/floyo/intent.json 2>/dev/null"
LEFT = (
    "ls -d /var/lib/floyo/intent.json /srv/floyo/releases/.staging-* /srv/floyo/releases/.leaving-* /srv/floyo/.build"
    " /srv/floyo/current.new /var/lib/floyo/.*.json.* /home/admin/.ansible/tmp/* /root/.ansible/tmp/* 2>/dev/null;"
    " systemctl --failed --no-legend --plain 'floyo*'; tr -d '\\n' </var/lib/floyo/lease.json 2>/dev/null; echo;"
    " floyo-release --json info"
)


def judge(fleet: Fleet, case: Case) -> list[str]:
    problems: list[str] = []
    for host, text in everywhere(fleet, LEFT).items():
        lines = text.splitlines()
        try:
            info = json.loads(lines[-1])
        except (IndexError, ValueError):
            problems.append(f"{host} does not tell what it runs")
            continue
        current = info.get("current") or {}
        if current.get("version") != case.target or current.get("fault"):
            problems.append(f"{host} runs {current}")
        tokens = [entry["token"] for entry in info.get("history", []) if entry.get("token")]
        if tokens != sorted(tokens):
            problems.append(f"{host} obeyed an older token: {tokens[-10:]}")
        for line in lines[:-1]:
            if line.startswith("{"):
                lease = json.loads(line)
                if not lease.get("given_back"):
                    problems.append(f"the lease is left to {lease.get('holder')}")
            elif re.match(r"[/\w]", line):
                problems.append(f"{host}: {line} is left")
    drained = fleet.on("proxy1", "curl -s 'http://127.0.0.1:8405/;csv' | grep ^floyo,backend | grep -c DRAIN")
    if drained.strip() not in ("", "0"):
        problems.append("a server is still drained")
    return problems


def mend(fleet: Fleet, case: Case) -> None:
    """A case that failed must not fail the next one."""
    for host in (*BACKENDS, "database1"):
        fleet.podman("unpause", fleet.container(host))
        fleet.podman("start", fleet.container(host))
    everywhere(fleet, "systemctl reset-failed; rm -rf /home/admin/.ansible/tmp/* /srv/floyo/releases/.[sl]*")
    fleet.play(fleet.argv(case, "deploy", case.target))


# --- the table -------------------------------------------------------------------------------------------------------


def table(cases: list[Case]) -> str:
    lines = [
        "| fault | cases | failures | lost requests | worst wait | refused without a database |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for kind in sorted({case.kind for case in cases}):
        mine = [case for case in cases if case.kind == kind]
        lines.append(
            f"| {kind} | {len(mine)} | {sum(bool(case.problems) for case in mine)} | {sum(case.lost for case in mine)}"
            f" | {max(case.worst_ms for case in mine)} ms | {sum(case.excused for case in mine) or '-'} |"
        )
    return "\n".join(lines)


def page(cases: list[Case], seed: int) -> str:
    bad = [case.seed for case in cases if case.problems]
    actions = Counter(case.action for case in cases)
    return (
        "# Faults\n\nWritten by `make faults`: deploys and rollbacks, each broken at a random instant, then run once more."
        f" Seed {seed}: {len(cases)} cases ({actions['deploy']} deploys, {actions['rollback']} rollbacks), {len(bad)} with"
        f" a failed assertion.\n\n{table(cases)}\n\n"
        "What is asserted after each case, and what a fault is, stands in `tests/faults/campaign.py`. Requests through the\n"
        "proxy count; while the database is away the application itself answers 503, which is counted apart. All hosts of\n"
        "the fleet share one clock: it jumps for the Python programs of a host only.\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--first", type=int, default=1, help="number of the first case (default 1)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", help="seed:number of one case to run again")
    parser.add_argument("--only", default="", choices=["", *sorted(FAULTS)], metavar="FAULT")
    parser.add_argument("--keep", action="store_true", help="leave the fleet for the next run")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the cases that are not done yet; keeps the fleet"
    )
    parser.add_argument("--ready", action="store_true", help="the fleet runs and holds both releases")
    parser.add_argument(
        "--spans", help="seconds that an undisturbed deploy and rollback take, as in 12,5: not measured then"
    )
    parser.add_argument("--write", type=Path, help="write the table into this page, and the cases beside it")
    options = parser.parse_args()
    fleet = Fleet()
    seed, numbers = options.seed, list(range(options.first, options.first + options.cases))
    if options.case:
        seed, numbers = int(options.case.partition(":")[0]), [int(options.case.partition(":")[2])]
    # Beside the page, so that another checkout can go on.
    record = options.write.with_suffix(".jsonl") if options.write else fleet.log.parent / f"seed-{seed}.jsonl"
    cases: list[Case] = []
    if options.resume and record.exists():
        done = [Case(**json.loads(line)) for line in record.read_text().splitlines()]
        wanted = {f"{seed}:{number}" for number in numbers}
        cases = list({case.seed: case for case in done if case.seed in wanted}.values())
    elif not options.case:
        record.write_text("")
    waiting = [number for number in numbers if f"{seed}:{number}" not in {case.seed for case in cases}]
    if waiting:
        if not options.ready:
            fleet.prepare()
        if options.spans:
            fleet.spans = dict(zip(("deploy", "rollback"), map(float, options.spans.split(",")), strict=True))
        else:
            fleet.measure()
    try:
        for number in waiting:
            case = draw(seed, number, options.only)
            run(fleet, case)
            cases.append(case)
            with record.open("a") as stream:
                stream.write(json.dumps(dataclasses.asdict(case)) + "\n")
            print(case, flush=True)
            if case.problems:
                mend(fleet, case)
    except KeyboardInterrupt:
        print("stopped; --resume goes on", flush=True)
    print(f"\n{table(cases)}")
    bad = [case.seed for case in cases if case.problems]
    if options.write:
        options.write.write_text(page(cases, seed))
    if bad:
        print(f"failed: {', '.join(bad)}; what Ansible said: {fleet.log.relative_to(ROOT)}")
    if not (options.keep or options.resume or options.ready):
        fleet.play(fleet.playbook("fleet_down"))
    return 1 if bad or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
