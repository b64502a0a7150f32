"""What systemd and the record say of a scheduled job (client: this host)."""

from __future__ import annotations

import subprocess
import time
from typing import Any

from ..errors import Unusable
from ..files import read_json
from .record import properties_of, verdict_of

__all__ = ["look"]

_PROPERTIES = "LoadState,ActiveState,Result,NextElapseUSecRealtime"


def look(name: str, record: str, late: float) -> dict[str, Any]:
    """``verdict_of`` for the units of application ``name``."""
    try:
        found = read_json(record, {})
    except ValueError:
        found = {}  # a crash has cut it short: the unit tells how the run ended
    service, timer = (_show(f"{name}-backup.{kind}") for kind in ("service", "timer"))
    return verdict_of(found, service, timer, time.time(), late)


def _show(unit: str) -> dict[str, str]:
    words = ["systemctl", "show", f"--property={_PROPERTIES}", unit]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    except OSError as error:
        raise Unusable(f"systemctl cannot be run: {error.strerror}", code="SYSTEMD_MISSING") from error
    return properties_of(done.stdout)
