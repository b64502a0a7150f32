"""What Vercel's API says of deployments, and which one to go back to (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..errors import Refused, Unusable

__all__ = ["Deployment", "current", "named", "previous", "production", "read", "under_way"]

_SHOWN = 5


class Deployment(NamedTuple):
    """One deployment for production. ``created`` in milliseconds since 1970; ``proven`` when users have seen it."""

    id: str
    url: str
    created: int
    version: str
    commit: str
    proven: bool

    @property
    def label(self) -> str:
        return self.version or self.url.partition("://")[2] or self.id


def read(listed: Sequence[Mapping[str, Any]]) -> list[Deployment]:
    """Deployments of an answer of ``/v6/deployments``, newest first."""
    found = []
    for one in listed:
        meta = one.get("meta") or {}
        found.append(
            Deployment(
                id=str(one.get("uid") or one.get("id")),
                url=f"https://{one['url']}" if one.get("url") else "",
                created=int(one.get("created") or one.get("createdAt") or 0),
                version=str(meta.get("floyoVersion") or meta.get("githubCommitRef") or ""),
                commit=str(meta.get("floyoCommit") or meta.get("githubCommitSha") or ""),
                proven=one.get("readySubstate") == "PROMOTED",
            )
        )
    return sorted(found, key=lambda one: one.created, reverse=True)


def production(project: Mapping[str, Any]) -> str:
    """The id of the deployment that the project's domains lead to; empty before the first promotion."""
    return str(((project.get("targets") or {}).get("production") or {}).get("id") or "")


def under_way(project: Mapping[str, Any]) -> str:
    """The id of the deployment that Vercel is turning the domains to; empty when it does nothing of the kind."""
    job = project.get("lastAliasRequest") or {}
    return str(job.get("toDeploymentId") or "") if job.get("jobStatus") in ("pending", "in-progress") else ""


def current(project: Mapping[str, Any], deployments: Sequence[Deployment]) -> Optional[Deployment]:
    return next((one for one in deployments if one.id == production(project)), None)


def previous(deployments: Sequence[Deployment], serving: Optional[Deployment]) -> Deployment:
    """The newest deployment before ``serving`` that users have seen. Raises Refused when there is none."""
    if serving is None:
        raise Refused(
            "nothing is in production, so there is nothing to go back from",
            code="NOTHING_SERVES",
            next_step="playbooks/frontend_deploy.yml -e floyo_version=<version>",
        )
    found = next((one for one in deployments if one.proven and one.created < serving.created), None)
    if found is None:
        raise Refused(
            f"no deployment before {serving.label} was in production",
            code="NO_PREVIOUS",
            expected="an earlier one that users have seen",
            next_step="name one with -e floyo_frontend_deployment=<version, address or id>",
        )
    return found


def named(deployments: Sequence[Deployment], name: str) -> Deployment:
    """The deployment with this id, address or version; of a version the newest. Raises Unusable with what there is."""
    plain = name.partition("://")[2].rstrip("/") if "://" in name else name
    for one in deployments:
        if name in (one.id, one.version) or plain == one.url.partition("://")[2]:
            return one
    known = ", ".join(one.label for one in deployments[:_SHOWN]) or "none"
    raise Unusable(
        f"{name} is no deployment for production that is ready",
        code="DEPLOYMENT_UNKNOWN",
        expected=f"one of the newest: {known}",
        next_step="playbooks/frontend_rollback.yml --check lists them",
    )
