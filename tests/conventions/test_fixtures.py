"""The shared fixtures keep their promises: other rings build on them."""

from __future__ import annotations

from typing import Any

import pytest


def test_fresh_databases_are_empty_and_separate(postgres_server: Any) -> None:
    import psycopg

    first, second = postgres_server.fresh_database(), postgres_server.fresh_database()
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE t (i int)")
    with psycopg.connect(second) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT * FROM t")


def test_postgres_wants_the_password(postgres_server: Any) -> None:
    import psycopg

    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres_server.url_for("postgres", password="wrong"))


def test_redis_wants_the_password(redis_server: Any) -> None:
    import redis

    assert redis_server.client().ping()
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(host=redis_server.host, port=redis_server.port).ping()


def test_a_module_runs_with_injected_arguments(run_module: Any) -> None:
    from ansible.modules import ping

    assert run_module(ping, {"data": "hello"})["ping"] == "hello"
    failed = run_module(ping, {"unknown": 1})
    assert failed.rc == 1
    assert failed["failed"]
    assert "unknown" in failed["msg"]
