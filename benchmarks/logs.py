#!/usr/bin/env python3
"""How long floyo_logs takes against grep and jq, on one large file. Prints ratios.

    make bench OPTIONS=--logs                  1 GB of JSON lines, 5 rounds
    make bench OPTIONS="--logs --size 200"     MB

    search     the newest hundred lines with a word, and how many there are, against ``grep WORD | tail -100``
    patterns   errors counted by what they have in common, against ``jq`` and ``sort | uniq -c`` (on a tenth of the file,
               once with one error in a hundred lines and once with nothing but errors)

Both sides take turns in each round. "work" is what the module does; "module" is the module as Ansible starts it on a host,
its own start-up included. Processor seconds are shown beside wall seconds: a busy machine disturbs them less.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "bench"
WORD = "pricing"
# The same pinned program that Ansible would start, without the transport.
MODULE = """
import json, runpy, sys
import ansible.module_utils, ansible.module_utils.basic as basic
ansible.module_utils.__path__.append({utils!r})
basic._ANSIBLE_ARGS = json.dumps({{"ANSIBLE_MODULE_ARGS": json.loads(sys.argv[1])}}).encode()
basic._ANSIBLE_PROFILE = "legacy"
runpy.run_path({module!r}, run_name="__main__")
"""
WORK = """
import json, re, sys
import ansible.module_utils
ansible.module_utils.__path__.append({utils!r})
from ansible.module_utils.floyo.logs import glue
spec = {{name: option.get("default") for name, option in glue.ARGUMENT_SPEC.items()}}
result = glue.look({{**spec, **json.loads(sys.argv[1])}})
result["most_kib"] = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print(json.dumps(result))
"""


def make(path: Path, megabytes: int, *, errors: float) -> None:
    """The same bytes on every machine."""
    if path.exists() and path.stat().st_size >= megabytes * 1_000_000:
        return
    rng = random.Random(1)  # noqa: S311 - the same bytes each time
    lines = []
    for number in range(20_000):
        bad = rng.random() < errors
        lines.append(
            json.dumps(
                {
                    "timestamp": f"2025-01-15T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}.000Z",
                    "level": "ERROR" if bad else "INFO",
                    "logger": "floyo.pricing" if bad else "floyo.api",
                    "message": f"GET /api/workflows/{rng.randint(1, 10**6)} {500 if bad else 200} in {rng.random() * 300:.1f} ms",
                    "module": "main",
                    "function": "measure",
                    "line": 91,
                }
            )
        )
    block = ("\n".join(lines) + "\n").encode()
    with path.open("wb") as stream:
        while stream.tell() < megabytes * 1_000_000:
            stream.write(block)


def timed(*command: str) -> tuple[float, float, str]:
    """(wall seconds, processor seconds, output)"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def ours(kind: str, **options: object) -> list[str]:
    places = {"utils": str(ROOT / "module_utils"), "module": str(ROOT / "library" / "floyo_logs.py")}
    code = (MODULE if kind == "module" else WORK).format(**places)
    return [sys.executable, "-c", code, json.dumps({"rotated": False, **options})]


def compare(name: str, ways: dict[str, list[str]], rounds: int) -> dict[str, str]:
    """Prints a line for each way, the first one being the measure; returns what they printed last."""
    wall: dict[str, list[float]] = {way: [] for way in ways}
    spent: dict[str, list[float]] = {way: [] for way in ways}
    said = {}
    for number in range(rounds + 1):
        for way, command in ways.items():
            seconds, processor, said[way] = timed(*command)
            if number:  # the first round fills the page cache
                wall[way].append(seconds)
                spent[way].append(processor)
    first = next(iter(ways))
    for way in ways:
        ratios = [one / base for one, base in zip(wall[way], wall[first])]
        work = statistics.median(spent[way]) / statistics.median(spent[first])
        print(
            f"{name:22} {way:8} {statistics.median(wall[way]):7.2f} s  x {statistics.median(ratios):5.2f}"
            f"   processor {statistics.median(spent[way]):7.2f} s  x {work:5.2f}",
            flush=True,
        )
    return said


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--size", type=int, default=1000, help="MB (default 1000)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    mixed, small, bad = CACHE / "app.log", CACHE / "app-small.log", CACHE / "app-errors.log"
    make(mixed, options.size, errors=0.01)
    make(small, max(options.size // 10, 1), errors=0.01)
    make(bad, max(options.size // 10, 1), errors=1.0)

    grep = ["sh", "-c", f"grep {WORD} {mixed} | tail -100"]
    search = {"path": str(mixed), "text": WORD}
    said = compare(
        f"search, {options.size} MB",
        {"grep": grep, "work": ours("work", **search), "module": ours("module", **search)},
        options.rounds,
    )
    result = json.loads(said["work"])
    print(f"{'':22} {result['matched']} lines match; memory {result['most_kib'] / 1024:.0f} MiB at most", flush=True)

    question = 'select(.level=="ERROR") | "\\(.logger): \\(.message | gsub("[0-9]+([.][0-9]+)?"; "<n>"))"'
    for name, path in (("1 error in 100", small), ("errors only", bad)):
        jq = ["sh", "-c", f"jq -r '{question}' {path} | sort | uniq -c"]
        plain = ["sh", "-c", f"""jq -r 'select(.level=="ERROR") | .logger + ": " + .message' {path} | sort | uniq -c"""]
        counted = {"path": str(path), "want": ["patterns"]}
        said = compare(
            f"patterns, {name}",
            {"jq": jq, "jq raw": plain, "work": ours("work", **counted), "module": ours("module", **counted)},
            max(options.rounds // 2, 1),
        )
        (line,) = said["jq"].splitlines()
        (one,) = json.loads(said["work"])["patterns"]
        if line.split(None, 1) != [str(one["count"]), one["pattern"]]:
            raise SystemExit(f"jq counts {line}, floyo_logs {one}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
