"""Action plugin floyo_release: what it asks of a host, with a host that answers from a list and a module that records."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from ansible.module_utils.floyo.controller import program_digest

ROOT = Path(__file__).resolve().parents[2]
BYTES = b"the artifact"
ARTIFACT = {
    "path": "/var/lib/floyo/build/artifacts/v1-00000000.tar.zst",
    "sha256": hashlib.sha256(BYTES).hexdigest(),
    "size": len(BYTES),
}
INFO = {"changed": False, "clock": 1000.0, "current": {"release": "v1-00000000"}}


@pytest.fixture(scope="module")
def plugin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("floyo_release_action", ROOT / "plugins/action/floyo_release.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Shell:
    tmpdir: str | None = None

    @staticmethod
    def join_path(*parts: str) -> str:
        return "/".join(parts)


class Connection:
    """Knows what is asked of it; what is fetched has ``content``."""

    def __init__(self) -> None:
        self._shell = Shell()
        self.fetched: list[str] = []
        self.content = BYTES

    def has_option(self, name: str) -> bool:
        return name == "remote_user"

    def get_option(self, name: str) -> str:
        return "anna"

    def fetch_file(self, remote: str, local: str) -> None:
        self.fetched.append(remote)
        Path(local).write_bytes(self.content)


@pytest.fixture
def action(plugin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plugin without Ansible: ``answers`` of the host, ``results`` of the module, and what was asked of both."""
    made: Any = object.__new__(plugin.ActionModule)
    made._connection = Connection()
    made._task = SimpleNamespace(args={}, check_mode=False)
    made._play_context = SimpleNamespace(become=True)
    made.answers, made.commands, made.results, made.modules, made.sent, made.removed = [], [], [], [], [], []

    def low_level(command: str, sudoable: bool = True) -> dict[str, Any]:
        assert sudoable
        made.commands.append(shlex.split(command))
        return {"rc": 0, "stdout": "", "stderr": "", **made.answers.pop(0)}

    def module(module_name: str, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        assert module_name == "floyo_release"
        made.modules.append(module_args)
        return dict(made.results.pop(0))

    def make_tmp() -> None:
        made._connection._shell.tmpdir = "/tmp/ansible-1"

    monkeypatch.setattr(made, "_low_level_execute_command", low_level, raising=False)
    monkeypatch.setattr(made, "_execute_module", module, raising=False)
    monkeypatch.setattr(made, "_make_tmp_path", make_tmp, raising=False)
    monkeypatch.setattr(made, "_remove_tmp_path", made.removed.append, raising=False)
    monkeypatch.setattr(made, "_transfer_file", lambda *words: made.sent.append(words), raising=False)
    monkeypatch.setattr(plugin.ActionBase, "run", lambda *_: {})
    return made


def run(action: Any, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
    action._task.args, action._task.check_mode = arguments, check
    result: dict[str, Any] = action.run(None, {})
    assert action.answers == []
    assert action.results == []
    return result


# --- the short way ---------------------------------------------------------------------------------------------------


def test_info_is_one_command_and_no_module(action: Any, plugin: ModuleType) -> None:
    action.answers = [{"stdout": json.dumps(INFO)}]
    config = "/etc/my app/floyo-release.json"
    result = run(action, state="info", config=config, graphs=True)
    head = ["/usr/bin/floyo-release", "--json", "--digest", program_digest()]
    assert action.commands == [[*head, "--config", config, "info", "--graphs"]]
    assert result["current"] == {"release": "v1-00000000"}
    assert "failed" not in result
    assert action.modules == []
    assert action._connection._shell.tmpdir is None, "a directory on the host would be two more commands"


def test_a_look_without_health_does_not_wait_for_an_application_that_hangs(action: Any, plugin: ModuleType) -> None:
    action.answers = [{"stdout": json.dumps(INFO)}]
    run(action, state="info", health="no")
    assert action.commands[0][-2:] == ["info", "--without-health"]


def test_the_clock_is_compared_with_the_middle_of_the_exchange(
    action: Any, plugin: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([1000.0, 1004.0])
    monkeypatch.setattr(plugin.time, "time", lambda: next(times))
    action.answers = [{"stdout": json.dumps({**INFO, "clock": 1062.0})}]
    result = run(action, state="info")
    assert (result["clock_offset"], result["clock_doubt"]) == (60.0, 2.0)


def test_the_program_must_be_the_one_that_these_sources_make(plugin: ModuleType, tmp_path: Path) -> None:
    packed = tmp_path / "p.pyz"
    subprocess.run([sys.executable, str(ROOT / "scripts" / "pack_host_program"), str(packed)], check=True)
    assert program_digest() == hashlib.sha256(packed.read_bytes()).hexdigest()


def test_a_switch_quotes_what_people_write(action: Any) -> None:
    reason = 'it\'s broken; $(reboot) `x` "y" * ü'
    action.answers = [{"stdout": '{"changed": true, "outcome": "switched"}'}]
    result = run(
        action, state="switched", release="v1-00000000", token=7, holder="a@b pid 1", reason=reason, kind="rollback"
    )
    assert action.commands[0][4:] == [
        "switch", "v1-00000000", "--token=7", "--holder=a@b pid 1", f"--reason={reason}", "--kind=rollback"
    ]  # fmt: skip
    assert result == {"changed": True, "outcome": "switched"}


def test_what_is_not_given_is_not_said(action: Any) -> None:
    action.answers = [{"stdout": "{}"}]
    run(action, state="switched", release="v1-00000000", token=None, reason="")
    assert action.commands[0][4:] == ["switch", "v1-00000000"]


def test_check_mode_is_the_program_s_too(action: Any) -> None:
    action.answers = [{"stdout": '{"changed": true}'}]
    run(action, state="switched", release="v1-00000000", check=True)
    assert action.commands[0][4:6] == ["--check", "switch"]


@pytest.mark.parametrize("needed", [["a", "b c"], "a, b c"])
def test_pruning_names_what_stays(action: Any, needed: Any) -> None:
    action.answers = [{"stdout": "{}"}]
    run(action, state="pruned", keep=3, needed=needed)
    assert action.commands[0][4:] == ["prune", "--keep", "3", "--needed", "a", "--needed", "b c"]


@pytest.mark.parametrize(
    "answer",
    [
        {"rc": 127, "stderr": "sh: floyo-release: not found"},
        {"rc": 126, "stderr": "permission denied"},
        {"rc": 3},
        {"rc": 2, "stderr": "usage"},
        {"rc": 1, "stderr": "Traceback"},
        {"rc": 0, "stdout": ""},
        {"rc": 0, "stdout": "{half"},
        {"rc": 0, "stdout": "4"},
        {"rc": 0, "stdout": '["info"]'},
    ],
    ids=["missing", "forbidden", "outdated", "too old to understand", "crashed", "silent", "cut", "number", "list"],
)
@pytest.mark.parametrize("state", ["info", "pruned"])
def test_without_a_program_that_answers_the_module_does_it(action: Any, answer: dict[str, Any], state: str) -> None:
    action.answers, action.results = [answer], [{"changed": False, "by": "module"}]
    assert run(action, state=state, config="/c")["by"] == "module"
    assert action.modules == [{"state": state, "config": "/c"}]


def test_a_login_message_does_not_disturb(action: Any) -> None:
    action.answers = [{"stdout": "Welcome!\r\n\r\n" + json.dumps(INFO) + "\r\n"}]
    assert run(action, state="info")["current"]["release"] == "v1-00000000"


@pytest.mark.parametrize("outcome", ["reverted", None])
def test_a_failure_that_the_program_explains_is_the_answer(action: Any, outcome: str | None) -> None:
    told = {"msg": "v2 is not ready. Next: read log_tail.", "code": "SWITCH_REVERTED", "log_tail": ["boom"]}
    action.answers = [{"rc": 1, "stdout": json.dumps({**told, **({"outcome": outcome} if outcome else {})})}]
    result = run(action, state="switched", release="v2-00000000")
    assert result["failed"]
    assert result["changed"] == (outcome == "reverted")
    assert {key: result[key] for key in told} == told
    assert action.modules == [], "the module would do the same again"


@pytest.mark.parametrize(
    "arguments",
    [{"release": "previous"}, {}, {"release": ""}, {"release": "v1-00000000", "surprise": 1}],
    ids=["previous", "no release", "an empty release", "an argument the program does not know"],
)
def test_what_the_program_cannot_say_goes_to_the_module(action: Any, arguments: dict[str, Any]) -> None:
    action.results = [{"changed": True}]
    run(action, state="switched", **arguments)
    assert action.modules == [{"state": "switched", **arguments}]


# --- the artifact ----------------------------------------------------------------------------------------------------

BUILT = {"changed": True, "release": "v1-00000000", "artifact": ARTIFACT}


def test_a_build_brings_the_artifact_once(action: Any, tmp_path: Path) -> None:
    kept = tmp_path / "deep" / "artifacts" / "v1-00000000.tar.zst"
    action.results, action.answers = [BUILT], [{}]
    assert run(action, state="built", fetched=str(kept.parent)) == BUILT
    assert action.commands == [
        ["install", "-m", "0600", "-o", "anna", ARTIFACT["path"], "/tmp/ansible-1/artifact"],
    ]
    assert action._connection.fetched == ["/tmp/ansible-1/artifact"]
    assert kept.read_bytes() == BYTES
    assert action.removed == ["/tmp/ansible-1"]
    action.results = [BUILT]
    run(action, state="built", fetched=str(kept.parent))
    assert len(action._connection.fetched) == 1
    kept.write_bytes(b"damaged meanwhile")
    action.results, action.answers = [BUILT], [{}]
    run(action, state="built", fetched=str(kept.parent))
    assert kept.read_bytes() == BYTES


@pytest.mark.parametrize(
    ("result", "arguments", "check"),
    [
        ({"failed": True, "msg": "TESTS"}, {}, False),
        ({"changed": True, "release": "", "artifact": {}}, {}, True),
        (BUILT, {}, True),
        (BUILT, {"artifact_url": "https://files.example/{artifact}"}, False),
    ],
    ids=["failed", "not known yet", "check mode", "hosts fetch it themselves"],
)
def test_nothing_is_brought_when(
    action: Any, tmp_path: Path, result: dict[str, Any], arguments: dict[str, Any], check: bool
) -> None:
    action.results = [result]
    assert run(action, state="built", fetched=str(tmp_path), check=check, **arguments) == result
    assert action.commands == []
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_fetch_is_an_error_and_leaves_nothing(action: Any, tmp_path: Path) -> None:
    action.results, action.answers = [BUILT], [{}]
    action._connection.content = b"half of th"
    with pytest.raises(AnsibleActionFail, match="came damaged from the build host"):
        run(action, state="built", fetched=str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert action.removed == ["/tmp/ansible-1"]


def test_an_artifact_that_cannot_be_read_on_the_build_host_is_an_error(action: Any, tmp_path: Path) -> None:
    action.results, action.answers = [BUILT], [{"rc": 1, "stderr": "install: no space left\n"}]
    with pytest.raises(AnsibleActionFail, match="no space left"):
        run(action, state="built", fetched=str(tmp_path))


def test_old_artifacts_go_from_the_controller(action: Any, plugin: ModuleType, tmp_path: Path) -> None:
    for number in range(plugin._KEPT + 3):
        old = tmp_path / f"v0-{number:08}.tar.zst"
        old.touch()
        os.utime(old, (number, number))
    action.results, action.answers = [BUILT], [{}]
    run(action, state="built", fetched=str(tmp_path))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == plugin._KEPT
    assert names[-1] == "v1-00000000.tar.zst"
    assert "v0-00000003.tar.zst" not in names


STAGE: dict[str, Any] = {"state": "staged", "manifest": {"release": "v1-00000000"}, "artifact": ARTIFACT}


def test_a_host_that_has_the_release_is_sent_nothing(action: Any, tmp_path: Path) -> None:
    action.results = [{"changed": False, "needs_artifact": False}]
    run(action, **STAGE, fetched=str(tmp_path))
    assert action.sent == []
    assert len(action.modules) == 1


def test_a_host_that_needs_the_artifact_gets_it_and_unpacks_it(action: Any, tmp_path: Path) -> None:
    kept = tmp_path / "v1-00000000.tar.zst"
    kept.write_bytes(BYTES)
    action.results = [{"changed": True, "needs_artifact": True}, {"changed": True, "needs_artifact": False}]
    assert run(action, **STAGE, fetched=str(tmp_path))["needs_artifact"] is False
    assert action.sent == [(str(kept), "/tmp/ansible-1/v1-00000000.tar.zst")]
    assert action.modules[1]["source"] == "/tmp/ansible-1/v1-00000000.tar.zst"
    assert action.removed == ["/tmp/ansible-1"]


def test_a_host_that_fetches_itself_is_sent_nothing(action: Any, tmp_path: Path) -> None:
    action.results = [{"changed": True, "needs_artifact": True}]
    run(action, **STAGE, fetched=str(tmp_path), artifact_url="https://files.example/a")
    assert action.sent == []


@pytest.mark.parametrize(("arguments", "message"), [({}, "needs fetched"), ({"fetched": "/nowhere"}, "run the build")])
def test_an_artifact_that_the_controller_has_not_is_an_error(
    action: Any, arguments: dict[str, Any], message: str
) -> None:
    action.results = [{"changed": True, "needs_artifact": True}]
    with pytest.raises(AnsibleActionFail, match=message):
        run(action, **STAGE, **arguments)


def test_a_failed_stage_is_carried_over(action: Any, tmp_path: Path) -> None:
    failed = {"failed": True, "msg": "no room", "code": "DISK_FULL"}
    action.results = [failed]
    assert run(action, **STAGE, fetched=str(tmp_path)) == failed


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_the_repository_s_password_travels_where_no_log_shows_it(action: Any) -> None:
    action.results = [{"failed": True}]
    run(action, state="built", repository="https://ci:hunter22@git.example/f.git", version="v1")
    assert action.modules == [
        {"state": "built", "repository": "https://git.example/f.git", "credentials": "ci:hunter22", "version": "v1"}
    ]
    import floyo_release

    assert floyo_release.SPEC["credentials"]["no_log"], "the module itself says so to Ansible"


def test_an_address_without_a_password_stays_as_it_is(action: Any) -> None:
    action.results = [{"failed": True}]
    run(action, state="built", repository="git@git.example:f.git", version="v1")
    assert action.modules == [{"state": "built", "repository": "git@git.example:f.git", "version": "v1"}]
