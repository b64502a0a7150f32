"""The file that tells how far a run of migrations is, while it runs (client: one small file)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from ..files import read_json, write_json
from .progress import describe, estimate

__all__ = ["Running", "read_running"]

# It is written every second. One that is older, or whose process is gone, was left by a run that was killed.
_FRESH = 30.0


class Running:
    """``path`` is empty where nobody asks. Whatever is wrong with the file is no reason not to migrate."""

    def __init__(self, path: str) -> None:
        self._path = path

    def note(self, place: Mapping[str, Any], sample: Mapping[str, Any], rehearsed: Optional[Mapping[str, Any]]) -> None:
        """``place``: ``revision, direction, number, of, attempt``; ``sample`` as the helper tells it."""
        if not self._path:
            return
        seconds = rehearsed["seconds"] if rehearsed else None
        record = {**place, **sample, "estimate": estimate(sample, rehearsed), "rehearsed_seconds": seconds}
        record.update(text=describe(record), updated=time.time(), pid=os.getpid())
        with contextlib.suppress(OSError):
            write_json(self._path, record)

    def end(self) -> None:
        if self._path:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def sweep(self) -> None:
        """Remove what a run has left that was killed."""
        if self._path and not read_running(self._path):
            self.end()


def read_running(path: str) -> dict[str, Any]:
    """What a run on this host tells; empty when there is none."""
    try:
        record = read_json(path, {}) if path else {}
    except (OSError, ValueError):
        return {}
    fresh = isinstance(record, dict) and time.time() - float(record.get("updated", 0)) < _FRESH
    return record if fresh and Path(f"/proc/{record.get('pid')}").exists() else {}
