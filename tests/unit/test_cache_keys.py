"""What is cache and what is not, by names and values."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible.module_utils.floyo.cache.keys import KeyReader, Tally, escape_glob


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("cache:page:1", "cache"),
        ("celery", "queues"),
        ("celery-task-meta-6f1c", "queues"),
        ("celery-taskset-meta-6f1c", "queues"),
        ("celery\x06\x163", "queues"),
        ("_kombu.binding.celery", "queues"),
        ("unacked_index", "queues"),
        ("unacked_mutex", "queues"),
        ("rq:queue:default", "queues"),
        ("bull:mail:wait", "queues"),
        ("arq:job:1", "queues"),
        ("session:8f2a", "sessions"),
        ("app:session:8f2a", "sessions"),
        (":1:django.contrib.sessions.cache8f", "sessions"),
        ("spring:session:sessions:1", "sessions"),
        ("lock:report", "locks"),
        ("report:lock", "locks"),
        ("nightly_lock", "locks"),
        ("rate_limit:1.2.3.4", "limits"),
        ("LIMITER/1.2.3.4/api", "limits"),
        ("feature:flags", ""),
        ("celerybration", ""),
    ],
)
def test_names(key: str, kind: str) -> None:
    assert KeyReader(["cache:"]).by_name(key.encode("latin-1")) == kind


def test_the_callers_prefixes_and_patterns() -> None:
    reader = KeyReader(["floyo:"], {"queues": ["work-*"], "sessions": ["who:*"]})
    assert reader.by_name(b"floyo:lock:1") == "cache", "the caller's word wins"
    assert reader.by_name(b"work-7") == "queues"
    assert reader.by_name(b"who:1") == "sessions"
    assert reader.by_name(b"cache:1") == ""


@pytest.mark.parametrize(
    ("kind", "ttl", "found"),
    [(b"list", -1, "queues"), (b"stream", 500, "queues"), (b"string", -1, "lasting"), (b"hash", 900, "temporary"),
     (b"none", -2, ""), (b"string", -2, "")],
)  # fmt: skip
def test_values(kind: bytes, ttl: int, found: str) -> None:
    assert KeyReader.by_value(kind, ttl) == found


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (b"session:8f2a9c", "session:*"),
        (b"celery", "celery"),
        (b"_kombu.binding.celery", "_kombu.binding.celery"),
        (b"8f2a9c77e1", "(others)"),
        (b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "(others)"),
        (b"a secret: with blanks", "(others)"),
        (b"\xff\xfe:1", "(others)"),
        (b"LIMITER/1.2.3.4/api", "LIMITER/*"),
        (b"", "(others)"),
    ],
)
def test_what_is_shown_of_a_key_is_its_first_word(key: bytes, shown: str) -> None:
    assert KeyReader.label(key) == shown


def test_a_tally_counts_all_and_shows_a_few() -> None:
    tally = Tally()
    for number in range(3000):
        tally.add("sessions", f"u{number}:session".encode())
    tally.add("cache", b"cache:1")
    tally.add("queues", b"celery")
    assert tally.total == 3002
    assert tally.guarded(["queues"]) == {"sessions": 3000}
    assert tally.names("queues") == ["celery (1)"]
    assert tally.names("sessions")[0] == "(others) (2000)"
    assert set(tally.as_result()) == {"cache", "queues", "sessions"}


@given(st.text(alphabet="ab*?[]^-\\:", max_size=8), st.text(alphabet="ab*?[]^-\\:", max_size=4))
def test_a_prefix_matches_what_begins_with_it_and_nothing_else(prefix: str, rest: str) -> None:
    """Redis' patterns: backslash, star, question mark, brackets."""

    def matches(pattern: str, text: str) -> bool:
        # What Redis escapes with a backslash, Python's fnmatch writes as a class of one.
        plain, index = "", 0
        while index < len(pattern):
            if pattern[index] == "\\":
                plain += f"[{pattern[index + 1]}]" if pattern[index + 1] not in "^\\" else pattern[index + 1]
                index += 2
            else:
                plain += pattern[index]
                index += 1
        return fnmatch.fnmatchcase(text, plain)

    assert matches(escape_glob(prefix), prefix + rest)
    other = rest + prefix
    assert matches(escape_glob(prefix), other) is other.startswith(prefix)
