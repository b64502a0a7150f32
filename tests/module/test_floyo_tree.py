"""floyo_tree: four runs for every state (check, real, check again, real again), and what it refuses."""

from __future__ import annotations

import base64
import grp
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

USER = pwd.getpwuid(os.geteuid()).pw_name
GROUP = grp.getgrgid(os.getegid()).gr_name
MINE = {"owner": USER, "group": GROUP}


def described(place: Path, text: str = "one\n") -> dict[str, Any]:
    return {
        "directories": [{"path": str(place / "d" / "e"), "mode": "0750", **MINE}],
        "files": [
            {"path": str(place / "d" / "e" / "f"), "content": text, "mode": "0640", **MINE},
            {"path": str(place / "new" / "b"), "content_base64": base64.b64encode(b"\xff\x00").decode(), **MINE},
        ],
        "links": [{"path": str(place / "link"), "target": "d/e/f"}],
    }


def test_everything_appears_once(run_module: Callable[..., Any], tmp_path: Path) -> None:
    arguments = described(tmp_path)
    expected = [str(tmp_path / name) for name in ("d/e", "d/e/f", "new/b", "link")]

    predicted = run_module("floyo_tree", arguments, check=True)
    assert (predicted["changed"], predicted["paths"]) == (True, expected)
    assert list(tmp_path.iterdir()) == []

    done = run_module("floyo_tree", arguments)
    assert (done["changed"], done["paths"], done["diff"]) == (True, expected, predicted["diff"])
    assert stat.S_IMODE((tmp_path / "d/e").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "d/e/f").stat().st_mode) == 0o640
    assert (tmp_path / "link").read_text() == "one\n"
    assert (tmp_path / "new/b").read_bytes() == b"\xff\x00"

    for check in (True, False):
        again = run_module("floyo_tree", arguments, check=check)
        assert (again["changed"], again["paths"], again["diff"]) == (False, [], [])


def test_only_what_differs_changes_and_is_shown(run_module: Callable[..., Any], tmp_path: Path) -> None:
    run_module("floyo_tree", described(tmp_path))
    file = tmp_path / "d/e/f"
    file.chmod(0o600)
    result = run_module("floyo_tree", described(tmp_path, "two\n"), check=True, diff=True)
    assert result["paths"] == [str(file)]
    attributes, text = result["diff"]
    assert (attributes["before"], attributes["after"]) == ("mode: 0600\n", "mode: 0640\n")
    assert (text["before"], text["after"]) == ("one\n", "two\n")
    assert file.read_text() == "one\n"
    run_module("floyo_tree", described(tmp_path, "two\n"))
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("two\n", 0o640)


def test_a_link_is_turned_without_a_gap(run_module: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    result = run_module("floyo_tree", {"links": [{"path": str(tmp_path / "link"), "target": "here"}]})
    assert result["changed"]
    assert (tmp_path / "link").readlink() == Path("here")
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_a_refused_file_changes_nothing(run_module: Callable[..., Any], tmp_path: Path) -> None:
    arguments = described(tmp_path)
    arguments["files"][1]["validate"] = ["sh", "-c", 'echo "line 1 of $0 is wrong"; exit 3', "%s"]
    result = run_module("floyo_tree", arguments)
    assert (result.rc, result["code"]) == (1, "FILE_REFUSED")
    assert f"line 1 of {tmp_path}/new/b is wrong" in result["msg"]
    assert list(tmp_path.iterdir()) == []


def test_an_accepted_file_is_judged_as_it_will_be(run_module: Callable[..., Any], tmp_path: Path) -> None:
    arguments = {
        "files": [{"path": str(tmp_path / "f"), "content": "good\n", **MINE, "validate": ["grep", "good", "%s"]}]
    }
    assert run_module("floyo_tree", arguments)["changed"]


def test_an_unknown_owner_is_predicted_and_then_refused(run_module: Callable[..., Any], tmp_path: Path) -> None:
    arguments = {
        "files": [{"path": str(tmp_path / "f"), "content": "", "owner": "nobody-of-that-name", "group": GROUP}]
    }
    assert run_module("floyo_tree", arguments, check=True)["changed"]
    result = run_module("floyo_tree", arguments)
    assert (result.rc, result["code"]) == (1, "UNKNOWN_OWNER")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["directories", "files", "links"])
def test_another_kind_of_thing_is_left_alone(run_module: Callable[..., Any], tmp_path: Path, kind: str) -> None:
    place = tmp_path / "x"
    if kind == "directories":
        place.write_text("kept")
    else:
        place.mkdir()
    extra = {"directories": MINE, "files": {"content": "", **MINE}, "links": {"target": "t"}}[kind]
    result = run_module("floyo_tree", {kind: [{"path": str(place), **extra}]})
    assert (result.rc, result["code"]) == (1, "WRONG_KIND")
    assert place.exists()


def test_a_bad_mode_is_named(run_module: Callable[..., Any], tmp_path: Path) -> None:
    result = run_module("floyo_tree", {"directories": [{"path": str(tmp_path / "d"), "mode": "rwx", **MINE}]})
    assert result.rc == 1
    assert "'rwx' is no file mode" in result["msg"]
