"""Filters over what all hosts say together: the release to go back to, and what stands in the way of a deploy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import ansible.module_utils

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_SHARED = str(Path(__file__).resolve().parents[2] / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)

from ansible.module_utils.floyo import fleet
from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.migrations.gate import migration_gates
from ansible.module_utils.floyo.report.deploy import deploy_report
from ansible.module_utils.floyo.report.history import levels

DOCUMENTATION = """
name: floyo_rollback_target
short_description: The one release that a fleet goes back to
description:
  - Present on every host that answers, and proven to serve before the current one.
  - A mapping with C(release), C(version) and C(current), or with C(refused), a sentence that says why there is none.
options:
  _input:
    description: Host name to what C(floyo_release) with C(state=info) returned there.
    type: dict
    required: true
  wanted:
    description: A release or version. Empty, the previous one.
    type: str
    default: ""
"""


def floyo_rollback_target(infos: dict[str, Any], wanted: str = "") -> dict[str, Any]:
    """The target, or ``refused`` with the sentence: an exception would come out wrapped in Ansible's own words."""
    try:
        return fleet.rollback_target(infos, wanted)
    except FloyoError as error:
        return {"refused": str(error)}


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "floyo_by_hand": fleet.by_hand,
            "floyo_contract_blockers": fleet.contract_blockers,
            "floyo_deploy_report": deploy_report,
            "floyo_deploy_rows": fleet.deploy_rows,
            "floyo_fleet_gates": fleet.fleet_gates,
            "floyo_health_row": fleet.health_row,
            "floyo_left_behind": fleet.left_behind,
            "floyo_known_manifests": fleet.known_manifests,
            "floyo_migration_gates": migration_gates,
            "floyo_other_kinds": fleet.other_kinds,
            "floyo_release_gates": fleet.release_gates,
            "floyo_report_levels": levels,
            "floyo_rollback_target": floyo_rollback_target,
            "floyo_status_rows": fleet.status_rows,
            "floyo_swap_back_target": fleet.swap_back_target,
        }
