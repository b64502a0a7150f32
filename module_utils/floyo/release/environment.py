"""The release's own Python environment: resolved once, installed by exact version, checked, tested (client)."""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional
from urllib.parse import unquote, urlparse

from ..errors import FloyoError, Unusable
from .process import Log

__all__ = ["Locked", "Packages", "check_import", "expanded", "lock_of", "run_tests"]

INSTALL_TIMEOUT = 1800.0
IMPORT_TIMEOUT = 120.0
_NO_UVICORN = 41
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


class Locked:
    """Exactly what is installed: ``lines`` with hashes where the package has them, ``local`` directories of the project."""

    def __init__(self, hashed: Sequence[str], other: Sequence[str], local: Sequence[tuple[str, str, bool]]) -> None:
        self.hashed, self.other, self.local = list(hashed), list(other), list(local)

    def text(self) -> str:
        """All of it, for the release's identity."""
        return "\n".join([*self.hashed, *self.other, *(f"{name} @ {path} {how}" for name, path, how in self.local)])

    @classmethod
    def from_report(cls, report: Mapping[str, Any], project: Path) -> Locked:
        """What ``pip install --dry-run --report`` chose. Raises Unusable for a path outside of the project."""
        hashed, other, local = [], [], []
        for item in report["install"]:
            name, version, source = item["metadata"]["name"], item["metadata"]["version"], item["download_info"]
            if "dir_info" in source:
                place = Path(unquote(urlparse(source["url"]).path))
                try:
                    relative = str(place.relative_to(project))
                except ValueError as error:
                    raise Unusable(
                        f"{name} is required from {place}, outside of the project",
                        code="REQUIREMENTS_FAILED",
                        expected="packages of an index, of a version control system, or of the project itself",
                        next_step="change the requirements file",
                    ) from error
                local.append((name, relative, bool(source["dir_info"].get("editable"))))
            elif "vcs_info" in source:
                vcs = source["vcs_info"]
                below = f"#subdirectory={source['subdirectory']}" if source.get("subdirectory") else ""
                other.append(f"{name} @ {vcs['vcs']}+{source['url']}@{vcs['commit_id']}{below}")
            else:
                archive = source["archive_info"]
                digest = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").partition("=")[2]
                exact = f"{name}=={version}" if not item.get("is_direct") else f"{name} @ {source['url']}"
                hashed.append(f"{exact} --hash=sha256:{digest}")
        return cls(sorted(hashed), sorted(other), sorted(local))


def lock_of(project: Path, requirements: Iterable[str], lock: str) -> str:
    """How this project pins: ``uv``, ``pip`` (hashed files) or ``none``, when ``lock`` is ``auto``; else ``lock``."""
    if lock != "auto":
        return lock
    if (project / "uv.lock").exists():
        return "uv"
    files = [project / name for name in requirements]
    hashed = [path for path in files if path.exists() and "--hash=" in path.read_text(errors="replace")]
    return "pip" if files and len(hashed) == len(files) else "none"


class Packages:
    """pip and uv of the build host, kept apart from every release: releases carry no installer."""

    def __init__(self, tools: Path, python: str, log: Log) -> None:
        self.tools, self.python, self.log = tools, python, log

    def _must(self, argv: Sequence[str], cwd: Path, code: str, what: str, next_step: str) -> str:
        status, output = self.log.run(argv, cwd=cwd, timeout=INSTALL_TIMEOUT)
        if status:
            raise FloyoError(
                f"{what}: {_cause(output)}",
                code=code,
                next_step=next_step,
                log_tail=self.log.tail(),
                log=str(self.log.path),
            )
        return output

    def prepare(self, *, uv: bool) -> None:
        """pip (and uv) for the target interpreter; made once."""
        if not (self.tools / "bin" / "pip").exists():
            shutil.rmtree(self.tools, ignore_errors=True)
            making = self.tools.with_name(self.tools.name + ".new")
            shutil.rmtree(making, ignore_errors=True)
            self._must(
                [self.python, "-m", "venv", str(making)],
                self.tools.parent,
                "PYTHON_UNUSABLE",
                f"{self.python} cannot make a virtual environment",
                "install python3-venv on the build host (playbooks/provision.yml does)",
            )
            making.rename(self.tools)
        # Scripts of a renamed environment name the old place, so pip is called through the interpreter.
        version = self._must(self._pip("--version"), self.tools, "PYTHON_UNUSABLE", "pip does not start", "")
        found = re.search(r"pip (\d+)", version)
        wanted = [*(["pip>=23"] if not found or int(found[1]) < 23 else [])]
        if uv and not (self.tools / "bin" / "uv").exists():
            wanted.append("uv")
        if wanted:
            self._must(
                self._pip("install", "--quiet", *wanted),
                self.tools,
                "REQUIREMENTS_FAILED",
                f"{' and '.join(wanted)} cannot be installed",
                "check floyo_proxy_environment and floyo_ca_bundle",
            )

    def _pip(self, *words: str) -> list[str]:
        python = str(self.tools / "bin" / "python")
        return [python, "-m", "pip", "--disable-pip-version-check", "--no-input", *words]

    def resolve(self, project: Path, requirements: Sequence[str], lock: str, scratch: Path) -> Locked:
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
            text = self._must(
                [
                    str(self.tools / "bin" / "python"), "-m", "uv", "export", "--frozen", "--no-dev", "--no-emit-project",
                    "--no-header", "--no-annotate", "--format=requirements-txt", "--quiet",
                ],
                project,
                "REQUIREMENTS_FAILED",
                "uv.lock cannot be read",
                "run uv lock in the application and commit the result",
            )  # fmt: skip
            return Locked(_joined(text), [], [])
        if lock == "pip":
            return Locked([line for name in requirements for line in expanded(project / name)], [], [])
        report = scratch / "report.json"
        self._must(
            self._pip(
                "install", "--quiet", "--dry-run", "--ignore-installed", f"--report={report}",
                *(f"--requirement={name}" for name in requirements),
            ),
            project,
            "REQUIREMENTS_FAILED",
            "the requirements cannot be resolved",
            "mend the requirements file; for a package server behind a proxy see floyo_proxy_environment and floyo_ca_bundle",
        )  # fmt: skip
        return Locked.from_report(json.loads(report.read_text()), project)

    def make(self, venv: Path) -> None:
        """An empty environment at ``venv``, its final path."""
        self._must(
            [self.python, "-m", "venv", "--without-pip", "--symlinks", str(venv)],
            venv.parent,
            "PYTHON_UNUSABLE",
            f"{self.python} cannot make a virtual environment",
            "install python3-venv on the build host",
        )

    def install(self, venv: Path, locked: Locked, project: Path, scratch: Path) -> None:
        """Exactly ``locked`` and nothing else."""
        into = ["--python", str(venv / "bin" / "python")]
        options = ["install", "--quiet", "--no-deps", "--no-compile", "--no-warn-script-location"]
        for name, lines, checks in (("hashed", locked.hashed, ["--require-hashes"]), ("other", locked.other, [])):
            if lines:
                file = scratch / f"{name}.txt"
                file.write_text("\n".join(lines) + "\n")
                self._installed([*into, *options, *checks, f"--requirement={file}"], project)
        for _, path, editable in locked.local:
            self._installed([*into, *options, *(["--editable"] if editable else []), str(project / path)], project)

    def install_for_tests(
        self, venv: Path, release: Path, project: Path, requirements: Sequence[str], frozen: Path
    ) -> None:
        """An environment that sees the release's packages and adds what only the tests need, at the release's versions."""
        self.make(venv)
        packages = next((release / ".venv" / "lib").glob("python*/site-packages"))
        own = next((venv / "lib").glob("python*/site-packages"))
        (own / "release.pth").write_text(f"{packages}\nimport site; site.addsitedir({str(packages)!r})\n")
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

    def _installed(self, words: Sequence[str], project: Path) -> None:
        self._must(
            self._pip(*words),
            project,
            "REQUIREMENTS_FAILED",
            "the requirements cannot be installed",
            "read log_tail; for a package server behind a proxy see floyo_proxy_environment and floyo_ca_bundle",
        )

    def frozen(self, venv: Path) -> list[str]:
        """``name==version`` of all that is installed."""
        words = self._pip("--python", str(venv / "bin" / "python"), "list", "--format=json")
        text = self._must(words, venv, "REQUIREMENTS_FAILED", "the environment cannot be listed", "")
        found = json.loads(next(line for line in text.splitlines() if line.startswith("[")))
        return sorted(f"{item['name']}=={item['version']}" for item in found)

    def compile(self, release: Path) -> None:
        """Byte code, valid whatever the files' times: the service may not write it later.

        A package may ship files for other versions of Python, which do not compile: they are not imported either.
        """
        self.log.run(
            [
                str(release / ".venv" / "bin" / "python"), "-m", "compileall", "-qq", "-j", "0",
                "--invalidation-mode", "unchecked-hash", str(release),
            ],
            cwd=release,
            timeout=INSTALL_TIMEOUT,
        )  # fmt: skip


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
            f"{asgi} cannot be imported: {_cause(output)}",
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
    argv = shlex.split(command)
    bins = [tests / "bin", release / ".venv" / "bin"]
    program = shutil.which(argv[0], path=os.pathsep.join([*map(str, bins), os.defpath]))
    if program is None:
        raise Unusable(
            f"the test command's program {argv[0]} is not in the release",
            code="TESTS_FAILED",
            expected="it among floyo_requirements or floyo_test_requirements",
            next_step="name the file that holds it in floyo_test_requirements, or set floyo_test_command to '' when there are no tests",
        )
    status, output = log.run(
        [program, *argv[1:]],
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


def _joined(text: str) -> list[str]:
    """Requirement lines with their continuations on one line, without comments."""
    whole = re.sub(r"\\\n\s*", "", text)
    return [" ".join(line.split()) for line in whole.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def expanded(path: Path) -> list[str]:
    """The lines of a requirements file and of those that it includes."""
    lines = []
    for line in _joined(path.read_text(errors="replace")):
        included = re.match(r"(?:-r|--requirement)[ =]*(.+)", line)
        lines += expanded(path.parent / included[1].strip()) if included else [line]
    return lines


def _cause(output: str) -> str:
    """The line of a program's output that says what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and "notice" not in line[:9]]
    marked = [line for line in lines if re.match(r"(ERROR|error|fatal)\b", line)]
    return (marked[-1] if marked else lines[-1])[:400] if lines else f"no output ({sys.platform})"
