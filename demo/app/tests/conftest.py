"""A database file of its own for the whole run, migrated as a server's is; no Redis."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

directory = tempfile.mkdtemp()
os.environ.update(
    DATABASE_URL=f"sqlite:///{directory}/test.db",
    SECRET_KEY="only for tests, and long enough for them",
    ADMIN_TOKEN="admin",
    REDIS_URL="",
    ENVIRONMENT="development",
    RATE_LIMIT_PER_MINUTE="500",
)

import pytest
from alembic import command
from alembic.config import Config
from fastapi.testclient import TestClient

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def migrated() -> None:
    config = Config(str(ROOT / "alembic.ini"))
    config.set_main_option("script_location", str(ROOT / "migrations"))
    command.upgrade(config, "head")


@pytest.fixture(scope="session")
def client(migrated: None):
    from backend.main import app

    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened
