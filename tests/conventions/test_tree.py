"""What holds for every role, module, playbook and target, also for those that come later."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.parent.parent for path in ROOT.glob("roles/*/meta/main.yml"))
MODULES = sorted(ROOT.glob("library/*.py"))
PLAYBOOKS = sorted(ROOT.glob("playbooks/*.yml"))
PINNED = sorted(ROOT.glob("requirements/*.txt"))
MAIN_LINES = 40
README_LINES = 150


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.exists() else None


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def name_of(value: Any) -> str:
    return value.name if isinstance(value, Path) else str(value)


def constants(path: Path) -> dict[str, str]:
    """The module-level strings of a Python file (a module's documentation)."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for target in node.targets:
                found[cast(ast.Name, target).id] = node.value.value
    return found


def options_of(role: Path) -> dict[str, Any]:
    """What a role's first entry point is given: ``main`` of all but floyo_app, which has no tasks."""
    entries = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    return next(iter(entries.values())).get("options") or {}


# --- roles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES, ids=name_of)
def test_defaults_are_the_optional_options(role: Path) -> None:
    """Every default is an option that states it, and every option with a default has it in defaults/main.yml."""
    options = options_of(role)
    defaults = load(role / "defaults" / "main.yml") or {}
    with_default = {name for name, option in options.items() if "default" in option}
    assert set(defaults) - set(options) == set(), "in defaults/main.yml but not in meta/argument_specs.yml"
    assert with_default - set(defaults) == set(), (
        "with a default in meta/argument_specs.yml but not in defaults/main.yml"
    )
    assert set(defaults) - with_default == set(), "the argument spec does not state the default"


@pytest.mark.parametrize("role", ROLES, ids=name_of)
def test_defaults_and_argument_spec_state_the_same_value(role: Path) -> None:
    options = options_of(role)
    defaults = load(role / "defaults" / "main.yml") or {}
    different = {
        name: (value, options[name]["default"])
        for name, value in defaults.items()
        if name in options and normal(options[name].get("default")) != normal(value)
    }
    assert different == {}


def normal(value: Any) -> Any:
    """A folded template and one on a single line are the same."""
    return " ".join(value.split()) if isinstance(value, str) else value


@pytest.mark.parametrize("role", ROLES, ids=name_of)
def test_every_option_is_described(role: Path) -> None:
    for entry, spec in load(role / "meta" / "argument_specs.yml")["argument_specs"].items():
        missing = [name for name, option in (spec.get("options") or {}).items() if not option.get("description")]
        assert missing == [], f"{entry}: no description"


@pytest.mark.parametrize("role", ROLES, ids=name_of)
def test_public_and_internal_names(role: Path) -> None:
    # What describes the application and what a deploy is asked to do are the user's own words, of no single role.
    prefix = "floyo_" if role.name in ("floyo_app", "floyo_deploy") else f"{role.name}_"
    assert [name for name in load(role / "defaults" / "main.yml") or {} if not name.startswith(prefix)] == []
    internal = load(role / "vars" / "main.yml") or {}
    assert [name for name in internal if not name.startswith(f"__{role.name}_")] == []
    registered = [
        name
        for path in role.rglob("tasks/**/*.yml")
        for name in re.findall(r"^\s+register:\s*(\S+)", path.read_text(), re.MULTILINE)
    ]
    assert [name for name in registered if not name.startswith("__")] == []


def test_no_secret_has_a_default() -> None:
    secret = re.compile(r"(password|secret|token)$")
    found = [
        f"{role.name}: {name}"
        for role in ROLES
        for name, value in (load(role / "defaults" / "main.yml") or {}).items()
        if secret.search(name) and value
    ]
    assert found == []


# --- modules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_modules_are_documented(module: Path) -> None:
    texts = constants(module)
    documentation = yaml.safe_load(texts.get("DOCUMENTATION", "{}"))
    assert documentation.get("module") == module.stem
    assert documentation.get("short_description")
    assert {"check_mode", "diff_mode"} <= set(documentation.get("attributes") or {})
    assert yaml.safe_load(texts.get("EXAMPLES", "")), "EXAMPLES is empty or no YAML"
    assert "RETURN" in texts
    yaml.safe_load(texts["RETURN"])


def test_ansible_doc_reads_every_module() -> None:
    names = [module.stem for module in MODULES]
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-doc"), "--json", "-t", "module", *names],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(json.loads(done.stdout)) == names


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_modules_are_tested(module: Path) -> None:
    tests = [path for ring in ("unit", "module") for path in (ROOT / "tests" / ring).rglob("*.py")]
    assert any(re.search(rf"\b{module.stem}\b", path.read_text()) for path in tests), "no test names this module"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_main_is_short(module: Path) -> None:
    functions = {node.name: node for node in ast.parse(module.read_text()).body if isinstance(node, ast.FunctionDef)}
    if not functions and (ROOT / "plugins" / "action" / module.name).exists():
        return  # only documentation: the work is done on the controller
    assert "main" in functions
    main = functions["main"]
    assert int(main.end_lineno or 0) - main.lineno + 1 <= MAIN_LINES


@pytest.mark.parametrize(
    "path", [p for p in ROOT.glob("module_utils/**/*.py") if p != ROOT / "module_utils/floyo/module.py"], ids=name_of
)
def test_only_the_glue_ends_a_module(path: Path) -> None:
    calls = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"fail_json", "exit_json"}
    ]
    assert calls == [], "raise a FloyoError, return the result"


# --- playbooks and documents -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=name_of)
def test_playbooks_are_in_the_runbook(playbook: Path) -> None:
    assert playbook.name in (ROOT / "docs" / "runbook.md").read_text()


def test_the_runbook_names_no_playbook_that_is_missing() -> None:
    named = set(re.findall(r"playbooks/(\w+\.yml)", (ROOT / "docs" / "runbook.md").read_text()))
    assert named - {path.name for path in PLAYBOOKS} == set()


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=name_of)
def test_playbooks_say_what_they_do(playbook: Path) -> None:
    assert re.match(r"---.*\n# \w", playbook.read_text()), "it begins with a comment for the user"


@pytest.mark.parametrize("plugin", sorted(ROOT.glob("plugins/*/*.py")), ids=name_of)
def test_a_plugin_loads_alone(plugin: Path) -> None:
    """Whichever a play needs first: none may count on what another one has set up."""
    code = "import importlib.util, sys; s = importlib.util.spec_from_file_location('p', sys.argv[1]);"
    code += " s.loader.exec_module(importlib.util.module_from_spec(s))"
    done = subprocess.run([sys.executable, "-c", code, plugin], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("inventory", ["local", "staging", "production"])
def test_syntax_of_every_playbook(inventory: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "--syntax-check", "-i", f"inventories/{inventory}",
         *(str(path.relative_to(ROOT)) for path in PLAYBOOKS)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # Only the local inventory has a fleet to boot.
    expected = "Could not match supplied host pattern, ignoring: floyo_fleet"
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line and expected not in line]
    assert warnings == []


def test_make_lists_what_the_readme_names() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^make ([a-z-]+) ", listed, re.MULTILINE))
    assert {"setup", "demo", "test", "lint", "bench", "fleet", "clean"} <= targets
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == targets, "a target has no line in the list"
    for document in (ROOT / "README.md", ROOT / "docs" / "runbook.md"):
        assert set(re.findall(r"`make ([a-z-]+)", document.read_text())) - targets == set(), document.name


def test_what_make_calls_is_there() -> None:
    called = re.findall(r"^\t@(scripts/\w+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [name for name in called if not (ROOT / name).exists()] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


# --- what is installed -----------------------------------------------------------------------------------------------


def test_collections_are_what_requirements_yml_says() -> None:
    """The package `ansible` carries the collections; the ranges hold for the line in use and start at the older."""
    from packaging.specifiers import SpecifierSet

    package = Path(str(importlib.metadata.distribution("ansible").locate_file("ansible_collections")))
    line = importlib.metadata.version("ansible-core").rsplit(".", 1)[0]
    for wanted in load(ROOT / "requirements.yml")["collections"]:
        namespace, name = wanted["name"].split(".")
        installed = json.loads((package / namespace / name / "MANIFEST.json").read_text())["collection_info"]["version"]
        assert SpecifierSet(wanted["version"]).contains(installed), f"{wanted['name']} {installed}"
        if line == "2.19":
            assert f">={installed}" in wanted["version"].split(","), (
                f"{wanted['name']}: the lower bound is not {installed}"
            )


def test_used_collections_are_required() -> None:
    wanted = {entry["name"] for entry in load(ROOT / "requirements.yml")["collections"]}
    used = {
        match
        for path in tracked("roles/*.yml", "playbooks/*.yml", "molecule/*.yml")
        for match in re.findall(r"^\s+((?:ansible|community|containers)\.\w+)\.\w+:", path.read_text(), re.MULTILINE)
    }
    assert used - {"ansible.builtin"} <= wanted


@pytest.mark.parametrize("path", PINNED, ids=name_of)
def test_pinned_requirements(path: Path) -> None:
    assert path.with_suffix(".in").exists()
    text = path.read_text()
    assert (
        re.findall(r"^\s*(?:-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host)\b.*$", text, re.MULTILINE)
        == []
    )
    assert "://" not in text
    blocks = re.findall(r"^([a-z][^\s=]*)==(\S+)((?:.*\\\n)(?:\s+--hash=.*\n)+)?", text, re.MULTILINE)
    assert len(blocks) > 20
    assert [name for name, _, hashes in blocks if not hashes] == [], "without a hash"


def test_there_is_a_pinned_file_for_each_line() -> None:
    assert {path.stem for path in PINNED} == {"core-2.19", "core-2.21"}


# --- what must not be in the project ---------------------------------------------------------------------------------


def test_no_registry_and_no_path_of_one_machine() -> None:
    """The patterns are put together from pieces, so that this file does not contain what it looks for."""
    dot = r"\."
    hosts = ["py" + "pi" + dot + "org", "python" + "hosted" + dot + "org", "npm" + "js" + dot + "org"]
    hosts += [part + dot + "debian" + dot + "org" for part in ("deb", "security")]
    places = [r"(?:^|[^\w.-])/(?:" + "wo" + "rk|fa" + r"rm)/", "py" + "env/", dot + "library/"]
    pattern = re.compile("|".join(hosts + places), re.IGNORECASE | re.MULTILINE)
    found = []
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content:
            text = content.decode(errors="replace")
            found += [f"{path.relative_to(ROOT)}: {match[0].strip()}" for match in pattern.finditer(text)]
    assert found == []


def test_vaults_are_encrypted() -> None:
    plain = [str(path) for path in tracked("*vault.yml") if not path.read_text().startswith("$ANSIBLE_VAULT;")]
    assert plain == []


def test_ascii_output() -> None:
    """Terminals and logs of old servers: what we print is plain ASCII; comments and docstrings are free."""
    found = []
    for path in tracked("library/*.py", "module_utils/*.py", "plugins/*.py"):
        tree = ast.parse(path.read_text())
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)}
        found += [
            f"{path.relative_to(ROOT)}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value not in docstrings
            and not node.value.isascii()
        ]
    yaml_files = tracked("playbooks/*.yml", "roles/*.yml")
    found += [str(path.relative_to(ROOT)) for path in yaml_files if not path.read_text().isascii()]
    assert found == []
