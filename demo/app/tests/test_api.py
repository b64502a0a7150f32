"""What the application serves."""

from __future__ import annotations

import pytest

ADMIN = {"Authorization": "Bearer admin"}


def test_health(client) -> None:
    body = client.get("/health").json()
    assert body["status"] == "healthy"
    assert body["version"] == "development"
    assert client.get("/health/liveness").json()["status"] == "alive"


def test_readiness(client) -> None:
    answer = client.get("/health/readiness")
    assert answer.status_code == 200
    assert answer.json()["checks"] == {"database": "ok", "redis": "not_configured", "database_pool": "ok"}


def test_readiness_without_a_database(client, monkeypatch) -> None:
    import sqlalchemy as sa

    from backend import main

    def gone() -> None:
        raise sa.exc.OperationalError("SELECT 1", {}, Exception("gone"))

    monkeypatch.setattr(main.database, "ping", gone)
    answer = client.get("/health/readiness")
    assert (answer.status_code, answer.json()) == (503, {"detail": "Service not ready"})
    assert client.get("/health/detailed").json()["checks"]["database"]["status"] == "error"


def test_detailed(client) -> None:
    body = client.get("/health/detailed").json()
    assert body["status"] == "ok"
    assert set(body["checks"]) >= {"database", "database_pool", "circuit_breaker", "redis", "cache", "rate_limiter"}


def test_migrations(client) -> None:
    body = client.get("/health/migrations").json()
    assert body["status"] == "up_to_date"
    assert body["current_revision"] == body["head_revision"]


@pytest.mark.parametrize("prefix", ["/api/monitoring", "/api/v1/monitoring"])
def test_monitoring_is_for_administrators(client, prefix) -> None:
    assert client.get(f"{prefix}/performance").status_code == 401
    assert client.get(f"{prefix}/performance", headers={"Authorization": "Bearer user"}).status_code == 403
    client.get("/api/workflows")
    metrics = client.get(f"{prefix}/performance", headers=ADMIN).json()["metrics"]
    assert metrics["GET:/api/workflows"]["count"] > 0
    assert client.get(f"{prefix}/cache/stats", headers=ADMIN).json()["type"] == "memory"
    assert "checked_out" in client.get(f"{prefix}/database/pool", headers=ADMIN).json()


def test_workflows(client) -> None:
    listed = client.get("/api/workflows?limit=5").json()
    assert listed["total"] >= 200
    assert len(listed["items"]) == 5
    first = client.get("/api/workflows/1").json()
    assert first == client.get("/api/workflows/1").json()
    assert first["runs"]["done"]["count"] > 0
    assert client.get("/api/workflows/99999").status_code == 404


def test_a_name_is_used_once(client) -> None:
    new = {"name": "made by a test", "owner": "ada"}
    assert client.post("/api/workflows", json=new).status_code == 201
    assert client.post("/api/workflows", json=new).status_code == 409


def test_rate_limit(client, monkeypatch) -> None:
    from backend import main

    monkeypatch.setattr(main, "too_many", lambda address: 7)
    answer = client.get("/api/workflows")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert client.get("/health").status_code == 200
