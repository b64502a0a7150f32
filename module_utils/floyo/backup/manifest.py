"""The manifest binds a dump to what it is a copy of; each one holds the digest of the one before (pure)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Optional

from ..errors import Unusable

__all__ = ["FORMAT", "link_to", "manifest_digest", "read_manifest", "seal"]

FORMAT = 1
# What the rest of the package reads without asking whether it is there.
_NEEDED: dict[str, type] = {
    "label": str,
    "sequence": int,
    "created": str,
    "database": str,
    "dump": dict,
    "server": dict,
    "client": dict,
    "alembic": dict,
    "schema": dict,
    "rows": dict,
    "about": dict,
    "seconds": dict,
}
_NEEDED_DUMP: dict[str, type] = {"size": int, "sha256": str, "toc": dict}


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """sha256 of everything but the digest itself."""
    text = json.dumps({key: value for key, value in manifest.items() if key != "digest"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def seal(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """``manifest`` with its format and its digest. Nothing may be changed afterwards."""
    whole = {**manifest, "format": FORMAT}
    return {**whole, "digest": manifest_digest(whole)}


def link_to(previous: Optional[Mapping[str, Any]]) -> dict[str, str]:
    """What a manifest says of the one before; empty strings for the first."""
    return {"label": previous["label"], "digest": previous["digest"]} if previous else {"label": "", "digest": ""}


def read_manifest(text: str, label: str) -> dict[str, Any]:
    """The manifest of ``label``. Raises Unusable when it is damaged, edited, of another label or from a later version."""
    try:
        manifest = json.loads(text)
    except ValueError as error:
        raise _unusable(label, "is damaged: it is no JSON") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise _unusable(label, "is damaged: it has no format")
    if manifest["format"] != FORMAT:
        raise _unusable(label, f"has format {manifest['format']}, this version reads {FORMAT}")
    if manifest.get("digest") != manifest_digest(manifest):
        raise _unusable(label, "is damaged or was edited: its digest does not fit")
    if manifest.get("label") != label:
        raise _unusable(label, f"belongs to {manifest.get('label')}")
    wrong = [key for key, kind in _NEEDED.items() if not isinstance(manifest.get(key), kind)]
    wrong += [
        f"dump.{key}"
        for key, kind in _NEEDED_DUMP.items()
        if not isinstance((manifest.get("dump") or {}).get(key), kind)
    ]
    if wrong:
        raise _unusable(label, f"lacks {', '.join(wrong)}")
    return manifest


def _unusable(label: str, what: str) -> Unusable:
    return Unusable(
        f"the manifest {what}",
        code="MANIFEST_DAMAGED",
        expected="the manifest as it was written",
        next_step=f"do not rely on backup {label}; take a new one",
    )
