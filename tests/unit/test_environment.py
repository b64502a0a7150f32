"""The service's environment: problems name variables and no values, and two readers agree on the file."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible.module_utils.floyo.environment import (
    environment_problems,
    environment_text,
    environment_values,
    quote_value,
)
from ansible.module_utils.floyo.errors import Unusable

GOOD_KEY = "0f3f29c7a6be77bd42f7a4d1b43b60ae3f9f"
ONE_LINE = st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=40)


def parse_as_systemd(text: str) -> dict[str, str]:
    """The states of systemd's parse_env_file_internal (src/basic/env-file.c), for text that ends its lines."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, _, rest = line.partition("=")
        value, state, held = "", "pre", iter(rest)
        for char in held:
            if state in ("pre", "value") and char == "\\":
                value, state = value + next(held, ""), "value"
            elif state == "pre" and char in "'\"":
                state = char
            elif state == "'":
                value, state = (value, "pre") if char == "'" else (value + char, state)
            elif state == '"':
                if char == "\\":
                    escaped = next(held)
                    value += escaped if escaped in '"\\`$' else "\\" + escaped
                elif char == '"':
                    state = "pre"
                else:
                    value += char
            else:
                value, state = value + char, "value"
        found[name] = value
    return found


@given(ONE_LINE)
@example('it\'s $HOME "q" `x` \\ # ; é')
@example("ends with \\")
@example("'\\")
def test_systemd_reads_what_was_written(value: str) -> None:
    assert parse_as_systemd(environment_text({"NAME": value})) == {"NAME": value}


@settings(max_examples=40, deadline=None)
@given(ONE_LINE.filter(lambda value: "\x00" not in value))
@example('it\'s $HOME "q" `x` \\ # ; é')
@example("ends with \\")
def test_a_shell_reads_what_was_written(value: str) -> None:
    shell = subprocess.run(["sh", "-c", f"printf %s {quote_value(value)}"], capture_output=True, check=True)
    assert shell.stdout.decode() == value


def test_plain_values_stay_plain() -> None:
    assert environment_text({"B": "postgresql://a:b@c:5432/d", "A": 1}) == "A=1\nB=postgresql://a:b@c:5432/d\n"


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (False, "false"), (None, ""), (5, "5"), (1.5, "1.5")])
def test_yaml_values_become_text(value: Any, text: str) -> None:
    assert environment_values({"A": value}) == {"A": text}


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({}, "SECRET_KEY is missing"),
        ({"SECRET_KEY": ""}, "SECRET_KEY is empty"),
        ({"SECRET_KEY": None}, "SECRET_KEY is empty"),
        ({"SECRET_KEY": GOOD_KEY, "A": "b\nc-value"}, "A holds a line break"),
        ({"SECRET_KEY": GOOD_KEY, "A-B": "c-value"}, "'A-B' is not a name"),
        ({"SECRET_KEY": GOOD_KEY, "A": ["c-value"]}, "A is a list, not text"),
        ({"SECRET_KEY": "short-value"}, "SECRET_KEY is weak"),
        ({"SECRET_KEY": "change-me-value-" * 4}, "SECRET_KEY is weak"),
        ({"SECRET_KEY": "ab" * 30}, "SECRET_KEY is weak"),
    ],
)
def test_problems_name_the_variable_and_no_value(environment: dict[str, Any], problem: str) -> None:
    (found,) = environment_problems(environment, ["SECRET_KEY"], production=True)
    assert found.startswith(problem)
    assert "value" not in found


def test_a_weak_key_is_no_problem_outside_production() -> None:
    assert environment_problems({"SECRET_KEY": "dev"}, ["SECRET_KEY"], production=False) == []


def test_good_environments_have_no_problems() -> None:
    assert environment_problems({"SECRET_KEY": GOOD_KEY, "EMPTY": ""}, ["SECRET_KEY"], production=True) == []


def test_what_no_file_can_carry_is_refused() -> None:
    with pytest.raises(Unusable, match="A holds a line break") as refused:
        environment_text({"A": "one\ntwo"})
    assert "two" not in str(refused.value)
