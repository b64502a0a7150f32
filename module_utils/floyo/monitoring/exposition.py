"""Prometheus' text format (pure, standard library only)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Optional

from ..text import one_line

__all__ = ["Family", "Sample", "expose"]

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


class Sample(NamedTuple):
    """One value; ``labels`` beside those that all of a file have."""

    value: float
    labels: Mapping[str, str] = {}


class Family(NamedTuple):
    """All samples of one name. ``kind`` is gauge or counter."""

    name: str
    kind: str
    text: str
    samples: list[Sample]


def expose(families: Iterable[Family], common: Optional[Mapping[str, str]] = None) -> str:
    """The file's text. ``common`` labels stand on every sample."""
    lines = []
    for family in families:
        if not _NAME.fullmatch(family.name):
            raise ValueError(f"{family.name!r} is no name of a metric")
        if family.samples:
            lines += [f"# HELP {family.name} {one_line(family.text)}", f"# TYPE {family.name} {family.kind}"]
        for sample in family.samples:
            labels = {**(common or {}), **sample.labels}
            told = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(labels.items()))
            lines.append(f"{family.name}{{{told}}} {float(sample.value)!r}")
    return "\n".join(lines) + "\n"


def _escaped(value: object) -> str:
    return one_line(str(value)).replace("\\", "\\\\").replace('"', '\\"')
