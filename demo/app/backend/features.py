"""What releases differ in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field

from .models import Workflow


class NewWorkflow(BaseModel):
    name: str = Field(min_length=1, max_length=200)
    owner: str = Field(min_length=1, max_length=100)


def show(workflow: Workflow) -> dict[str, Any]:
    return {"id": workflow.id, "name": workflow.name, "owner": workflow.owner}


def before_ready() -> None:
    """Nothing stands in the way of readiness."""


async def around(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    return await call_next(request)


def install(app: FastAPI, session: Any) -> None:
    """No endpoints beside the main ones."""
