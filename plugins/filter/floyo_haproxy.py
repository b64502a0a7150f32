"""Filter over HAProxy's statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import ansible.module_utils

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_SHARED = str(Path(__file__).resolve().parents[2] / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)

from ansible.module_utils.floyo import haproxy

DOCUMENTATION = """
name: floyo_drained
short_description: Servers that a proxy was told to drain
description: Pairs of proxy and server. Servers in maintenance are none of them.
options:
  _input:
    description: Results in a loop over proxies of a command that printed the statistics in CSV.
    type: list
    required: true
  backend:
    description: The backend in HAProxy's configuration.
    type: str
    required: true
"""


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"floyo_drained": haproxy.drained}
