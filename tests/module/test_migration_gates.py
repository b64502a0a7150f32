"""Pending migrations as a deploy meets them: the role's own steps, by ansible-playbook, on a real database."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

ENV_PY = """
import os
from alembic import context
from sqlalchemy import create_engine, pool

URL = os.environ["DATABASE_URL"]
if context.is_offline_mode():
    context.configure(url=URL, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(URL, poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""
RELEASE = "v2-00000000"
UP = {
    "base0000": "pass",
    "aaaa1111": "op.execute('CREATE INDEX by_name ON users (name)')",
    "bbbb2222": "op.execute('SELECT pg_sleep(7)')",
}


class Fleet:
    """One host, this one, with a staged release whose revisions are pending; a database with a table of 50 rows."""

    def __init__(self, root: Path, place: Path, url: str) -> None:
        self.root, self.place, self.url = root, place, url
        self.release = place / "srv" / "releases" / RELEASE
        versions = self.release / "migrations" / "versions"
        versions.mkdir(parents=True)
        (self.release / ".venv").symlink_to(sys.prefix)
        (self.release / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
        (self.release / "migrations" / "env.py").write_text(ENV_PY)
        below = None
        for name, code in UP.items():
            (versions / f"{name}.py").write_text(
                f'"""Step {name}."""\nfrom alembic import op\nrevision = {name!r}\ndown_revision = {below!r}\n\n'
                f"def upgrade():\n    {code}\n\ndef downgrade():\n    pass\n"
            )
            below = name
        (place / "backend.env").write_text("OTHER=1\n")
        (place / "state").mkdir()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
            connection.execute("INSERT INTO alembic_version VALUES ('base0000')")
            connection.execute(
                "CREATE TABLE users AS SELECT g AS id, 'name ' || g AS name FROM generate_series(1, 50) g"
            )
        with psycopg.connect(url, autocommit=True) as connection:  # the other has told what it has done
            connection.execute("ANALYZE users")

    def play(self, *tasks: dict[str, Any], check: bool = False, **more: Any) -> subprocess.CompletedProcess[str]:
        playbook = self.place / "play.yml"
        playbook.write_text(json.dumps([{"name": "Test", "hosts": "all", "gather_facts": False, "tasks": list(tasks)}]))
        facts = {
            "floyo_root": str(self.place / "srv"),
            "floyo_etc_dir": str(self.place),
            "floyo_state_dir": str(self.place / "state"),
            "floyo_data_directory": str(self.place),
            "floyo_project_dir": "",
            "floyo_alembic_config": "alembic.ini",
            "floyo_alembic_version_table": "alembic_version",
            "floyo_alembic_version_schema": "",
            "floyo_database_url": self.url.replace("postgresql:", "postgresql+psycopg:"),
            "floyo_database_url_env": ["DATABASE_URL"],
            "floyo_user": getpass.getuser(),
            "floyo_migrate_host": "a",
            "ansible_python_interpreter": sys.executable,
            "__floyo_deploy_build": {"release": RELEASE},
            "__floyo_deploy_manifests": [],
            **more,
        }
        (self.place / "facts.json").write_text(json.dumps(facts))
        command = [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "-i",
            str(self.inventory),
            "-c",
            "local",
            "-e",
        ]
        return subprocess.run(
            [*command, f"@{self.place / 'facts.json'}", *(["--check"] if check else []), str(playbook)],
            env={**os.environ, "ANSIBLE_CONFIG": str(self.root / "ansible.cfg"), "ANSIBLE_HOME": str(self.place)},
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
        )

    @property
    def inventory(self) -> Path:
        path = self.place / "hosts.yml"
        path.write_text(json.dumps({"all": {"children": {"floyo_database": {"hosts": {"a": {}}}}}}))
        return path

    def gates(self, *revisions: str, **more: Any) -> dict[str, dict[str, str]]:
        """The rows, by gate. The plan is that of a deploy that applies these revisions."""
        upgrade = {"what": "upgrade", "revisions": list(revisions)}
        plan = {
            "verdict": "SAFE",
            "steps": [upgrade] if revisions else [{"what": "switch"}],
            "pending": list(revisions),
        }
        found = self.place / "gates.json"
        found.unlink(missing_ok=True)
        done = self.play(
            {"name": "Gate", "ansible.builtin.include_role": {"name": "floyo_deploy", "tasks_from": "gate"}},
            {
                "name": "Keep",
                "ansible.builtin.copy": {
                    "content": "{{ __floyo_deploy_migration_gates | to_json }}",
                    "dest": str(found),
                },
                "check_mode": False,
            },
            __floyo_deploy_plan=plan,
            **more,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        self.said = done.stdout
        return {row["gate"]: row for row in json.loads(found.read_text())}


@pytest.fixture
def fleet(root: Path, tmp_path: Path, postgres_server: Any) -> Fleet:
    return Fleet(root, tmp_path, postgres_server.fresh_database())


def test_a_small_table_warns_and_a_large_one_fails_until_it_is_agreed_to(fleet: Fleet) -> None:
    small = fleet.gates("aaaa1111")
    assert small["migration aaaa1111"]["result"] == "warn"
    assert "public.users (50 rows) is read as a whole: small" in small["migration aaaa1111"]["found"]
    large = {"floyo_migration_limits": {"rows": 50}}
    failed = fleet.gates("aaaa1111", check=True, **large)["migration aaaa1111"]
    assert failed["result"] == "FAIL"
    assert "nobody can write public.users (50 rows)" in failed["found"]
    assert "concurrently" in failed["next"]
    agreed = fleet.gates("aaaa1111", floyo_migration_consent="aaaa1111", **large)["migration aaaa1111"]
    assert agreed["result"] == "warn"
    assert agreed["found"].startswith("agreed to by name: ")


def test_nothing_to_apply_asks_nobody(fleet: Fleet) -> None:
    assert fleet.gates(floyo_database_url="postgresql://nobody@nowhere/x") == {}
    assert "Judge the SQL" not in fleet.said


def test_an_application_that_does_not_migrate_has_no_such_gate(fleet: Fleet) -> None:
    gate = {"name": "Gate", "ansible.builtin.include_role": {"name": "floyo_deploy", "tasks_from": "gate"}}
    none = {"name": "None", "ansible.builtin.assert": {"that": "__floyo_deploy_migration_gates == []"}}
    done = fleet.play(gate, none)
    assert done.returncode == 0, done.stdout + done.stderr


def test_how_much_room_there_is_comes_from_the_database_host(fleet: Fleet) -> None:
    with psycopg.connect(fleet.url, autocommit=True) as connection:
        connection.execute("INSERT INTO users SELECT g, repeat('x', 1000) FROM generate_series(1, 20000) g")
        connection.execute("ANALYZE users")
    limits = {"floyo_migration_limits": {"bytes": 1 << 20}}
    assert "database now: disk" not in fleet.gates("aaaa1111", **limits)
    found = fleet.gates("aaaa1111", floyo_data_directory="/nonexistent", **limits)["database now: disk"]
    assert found["result"] == "warn"
    assert "not known how much room" in found["found"]


def test_the_preview_shows_the_same_verdict(fleet: Fleet) -> None:
    steps = [
        {"name": step, "ansible.builtin.include_role": {"name": "floyo_deploy", "tasks_from": step}}
        for step in ("lint", "show_lint")
    ]
    plain: dict[str, Any] = {"floyo_name": "floyo", "floyo_environment": "test"}
    good = fleet.play(*steps, **plain)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "by_name" in good.stdout and "aaaa1111" in good.stdout
    noticed = fleet.play(*steps, floyo_migration_limits={"rows": 50}, **plain)
    assert noticed.returncode == 2
    assert "Production would notice: aaaa1111" in " ".join(noticed.stdout.split())


def test_how_far_it_is_is_shown_while_it_runs(fleet: Fleet) -> None:
    done = fleet.play(
        {
            "name": "Apply",
            "alembic_migrate": {
                "state": "head",
                "release_dir": str(fleet.release),
                "database_url": fleet.url,
                "allow_classes": ["expand", "unknown", "data", "contract"],
                "progress": str(fleet.place / "state" / "migration.json"),
            },
        }
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = [line for line in done.stdout.splitlines() if "bbbb2222 (2 of 2):" in line]
    assert shown, done.stdout
    assert "so far" in shown[0]
    assert "(not rehearsed)" in shown[0]
    assert not (fleet.place / "state" / "migration.json").exists()
