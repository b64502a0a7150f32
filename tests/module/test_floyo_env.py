"""floyo_env: names are compared and values never shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SECRET = "q8Zr3Lk0Xw7Vn5Tb2Yc9Md4Hs6Jf1GpQ"
EXAMPLE = "DATABASE_URL=\nSECRET_KEY=change-me\nSENTRY_DSN=\n# LOG_LEVEL=INFO\n"


@pytest.fixture
def check(run_module: Any, tmp_path: Path) -> Any:
    """Run floyo_env over a file with the given text; no value of it may be shown."""

    def run(text: str, *, mode: int = 0o640, **arguments: Any) -> Any:
        path = tmp_path / "backend.env"
        path.write_text(text)
        path.chmod(mode)
        example = tmp_path / ".env.example"
        example.write_text(EXAMPLE)
        parameters = {
            "path": str(path),
            "required": ["DATABASE_URL", "SECRET_KEY"],
            "example": str(example),
            **arguments,
        }
        before = path.stat()
        results = [run_module("floyo_env", parameters, check=in_check_mode) for in_check_mode in (False, True)]
        assert results[0].json == results[1].json
        assert path.stat().st_mtime_ns == before.st_mtime_ns
        assert path.read_text() == text
        assert not any(
            word in json.dumps(results[0].json) + results[0].stderr for word in (SECRET, "hunter2", "change-me")
        )
        return results[0]

    return run


def test_complete(check: Any) -> None:
    result = check(f"DATABASE_URL=postgresql://u:hunter2@h/d\nSECRET_KEY='{SECRET}'\nLOG_LEVEL=INFO\n")
    assert (result.rc, result["ok"], result["changed"]) == (0, True, False)
    assert result["present"] == ["DATABASE_URL", "LOG_LEVEL", "SECRET_KEY"]
    assert (result["missing"], result["empty"], result["weak"], result["unknown"]) == ([], [], [], [])
    assert result["unset"] == ["SENTRY_DSN"]
    assert result["summary"] == "in the example and not set: SENTRY_DSN"


@pytest.mark.parametrize(
    ("text", "kind", "finding"),
    [
        (f"SECRET_KEY={SECRET}", "missing", ["DATABASE_URL"]),
        (f"DATABASE_URL=\nSECRET_KEY={SECRET}", "empty", ["DATABASE_URL"]),
        ("DATABASE_URL=x\nSECRET_KEY=hunter2", "weak", ["SECRET_KEY"]),
        ("DATABASE_URL=x\nSECRET_KEY=change-me", "weak", ["SECRET_KEY"]),
    ],
)
def test_findings_fail_and_name_the_variable(check: Any, text: str, kind: str, finding: list[str]) -> None:
    result = check(text)
    assert (result.rc, result["code"], result[kind]) == (1, "ENVIRONMENT_INCOMPLETE", finding)
    assert finding[0] in result["msg"]
    assert check(text, fail_on=[]).rc == 0


def test_findings_that_fail_only_when_asked(check: Any) -> None:
    text = f"DATABASE_URL=x\nSECRET_KEY={SECRET}\nEXTRA=hunter2\nexport SENTRY_DSN=hunter2\n"
    assert check(text).rc == 0
    assert check(text, fail_on=["unknown"])["unknown"] == ["EXTRA"]
    assert check(text, fail_on=["unset"])["unset"] == ["SENTRY_DSN"]
    ignored = check(text, fail_on=["ignored"])
    assert ignored.rc == 1
    assert "export SENTRY_DSN is not a name" in ignored["ignored"][0]


def test_names_of_a_manifest_instead_of_a_file(check: Any) -> None:
    text = f"DATABASE_URL=x\nSECRET_KEY={SECRET}\nEXTRA=1\n"
    result = check(text, example="", names=["DATABASE_URL", "NEW_SETTING"], fail_on=["unset"])
    assert (result.rc, result["unset"], result["unknown"]) == (1, ["NEW_SETTING"], ["EXTRA"])


@pytest.mark.parametrize(("mode", "rc"), [(0o640, 0), (0o600, 0), (0o644, 1), (0o642, 1)])
def test_a_file_open_to_every_account(check: Any, mode: int, rc: int) -> None:
    assert check(f"DATABASE_URL=x\nSECRET_KEY={SECRET}\n", mode=mode).rc == rc


def test_files_that_cannot_be_read(run_module: Any, tmp_path: Path) -> None:
    binary = tmp_path / "binary.env"
    binary.write_bytes(b"SECRET_KEY=hunter2\xff\n")
    absent = str(tmp_path / "absent")
    missing = run_module("floyo_env", {"path": absent})
    assert (missing.rc, missing["code"]) == (1, "ENVIRONMENT_UNREADABLE")
    assert f"{absent} cannot be read: No such file or directory" in missing["msg"]
    undecodable = run_module("floyo_env", {"path": str(binary)})
    assert (undecodable.rc, undecodable["code"]) == (1, "ENVIRONMENT_UNREADABLE")
    assert "is not UTF-8 text (byte 18)" in undecodable["msg"]
    assert "hunter2" not in json.dumps(undecodable.json)
    binary.write_text("A=1")
    assert run_module("floyo_env", {"path": str(binary), "example": absent})["code"] == "EXAMPLE_UNREADABLE"
