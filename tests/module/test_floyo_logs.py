"""floyo_logs against real files: rotated, packed, damaged, mixed, endless."""

from __future__ import annotations

import bz2
import datetime
import gzip
import json
import lzma
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NOW = int(time.time())


def stamp(epoch: float) -> str:
    return datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def entry(age: float, message: str, level: str = "INFO", **more: Any) -> str:
    return json.dumps(
        {"timestamp": stamp(NOW - age), "level": level, "logger": "floyo.api", "message": message, **more}
    )


def plain(age: float, message: str, level: str = "INFO") -> str:
    return f"{stamp(NOW - age).replace('T', ' ')[:-1].replace('.', ',')} {level} floyo.db {message}"


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., Path]:
    """A log of lines; ``name`` for a rotated one, ``age`` for its last change."""

    def write(*lines: str | bytes, name: str = "app.log", age: float = 0, end: bytes = b"\n") -> Path:
        data = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
        data += end if lines else b""
        packers: dict[str, Callable[[bytes], bytes]] = {
            ".gz": gzip.compress,
            ".bz2": bz2.compress,
            ".xz": lzma.compress,
        }
        pack = packers.get(Path(name).suffix, bytes)
        path = tmp_path / name
        path.write_bytes(pack(data))
        os.utime(path, (NOW - age, NOW - age))
        return path

    return write


def messages(result: Any) -> list[str]:
    return [line["message"] for line in result["lines"]]


@pytest.fixture
def ask(run_module: Any, tmp_path: Path) -> Callable[..., Any]:
    def run(**options: Any) -> Any:
        return run_module("floyo_logs", {"path": str(tmp_path / "app.log"), "zone": "utc", **options})

    return run


def test_the_end_of_the_log(ask: Any, log: Any) -> None:
    log(*(entry(1000 - n, f"line {n}") for n in range(500)))
    result = ask(last=3)
    assert messages(result) == ["line 497", "line 498", "line 499"]
    assert result["changed"] is False
    assert result["lines"][-1]["time"] == stamp(NOW - 501)


def test_the_end_goes_on_in_the_file_before(ask: Any, log: Any) -> None:
    log(*(entry(300 - n, f"old {n}") for n in range(5)), name="app.log.2.gz", age=200)
    log(*(entry(200 - n, f"mid {n}") for n in range(5)), name="app.log.1", age=100)
    log(entry(10, "new"))
    assert messages(ask(last=4)) == ["mid 2", "mid 3", "mid 4", "new"]
    result = ask(last=8)
    assert messages(result)[:2] == ["old 3", "old 4"]
    assert [file["name"] for file in result["files"]] == ["app.log", "app.log.1", "app.log.2.gz"]
    assert messages(ask(last=8, rotated=False)) == ["new"]


def test_an_empty_log_a_missing_one_and_none_at_all(ask: Any, log: Any, tmp_path: Path) -> None:
    missing = ask()
    assert missing.rc == 1
    assert missing["code"] == "LOG_MISSING"
    log()
    empty = ask(want=["lines", "patterns", "slow", "memory"])
    assert empty.rc == 0
    assert (empty["matched"], empty["pattern_count"], empty["slow"]["count"]) == (0, 0, 0)
    assert ask(path=str(tmp_path / "no" / "app.log"))["code"] == "LOG_UNREADABLE"


def test_search_by_text_level_and_time(ask: Any, log: Any) -> None:
    log(
        entry(7200, "disk full", "ERROR"),
        entry(1800, "disk nearly full", "WARNING"),
        plain(1700, "disk full", "ERROR"),
        entry(600, "Disk full", "CRITICAL"),
        entry(60, "all well, no ERROR here"),
    )
    assert messages(ask(text="disk")) == ["disk full", "disk nearly full", "disk full"]
    assert len(messages(ask(text="disk", ignore_case=True))) == 4
    assert messages(ask(level="ERROR")) == ["disk full", "disk full", "Disk full"]
    assert messages(ask(level="WARNING", since="1h")) == ["disk nearly full", "disk full", "Disk full"]
    assert messages(ask(text="disk", since="1h", until=stamp(NOW - 1750))) == ["disk nearly full"]
    assert messages(ask(regex=r"disk (nearly )?full")) == ["disk full", "disk nearly full", "disk full"]
    assert messages(ask(since=stamp(NOW - 700))) == ["Disk full", "all well, no ERROR here"]


def test_searching_stops_when_enough_is_found_unless_all_is_asked(ask: Any, log: Any) -> None:
    log(*(entry(500 - n, f"x {n}") for n in range(50)), name="app.log.1", age=100)
    log(*(entry(50 - n, f"x new {n}") for n in range(20)))
    result = ask(text="x", last=5)
    assert (result["matched"], result["complete"], result["unread_files"]) == (20, False, 1)
    result = ask(text="x", last=5, all_files=True)
    assert (result["matched"], result["complete"], len(result["lines"])) == (70, True, 5)


def test_files_from_before_the_time_are_not_read(ask: Any, log: Any) -> None:
    log(entry(90000, "old"), name="app.log.2.gz", age=80000)
    log(entry(60, "new"))
    result = ask(want=["patterns"], since="2h")
    assert [file["name"] for file in result["files"]] == ["app.log"]
    assert result["complete"]


def test_error_patterns_as_the_runbook_counts_them(ask: Any, log: Any, tmp_path: Path) -> None:
    rng = random.Random(7)
    words = ["pool_exhausted", "timeout", "deadlock"]
    lines = [plain(1000 - n, f"{rng.choice(words)} after {n} s", rng.choice(["ERROR", "INFO"])) for n in range(300)]
    log(*lines)
    awk = "grep ERROR app.log | awk '{print $5}' | sort | uniq -c"
    told = subprocess.run(["sh", "-c", awk], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    counted = {name: int(count) for count, name in (line.split() for line in told.splitlines())}
    result = ask(want=["patterns"])
    assert {one["pattern"]: one["count"] for one in result["patterns"]} == counted
    assert result["pattern_count"] == sum(counted.values())
    for one in result["patterns"]:
        assert sum(count for _, count in one["by_minute"]) == one["count"]
        assert 5 <= len(one["by_minute"]) <= 7, "the log is of five minutes"


def test_everything_in_one_pass_over_all_files(ask: Any, log: Any) -> None:
    log(entry(400, "GET /api/x/1 500 in 900.0 ms", "ERROR"), name="app.log.2.gz", age=300)
    log(entry(300, "GET /api/x/2 500 in 1900.0 ms", "ERROR"), name="app.log.1.xz", age=200)
    log(entry(200, "memory grows: 512 MiB"), name="app.log-20250101.bz2", age=100)
    log(entry(100, "GET /api/x/3 200 in 3.0 ms"), plain(90, "pool_exhausted x", "ERROR"))
    result = ask(want=["patterns", "slow", "memory"], since="1h")
    assert [(one["pattern"], one["count"]) for one in result["patterns"]] == [
        ("floyo.api: GET /api/x/<n> <n> in <n> ms", 2),
        ("pool_exhausted", 1),
    ]
    assert result["slow"]["timed"] == 3
    assert result["slow"]["requests"][0] == {
        "what": "GET /api/x/<n>", "count": 2, "max_ms": 1900.0, "last": pytest.approx(NOW - 300, abs=1),
    }  # fmt: skip
    assert result["memory"]["count"] == 1
    assert "512 MiB" in result["memory"]["lines"][0]["message"]


def test_junk_does_not_stop_it(ask: Any, log: Any) -> None:
    rng = random.Random(3)
    log(
        bytes(rng.randrange(256) for _ in range(50_000)).replace(b"ERR", b"xxx"),
        b"\x00" * 5000,
        entry(500, "first", "ERROR"),
        '{"timestamp": "2025-01-15T10:00:00Z", "level": "ERROR", "mess',
        b'{"level": "ERROR", "logger": "\xff\xfe", "message": "odd bytes"}',
        "Traceback (most recent call last):",
        entry(900, "the clock went back", "ERROR"),
        entry(-9000, "the clock went far ahead", "ERROR"),
        '{"timestamp": "9999-99-99T99:99:99Z", "level": "ERROR", "message": "impossible time"}',
        '{"timestamp": 1e300, "level": "ERROR", "message": "impossible number"}',
        plain(100, "last", "ERROR"),
    )
    result = ask(level="ERROR")
    assert messages(result) == [
        "first", "odd bytes", "the clock went back", "the clock went far ahead", "impossible time", "impossible number", "last",
    ]  # fmt: skip
    dated = ask(level="ERROR", since="1h")
    assert "first" in messages(dated)
    assert dated["undated"] >= 2


def test_half_a_line_at_the_end(ask: Any, log: Any) -> None:
    log(entry(10, "whole", "ERROR"), entry(5, "not yet written to its end", "ERROR")[:-20], end=b"")
    assert messages(ask(last=1))[0].startswith('{"timestamp"')
    assert messages(ask(level="ERROR")) == ["whole"]


def test_a_damaged_archive_is_named_and_the_rest_is_read(ask: Any, log: Any) -> None:
    path = log(
        *(entry(300 - n, f"old {n} {random.random()}", "ERROR") for n in range(2000)), name="app.log.1.gz", age=50
    )
    path.write_bytes(path.read_bytes()[:-4000])
    log(entry(10, "new", "ERROR"))
    result = ask(level="ERROR", last=5000)
    assert result["matched"] > 1000
    (remark,) = result["files"][1]["remarks"]
    assert "damaged" in remark


def test_a_line_without_an_end_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    with path.open("wb") as stream:
        stream.write(entry(20, "before", "ERROR").encode() + b"\n")
        for _ in range(150):
            stream.write(b"ERROR" * 200_000)
        stream.write(b"\n" + entry(10, "after", "ERROR").encode() + b"\n")
    result, most = measured(path, text="ERROR")
    assert result["matched"] == 3
    assert (result["lines"][0]["message"], result["lines"][-1]["message"]) == ("before", "after")
    assert any("cut off" in remark for remark in result["files"][0]["remarks"])
    assert most < 64 * 1024


def test_a_large_log_costs_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    block = "\n".join(entry(1000 - n, f"GET /api/x/{n} 500 in {n}.0 ms", "ERROR") for n in range(1000)) + "\n"
    with path.open("w") as stream:
        for _ in range(600):
            stream.write(block)
    result, most = measured(path, text="ERROR")
    assert result["matched"] == 600_000
    assert most < 64 * 1024


def measured(path: Path, **options: Any) -> tuple[dict[str, Any], int]:
    """(result, KiB at most) of the module's work in a process of its own. What it starts has a limit."""
    code = r"""
import json, re, sys
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[1])
from ansible.module_utils.floyo.logs import glue
spec = {name: option.get("default") for name, option in glue.ARGUMENT_SPEC.items()}
result = glue.look({**spec, **json.loads(sys.argv[2])})
most = int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
print(json.dumps([result, most]))
"""
    root = Path(__file__).resolve().parents[2]
    given = json.dumps({"path": str(path), **options})
    done = subprocess.run(
        [sys.executable, "-c", code, str(root / "module_utils"), given], capture_output=True, text=True, check=True
    )
    result, most = json.loads(done.stdout)
    return result, most


def test_no_secret_comes_out(ask: Any, log: Any, tmp_path: Path) -> None:
    environment = tmp_path / "backend.env"
    environment.write_text(
        'DATABASE_URL="postgresql://floyo:Wort-Geheim-1@db/floyo"\nSECRET_KEY=abcdef0123456789abcdef\n'
    )
    log(
        entry(5, "cannot reach postgresql://floyo:Wort-Geheim-1@db/floyo", "ERROR"),
        entry(4, "odd: Wort-Geheim-1 abcdef0123456789abcdef", "ERROR"),
        entry(
            3, "sent Authorization: Bearer tttttttttttttttt", "ERROR", exception="X\nValueError: password='pppppppp'"
        ),
        plain(2, "memory password=qqqqqqqq slow 900 ms", "ERROR"),
        "raw secret_token=rrrrrrrr ERROR",
    )
    result = ask(want=["lines", "patterns", "memory", "slow"], environment_file=str(environment), slower_than=1.0)
    shown = json.dumps(result.json)
    assert result["matched"] == 5
    for secret in ("Geheim", "abcdef0123456789", "tttttttt", "pppppppp", "qqqqqqqq", "rrrrrrrr"):
        assert secret not in shown


def test_wrong_questions(ask: Any, log: Any) -> None:
    log(entry(1, "x"))
    assert ask(since="soon")["code"] == "TIME_INVALID"
    assert ask(regex="(")["code"] == "REGEX_INVALID"
    assert ask(last=0)["code"] == "NOTHING_ASKED"
    assert messages(ask(text="x", regex="[xy]")) == ["x"]
    assert messages(ask(text="x", regex="", until="")) == ["x"]
    assert messages(ask(text="x", regex="z[0-9]")) == []


def test_check_mode_reads(run_module: Any, log: Any) -> None:
    path = log(entry(1, "x"))
    assert messages(run_module("floyo_logs", {"path": str(path)}, check=True)) == ["x"]


def test_the_journal(run_module: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """journald's own program prints what it always prints; a stand-in has the entries."""
    entries = [
        {"MESSAGE": entry(30, "from the service", "ERROR"), "PRIORITY": "6", "__REALTIME_TIMESTAMP": str((NOW - 30) * 10**6)},
        {"MESSAGE": "floyo-backend.service: Main process exited", "PRIORITY": "5", "SYSLOG_IDENTIFIER": "systemd",
         "__REALTIME_TIMESTAMP": str((NOW - 20) * 10**6)},
        {"MESSAGE": list(b"odd \xff bytes"), "PRIORITY": "3", "__REALTIME_TIMESTAMP": str((NOW - 10) * 10**6)},
    ]  # fmt: skip
    program = tmp_path / "journalctl"
    text = "\n".join(json.dumps(one) for one in entries)
    program.write_text(f"#!/bin/sh\necho \"$@\" >{tmp_path}/asked\ncat <<'E'\n{text}\nhalf an ent\nE\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    result = run_module("floyo_logs", {"unit": "floyo-backend", "last": 50, "since": "1h"})
    assert messages(result) == ["from the service", "floyo-backend.service: Main process exited", "odd � bytes"]
    assert [line["level"] for line in result["lines"]] == ["ERROR", "INFO", "ERROR"]
    assert result["lines"][1]["logger"] == "systemd"
    asked = (tmp_path / "asked").read_text()
    assert "--unit=floyo-backend" in asked
    assert "--lines=50" in asked
    assert len(run_module("floyo_logs", {"unit": "floyo-backend", "level": "ERROR"})["lines"]) == 2
    program.write_text("#!/bin/sh\nexit 3\n")
    assert run_module("floyo_logs", {"unit": "floyo-backend"})["code"] == "JOURNAL_FAILED"
