"""From the parameters of module vercel_deployment to its result."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from ..errors import Refused, TimedOut, Unusable
from ..release.git import Mirror
from ..release.process import Log
from .client import Command, Vercel
from .deployments import Deployment, current, named, previous, under_way

__all__ = ["ARGUMENT_SPEC", "REQUIRED_IF", "deployment"]

ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["info", "deployed", "promoted", "rolled_back"], "default": "info"},
    "project": {"type": "str", "required": True},
    "org": {"type": "str", "default": ""},
    "token": {"type": "str", "required": True, "no_log": True},
    "api_url": {"type": "str", "default": "https://api.vercel.com"},
    "deployment": {"type": "str", "default": ""},
    # An address may carry a password.
    "repository": {"type": "str", "no_log": True},
    "version": {"type": "str"},
    "directory": {"type": "path"},
    "root": {"type": "str", "default": ""},
    "rebuild": {"type": "bool", "default": False},
    "vercel": {"type": "str", "default": "vercel"},
    "timeout": {"type": "float", "default": 900.0},
    "ca_path": {"type": "path", "default": ""},
}
REQUIRED_IF = [
    ("state", "deployed", ["repository", "version", "directory"]),
    ("state", "promoted", ["deployment"]),
]
_LOG = "vercel.log"
_SHOWN = 20


def deployment(params: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Carry out the state: {changed, current, deployment, from, deployments}; a deployment is a dict or None."""
    for name in ("project", "token"):
        if not params[name]:
            raise Unusable(
                f"{name} is empty",
                code="NOT_CONFIGURED",
                expected="the project at Vercel and a token that may change it",
                next_step=f"set floyo_frontend_{name}, the token in the vault",
            )
    api = Vercel(params["api_url"], params["token"], params["project"], params["org"], ca_path=params["ca_path"])
    project = api.project()
    known = api.deployments(project)
    serving = current(project, known)
    state = params["state"]
    if state == "info":
        return _result(False, serving, serving, serving, known)
    if state == "deployed":
        changed, target = _deployed(params, api, project, known, check=check)
        return _result(changed, serving, serving, target, known)
    if state == "rolled_back" and not params["deployment"]:
        target, way = previous(known, serving), "rollback"
    else:
        target, way = named(known, params["deployment"]), "promote" if state == "promoted" else "rollback"
    # What has been asked for and has not happened yet would happen after us.
    changed = serving is None or serving.id != target.id or under_way(project) not in ("", target.id)
    if changed and not check:
        # Vercel goes back only to what users have seen; anything else is a promotion.
        api.turn(project, way if target.proven else "promote", target, params["timeout"])
    return _result(changed, serving, target if changed and not check else serving, target, known)


def _result(
    changed: bool,
    before: Optional[Deployment],
    serving: Optional[Deployment],
    target: Optional[Deployment],
    known: Sequence[Deployment],
) -> dict[str, Any]:
    return {
        "changed": changed,
        "from": _shown(before, before),
        "current": _shown(serving, serving),
        "deployment": _shown(target, serving),
        "deployments": [_shown(one, serving) for one in known[:_SHOWN]],
    }


def _shown(one: Optional[Deployment], serving: Optional[Deployment]) -> Optional[dict[str, Any]]:
    if one is None:
        return None
    made = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(one.created / 1000))
    state = "serves" if serving and one.id == serving.id else "served" if one.proven else "on no domain"
    return {**one._asdict(), "label": one.label, "made": f"{made} UTC", "state": state}


def _deployed(
    params: Mapping[str, Any],
    api: Vercel,
    project: Mapping[str, Any],
    known: Sequence[Deployment],
    *,
    check: bool,
) -> tuple[bool, Optional[Deployment]]:
    """(whether it is or would be made, the deployment of the version; None when it would be)."""
    directory = Path(params["directory"])
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(directory):
        (directory / _LOG).unlink(missing_ok=True)
        log = Log(directory / _LOG)
        mirror = Mirror(directory / "mirror.git", params["repository"], log)
        if not mirror.has_commit(params["version"]):
            mirror.fetch()
        commit, _ = mirror.resolve(params["version"])
        there = next((one for one in known if one.commit == commit), None)
        if there is not None and not params["rebuild"]:
            return False, there
        secrets = {
            "VERCEL_TOKEN": params["token"],
            "VERCEL_ORG_ID": params["org"],
            "VERCEL_PROJECT_ID": str(project["id"]),
        }
        if params["ca_path"]:
            secrets["NODE_EXTRA_CA_CERTS"] = params["ca_path"]
        command = Command(params["vercel"], directory, log, secrets)
        if check:
            return True, None
        source = directory / "source"
        if source.exists():
            shutil.rmtree(source)
        mirror.export(commit, source)
        root = source / params["root"]
        if not root.is_dir():
            raise Unusable(
                f"{params['version']} has no directory {params['root']}",
                code="ROOT_MISSING",
                expected="the directory of the frontend in the repository",
                next_step="correct floyo_frontend_root",
            )
        begin = time.monotonic()
        meta = {"floyoVersion": params["version"], "floyoCommit": commit}
        try:
            address = command.deploy(root, meta, params["timeout"])
        finally:
            # For the build Vercel's command has put the project's variables there, secrets included.
            shutil.rmtree(source, ignore_errors=True)
        return True, _ready(api, project, address, begin + params["timeout"])


def _ready(api: Vercel, project: Mapping[str, Any], address: str, deadline: float) -> Deployment:
    """The deployment at ``address``, as soon as the API lists it as ready."""
    while True:
        with contextlib.suppress(Unusable):
            return named(api.deployments(project), address)
        if time.monotonic() > deadline:
            raise TimedOut(
                f"{address} is not ready",
                code="NOT_READY",
                expected="a deployment that Vercel lists as ready",
                next_step=f"vercel inspect {address}",
            )
        time.sleep(1.0)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One build at a time in this directory."""
    with (directory / "lock").open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(
                f"another deployment of the frontend is being made in {directory}",
                code="BUILD_RUNS",
                next_step="wait for it to end, then try again",
            ) from error
        yield
