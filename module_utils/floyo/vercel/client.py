"""The one client of Vercel's API and of its command (client)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from ..errors import ConnectionLost, FloyoError, TimedOut, Unusable
from ..http import require_requests
from ..release.process import Log
from ..text import shorten
from .deployments import Deployment, production, read, under_way

with contextlib.suppress(ImportError):
    import requests

__all__ = ["Command", "Vercel"]

_PAUSE = 1.0
_LISTED = 100
_TIMEOUT = 30.0


class Vercel:
    """Reads a project and changes what its domains lead to."""

    def __init__(self, address: str, token: str, project: str, org: str, *, ca_path: str = "") -> None:
        require_requests()
        self.address, self.project_name = address.rstrip("/"), project
        self._session = requests.Session()
        # With each request: what the session holds gives way to the environment.
        self._verify = ca_path or True
        self._session.headers["Authorization"] = f"Bearer {token}"
        # A personal account has no team; its id is known to the command only.
        self._scope = {"teamId": org} if org.startswith("team_") else {}

    def project(self) -> dict[str, Any]:
        return self._ask("GET", f"/v9/projects/{self.project_name}")

    def deployments(self, project: Mapping[str, Any]) -> list[Deployment]:
        """The newest that are ready for production."""
        answer = self._ask(
            "GET", "/v6/deployments",
            {"projectId": project["id"], "target": "production", "state": "READY", "limit": str(_LISTED)},
        )  # fmt: skip
        return read(answer.get("deployments") or [])

    def turn(self, project: Mapping[str, Any], way: str, deployment: Deployment, timeout: float) -> None:
        """Let the project's domains lead to a deployment and wait for it. ``way`` is promote or rollback."""
        version = {"promote": "v10", "rollback": "v9"}[way]
        # A run that was killed may have begun it.
        if under_way(project) != deployment.id:
            self._ask("POST", f"/{version}/projects/{project['id']}/{way}/{deployment.id}")
        deadline = time.monotonic() + timeout
        while True:
            found = self.project()
            job = found.get("lastAliasRequest") or {}
            failed = job.get("toDeploymentId") == deployment.id and job.get("jobStatus") == "failed"
            if production(found) == deployment.id and not failed and not under_way(found):
                return
            if failed:
                raise FloyoError(
                    f"Vercel could not {way} {deployment.label}",
                    code="TURN_FAILED",
                    expected="all domains of the project on one deployment",
                    next_step=f"vercel {way} status shows which domain failed; then the same command again",
                )
            if time.monotonic() + _PAUSE > deadline:
                raise TimedOut(
                    f"Vercel has not ended to {way} {deployment.label} after {timeout:g} s",
                    code="TURN_UNFINISHED",
                    next_step=f"vercel {way} status; then the same command again, which waits for it",
                )
            time.sleep(_PAUSE)

    def _ask(self, method: str, path: str, query: Optional[Mapping[str, str]] = None) -> dict[str, Any]:
        url = f"{self.address}{path}"
        try:
            answer = self._session.request(
                method, url, params={**(query or {}), **self._scope}, json={} if method == "POST" else None,
                timeout=_TIMEOUT, allow_redirects=False, verify=self._verify,
            )  # fmt: skip
        except requests.RequestException as error:
            raise ConnectionLost(
                f"{url} does not answer ({type(error).__name__}: {shorten(str(error), 160)})",
                code="API_UNREACHABLE",
                expected=f"an answer within {_TIMEOUT:g} s",
                next_step="look at the network, the proxy of this host, and Vercel's status page; then try again",
            ) from error
        try:
            body = answer.json() if answer.content else {}
        except ValueError:
            body = None
        if answer.status_code >= 300 or not isinstance(body, dict):
            raise self._refused(answer.status_code, url, body)
        return body

    def _refused(self, status: int, url: str, body: Any) -> FloyoError:
        said = body.get("error") if isinstance(body, dict) else None
        message = shorten(str(said.get("message") or ""), 200) if isinstance(said, dict) else ""
        if status in (401, 403):
            return Unusable(
                f"Vercel refuses the token for {self.project_name} ({status}): {message}",
                code="TOKEN_REFUSED",
                expected="a token that may change the project",
                next_step="correct floyo_frontend_token, and floyo_frontend_org when the project is a team's",
            )
        if status == 404:
            return Unusable(
                f"{url} is not there (404): {message}",
                code="PROJECT_UNKNOWN",
                expected=f"the project {self.project_name} in the account of the token",
                next_step="correct floyo_frontend_project or floyo_frontend_org",
            )
        return FloyoError(
            f"{url} answers {status}: {message or 'no JSON'}",
            code="API_FAILED",
            expected="2xx and JSON",
            next_step="the same command again; Vercel's status page when it stays",
        )


class Command:
    """Vercel's own command, which builds and uploads. Secrets reach it by its environment only."""

    def __init__(self, program: str, directory: Path, log: Log, secrets: Mapping[str, str]) -> None:
        """``secrets`` are the variables that tell the command who and what."""
        found = shutil.which(program)
        if found is None:
            raise Unusable(
                f"the program {program} is not on this host",
                code="COMMAND_MISSING",
                expected="Vercel's command line program",
                next_step="npm install --global vercel, or set floyo_frontend_vercel to its path",
            )
        self.program, self.directory, self.log = found, directory, log
        self._environment = {
            **os.environ, "CI": "1", "NO_COLOR": "1", "VERCEL_TELEMETRY_DISABLED": "1", **secrets,
        }  # fmt: skip

    def deploy(self, source: Path, meta: Mapping[str, str], timeout: float) -> str:
        """Build ``source`` for production and upload it, to no domain: the address of the new deployment."""
        self._run(source, ["pull", "--yes", "--environment=production"], timeout)
        self._run(source, ["build", "--prod", "--yes"], timeout)
        words = ["deploy", "--prebuilt", "--prod", "--skip-domain", "--yes"]
        for key, value in meta.items():
            words += ["--meta", f"{key}={value}"]
        said = self._run(source, words, timeout)
        address = next((word for word in reversed(said.split()) if word.startswith("https://")), "")
        if not address:
            # A person at a terminal gets the address alone; some versions give programs an object.
            with contextlib.suppress(ValueError, KeyError, TypeError):
                told = json.loads(said)
                address = str(told.get("url") or told["deployment"]["url"])
        if not address:
            raise FloyoError(
                "vercel deploy said no address",
                code="DEPLOY_UNCLEAR",
                next_step=f"read {self.log.path} on this host",
                log_tail=self.log.tail(),
            )
        return address if "://" in address else f"https://{address}"

    def _run(self, source: Path, words: list[str], timeout: float) -> str:
        status, said, rest = self.log.ask(
            [self.program, "--global-config", str(self.directory / "vercel"), *words],
            cwd=source, environment=self._environment, timeout=timeout,
        )  # fmt: skip
        if status:
            lines = [line for line in (rest + said).splitlines() if line.strip()]
            marked = [line for line in lines if "error" in line.lower()]
            raise FloyoError(
                f"vercel {words[0]} failed with {status}: {shorten((marked or lines or ['it says nothing'])[-1], 200)}",
                code="DEPLOY_FAILED",
                expected="a frontend that builds",
                next_step=f"read log_tail, or {self.log.path} on this host",
                log_tail=self.log.tail(),
            )
        return said
