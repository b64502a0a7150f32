"""No secret comes into a report."""

from __future__ import annotations

import pytest

from ansible.module_utils.floyo.report.redact import hide, is_secret, secret_values

VARIABLES = {
    "floyo_database_url": "postgresql+psycopg://owner:p%40ss-word@db:5432/floyo",
    "floyo_env_secrets": {"SECRET_KEY": "k3y-of-the-app", "NESTED": ["tok-en-1"], "FLAG": "1"},
    "floyo_redis_password": "redis/pass",
    "floyo_notify_urls": ["slack://tokena/tokenb"],
    "floyo_name": "floyo",
    "floyo_port": 8000,
}


def test_values_are_found_by_the_names_of_variables() -> None:
    found = secret_values(VARIABLES)
    assert {"p@ss-word", "p%40ss-word", "k3y-of-the-app", "tok-en-1", "redis/pass", "redis%2Fpass"} <= set(found)
    assert "slack://tokena/tokenb" in found
    assert not {"floyo", "1", "8000"} & set(found), "what is short or no secret stays readable"
    assert found == sorted(found, key=lambda text: (-len(text), text)), (
        "the longer first, or a part of it would be left"
    )


@pytest.mark.parametrize(
    "name", ["floyo_postgres_owner_password", "ansible_become_password", "x_token", "FLOYO_API_KEY"]
)
def test_names_that_say_secret(name: str) -> None:
    assert is_secret(name)


def test_everything_is_looked_through() -> None:
    report = {
        "summary": "connection to postgresql+psycopg://owner:p%40ss-word@db:5432/floyo failed for p@ss-word",
        "sections": [{"rows": [{"k3y-of-the-app": "redis/pass"}, ["at https://git:tok@git.example/x.git", 5, None]]}],
    }
    hidden = hide(report, secret_values(VARIABLES))
    assert hidden["summary"] == "connection to (hidden) failed for (hidden)"
    assert hidden["sections"][0]["rows"] == [
        {"(hidden)": "(hidden)"},
        ["at https://(hidden)@git.example/x.git", 5, None],
    ]
    assert hide("https://u:pw@h/ and nothing else", []) == "https://(hidden)@h/ and nothing else"
