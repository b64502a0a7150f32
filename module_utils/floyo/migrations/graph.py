"""The graph of a project's alembic revisions, read without running any of its code (standard library only).

``alembic_config`` is an ini file (``alembic.ini``) or a TOML file (``pyproject.toml``) relative to the project; what
the ini file does not say is taken from ``pyproject.toml``, as alembic does.
"""

from __future__ import annotations

import ast
import configparser
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from ..errors import FloyoError, Unusable
from .classify import classify
from .lineage import Lineage

__all__ = ["read_graph", "script_directory"]

_SEPARATORS = {"space": " ", "newline": "\n", "os": os.pathsep, ":": ":", ";": ";"}
_REVISION_FILE = re.compile(r"(?!\.#|__init__)(.*\.py)$")
_LEGACY_NAME = re.compile(r"([a-f0-9]+)\.py$")


def read_graph(project_root: str, alembic_config: str) -> dict[str, Any]:
    """``{"heads": [...], "revisions": [...]}``, parents first. No version files at all is a valid, empty graph.

    Each revision: ``revision, down_revisions, depends_on, branch_labels, class, reasons, operations, drops,
    downgrade {kind, loses, reason}, autocommit, summary, file, sha256``.
    """
    root = Path(project_root)
    settings = _Settings(root, alembic_config)
    entries, problems = [], []
    for path in settings.revision_files():
        try:
            entries.append(_read_revision(path, root))
        except FloyoError as error:
            problems.append(
                f"{_shown(path, root)}: {error.message}" + (f" (expected {error.expected})" if error.expected else "")
            )
    seen: dict[str, str] = {}
    for entry in entries:
        other = seen.setdefault(entry["revision"], entry["file"])
        if other != entry["file"]:
            problems.append(f"{other} and {entry['file']} both define revision {entry['revision']}")
    if problems:
        raise Unusable(
            "; ".join(problems),
            code="REVISION_UNREADABLE",
            expected="files that alembic could load",
            next_step="mend the named file and build again",
            problems=problems,
        )
    _resolve_dependencies(entries)
    lineage = Lineage(entries)
    return {"heads": lineage.heads(), "revisions": [lineage[name] for name in lineage.ordered(lineage.revisions)]}


def script_directory(project_root: str, alembic_config: str) -> str:
    """Where the project's env.py is."""
    return str(_Settings(Path(project_root), alembic_config).script_location)


def _shown(path: Path, root: Path) -> str:
    return os.path.relpath(path, root)


class _Settings:
    """The part of alembic's configuration that says where the revision files are."""

    def __init__(self, root: Path, alembic_config: str) -> None:
        self.root = root
        self.name = alembic_config
        path = root / alembic_config
        if not path.is_file():
            raise Unusable(
                f"alembic's configuration {path} is not there",
                code="MIGRATIONS_CONFIG_MISSING",
                expected="an ini file, or a pyproject.toml with [tool.alembic]",
                next_step="set floyo_alembic_config to its path in the project, or to '' when there are no migrations",
            )
        self.ini: dict[str, str] = {}
        self.toml: Mapping[str, Any] = {}
        if path.suffix == ".toml":
            self.toml = self._read_toml(path)
        else:
            self.ini = self._read_ini(path)
            if "script_location" not in self.ini and (root / "pyproject.toml").is_file():
                self.toml = self._read_toml(root / "pyproject.toml")
        location = self._option("script_location")
        if not isinstance(location, str) or not location:
            raise Unusable(
                f"{path} names no script_location",
                code="MIGRATIONS_CONFIG_INVALID",
                expected="script_location = <directory with env.py and versions/> in section [alembic]",
                next_step="add it, or set floyo_alembic_config to the right file",
            )
        self.script_location = self._located(location)
        if not self.script_location.is_dir():
            raise Unusable(
                f"script_location {location} of {path} is no directory ({self.script_location})",
                code="MIGRATIONS_CONFIG_INVALID",
                expected="the directory with env.py, relative to the project directory",
                next_step="check floyo_project_dir and script_location",
            )

    def _read_ini(self, path: Path) -> dict[str, str]:
        # %(here)s is the only name alembic adds. Options that need another one are none of ours: each is read alone.
        parser = configparser.ConfigParser({"here": str(path.parent.absolute())})
        try:
            parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
            names = (
                [name for name in parser.options("alembic") if name in _OPTIONS]
                if parser.has_section("alembic")
                else []
            )
            return {name: parser.get("alembic", name) for name in names}
        except (configparser.Error, UnicodeDecodeError) as error:
            raise Unusable(
                f"{path} cannot be read: {error}",
                code="MIGRATIONS_CONFIG_INVALID",
                expected="an ini file as alembic reads it",
            ) from error

    def _read_toml(self, path: Path) -> Mapping[str, Any]:
        try:
            import tomllib
        except ImportError as error:  # Python 3.9 and 3.10
            raise Unusable(
                f"{path} cannot be read by this Python, which has no TOML reader",
                code="PYTHON_TOO_OLD",
                expected="Python 3.11 or later, or an alembic.ini",
            ) from error
        try:
            section = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("alembic", {})
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Unusable(
                f"{path} cannot be read: {error}", code="MIGRATIONS_CONFIG_INVALID", expected="TOML"
            ) from error
        return {name: self._filled(value, path) for name, value in section.items() if name in _OPTIONS}

    def _filled(self, value: Any, path: Path) -> Any:
        if isinstance(value, list):
            return [self._filled(item, path) for item in value]
        try:
            return value % {"here": str(path.parent.absolute())} if isinstance(value, str) else value
        except (KeyError, ValueError, TypeError) as error:
            raise Unusable(
                f"{path}: {value!r} cannot be filled in: {error!r}",
                code="MIGRATIONS_CONFIG_INVALID",
                expected="%(here)s only",
            ) from error

    def _option(self, name: str) -> Any:
        return self.ini.get(name, self.toml.get(name))

    def _is_on(self, name: str) -> bool:
        return self._option(name) in ("true", True)

    def _listed(self, name: str, separator_options: tuple[str, ...], legacy: str) -> list[str]:
        value = self._option(name)
        if not value:
            return []
        if isinstance(value, list):
            return [str(item) for item in value]
        separator = next((self.ini[option] for option in separator_options if option in self.ini), None)
        if separator is None:
            return [part for part in re.split(legacy, str(value)) if part]
        if separator not in _SEPARATORS:
            raise Unusable(
                f"{self.name}: path separator {separator!r} is unknown",
                code="MIGRATIONS_CONFIG_INVALID",
                expected=", ".join(_SEPARATORS),
            )
        return [part.strip() for part in str(value).split(_SEPARATORS[separator]) if part.strip()]

    def _located(self, location: str) -> Path:
        """A path relative to the project, or ``package:path`` found without importing the package."""
        if Path(location).is_absolute() or ":" not in location:
            return self.root / location
        package, _, inside = location.partition(":")
        places = [*self._listed("prepend_sys_path", ("path_separator",), r", *|(?: +)|:"), "."]
        for place in places:
            directory = self.root / place / Path(*package.split("."))
            if directory.is_dir():
                return directory / inside
        below = ", ".join(str(self.root / place) for place in places)
        raise Unusable(
            f"{location} in {self.name}: package {package} is not in the project",
            code="MIGRATIONS_CONFIG_INVALID",
            expected=f"a directory {package.replace('.', '/')} below {below}",
            next_step="name the directory by its path instead",
        )

    def revision_files(self) -> Iterator[Path]:
        names = self._listed("version_locations", ("path_separator", "version_path_separator"), r", *|(?: +)")
        directories = [self._located(name) for name in names] or [self.script_location / "versions"]
        recursive, seen = self._is_on("recursive_version_locations"), set()
        for directory in directories:
            for folder, folders, files in os.walk(directory):
                folders[:] = sorted(name for name in folders if name != "__pycache__") if recursive else []
                for name in sorted(files):
                    path = Path(folder) / name
                    if _REVISION_FILE.match(name) and path.resolve() not in seen:
                        seen.add(path.resolve())
                        yield path
                    elif (
                        self._is_on("sourceless") and name.endswith(".pyc") and name.replace(".pyc", ".py") not in files
                    ):
                        raise Unusable(
                            f"{path} has no source",
                            code="REVISION_UNREADABLE",
                            expected="revision files with their source",
                        )


_OPTIONS = {
    "script_location", "version_locations", "path_separator", "version_path_separator", "prepend_sys_path",
    "recursive_version_locations", "sourceless",
}  # fmt: skip


def _read_revision(path: Path, root: Path) -> dict[str, Any]:
    data = path.read_bytes()
    try:
        module = ast.parse(data, filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise Unusable(f"no valid Python{line}: {error.args[0]}", code="REVISION_UNREADABLE") from error
    values = _module_values(module)
    legacy = _LEGACY_NAME.fullmatch(path.name)
    if "revision" not in values and legacy:
        values["revision"] = ast.Constant(legacy.group(1))
    names = _literal(values.get("revision"), "revision")
    if len(names) != 1:
        raise Unusable("it sets no revision", code="REVISION_UNREADABLE", expected='revision = "<identifier>"')
    judged = classify(module)
    return {
        "revision": names[0],
        "down_revisions": _literal(values.get("down_revision"), "down_revision"),
        "depends_on": _literal(values.get("depends_on"), "depends_on"),
        "branch_labels": _literal(values.get("branch_labels"), "branch_labels"),
        "class": judged.kind,
        "reasons": judged.reasons,
        "operations": judged.operations,
        "drops": judged.drops,
        "downgrade": {
            "kind": judged.downgrade,
            "loses": judged.downgrade_loses,
            "reason": judged.downgrade_reason,
        },
        "autocommit": judged.autocommit,
        "summary": _summary(module, path),
        "file": _shown(path, root),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _module_values(module: ast.Module) -> dict[str, ast.expr]:
    values: dict[str, ast.expr] = {}
    for statement in module.body:
        if isinstance(statement, ast.Assign):
            values.update({target.id: statement.value for target in statement.targets if isinstance(target, ast.Name)})
        elif (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and statement.value is not None
        ):
            values[statement.target.id] = statement.value
    return values


def _literal(node: Optional[ast.expr], name: str) -> list[str]:
    """The identifiers of ``revision = …`` and its relatives: None, one string, or several."""
    if node is None:
        return []
    try:
        value = ast.literal_eval(node)
    except ValueError:
        value = node
    items = (
        []
        if value is None
        else [value]
        if isinstance(value, str)
        else list(value)
        if isinstance(value, (tuple, list, set))
        else [value]
    )
    if not all(isinstance(item, str) and item for item in items):
        raise Unusable(
            f"{name} is computed ({ast.unparse(node)[:60]})",
            code="REVISION_UNREADABLE",
            expected=f"{name} as literal text, a list or None",
        )
    return list(dict.fromkeys(items))


def _summary(module: ast.Module, path: Path) -> str:
    """The first line of the file's docstring, as ``alembic history`` shows it."""
    text = (ast.get_docstring(module) or "").strip()
    return text.splitlines()[0].strip() if text else path.stem


def _resolve_dependencies(entries: list[dict[str, Any]]) -> None:
    """depends_on may name a branch label: put the revision that carries the label in its place."""
    labels = {label: entry["revision"] for entry in entries for label in entry["branch_labels"]}
    for entry in entries:
        entry["depends_on"] = [labels.get(name, name) for name in entry["depends_on"]]
