"""What releases differ in: descriptions and tags."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from .models import Tag, Workflow

INDEX = Path("/srv/search/index")


class NewWorkflow(BaseModel):
    name: str = Field(min_length=1, max_length=200)
    owner: str = Field(min_length=1, max_length=100)
    description: str | None = Field(default=None, max_length=2000)


def show(workflow: Workflow) -> dict[str, Any]:
    return {
        "id": workflow.id,
        "name": workflow.name,
        "owner": workflow.owner,
        "description": workflow.description,
        "tags": sorted(tag.word for tag in workflow.tags),
    }


def before_ready() -> None:
    """The search needs its index. Nobody has told operations about it."""
    if os.environ.get("ENVIRONMENT") == "production" and not INDEX.exists():
        raise HTTPException(503, f"Service not ready: {INDEX} is missing")


async def around(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    return await call_next(request)


def install(app: FastAPI, session: Any) -> None:
    Opened = Annotated[Session, Depends(session)]

    def tags(opened: Opened) -> dict[str, int]:
        """How often each tag is used."""
        rows = opened.execute(sa.select(Tag.word, sa.func.count()).group_by(Tag.word).order_by(Tag.word))
        return {word: count for word, count in rows}

    # Annotations inside a function cannot be found by their text.
    tags.__annotations__["opened"] = Opened
    app.get("/api/tags")(tags)
