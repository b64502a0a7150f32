"""Filters over the service's environment: what is wrong with it, and its file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

import ansible.module_utils
from ansible.errors import AnsibleFilterError

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_SHARED = str(Path(__file__).resolve().parents[2] / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)

from ansible.module_utils.floyo import environment as _environment
from ansible.module_utils.floyo.errors import FloyoError

DOCUMENTATION = """
name: floyo_environment_problems
short_description: What is wrong with an environment
description: Sentences that name variables and never hold a value. An empty list when all is well.
options:
  _input:
    description: The environment, name to value.
    type: dict
    required: true
  required:
    description: Names that must be there with a value.
    type: list
    elements: str
    default: []
  production:
    description: Whether a weak C(SECRET_KEY) is a problem.
    type: bool
    default: true
"""


def floyo_environment_problems(
    environment: Mapping[str, Any], required: list[str] | None = None, production: bool = True
) -> list[str]:
    return _environment.environment_problems(environment, required or [], production=production)


def floyo_environment_text(environment: Mapping[str, Any]) -> str:
    try:
        return _environment.environment_text(environment)
    except FloyoError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "floyo_environment_problems": floyo_environment_problems,
            "floyo_environment_text": floyo_environment_text,
        }
