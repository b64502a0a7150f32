"""The release's own Python environment: resolved once, installed by exact version, checked, tested (client)."""

from __future__ import annotations

import dataclasses
import json
import os
import pwd
import re
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional
from urllib.parse import unquote, urlparse

from ..errors import FloyoError, Unusable
from .process import Log

__all__ = ["Locked", "Packages", "check_import", "expanded", "lock_of", "run_tests", "uv_root"]

INSTALL_TIMEOUT = 1800.0
# The first that knows --python and --report as they are used here.
OLDEST_PIP = 23
IMPORT_TIMEOUT = 120.0
_NO_UVICORN = 41
_INCLUDED = re.compile(
    r"(?:-r|--requirement|(?P<constraint>-c|--constraint)|(?P<links>-f|--find-links))[ =]*['\"]?(?P<file>[^'\"]+)['\"]?"
)
# The working directory is the project's: none of its modules (types.py, logging.py) runs as root in place of Python's.
_ISOLATED = ("-I", "-m")
_TELLS_NOTHING = re.compile("ResolutionImpossible|subprocess-exited-with-error|metadata-generation-failed")
_CONSTRAINT = re.compile(r"-c|--constraint")
_IMPORT = f"""
import importlib, sys
try:
    import uvicorn
except ImportError:
    sys.exit({_NO_UVICORN})
module, _, names = sys.argv[1].partition(":")
found = importlib.import_module(module)
for name in names.split("."):
    found = getattr(found, name)
"""


@dataclasses.dataclass
class Locked:
    """Exactly what is installed.

    ``hashed``: lines with their digests. ``other``: lines of a version control system. ``local``: name, directory inside
    the project and whether it is editable. ``options``: where the project's files say that packages come from.
    ``closed``: whether it is known to hold all that it needs. ``tests``: hashed lines that only the tests need.
    """

    hashed: list[str]
    other: list[str]
    local: list[tuple[str, str, bool]]
    options: list[str] = dataclasses.field(default_factory=list)
    closed: bool = True
    tests: list[str] = dataclasses.field(default_factory=list)

    def text(self) -> str:
        """All of it, for the release's identity."""
        return "\n".join([*self.hashed, *self.other, *(f"{name} @ {path} {how}" for name, path, how in self.local)])

    @property
    def reusable(self) -> bool:
        """Whether another commit with the same requirements files gets the same: not with files of the project."""
        files = [line for line in self.hashed if line.startswith("./")]
        return not (self.local or files or any(re.match(r"-f|--find-links", line) for line in self.options))

    @classmethod
    def from_report(cls, report: Mapping[str, Any], project: Path, options: Sequence[str] = ()) -> Locked:
        """What ``pip install --dry-run --report`` chose. Raises Unusable for a path outside of the project."""
        hashed, other, local = [], [], []
        for item in report["install"]:
            name, version, source = item["metadata"]["name"], item["metadata"]["version"], item["download_info"]
            if "dir_info" in source:
                local.append((name, _inside(project, source["url"], name), bool(source["dir_info"].get("editable"))))
            elif "vcs_info" in source:
                vcs = source["vcs_info"]
                below = f"#subdirectory={source['subdirectory']}" if source.get("subdirectory") else ""
                other.append(f"{name} @ {vcs['vcs']}+{source['url']}@{vcs['commit_id']}{below}")
            else:
                archive = source["archive_info"]
                digest = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").partition("=")[2]
                exact = f"{name}=={version}"
                if item.get("is_direct"):
                    inside = source["url"].startswith("file:")
                    exact = f"./{_inside(project, source['url'], name)}" if inside else f"{name} @ {source['url']}"
                hashed.append(f"{exact} --hash=sha256:{digest}")
        return cls(sorted(hashed), sorted(other), sorted(local), list(options))

    @classmethod
    def from_export(cls, lines: Iterable[str], everything: Iterable[str], base: str = ".") -> Locked:
        """What ``uv export`` wrote: what is served, and with all groups. Its paths begin at ``base`` of the project."""
        hashed, other, local = [], [], []
        for line in lines:
            editable = re.match(r"(?:-e|--editable)[ =]+(.+)", line)
            path = editable[1] if editable else line
            if "--hash=" in line:
                hashed.append(line)
            elif path.startswith((".", "/")):
                place = path.partition(" ;")[0].strip()
                local.append((path, place if base == "." else os.path.normpath(f"{base}/{place}"), bool(editable)))
            else:
                other.append(line)
        served = set(hashed)
        return cls(
            hashed, other, local, tests=[line for line in everything if "--hash=" in line and line not in served]
        )


def _inside(project: Path, url: str, name: str) -> str:
    """The path of a file: URL relative to the project."""
    place = os.path.realpath(unquote(urlparse(url).path))
    relative = os.path.relpath(place, os.path.realpath(project))
    if relative.split(os.sep)[0] == os.pardir:
        raise Unusable(
            f"{name} is required from {place}, outside of the project",
            code="REQUIREMENTS_FAILED",
            expected="packages of an index, of a version control system, or of the project itself",
            next_step="change the requirements file",
        )
    return relative


def uv_root(project: Path, project_dir: str) -> Optional[Path]:
    """Where uv.lock is: in the project, or above it in the repository, when it is a member of a uv workspace."""
    above = len(Path(project_dir).parts)
    return next((place for place in [project, *project.parents][: above + 1] if (place / "uv.lock").exists()), None)


def lock_of(project: Path, requirements: Iterable[str], lock: str, project_dir: str = "") -> str:
    """How this project pins: ``uv``, ``pip`` (hashed files) or ``none``, when ``lock`` is ``auto``; else ``lock``."""
    if lock != "auto":
        return lock
    if uv_root(project, project_dir):
        return "uv"
    files = [project / name for name in requirements]
    hashed = [path for path in files if path.is_file() and any("--hash=" in line for line in expanded(path))]
    return "pip" if files and len(hashed) == len(files) else "none"


class Packages:
    """pip and uv of the build host, kept apart from every release: releases carry no installer."""

    def __init__(self, tools: Path, python: str, log: Log) -> None:
        self.tools, self.python, self.log = tools, python, log

    def _must(self, argv: Sequence[str], cwd: Path, code: str, what: str, next_step: str, *, data: bool = False) -> str:
        """The end of the output; with ``data`` all of the standard output and nothing else."""
        answer = ""
        if data:
            status, answer, output = self.log.ask(argv, cwd=cwd, timeout=INSTALL_TIMEOUT)
        else:
            status, output = self.log.run(argv, cwd=cwd, timeout=INSTALL_TIMEOUT)
        if status:
            raise FloyoError(
                f"{what}: {_cause(output.splitlines())}",
                code=code,
                next_step=next_step,
                log_tail=self.log.tail(),
                log=str(self.log.path),
            )
        return answer if data else output

    def prepare(self, *, uv: bool) -> None:
        """pip (and uv) for the target interpreter; made once."""
        if not (self.tools / "bin" / "pip").exists():
            shutil.rmtree(self.tools, ignore_errors=True)
            making = self.tools.with_name(self.tools.name + ".new")
            shutil.rmtree(making, ignore_errors=True)
            self._must(
                [self.python, *_ISOLATED, "venv", str(making)],
                self.tools.parent,
                "PYTHON_UNUSABLE",
                f"{self.python} cannot make a virtual environment",
                "install python3-venv on the build host (playbooks/provision.yml does)",
            )
            version = self._must(_pip(making, "--version"), making, "PYTHON_UNUSABLE", "pip does not start", "")
            found = re.search(r"pip (\d+)", version)
            if not found or int(found[1]) < OLDEST_PIP:
                self._installed(["install", "--quiet", f"pip>={OLDEST_PIP}"], making, tools=making)
            # Scripts of a renamed environment name the old place, so pip is called through the interpreter.
            making.rename(self.tools)
        if uv and not (self.tools / "bin" / "uv").exists():
            self._installed(["install", "--quiet", "uv"], self.tools)

    def resolve(
        self, project: Path, requirements: Sequence[str], lock: str, scratch: Path, project_dir: str = ""
    ) -> Locked:
        """The exact versions that will be installed."""
        missing = [name for name in requirements if lock != "uv" and not (project / name).is_file()]
        if missing:
            raise Unusable(
                f"the project has no {', '.join(missing)}",
                code="REQUIREMENTS_MISSING",
                expected="the files that floyo_requirements names, relative to floyo_project_dir",
                next_step="correct floyo_requirements, or set floyo_lock to uv",
            )
        if lock == "uv":
            base = os.path.relpath(uv_root(project, project_dir) or project, project)
            return Locked.from_export(self._exported(project), self._exported(project, "--all-groups"), base)
        lines = [line for name in requirements for line in expanded(project / name)]
        options = [line for line in lines if line.startswith("-") and not re.match(r"-e|--editable", line)]
        if lock == "pip":
            pinned = [line for line in lines if line not in options]
            # pip checks that hashed files leave nothing out; a report or uv.lock cannot.
            return Locked(pinned, [], [], [o for o in options if not _CONSTRAINT.match(o)], closed=False)
        report = scratch / "report.json"
        self._must(
            _pip(
                self.tools, "install", "--quiet", "--dry-run", "--ignore-installed", f"--report={report}",
                *(f"--requirement={name}" for name in requirements),
            ),
            project,
            "REQUIREMENTS_FAILED",
            "the requirements cannot be resolved",
            "mend the requirements file; for a package server behind a proxy see floyo_proxy_environment and floyo_ca_bundle",
        )  # fmt: skip
        options = [option for option in options if not _CONSTRAINT.match(option)]
        return Locked.from_report(json.loads(report.read_text()), project, options)

    def _exported(self, project: Path, groups: str = "--no-dev") -> list[str]:
        """The packages of uv.lock, the project itself where it is one.

        An interpreter that is not there is an error and nothing to download.
        """
        text = self._must(
            [
                str(self.tools / "bin" / "python"), *_ISOLATED, "uv", "export", "--frozen", groups,
                "--no-header", "--no-annotate", "--format=requirements-txt", "--quiet", "--no-python-downloads",
                f"--python={self.python}",
            ],
            project,
            "REQUIREMENTS_FAILED",
            "uv.lock cannot be read",
            "run uv lock in the application and commit the result",
            data=True,
        )  # fmt: skip
        return _joined(text)

    def make(self, venv: Path) -> None:
        """An empty environment at ``venv``, its final path."""
        self._must(
            [self.python, *_ISOLATED, "venv", "--without-pip", "--symlinks", str(venv)],
            venv.parent,
            "PYTHON_UNUSABLE",
            f"{self.python} cannot make a virtual environment",
            "install python3-venv on the build host",
        )

    def install(self, venv: Path, locked: Locked, project: Path, scratch: Path) -> None:
        """Exactly ``locked`` and nothing else."""
        local = [
            f"{'-e ' if editable else ''}{Path(os.path.normpath(project / path)).as_uri()}"
            for _, path, editable in locked.local
        ]
        for name, lines in (("hashed", locked.hashed), ("other", locked.other), ("local", local)):
            checks = ["--require-hashes"] if name == "hashed" else []
            if locked.closed:
                checks.append("--no-deps")
            self._install_lines(venv, name, lines, locked.options, checks, project, scratch)

    def _install_lines(
        self,
        venv: Path,
        name: str,
        lines: Sequence[str],
        options: Sequence[str],
        checks: Sequence[str],
        project: Path,
        scratch: Path,
    ) -> None:
        if not lines:
            return
        file = scratch / f"{name}.txt"
        file.touch(mode=0o600)
        file.write_text("\n".join([*options, *lines]) + "\n")
        self._installed(
            [
                "--python", str(venv / "bin" / "python"), "install", "--quiet", "--no-compile",
                "--no-warn-script-location", *checks, f"--requirement={file}",
            ],
            project,
        )  # fmt: skip

    def install_for_tests(
        self, venv: Path, release: Path, project: Path, requirements: Sequence[str], locked: Locked, frozen: Path
    ) -> None:
        """An environment that sees the release's packages and adds what only the tests need, at the release's versions."""
        self.make(venv)
        packages = next((release / ".venv" / "lib").glob("python*/site-packages"))
        own = next((venv / "lib").glob("python*/site-packages"))
        (own / "release.pth").write_text(f"{packages}\nimport site; site.addsitedir({str(packages)!r})\n")
        checks = ["--require-hashes", "--no-deps"]
        self._install_lines(venv, "tests", locked.tests, locked.options, checks, project, frozen.parent)
        if requirements:
            missing = [name for name in requirements if not (project / name).is_file()]
            if missing:
                raise Unusable(
                    f"the project has no {', '.join(missing)}",
                    code="REQUIREMENTS_MISSING",
                    expected="the files that floyo_test_requirements names",
                    next_step="correct floyo_test_requirements",
                )
            self._installed(
                [
                    "--python", str(venv / "bin" / "python"), "install", "--quiet", f"--constraint={frozen}",
                    *(f"--requirement={name}" for name in requirements),
                ],
                project,
            )  # fmt: skip

    def _installed(self, words: Sequence[str], cwd: Path, *, tools: Optional[Path] = None) -> None:
        self._must(
            _pip(tools or self.tools, *words),
            cwd,
            "REQUIREMENTS_FAILED",
            "the requirements cannot be installed",
            "read log_tail; for a package server behind a proxy see floyo_proxy_environment and floyo_ca_bundle",
        )

    def frozen(self, venv: Path) -> list[str]:
        """``name==version`` of all that is installed."""
        words = _pip(self.tools, "--python", str(venv / "bin" / "python"), "list", "--format=json")
        text = self._must(words, venv, "REQUIREMENTS_FAILED", "the environment cannot be listed", "", data=True)
        return sorted(f"{item['name']}=={item['version']}" for item in json.loads(text))

    def compile(self, release: Path) -> None:
        """Byte code, valid whatever the files' times: the service may not write it later.

        A package may ship files for other versions of Python, which do not compile: they are not imported either.
        """
        self.log.run(
            [
                str(release / ".venv" / "bin" / "python"), "-S", *_ISOLATED, "compileall", "-qq", "-j", "0",
                "--invalidation-mode", "unchecked-hash", str(release),
            ],
            cwd=release,
            timeout=INSTALL_TIMEOUT,
        )  # fmt: skip


def _pip(tools: Path, *words: str) -> list[str]:
    python = str(tools / "bin" / "python")
    return [python, *_ISOLATED, "pip", "--disable-pip-version-check", "--no-input", *words]


def check_import(
    release: Path,
    project: Path,
    asgi: str,
    *,
    environment: Mapping[str, str],
    account: Optional[pwd.struct_passwd],
    log: Log,
) -> None:
    """The application must import, as the server will import it. ``project``: a copy where it may write."""
    status, output = log.run(
        [str(release / ".venv" / "bin" / "python"), "-c", _IMPORT, asgi],
        cwd=project,
        environment=_clean(environment, project, [release / ".venv" / "bin"]),
        account=account,
        timeout=IMPORT_TIMEOUT,
    )
    if status == _NO_UVICORN:
        raise Unusable(
            "the release has no uvicorn, which serves it",
            code="IMPORT_FAILED",
            expected="uvicorn among the requirements",
            next_step="add it to the application's requirements",
        )
    if status:
        raise Unusable(
            f"{asgi} cannot be imported: {_raised(output)}",
            code="IMPORT_FAILED",
            expected="an application that starts; the running release was not touched",
            next_step="mend the application; what an import needs from the environment goes into floyo_test_environment",
            log_tail=output.splitlines()[-25:],
        )


def run_tests(
    release: Path,
    tests: Path,
    project: Path,
    command: str,
    *,
    environment: Mapping[str, str],
    account: Optional[pwd.struct_passwd],
    timeout: float,
    log: Log,
) -> str:
    """Run the application's own tests; returns their last line."""
    bins = [tests / "bin", release / ".venv" / "bin"]
    argv = _words(command)
    # A name with a slash is one of the project's, as in a shell there.
    wanted = str(project / argv[0]) if "/" in argv[0] else argv[0]
    program = shutil.which(wanted, path=os.pathsep.join([*map(str, bins), os.defpath]))
    if program is None:
        raise Unusable(
            f"the test command's program {argv[0]} is not in the release",
            code="TESTS_FAILED",
            expected="it among floyo_requirements or floyo_test_requirements",
            next_step="name the file that holds it in floyo_test_requirements, or set floyo_test_command to '' when there are no tests",
        )
    # A script of the release would start the release's interpreter, which does not see what only the tests need.
    script = Path(program).parent == bins[1] and b"python" in Path(program).read_bytes()[:200].partition(b"\n")[0]
    status, output = log.run(
        [*([str(bins[0] / "python")] if script else []), program, *argv[1:]],
        cwd=project,
        environment=_clean(environment, project, bins),
        account=account,
        timeout=timeout,
    )
    lines = [line.strip("= ") for line in output.splitlines() if line.strip()]
    if status:
        failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
        raise FloyoError(
            f"the application's tests fail ({command}): {'; '.join(failed[:3]) or (lines[-1] if lines else f'exit status {status}')}",
            code="TESTS_FAILED",
            expected="exit status 0; nothing was deployed",
            next_step="mend the application and deploy the next version",
            log_tail=output.splitlines()[-25:],
        )
    return lines[-1] if lines else ""


def _clean(environment: Mapping[str, str], project: Path, bins: Sequence[Path]) -> dict[str, str]:
    """What application code sees at build time: nothing of ours, and never production's secrets."""
    return {
        "PATH": os.pathsep.join([*map(str, bins), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(project),
        "TMPDIR": str(project),
        # The server finds the application in its working directory; so do the tests.
        "PYTHONPATH": str(project),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
        **environment,
    }


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Unusable(
            f"the test command {command!r} has an open quote",
            code="TESTS_FAILED",
            expected="a program and its arguments",
            next_step="correct floyo_test_command",
        ) from error
    return words


def _joined(text: str) -> list[str]:
    """Requirement lines with their continuations on one line, without comments."""
    whole = re.sub(r"\\\n\s*", "", text)
    lines = [" ".join(re.sub(r"(^|\s)#.*", "", line).split()) for line in whole.splitlines()]
    return [line for line in lines if line]


def expanded(path: Path, above: Sequence[Path] = ()) -> list[str]:
    """The lines of a requirements file and of those that it includes; what constrains them, marked ``-c``."""
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise Unusable(
            f"{path.name}, which {above[-1].name if above else 'the project'} includes, cannot be read: {error.strerror}",
            code="REQUIREMENTS_MISSING",
            expected="all files that the requirements include",
            next_step="mend the requirements file",
        ) from error
    lines = []
    for line in _joined(text):
        named = _INCLUDED.match(line)
        if not named or "://" in line:
            lines.append(line)
            continue
        other = path.parent / named["file"]
        if named["links"]:
            # Beside the file, when it is there: pip reads it so, and we write the line into a file elsewhere.
            lines.append(f"--find-links {other.resolve()}" if other.exists() else line)
        elif other not in above and other != path:
            below = expanded(other, [*above, path])
            lines += [f"-c {entry}" for entry in below] if named["constraint"] else below
    return lines


def _cause(lines: Iterable[str]) -> str:
    """What went wrong, from a program's output: of the lines that are marked as errors the last two that tell something.

    pip says which package it could not build, or find, and in the line before it why.
    """
    told = [line.strip() for line in lines if line.strip() and "notice" not in line[:9]]
    marked = [
        line for line in told if re.match(r"(ERROR|error|fatal|Caused by)\b", line) and not _TELLS_NOTHING.search(line)
    ]
    return (
        "; ".join(line[:300] for line in dict.fromkeys((marked or told)[-2 if marked else -1 :]))
        or "it printed nothing"
    )


def _raised(output: str) -> str:
    """The exception that a traceback ends with, with its explanation; otherwise the last line."""
    lines = [line for line in output.splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    if starts:
        ends = [number for number in range(starts[-1] + 1, len(lines)) if not lines[number].startswith(" ")]
        if ends:
            return " ".join(line.strip() for line in lines[ends[0] : ends[0] + 4])[:400]
    return lines[-1].strip()[:400] if lines else "it printed nothing"
