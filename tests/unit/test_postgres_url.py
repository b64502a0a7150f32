"""URLs as applications write them reach libpq whole, and their passwords nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible.module_utils.floyo.errors import Unusable
from ansible.module_utils.floyo.postgres.lock import application_name, holder_sql, lock_key
from ansible.module_utils.floyo.postgres.url import parse_url, scrub

PLAIN = {"host": "db", "port": "5432", "user": "u", "password": "pw", "dbname": "app"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:pw@db/app", PLAIN),
        ("postgres://u:pw@db:5432/app", PLAIN),
        ("postgresql+psycopg://u:pw@db/app", PLAIN),
        ("postgresql+asyncpg://u:pw@db:5432/app?ssl=require", {**PLAIN, "sslmode": "require"}),
        ("postgresql+asyncpg://u:pw@db/app?prepared_statement_cache_size=0", PLAIN),
        ("postgresql://u:pw@db/app?ssl=true", {**PLAIN, "sslmode": "require"}),
        ("postgresql://u:pw@db/app?ssl=verify-full&sslrootcert=/ca.pem", {**PLAIN, "sslmode": "verify-full", "sslrootcert": "/ca.pem"}),
        ("postgresql://u:a%40b%2Fc%3A%25@db/app", {**PLAIN, "password": "a@b/c:%"}),
        ("postgresql://u:p:w@db/app", {**PLAIN, "password": "p:w"}),
        ("postgresql://u:p%C3%A4ss@db/app", {**PLAIN, "password": "päss"}),
        ("postgresql://u@db/app", {"host": "db", "port": "5432", "user": "u", "dbname": "app"}),
        ("postgresql://db/app", {"host": "db", "port": "5432", "dbname": "app"}),
        ("postgresql:///app", {"dbname": "app"}),
        ("postgresql://u@/app?host=/run/postgresql", {"host": "/run/postgresql", "port": "5432", "user": "u", "dbname": "app"}),
        ("postgresql://u@%2Frun%2Fpostgresql/app", {"host": "/run/postgresql", "port": "5432", "user": "u", "dbname": "app"}),
        ("postgresql://u:pw@[::1]:5433/app", {**PLAIN, "host": "::1", "port": "5433"}),
        ("postgresql://u:pw@a:1,b:2/app?target_session_attrs=read-write",
         {**PLAIN, "host": "a,b", "port": "1,2", "target_session_attrs": "read-write"}),
        ("postgresql://u:pw@/app?host=a,b&port=1,2", {**PLAIN, "host": "a,b", "port": "1,2"}),
        ("postgresql://db:6000/?user=u&password=pw&dbname=app", {**PLAIN, "port": "6000"}),
        ("postgresql://u:pw@db/my%20db", {**PLAIN, "dbname": "my db"}),
        ("  postgresql://u:pw@db/app\n", PLAIN),
        ("postgresql://u:pw@db/app?options=-c%20search_path%3Dx", {**PLAIN, "options": "-c search_path=x"}),
    ],
)  # fmt: skip
def test_understood(url: str, expected: dict[str, str]) -> None:
    assert parse_url(url).conninfo() == expected


@pytest.mark.parametrize(
    "url",
    [
        "", "mysql://u:S3cret@db/app", "sqlite:///S3cret.db", "host=db password=S3cret", "postgresql://u:S3cret@db",
        "postgresql://u:S3cret@x@db/app", "postgresql://u:S3cret@db:port/app", "postgresql://u:S3cret@db:99999/app",
        "postgresql://u:S3cret@db/app?sslmode=always", "postgresql://u:S3cret@db/app?ssl=perhaps", "postgresql://:S3cret@db/app",
        "postgresql://u:S3cret@db/app?unknown=1", "postgresql://u:S3cret%0A@db/app", "postgresql://u:S3cret@db/app?host=other",
    ],
)  # fmt: skip
def test_refused_without_repeating_the_secret(url: str) -> None:
    with pytest.raises(Unusable) as caught:
        parse_url(url)
    assert "S3cret" not in str(caught.value)
    assert caught.value.code == "DATABASE_URL_UNUSABLE"


def test_nothing_shows_the_password() -> None:
    url = parse_url("postgresql+asyncpg://u:S3cret@db/app")
    assert "S3cret" not in f"{url} {url!r}"
    assert str(url) == "postgresql://u@db:5432/app"


def test_environment_for_the_programs() -> None:
    url = parse_url("postgresql://u:pw@a:1,b:2/app?sslmode=require&connect_timeout=3&options=-c%20geqo%3Doff")
    expected = {"PGHOST": "a,b", "PGPORT": "1,2", "PGUSER": "u", "PGPASSWORD": "pw", "PGDATABASE": "app"}
    assert url.environment() == {**expected, "PGSSLMODE": "require", "PGOPTIONS": "-c geqo=off"}
    assert url.environment(host="b", port=2)["PGHOST"] == "b"


@pytest.mark.parametrize(
    ("url", "driver", "expected"),
    [
        ("postgresql://u:p%40w@db/app", "psycopg", "postgresql+psycopg://u:p%40w@db:5432/app"),
        ("postgresql://u@db/app?sslmode=require", "asyncpg", "postgresql+asyncpg://u@db:5432/app?ssl=require"),
        ("postgresql+asyncpg://u@db/app?ssl=require", "psycopg", "postgresql+psycopg://u@db:5432/app?sslmode=require"),
        ("postgresql+psycopg://u@[::1]/app", "", "postgresql://u@[::1]:5432/app"),
        ("postgresql:///app?host=/run", "psycopg", "postgresql+psycopg:///app?host=%2Frun&port=5432"),
    ],
)
def test_the_drivers_form(url: str, driver: str, expected: str) -> None:
    assert parse_url(url).for_driver(driver) == expected


words = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=1, max_size=20)


@given(user=words, password=words, database=words)
def test_every_account_survives_the_round_trip(user: str, password: str, database: str) -> None:
    from urllib.parse import quote

    text = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@db:5432/{quote(database, safe='')}"
    url = parse_url(text)
    assert (url.user, url.password, url.database) == (user, password, database)
    assert parse_url(url.for_driver("psycopg")).conninfo() == url.conninfo()


@pytest.mark.parametrize(
    ("text", "passwords", "expected"),
    [
        ("could not open postgresql://u:abc@h/d", [], "could not open postgresql://u:***@h/d"),
        ("PASSWORD 'abc' valid", [], "PASSWORD *** valid"),
        ("password=abc host=x", [], "password=*** host=x"),
        ('password authentication failed for user "app"', [], 'password authentication failed for user "app"'),
        ("it is longsecret9, really", ["longsecret9"], "it is ***, really"),
        ("encoded a%40b%2Fc here", ["a@b/c"], "encoded *** here"),
        ("/backups/app/app_1.dump wants app", ["app"], "/backups/app/app_1.dump wants ***"),
    ],
)
def test_scrubbed(text: str, passwords: list[str], expected: str) -> None:
    assert scrub(text, *passwords) == expected


def test_one_key_per_database(postgres_server: Any) -> None:
    assert lock_key("a") == lock_key("a") != lock_key("b")
    for name in ("a", "b", "c", "d", "e", "f"):  # keys with both signs
        key = lock_key(name)
        import psycopg

        with psycopg.connect(
            postgres_server.url, autocommit=True, application_name=application_name("test")
        ) as connection:
            connection.execute(f"SELECT pg_advisory_lock({key})".encode())
            rows = connection.execute(holder_sql(key).encode()).fetchall()
            assert [row[1] for row in rows] == [application_name("test")]
