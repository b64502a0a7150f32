"""Looking at backups that are there: choosing one, reading it back (glue)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from difflib import get_close_matches
from typing import Any, Optional

from ..errors import FloyoError, Unusable
from .catalogue import Catalogue
from .judge import Programs, Toc
from .naming import is_label, stamp
from .programs import Streamed, read_back
from .store import Store

__all__ = ["flaw_of", "look_again", "selected"]


def selected(catalogue: Catalogue, label: str) -> list[dict[str, Any]]:
    """All entries, or the one that was named."""
    found = [entry for entry in catalogue.entries if label in ("", entry["label"])]
    if label and not found:
        labels = [entry["label"] for entry in catalogue.entries]
        close = get_close_matches(label, labels, 1)
        newest = ", ".join(labels[:3]) or "there is none"
        meant = f"{close[0]}, if that was meant; " if close else ""
        raise Unusable(
            f"there is no backup {label[:40]}",
            code="LABEL_UNKNOWN",
            expected="the label of a backup in the directory"
            if is_label(label)
            else "a label like 20250115T103000Z-3f9a1c",
            next_step=f"{meant}choose one of the list; the newest: {newest}",
        )
    return found


def flaw_of(
    store: Store, label: str, kind: str, programs: Programs, written: Streamed, deadline: float
) -> tuple[str, Optional[Toc]]:
    """What is wrong with a dump, in words, and its table of contents. Every byte is read; nothing is restored."""
    with store.open_dump(label, kind) as stream:
        try:
            found, toc = read_back(programs, stream, deadline=deadline)
        except FloyoError as error:
            if error.code != "RESTORE_FAILED":
                raise  # the time was up, or the program is missing: that says nothing about the dump
            return error.message, None
        except OSError as error:
            return f"the dump cannot be read: {error.strerror}", None
    if found.size != written.size:
        return f"the dump has {found.size} bytes instead of {written.size}", toc
    return ("the dump's sha256 is not the recorded one" if found.sha256 != written.sha256 else ""), toc


def look_again(store: Store, label: str, manifest: Mapping[str, Any], problem: str) -> str:
    """Note what a look at a dump has found, and when."""
    at = stamp(datetime.now(timezone.utc))
    store.note(label, {"manifest": manifest["digest"], "at": at, "problem": problem})
    return at
