"""Redis URLs as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible.module_utils.floyo.cache.url import parse_url
from ansible.module_utils.floyo.errors import Unusable


@pytest.mark.parametrize(
    ("text", "shown", "words"),
    [
        ("redis://", "redis://localhost:6379/0", {"db": 0, "host": "localhost", "port": 6379}),
        ("redis://cache1", "redis://cache1:6379/0", {"db": 0, "host": "cache1", "port": 6379}),
        ("redis://cache1:7000/3", "redis://cache1:7000/3", {"db": 3, "host": "cache1", "port": 7000}),
        ("redis://:pw@[::1]:6380/", "redis://[::1]:6380/0", {"db": 0, "host": "::1", "port": 6380, "password": "pw"}),
        ("redis://u:p%40%3Aw@h/2", "redis://u@h:6379/2", {"db": 2, "host": "h", "username": "u", "password": "p@:w"}),
        ("redis://h?db=4&username=u&password=p", "redis://u@h:6379/4", {"db": 4, "username": "u", "password": "p"}),
        ("redis://h/1?decode_responses=true&max_connections=20", "redis://h:6379/1", {"db": 1, "host": "h"}),
        ("rediss://u:p@h:6380/0", "rediss://u@h:6380/0", {"ssl": True, "host": "h", "port": 6380}),
        ("rediss://h?ssl_ca_certs=/ca.pem", "rediss://h:6379/0", {"ssl": True, "ssl_ca_certs": "/ca.pem"}),
        (
            "unix:///run/redis.sock?db=2",
            "unix:///run/redis.sock?db=2",
            {"db": 2, "unix_socket_path": "/run/redis.sock"},
        ),
        ("unix://u:p@/run/redis.sock", "unix://u@/run/redis.sock?db=0", {"db": 0, "username": "u", "password": "p"}),
        ("redis+socket:///run/r.sock?virtual_host=5", "unix:///run/r.sock?db=5", {"db": 5}),
    ],
)
def test_forms(text: str, shown: str, words: dict[str, Any]) -> None:
    url = parse_url(text)
    assert str(url) == shown
    assert {key: value for key, value in url.connection().items() if key in words} == words


@pytest.mark.parametrize(
    ("word", "verify"), [("none", False), ("CERT_NONE", False), ("required", True), ("optional", True)]
)
def test_certificates_as_celery_and_redis_py_write_them(word: str, verify: bool) -> None:
    assert parse_url(f"rediss://h?ssl_cert_reqs={word}").verify is verify


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "its form"),
        ("http://user:S3cret@h", "its scheme is http"),
        ("redis://u:S3cret@x@h", "more than one @"),
        ("redis://u:S3cret@h/zero", "its database is no number"),
        ("redis://u:S3cret@h:x", "its host is malformed"),
        ("redis://u:S3cret@h:99999", "its host is malformed"),
        ("redis://u:S3cret@h?sslmode=require", "'sslmode' is unknown"),
        ("rediss://u:S3cret@h?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
        ("unix://u:S3cret@h/run/redis.sock", "it names no socket"),
        ("unix://u:S3cret@", "it names no socket"),
    ],
)
def test_what_cannot_be_read_is_told_without_the_password(text: str, what: str) -> None:
    with pytest.raises(Unusable) as caught:
        parse_url(text)
    assert what in str(caught.value)
    assert "S3cret" not in str(caught.value.as_result())
    assert caught.value.details["reason"] == "URL"


def test_a_url_is_printed_without_its_password() -> None:
    url = parse_url("redis://u:S3cret@h/0")
    assert "S3cret" not in repr(url) + str(url)
