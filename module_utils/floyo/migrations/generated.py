"""State generated: a new revision from what the models say, in a copy of the project and an empty database (glue).

Nothing of the release and of the application's database is touched. The text of the new file is the result.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import FloyoError, Refused, Unusable
from ..postgres.lock import lock_key
from ..postgres.url import parse_url
from .graph import read_graph, script_directory
from .rows import rows_of

__all__ = ["Generation"]

_KIND = "generate"
_NOT_COPIED = shutil.ignore_patterns(".venv", ".git", "node_modules", "__pycache__", "*.pyc")
_ALL = ("expand", "data", "contract", "irreversible", "unknown")


class Generation:
    """``run_of`` makes a run of the module from its parameters."""

    def __init__(self, asked: Mapping[str, Any], run_of: Callable[[Mapping[str, Any]], Any]) -> None:
        self.asked, self.run_of = asked, run_of
        if not asked["alembic_config"]:
            raise Unusable("the application has no migrations", code="MIGRATIONS_CONFIG_MISSING")
        if not asked["database_url"]:
            raise Unusable(
                "database_url is empty",
                code="DATABASE_URL_UNUSABLE",
                expected="the URL of a server to make a database on",
            )
        self.url = parse_url(asked["database_url"])

    def result(self) -> dict[str, Any]:
        with self.checkout() as copy, self.database() as name:
            more = {
                "release_dir": copy,
                "database_url": replace(self.url, database=name).for_driver(self.url.driver),
                "known_revisions": [],
                "multiple_heads": True,
                "record": "",
            }
            project = Path(copy, self.asked["project_dir"] or "")
            before = read_graph(str(project), self.asked["alembic_config"])
            os.makedirs(
                os.path.join(script_directory(str(project), self.asked["alembic_config"]), "versions"), exist_ok=True
            )
            self.hand_over(copy)
            self.run_of({**self.asked, **more, "state": "head", "revision": "", "allow_classes": _ALL}).result()
            run = self.run_of({**self.asked, **more})
            with run.helper() as helper:
                head = self.head(run)
                found = run.asked_of(helper, "generate", message=self.asked["message"], head=head)
            return self.told(project, before, found["files"], run.versions)

    def head(self, run: Any) -> str:
        """What the new revision follows: the only head, or the one that was named."""
        heads = run.graph["heads"]
        if self.asked["revision"]:
            return str(run.lineage.resolve(self.asked["revision"]))
        if len(heads) > 1:
            raise Refused(
                f"the release has {len(heads)} heads: {', '.join(heads)}",
                code="MULTIPLE_HEADS",
                expected="one head, or its name",
                next_step="merge them (alembic merge heads), or name in revision which one the new revision follows",
                heads=heads,
            )
        return ""

    def told(
        self, project: Path, before: Mapping[str, Any], files: list[str], versions: Mapping[str, Any]
    ) -> dict[str, Any]:
        facts = {"changed": bool(files), "status": "unchecked", "heads": before["heads"], **versions}
        if not files:
            return {**facts, "file": "", "content": "", "rows": [], "notes": ["the models and the migrations agree"]}
        known = {entry["revision"] for entry in before["revisions"]}
        after = read_graph(str(project), self.asked["alembic_config"])
        (entry,) = [entry for entry in after["revisions"] if entry["revision"] not in known]
        notes = ["read it before you commit it: what a program has written is a draft"]
        words = " ".join(entry["operations"])
        if "drop " in words and ("add column" in words or "create table" in words):
            notes.append(
                "a rename looks like a drop and an add, and would lose the rows: make it one, or do it in two releases"
            )
        text = Path(files[0]).read_text(encoding="utf-8")
        return {**facts, "file": entry["file"], "content": text, "rows": rows_of([entry]), "notes": notes}

    # --- where it happens ---------------------------------------------------------------------------------------------

    @contextmanager
    def checkout(self) -> Iterator[str]:
        """A copy of the release without its environment, which is linked to."""
        release = Path(self.asked["release_dir"])
        if not release.is_dir():
            raise Unusable(
                f"{release} is no directory", code="RELEASE_UNKNOWN", expected="the directory of a built release"
            )
        with tempfile.TemporaryDirectory(prefix="floyo-generate-") as place:
            copy = os.path.join(place, release.name)
            shutil.copytree(release, copy, symlinks=True, ignore=_NOT_COPIED)
            os.symlink((release / ".venv").resolve(), os.path.join(copy, ".venv"))
            yield copy

    def hand_over(self, copy: str) -> None:
        """The account of the application writes the new file."""
        if not self.asked["run_as"] or os.geteuid() != 0:
            return
        try:
            account = pwd.getpwnam(self.asked["run_as"])
        except KeyError:
            return  # whoever becomes it says so
        os.chmod(os.path.dirname(copy), 0o711)  # noqa: S103 (a way through; the copy itself is the account's)
        for place, _, files in os.walk(copy):
            for path in (place, *(os.path.join(place, name) for name in files)):
                os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
        os.chmod(copy, 0o700)

    @contextmanager
    def database(self) -> Iterator[str]:
        """An empty database of a random name beside the application's, dropped at the end; and those of killed runs."""
        given = self.asked["maintenance_url"]
        server = parse_url(given, name="maintenance_url") if given else replace(self.url, database="postgres")
        run = self.run_of({**self.asked, "database_url": server.for_driver(server.driver or self.url.driver)})
        prefix = f"{self.url.database[:30]}__{_KIND}_"
        name = prefix + secrets.token_hex(6)
        with run.helper() as helper:

            def sql(text: str) -> list[Any]:
                rows: list[Any] = run.asked_of(helper, "query", sql=text)["rows"]
                return rows

            if not sql(f"SELECT pg_try_advisory_lock({lock_key(self.url.database, domain='floyo:' + _KIND)})")[0][0]:
                raise Refused(
                    f"another run generates a revision for {self.url.database}",
                    code="LOCK_HELD",
                    expected="one at a time",
                    next_step="wait for it, then run the same command again",
                )
            for (old,) in sql("SELECT datname FROM pg_database"):
                if old.startswith(prefix):
                    sql(f"DROP DATABASE IF EXISTS {_quoted(old)} WITH (FORCE)")
            try:
                sql(f"CREATE DATABASE {_quoted(name)} TEMPLATE template0 ENCODING 'UTF8'")
            except FloyoError as error:
                error.code = "RIGHTS_MISSING" if error.details.get("sqlstate") == "42501" else error.code
                error.next_step = "give the account CREATEDB (floyo_postgres_owner_restores), or name maintenance_url"
                raise
            try:
                yield name
            finally:
                sql(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
