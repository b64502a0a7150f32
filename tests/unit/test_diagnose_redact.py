"""Nothing of a value is left of a statement."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible.module_utils.floyo.diagnose.redact import redact


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("SELECT 1", "SELECT ?"),
        ("SELECT * FROM t_2025 WHERE a = $1 AND b1 = 2.5e-3", "SELECT * FROM t_2025 WHERE a = $1 AND b1 = ?"),
        ("CREATE ROLE zz PASSWORD 'TopS3cret'", "CREATE ROLE zz PASSWORD ?"),
        ("ALTER ROLE zz PASSWORD E'Top\\'S3cret'", "ALTER ROLE zz PASSWORD ?"),
        ("ALTER ROLE zz PASSWORD $$TopS3cret$$ LOGIN", "ALTER ROLE zz PASSWORD ? LOGIN"),
        ("ALTER ROLE zz PASSWORD $tag$Top$$S3cret$tag$ LOGIN", "ALTER ROLE zz PASSWORD ? LOGIN"),
        ("ALTER ROLE zz PASSWORD U&'TopS3cret'", "ALTER ROLE zz PASSWORD ?"),
        ("SELECT 'it''s S3cret', x", "SELECT ?, x"),
        ("SELECT 'cut off S3cr", "SELECT ?"),
        ("SELECT $$cut off S3cr", "SELECT ?"),
        ("SELECT /* S3cret /* nested */ S3cret */ a", "SELECT a"),
        ("SELECT a -- S3cret\nFROM b", "SELECT a FROM b"),
        ("SELECT a /* S3cret", "SELECT a"),
        ("SELECT 'a\\' , 'S3cret', b", "SELECT ?"),
        ("SET app.token TO S3cret", "SET app.token TO ?"),
        ("SET LOCAL app.token = S3cret", "SET LOCAL app.token = ?"),
        ("ALTER SYSTEM SET primary_conninfo = 'password=S3cret'", "ALTER SYSTEM SET primary_conninfo = ?"),
        ('SELECT "Odd ""name%" FROM x', 'SELECT "Odd ""name%" FROM x'),
        ("SELECT * FROM t WHERE id IN (1, 2, 3, 4, 5)", "SELECT * FROM t WHERE id IN (?, ...)"),
        ("SELECT x'DEADBEEF', B'0101', 0x1F, 1_000", "SELECT ?, ..."),
        ("SELECT dblink('host=h password=S3cret', 'SELECT 1')", "SELECT dblink(?, ?)"),
        ("INSERT INTO u VALUES ('a@b.c', 4111111111111111)", "INSERT INTO u VALUES (?, ?)"),
        ("", ""),
    ],
)
def test_values_go(text: str, left: str) -> None:
    assert redact(text) == left
    assert "S3c" not in redact(text)


def test_long_statements_are_cut() -> None:
    assert len(redact("SELECT " + "column_name, " * 1000, 200)) == 200


@given(st.text(max_size=60), st.text(alphabet="abc'\\$/*-\" \n", max_size=60))
def test_a_quoted_value_never_shows_whatever_is_around_it(value: str, after: str) -> None:
    """As a client quotes it, in the middle of anything."""
    secret = "S3cret" + value
    quoted = "'" + secret.replace("'", "''") + "'"
    assert "S3cret" not in redact("SELECT a FROM t WHERE b = " + quoted + after)  # noqa: S608 - nobody runs it


@given(st.text(max_size=200))
def test_anything_can_be_read(text: str) -> None:
    assert "\n" not in redact(text)
