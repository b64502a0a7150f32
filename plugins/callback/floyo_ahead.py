"""Callback floyo_ahead: loads once what every worker would load again. See DOCUMENTATION."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import filter_loader, test_loader

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_SHARED = str(Path(__file__).resolve().parents[2] / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)

from ansible.module_utils.floyo.controller import program_digest

DOCUMENTATION = """
name: floyo_ahead
type: aggregate
short_description: Loads filters and tests before the first worker starts
description:
  - Ansible makes a process for each task on each host, and each would load all filters and tests for the first template
    that uses one. What is loaded before, all of them have. Nothing is shown and nothing else changes.
  - Without it a run takes longer, about 20 ms of processor time for each task on each host.
requirements:
  - enabled by C(callbacks_enabled) in ansible.cfg
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "floyo_ahead"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: Any) -> None:
        for loader in (filter_loader, test_loader):
            list(loader.all())
        program_digest()
