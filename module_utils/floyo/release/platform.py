"""Where a build can run (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["fitting"]

_LIBC = re.compile(r"(.*?)([\d.]+)")


def fitting(manifest: Mapping[str, Any], found: Mapping[str, str]) -> str:
    """Empty, or why a release that was built elsewhere cannot run here. A newer C library than the builder's is fine."""
    if manifest["python_tag"] != found["python_tag"]:
        return f"it was built for {manifest['python_tag']} and this host has {found['python_tag']}"
    built, here = (_LIBC.fullmatch(place["platform"]) for place in (manifest, found))
    if built and here and built[1] == here[1]:
        wanted, version = ([int(n) for n in match[2].split(".") if n] for match in (built, here))
        return "" if version >= wanted else f"it needs {built[0]} and this host has {here[0]}"
    same = manifest["platform"] == found["platform"]
    return "" if same else f"it was built for {manifest['platform']} and this host is {found['platform']}"
