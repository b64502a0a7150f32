"""Put a built release on a host: judged first, unpacked beside, verified, renamed into place (glue)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import Unusable
from ..files import fsync_dir, read_json
from ..hostprog.host import Host
from ..hostprog.releases import STAGING, remove, staged, sweep, tags, tree_lock
from .artifact import MANIFEST, tree_digest, unpack
from .platform import fitting

__all__ = ["altered", "manifest_of", "room", "stage"]

# What must stay free beside the release: logs, the package in transit, a file system's own needs.
RESERVE = 200 * 1024 * 1024


def altered(release: str) -> Unusable:
    """What is said of a release that cannot be trusted and cannot be replaced either, since it serves."""
    return Unusable(
        f"release {release}, which this host serves, was altered after it was staged",
        code="RELEASE_ALTERED",
        expected="files as they were built",
        next_step="deploy or roll back to another release; this one is then staged anew",
    )


def stage(
    host: Host, manifest: Mapping[str, Any], artifact: Mapping[str, Any], *, source: str, verify: bool, check: bool
) -> dict[str, Any]:
    """``release, changed, needs_artifact``. ``source``: the artifact on this host; without it, only judge.

    A release that is there is taken as it is; ``verify`` reads all of it again.
    """
    release = str(manifest["release"])
    if not release or release.startswith(".") or os.path.basename(release) != release:
        raise Unusable(
            f"{release!r} is no name of a release", code="RELEASE_UNKNOWN", expected="the manifest of a build"
        )
    target = Path(host.release_dir(release))
    with tree_lock(host):
        why = fitting(manifest, tags(host.config.python))
        if why:
            raise Unusable(
                f"release {release} cannot run here: {why}",
                code="TAG_MISMATCH",
                expected="the same Python and platform as the build host's",
                next_step="-e floyo_build_per_platform=true builds on one host of each kind; or bring this host to the"
                " others' version",
            )
        result = {"release": release, "changed": True, "needs_artifact": False}
        if release in staged(host):
            own = manifest_of(target)
            # Another build of the same release has another date and the same content: what is whole stays, unless this
            # host has got another Python since.
            whole = (own == dict(manifest) and not verify) or tree_digest(target) == own.get("files")
            if whole and not fitting(own, tags(host.config.python)):
                return {**result, "changed": False}
            if release in (host.linked(), host.running()):
                raise altered(release)
        room(host, int(manifest["size"]) + int(artifact["size"]), f"release {release}")
        if check:
            return result
        if not source:
            return {**result, "needs_artifact": True}
        sweep(host)
        aside = target.with_name(STAGING + release)
        aside.mkdir(mode=0o755)
        try:
            unpack(Path(source), artifact["sha256"], aside)
            unpacked = aside / release
            if tree_digest(unpacked) != manifest["files"] or manifest_of(unpacked) != dict(manifest):
                raise Unusable(
                    f"release {release} is not what its manifest says after unpacking",
                    code="ARTIFACT_DAMAGED",
                    expected="the files that the build recorded",
                    next_step="build it again with -e floyo_rebuild=true",
                )
            if target.exists():
                remove(host, release)
            unpacked.rename(target)
            fsync_dir(str(target.parent))
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return result


def manifest_of(release: Path) -> dict[str, Any]:
    """What a release says of itself; empty when it is damaged, which is as good as altered."""
    try:
        found = read_json(str(release / MANIFEST))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def room(host: Host, size: int, what: str) -> None:
    """Raises Unusable when ``size`` bytes more would leave too little for all else."""
    free, needed = shutil.disk_usage(host.config.root).free, size + RESERVE
    if free < needed:
        raise Unusable(
            f"{host.config.root} has {free / 2**20:.0f} MiB free, and {what} needs {needed / 2**20:.0f} MiB",
            code="DISK_FULL",
            expected="room before anything is changed",
            next_step="floyo-release prune --keep 2 on this host, or give it more room",
        )
