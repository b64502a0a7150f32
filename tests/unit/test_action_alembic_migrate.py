"""Action plugin alembic_migrate: squawk's part of the verdict, and the way of a new revision's file."""

from __future__ import annotations

import importlib.util
import json
import stat
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ansible.module_utils.floyo.errors import Unusable
from ansible.module_utils.floyo.migrations import squawk

ROOT = Path(__file__).resolve().parents[2]
TABLE = {"name": "public.users", "rows": 50, "bytes": 16384}


@pytest.fixture(scope="module")
def plugin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("alembic_migrate_action", ROOT / "plugins/action/alembic_migrate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def action(plugin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plugin without Ansible: ``answer`` is what the module on the host returns."""
    made: Any = object.__new__(plugin.ActionModule)
    made._connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None))
    made._task = SimpleNamespace(args={}, check_mode=False)
    made.answer, made.given = {}, []

    def execute(module_name: str, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        assert module_name == "alembic_migrate"
        made.given.append(module_args)
        return dict(made.answer)

    monkeypatch.setattr(made, "_execute_module", execute, raising=False)
    monkeypatch.setattr(made, "_remove_tmp_path", lambda path: None, raising=False)
    monkeypatch.setattr(plugin.ActionBase, "run", lambda self, tmp, task_vars: {})
    return made


def linted(sql: str, kind: str = "expand") -> dict[str, Any]:
    script = {"revision": "aaaa", "sql": sql, "renderable": True, "reason": "", "class": kind}
    return {
        "sql": [script],
        "rows": [{"revision": "aaaa", "verdict": "pass"}],
        "lint": {"verdict": "pass", "revisions": []},
        "live": {"tables": {"users": TABLE}, "indexes": {}, "holders": {}},
        "server_major": 15,
    }


def test_the_sizes_temper_squawk(action: Any) -> None:
    action.answer = linted("CREATE INDEX i ON users (name);")
    result = action.run()
    assert result["lint"]["verdict"] == "pass"
    found = result["lint"]["revisions"][0]["findings"]
    assert any(entry["rule"] == "require-concurrent-index-creation" for entry in found), found
    action._task.args = {"limits": {"rows": 10}}
    assert action.run()["rows"][0]["verdict"] == "fail"
    assert "live" not in result


def test_squawk_finds_what_the_class_did_not(action: Any) -> None:
    action.answer = linted("BEGIN;\n\nALTER TABLE users DROP COLUMN name;\n\nCOMMIT;")
    result = action.run()
    assert (result["lint"]["verdict"], result["rows"][0]["verdict"]) == ("warn", "warn")
    assert "ban-drop-column" in str(result["lint"])


def test_without_squawk_no_verdict_is_a_good_one(action: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(squawk.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    action.answer = linted("ALTER TABLE users ADD x int;")
    result = action.run()
    assert "failed" not in result
    assert (result["lint"]["verdict"], result["rows"][0]["verdict"]) == ("warn", "pass")
    assert "squawk is not installed on the controller (" in result["lint"]["squawk"]
    action._task.args = {"limits": {"rows": 10}}
    action.answer = linted("CREATE INDEX i ON users (name);")
    assert action.run()["lint"]["verdict"] == "fail", "the live tables are judged all the same"
    action.answer = {**linted(""), "sql": [], "rows": []}
    assert action.run()["lint"]["squawk"] == "", "nothing is pending: nobody misses it"


@pytest.mark.parametrize("text", ["exit 2", "echo no JSON", "echo '[{\"line\": 1}]'", "kill -9 $$"])
def test_a_linter_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    program = tmp_path / "squawk"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setattr(squawk.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(Unusable, match="no answer that can be read"):
        squawk.violations_of([linted("SELECT 1;")["sql"][0]], server_major=15)


def test_the_real_linter_knows_the_line() -> None:
    (found,) = [
        one
        for one in squawk.violations_of([linted("BEGIN;\n\nDROP TABLE users;\nCOMMIT;")["sql"][0]], server_major=15)[
            "aaaa"
        ]
        if one["rule"] == "ban-drop-table"
    ]
    assert found["line"] == 2
    assert Path(sys.executable).with_name("squawk").exists()


def test_other_states_and_failures_pass_through(action: Any) -> None:
    action._task.args = {"state": "head"}
    for answer in ({"changed": True}, {"failed": True, "msg": "no", "lint": {}}):
        action.answer = answer
        assert action.run() == answer
    assert action.given == [{"state": "head"}] * 2


@pytest.fixture
def lines(action: Any, plugin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The plugin with a module that takes a while and writes ``action.told`` meanwhile, one after the other; what is shown."""
    shown: list[str] = []
    told = [
        "",
        "no JSON",
        json.dumps({"text": "aaaa: 10 %"}),
        json.dumps({"text": "aaaa: 10 %"}),
        json.dumps({"text": "aaaa: \x1b[2J50 %"}),
    ]
    ended = threading.Event()

    def execute(module_name: str, module_args: Any, task_vars: Any) -> dict[str, Any]:
        ended.wait(30 if action.long else 0)
        return {"changed": True}

    def command(cmd: str, sudoable: bool) -> dict[str, Any]:
        assert cmd == "cat /state/migration.json 2>/dev/null || true"
        if not told:
            ended.set()
            raise OSError("the connection is gone")
        return {"stdout": told.pop(0)}

    monkeypatch.setattr(action, "_execute_module", execute, raising=False)
    monkeypatch.setattr(action, "_low_level_execute_command", command, raising=False)
    monkeypatch.setattr(plugin, "_FIRST", 0.01)
    monkeypatch.setattr(plugin, "_EVERY", 0.01)
    monkeypatch.setattr(plugin.display, "display", lambda text, color: shown.append(text.strip(". ")))
    action.long = True
    return shown


def test_how_far_a_run_is_comes_to_the_controller(action: Any, lines: list[str]) -> None:
    action._task.args = {"state": "head", "progress": "/state/migration.json"}
    assert action.run() == {"changed": True}
    assert lines == ["aaaa: 10 %", "aaaa: 50 %"]


@pytest.mark.parametrize(
    ("arguments", "check"),
    [
        ({"state": "head"}, False),
        ({"state": "preview", "progress": "/p"}, False),
        ({"state": "head", "progress": "/p"}, True),
    ],
)
def test_nobody_looks_where_nothing_runs(action: Any, lines: list[str], arguments: Any, check: bool) -> None:
    action._task.args, action._task.check_mode, action.long = arguments, check, False
    assert action.run() == {"changed": True}
    assert lines == []


def test_a_new_file_comes_to_the_controller_once(action: Any, tmp_path: Path) -> None:
    target = tmp_path / "new" / "0007_more.py"
    action.answer = {"changed": True, "file": "migrations/versions/0007_more.py", "content": "revision = '0007'\n"}
    action._task.args = {"state": "generated", "fetched": str(target.parent)}
    action._task.check_mode = True
    assert action.run()["fetched"] == str(target)
    assert not target.exists()
    action._task.check_mode = False
    assert action.run()["fetched"] == str(target)
    assert target.read_text() == "revision = '0007'\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert action.run()["code"] == "FILE_EXISTS"
    assert action.given[0] == {"state": "generated"}


def test_a_file_cannot_leave_its_directory(action: Any, tmp_path: Path) -> None:
    action.answer = {"changed": True, "file": "../../evil.py", "content": "x\n"}
    action._task.args = {"state": "generated", "fetched": str(tmp_path)}
    assert action.run()["fetched"] == str(tmp_path / "evil.py")


@pytest.fixture
def quick(action: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plugin on a host whose program answers with ``said``, an exit status and what it prints."""
    action._connection.has_pipelining = True
    action._task.args = {"state": "info", "release_dir": "/srv/x", "database_url": "postgresql://u:secret@h/d"}
    action.said, action.asked = (0, '{"status": "at", "current": ["aaaa"]}'), []

    def low_level(command: str, sudoable: bool, in_data: bytes) -> dict[str, Any]:
        action.asked.append((command, json.loads(in_data)))
        return {"rc": action.said[0], "stdout": action.said[1], "stderr": ""}

    monkeypatch.setattr(action, "_low_level_execute_command", low_level, raising=False)
    action.answer = {"status": "by the module"}
    return action


def test_the_host_program_looks_and_the_address_is_no_word_of_a_command(quick: Any) -> None:
    assert quick.run()["current"] == ["aaaa"]
    ((command, sent),) = quick.asked
    assert command.endswith(" migrations")
    assert "secret" not in command
    assert sent["database_url"] == "postgresql://u:secret@h/d"
    assert sent["version_table"] == "alembic_version", "what is not said has the module's default"
    assert quick.given == []


def test_what_the_host_program_refuses_is_a_failure(quick: Any) -> None:
    quick.said = (1, '{"code": "DATABASE_UNREACHABLE", "msg": "no"}')
    assert quick.run()["failed"]
    assert quick.given == []


@pytest.mark.parametrize("said", [(3, ""), (127, ""), (2, "usage"), (1, "Traceback"), (0, "[]")])
def test_without_a_program_that_answers_the_module_looks(quick: Any, said: tuple[int, str]) -> None:
    quick.said = said
    assert quick.run()["status"] == "by the module"


def test_where_nothing_can_be_sent_beside_a_command_the_module_looks(quick: Any) -> None:
    quick._connection.has_pipelining = False
    assert quick.run()["status"] == "by the module"
    assert quick.asked == []


@pytest.mark.parametrize("state", ["head", "preview", "linted", "verified"])
def test_only_a_look_is_the_program_s(quick: Any, state: str) -> None:
    quick._task.args["state"] = state
    quick.answer = {"status": "by the module"}
    assert quick.run()["status"] == "by the module"
    assert quick.asked == []
