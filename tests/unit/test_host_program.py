"""The host program's transaction, with a host that is a directory and a process that is a word."""

from __future__ import annotations

import ast
import contextlib
import errno
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.files import append_line
from ansible.module_utils.floyo.hostprog import switch as switching
from ansible.module_utils.floyo.hostprog.cli import OUTDATED
from ansible.module_utils.floyo.hostprog.host import Config, Host
from ansible.module_utils.floyo.hostprog.releases import info, pin, prune, superfluous, sweep, tree_lock, unpin
from ansible.module_utils.floyo.hostprog.switch import history, previous_good, resume, switch

ROOT = Path(__file__).resolve().parents[2]


class FakeHost(Host):
    """A host whose service runs what the link names at its last restart; releases in ``broken`` are never ready."""

    process: str | None = None
    broken: frozenset[str] = frozenset()
    dies_at: str = ""

    def restart(self) -> str:
        if self.dies_at == "restart":
            raise KeyboardInterrupt
        self.process = self.linked()
        return ""

    def run_switch_unit(self) -> None:
        with contextlib.suppress(FloyoError):  # the unit's own failure; the caller reads the record
            resume(self)

    def stop(self) -> None:
        self.process = None

    def running(self, pid: int | None = None) -> str | None:
        return self.process

    def main_process(self) -> tuple[str, int]:
        return ("active", 4711) if self.process else ("inactive", 0)

    def fault(self, release: str, process: tuple[str, int] | None = None) -> str:
        if self.process != release:
            return f"the running process belongs to {self.process}"
        return "readiness answers 503" if release in self.broken else ""

    def wait_ready(self, release: str, deadline: float) -> str:
        return self.fault(release)

    def last_lines(self) -> list[str]:
        return ["its last words"]


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    for name in ("a", "b", "c"):
        (tmp_path / "releases" / name).mkdir(parents=True)
        (tmp_path / "releases" / name / "release.json").write_text("{}")
    return FakeHost(
        Config(
            name="x",
            root=str(tmp_path),
            state_dir=str(tmp_path),
            unit="x.service",
            socket_unit="x.socket",
            extra_units=(),
            readiness_url="http://r",
            health_url="http://h",
            ready_timeout=1.0,
            release_field="version",
            environment_file="/dev/null",
            user="nobody",
            group="nogroup",
            python=sys.executable,
            asgi="main:app",
            switch_unit="x-switch.service",
        )
    )


def to(host: FakeHost, release: str, token: int | None = None, **more: Any) -> dict[str, Any]:
    return switch(host, release, token=token, holder="me", reason="test", **more)


def test_a_switch_is_recorded_and_a_second_one_changes_nothing(host: FakeHost) -> None:
    assert to(host, "a")["outcome"] == "switched"
    assert to(host, "b")["from"] == "a"
    assert to(host, "b")["outcome"] == "unchanged"
    assert [(e["sequence"], e["to"], e["holder"]) for e in history(host)] == [(1, "a", "me"), (2, "b", "me")]
    assert info(host)["current"]["release"] == "b"
    assert info(host)["intent"] is None


def test_a_switch_whose_unit_did_nothing_names_that_unit(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "run_switch_unit", lambda: None)
    with pytest.raises(FloyoError) as caught:
        to(host, "a")
    assert caught.value.code == "SWITCH_PENDING"
    assert "x-switch.service" in str(caught.value)


def test_a_release_that_is_not_ready_is_undone(host: FakeHost) -> None:
    to(host, "a")
    host.broken = frozenset("b")
    with pytest.raises(FloyoError) as caught:
        to(host, "b")
    assert caught.value.code == "SWITCH_REVERTED"
    assert "503" in str(caught.value)
    assert caught.value.details["log_tail"] == ["its last words"]
    assert (host.linked(), host.process) == ("a", "a")
    assert info(host)["intent"] is None


def test_a_first_release_that_fails_leaves_nothing_running(host: FakeHost) -> None:
    host.broken = frozenset("a")
    with pytest.raises(FloyoError, match="no earlier release"):
        to(host, "a")
    assert (host.linked(), host.process) == (None, None)


def test_an_interrupted_switch_is_finished_by_resume(host: FakeHost) -> None:
    to(host, "a")
    host.dies_at = "restart"
    with pytest.raises(KeyboardInterrupt):
        to(host, "b")
    host.dies_at = ""
    with pytest.raises(FloyoError, match="not finished"):
        to(host, "c")
    assert (resume(host) or {})["outcome"] == "switched"
    assert host.process == "b"
    assert resume(host) is None


def test_a_full_disk_is_said_and_the_switch_ends_when_there_is_room(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    to(host, "a")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(switching, "write_json", full)
        with pytest.raises(FloyoError, match="cannot be written") as caught:
            to(host, "b")
        assert caught.value.code == "STATE_UNWRITABLE"
    assert (host.process, info(host)["intent"]) == ("a", None)
    with monkeypatch.context() as disk:
        disk.setattr(switching, "append_line", full)
        with pytest.raises(FloyoError) as caught:
            to(host, "b")
        assert caught.value.code == "SWITCH_PENDING"
    assert (resume(host) or {})["outcome"] == "switched"
    assert host.process == "b"


def test_what_a_kill_left_of_the_own_files_goes_with_the_next_switch(host: FakeHost) -> None:
    left = Path(host.config.state_dir, ".intent.json.abc")
    left.write_text("{")
    to(host, "a")
    assert not left.exists()


def test_a_line_that_was_cut_short_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"good": 1}\n{"cut')
    append_line(str(path), '{"next": 2}')
    assert path.read_text().splitlines() == ['{"good": 1}', '{"cut', '{"next": 2}']
    append_line(str(path), '{"last": 3}')
    assert len(path.read_text().splitlines()) == 4


def test_a_stale_token_is_refused(host: FakeHost) -> None:
    to(host, "a", token=7)
    with pytest.raises(FloyoError) as caught:
        to(host, "b", token=6)
    assert caught.value.code == "FENCED"
    assert host.process == "a"
    assert to(host, "b", token=7)["outcome"] == "switched"


def test_an_unknown_release_names_those_on_disk(host: FakeHost) -> None:
    with pytest.raises(FloyoError, match="release z is not on this host"):
        to(host, "z")


def test_check_mode_judges_and_changes_nothing(host: FakeHost) -> None:
    to(host, "a", token=3)
    assert to(host, "b", token=4, check=True) == {
        "changed": True,
        "outcome": "switched",
        "from": "a",
        "to": "b",
        "seconds": 0.0,
    }
    assert not to(host, "a", token=4, check=True)["changed"]
    with pytest.raises(FloyoError, match="token 2 is older"):
        to(host, "b", token=2, check=True)
    assert (host.linked(), info(host)["fence"], len(history(host))) == ("a", 3, 1)


def test_rollbacks_go_further_back_and_not_to_and_fro(host: FakeHost) -> None:
    for name in ("a", "b", "c"):
        to(host, name)
    to(host, "b", kind="rollback")
    assert previous_good(history(host), host.linked()) == "a"
    to(host, "a", kind="rollback")
    assert previous_good(history(host), host.linked()) is None
    to(host, "c")  # somebody deployed it again, knowingly
    assert previous_good(history(host), host.linked()) == "a"
    to(host, "b")
    assert previous_good(history(host), host.linked()) == "c"
    assert {one["release"]: one["state"] for one in info(host)["releases"]} == {"a": "good", "b": "good", "c": "good"}


def test_info_tells_good_from_left_failed_and_staged(host: FakeHost) -> None:
    to(host, "a")
    to(host, "b")
    to(host, "a", kind="rollback")
    host.broken = frozenset("c")
    with pytest.raises(FloyoError):
        to(host, "c")
    found = {one["release"]: one["state"] for one in info(host)["releases"]}
    assert found == {"a": "good", "b": "left", "c": "failed"}
    facts = info(host, graphs=True, program="abc")
    assert facts["current"]["release"] == "a"
    assert facts["program_digest"] == "abc"
    assert facts["python_tag"] == sys.implementation.cache_tag
    assert 0 < facts["disk_free"] <= facts["disk_total"]


def test_a_look_may_leave_the_application_alone(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    to(host, "a")
    monkeypatch.setattr(host, "fault", lambda *_: pytest.fail("it was asked, and may hang"))
    current = info(host, health=False)["current"]
    assert (current["release"], current["fault"]) == ("a", None)


def test_prune_keeps_what_may_be_needed(host: FakeHost) -> None:
    releases = Path(host.config.root) / "releases"
    for name in ("d", "e", ".staging-f", ".leaving-g"):
        (releases / name).mkdir()
        (releases / name / "release.json").write_text("{}")
    for name in ("a", "b", "c"):
        to(host, name)
    host.broken = frozenset("d")
    with pytest.raises(FloyoError):
        to(host, "d")
    pin(host, "a", "the auditors look at it")
    foreseen = prune(host, keep=1, needed=["e"], check=True)
    assert foreseen == {"changed": True, "removed": ["b", "d"], "kept": ["a", "c", "e"]}
    assert prune(host, keep=1, needed=["e"]) == foreseen
    assert sorted(path.name for path in releases.iterdir()) == ["a", "c", "e"]
    assert not prune(host, keep=1, needed=["e"])["changed"]
    assert unpin(host, "a")["changed"]
    assert not unpin(host, "a")["changed"]
    assert prune(host, keep=0)["removed"] == ["a", "e"]
    assert host.linked() == "c", "what runs never goes"
    with pytest.raises(FloyoError, match="gone is not on this host"):
        pin(host, "gone", "x")


def test_releases_that_failed_count_for_nothing_when_pruning() -> None:
    entries = [
        {"to": name, "from": None, "outcome": outcome, "sequence": number}
        for number, (name, outcome) in enumerate(
            [("a", "switched"), ("b", "switched"), ("c", "reverted"), ("d", "reverted"), ("e", "switched")]
        )
    ]
    assert superfluous(["a", "b", "c", "d", "e"], entries, keep=3, needed=[]) == ["c", "d"]


def test_what_pruning_foresees_before_a_switch_is_true_after_it(host: FakeHost) -> None:
    for name in ("a", "b"):
        to(host, name)
    foreseen = prune(host, keep=2, needed=["c", "b"], check=True)
    assert foreseen["removed"] == ["a"]
    to(host, "c")
    assert prune(host, keep=2, needed=["c", "b"]) == foreseen


def test_one_at_a_time_works_on_the_releases(host: FakeHost) -> None:
    with tree_lock(host), pytest.raises(FloyoError, match="another build"), tree_lock(host):
        raise AssertionError
    with tree_lock(host):
        assert sweep(host) == []


def test_rollback_goes_to_the_newest_proven_release_and_never_to_a_bad_one(host: FakeHost) -> None:
    to(host, "a")
    to(host, "b")
    host.broken = frozenset("c")
    with pytest.raises(FloyoError):
        to(host, "c")
    assert previous_good(history(host), "b") == "a"
    assert previous_good(history(host), "a") == "b"
    assert previous_good([], None) is None


def test_a_program_of_other_sources_says_so_before_it_does_anything(tmp_path: Path) -> None:
    program = tmp_path / "p.pyz"
    subprocess.run([sys.executable, str(ROOT / "scripts" / "pack_host_program"), str(program)], check=True)
    done = subprocess.run([sys.executable, "-I", str(program), "--digest", "0" * 64, "status"], check=False)
    assert done.returncode == OUTDATED


def test_the_packed_program_is_the_same_each_time_and_runs_alone(tmp_path: Path) -> None:
    digests = set()
    for name in ("one.pyz", "two.pyz"):
        packed = subprocess.run(
            [sys.executable, str(ROOT / "scripts" / "pack_host_program"), str(tmp_path / name)],
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(packed.stdout)
    assert len(digests) == 1
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "one.pyz"), "--json", "--config", str(tmp_path / "no"), "status"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == "CONFIG_UNUSABLE"


def test_the_program_holds_what_it_imports_and_nothing_else(tmp_path: Path) -> None:
    source = ROOT / "module_utils" / "floyo"
    program = tmp_path / "p.pyz"
    subprocess.run([sys.executable, str(ROOT / "scripts" / "pack_host_program"), str(program)], check=True)
    with zipfile.ZipFile(program) as archive:
        packed = {name for name in archive.namelist() if name.startswith("floyo/")}
    # The helper is read and sent to another Python.
    wanted = {*imported(source / "hostprog" / "cli.py", source), source / "migrations" / "helper.py"}
    assert packed == {f"floyo/{path.relative_to(source)}" for path in wanted}


def imported(path: Path, source: Path, known: set[Path] | None = None) -> set[Path]:
    """``path`` and what it imports of the package at ``source``, at its beginning or later, with the packages around."""
    known = set() if known is None else known
    if path in known:
        return known
    known |= {path, *(parent / "__init__.py" for parent in path.parents if parent.is_relative_to(source))}
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.level:
            package = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for found in (package.with_suffix(".py"), *(package / f"{name.name}.py" for name in node.names)):
                if found.is_file():
                    imported(found, source, known)
    return known


def test_the_program_is_unpacked_once_where_byte_code_is_kept(tmp_path: Path) -> None:
    program, kept = tmp_path / "p.pyz", tmp_path / "p.pyz.d"

    def ask() -> tuple[str, dict[Path, int]]:
        words = [sys.executable, "-I", str(program), "--json", "--config", str(tmp_path / "no"), "status"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return json.loads(done.stdout)["code"], {path: path.stat().st_mtime_ns for path in kept.rglob("*.py*")}

    subprocess.run([sys.executable, str(ROOT / "scripts" / "pack_host_program"), str(program)], check=True)
    code, first = ask()
    assert code == "CONFIG_UNUSABLE"
    assert {path.name.partition(".")[0] for path in first if path.suffix == ".pyc"} >= {"cli", "host", "switch"}
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in first)
    assert ask() == ("CONFIG_UNUSABLE", first)
    # Another program: what was kept of the one before goes.
    subprocess.run([sys.executable, str(ROOT / "scripts" / "pack_host_program"), str(program)], check=True)
    code, second = ask()
    assert code == "CONFIG_UNUSABLE"
    assert not set(first) & set(second)
    assert len(list(kept.iterdir())) == 1


@pytest.mark.parametrize("left", ["nothing", "a file in the way"])
def test_where_it_cannot_be_unpacked_the_program_runs_all_the_same(left: str, tmp_path: Path) -> None:
    program = tmp_path / "p.pyz"
    subprocess.run([sys.executable, str(ROOT / "scripts" / "pack_host_program"), str(program)], check=True)
    (tmp_path / "p.pyz.d").write_text("") if left != "nothing" else tmp_path.chmod(0o500)
    words = [sys.executable, "-I", str(program), "--json", "--config", str(tmp_path / "no"), "status"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (json.loads(done.stdout)["code"], done.stderr) == ("CONFIG_UNUSABLE", "")


def test_the_program_keeps_the_lease_too(tmp_path: Path) -> None:
    program = tmp_path / "floyo-release"
    subprocess.run([sys.executable, ROOT / "scripts" / "pack_host_program", program], check=True)

    def lease(state: str, **more: Any) -> dict[str, Any]:
        options = {"state_dir": str(tmp_path), "holder": "me", "reason": "", "ttl": 900.0, "minimum_token": 3,
                   "takeover": False, "takeover_from": "", "takeover_token": None, "wait": 0.0, "token": None, **more}  # fmt: skip
        words = [sys.executable, "-I", str(program), "--json", "lease", state, json.dumps(options)]
        return dict(json.loads(subprocess.run(words, capture_output=True, text=True, check=False).stdout))

    assert lease("acquired")["token"] == 4
    assert lease("acquired", holder="you")["code"] == "LEASE_HELD"
    assert lease("released", token=4)["changed"]
    assert not lease("info")["held"]
