"""The sample application: workflows and their runs, health, monitoring."""

from __future__ import annotations

import datetime
import hmac
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from . import features
from .cache import Cache
from .config import Settings
from .database import Database, migrations, refuse_unless_migrated
from .logs import configure
from .metrics import Metrics
from .models import Run, Workflow

settings = Settings()
configure(settings.log_level)
logger = logging.getLogger("floyo.api")
database = Database(settings)
cache = Cache(settings.redis_url)
metrics = Metrics()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    refuse_unless_migrated(database)
    logger.info("version %s (%s) serves", settings.version, settings.release or "no release")
    yield
    database.engine.dispose()
    logger.info("stopped")


app = FastAPI(title="Floyo", version=settings.version, lifespan=lifespan)
if settings.cors_origins:
    app.add_middleware(CORSMiddleware, allow_origins=settings.cors_origins.split(","), allow_methods=["*"])


def now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


# --- every request ---------------------------------------------------------------------------------------------------


def too_many(address: str) -> int:
    """Seconds to wait when an address asked too often, else 0. Without Redis each process counts for itself."""
    for limit, seconds in ((settings.per_minute, 60), (settings.per_hour, 3600)):
        window = int(time.time()) // seconds
        key = f"rate:{address}:{seconds}:{window}"
        number = cache.count(key, seconds)
        if number is None:
            number = local_counts[key] = local_counts.get(key, 0) + 1
            if len(local_counts) > 10000:
                local_counts.clear()
        if number > limit:
            return seconds - int(time.time()) % seconds
    return 0


local_counts: dict[str, int] = {}


@app.middleware("http")
async def measure(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    begin = time.perf_counter()
    path = request.url.path
    if not path.startswith("/health"):
        wait = too_many(request.client.host if request.client else "?")
        if wait:
            return JSONResponse({"detail": "Too many requests"}, 429, headers={"Retry-After": str(wait)})
    response = await features.around(request, call_next)
    route = request.scope.get("route")
    spent = (time.perf_counter() - begin) * 1000
    metrics.add(f"{request.method}:{getattr(route, 'path', path)}", spent)
    level = logging.ERROR if response.status_code >= 500 else logging.DEBUG
    logger.log(level, "%s %s %d in %.1f ms", request.method, path, response.status_code, spent)
    return response


@app.exception_handler(Exception)
async def failed(request: Request, error: Exception) -> JSONResponse:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return JSONResponse({"detail": "Internal server error"}, 500)


# --- health ----------------------------------------------------------------------------------------------------------


@app.get("/health")
def health() -> dict[str, Any]:
    return {
        "status": "healthy",
        "timestamp": now(),
        "version": settings.version,
        "release": settings.release,
        "environment": settings.environment,
    }


@app.get("/health/liveness")
def liveness() -> dict[str, str]:
    return {"status": "alive", "timestamp": now()}


def utilization() -> float:
    pool = database.pool()
    capacity = pool["size"] + max(pool["max_overflow"], 0)
    return pool["checked_out"] / capacity if capacity else 0.0


@app.get("/health/readiness")
def readiness() -> dict[str, Any]:
    features.before_ready()
    busy = utilization()
    try:
        database.ping()
    except sa.exc.SQLAlchemyError as error:
        logger.error("the database does not answer: %s", type(error).__name__)
        raise HTTPException(503, "Service not ready") from error
    redis = "not_configured" if not settings.redis_url else "ok" if cache.ping() else "warning"
    return {
        "status": "ready",
        "timestamp": now(),
        "checks": {"database": "ok", "redis": redis, "database_pool": "warning" if busy > 0.9 else "ok"},
    }


@app.get("/health/detailed")
def detailed() -> dict[str, Any]:
    """200 also when something is wrong: the body tells."""
    checks: dict[str, dict[str, Any]] = {}
    begin = time.perf_counter()
    try:
        database.ping()
        checks["database"] = {"status": "ok", "latency_ms": round((time.perf_counter() - begin) * 1000, 2)}
    except sa.exc.SQLAlchemyError as error:
        checks["database"] = {"status": "error", "message": type(error).__name__}
    pool, busy = database.pool(), utilization()
    available = pool["size"] + max(pool["max_overflow"], 0) - pool["checked_out"]
    checks["database_pool"] = {
        "status": "warning" if busy > 0.8 else "ok",
        "utilization": round(busy, 3),
        "checked_out": pool["checked_out"],
        "size": pool["size"],
        "available": available,
    }
    circuit = cache.circuit()
    checks["circuit_breaker"] = {"status": "ok" if circuit["state"] == "closed" else "warning", **circuit}
    if settings.redis_url:
        answers = cache.ping()
        checks["redis"] = {"status": "ok" if answers else "warning"}
    else:
        checks["redis"] = {"status": "not_configured"}
    checks["cache"] = {"status": "ok", "backend": cache.backend, "hit_rate": cache.stats()["hit_rate"]}
    checks["cache_functionality"] = {"status": "ok" if cache.works() else "warning"}
    checks["rate_limiter"] = {"status": "ok", "backend": cache.backend}
    states = {check["status"] for check in checks.values()}
    status = "error" if "error" in states else "warning" if "warning" in states else "ok"
    return {"status": status, "timestamp": now(), "version": settings.version, "checks": checks}


@app.get("/health/migrations")
def migration_state() -> dict[str, Any]:
    try:
        return migrations(database)
    except sa.exc.SQLAlchemyError:
        return {"status": "unknown", "current_revision": None, "head_revision": None, "pending_migrations": []}


# --- monitoring ------------------------------------------------------------------------------------------------------


def admin(request: Request) -> None:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise HTTPException(401, "Not authenticated", headers={"WWW-Authenticate": "Bearer"})
    if not settings.admin_token or not hmac.compare_digest(token.encode(), settings.admin_token.encode()):
        raise HTTPException(403, "Administrators only")


monitoring = APIRouter(dependencies=[Depends(admin)])


@monitoring.get("/performance")
def performance(request: Request) -> dict[str, Any]:
    known = [
        f"{method}:{route.path}"
        for route in request.app.routes
        for method in getattr(route, "methods", None) or ()
        if getattr(route, "path", "").startswith("/api/") and method != "HEAD"
    ]
    return {"metrics": metrics.report(known), "timestamp": now()}


@monitoring.get("/cache/stats")
def cache_stats() -> dict[str, Any]:
    return cache.stats()


@monitoring.get("/database/pool")
def pool_status() -> dict[str, int]:
    return database.pool()


# The runbook's paths and the application's own.
app.include_router(monitoring, prefix="/api/monitoring")
app.include_router(monitoring, prefix="/api/v1/monitoring")


# --- workflows -------------------------------------------------------------------------------------------------------


def session() -> Iterator[Session]:
    with database.session() as opened:
        yield opened


Opened = Annotated[Session, Depends(session)]


@app.get("/api/workflows")
def list_workflows(opened: Opened, limit: int = 20, offset: int = 0) -> dict[str, Any]:
    limit, offset = max(1, min(limit, 100)), max(0, offset)
    total = opened.scalar(sa.select(sa.func.count()).select_from(Workflow))
    rows = opened.scalars(sa.select(Workflow).order_by(Workflow.id).limit(limit).offset(offset))
    return {"total": total, "items": [features.show(workflow) for workflow in rows]}


@app.get("/api/workflows/{number}")
def one_workflow(number: int, opened: Opened) -> dict[str, Any]:
    key = f"workflow:{settings.version}:{number}"
    found = cache.get(key)
    if found is None:
        workflow = opened.get(Workflow, number)
        if workflow is None:
            raise HTTPException(404, "No such workflow")
        runs = opened.execute(
            sa.select(Run.state, sa.func.count(), sa.func.avg(Run.seconds))
            .where(Run.workflow_id == number)
            .group_by(Run.state)
            .order_by(Run.state)
        )
        found = {
            **features.show(workflow),
            "runs": {state: {"count": count, "avg_seconds": round(float(avg), 2)} for state, count, avg in runs},
        }
        cache.set(key, found)
    return dict(found)


@app.post("/api/workflows", status_code=201)
def add_workflow(wanted: features.NewWorkflow, opened: Opened) -> dict[str, Any]:
    workflow = Workflow(**wanted.model_dump())
    opened.add(workflow)
    try:
        opened.commit()
    except sa.exc.IntegrityError as error:
        raise HTTPException(409, "A workflow of this name exists") from error
    return features.show(workflow)


features.install(app, session)
