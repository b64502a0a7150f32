"""Programs of a build: their log, their limits, and that nothing of them stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.release import process
from ansible.module_utils.floyo.release.process import Log

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "logs" / "build.log")


def gone(pid: int) -> bool:
    """Whether a process ended; a zombie has."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


def shell(log: Log, script: str, timeout: float = 30.0) -> tuple[int, str]:
    return log.run(["/bin/sh", "-c", script], cwd=log.path.parent, timeout=timeout)


def test_status_and_output_of_each_program(log: Log) -> None:
    assert shell(log, "echo out; echo err >&2; exit 3") == (3, "out\nerr\n")
    assert shell(log, "echo second") == (0, "second\n")
    assert log.tail()[-1] == "second"
    assert log.path.stat().st_mode & 0o007 == 0


def test_passwords_show_in_no_result_of_it(log: Log) -> None:
    _, output = shell(log, "echo fatal: https://anna:s3cret@git.example/x.git")
    assert "s3cret" not in output
    assert "s3cret" not in "\n".join(log.tail())


def test_of_a_huge_output_the_end_is_read(log: Log) -> None:
    status, output = shell(log, "yes 0123456789 | head -c 3000000; echo; echo the end")
    assert status == 0
    assert len(output) <= process.TAIL_BYTES
    assert output.endswith("the end\n")
    assert len(log.tail()) <= process.TAIL_LINES


def test_endless_output_is_stopped(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_LIMIT", 1 << 20)
    with pytest.raises(FloyoError) as caught:
        log.run(["yes", "and so on"], cwd=log.path.parent, timeout=60.0)
    assert caught.value.code == "BUILD_LOG_FULL"


def test_data_is_read_whole_and_apart_from_complaints(log: Log) -> None:
    words = ["/bin/sh", "-c", "echo warning >&2; head -c 1000000 /dev/zero | tr '\\0' x"]
    status, answer, rest = log.ask(words, cwd=log.path.parent, timeout=30.0)
    assert (status, len(answer), rest) == (0, 1_000_000, "warning\n")


def test_a_program_that_is_too_slow_ends_with_all_that_it_started(log: Log) -> None:
    with pytest.raises(FloyoError, match="stopped after") as caught:
        shell(log, "sleep 1000 & echo $! >child; wait", timeout=0.5)
    assert caught.value.code == "BUILD_TIMED_OUT"
    assert gone(int((log.path.parent / "child").read_text()))


def test_what_a_program_leaves_running_ends_with_it(log: Log) -> None:
    status, _ = shell(log, "sleep 1000 & echo $! >child")
    assert status == 0
    assert gone(int((log.path.parent / "child").read_text()))


def test_a_killed_builder_takes_its_programs_with_it(tmp_path: Path) -> None:
    script = (
        "import sys; import ansible.module_utils; ansible.module_utils.__path__.append(sys.argv[1])\n"
        "from pathlib import Path; from ansible.module_utils.floyo.release.process import Log\n"
        "Log(Path(sys.argv[2])).run(['/bin/sh', '-c', 'echo $$ >child; sleep 1000'], cwd=Path('.'), timeout=900.0)\n"
    )
    words = [sys.executable, "-c", script, str(ROOT / "module_utils"), str(tmp_path / "log")]
    with subprocess.Popen(words, cwd=tmp_path) as builder:
        child = tmp_path / "child"
        while not (child.exists() and child.read_text().strip()):
            assert builder.poll() is None
            time.sleep(0.02)
        os.kill(builder.pid, signal.SIGKILL)
    assert gone(int(child.read_text()))


def test_a_program_that_is_not_installed_is_named(log: Log) -> None:
    with pytest.raises(FloyoError, match="no-such-program") as caught:
        log.run(["no-such-program"], cwd=log.path.parent, timeout=1.0)
    assert caught.value.code == "PROGRAM_UNUSABLE"
