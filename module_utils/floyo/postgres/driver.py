"""The PostgreSQL driver of this host."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from ..errors import Unusable
from ..text import shorten

__all__ = ["driver"]


def driver() -> Any:
    """psycopg 3, which Debian and Ubuntu call python3-psycopg."""
    try:
        return importlib.import_module("psycopg")
    except ImportError as error:
        older = " (psycopg2, which is installed, is another one)" if importlib.util.find_spec("psycopg2") else ""
        raise Unusable(
            f"this host's Python has no working psycopg 3{older}: {shorten(error)}",
            code="DRIVER_MISSING",
            expected="the package python3-psycopg",
            next_step="apt-get install python3-psycopg, or run playbooks/provision.yml",
        ) from error
