"""What is installed: read from pip's report, uv's export and the project's own requirements files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.release.environment import Locked, _cause, _raised, expanded, lock_of, run_tests
from ansible.module_utils.floyo.release.process import Log

DIGEST = "ab" * 32


def item(name: str, version: str = "1.0", *, direct: bool = False, **source: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "version": version}, "download_info": source, "is_direct": direct}


def wheel(name: str, **more: Any) -> dict[str, Any]:
    return item(name, url=f"https://files.example/{name}.whl", archive_info={"hashes": {"sha256": DIGEST}}, **more)


def locked(project: Path, *items: dict[str, Any]) -> Locked:
    return Locked.from_report({"install": list(items)}, project)


def test_packages_of_an_index_are_pinned_by_version_and_hash_in_a_fixed_order(tmp_path: Path) -> None:
    found = locked(tmp_path, wheel("uvicorn"), wheel("click"))
    assert found.hashed == [f"click==1.0 --hash=sha256:{DIGEST}", f"uvicorn==1.0 --hash=sha256:{DIGEST}"]
    assert (found.other, found.local) == ([], [])
    assert found.text() == locked(tmp_path, wheel("click"), wheel("uvicorn")).text()
    assert found.reusable


def test_an_older_pip_names_the_hash_in_another_place(tmp_path: Path) -> None:
    old = item("h11", url="https://files.example/h11.whl", archive_info={"hash": f"sha256={DIGEST}"})
    assert locked(tmp_path, old).hashed == [f"h11==1.0 --hash=sha256:{DIGEST}"]


def test_an_archive_by_its_address_keeps_the_address(tmp_path: Path) -> None:
    assert locked(tmp_path, wheel("x", direct=True)).hashed == [
        f"x @ https://files.example/x.whl --hash=sha256:{DIGEST}"
    ]


def test_a_package_of_a_repository_is_pinned_to_the_commit(tmp_path: Path) -> None:
    vcs = {"vcs": "git", "requested_revision": "main", "commit_id": "c" * 40}
    plain = item("one", url="https://git.example/one.git", vcs_info=vcs, direct=True)
    below = item("two", url="https://git.example/two.git", vcs_info=vcs, subdirectory="py", direct=True)
    assert locked(tmp_path, below, plain).other == [
        f"one @ git+https://git.example/one.git@{'c' * 40}",
        f"two @ git+https://git.example/two.git@{'c' * 40}#subdirectory=py",
    ]


def test_directories_of_the_project_are_installed_from_the_release(tmp_path: Path) -> None:
    (tmp_path / "lib a").mkdir()
    own = item("a", url=f"{(tmp_path / 'lib a').as_uri()}", dir_info={}, direct=True)
    project = item("app", url=tmp_path.as_uri(), dir_info={"editable": True}, direct=True)
    found = locked(tmp_path, own, project)
    assert [tuple(entry) for entry in found.local] == [("a", "lib a", False), ("app", ".", True)]
    assert not found.reusable, "the next commit's directory may require other packages"


def test_a_wheel_in_the_project_is_found_again_at_another_place(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "w.whl").touch()
    archive = {"hashes": {"sha256": DIGEST}}
    own = item("w", url=(tmp_path / "wheels" / "w.whl").as_uri(), archive_info=archive, direct=True)
    found = locked(tmp_path, own)
    assert str(tmp_path) not in found.text()
    assert not found.reusable


@pytest.mark.parametrize("place", ["..", "../elsewhere", "/opt/lib"])
def test_a_directory_outside_of_the_project_is_refused(tmp_path: Path, place: str) -> None:
    outside = (tmp_path / "project" / place).resolve()
    with pytest.raises(FloyoError, match="outside of the project") as caught:
        locked(tmp_path / "project", item("a", url=outside.as_uri(), dir_info={}, direct=True))
    assert caught.value.code == "REQUIREMENTS_FAILED"


def test_every_part_counts_for_the_identity() -> None:
    texts = {
        Locked(["a"], [], []).text(),
        Locked(["b"], [], []).text(),
        Locked(["a"], ["o"], []).text(),
        Locked(["a"], [], [("n", "p", False)]).text(),
        Locked(["a"], [], [("n", "p", True)]).text(),
    }
    assert len(texts) == 5


def test_an_export_of_uv_is_sorted_by_how_pip_may_install_it() -> None:
    pinned = f"click==8.1 ; sys_platform != 'win32' --hash=sha256:{DIGEST}"
    test = f"pytest==8.0 --hash=sha256:{DIGEST}"
    repository = f"x @ git+https://git.example/x@{'c' * 40}"
    found = Locked.from_export([pinned, "-e ./lib", "./plain", repository], [pinned, test])
    assert (found.hashed, found.other) == ([pinned], [repository])
    assert [(path, editable) for _, path, editable in found.local] == [("./lib", True), ("./plain", False)]
    assert found.tests == [test]


# --- the project's files ---------------------------------------------------------------------------------------------


def write(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        (directory / f"{name}.txt").write_text(text)
    return directory / "main.txt"


def test_lines_are_joined_and_comments_dropped(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        main=f"# all\n\nuvicorn==1.0 \\\n    --hash=sha256:{DIGEST} \\\n    --hash=sha256:{DIGEST}\n  # via x\nclick  # why\n",
    )
    assert expanded(path) == [f"uvicorn==1.0 --hash=sha256:{DIGEST} --hash=sha256:{DIGEST}", "click"]


def test_an_address_with_a_fragment_is_no_comment(tmp_path: Path) -> None:
    path = write(tmp_path, main="x @ git+https://git.example/x@v1#subdirectory=py\n")
    assert expanded(path) == ["x @ git+https://git.example/x@v1#subdirectory=py"]


@pytest.mark.parametrize(
    "line", ["-r base.txt", "-rbase.txt", "--requirement base.txt", "--requirement=base.txt", "-r base.txt  # all"]
)
def test_included_files_are_part_of_it(tmp_path: Path, line: str) -> None:
    assert expanded(write(tmp_path, main=f"{line}\nb\n", base="a\n")) == ["a", "b"]


def test_a_constraint_changes_what_is_kept_and_is_no_requirement(tmp_path: Path) -> None:
    lines = expanded(write(tmp_path, main="a\n-c pins.txt\n", pins="a==1\n"))
    assert lines[0] == "a"
    assert any("a==1" in line for line in lines[1:])
    assert "a==1" not in lines
    assert lines != expanded(write(tmp_path, main="a\n-c pins.txt\n", pins="a==2\n"))


def test_a_missing_included_file_is_named_with_the_one_that_includes_it(tmp_path: Path) -> None:
    with pytest.raises(FloyoError, match=r"gone\.txt, which main\.txt includes") as caught:
        expanded(write(tmp_path, main="-r gone.txt\n"))
    assert caught.value.code == "REQUIREMENTS_MISSING"


def test_files_that_include_each_other_come_to_an_end(tmp_path: Path) -> None:
    assert sorted(expanded(write(tmp_path, main="-r base.txt\nb\n", base="-r main.txt\na\n"))) == ["a", "b"]


def test_an_included_address_is_left_to_pip(tmp_path: Path) -> None:
    assert expanded(write(tmp_path, main="-r https://example.org/r.txt\n")) == ["-r https://example.org/r.txt"]


def test_how_a_project_pins_is_seen_from_its_files(tmp_path: Path) -> None:
    hashed = f"a==1 --hash=sha256:{DIGEST}\n"
    write(tmp_path, main="a\n", pinned=hashed, also=hashed, indirect="-r pinned.txt\n")
    assert lock_of(tmp_path, ["main.txt"], "auto") == "none"
    assert lock_of(tmp_path, ["pinned.txt", "also.txt"], "auto") == "pip"
    assert lock_of(tmp_path, ["indirect.txt"], "auto") == "pip"
    assert lock_of(tmp_path, ["pinned.txt", "main.txt"], "auto") == "none", "one file without hashes pins nothing"
    assert lock_of(tmp_path, ["missing.txt"], "auto") == "none"
    assert lock_of(tmp_path, [], "auto") == "none"
    (tmp_path / "uv.lock").touch()
    assert lock_of(tmp_path, ["pinned.txt"], "auto") == "uv"
    assert lock_of(tmp_path, ["pinned.txt"], "none") == "none", "what is said counts more than what is found"


# --- why something failed --------------------------------------------------------------------------------------------


def test_the_cause_is_what_the_last_errors_tell_and_not_the_last_line() -> None:
    output = [
        "Looking in indexes",
        "ERROR: Could not find a version that satisfies the requirement nope",
        "ERROR: No matching distribution found for nope",
        "[notice] A new release of pip is available",
        "hint: something",
    ]
    assert _cause(output) == "; ".join(output[1:3])
    conflict = ["ERROR: Cannot install a==1 and a==2", "ERROR: ResolutionImpossible: for help visit a page"]
    assert _cause(conflict) == conflict[0]
    assert _cause(["one", "two", ""]) == "two"
    assert _cause([]) == "it printed nothing"
    assert len(_cause(["ERROR " + "x" * 5000])) <= 400


def test_the_cause_of_a_failed_import_is_the_exception_with_its_explanation() -> None:
    output = (
        "warning: something\nTraceback (most recent call last):\n  File 'a', line 1\n    import x\n"
        "KeyError: 'inner'\n\nDuring handling of the above exception, another exception occurred:\n\n"
        "Traceback (most recent call last):\n  File 'b', line 2\n    y\n"
        "pydantic.ValidationError: 1 error for Settings\nSECRET_KEY\n  Field required\n"
    )
    told = _raised(output)
    assert told.startswith("pydantic.ValidationError: 1 error for Settings")
    assert "SECRET_KEY" in told
    assert _raised("Segmentation fault\n") == "Segmentation fault"
    assert _raised("") == "it printed nothing"


# --- the application's tests -----------------------------------------------------------------------------------------


def outcome_of(directory: Path, command: str) -> str:
    """Run a test command where pytest is one of the tests' own packages and the release's ``sh`` is not the host's."""
    for place in ("tests/bin", "release/.venv/bin", "project"):
        (directory / place).mkdir(parents=True)
    for program, text in (("tests/bin/passes", "echo '== 2 passed =='"), ("release/.venv/bin/sh", "echo released sh")):
        (directory / program).write_text(f"#!/bin/sh\n{text}\n")
        (directory / program).chmod(0o755)
    return run_tests(
        directory / "release",
        directory / "tests",
        directory / "project",
        command,
        environment={},
        account=None,
        timeout=30.0,
        log=Log(directory / "log"),
    )


def test_the_last_line_of_the_tests_is_their_summary(tmp_path: Path) -> None:
    assert outcome_of(tmp_path, "passes") == "2 passed"


def test_programs_of_the_tests_and_of_the_release_come_before_the_host_s(tmp_path: Path) -> None:
    assert outcome_of(tmp_path, "sh -c false") == "released sh"


def test_a_script_of_the_release_sees_what_only_the_tests_need(tmp_path: Path) -> None:
    (tmp_path / "tests" / "bin").mkdir(parents=True)
    (tmp_path / "tests" / "bin" / "python").write_text('#!/bin/sh\necho "tests run $(basename "$1") $2"\n')
    script = tmp_path / "release" / ".venv" / "bin" / "pytest"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!{tmp_path}/release/.venv/bin/python\nraise SystemExit('the release runs it')\n")
    for program in (script, tmp_path / "tests" / "bin" / "python"):
        program.chmod(0o755)
    told = run_tests(
        tmp_path / "release", tmp_path / "tests", tmp_path, "pytest -v",
        environment={}, account=None, timeout=30.0, log=Log(tmp_path / "log"),
    )  # fmt: skip
    assert told == "tests run pytest -v"


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("nose2 -v", "nose2"),
        ("./run-tests", "./run-tests"),
        ("pytest 'tests", "open quote"),
        ("false", "exit status 1"),
    ],
)
def test_a_test_command_that_does_not_succeed_is_explained(tmp_path: Path, command: str, word: str) -> None:
    with pytest.raises(FloyoError) as caught:
        outcome_of(tmp_path, command)
    assert caught.value.code == "TESTS_FAILED"
    assert word in str(caught.value)
