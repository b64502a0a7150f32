"""What the programs that units run on a host have in common: their settings, and how they speak (standard library only)."""

from __future__ import annotations

import json
from typing import Any

from .errors import Unusable

__all__ = ["read_settings", "say"]


def read_settings(path: str) -> dict[str, Any]:
    """The settings file of a program. Raises Unusable when it cannot be read."""
    try:
        with open(path, encoding="utf-8") as stream:
            return dict(json.load(stream))
    except (OSError, ValueError) as error:
        raise Unusable(
            f"{path} cannot be read: {type(error).__name__}",
            code="SETTINGS_UNUSABLE",
            expected="what playbooks/provision.yml has written, read by root",
            next_step="run playbooks/provision.yml",
        ) from error


def say(text: str) -> None:
    print(text, flush=True)
