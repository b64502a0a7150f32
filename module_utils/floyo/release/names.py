"""What a release is called, and why (pure)."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["RECIPE", "build_key", "nearest", "newest", "release_name", "version_of"]

# How releases are made. A change of the way they are built makes other releases of the same commit.
RECIPE = 1
# Of a version in a release's name; a file name may have 255 bytes.
LONGEST = 100
_UNFIT = re.compile(r"[^A-Za-z0-9._+]+")
_PIECES = re.compile(r"\d+|[^\d]+")


def version_of(ref: str, kind: str, commit: str) -> str:
    """The name that people see: the tag, or the short commit of a branch or commit. Fit for a directory's name."""
    name = _UNFIT.sub("-", ref).strip("-.")[:LONGEST] if kind == "tag" else ""
    return name or commit[:12]


def build_key(commit: str, settings: Mapping[str, Any]) -> str:
    """sha256 of all that decides what a build of ``commit`` is, before requirements were resolved."""
    return hashlib.sha256(json.dumps([RECIPE, commit, settings], sort_keys=True).encode()).hexdigest()


def release_name(version: str, key: str, tree: str, locked: str) -> str:
    """``v1.4.0-1a2b3c4d``: what was asked for, and eight digits of what it is made of.

    Not of the packed bytes: the environment is made at its final path, so the name must be known before the bytes.
    """
    return f"{version}-{hashlib.sha256(chr(10).join([key, tree, locked]).encode()).hexdigest()[:8]}"


def newest(tags: Iterable[str]) -> list[str]:
    """Tags with the highest version first: v1.10.0 before v1.9.0, and v1.10.0 before its candidate v1.10.0-rc1."""
    return sorted(tags, key=_rank, reverse=True)


def _rank(tag: str) -> list[tuple[int, str]]:
    """A dot counts more than the end, and anything else less."""
    pieces = [(int(p), "") if p.isdecimal() else (0 if p == "." else -1, p) for p in _PIECES.findall(tag)]
    return [*pieces, (0, "")]


def nearest(wanted: str, tags: Iterable[str], *, limit: int = 5) -> list[str]:
    """The tags that somebody who typed ``wanted`` may have meant; the newest ones when none is alike."""
    ordered = newest(tags)
    return (difflib.get_close_matches(wanted, ordered, n=limit, cutoff=0.6) or ordered)[:limit]
