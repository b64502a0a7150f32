"""One line at a time: what it says, when, how bad, and what of it may be shown."""

from __future__ import annotations

import datetime
import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.logs.glue import when
from ansible.module_utils.floyo.logs.lines import at_least, duration_of, moment, parse, pattern_of
from ansible.module_utils.floyo.logs.merge import footer, lines_of_all, patterns_of_all, silent, slow_of_all
from ansible.module_utils.floyo.logs.redact import Redactor, secret_values

NOON = datetime.datetime(2025, 1, 15, 12, 0, tzinfo=datetime.timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-01-15T12:00:00Z", NOON),
        ("2025-01-15T12:00:00.250Z", NOON + 0.25),
        ("2025-01-15 12:00:00,250", NOON + 0.25),
        ("2025-01-15T13:00:00+01:00", NOON),
        ("2025-01-15T06:30:00-0530", NOON),
        ("2025-01-15 12:00", NOON),
        ("2025-01-15", NOON - 12 * 3600),
        ("2025-13-45T12:00:00Z", None),
        ("noon", None),
        ("", None),
    ],
)
def test_times(text: str, expected: float | None) -> None:
    assert moment(text, local=False) == expected


def test_ages_and_what_is_none() -> None:
    assert when("15m", now=1000, local=False, name="since") == 100
    assert when("2h ago", now=10000, local=False, name="since") == 2800
    assert when(" ", now=0, local=False, name="since") is None
    with pytest.raises(FloyoError, match="until yesterday is no time"):
        when("yesterday", now=0, local=False, name="until")


JSON_LINE = {
    "timestamp": "2025-01-15T12:00:00.000Z", "level": "ERROR", "logger": "floyo.api",
    "message": "GET /api/workflows/17 500 in 812.5 ms", "module": "main", "function": "measure", "line": 91,
}  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "kind", "level", "logger", "message", "dated"),
    [
        (json.dumps(JSON_LINE), "json", "ERROR", "floyo.api", JSON_LINE["message"], True),
        ("2025-01-15 12:00:00,000 ERROR floyo.db pool_exhausted after 5 s", "plain", "ERROR", "floyo.db", "pool_exhausted after 5 s", True),
        ("2025-01-15T12:00:00Z [warning] floyo: hot", "plain", "WARNING", "floyo", "hot", True),
        ("Jan 15 12:00:00 host floyo-backend[12]: ERROR:floyo:gone", "plain", "", "", "ERROR:floyo:gone", True),
        ('Jan 15 12:00:00 host floyo[1]: {"level": "fatal", "msg": "end"}', "json", "CRITICAL", "", "end", True),
        ("INFO:     127.0.0.1:5 - GET / 200", "plain", "INFO", "127.0.0.1:5", "- GET / 200", False),
        ('{"level": "ERROR", "message": "half a li', "other", "", "", None, False),
        ("  File \"/srv/x.py\", line 3, in f", "other", "", "", None, False),
        ("[1, 2]", "other", "", "", None, False),
        ('{"ts": 1736942400, "level": "error", "event": "e"}', "json", "ERROR", "", "e", True),
        ('{"time": 1736942400000, "severity": "WARN", "msg": "e"}', "json", "WARNING", "", "e", True),
        ("", "other", "", "", "", False),
    ],
)  # fmt: skip
def test_lines(raw: str, kind: str, level: str, logger: str, message: str | None, dated: bool) -> None:
    line = parse(raw.encode(), local=False)
    assert (line.kind, line.level, line.logger) == (kind, level, logger)
    if message is not None:
        assert line.message == message
    assert (line.epoch is not None) is dated
    if dated and "Jan" not in raw:
        assert line.epoch == NOON


@given(st.binary(max_size=400))
def test_no_junk_is_too_strange(raw: bytes) -> None:
    line = parse(raw)
    pattern_of(line)
    duration_of(line)
    Redactor()(line.text)


def test_levels_from_one_on() -> None:
    assert at_least("WARNING") == {"WARNING", "ERROR", "CRITICAL"}


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("2025-01-15 12:00:00 ERROR floyo.db pool_exhausted after 5 s", "pool_exhausted"),
        ("2025-01-15 12:00:00 ERROR short", "(fewer than five fields)"),
        (json.dumps(JSON_LINE), "floyo.api: GET /api/workflows/<n> <n> in <n> ms"),
        (
            json.dumps({**JSON_LINE, "message": "x", "exception": "Traceback\n  File\nsqlalchemy.exc.OperationalError: gone\n"}),
            "floyo.api: x (OperationalError)",
        ),
        (
            json.dumps(
                {**JSON_LINE, "message": "99999999999999999999 1a2b3c4d5e", "exception": "  File x\nsa.exc.DataError: (psycopg) out of"
                 " range\n[SQL: SELECT 1]\n(Background on this error at: https://sqlalche.me/e/21/9h9h)"}
            ),
            "floyo.api: <n> <hex> (DataError)",
        ),
        (
            json.dumps({**JSON_LINE, "message": "job 3f2504e0-4f89-11d3-9a0c-0305e82c3301 of 'Ann' at 10.0.0.7:5432"}),
            "floyo.api: job <uuid> of <text> at <address>",
        ),
    ],
)  # fmt: skip
def test_patterns(line: str, pattern: str) -> None:
    assert pattern_of(parse(line)) == pattern


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("GET /api/workflows/17?x=1 200 in 812.5 ms", (812.5, "GET /api/workflows/<n>")),
        ("POST /api/x 201 took 1.5 s", (1500.0, "POST /api/x")),
        ("slow query: 340 ms", (340.0, "floyo.api: slow query: <n> ms")),
        ("retrying in 5 s", None),
        ("12 items", None),
    ],
)
def test_durations(message: str, expected: Any) -> None:
    assert duration_of(parse(json.dumps({**JSON_LINE, "message": message}))) == expected


# --- secrets ---------------------------------------------------------------------------------------------------------


SECRET = "Zq8-x9.Hidden_Word"


@pytest.mark.parametrize(
    "text",
    [
        "connect postgresql+psycopg://floyo:{}@db:5432/floyo failed",
        "password={} user=floyo",
        "login with password: {}",
        '{{"api_key": "{}", "x": 1}}',
        "headers {{'Authorization': 'Bearer {}'}}",
        "Authorization: Bearer {}",
        "curl -H 'authorization: basic {}'",
        "SECRET_KEY={}",
        "admin_token='{}'",
        "refresh-token={}&next=/",
        "[SQL: INSERT INTO users VALUES (%(a)s)] [parameters: {{'a': '{}'}}]",
        "DETAIL:  Key (email)=({}) already exists.",
        "Failing row contains (1, {}).",
        "set-cookie: {}",
    ],
)
def test_secrets_go_by_their_shape(text: str) -> None:
    shown = Redactor()(text.format(SECRET))
    assert SECRET not in shown
    assert "Hidden" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "text",
    [
        "GET /api/workflows/17 500 in 812.5 ms",
        'password authentication failed for user "floyo"',
        "the token is invalid",
        "monkey business at http://127.0.0.1:8000/health",
        "redis: ConnectionError",
    ],
)
def test_honest_words_stay(text: str) -> None:
    assert Redactor()(text) == text


def test_known_values_go_wherever_they_stand() -> None:
    values = secret_values(
        {"DATABASE_URL": f"postgresql://u:{SECRET}@db/x", "SECRET_KEY": "0123456789abcdef", "ENVIRONMENT": "production",
         "ADMIN_TOKEN": "short"}
    )  # fmt: skip
    assert sorted(values) == sorted([SECRET, "0123456789abcdef"])
    hide = Redactor(values)
    assert hide(f"x{SECRET}y 0123456789abcdefg production") == "x***y ***g production"


@given(st.text(alphabet=string.ascii_letters + string.digits, min_size=8, max_size=40), st.text(max_size=40))
def test_a_known_secret_never_shows(secret: str, around: str) -> None:
    assert secret not in Redactor([secret])(f"{around}{secret}{around}").replace(around, "", 2) or secret in around


# --- many hosts ------------------------------------------------------------------------------------------------------


def result(*lines: tuple[float | None, str], patterns: Any = (), **more: Any) -> dict[str, Any]:
    return {
        "matched": len(lines),
        "lines": [
            {"epoch": epoch, "time": None if epoch is None else f"T{epoch}", "level": "", "logger": "", "message": text}
            for epoch, text in lines
        ],
        "patterns": list(patterns),
        "slow": {"requests": []},
        "files": [{"name": "app.log", "size": 1, "remarks": []}],
        "unread_files": 0,
        "undated": 0,
        **more,
    }


def test_logs_of_many_hosts_are_one_log() -> None:
    results = {
        "b": result((1, "one"), (None, "trace"), (5, "five")),
        "a": result((3, "three"), (2, "two late"), (4, "four")),
        "gone": {"unreachable": True},
        "odd": {"msg": "there is no log"},
    }
    rows = lines_of_all(results, 10)
    # A clock that steps back does not turn a host's lines round; what has no time stays where it was.
    assert [row["message"] for row in rows] == ["one", "trace", "three", "two late", "four", "five"]
    assert [row["message"] for row in lines_of_all(results, 2)] == ["four", "five"]
    assert silent(results) == {"gone": "unreachable", "odd": "there is no log"}


def test_counts_of_many_hosts_are_added() -> None:
    one = {"pattern": "p", "count": 2, "first": "2025-01-02", "last": "2025-01-03", "sample": "s"}
    other = {"pattern": "p", "count": 5, "first": "2025-01-01", "last": None, "sample": "s"}
    slow = {"slow": {"requests": [{"what": "GET /", "count": 2, "max_ms": 900.0}]}}
    results = {"a": result(patterns=[one], **slow), "b": result(patterns=[other], **slow, unread_files=2)}
    (row,) = patterns_of_all(results)
    assert (row["count"], row["hosts"], row["first"], row["last"]) == (7, ["a", "b"], "2025-01-01", "2025-01-03")
    (row,) = slow_of_all(results)
    assert (row["count"], row["max_ms"]) == (4, 900.0)
    assert footer(results)[0] == "at least 0 lines match, in 2 files of 2 hosts; 2 older files were not needed"
