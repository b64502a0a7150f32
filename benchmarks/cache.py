#!/usr/bin/env python3
"""A Redis with many keys: how long redis_cache takes, and how long it ever holds the server up.

    make bench OPTIONS=--cache               a million keys

What holds the server up is said by its own latency monitor and histogram. They count real time, so the server goes before
everybody else at the processor (as root). What a virtual machine takes away is left: a loop that does nothing, in the same
run and with the same right, shows how long that is.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ansible.module_utils
import redis

ROOT = Path(__file__).resolve().parent.parent
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

from ansible.module_utils.floyo.cache.glue import ARGUMENT_SPEC, cache
from ansible.module_utils.floyo.cache.judge import LIMITS

MOST_MS = 10


@contextlib.contextmanager
def server(work: str) -> Iterator[tuple[str, Any]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    password = secrets.token_hex(16)
    config = Path(work, "redis.conf")
    config.write_text(
        f'bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {work}\nsave ""\nlatency-monitor-threshold 1\n'
    )
    with subprocess.Popen(["redis-server", str(config)], stdout=subprocess.DEVNULL) as process:
        client = redis.Redis(host="127.0.0.1", port=port, password=password, protocol=2)
        while True:
            with contextlib.suppress(redis.ConnectionError):
                client.ping()
                break
            time.sleep(0.05)
        first_in_line(process.pid)
        try:
            yield f"redis://:{password}@127.0.0.1:{port}/0", client
        finally:
            process.terminate()


FILL = """
for number = ARGV[1], ARGV[2] do
    redis.call('SET', 'cache:' .. (number % 4 == 0 and 'user' or 'page') .. ':' .. number, string.rep('x', 100), 'EX', 86400)
end
"""


def fill(client: Any, keys: int) -> None:
    """Three of four begin with what is deleted later."""
    for first in range(0, keys, 10_000):
        client.eval(FILL, 0, first, min(first + 10_000, keys) - 1)


def first_in_line(pid: int) -> None:
    try:
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        print("nobody can be put first at the processor: what others do here counts as the server's own")


def idle_loop(seconds: float) -> float:
    """The longest time in ms for which a process first in line did not get the processor."""
    code = (
        "import sys, time; last = time.perf_counter(); end = last + float(sys.argv[1]); worst = 0.0\n"
        "while last < end:\n now = time.perf_counter(); worst = max(worst, now - last); last = now\n"
        "print(worst * 1000)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(seconds)], stdout=subprocess.PIPE, text=True) as process:
        first_in_line(process.pid)
        return float(process.communicate()[0])


def measured(client: Any, work: Callable[[], Any]) -> tuple[float, int, float, float, float, Any]:
    """(seconds, steps, processor ms of one, 99 % of them within these ms, the longest in ms, what work returned)."""
    client.execute_command("LATENCY", "RESET")
    client.config_resetstat()
    begin, used = time.perf_counter(), processor(client)
    result = work()
    seconds, used = time.perf_counter() - begin, processor(client) - used
    events = client.execute_command("LATENCY", "LATEST")
    steps: Counter[int] = Counter()
    for name in ("scan", "unlink", "flushdb", "info"):
        for _, (_, _, _, buckets) in _pairs(client.execute_command("LATENCY", "HISTOGRAM", name)):
            before = 0
            for microseconds, count in _pairs(buckets):
                steps[microseconds] += count - before
                before = count
    total, seen, within = sum(steps.values()), 0, 0
    for microseconds in sorted(steps):
        seen, within = seen + steps[microseconds], microseconds
        if seen >= 0.99 * total:
            break
    return (
        seconds,
        total,
        used * 1000 / max(total, 1),
        within / 1000,
        float(max([event[3] for event in events], default=0)),
        result,
    )


def processor(client: Any) -> float:
    """Seconds that the server's main thread has used."""
    told = client.info("cpu")
    return float(told["used_cpu_user_main_thread"] + told["used_cpu_sys_main_thread"])


def _pairs(flat: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2]))


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    options = parser.parse_args()
    defaults = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}
    with tempfile.TemporaryDirectory() as scratch, server(scratch) as (url, client):
        fill(client, options.keys)

        def run(state: str, **more: Any) -> Callable[[], Any]:
            return lambda: cache({**defaults, "limits": LIMITS, "url": url, "state": state, **more}, check_mode=False)

        print(f"{options.keys} keys, Redis {client.info('server')['redis_version']}")
        heads = f"{'CPU of one, ms':>15} {'99 % within, ms':>16} {'longest, ms':>12} {'idle loop, ms':>14}"
        print(f"{'what':16} {'seconds':>8} {'steps':>6} {heads}")
        held_up = False
        for name, work in (
            ("stats", run("stats")),
            ("prefix_deleted", run("prefix_deleted", prefix="cache:page:")),
            ("flushed", run("flushed", confirm_database=0)),
        ):
            seconds, steps, each, usual, longest, result = measured(client, work)
            taken_away = idle_loop(min(max(seconds, 3.0), 20.0))
            print(
                f"{name:16} {seconds:8.1f} {steps:6} {each:15.3f} {usual:16.2f} {longest:12.0f} {taken_away:14.1f}",
                flush=True,
            )
            held_up |= usual > MOST_MS or longest > max(MOST_MS, taken_away)
            if name == "prefix_deleted" and result["removed"] != sum(1 for number in range(options.keys) if number % 4):
                sys.exit(f"{result['removed']} keys were removed")
    print(
        f"the server was {'held up' if held_up else 'not held up'}: at most {MOST_MS} ms, or what the machine takes away"
    )
    return int(held_up)


if __name__ == "__main__":
    sys.exit(main())
