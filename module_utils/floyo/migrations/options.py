"""What module alembic_migrate may be asked (pure): its argument spec, which the short way to a host needs on the controller."""

from __future__ import annotations

from typing import Any

__all__ = ["ARGUMENTS"]

ARGUMENTS: dict[str, Any] = {
    "release_dir": {"type": "path", "required": True},
    "project_dir": {"type": "str", "default": ""},
    "alembic_config": {"type": "str", "default": "alembic.ini"},
    "database_url": {"type": "str", "default": "", "no_log": True},
    "database_url_env": {"type": "list", "elements": "str", "default": ["DATABASE_URL"]},
    "environment_file": {"type": "path", "default": ""},
    "run_as": {"type": "str", "default": ""},
    "state": {
        "type": "str",
        "choices": ["info", "verified", "preview", "linted", "rehearsed", "generated", "head", "revision"],
        "default": "info",
    },
    "revision": {"type": "str", "default": ""},
    "allow_classes": {
        "type": "list",
        "elements": "str",
        "choices": ["expand", "data", "contract", "irreversible", "unknown"],
        "default": ["expand"],
    },
    "allow_downgrades": {
        "type": "list",
        "elements": "str",
        "choices": ["clean", "lossy", "noop", "unknown"],
        "default": ["clean"],
    },
    "known_revisions": {"type": "list", "elements": "dict", "default": []},
    "multiple_heads": {"type": "bool", "default": False},
    "version_table": {"type": "str", "default": "alembic_version"},
    "version_table_schema": {"type": "str", "default": ""},
    "lock_timeout": {"type": "float", "default": 3.0},
    "lock_attempts": {"type": "int", "default": 8},
    "lock_wait": {"type": "float", "default": 60.0},
    "limits": {"type": "dict", "default": {}},
    "data_free": {"type": "int", "default": -1},
    "scratch": {"type": "str", "default": ""},
    "backup": {"type": "str", "default": ""},
    "observe": {"type": "bool", "default": False},
    "compare_rows": {"type": "bool", "default": True},
    "record": {"type": "path", "default": ""},
    "message": {"type": "str", "default": ""},
    "maintenance_url": {"type": "str", "default": "", "no_log": True},
    "fetched": {"type": "str", "default": ""},
    "progress": {"type": "path", "default": ""},
    "timeout": {"type": "float", "default": 3600.0},
}
