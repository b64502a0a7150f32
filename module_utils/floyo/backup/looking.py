"""Looking at backups that are there: choosing one, reading it back (glue)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from difflib import get_close_matches
from typing import Any, Optional

from ..errors import FloyoError, Unusable
from .archive import Archive
from .catalogue import Catalogue
from .judge import Programs, Toc
from .naming import is_label, stamp
from .processes import Streamed
from .programs import read_back
from .store import Store

__all__ = ["flaw_in", "flaw_of", "look_again", "recorded", "selected"]


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


def recorded(manifest: Mapping[str, Any]) -> Streamed:
    """What a manifest says of the bytes of its dump."""
    found = manifest["dump"]
    return Streamed(found["size"], found["sha256"], str(found.get("plain_sha256") or ""))


def flaw_of(
    store: Store, label: str, kind: str, programs: Programs, written: Streamed, deadline: float, identity: str = ""
) -> tuple[str, Optional[Toc]]:
    """``flaw_in`` of the dump that has this label now."""
    with store.open_dump(label, kind, sealed=bool(written.plain), identity=identity) as archive:
        return flaw_in(archive, programs, written, deadline)


def flaw_in(archive: Archive, programs: Programs, written: Streamed, deadline: float) -> tuple[str, Optional[Toc]]:
    """What is wrong with a dump, in words, and its table of contents when it can be read: not that of an encrypted one
    without its key. Every byte is read; nothing is restored."""
    try:
        return read_back(programs, archive, written, deadline=deadline)
    except FloyoError as error:
        if error.code != "RESTORE_FAILED":
            raise  # the time was up, a program is missing, the key is wrong: that says nothing about the dump
        return error.message, None
    except OSError as error:
        return f"the dump cannot be read: {error.strerror}", None


def look_again(store: Store, label: str, manifest: Mapping[str, Any], problem: str) -> str:
    """Note what a look at a dump has found, and when."""
    at = stamp(datetime.now(timezone.utc))
    store.note(label, {"manifest": manifest["digest"], "at": at, "problem": problem})
    return at
