"""A verdict with its evidence, in the one shape that all of our looks return (pure, standard library only)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["CONFIDENCES", "VERDICTS", "Finding", "as_results", "overall"]

VERDICTS = ("pass", "inconclusive", "warn", "fail")
"""From best to worst. What cannot be judged is not well, and not worse than what is known to be bad."""
CONFIDENCES = ("low", "medium", "high")


@dataclass(frozen=True)
class Finding:
    """What one check has found.

    ``value`` was found where ``threshold`` is the limit; ``sample`` says how much and over what time it was measured
    ("1,204 lookups in 10 s", "now"). ``next_step`` is the exact command that is safe to run next.
    """

    check: str
    verdict: str
    message: str
    object: str = ""
    value: Any = None
    threshold: str = ""
    sample: str = "now"
    confidence: str = "high"
    next_step: str = ""


def overall(findings: Iterable[Finding]) -> str:
    """The worst verdict; none is a pass."""
    return VERDICTS[max((VERDICTS.index(finding.verdict) for finding in findings), default=0)]


def as_results(findings: Iterable[Finding]) -> list[Mapping[str, Any]]:
    """The worst first, as a module returns them."""
    return [asdict(item) for item in sorted(findings, key=lambda finding: -VERDICTS.index(finding.verdict))]
