"""Leaks: seen when there are some, and only then."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from ansible.module_utils.floyo.process import cgroup, ring
from ansible.module_utils.floyo.process.trend import MIB, Sample, leak, series, slope


def samples(*values: float, start: str = "a", step: float = 60, begin: float = 0) -> list[Sample]:
    return [Sample(begin + number * step, start, int(value)) for number, value in enumerate(values)]


def noisy(
    count: int, growth: float, *, seed: int = 1, noise: float = 2 * MIB, base: float = 100 * MIB, **rest: Any
) -> list[Sample]:
    """``growth`` bytes a sample, and the saw of a garbage collector."""
    rng = random.Random(seed)
    return samples(*(base + growth * n + rng.random() * noise + (n % 7) * noise / 7 for n in range(count)), **rest)


def test_a_leak_is_seen_through_the_noise() -> None:
    found = leak(noisy(240, MIB / 10), limit=500 * MIB)
    assert found["verdict"] == "growing"
    assert 5 * MIB < found["interval"][0] < 6 * MIB < found["interval"][1] < 7 * MIB
    assert 40 < found["hours_left"] < 80


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_leak(seed: int) -> None:
    assert leak(noisy(300, 0, seed=seed, noise=20 * MIB))["verdict"] != "growing"


def test_a_few_wild_samples_do_not_make_or_hide_a_leak() -> None:
    quiet = noisy(240, 0)
    wild = [one._replace(memory=one.memory + 900 * MIB) if n % 17 == 0 else one for n, one in enumerate(quiet)]
    assert leak(wild)["verdict"] == "stable"
    growing = noisy(240, MIB / 4)
    wild = [one._replace(memory=1) if n % 17 == 0 else one for n, one in enumerate(growing)]
    assert leak(wild)["verdict"] == "growing"


def test_a_cache_that_fills_and_stops_is_no_leak() -> None:
    filling = [100 * MIB + min(n, 100) * MIB for n in range(300)]
    found = leak(samples(*filling))
    assert found["verdict"] == "stable"
    assert "has stopped" in found["reason"] or "does not grow" in found["reason"]


def test_restarts_do_not_hide_a_leak() -> None:
    """Each process grows from the start again: the memory of all together has no trend."""
    saw = [one for n in range(6) for one in noisy(40, MIB, start=str(n), begin=n * 40 * 60, seed=n)]
    found = leak(saw)
    assert (found["verdict"], found["processes"]) == ("growing", 6)


def test_the_process_that_runs_is_judged_by_itself_when_it_has_run_long_enough() -> None:
    """A release that was well for a day says nothing of the one that came after it, nor does one that leaked."""
    before: dict[str, Any] = {"start": "old"}
    after: dict[str, Any] = {"start": "new", "begin": 86400.0}
    found = leak(noisy(1200, 0, **before) + noisy(90, MIB / 2, **after))
    assert (found["verdict"], found["processes"]) == ("growing", 1)
    assert leak(noisy(1200, MIB / 2, **before) + noisy(90, 0, **after))["verdict"] == "stable"
    # Too young to say anything: the ones before it do.
    assert leak(noisy(600, MIB / 2, **before) + noisy(20, MIB / 2, **after))["processes"] == 2


def test_too_little_says_nothing() -> None:
    assert leak([])["verdict"] == "inconclusive"
    assert "too few" in leak(noisy(20, MIB))["reason"]
    assert leak(noisy(100, MIB, step=1))["verdict"] == "inconclusive"
    assert leak(noisy(100, MIB, step=1), shortest=60, warm_up=5)["verdict"] == "growing"


def test_the_warm_up_does_not_count() -> None:
    begin = samples(*(10 * MIB * n for n in range(5))) + noisy(240, 0, begin=300, base=50 * MIB)
    assert leak(begin)["verdict"] == "stable"


def test_a_clock_that_steps_back_begins_a_new_series() -> None:
    both = samples(1, 2, 3, begin=1000) + samples(4, 5, 6)
    assert [len(run) for run in series(both)] == [3, 3]
    assert slope([]) is None
    assert slope([samples(1)]) is None


# --- the ring --------------------------------------------------------------------------------------------------------


def test_the_ring_keeps_the_newest_and_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    assert ring.read(str(path)) == []
    for number in range(500):
        ring.append(str(path), Sample(number, "x" * 32, 10**8 + number, 1.5, 0, 0), kept=50)
    kept = ring.read(str(path))
    assert kept[-1] == Sample(499, "x" * 32, 10**8 + 499, 1.5, 0, 0)
    assert 50 <= len(kept) <= 150
    assert path.stat().st_size < 15_000


def test_half_a_line_costs_one_sample(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    ring.append(str(path), Sample(1, "a", 1))
    with path.open("ab") as stream:
        stream.write(b'[2, "a", 2, 0.')
    ring.append(str(path), Sample(3, "a", 3))
    with path.open("ab") as stream:
        stream.write(b"\xff\x00junk\n[1]\n{}\n")
    ring.append(str(path), Sample(4, "a", 4))
    assert [one.at for one in ring.read(str(path))] == [1, 3, 4]


# --- control groups --------------------------------------------------------------------------------------------------


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: Any) -> Any:
    """Files of /proc and of a control group's tree below a directory."""

    def read(*parts: str) -> str | None:
        path = tmp_path / "/".join(parts).lstrip("/")
        return path.read_text() if path.is_file() else None

    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def is_dir(path: str) -> bool:
        return (tmp_path / path.lstrip("/")).is_dir()

    monkeypatch.setattr(cgroup, "_read", read)
    monkeypatch.setattr(cgroup.os.path, "isdir", is_dir)
    return write


TOLD = {"MainPID": "42", "InvocationID": "abc", "ControlGroup": "/system.slice/floyo.service", "MemoryMax": "infinity",
        "NRestarts": "3", "CPUUsageNSec": "2500000000"}  # fmt: skip


def test_cgroup_v2(kernel: Any) -> None:
    group = "/sys/fs/cgroup/system.slice/floyo.service"
    kernel({
        "/proc/self/mountinfo": "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "/proc/42/cgroup": "0::/system.slice/floyo.service\n",
        f"{group}/memory.current": "5000000\n",
        f"{group}/memory.stat": "anon 3000000\nfile 2000000\nkernel_stack 1000\n",
        f"{group}/memory.events": "low 0\noom 2\noom_kill 2\n",
        f"{group}/memory.max": "max\n",
        f"{group}/cgroup.procs": "42\n43\n",
    })  # fmt: skip
    found = cgroup.look("floyo.service", properties=TOLD)
    assert found["sample"][1:] == ("abc", 3001000, 2.5, 3, 2)
    assert (found["current"], found["limit"], found["source"], found["pids"]) == (5000000, None, "cgroup v2", 2)


def test_the_hybrid_tree_in_a_container(kernel: Any) -> None:
    """The mount shows a part of the tree only: its root is where the container's group begins."""
    group = "/sys/fs/cgroup/memory/system.slice/floyo.service"
    kernel({
        "/proc/self/mountinfo": "30 1 0:26 /lxc/7 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "31 1 0:27 /lxc/7 /sys/fs/cgroup/systemd rw - cgroup systemd rw,xattr,name=systemd\n",
        "/proc/42/cgroup": "5:memory:/lxc/7/system.slice/floyo.service\n1:name=systemd:/lxc/7/system.slice/floyo.service\n",
        f"{group}/memory.usage_in_bytes": "9000\n",
        f"{group}/memory.stat": "rss 1\ntotal_rss 4096\n",
        f"{group}/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        f"{group}/memory.limit_in_bytes": "9223372036854771712\n",
        f"{group}/cgroup.procs": "42\n",
    })  # fmt: skip
    found = cgroup.look("floyo.service", properties={**TOLD, "MemoryMax": "1000000"})
    assert found["sample"].memory == 4096
    assert (found["limit"], found["source"], found["sample"].killed) == (1000000, "cgroup v1", 1)


def test_a_kernel_that_counts_nothing_for_the_group(kernel: Any) -> None:
    kernel({
        "/proc/self/mountinfo": "31 1 0:27 / /sys/fs/cgroup/systemd rw - cgroup systemd rw,name=systemd\n",
        "/proc/42/cgroup": "5:memory:/\n1:name=systemd:/system.slice/floyo.service\n",
        "/sys/fs/cgroup/systemd/system.slice/floyo.service/cgroup.procs": "42\n43\n",
        "/proc/42/smaps_rollup": "Rss: 900 kB\nPss_Anon:    100 kB\nAnonymous: 200 kB\n",
        "/proc/43/status": "VmRSS: 500 kB\nRssAnon:   7 kB\n",
        "/proc/42/stat": "42 (a) b) S 1 1 1 0 -1 4 0 0 0 0 150 50 0 0",
    })  # fmt: skip
    found = cgroup.look("floyo.service", properties={**TOLD, "CPUUsageNSec": "[not set]"})
    assert found["sample"].memory == 107 * 1024
    assert found["source"] == "its processes, added up"
    assert found["sample"].cpu == pytest.approx(200 / cgroup.os.sysconf("SC_CLK_TCK"))


def test_a_unit_that_does_not_run(kernel: Any) -> None:
    assert cgroup.look("floyo.service", properties={**TOLD, "MainPID": "0"})["sample"] is None
