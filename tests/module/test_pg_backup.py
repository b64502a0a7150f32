"""pg_backup against a real PostgreSQL: what a backup holds, and what must not spoil one."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TABLES = """
CREATE TABLE alembic_version (version_num text PRIMARY KEY);
INSERT INTO alembic_version VALUES ('aaaa1111');
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE "Odd ""name%" (id int PRIMARY KEY, m mood);
CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO users SELECT g, md5(g::text) FROM generate_series(1, 5000) g;
CREATE TABLE events (at date, what text) PARTITION BY RANGE (at);
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO events VALUES ('2025-05-05', 'one');
CREATE VIEW names AS SELECT name FROM users;
SELECT lo_from_bytea(0, 'large'::bytea);
"""


class Site:
    """A database, a directory for its backups, and the module run on both."""

    def __init__(self, server: Any, directory: Path, run_module: Callable[..., Any]) -> None:
        self.server, self.directory, self._run = server, directory, run_module
        self.url = server.fresh_database()
        self.database = self.url.rpartition("/")[2]
        self.sql(TABLES)

    def sql(self, text: str) -> list[Any]:
        return list(self.server.sql(text, database=self.database))

    def run(self, state: str = "present", *, check: bool = False, **more: Any) -> Any:
        arguments = {"directory": str(self.directory), "state": state, "lock_wait": 1, "lock_timeout": 1, **more}
        if state == "present":
            arguments = {"database_url": self.url, "min_free": "1K", **arguments}
        return self._run("pg_backup", arguments, check=check)

    def take(self, **more: Any) -> dict[str, Any]:
        result = self.run(**more)
        assert result.rc == 0, result.json
        return dict(result["backup"])

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir()) if self.directory.exists() else []

    def listed(self) -> list[dict[str, Any]]:
        return list(self.run("info")["backups"])


@pytest.fixture
def site(postgres_server: Any, tmp_path: Path, run_module: Callable[..., Any]) -> Site:
    return Site(postgres_server, tmp_path / "backups", run_module)


# --- state present ---------------------------------------------------------------------------------------------------


def test_a_backup_is_bound_to_what_it_is_a_copy_of(site: Site) -> None:
    about = {"release": "v1.0.0-0a1b2c3d", "version": "v1.0.0", "commit": "c0ffee", "reason": "before v1.1.0"}
    result = site.run(about=about)
    assert result["changed"] is True
    backup = result["backup"]
    manifest = backup["manifest"]
    assert manifest["rows"] == {
        "public.alembic_version": 1,
        'public.Odd "name%': 0,
        "public.users": 5000,
        "public.events_2025": 1,
    }
    assert manifest["alembic"] == {"heads": ["aaaa1111"], "version_table": "public.alembic_version"}
    assert manifest["large_objects"] == 1
    assert manifest["dump"]["toc"]["tables"] == 4
    assert manifest["about"] == about
    assert manifest["roles"] == ["postgres"]
    assert manifest["extensions"] == {"plpgsql": "1.0"}
    dump = Path(backup["path"])
    assert dump.stat().st_size == backup["size"]
    assert json.loads(Path(backup["manifest_path"]).read_text()) == manifest
    (entry,) = result["backups"]
    assert entry["verified"] is True
    assert {key: entry[key] for key in ("label", "heads", "sequence", "release", "version", "commit", "reason")} == {
        "label": backup["label"], "heads": ["aaaa1111"], "sequence": 1, **about
    }  # fmt: skip


def test_only_the_owner_can_read_a_backup(site: Site) -> None:
    site.take()
    assert stat.S_IMODE(site.directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in site.directory.iterdir()} == {0o600}


def test_check_mode_predicts_and_writes_nothing(site: Site) -> None:
    predicted = site.run(check=True)
    assert predicted["changed"] is True
    assert predicted["backup"] == {}
    assert predicted["plan"]["heads"] == ["aaaa1111"]
    assert site.files == []
    assert not site.directory.exists()
    taken = site.run()
    assert {key: predicted["plan"][key] for key in ("database", "server", "client", "compress", "forecast")} == {
        key: taken["plan"][key] for key in ("database", "server", "client", "compress", "forecast")
    }
    before = site.files
    assert site.run(check=True)["changed"] is True
    assert site.files == before


def test_each_backup_is_chained_to_the_one_before(site: Site) -> None:
    first, second = site.take()["manifest"], site.take()["manifest"]
    assert second["previous"] == {"label": first["label"], "digest": first["digest"]}
    assert second["sequence"] == 2
    assert second["label"] > first["label"]
    assert [entry["label"] for entry in site.listed()] == [second["label"], first["label"]]
