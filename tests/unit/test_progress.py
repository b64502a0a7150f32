"""Where a run is, in three lines."""

from __future__ import annotations

import contextlib
import io
import os
import pty
from typing import Any

import pytest

from ansible.module_utils.floyo.progress import Footer, Progress, clock, listed


def halfway() -> Progress:
    progress = Progress(0.0)
    progress.start_play("Prepare", "")
    progress.start_task("Ask", "Look", 1.0)
    progress.judge([{"gate": "disk", "result": "ok"}, {"gate": "x", "result": "FAIL"}])
    progress.start_play("Switch", "batch 2 of 3 (b, c)")
    progress.start_task("Serve v2", "Serve", 10.0)
    for host in "bc":
        progress.start_host(host)
    progress.end_host("b", "changed")
    return progress


def test_the_three_lines() -> None:
    first, second, third = halfway().lines(75.0, 80)
    assert first == "Switch: batch 2 of 3 (b, c) > Serve > Serve v2" + " " * 30 + "1:15"
    assert second.startswith("[##########----------] 1 of 2 hosts, waits for c ")
    assert second.endswith(" 65 s")
    assert third == "done: Look; gates: 1 ok, 1 FAIL; changed: b"


@pytest.mark.parametrize("width", [10, 20, 41, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    progress = halfway()
    progress.start_task("x\x1b[2J" * 90, "Phase", 11.0)
    assert all(len(line) <= width for line in progress.lines(12.0, width))
    assert not any("\x1b" in line for line in progress.lines(12.0, width))


def test_failed_hosts_stay_named() -> None:
    progress = halfway()
    progress.end_host("c", "unreachable")
    progress.start_task("Next", "Next", 20.0)
    assert "failed: c" in progress.lines(21.0, 80)[2]
    assert progress.lines(21.0, 80)[1].startswith("one host")
    progress.start_play("Finish", "")
    assert progress.lines(22.0, 80)[0].split() == ["Finish", "0:22"]
    assert progress.lines(22.0, 80)[1].strip() == "", "nothing runs yet"


def test_tables_without_gates_are_no_gates() -> None:
    progress = halfway()
    progress.judge([{"host": "a", "result": "ok"}, ["disk", "ok"]])
    assert progress.gates == {"ok": 1, "FAIL": 1}


def test_hosts_and_clocks() -> None:
    assert listed(["b", "a"]) == "a, b"
    assert listed([str(number) for number in range(5)]) == "5 hosts"
    assert [clock(seconds) for seconds in (7.9, 750, 3723)] == ["0:07", "12:30", "1:02:03"]


def test_no_terminal_no_footer(monkeypatch: pytest.MonkeyPatch) -> None:
    written: Any = io.StringIO()
    footer = Footer(written)
    footer.show(["a", "b", "c"])
    footer.close()
    assert written.getvalue() == ""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        monkeypatch.setattr(os, "get_terminal_size", lambda _fd: os.terminal_size((80, 11)))
        footer = Footer(stream)
        footer.show(["a", "b", "c"])
        monkeypatch.setattr(os, "get_terminal_size", lambda _fd: os.terminal_size((80, 30)))
        footer.show(["a", "b", "c"])
        footer.show(["a", "B", "c"])
        footer.close()
        footer.close()
    read = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while part := os.read(ours, 65536):
            read += part
    os.close(ours)
    text = read.decode()
    assert text.count("\x1b[1;27r") == 1, "eleven rows are too few; what is there is not drawn again"
    assert [text.count(f"\x1b[{row};1H\x1b[2K") for row in (28, 29, 30)] == [1, 2, 1]
    assert text.count("\x1b[r") == 1, "given back once"
