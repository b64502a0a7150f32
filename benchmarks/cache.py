#!/usr/bin/env python3
"""A Redis with many keys: how long redis_cache takes, and how long it ever holds the server up.

    make bench OPTIONS=--cache               a million keys

What holds the server up is said by its own latency monitor. It counts real time, so the server goes before everybody else
at the processor (as root): otherwise the time in which others work here would be counted as its own.
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
        try:
            os.sched_setscheduler(process.pid, os.SCHED_FIFO, os.sched_param(1))
        except PermissionError:
            print("the server cannot be put first at the processor: what others do here counts as its own")
        try:
            yield f"redis://:{password}@127.0.0.1:{port}/0", client
        finally:
            process.terminate()


def fill(client: Any, keys: int) -> None:
    """Three of four begin with what is deleted later."""
    pipeline = client.pipeline(transaction=False)
    for number in range(keys):
        pipeline.set(f"cache:{'page' if number % 4 else 'user'}:{number}", "x" * 100, ex=86400)
        if number % 10_000 == 9_999:
            pipeline.execute()
    pipeline.execute()


def measured(client: Any, work: Callable[[], Any]) -> tuple[float, float, str, Any]:
    """(seconds, the longest in ms, mean microseconds of the commands that count, what work returned)."""
    client.execute_command("LATENCY", "RESET")
    client.config_resetstat()
    begin = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - begin
    events = client.execute_command("LATENCY", "LATEST")
    calls = client.info("commandstats")
    means = ", ".join(
        f"{name} {calls[f'cmdstat_{name}']['usec_per_call']:.0f}"
        for name in ("scan", "unlink", "flushdb", "info")
        if f"cmdstat_{name}" in calls
    )
    return seconds, float(max([event[3] for event in events], default=0)), means, result


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
        print(f"{'what':16} {'seconds':>8} {'longest, ms':>12}  mean microseconds")
        worst = 0.0
        for name, work in (
            ("stats", run("stats")),
            ("prefix_deleted", run("prefix_deleted", prefix="cache:page:")),
            ("flushed", run("flushed", confirm_database=0)),
        ):
            seconds, held, means, result = measured(client, work)
            print(f"{name:16} {seconds:8.1f} {held:12.0f}  {means}", flush=True)
            worst = max(worst, held)
            if name == "prefix_deleted" and result["removed"] != sum(1 for number in range(options.keys) if number % 4):
                sys.exit(f"{result['removed']} keys were removed")
    print(f"the server was never held up for more than {worst:.0f} ms (at most {MOST_MS})")
    return int(worst > MOST_MS)


if __name__ == "__main__":
    sys.exit(main())
