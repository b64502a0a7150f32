"""Filter that makes Prometheus' rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import ansible.module_utils

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_SHARED = str(Path(__file__).resolve().parents[2] / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)

from ansible.module_utils.floyo.monitoring import rules
from ansible.module_utils.floyo.slo.judge import DEFAULT_TARGETS

DOCUMENTATION = """
name: floyo_monitoring_rules
short_description: Recording and alerting rules for the runbook's targets
description: The content of a rules file of Prometheus, as data.
options:
  _input:
    description: Names, targets, windows and patience, as role C(floyo_monitoring) has them.
    type: dict
    required: true
"""


def floyo_monitoring_targets(given: dict[str, Any]) -> dict[str, float]:
    """All targets of the runbook, with those that differ."""
    return {**DEFAULT_TARGETS, **{name: float(value) for name, value in given.items()}}


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "floyo_monitoring_rules": rules.rules_of,
            "floyo_monitoring_targets": floyo_monitoring_targets,
        }
