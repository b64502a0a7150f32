"""Module floyo_release against real repositories, environments and packages.

Packages come from the index once for each test session; after that pip gets them from a directory. What a host's service
manager says is fixed: nothing runs, so that no test depends on one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible.module_utils.floyo.release.artifact import pack, unpack

ROOT = Path(__file__).resolve().parents[2]
SECRET = "s3cret-of-the-repository"
# The host's own: the account of the tests can start it, wherever the interpreter of these tests is.
PYTHON = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
Run = Callable[..., Any]

ASGI = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})
"""
# What the application's tests may see of the host that builds; they fail when it is more.
GUARDED_TESTS = """
import os
import pathlib

import pytest


def test_the_application_imports():
    from backend.main import app

    assert app
    pathlib.Path("scratch.txt").write_text("the working directory is a copy")


def test_nothing_of_the_caller_is_in_the_environment():
    assert "CALLER_SECRET" not in os.environ
    assert not [name for name in os.environ if name.startswith(("PIP_", "GIT_", "FLOYO_GIT", "ANSIBLE"))]
    assert os.environ["GIVEN"] == "to the tests"


@pytest.mark.skipif(os.environ["BUILDER_UID"] != "0", reason="the builder has no other account's rights to give")
def test_the_account_can_read_nothing_of_the_state_directory():
    assert os.geteuid() != 0
    assert os.getgroups() in ([], [os.getegid()])
    with pytest.raises(PermissionError):
        os.listdir(os.environ["STATE_DIR"])
    with pytest.raises(PermissionError):
        pathlib.Path(os.environ["RELEASE_MAIN"]).parent.joinpath("new").touch()
"""
REVISION = '''
"""{name}."""
revision = "{name}"
down_revision = {parent!r}


def upgrade():
    pass


def downgrade():
    pass
'''

UV_PROJECT = """
[project]
name = "app"
version = "0.1.0"
requires-python = ">=3.9"
dependencies = ["uvicorn"]

[dependency-groups]
dev = ["checker"]
"""
UV_LOCK = """version = 1
requires-python = ">=3.9"

[[package]]
name = "app"
version = "0.1.0"
source = { virtual = "." }
dependencies = [{ name = "uvicorn" }]

[package.dev-dependencies]
dev = [{ name = "checker" }]

[package.metadata]
requires-dist = [{ name = "uvicorn" }]

[package.metadata.requires-dev]
dev = [{ name = "checker" }]

"""


def project(prefix: str = "") -> dict[str, str]:
    """The files of a tiny ASGI application below ``prefix``."""
    files = {
        "backend/__init__.py": "",
        "backend/main.py": ASGI,
        "backend/requirements.txt": "uvicorn\n",
        "alembic.ini": "[alembic]\nscript_location = migrations\n",
        "migrations/versions/one.py": REVISION.format(name="one", parent=None),
        ".env.example": "DATABASE_URL=\nSECRET_KEY=change-me\n# SENTRY_DSN=\n",
    }
    return {prefix + name: textwrap.dedent(text) for name, text in files.items()}


def git(directory: Path, *words: str) -> str:
    who = ["-c", "user.name=Anna", "-c", "user.email=anna@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *words], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def repository(directory: Path, files: dict[str, str], tag: str = "v1.0.0") -> Path:
    """A repository with one commit of ``files`` and a tag on it."""
    directory.mkdir(parents=True, exist_ok=True)
    git(directory, "init", "--quiet", "--initial-branch=main")
    commit(directory, files, tag)
    return directory


def commit(directory: Path, files: dict[str, str], tag: str) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--allow-empty", f"--message=Release {tag}")
    git(directory, "tag", tag)


def wheel(directory: Path, name: str, version: str, text: str = "") -> Path:
    """A package of one module, made without any tool."""
    path = directory / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", text or f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Box:
    """One host's directories and the module's arguments for it."""

    def __init__(self, root: Path, run: Run, tools: Optional[Path] = None) -> None:
        self.root, self.run_module = root, run
        self.releases, self.state, self.build = root / "srv" / "releases", root / "state", root / "state" / "build"
        self.releases.mkdir(parents=True)
        self.state.mkdir(mode=0o750)
        self.config = root / "floyo-release.json"
        self.configure()
        if tools:
            self.build.mkdir(mode=0o711)
            (self.build / tools.name).symlink_to(tools)

    def configure(self, **changed: Any) -> None:
        url = "http://127.0.0.1:9/health"
        self.config.write_text(
            json.dumps(
                {
                    "name": "x",
                    "root": str(self.root / "srv"),
                    "state_dir": str(self.state),
                    "unit": "x.service",
                    "socket_unit": "x.socket",
                    "switch_unit": "x-switch.service",
                    "extra_units": [],
                    "port": 9,
                    "readiness_url": url,
                    "health_url": url,
                    "environment_file": "/dev/null",
                    "user": "nobody",
                    "group": "nogroup",
                    "ready_timeout": 1,
                    "python": PYTHON,
                    "asgi": "backend.main:app",
                    "release_field": "version",
                    **changed,
                }
            )
        )

    def __call__(self, state: str, *, check: bool = False, fails: str = "", **arguments: Any) -> dict[str, Any]:
        """Run the module; it must succeed, or fail with code ``fails``."""
        done = self.run_module("floyo_release", {"state": state, "config": str(self.config), **arguments}, check=check)
        found: dict[str, Any] = done.json
        assert found.get("code", "") == fails, (found.get("msg"), found)
        assert SECRET not in json.dumps(found)
        return found

    def built(self, source: Path, version: str = "v1.0.0", **arguments: Any) -> dict[str, Any]:
        light: dict[str, Any] = {"repository": str(source), "version": version, "test_command": ""}
        return self("built", **{**light, **arguments})

    def leftovers(self) -> list[str]:
        """What is on disk and is no complete release."""
        inside = [path.name for path in self.releases.iterdir() if not (path / "release.json").exists()]
        return inside + [
            path.name for path in (self.root / "srv").iterdir() if path.name not in ("releases", "current")
        ]

    def logs(self) -> str:
        return "".join(path.read_text(errors="replace") for path in (self.build / "logs").glob("*.log"))


@pytest.fixture(scope="session")
def quiet_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A service manager for which no unit exists."""
    programs = tmp_path_factory.mktemp("bin")
    systemctl = programs / "systemctl"
    systemctl.write_text("#!/bin/sh\necho ActiveState=inactive\necho MainPID=0\n")
    systemctl.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        patch.setenv("CALLER_SECRET", "not for the application")
        yield


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory, quiet_host: None) -> Iterator[Path]:
    """A directory with uvicorn and pytest and what they need, where pip looks and nowhere else."""
    directory = tmp_path_factory.mktemp("packages")
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", f"--dest={directory}"]
    # The last ones are wanted by some versions of Python only, and this one may not be the host's.
    subprocess.run([*words, "uvicorn", "pytest", "typing_extensions", "exceptiongroup", "tomli"], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(directory))
        yield directory


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A directory that the account of the tests can enter, as on a host; pytest's own are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="flrl-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


class Built:
    """The release that most tests share."""

    def __init__(self, box: Box, source: Path, arguments: dict[str, Any], runs: list[dict[str, Any]]) -> None:
        self.box, self.source, self.arguments, self.runs = box, source, arguments, runs
        self.result = runs[1]

    @property
    def staging(self) -> dict[str, Any]:
        return {"manifest": self.result["manifest"], "artifact": self.result["artifact"]}


@pytest.fixture(scope="session")
def built(run_module: Run, packages: Path) -> Iterator[Built]:
    """One complete build with pytest, run four times: check, real, check, real."""
    with place() as root:
        box = Box(root / "builder", run_module)
        files = {
            **project(),
            "backend/requirements-dev.txt": "pytest\n",
            "tests/test_it.py": GUARDED_TESTS,
            # What is left out of a download is not left out of a release.
            ".gitattributes": "tests export-ignore\n",
            "größe ☃.txt": "names of other alphabets",
            # Python's own tools run in this directory and must not take these for theirs.
            **{f"{name}.py": "raise SystemExit('not for root')\n" for name in ("pip", "venv", "compileall", "uv")},
        }
        source = root / "source"
        source.mkdir()
        (source / "link").symlink_to("backend/main.py")
        (source / "run").write_text("#!/bin/sh\n")
        (source / "run").chmod(0o755)
        repository(source, files)
        arguments: dict[str, Any] = {
            "repository": str(source),
            "version": "v1.0.0",
            "test_requirements": ["backend/requirements-dev.txt"],
            "test_environment": {
                "GIVEN": "to the tests",
                "BUILDER_UID": str(os.geteuid()),
                "STATE_DIR": str(box.state),
                "RELEASE_MAIN": str(box.releases),
            },
        }
        runs = [box("built", check=check, **arguments) for check in (True, False, True, False)]
        yield Built(box, source, arguments, runs)


@pytest.fixture
def box(built: Built, run_module: Run) -> Iterator[Box]:
    """Another host, which has the tools of the first."""
    with place() as root:
        yield Box(root, run_module, tools=next(built.box.build.glob("tools-*")))


@pytest.fixture(scope="session")
def light(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages of one file: what a build does with them is the same, and quicker."""
    directory = tmp_path_factory.mktemp("light")
    wheel(directory, "uvicorn", "1.0")
    return directory


@pytest.fixture
def offline(light: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """pip sees the packages of one file and nothing else."""
    directory = tmp_path / "packages"
    shutil.copytree(light, directory)
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    return directory


# --- built -----------------------------------------------------------------------------------------------------------


def test_building_four_times_builds_once(built: Built) -> None:
    foreseen, made, again, same = built.runs
    assert [run["changed"] for run in built.runs] == [True, True, False, False]
    assert (foreseen["release"], foreseen["version"], foreseen["artifact"]) == ("", "v1.0.0", {})
    assert foreseen["manifest"]["subject"] == "Release v1.0.0"
    for key in ("release", "version", "manifest", "artifact"):
        assert made[key] == again[key] == same[key]


def test_a_manifest_tells_what_is_in_a_release(built: Built) -> None:
    manifest = built.result["manifest"]
    assert manifest["author"] == "Anna <anna@example.org>"
    assert manifest["commit"] == git(built.source, "rev-parse", "v1.0.0")
    assert (manifest["env_names"], manifest["env_optional"]) == (["DATABASE_URL", "SECRET_KEY"], ["SENTRY_DSN"])
    assert manifest["alembic"]["heads"] == ["one"]
    assert [line.partition("==")[0] for line in manifest["requirements"]] == ["click", "h11", "uvicorn"]
    tests = manifest["tests"]
    assert tests["passed"] is True
    assert ("3 passed" if os.geteuid() == 0 else "2 passed") in tests["summary"], "what the tests assert is tested, too"
    assert manifest["lock"] == "none"


def test_a_release_is_whole_closed_and_as_in_the_repository(built: Built) -> None:
    release = built.box.releases / built.result["release"]
    assert (release / "größe ☃.txt").read_text() == "names of other alphabets"
    assert (release / "link").readlink() == Path("backend/main.py")
    assert (release / "run").stat().st_mode & 0o777 == 0o755
    assert (release / "backend" / "main.py").stat().st_mode & 0o777 == 0o644
    assert not (release / "scratch.txt").exists(), "tests work on a copy"
    assert (release / "release.env").read_text() == (f"FLOYO_RELEASE={built.result['release']}\nFLOYO_VERSION=v1.0.0\n")
    program = release / ".venv" / "bin" / "uvicorn"
    assert program.read_text().startswith(f"#!{release}/.venv/bin/python")
    assert list((release / "backend" / "__pycache__").glob("main.*.pyc"))
    assert not list((release / ".venv").rglob("site-packages/pip"))
    assert not list((release / ".venv").rglob("site-packages/pytest"))
    for path in release.rglob("*"):
        found = path.lstat()
        assert found.st_uid == os.geteuid()
        assert path.is_symlink() or found.st_mode & 0o022 == 0, path
    assert built.box.leftovers() == []


def test_a_release_runs(built: Built) -> None:
    release = built.box.releases / built.result["release"]
    words = [str(release / ".venv" / "bin" / "python"), "-m", "uvicorn", "--version"]
    assert "uvicorn" in subprocess.run(words, cwd=release, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("harm", ["deleted", "damaged", "record damaged"])
def test_a_lost_or_damaged_artifact_is_packed_again_to_the_same_bytes(built: Built, harm: str) -> None:
    packed = Path(built.result["artifact"]["path"])
    if harm == "deleted":
        packed.unlink()
    elif harm == "damaged":
        packed.write_bytes(packed.read_bytes()[:-5])
    else:
        packed.with_name(packed.name.replace(".tar.zst", ".json")).write_text('{"key": ')
    assert built.box("built", check=True, **built.arguments)["changed"]
    again = built.box("built", **built.arguments)
    assert again["changed"]
    assert again["artifact"] == built.result["artifact"]
    assert again["manifest"] == built.result["manifest"]
    assert not built.box("built", **built.arguments)["changed"]


def test_versions_of_ranges_stay_until_a_rebuild_and_then_the_newest_stay(
    box: Box, offline: Path, tmp_path: Path
) -> None:
    source = repository(tmp_path / "s", project())
    first = box.built(source)
    wheel(offline, "uvicorn", "2.0")
    commit(source, {"more.txt": "x"}, "v1.0.1")
    assert box.built(source, "v1.0.1")["manifest"]["requirements"] == ["uvicorn==1.0"]
    newer = box.built(source, rebuild=True)
    assert newer["changed"]
    assert newer["release"] != first["release"]
    assert newer["manifest"]["requirements"] == ["uvicorn==2.0"]
    later = box.built(source)
    assert (later["changed"], later["release"]) == (False, newer["release"]), "not the older one of the same commit"
    assert box.leftovers() == []


def test_the_build_for_another_platform_has_the_name_of_the_first(box: Box, offline: Path, tmp_path: Path) -> None:
    source = repository(tmp_path / "app", project())
    first = box.built(source)
    name = "v1.0.0-0a1b2c3d"
    other = box.built(source, release=name)
    assert other["changed"]
    assert other["release"] == other["manifest"]["release"] == name
    assert (box.releases / name / "release.env").read_text().startswith(f"FLOYO_RELEASE={name}\n")
    assert Path(other["artifact"]["path"]).name.startswith(f"{name}@{other['manifest']['python_tag']}-")
    assert not box.built(source, release=name)["changed"]
    again = box.built(source)
    assert (again["changed"], again["release"]) == (False, first["release"])


def test_a_branch_and_a_commit_can_be_built_and_a_branch_moves(box: Box, offline: Path, tmp_path: Path) -> None:
    source = repository(tmp_path / "s", project())
    first = box.built(source, "main")
    commit_id = git(source, "rev-parse", "HEAD")
    assert first["version"] == commit_id[:12]
    assert box.built(source, commit_id)["release"] == first["release"]
    commit(source, {"more.txt": "x"}, "v2")
    assert box.built(source, "main", check=True)["changed"]
    assert not box.built(source, commit_id)["changed"]


def test_a_tag_that_was_moved_is_followed_and_a_removed_one_is_gone(box: Box, tmp_path: Path) -> None:
    source = repository(tmp_path / "s", project())
    commit(source, {"more.txt": "x"}, "v2.0.0")
    box.built(source, check=True)
    git(source, "tag", "--force", "v1.0.0", "v2.0.0")
    git(source, "tag", "--delete", "v2.0.0")
    # As a fetch that was killed leaves it.
    (box.build / "mirror.git" / "refs" / "tags" / "v1.0.0.lock").touch()
    assert box.built(source, check=True)["manifest"]["subject"] == "Release v2.0.0"
    assert box.built(source, "v2.0.0", check=True, fails="VERSION_UNKNOWN")["nearest"] == ["v1.0.0"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
def test_a_repository_on_the_host_may_be_somebody_else_s(box: Box, tmp_path: Path) -> None:
    source = repository(tmp_path / "s", project())
    for path in [source, *source.rglob("*")]:
        shutil.chown(path, "nobody")
    for address in (source, source.as_uri()):
        shutil.rmtree(box.build / "mirror.git", ignore_errors=True)
        assert box("built", repository=str(address), version="v1.0.0", test_command="", check=True)["changed"]


def test_a_build_that_was_altered_on_disk_is_made_anew(box: Box, offline: Path, tmp_path: Path) -> None:
    source = repository(tmp_path / "s", project())
    first = box.built(source)
    Path(first["artifact"]["path"]).unlink()
    main = box.releases / first["release"] / "backend" / "main.py"
    main.write_text("app = None\n")
    (box.root / "srv" / "current").symlink_to(f"releases/{first['release']}")
    box.built(source, fails="RELEASE_ALTERED")
    assert main.read_text() == "app = None\n", "what serves is left alone"
    (box.root / "srv" / "current").unlink()
    assert box.built(source)["changed"]
    assert main.read_text() == textwrap.dedent(ASGI)


# --- gates -----------------------------------------------------------------------------------------------------------


def test_an_unknown_version_names_the_nearest_tags(built: Built) -> None:
    found = built.box("built", fails="VERSION_UNKNOWN", **{**built.arguments, "version": "v1.0.9"})
    assert found["nearest"] == ["v1.0.0"]
    assert "-e floyo_version=v1.0.0" in found["msg"]


def test_a_repository_that_is_not_there(box: Box, tmp_path: Path) -> None:
    found = box.built(tmp_path / "nowhere", fails="REPOSITORY_UNREACHABLE")
    assert "nowhere" in found["msg"]


Change = dict[str, Optional[str]]
GATES: dict[str, tuple[str, Change, dict[str, Any], str]] = {
    "requirements missing": ("REQUIREMENTS_MISSING", {}, {"requirements": ["gone.txt"]}, "gone.txt"),
    "no such package": (
        "REQUIREMENTS_FAILED",
        {"backend/requirements.txt": "no-such-package-of-floyo\n"},
        {},
        "No matching distribution found for no-such-package-of-floyo",
    ),
    "requirements that exclude each other": (
        "REQUIREMENTS_FAILED",
        {"backend/requirements.txt": "uvicorn==1.0\nuvicorn>=2\n"},
        {},
        "Cannot install uvicorn==1.0 and uvicorn>=2 because these package versions have conflicting dependencies",
    ),
    "a package that cannot be built": (
        "REQUIREMENTS_FAILED",
        {
            "backend/requirements.txt": "uvicorn\n./native\n",
            "native/setup.py": "raise SystemExit('error: pg_config is not there')\n",
        },
        {},
        "error: pg_config is not there",
    ),
    "two heads": (
        "MULTIPLE_HEADS",
        {"migrations/versions/two.py": REVISION.format(name="two", parent=None)},
        {},
        "one, two",
    ),
    "no example": ("ENV_EXAMPLE_MISSING", {".env.example": None}, {}, ".env.example"),
    "no such directory": ("PROJECT_MISSING", {}, {"project_dir": "services/api"}, "services/api"),
    "outside": ("PROJECT_MISSING", {}, {"project_dir": "../../releases"}, "../../releases"),
    "no migrations": ("MIGRATIONS_CONFIG_MISSING", {"alembic.ini": None}, {}, "alembic.ini"),
    "a taken name": ("NAME_TAKEN", {"release.json": "{}"}, {}, "release.json"),
    "import": (
        "IMPORT_FAILED",
        {"backend/main.py": "import nowhere_to_be_found\n"},
        {},
        "ModuleNotFoundError: No module named 'nowhere_to_be_found'",
    ),
    "a variable at import": (
        "IMPORT_FAILED",
        {"backend/main.py": "import os\nKEY = os.environ['SIGNING_KEY']\n"},
        {},
        "KeyError: 'SIGNING_KEY'",
    ),
    "no such object": ("IMPORT_FAILED", {}, {"asgi": "backend.main:application"}, "application"),
    "no server": (
        "IMPORT_FAILED",
        {"backend/requirements.txt": "# none\n"},
        {},
        "no uvicorn",
    ),
    "tests": (
        "TESTS_FAILED",
        {"check": "#!/bin/sh\necho 'FAILED tests/test_a.py::test_b - assert 1 == 2'; echo 1 failed; exit 1\n"},
        {"test_command": "sh ./check"},
        "tests/test_a.py::test_b",
    ),
    "no such account": ("ACCOUNT_UNKNOWN", {}, {"test_user": "nobody-of-that-name"}, "nobody-of-that-name"),
}


@pytest.mark.parametrize(("code", "files", "arguments", "word"), GATES.values(), ids=GATES)
def test_a_gate_that_fails_says_why_and_leaves_nothing(
    box: Box, offline: Path, tmp_path: Path, code: str, files: Change, arguments: dict[str, Any], word: str
) -> None:
    changed = {**project(), **files}
    source = repository(tmp_path / "s", {name: text for name, text in changed.items() if text is not None})
    found = box.built(source, fails=code, **arguments)
    assert word in found["msg"]
    assert found["next_step"]
    assert list(box.releases.iterdir()) == []
    assert box.leftovers() == []


def test_pytest_s_failing_test_is_named(box: Box, packages: Path, built: Built) -> None:
    source = box.root / "s"
    failing = "def test_sum():\n    assert 1 + 1 == 3\n"
    repository(source, {**project(), "tests/test_it.py": failing, "dev.txt": "pytest\n"})
    found = box.built(source, fails="TESTS_FAILED", test_command="pytest tests/ -v", test_requirements=["dev.txt"])
    assert "tests/test_it.py::test_sum" in found["msg"]
    assert any("assert" in line for line in found["log_tail"])
    assert box.leftovers() == []


def test_submodules_are_refused_by_name(box: Box, tmp_path: Path) -> None:
    source = repository(tmp_path / "s", project())
    git(source, "update-index", "--add", "--cacheinfo", f"160000,{git(source, 'rev-parse', 'HEAD')},vendor/lib")
    git(source, "commit", "--quiet", "--message=x")
    git(source, "tag", "v2")
    assert "vendor/lib" in box.built(source, "v2", fails="SUBMODULES_UNSUPPORTED")["msg"]


@pytest.mark.parametrize(
    ("state", "missing"),
    [("built", "repository"), ("staged", "manifest"), ("switched", "release"), ("rehearsed", "release")],
)
def test_what_a_state_needs_is_named(box: Box, state: str, missing: str) -> None:
    done = box.run_module("floyo_release", {"state": state, "config": str(box.config)})
    assert done.rc == 1
    assert missing in done["msg"]


# --- kinds of projects -----------------------------------------------------------------------------------------------


def test_a_project_below_the_root_with_packages_of_its_own_and_two_heads(
    box: Box, offline: Path, tmp_path: Path
) -> None:
    source = tmp_path / "s"
    files = {
        **project("services/api/"),
        "services/api/backend/requirements.txt": "-r ../base.txt\n--find-links wheels\nown-package\n",
        "services/api/base.txt": "uvicorn>=1\n",
        "services/api/migrations/versions/two.py": REVISION.format(name="two", parent=None),
        "services/api/check": "#!/bin/sh\ntest -f backend/main.py\n",
        "shared.txt": "beside",
    }
    (source / "services" / "api" / "backend" / "wheels").mkdir(parents=True)
    wheel(source / "services" / "api" / "backend" / "wheels", "own_package", "3.0")
    repository(source, files)
    found = box.built(
        source, project_dir="services/api", test_command="./check", multiple_heads=True, fails="TESTS_FAILED"
    )
    assert "./check" in found["msg"], "not executable"
    (source / "services" / "api" / "check").chmod(0o755)
    commit(source, {}, "v1.0.1")
    found = box.built(source, "v1.0.1", project_dir="services/api", test_command="./check", multiple_heads=True)
    manifest = found["manifest"]
    assert manifest["project_dir"] == "services/api"
    assert manifest["requirements"] == ["own_package==3.0", "uvicorn==1.0"]
    assert manifest["alembic"]["heads"] == ["one", "two"]
    assert manifest["alembic"]["revisions"][0]["file"] == "migrations/versions/one.py"
    assert (box.releases / found["release"] / "shared.txt").exists()


def test_a_configuration_of_alembic_without_revisions_is_no_error(box: Box, offline: Path, tmp_path: Path) -> None:
    files = project()
    del files["migrations/versions/one.py"]
    found = box.built(repository(tmp_path / "s", {**files, "migrations/env.py": ""}))
    assert found["manifest"]["alembic"] == {"heads": [], "revisions": []}


def test_an_application_without_tests_migrations_or_example(box: Box, offline: Path, tmp_path: Path) -> None:
    files = {"main.py": ASGI, "requirements.txt": "uvicorn"}
    found = box.built(
        repository(tmp_path / "s", files),
        requirements=["requirements.txt"],
        asgi="main:app",
        alembic_config="",
        env_example="",
    )
    manifest = found["manifest"]
    assert (manifest["alembic"], manifest["env_names"]) == ({"heads": [], "revisions": []}, [])
    assert manifest["tests"]["passed"] is None


def test_hashed_requirements_are_taken_as_they_are_and_other_bytes_refused(
    box: Box, offline: Path, tmp_path: Path
) -> None:
    hashed = digest(offline / "uvicorn-1.0-py3-none-any.whl")
    wheel(offline, "uvicorn", "2.0")
    lines = f"uvicorn==1.0 \\\n    --hash=sha256:{hashed}\n"
    source = repository(tmp_path / "s", {**project(), "backend/requirements.txt": lines})
    found = box.built(source)
    assert (found["manifest"]["lock"], found["manifest"]["requirements"]) == ("pip", ["uvicorn==1.0"])
    commit(source, {"backend/requirements.txt": lines.replace(hashed, "0" * 64)}, "v1.0.1")
    assert "HASH" in " ".join(box.built(source, "v1.0.1", fails="REQUIREMENTS_FAILED")["log_tail"]).upper()
    assert box.leftovers() == []


def test_uv_s_lock_file_says_what_is_served_and_what_only_tests_need(
    box: Box, offline: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = {"uvicorn": offline / "uvicorn-1.0-py3-none-any.whl", "checker": wheel(offline, "checker", "1.0")}
    with monkeypatch.context() as patch:
        patch.delenv("PIP_NO_INDEX")
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"--dest={offline}", "uv"]
        subprocess.run(fetch, check=True)
    wheel(offline, "uvicorn", "2.0")
    locked = [
        f'''[[package]]
name = "{name}"
version = "1.0"
source = {{ registry = "https://packages.example/simple" }}
wheels = [{{ url = "https://packages.example/{path.name}", hash = "sha256:{digest(path)}" }}]
'''
        for name, path in own.items()
    ]
    files = {
        **project(),
        "pyproject.toml": UV_PROJECT,
        "uv.lock": UV_LOCK + "\n".join(locked),
    }
    found = box.built(repository(tmp_path / "s", files), test_command="python -m checker")
    assert (found["manifest"]["lock"], found["manifest"]["requirements"]) == ("uv", ["uvicorn==1.0"])
    assert found["manifest"]["tests"]["passed"] is True


# A build backend that needs nothing: the project's own, which puts the sources' directory on the path.
BACKEND = """
import pathlib, zipfile

def build_editable(directory, config_settings=None, metadata_directory=None):
    name = "app-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as archive:
        archive.writestr("app.pth", str(pathlib.Path("src").resolve()))
        archive.writestr("app-0.1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: app\\nVersion: 0.1.0\\n")
        archive.writestr("app-0.1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr("app-0.1.0.dist-info/entry_points.txt", "[console_scripts]\\nworker = app.main:work\\n")
        archive.writestr("app-0.1.0.dist-info/RECORD", "")
    return name
"""


def test_a_uv_project_that_is_a_package_is_installed_with_its_commands(
    box: Box, offline: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.delenv("PIP_NO_INDEX")
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"--dest={offline}", "uv"]
        subprocess.run(fetch, check=True)
    system = '\n[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    uvicorn = digest(offline / "uvicorn-1.0-py3-none-any.whl")
    package = f"""
[[package]]
name = "uvicorn"
version = "1.0"
source = {{ registry = "https://packages.example/simple" }}
wheels = [{{ url = "https://packages.example/uvicorn-1.0-py3-none-any.whl", hash = "sha256:{uvicorn}" }}]
"""
    lock, _, _ = UV_LOCK.partition("\n[package.dev-dependencies]")
    files = {
        "src/app/__init__.py": "",
        "src/app/main.py": ASGI + "\ndef work(): print('works')\n",
        "backend.py": BACKEND,
        "pyproject.toml": UV_PROJECT.partition("[dependency-groups]")[0] + system,
        "uv.lock": lock.replace("virtual", "editable") + package,
    }
    given: dict[str, Any] = {"requirements": [], "asgi": "app.main:app", "alembic_config": "", "env_example": ""}
    source = repository(tmp_path / "s", files)

    def works(release: dict[str, Any]) -> None:
        assert release["manifest"]["requirements"] == ["app==0.1.0", "uvicorn==1.0"]
        worker = box.releases / release["release"] / ".venv" / "bin" / "worker"
        assert subprocess.run([worker], capture_output=True, text=True, check=True).stdout == "works\n"

    works(box.built(source, **given))
    # The same as a member of a workspace, whose lock file is above it.
    member = {f"services/api/{name}": text for name, text in files.items() if name != "uv.lock"}
    shared = {
        "pyproject.toml": '[tool.uv.workspace]\nmembers = ["services/*"]\n',
        "uv.lock": files["uv.lock"]
        .replace('editable = "."', 'editable = "services/api"')
        .replace("\n[[package]]", '\n[manifest]\nmembers = ["app"]\n\n[[package]]', 1),
    }
    git(source, "rm", "--quiet", "-r", ".")
    commit(source, {**member, **shared}, "v1.0.1")
    works(box.built(source, "v1.0.1", **given, project_dir="services/api"))


# --- interrupted, hostile, at once -----------------------------------------------------------------------------------

DRIVER = """
import json, sys
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[1] + "/module_utils")
sys.path.insert(0, sys.argv[1] + "/library")
import floyo_release
from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.release.glue import carry_out
given = {name: option.get("default") for name, option in floyo_release.SPEC.items()}
try:
    print(json.dumps(carry_out({**given, **json.load(sys.stdin)}, check=False)))
except FloyoError as error:
    print(json.dumps({"failed": True, **error.as_result()}))
"""


@contextlib.contextmanager
def builder(box: Box, **arguments: Any) -> Iterator[subprocess.Popen[str]]:
    """The module's work in a process of its own, which can be killed."""
    given = {"state": "built", "config": str(box.config), "version": "v1.0.0", "test_command": "", **arguments}
    words = [sys.executable, "-c", DRIVER, str(ROOT)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdin
            process.stdin.write(json.dumps(given))
            process.stdin.close()
            yield process
        finally:
            process.kill()


def until(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.02)


def test_a_killed_build_is_cleaned_up_by_the_next_and_two_at_once_are_refused(
    box: Box, offline: Path, tmp_path: Path
) -> None:
    begun = box.root / "begun" / "it"
    begun.parent.mkdir()
    begun.parent.chmod(0o777)
    source = repository(tmp_path / "s", project())
    commit(source, {"check": f"touch {begun}; sleep 1000\n"}, "v1.0.1")
    with builder(box, repository=str(source), version="v1.0.1", test_command="sh check") as process:
        until(begun.exists, process)
        box.built(source, fails="RELEASES_BUSY")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert len(box.leftovers()) == 2, "an unfinished release and the working directory"
    found = box.built(source)
    assert found["version"] == "v1.0.0"
    assert box.leftovers() == []
    assert [path.name for path in box.releases.iterdir()] == [found["release"]]


@pytest.fixture
def hanging_server() -> Iterator[tuple[int, list[bytes]]]:
    """A web server that wants an account, and then never answers who has one; (port, requests)."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                held.append(connection)
                request = b""
                while b"\r\n\r\n" not in request:
                    piece = connection.recv(65536)
                    if not piece:
                        break
                    request += piece
                requests.append(request)
                if b"Authorization:" not in request:
                    connection.sendall(
                        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\n"
                        b"Content-Length: 0\r\nConnection: close\r\n\r\n"
                    )
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], requests
        listener.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()


@pytest.mark.parametrize("apart", [True, False], ids=["handed over apart", "in the address"])
def test_a_password_of_the_repository_is_in_no_command(
    box: Box, hanging_server: tuple[int, list[bytes]], tmp_path: Path, apart: bool
) -> None:
    port, requests = hanging_server
    account = f"anna:{SECRET}"
    given = {"repository": f"http://{'' if apart else account + '@'}127.0.0.1:{port}/x.git"}
    with builder(box, **given, **({"credentials": account} if apart else {})) as process:
        until(lambda: any(b"Authorization:" in request for request in requests), process)
        seen = commands()
        assert any(b"remote-http" in words for words in seen), "git's helper waits for its answer"
        assert not [words for words in seen if SECRET.encode() in words]
    assert SECRET not in box.logs()


def commands() -> list[bytes]:
    """The arguments of all processes, as everybody on the host may read them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return found


def test_a_refused_password_is_in_no_error(box: Box, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://anna:{SECRET}@127.0.0.1:{port}/x.git"
    found = box("built", repository=url, version="v1", fails="REPOSITORY_UNREACHABLE")
    assert f"127.0.0.1:{port}" in found["msg"]
    assert SECRET not in box.logs()


# --- staged ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def receiver(built: Built, run_module: Run) -> Iterator[Box]:
    """The builder's host without its release: environments have their place in them, so it must be the same."""
    box = built.box
    release = box.releases / built.result["release"]
    aside = box.root / "aside"
    release.rename(aside)
    yield box
    shutil.rmtree(release, ignore_errors=True)
    aside.rename(release)


def source_of(built: Built) -> str:
    return str(built.result["artifact"]["path"])


def test_staging_four_times_changes_once(built: Built, receiver: Box) -> None:
    foreseen = receiver("staged", check=True, **built.staging)
    assert (foreseen["changed"], foreseen["needs_artifact"]) == (True, False)
    assert receiver("staged", **built.staging)["needs_artifact"], "without the artifact it only judges"
    assert list(receiver.releases.iterdir()) == []
    assert receiver("staged", source=source_of(built), **built.staging)["changed"]
    assert not receiver("staged", check=True, **built.staging)["changed"]
    assert not receiver("staged", **built.staging)["changed"]
    assert not receiver("staged", verify=True, **built.staging)["changed"]
    release = receiver.releases / built.result["release"]
    assert json.loads((release / "release.json").read_text()) == built.result["manifest"]
    assert (release / "run").stat().st_mode & 0o777 == 0o755
    assert (release / "größe ☃.txt").exists()
    assert receiver.leftovers() == []


def test_a_damaged_artifact_is_refused_and_nothing_left(built: Built, receiver: Box, tmp_path: Path) -> None:
    damaged = tmp_path / "a.tar.zst"
    damaged.write_bytes(Path(source_of(built)).read_bytes()[:-1])
    receiver("staged", source=str(damaged), fails="ARTIFACT_DAMAGED", **built.staging)
    assert list(receiver.releases.iterdir()) == []


def test_an_artifact_of_another_release_is_refused_and_nothing_left(built: Built, receiver: Box) -> None:
    manifest = {**built.result["manifest"], "files": "0" * 64}
    found = receiver(
        "staged",
        source=source_of(built),
        manifest=manifest,
        artifact=built.result["artifact"],
        fails="ARTIFACT_DAMAGED",
    )
    assert "floyo_rebuild" in found["msg"]
    assert list(receiver.releases.iterdir()) == []


def test_an_artifact_whose_files_are_not_those_of_its_manifest_is_refused(
    built: Built, receiver: Box, tmp_path: Path
) -> None:
    unpack(Path(source_of(built)), built.result["artifact"]["sha256"], tmp_path)
    release = tmp_path / built.result["release"]
    (release / "backend" / "main.py").write_text("app = None\n")
    packed = tmp_path / "a.tar.zst"
    artifact = {**built.result["artifact"], "sha256": pack(release, packed)}
    receiver(
        "staged", source=str(packed), manifest=built.result["manifest"], artifact=artifact, fails="ARTIFACT_DAMAGED"
    )
    assert list(receiver.releases.iterdir()) == []


def test_a_release_that_was_tampered_with_is_noticed_and_staged_anew(built: Built, receiver: Box) -> None:
    receiver("staged", source=source_of(built), **built.staging)
    main = receiver.releases / built.result["release"] / "backend" / "main.py"
    main.write_text("app = None\n")
    assert not receiver("staged", **built.staging)["changed"], "reading all of it is asked for"
    assert receiver("staged", verify=True, **built.staging)["needs_artifact"]
    current = receiver.root / "srv" / "current"
    current.symlink_to(f"releases/{built.result['release']}")
    try:
        receiver("staged", verify=True, fails="RELEASE_ALTERED", **built.staging)
    finally:
        current.unlink()
    assert receiver("staged", verify=True, source=source_of(built), **built.staging)["changed"]
    assert main.read_text() == textwrap.dedent(ASGI)


@pytest.mark.parametrize(
    ("changed", "word"),
    [({"python_tag": "cpython-27"}, "cpython-27"), ({"platform": "linux-riscv64-glibc2.36"}, "riscv64")],
)
def test_a_release_for_another_interpreter_is_refused(
    built: Built, receiver: Box, changed: dict[str, str], word: str
) -> None:
    manifest = {**built.result["manifest"], **changed}
    found = receiver("staged", manifest=manifest, artifact=built.result["artifact"], fails="TAG_MISMATCH")
    assert word in found["msg"]


def test_a_host_with_another_python_than_it_had_gets_the_release_anew(built: Built, receiver: Box) -> None:
    receiver("staged", source=source_of(built), **built.staging)
    manifest = receiver.releases / built.result["release"] / "release.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "python_tag": "cpython-27"}))
    assert receiver("staged", check=True, **built.staging)["changed"]
    assert receiver("staged", source=source_of(built), **built.staging)["changed"]
    assert json.loads(manifest.read_text()) == built.result["manifest"]


def test_a_disk_that_is_too_small_is_found_first_also_in_check_mode(built: Built, receiver: Box) -> None:
    manifest = {**built.result["manifest"], "size": 2**60}
    found = receiver("staged", check=True, manifest=manifest, artifact=built.result["artifact"], fails="DISK_FULL")
    assert "MiB free" in found["msg"]


@pytest.mark.parametrize("name", ["../x", ".hidden", "a/b", ""])
def test_a_name_that_leaves_the_directory_is_refused(built: Built, receiver: Box, name: str) -> None:
    manifest = {**built.result["manifest"], "release": name}
    receiver("staged", manifest=manifest, artifact=built.result["artifact"], fails="RELEASE_UNKNOWN")


def test_a_build_does_not_begin_on_a_full_disk(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible.module_utils.floyo.release.stage.RESERVE", 2**60)
    assert "a build needs" in box.built(repository(tmp_path / "s", project()), check=True, fails="DISK_FULL")["msg"]


def test_what_a_killed_unpacking_left_goes(built: Built, receiver: Box) -> None:
    left = receiver.releases / ".staging-v0-00000000" / "v0-00000000"
    left.mkdir(parents=True)
    (left / "release.json").write_text("{}")
    half = receiver.releases / built.result["release"]
    half.mkdir()
    (half / "half").touch()
    assert receiver("staged", source=source_of(built), **built.staging)["changed"]
    assert [path.name for path in receiver.releases.iterdir()] == [built.result["release"]]
    assert not (half / "half").exists()


class Files(http.server.SimpleHTTPRequestHandler):
    """Gives the files of a directory to who has the account; a name with ``short`` is cut off."""

    def do_GET(self) -> None:
        if self.headers["Authorization"] != "Basic YW5uYTpzM2NyZXQtb2YtdGhlLXJlcG9zaXRvcnk=":
            self.send_error(401)
        elif "short" in self.path:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"begin")
        else:
            super().do_GET()

    def log_message(self, *_: Any) -> None:
        """Nothing: what it was asked is no part of a test's output."""


def test_hosts_fetch_the_artifact_themselves_when_they_can(built: Built, receiver: Box) -> None:
    packed = Path(source_of(built))
    handler = functools.partial(Files, directory=str(packed.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_address[1]}"
        refused = receiver(
            "staged", artifact_url=f"http://{host}/{packed.name}", fails="ARTIFACT_UNREACHABLE", **built.staging
        )
        assert "Unauthorized" in refused["msg"]
        account = f"http://anna:{SECRET}@{host}"
        receiver("staged", artifact_url=f"{account}/gone", fails="ARTIFACT_UNREACHABLE", **built.staging)
        receiver("staged", artifact_url=f"{account}/short", fails="ARTIFACT_DAMAGED", **built.staging)
        assert list(receiver.releases.iterdir()) == []
        before = sorted(receiver.state.iterdir())
        assert receiver("staged", artifact_url=f"{account}/{packed.name}", **built.staging)["changed"]
        server.shutdown()
    assert sorted(receiver.state.iterdir()) == before, "the download leaves nothing"
    assert (receiver.releases / built.result["release"] / "release.json").exists()


# --- info, pruned, switched ------------------------------------------------------------------------------------------


def test_info_and_pruning_through_the_module(box: Box) -> None:
    for name in ("a-00000001", "b-00000002"):
        (box.releases / name).mkdir()
        (box.releases / name / "release.json").write_text('{"version": "v1", "alembic": {"heads": ["one"]}}')
    (box.releases / "c-00000003").mkdir()
    (box.releases / "c-00000003" / "release.json").write_text('{"version": "v')
    found = box("info", graphs=True)
    assert [(one["release"], one["version"]) for one in found["releases"]] == [
        ("a-00000001", "v1"),
        ("b-00000002", "v1"),
        ("c-00000003", None),
    ], "a damaged one is shown, and the others"
    assert found["releases"][0]["alembic"] == {"heads": ["one"]}
    assert "alembic" not in box("info")["releases"][0]
    assert found["current"]["fault"] == "nothing runs"
    assert found["changed"] is False
    foreseen = box("pruned", keep=0, needed=["b-00000002"], check=True)
    assert (foreseen["changed"], foreseen["removed"]) == (True, ["a-00000001", "c-00000003"])
    assert (box.releases / "a-00000001").exists()
    assert box("pruned", keep=0, needed=["b-00000002"])["removed"] == ["a-00000001", "c-00000003"]
    assert not box("pruned", keep=0, needed=["b-00000002"])["changed"]
    assert [path.name for path in box.releases.iterdir()] == ["b-00000002"]


def test_a_switch_to_what_is_not_there_and_back_to_nothing(box: Box) -> None:
    box("switched", release="v9-00000000", fails="RELEASE_UNKNOWN")
    box("switched", release="previous", fails="NO_PREVIOUS")
    box("rehearsed", release="v9-00000000", fails="RELEASE_UNKNOWN")


def test_a_host_that_was_not_provisioned_says_so(box: Box) -> None:
    box.config.unlink()
    assert "provision.yml" in box("info", fails="CONFIG_UNUSABLE")["msg"]


def test_the_module_is_packed_with_all_that_it_imports(box: Box) -> None:
    words = ["-c", "local", "-m", "floyo_release", "-a", f"state=info config={box.config}"]
    environment = {**os.environ, "ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible")), "localhost", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "python_tag" in done.stdout
