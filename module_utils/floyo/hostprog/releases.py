"""The releases on one host: what each is worth, which may go (standard library only).

Order comes from the recorded switches, never from a time stamp of a file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import Refused, Unusable
from ..files import fsync_dir, read_json, write_json
from .host import Host
from .switch import history

__all__ = ["info", "pin", "prune", "remove", "staged", "states", "superfluous", "sweep", "tree_lock", "unpin"]

# Beginnings of directories that are on their way in or out; a release's name never starts with a dot.
STAGING, LEAVING = ".staging-", ".leaving-"
# How a build names a release. Its directory has that name from the beginning and its manifest at the end.
_BUILT = re.compile(r"[^.].*-[0-9a-f]{8}")
SHOWN_HISTORY = 50


def states(entries: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """``{release: {state, sequence}}`` of what was ever switched to: good, left (by a rollback), failed; when last."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        state = "good" if entry["outcome"] == "switched" else "failed"
        found[entry["to"]] = {"state": state, "sequence": entry["sequence"]}
        if state == "good" and entry.get("kind") == "rollback" and entry["from"] in found:
            found[entry["from"]]["state"] = "left"
    return found


def superfluous(
    names: Sequence[str],
    entries: Iterable[Mapping[str, Any]],
    *,
    keep: int,
    needed: Iterable[str],
    coming: Iterable[str] = (),
) -> list[str]:
    """What may go: all but ``needed`` and the ``keep`` proven releases that served last. Failed ones count for nothing.

    ``coming`` are about to serve: they stay, and count as proven. So what is said before a switch is true after it.
    """
    known = states(entries)
    good = sorted(
        (name for name in names if known.get(name, {}).get("state") in ("good", "left")),
        key=lambda name: known[name]["sequence"],
        reverse=True,
    )
    unproven = [name for name in dict.fromkeys(coming) if name in names and name not in good]
    stays = {*needed, *coming, *good[: max(keep - len(unproven), 0)]}
    return sorted(name for name in names if name not in stays)


def _directory(host: Host) -> str:
    return os.path.join(host.config.root, "releases")


def staged(host: Host) -> list[str]:
    """Names of the complete releases. The manifest is written last, so what lacks it is no release."""
    directory = _directory(host)
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    return [
        name
        for name in names
        if not name.startswith(".") and os.path.exists(os.path.join(directory, name, "release.json"))
    ]


@contextlib.contextmanager
def tree_lock(host: Host) -> Iterator[None]:
    """One builder, stager or pruner at a time on this host."""
    with open(os.path.join(host.config.state_dir, "releases.lock"), "a", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(
                f"another build, staging or pruning of {host.config.name} runs on this host",
                code="RELEASES_BUSY",
                next_step="wait for it to end (ps -ef shows it), then try again",
            ) from error
        yield


def sweep(host: Host) -> list[str]:
    """Remove what interrupted runs left; needs tree_lock. Returns the names."""
    directory = _directory(host)
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    whole = {*staged(host), host.linked()}
    left = [
        name for name in names if name.startswith((STAGING, LEAVING)) or (_BUILT.fullmatch(name) and name not in whole)
    ]
    for name in left:
        _remove_tree(os.path.join(directory, name))
    return left


def remove(host: Host, release: str) -> None:
    """Take a release away: by a rename first, so that no half of it can be switched to."""
    directory = _directory(host)
    leaving = os.path.join(directory, LEAVING + release)
    os.rename(os.path.join(directory, release), leaving)
    fsync_dir(directory)
    _remove_tree(leaving)


def _remove_tree(path: str) -> None:
    import shutil  # only here: see host.py

    shutil.rmtree(path)


def pins(host: Host) -> dict[str, str]:
    """``{release: reason}``."""
    found: dict[str, str] = read_json(os.path.join(host.config.state_dir, "pins.json"), default={})
    return found


def pin(host: Host, release: str, reason: str) -> dict[str, Any]:
    """Keep a release from being pruned."""
    if release not in staged(host):
        raise Unusable(
            f"release {release} is not on this host",
            code="RELEASE_UNKNOWN",
            expected="one of: " + (", ".join(staged(host)) or "none is staged"),
            next_step="floyo-release status",
        )
    held = pins(host)
    changed = held.get(release) != reason
    if changed:
        write_json(os.path.join(host.config.state_dir, "pins.json"), {**held, release: reason}, mode=0o644)
    return {"changed": changed, "pinned": release, "reason": reason}


def unpin(host: Host, release: str) -> dict[str, Any]:
    held = pins(host)
    changed = held.pop(release, None) is not None
    if changed:
        write_json(os.path.join(host.config.state_dir, "pins.json"), held, mode=0o644)
    return {"changed": changed, "unpinned": release}


def prune(host: Host, *, keep: int, needed: Iterable[str] = (), check: bool = False) -> dict[str, Any]:
    """Remove what ``superfluous`` names: {changed, removed, kept}. What runs, what the link names and pins always stay."""
    with tree_lock(host):
        intent = read_json(os.path.join(host.config.state_dir, "intent.json")) or {}
        names = staged(host)
        stays = {host.linked(), host.running(), intent.get("from"), intent.get("to"), *pins(host)}
        going = superfluous(names, history(host), keep=keep, needed={name for name in stays if name}, coming=needed)
        if not check:
            sweep(host)
            for name in going:
                remove(host, name)
    return {"changed": bool(going), "removed": going, "kept": [name for name in names if name not in going]}


def info(host: Host, *, graphs: bool = False, health: bool = True, program: str = "") -> dict[str, Any]:
    """What a plan needs to know of this host, read in one go.

    ``graphs`` adds each manifest's alembic part. Without ``health`` the application is not asked, and ``fault`` is None: one that
    hangs takes seconds, and whoever leaves it needs not know how it is.
    """
    entries = history(host)
    known, held = states(entries), pins(host)
    process = host.main_process()
    running = host.running(process[1])
    releases = []
    for name in staged(host):
        manifest = host.manifest(name)
        fact = known.get(name, {"state": "staged", "sequence": 0})
        shown = {key: manifest.get(key) for key in ("version", "commit", "date", "author", "subject", "built_at")}
        if graphs:
            shown["alembic"] = manifest.get("alembic")
        releases.append({"release": name, **shown, **fact, "pinned": held.get(name, "")})
    disk = os.statvfs(host.config.root)
    since = next((e["at"] for e in reversed(entries) if e["to"] == running and e["outcome"] == "switched"), None)
    return {
        "changed": False,
        "current": {
            "release": running,
            "version": next((r["version"] for r in releases if r["release"] == running), None),
            "since": since,
            "pid": process[1],
            "fault": None if not health else host.fault(running, process) if running else "nothing runs",
        },
        "link": host.linked(),
        "releases": releases,
        "history": entries[-SHOWN_HISTORY:],
        "fence": read_json(os.path.join(host.config.state_dir, "fence.json"), default={"token": 0})["token"],
        "intent": read_json(os.path.join(host.config.state_dir, "intent.json")),
        "disk_free": disk.f_bavail * disk.f_frsize,
        "disk_total": disk.f_blocks * disk.f_frsize,
        "clock": time.time(),
        "program_digest": program,
        **tags(host.config.python),
    }


def tags(python: str) -> dict[str, str]:
    """python_tag (cpython-311) of the interpreter that releases run on, and platform (linux-x86_64-glibc2.36)."""
    place = f"{sys.platform}-{os.uname().machine}-{_libc()}"
    if os.path.realpath(python) == os.path.realpath(sys.executable):
        return {"python_tag": str(sys.implementation.cache_tag), "platform": place}
    try:
        asked = subprocess.run(
            [python, "-I", "-c", "import sys; print(sys.implementation.cache_tag)"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unusable(
            f"{python}, the Python that releases run on, does not start ({error})",
            code="PYTHON_UNUSABLE",
            expected="the interpreter of floyo_python",
            next_step="install it on this host, or correct floyo_python",
        ) from error
    return {"python_tag": asked.stdout.strip(), "platform": place}


def _libc() -> str:
    """``glibc2.36``; ``libc`` where there is another one."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "libc").replace(" ", "")
    except ValueError:
        return "libc"


def digest_of(path: str) -> str:
    import hashlib

    with open(path, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()
