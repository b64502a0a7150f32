"""The states of floyo_release on a host (glue)."""

from __future__ import annotations

import os
import shutil
import tempfile
from base64 import b64encode
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from urllib.request import Request, urlopen

from ..errors import ConnectionLost, Unusable
from ..hostprog.host import Config, Host
from ..hostprog.releases import info, prune
from ..hostprog.switch import history, previous_good, switch
from .build import Source, build
from .git import split_address
from .rehearse import rehearse
from .stage import stage

__all__ = ["carry_out"]

DOWNLOAD_TIMEOUT = 60.0


def carry_out(parameters: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """What module floyo_release returns for its ``parameters``."""
    host = Host(Config.read(parameters["config"]))
    state = parameters["state"]
    if state == "built":
        chosen = {name: parameters[name] for name in Source.__dataclass_fields__}
        given = {name: parameters[name] or "" for name in ("credentials", "release")}
        source = Source(**{**chosen, **given})
        directory = Path(parameters["build_dir"] or f"{host.config.state_dir}/build")
        return build(host, directory, source, check=check, rebuild=parameters["rebuild"])
    if state == "staged":
        return _staged(host, parameters, check=check)
    if state == "info":
        return info(host, graphs=parameters["graphs"], health=parameters["health"])
    if state == "pruned":
        return prune(host, keep=parameters["keep"], needed=parameters["needed"], check=check)
    release = parameters["release"]
    if release == "previous":
        release = previous_good(history(host), host.linked())
        if release is None:
            raise Unusable(
                "no earlier release has been proven good on this host",
                code="NO_PREVIOUS",
                next_step="floyo-release status on this host, then name the release",
            )
    if state == "rehearsed":
        timeout = parameters["ready_timeout"] or host.config.ready_timeout
        return rehearse(host, release, timeout=timeout, check=check)
    return switch(
        host,
        release,
        token=parameters["token"],
        holder=parameters["holder"],
        reason=parameters["reason"],
        kind=parameters["kind"],
        check=check,
        in_unit=False,
    )


def _staged(host: Host, parameters: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    manifest, artifact = parameters["manifest"], parameters["artifact"]
    source, url = parameters["source"], parameters["artifact_url"]
    first = stage(host, manifest, artifact, source=source, verify=parameters["verify"], check=check)
    if not (first["needs_artifact"] and url):
        return first
    # A file without a name goes with this process, also when that is killed.
    with tempfile.TemporaryFile(dir=host.config.state_dir) as stream:
        try:
            with urlopen(_request(url), timeout=DOWNLOAD_TIMEOUT) as answer:  # noqa: S310 (ours)
                shutil.copyfileobj(answer, stream)
            stream.flush()
        except (OSError, ValueError, HTTPException) as error:
            raise ConnectionLost(
                f"the artifact cannot be fetched: {getattr(error, 'reason', error)}",
                code="ARTIFACT_UNREACHABLE",
                expected="floyo_artifact_url to be readable from this host",
                next_step="try it with curl on this host; leave the variable empty to send the artifact over ssh",
            ) from error
        return stage(
            host, manifest, artifact, source=f"/proc/{os.getpid()}/fd/{stream.fileno()}", verify=False, check=check
        )


def _request(url: str) -> Request:
    """Its account goes into a header: no address in an error, or in a server's log, shows it."""
    address, account = split_address(url)
    basic = b64encode(unquote(account).encode()).decode()
    return Request(address, headers={"Authorization": f"Basic {basic}"} if account else {})  # noqa: S310 (ours)
