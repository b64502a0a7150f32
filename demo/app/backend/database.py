"""The pool, and the state of the migrations."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from .config import Settings

ROOT = Path(__file__).resolve().parent.parent
logger = logging.getLogger("floyo.database")


class Database:
    def __init__(self, settings: Settings) -> None:
        url = sa.make_url(settings.database_url)
        options: dict[str, Any] = {"pool_pre_ping": True}
        if url.get_backend_name() == "postgresql":
            options |= {
                "pool_size": settings.pool_size,
                "max_overflow": settings.max_overflow,
                "pool_recycle": settings.pool_recycle,
                "pool_timeout": 5,
                # A server that is gone shall not take requests with it for longer than this.
                "connect_args": {
                    "connect_timeout": 3,
                    "options": "-c statement_timeout=15000",
                    "application_name": "floyo",
                },
            }
        self.engine = sa.create_engine(url, **options)
        self.session: sessionmaker[Session] = sessionmaker(self.engine)

    def ping(self) -> None:
        with self.engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))

    def pool(self) -> dict[str, int]:
        pool = self.engine.pool
        if not isinstance(pool, sa.pool.QueuePool):
            return dict.fromkeys(
                ("size", "checked_in", "checked_out", "overflow", "invalid", "pool_size", "max_overflow"), 0
            )
        return {
            "size": pool.size(),
            "checked_in": pool.checkedin(),
            "checked_out": pool.checkedout(),
            # Negative while the pool is not full: that is how SQLAlchemy counts.
            "overflow": pool.overflow(),
            "invalid": 0,
            "pool_size": pool.size(),
            "max_overflow": pool._max_overflow,
        }

    def current(self) -> list[str]:
        """Revisions that the database says it is at."""
        with self.engine.connect() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return []
            return [row[0] for row in connection.execute(sa.text("SELECT version_num FROM alembic_version"))]


@lru_cache(maxsize=1)
def revisions() -> dict[str, Any]:
    """``{revision: (parents, class)}`` of this release's own files; alembic is imported only here."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(str(ROOT / "alembic.ini"))
    config.set_main_option("script_location", str(ROOT / "migrations"))
    found = {}
    for script in ScriptDirectory.from_config(config).walk_revisions():
        down = script.down_revision
        parents = [] if down is None else [down] if isinstance(down, str) else list(down)
        found[script.revision] = (parents, getattr(script.module, "floyo_class", "expand"))
    return found


def migrations(database: Database) -> dict[str, Any]:
    """Where the database stands to this release: ``status, current_revision, head_revision, pending_migrations``."""
    known, current = revisions(), database.current()
    applied: set[str] = set()
    waiting = [name for name in current if name in known]
    while waiting:
        name = waiting.pop()
        if name not in applied:
            applied.add(name)
            waiting += known[name][0]
    pending = [name for name in reversed(list(known)) if name not in applied]
    ahead = [name for name in current if name not in known]
    heads = set(known) - {parent for parents, _ in known.values() for parent in parents}
    return {
        # A database that is ahead holds all this release needs: newer files made only additions, or it would not serve.
        "status": "up_to_date" if ahead or not pending else "pending",
        "current_revision": ",".join(sorted(current)),
        "head_revision": ",".join(sorted(heads)),
        "pending_migrations": [] if ahead else pending,
        "ahead": ahead,
    }


def refuse_unless_migrated(database: Database) -> None:
    """Code that meets a database without its columns would fail request by request: better not to start."""
    state = migrations(database)
    if state["ahead"]:
        logger.warning("the database is ahead of this release: %s", ", ".join(state["ahead"]))
    missing = [name for name in state["pending_migrations"] if revisions()[name][1] != "contract"]
    if missing:
        raise RuntimeError(f"the database lacks {', '.join(missing)}: run alembic upgrade head first")
    if state["pending_migrations"]:
        logger.warning("still to be removed from the database: %s", ", ".join(state["pending_migrations"]))
