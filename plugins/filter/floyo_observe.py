"""Filters over what all hosts said: one log, one judgement, one table, the symptoms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

import ansible.module_utils

# Controller plugins do not see the project's module_utils by themselves: that setting is for what is sent to hosts.
_SHARED = str(Path(__file__).resolve().parents[2] / "module_utils")
if _SHARED not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_SHARED)

from ansible.module_utils.floyo import finding, symptoms
from ansible.module_utils.floyo.health import fleet as health
from ansible.module_utils.floyo.logs import merge
from ansible.module_utils.floyo.process import fleet as process
from ansible.module_utils.floyo.report import looks
from ansible.module_utils.floyo.slo import judge

DOCUMENTATION = """
name: floyo_slo_findings
short_description: Judges the service levels of a fleet
description: Findings, the worst first, over what module C(floyo_slo) measured on each host.
options:
  _input:
    description: Host name to the module's result, failed ones included.
    type: dict
    required: true
  targets:
    description: Targets that differ from the runbook's.
    type: dict
    default: {}
  database:
    description: Whether there is a database.
    type: bool
    default: true
  cache:
    description: Whether there is a cache.
    type: bool
    default: true
"""


def floyo_slo_findings(
    results: Mapping[str, Any], targets: Mapping[str, float] | None = None, database: bool = True, cache: bool = True
) -> list[Mapping[str, Any]]:
    merged = {**judge.DEFAULT_TARGETS, **{name: float(value) for name, value in (targets or {}).items()}}
    return finding.as_results(judge.judge(results, merged, database=database, cache=cache))


def floyo_both_forms(path: str) -> list[str]:
    """A monitoring path as the runbook writes it and as the application serves it, the given form first."""
    other = path.replace("/api/v1/", "/api/", 1) if "/api/v1/" in path else path.replace("/api/", "/api/v1/", 1)
    return list(dict.fromkeys([path, other]))


def floyo_health_severity(backends: Mapping[str, Any], fronts: Mapping[str, Any] | None = None) -> str:
    return health.fleet_severity(backends.values(), (fronts or {}).values())


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "floyo_both_forms": floyo_both_forms,
            "floyo_doubts": symptoms.doubts,
            "floyo_health_rows": health.health_rows,
            "floyo_health_severity": floyo_health_severity,
            "floyo_log_footer": merge.footer,
            "floyo_log_lines": merge.lines_of_all,
            "floyo_log_memory": merge.memory_of_all,
            "floyo_log_patterns": merge.patterns_of_all,
            "floyo_log_silent": merge.silent,
            "floyo_log_slow": merge.slow_of_all,
            "floyo_process_rows": process.process_rows,
            "floyo_report_errors": looks.errors_over_time,
            "floyo_report_level_bars": looks.level_bars,
            "floyo_report_memory": looks.memory_over_time,
            "floyo_report_queries": looks.query_bars,
            "floyo_report_slow": looks.slow_bars,
            "floyo_slo_findings": floyo_slo_findings,
            "floyo_symptoms": symptoms.symptoms,
        }
