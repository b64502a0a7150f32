"""Test floyo_serves: whether a host runs a release, and well."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import ansible.module_utils

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_SHARED = str(Path(__file__).resolve().parents[2] / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)

from ansible.module_utils.floyo.fleet import serves

DOCUMENTATION = """
name: floyo_serves
short_description: Whether a host runs a release, and well
description: The release runs, is ready, and no switch is unfinished.
options:
  _input:
    description: What C(floyo_release) with C(state=info) returned for the host.
    type: dict
    required: true
  release:
    description: The release.
    type: str
    required: true
"""


class TestModule:
    """What Ansible looks for."""

    def tests(self) -> dict[str, Callable[..., Any]]:
        return {"floyo_serves": serves}
