"""Build a release once: export, resolve, install at the final path, check, test, describe, pack (glue).

The order puts the cheap gates first. A release becomes one when its manifest is written, last; what a killed build leaves
has none and is removed by the next.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pwd
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from ..environment_file import example_names
from ..errors import FloyoError, Unusable
from ..files import read_json, write_atomic, write_json
from ..hostprog.host import Host
from ..hostprog.releases import remove, staged, sweep, tags, tree_lock
from ..migrations.graph import read_graph
from .artifact import MANIFEST, file_digest, make_durable, pack, size_of, tree_digest
from .environment import Locked, Packages, check_import, expanded, lock_of, run_tests
from .git import Mirror
from .names import RECIPE, build_key, release_name, version_of
from .platform import fitting
from .process import Log
from .stage import altered, manifest_of, room

__all__ = ["Source", "build"]

KEPT_LOGS = 30
# Beside those of the releases on this host: an older one is built again from the same commit.
KEPT_ARTIFACTS = 10
# What a build adds to the project's own files.
_OURS = (MANIFEST, "release.env", ".venv")


@dataclasses.dataclass(frozen=True)
class Source:
    """What is built and how: the application's variables."""

    repository: str
    version: str
    project_dir: str
    requirements: Sequence[str]
    test_requirements: Sequence[str]
    lock: str
    asgi: str
    alembic_config: str
    test_command: str
    test_environment: Mapping[str, str]
    test_user: str
    test_timeout: float
    env_example: str
    multiple_heads: bool
    # The name that the same version has where it was built for another platform; empty: a name of its own.
    release: str = ""
    credentials: str = dataclasses.field(default="", repr=False)

    def settings(self, python_tag: str, platform: str) -> dict[str, Any]:
        """What makes another release of the same commit."""
        free = ("repository", "credentials", "version", "test_user", "test_timeout")
        chosen = {key: value for key, value in dataclasses.asdict(self).items() if key not in free}
        if not self.release:
            del chosen["release"]
        return {**chosen, "python_tag": python_tag, "platform": platform}


class _Build:
    """The places of one build and what was found on the way."""

    def __init__(self, host: Host, directory: Path, source: Source, *, rebuild: bool) -> None:
        self.host, self.directory, self.source, self.rebuild = host, directory, source, rebuild
        self.tags = tags(host.config.python)
        self.account = _account(source.test_user)
        self.log = Log(directory / "logs" / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.log")
        for old in sorted((directory / "logs").glob("*.log"))[:-KEPT_LOGS]:
            old.unlink()
        self.artifacts = directory / "artifacts"
        self.mirror = Mirror(directory / "mirror.git", source.repository, self.log, credentials=source.credentials)
        self.packages = Packages(directory / f"tools-{self.tags['python_tag']}", host.config.python, self.log)
        # Not below the state directory, which the account that runs the tests may not enter.
        self.work = Path(host.config.root, ".build")

    def records(self) -> list[dict[str, Any]]:
        """Of earlier builds. A damaged one is as good as none: the release is packed again."""
        found = []
        for path in self.artifacts.glob("*.json"):
            with contextlib.suppress(ValueError):
                found.append(read_json(str(path)))
        return found

    def known(self, key: str) -> Optional[dict[str, Any]]:
        """The record of an earlier build of the same, when its artifact is whole."""
        if self.rebuild:
            return None
        same = [record for record in self.records() if record["key"] == key]
        # One that was built again has newer packages: the older one must not come back.
        for record in sorted(same, key=lambda record: float(record["manifest"]["built_at"]), reverse=True)[:1]:
            packed = Path(record["artifact"]["path"])
            if packed.exists() and file_digest(packed) == record["artifact"]["sha256"]:
                return record
        return None

    def run(self, *, check: bool) -> dict[str, Any]:
        version = self.source.version
        if not self.mirror.has_commit(version):
            self.mirror.fetch()
        commit, kind = self.mirror.resolve(version)
        about = self.mirror.describe(commit)
        named = version_of(version, kind, commit)
        # A tag on a commit that was deployed before it had one is a release of its own: /health shall say its name.
        key = build_key(commit, {**self.source.settings(**self.tags), "version": named})
        record = self.known(key)
        if record:
            return _result(record, changed=False)
        # What a build takes: the release, a copy for its tests with their packages, the packed release.
        largest = max((int(one["manifest"]["size"]) for one in self.records()), default=0)
        room(self.host, 3 * largest, "a build")
        if check:
            return {"changed": True, "release": "", "version": named, "manifest": about, "artifact": {}, "log_tail": []}
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(mode=0o711)
        try:
            return _result(self.make(named, about, key), changed=True)
        finally:
            shutil.rmtree(self.work, ignore_errors=True)

    def make(self, version: str, about: Mapping[str, str], key: str) -> dict[str, Any]:
        source, tree = self.source, self.work / "tree"
        self.mirror.export(about["commit"], tree)
        project = tree / source.project_dir
        looked = self.look(tree, project)
        lock = lock_of(project, source.requirements, source.lock, source.project_dir)
        self.packages.prepare(uv=lock == "uv")
        locked = self.lock(project, lock)
        release = source.release or release_name(version, key, about["tree"], locked.text())
        target = Path(self.host.release_dir(release))
        described = {
            **about,
            "release": release,
            "version": version,
            **looked,
            "project_dir": source.project_dir,
            "asgi": source.asgi,
            "lock": lock,
            "recipe": RECIPE,
            "builder": socket.gethostname(),
            **self.tags,
        }
        manifest = self.intact(target)
        if manifest is None:
            try:
                manifest = self.fill(target, tree, locked, described)
            except BaseException:
                shutil.rmtree(target, ignore_errors=True)
                raise
        return self.packed(target, manifest, key)

    def intact(self, target: Path) -> Optional[dict[str, Any]]:
        """The manifest of the same release when it is there as it was built. One that was altered goes."""
        release = target.name
        if release not in staged(self.host):
            return None
        manifest = manifest_of(target)
        # One that was staged here came from another platform.
        if tree_digest(target) == manifest.get("files") and not fitting(manifest, self.tags):
            return manifest
        if release in (self.host.linked(), self.host.running()):
            raise altered(release)
        remove(self.host, release)
        return None

    def lock(self, project: Path, lock: str) -> Locked:
        """What is installed. Ranges are resolved once for the same requirements files, and again when asked to rebuild.

        So the next release has the packages of the one that runs, unless its requirements say otherwise.
        """
        files = [(name, expanded(project / name)) for name in self.source.requirements if (project / name).is_file()]
        named = hashlib.sha256(json.dumps([lock, files, self.tags]).encode()).hexdigest()[:32]
        kept = self.directory / "locks" / f"{named}.json"
        if lock == "none" and kept.exists() and not self.rebuild:
            return Locked(**read_json(str(kept)))
        locked = self.packages.resolve(project, self.source.requirements, lock, self.work, self.source.project_dir)
        if lock == "none" and locked.reusable:
            kept.parent.mkdir(mode=0o750, exist_ok=True)
            write_json(str(kept), dataclasses.asdict(locked), mode=0o640)
        return locked

    def look(self, tree: Path, project: Path) -> dict[str, Any]:
        """What can be judged from the files alone: the graph of revisions, the names of the environment."""
        source = self.source
        inside = project.resolve() == tree.resolve() or tree.resolve() in project.resolve().parents
        if not (project.is_dir() and inside):
            raise Unusable(
                f"the repository has no directory {source.project_dir}",
                code="PROJECT_MISSING",
                expected="the application's directory in floyo_project_dir",
                next_step="correct floyo_project_dir",
            )
        taken = [name for name in _OURS if os.path.lexists(tree / name)]
        if taken:
            raise Unusable(
                f"the repository holds {', '.join(taken)}, where a release has something of its own",
                code="NAME_TAKEN",
                expected=f"no {' or '.join(_OURS)} at the root of the repository",
                next_step="rename it in the application",
            )
        graph: dict[str, Any] = {"heads": [], "revisions": []}
        if source.alembic_config:
            graph = read_graph(str(project), source.alembic_config)
        if len(graph["heads"]) > 1 and not source.multiple_heads:
            raise Unusable(
                f"the migrations have {len(graph['heads'])} heads: {', '.join(graph['heads'])}",
                code="MULTIPLE_HEADS",
                expected="one head",
                next_step="alembic merge heads in the application, or set floyo_multiple_heads when both are meant",
            )
        names: dict[str, str] = {}
        optional: set[str] = set()
        if source.env_example:
            path = project / source.env_example
            if not path.is_file():
                raise Unusable(
                    f"the project has no {source.env_example}",
                    code="ENV_EXAMPLE_MISSING",
                    expected="the file that lists the environment's names, or floyo_env_example set to ''",
                    next_step="correct floyo_env_example",
                )
            names, optional = example_names(path.read_text(errors="replace"))
        return {"alembic": graph, "env_names": sorted(names), "env_optional": sorted(optional)}

    def fill(self, target: Path, tree: Path, locked: Locked, described: Mapping[str, Any]) -> dict[str, Any]:
        """Make the release's directory and prove it; its manifest comes last."""
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(tree, target, symlinks=True)
        project = target / self.source.project_dir
        self.packages.make(target / ".venv")
        self.packages.install(target / ".venv", locked, project, self.work)
        requirements = self.packages.frozen(target / ".venv")
        # Before anything is imported, which would compile the same in memory, twice.
        self.packages.compile(target)
        tests = self.prove(target, tree, locked, requirements)
        write_atomic(
            str(target / "release.env"),
            f"FLOYO_RELEASE={described['release']}\nFLOYO_VERSION={described['version']}\n".encode(),
            mode=0o644,
        )
        _close(target, int(described["epoch"]))
        manifest = {
            **described,
            "requirements": requirements,
            "tests": tests,
            "built_at": time.time(),
            "size": size_of(target),
            "files": tree_digest(target),
        }
        make_durable(target)
        write_json(str(target / MANIFEST), manifest, mode=0o644)
        return manifest

    def prove(self, target: Path, tree: Path, locked: Locked, requirements: Sequence[str]) -> dict[str, Any]:
        """The application imports and its own tests pass, as somebody who may read nothing of production's."""
        source = self.source
        scratch = self.work / "scratch"
        tree.rename(scratch)
        if os.geteuid() == 0:
            for directory, names, files in os.walk(scratch):
                for path in (directory, *(os.path.join(directory, name) for name in [*names, *files])):
                    os.chown(path, self.account.pw_uid, self.account.pw_gid, follow_symlinks=False)
        project = scratch / source.project_dir
        check_import(
            target, project, source.asgi, environment=source.test_environment, account=self.account, log=self.log
        )
        if not source.test_command.strip():
            return {"command": "", "passed": None, "summary": "the application has no tests", "seconds": 0.0}
        frozen = self.work / "frozen.txt"
        frozen.write_text("\n".join(requirements) + "\n")
        tests = self.work / "tests"
        self.packages.install_for_tests(
            tests, target, target / source.project_dir, source.test_requirements, locked, frozen
        )
        begin = time.monotonic()
        summary = run_tests(
            target, tests, project, source.test_command,
            environment=source.test_environment, account=self.account, timeout=source.test_timeout, log=self.log,
        )  # fmt: skip
        return {
            "command": source.test_command,
            "passed": True,
            "summary": summary,
            "seconds": round(time.monotonic() - begin, 1),
        }

    def packed(self, target: Path, manifest: Mapping[str, Any], key: str) -> dict[str, Any]:
        self.artifacts.mkdir(mode=0o750, exist_ok=True)
        # Two platforms' artifacts of one release lie side by side on the controller.
        own = f"@{self.tags['python_tag']}-{self.tags['platform']}" if self.source.release else ""
        path = self.artifacts / f"{target.name}{own}.tar.zst"
        sha256 = pack(target, path)
        record = {
            "key": key,
            "release": target.name,
            "manifest": dict(manifest),
            "artifact": {"path": str(path), "sha256": sha256, "size": path.stat().st_size},
        }
        write_json(_record(path), record, mode=0o640)
        self.tidy()
        return record

    def tidy(self) -> None:
        """Remove what a killed build left, and the oldest artifacts of releases that are not on this host."""
        for left in self.artifacts.glob("*.partial"):
            left.unlink()
        here = staged(self.host)
        gone = [
            path
            for path in self.artifacts.glob("*.tar.zst")
            if path.name[: -len(".tar.zst")].partition("@")[0] not in here
        ]
        for path in sorted(gone, key=lambda path: path.stat().st_mtime)[:-KEPT_ARTIFACTS]:
            Path(_record(path)).unlink(missing_ok=True)
            path.unlink()


def build(host: Host, directory: Path, source: Source, *, check: bool, rebuild: bool) -> dict[str, Any]:
    """``release, manifest, artifact {path, sha256, size}, changed, log_tail``. Nothing that runs is touched."""
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    os.umask(0o022)
    with tree_lock(host):
        if not check:
            sweep(host)
        return _Build(host, directory, source, rebuild=rebuild).run(check=check)


def _record(artifact: Path) -> str:
    return str(artifact)[: -len(".tar.zst")] + ".json"


def _result(record: Mapping[str, Any], *, changed: bool) -> dict[str, Any]:
    return {
        "changed": changed,
        "release": record["release"],
        "version": record["manifest"]["version"],
        "manifest": record["manifest"],
        "artifact": record["artifact"],
        "log_tail": [],
    }


def _close(target: Path, epoch: int) -> None:
    """Nobody but root writes into a release, and everybody may read it.

    Every file has the commit's time, on all hosts: web servers make validators for caches of it.
    """
    for directory, _, files in os.walk(target, topdown=False):
        for name in files:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                os.chmod(path, 0o755 if os.stat(path).st_mode & 0o100 else 0o644)
            os.utime(path, (epoch, epoch), follow_symlinks=False)
        os.chmod(directory, 0o755)  # noqa: S103 - public to read, by design
        os.utime(directory, (epoch, epoch))


def _account(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError as error:
        raise FloyoError(
            f"there is no account {name} on the build host",
            code="ACCOUNT_UNKNOWN",
            expected="an account without rights, which runs the application's tests",
            next_step="correct floyo_test_user",
        ) from error
