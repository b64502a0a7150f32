"""The graph of revisions is read as alembic would read it, and nothing of the application runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import pytest

from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.migrations.graph import read_graph
from ansible.module_utils.floyo.migrations.lineage import Lineage


class Project:
    """An application's directory with alembic files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ini("script_location = migrations")
        (root / "migrations" / "versions").mkdir(parents=True)

    def ini(self, *lines: str) -> None:
        (self.root / "alembic.ini").write_text("[alembic]\n" + "\n".join(lines) + "\n")

    def revision(self, name: str, down: Any = None, *, folder: str = "migrations/versions", **values: Any) -> Path:
        path = self.root / folder / f"{name}_step.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f'"""Step {name}."""', f"revision = {name!r}", f"down_revision = {down!r}"]
        lines += [f"{key} = {value!r}" for key, value in values.items()]
        path.write_text("\n".join([*lines, "def upgrade():", "    pass", "def downgrade():", "    pass", ""]))
        return path

    def graph(self, config: str = "alembic.ini") -> dict[str, Any]:
        return read_graph(str(self.root), config)

    def names(self, config: str = "alembic.ini") -> list[str]:
        return [entry["revision"] for entry in self.graph(config)["revisions"]]

    def error(self, config: str = "alembic.ini") -> FloyoError:
        with pytest.raises(FloyoError) as caught:
            self.graph(config)
        return caught.value


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_linear(project: Project) -> None:
    project.revision("bbb", "aaa")
    path = project.revision("aaa")
    graph = project.graph()
    assert graph["heads"] == ["bbb"]
    assert [entry["revision"] for entry in graph["revisions"]] == ["aaa", "bbb"]
    first = graph["revisions"][0]
    assert first["summary"] == "Step aaa."
    assert first["file"] == "migrations/versions/aaa_step.py"
    assert first["down_revisions"] == []
    assert first["class"] == "expand"
    import hashlib

    assert first["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_no_revisions_is_a_valid_graph(project: Project) -> None:
    assert project.graph() == {"heads": [], "revisions": []}
    (project.root / "migrations" / "versions").rmdir()
    assert project.graph() == {"heads": [], "revisions": []}


def test_branches_and_merges(project: Project) -> None:
    project.revision("aaa")
    project.revision("bbb", "aaa")
    project.revision("ccc", "aaa", branch_labels=("side",))
    assert project.graph()["heads"] == ["bbb", "ccc"]
    project.revision("ddd", ("bbb", "ccc"))
    graph = project.graph()
    assert graph["heads"] == ["ddd"]
    assert graph["revisions"][-1]["down_revisions"] == ["bbb", "ccc"]


def test_a_dependency_by_label_becomes_a_revision(project: Project) -> None:
    project.revision("aaa", branch_labels=["base_tables"])
    project.revision("xxx", depends_on="base_tables")
    assert {entry["revision"]: entry["depends_on"] for entry in project.graph()["revisions"]}["xxx"] == ["aaa"]


def test_nothing_of_the_application_runs(project: Project) -> None:
    path = project.revision("aaa")
    path.write_text(path.read_text() + "\nopen('/nonexistent/file')\nraise SystemExit\n")
    (project.root / "migrations" / "env.py").write_text("raise SystemExit")
    assert project.names() == ["aaa"]


@pytest.mark.parametrize(
    ("lines", "folders"),
    [
        (["version_locations = one two"], ["one", "two"]),
        (["version_locations = one, two"], ["one", "two"]),
        (["version_locations = one:two", "path_separator = os"], ["one", "two"]),
        (["version_locations = one;two", "version_path_separator = ;"], ["one", "two"]),
        (["version_locations = %(here)s/one:%(here)s/two", "path_separator = :"], ["one", "two"]),
        (["version_locations =", "  one", "  two", "path_separator = newline"], ["one", "two"]),
        (["recursive_version_locations = true"], ["migrations/versions/one", "migrations/versions/two"]),
        (["version_locations = app.db:versions one", "prepend_sys_path = src"], ["src/app/db/versions", "one"]),
    ],
)
def test_version_locations(project: Project, lines: list[str], folders: list[str]) -> None:
    project.ini("script_location = %(here)s/migrations", *lines)
    project.revision("aaa", folder=folders[0])
    project.revision("bbb", "aaa", folder=folders[1])
    assert project.names() == ["aaa", "bbb"]


def test_folders_inside_versions_count_only_when_asked(project: Project) -> None:
    project.revision("aaa", folder="migrations/versions/deep")
    assert project.names() == []


def test_other_options_and_logging_sections_do_not_disturb(project: Project) -> None:
    project.ini(
        "script_location = migrations",
        "sqlalchemy.url = postgresql://u:p%%40x@h/%(DB)s",
        "",
        "[formatter_generic]",
        "format = %(m)s",
    )
    project.revision("aaa")
    assert project.names() == ["aaa"]


def test_pyproject(project: Project) -> None:
    toml = '[tool.alembic]\nscript_location = "%(here)s/migrations"\nversion_locations = ["%(here)s/one"]\n'
    (project.root / "pyproject.toml").write_text(toml)
    project.revision("aaa", folder="one")
    assert project.names("pyproject.toml") == ["aaa"]
    project.ini("# all in pyproject.toml")
    assert project.names() == ["aaa"]


def test_old_file_names_carry_the_revision(project: Project) -> None:
    (project.root / "migrations/versions/abc123.py").write_text("def upgrade(): pass\n")
    assert project.names() == ["abc123"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("def broken(:", "no valid Python in line 1"),
        ("revision = make()", "revision is computed"),
        ("revision = 'x1'\ndown_revision = previous", "down_revision is computed"),
        ("x = 1", "sets no revision"),
        ("revision = 'x1'\nfloyo_class = 'fine'", "floyo_class in line 2"),
    ],
)
def test_a_file_alembic_could_not_use_is_named(project: Project, content: str, words: str) -> None:
    (project.root / "migrations/versions/zz_bad.py").write_text(content)
    error = project.error()
    assert error.code == "REVISION_UNREADABLE"
    assert "migrations/versions/zz_bad.py" in error.message
    assert words in error.message


def test_missing_parent(project: Project) -> None:
    project.revision("bbb", "aaa")
    error = project.error()
    assert error.code == "REVISION_MISSING"
    assert "bbb follows aaa" in error.message


def test_cycle(project: Project) -> None:
    project.revision("aaa", "ccc")
    project.revision("bbb", "aaa")
    project.revision("ccc", "bbb")
    assert project.error().code == "REVISION_CYCLE"


def test_the_same_identifier_twice(project: Project) -> None:
    project.revision("aaa")
    project.revision("aaa", folder="migrations/versions").rename(project.root / "migrations/versions/other.py")
    project.revision("aaa")
    assert "both define revision aaa" in project.error().message


@pytest.mark.parametrize(
    ("ini", "code"),
    [
        ("[alembic]\n", "MIGRATIONS_CONFIG_INVALID"),
        ("[alembic]\nscript_location = nowhere\n", "MIGRATIONS_CONFIG_INVALID"),
        ("[alembic]\nscript_location = pkg:migrations\n", "MIGRATIONS_CONFIG_INVALID"),
        ("[alembic]\nscript_location = %(unknown)s\n", "MIGRATIONS_CONFIG_INVALID"),
        (
            "[alembic]\nscript_location = migrations\nversion_locations = a\npath_separator = tab\n",
            "MIGRATIONS_CONFIG_INVALID",
        ),
        ("no ini at all", "MIGRATIONS_CONFIG_INVALID"),
        (None, "MIGRATIONS_CONFIG_MISSING"),
    ],
)
def test_bad_configuration(project: Project, ini: Optional[str], code: str) -> None:
    path = project.root / "alembic.ini"
    path.unlink() if ini is None else path.write_text(ini)
    assert project.error().code == code


def test_names_are_resolved(project: Project) -> None:
    project.revision("abcd1")
    project.revision("abcd2", "abcd1", branch_labels=("side",))
    lineage = Lineage(project.graph()["revisions"])
    assert lineage.resolve("abcd1") == "abcd1"
    assert lineage.resolve("side") == "abcd2"
    for name, code in (("abcd", "REVISION_AMBIGUOUS"), ("zzzz", "REVISION_UNKNOWN"), ("ab", "REVISION_UNKNOWN")):
        with pytest.raises(FloyoError) as caught:
            lineage.resolve(name)
        assert caught.value.code == code
