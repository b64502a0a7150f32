"""The callback as a person sees it: through ansible-playbook."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pyte

TASKS: list[dict[str, Any]] = [
    {"name": "Find it well", "ansible.builtin.command": "true", "changed_when": False},
    {"name": "Change it", "ansible.builtin.command": "true"},
    {"name": "Change one", "ansible.builtin.command": "true", "changed_when": "inventory_hostname == 'b'"},
    {"name": "Leave it out", "ansible.builtin.command": "true", "when": False},
    {"name": "Compute", "ansible.builtin.set_fact": {"found": 1}},
    {"name": "Say it", "ansible.builtin.debug": {"msg": "read me"}, "run_once": True},
]


ROWS, COLUMNS = 24, 90


def prepare(root: Path, tmp_path: Path, plays: list[dict[str, Any]], *options: str) -> tuple[list[str], dict[str, str]]:
    """The command that runs the plays on five local hosts, and its environment."""
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([{"name": "Try", "hosts": "all", "gather_facts": False, **one} for one in plays]))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_") and name != "CI"}
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "a,b,c,d,e", "-c", "local", *options]
    settings = {"ANSIBLE_CONFIG": str(root / "ansible.cfg"), "ANSIBLE_HOME": str(tmp_path), "ANSIBLE_FORCE_COLOR": "0"}
    return [*command, str(playbook)], {**clean, **settings, "ANSIBLE_PYTHON_INTERPRETER": sys.executable}


def play(root: Path, tmp_path: Path, tasks: list[dict[str, Any]], *options: str, **keywords: Any) -> str:
    command, environment = prepare(root, tmp_path, [{"tasks": tasks, **keywords}], *options)
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/", check=False
    )
    return done.stdout


def on_a_terminal(command: list[str], environment: dict[str, str]) -> tuple[str, set[str], list[str]]:
    """Run on a pseudo-terminal: the bytes, every line that stood in the last three rows, the screen at the end."""
    screen = pyte.HistoryScreen(COLUMNS, ROWS, history=5000)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    written = b""
    bottom: set[str] = set()
    with subprocess.Popen(
        command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, cwd="/", start_new_session=True
    ) as process:
        os.close(theirs)
        while True:
            if not select.select([ours], [], [], 1)[0]:
                if process.poll() is not None:
                    break
                continue
            try:
                read = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            written += read
            stream.feed(read)
            bottom.update(line.rstrip() for line in screen.display[-3:])
    os.close(ours)
    return written.decode(), bottom, [line.rstrip() for line in screen.display]


def lines(text: str) -> list[str]:
    """Without times: they differ."""
    return [
        " ".join(word for word in line.split() if not word.replace(".", "").isdigit() and word != "s")
        for line in text.splitlines()
    ]


def test_a_loop_that_is_delegated_names_where_each_item_was(root: Path, tmp_path: Path) -> None:
    task = {
        "name": "Do it elsewhere", "ansible.builtin.command": "true", "changed_when": "item == 'd'", "loop": ["c", "d"],
        "delegate_to": "{{ item }}", "run_once": True,
    }  # fmt: skip
    quiet = {**task, "name": "Look elsewhere", "changed_when": False}
    shown = lines(play(root, tmp_path, [task, quiet]))
    assert "changed Do it elsewhere: d" in shown
    assert "ok Look elsewhere" in shown


def test_one_line_a_task_with_the_hosts_that_changed(root: Path, tmp_path: Path) -> None:
    shown = lines(play(root, tmp_path, TASKS))
    assert "Try" in shown
    assert "ok Find it well" in shown
    assert "changed Change it: hosts" in shown, "five hosts are counted"
    assert "changed Change one: b" in shown
    assert not any("Leave it out" in line or "Compute" in line for line in shown)
    assert any("read me" in line for line in shown), "what a task wants to be read is shown"
    assert any(line.startswith("a : ok=") for line in shown), "the recap stays"


def test_a_failure_looks_as_in_ansibles_own_output(root: Path, tmp_path: Path) -> None:
    broken = [TASKS[0], {"name": "Break it", "ansible.builtin.fail": {"msg": "because of this"}}]
    text = play(root, tmp_path, broken)
    assert "TASK [Break it]" in text
    assert "because of this" in text
    assert text.count("fatal: [") == 5
    ignored = play(root, tmp_path, [{**broken[1], "ignore_errors": True}])
    assert "...ignoring" in ignored


def test_ansibles_own_output_is_one_switch_away(root: Path, tmp_path: Path) -> None:
    text = play(root, tmp_path, TASKS, "-v")
    assert "TASK [Find it well]" in text
    assert "ok: [a]" in text


def test_hosts_at_their_own_pace_show_what_they_change(root: Path, tmp_path: Path) -> None:
    shown = lines(play(root, tmp_path, TASKS, strategy="free"))
    for host in "abcde":
        assert f"changed Change it: {host}" in shown
    assert "changed Change one: b" in shown
    assert not any("Find it well" in line for line in shown)


BATCHES: list[dict[str, Any]] = [
    {
        "name": "Prepare",
        "tasks": [
            {"name": "Look", "ansible.builtin.include_tasks": "look.yml"},
            {
                "name": "Show",
                "floyo_table": {"rows": [{"gate": "disk", "result": "ok"}, {"gate": "team", "result": "warn"}]},
                "run_once": True,
            },
        ],
    },
    {"name": "Switch", "serial": [1, "50%"], "tasks": [{"name": "Serve", "ansible.builtin.command": "sleep 1.5"}]},
    {"name": "Finish", "tasks": [{"name": "Break it", "ansible.builtin.fail": {"msg": "because of this"}}]},
]


def steps(tmp_path: Path) -> None:
    (tmp_path / "look.yml").write_text(json.dumps([{"name": "Ask", "ansible.builtin.command": "true"}]))


def test_plays_say_their_batch_and_tasks_their_step(root: Path, tmp_path: Path) -> None:
    steps(tmp_path)
    command, environment = prepare(root, tmp_path, BATCHES)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/", check=False)
    shown = lines(done.stdout)
    assert "changed Look: Ask: hosts" in shown
    for line in ("Switch: batch 1 of 3 (a)", "Switch: batch 2 of 3 (b, c)", "Switch: batch 3 of 3 (d, e)", "Finish"):
        assert line in done.stdout.splitlines()
    assert "\x1b" not in done.stdout, "plain lines where there is no terminal"


def test_a_play_that_ends_before_its_first_task_has_no_heading(root: Path, tmp_path: Path) -> None:
    leave = {"name": "Leave", "ansible.builtin.meta": "end_play"}
    plays = [{"name": "Not now", "tasks": [leave, *TASKS[:1]]}, {"name": "Now", "tasks": TASKS[:1]}]
    command, environment = prepare(root, tmp_path, plays)
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/", check=True).stdout
    assert "Now" in shown.splitlines() and "Not now" not in shown


def test_what_a_template_may_use_is_loaded_once_for_all_workers(root: Path, tmp_path: Path) -> None:
    filters, seen = tmp_path / "filters", tmp_path / "seen"
    filters.mkdir()
    (filters / "counted.py").write_text(
        f"import os\nopen({str(seen)!r}, 'a').write(str(os.getpid()) + '\\n')\n"
        "class FilterModule:\n    def filters(self):\n        return {'counted': len}\n"
    )
    tasks = [{"name": "Use it", "ansible.builtin.command": "echo {{ 'abc' | counted }}"}] * 2
    command, environment = prepare(root, tmp_path, [{"tasks": tasks}])
    done = subprocess.run(
        command, env={**environment, "ANSIBLE_FILTER_PLUGINS": str(filters)}, capture_output=True, cwd="/", check=True
    )
    assert b"Use it: 5 hosts" in done.stdout or b"Use it: a" in done.stdout
    assert len(seen.read_text().split()) == 1


def test_a_terminal_shows_where_the_run_is_and_keeps_everything_else(root: Path, tmp_path: Path) -> None:
    steps(tmp_path)
    command, environment = prepare(root, tmp_path, BATCHES)
    written, bottom, screen = on_a_terminal(command, {**environment, "TERM": "xterm"})
    assert any(line.startswith("Switch: batch 2 of 3 (b, c) > Serve") for line in bottom), bottom
    assert any("of 2 hosts, waits for" in line for line in bottom), bottom
    assert any("gates: 1 ok, 1 warn" in line for line in bottom), bottom
    assert any("done: Look" in line for line in bottom), bottom
    # What a pipe gets is on the screen and in the scroll-back, too: errors above all.
    plain = written.replace("\r\n", "\n")
    assert plain.count("fatal: [") == 5
    assert "because of this" in plain
    assert "changed" in plain
    assert "PLAY RECAP" in plain
    assert "Switch: batch" not in "\n".join(screen[-3:]), "the last lines are the recap's again"
    assert written.index("\x1b[r") > written.index("\x1b[1;21r"), "the terminal is whole again"


def test_ci_and_a_wish_for_plain_lines_are_heard_on_a_terminal(root: Path, tmp_path: Path) -> None:
    for given in ({"CI": "true"}, {"FLOYO_PROGRESS": "plain"}):
        command, environment = prepare(root, tmp_path, [{"tasks": TASKS[4:]}])
        written, _bottom, _screen = on_a_terminal(command, {**environment, "TERM": "xterm", **given})
        assert "\x1b[1;21r" not in written, given
        assert "read me" in written


def test_verbose_is_ansibles_own_output_on_a_terminal_too(root: Path, tmp_path: Path) -> None:
    command, environment = prepare(root, tmp_path, BATCHES[2:], "-v")
    written, _bottom, _screen = on_a_terminal(command, {**environment, "TERM": "xterm"})
    assert "\x1b[1;21r" not in written
    assert "TASK [Break it]" in written
    assert "because of this" in written
