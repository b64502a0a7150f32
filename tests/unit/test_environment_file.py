"""Environment files are read as systemd reads them. The expected values were taken from systemd 252."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible.module_utils.floyo import environment, environment_file

parse = environment_file.parse_environment_file


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=abc", {"A": "abc"}),
        ("A =  a b   \n", {"A": "a b"}),
        ("A='a b'", {"A": "a b"}),
        ('A="a \\"b\\" \\$c \\d \\\\ e"', {"A": 'a "b" $c \\d \\ e'}),
        ("A=one\\\ntwo", {"A": "onetwo"}),
        ('A="one\\\ntwo\nthree"', {"A": "onetwo\nthree"}),
        ("A='a'\"b\"c", {"A": "abc"}),
        ("A=a'b'\"c\"", {"A": "a'b'\"c\""}),
        ("A='a b '  ", {"A": "a b "}),
        ("A=a\\ b\\tc\\'", {"A": "a btc'"}),
        ("A=abc # no comment", {"A": "abc # no comment"}),
        ("A=a;b", {"A": "a;b"}),
        ("A=a\\  \nB=1", {"A": "a ", "B": "1"}),
        ("A=\nB=1", {"A": "", "B": "1"}),
        (" A=x\r\nB=y\r\n", {"A": "x", "B": "y"}),
        ("#A=1\n;B=1\n  # C=1\nD=1", {"D": "1"}),
        ("", {}),
    ],
)
def test_reads_as_systemd_does(text: str, values: dict[str, str]) -> None:
    parsed = parse(text)
    assert parsed.values == values
    assert parsed.problems == ()


@pytest.mark.parametrize(
    ("text", "values", "problem"),
    [
        ("A=1\nA=2", {"A": "2"}, "line 2: A is set again"),
        ("export A=1", {}, "line 1: export A is not a name"),
        ("A=1\nhunter2\nB=1", {"A": "1", "B": "1"}, "line 2: is no assignment"),
        ("hunter2", {}, "line 1: is no assignment"),
        ("=hunter2", {}, "line 1: is no assignment"),
        ("A-B=hunter2", {}, "line 1: what stands before = is not a name"),
        ('A="hunter2\nB=1', {"A": "hunter2\nB=1"}, "line 2: the quote of A is never closed"),
        ("A=hun\x01ter2", {}, "line 1: A holds a control character"),
        ("# note \\\nA=1", {"A": "1"}, "line 1: a comment ends in a backslash"),
    ],
)
def test_says_what_is_not_read_as_written(text: str, values: dict[str, str], problem: str) -> None:
    parsed = parse(text)
    assert parsed.values == values
    assert len(parsed.problems) == 1
    assert problem in parsed.problems[0]
    assert "hunter2" not in parsed.problems[0]
    assert "hunter2" not in repr(parsed)


VALUE = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=30) | st.text("ab '\"\\$`#;=\t", max_size=12)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values=st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), VALUE, max_size=5))
def test_what_the_package_writes_is_read_back(values: dict[str, str]) -> None:
    parsed = parse(environment.environment_text(values))
    assert parsed.values == values
    assert parsed.problems == ()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.text(st.sampled_from("AB=\n\r'\"\\#; \tx$é\x01"), max_size=60))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert all(isinstance(value, str) for value in parse(text).values.values())


def test_example() -> None:
    text = (
        "# About\nA=1\nexport B='x y' # note\n# OPTIONAL=\n#C=1\nD=change-me # note\n  E = \nnot a line\n# note: x=1\n"
    )
    assert environment_file.example_names(text) == (
        {"A": "1", "B": "x y", "D": "change-me", "E": ""},
        {"OPTIONAL", "C"},
    )


STRONG = "q8Zr3Lk0Xw7Vn5Tb2Yc9Md4Hs6Jf1GpQ"  # 32 characters


def test_comparison() -> None:
    values = {"DATABASE_URL": "postgresql://x", "SECRET_KEY": "short", "REDIS_URL": " ", "EXTRA": "1", "NOTED": "1"}
    compared = environment_file.compare(
        values,
        required=["DATABASE_URL", "REDIS_URL", "CORS_ORIGINS"],
        known=["DATABASE_URL", "SECRET_KEY", "SENTRY_DSN"],
        optional=["NOTED"],
        secrets=["SECRET_KEY", "OTHER_SECRET"],
    )
    assert compared == environment_file.Comparison(
        present=["DATABASE_URL", "EXTRA", "NOTED", "REDIS_URL", "SECRET_KEY"],
        missing=["CORS_ORIGINS"],
        empty=["REDIS_URL"],
        unset=["SENTRY_DSN"],
        unknown=["EXTRA"],
        weak=["SECRET_KEY"],
    )


def test_nothing_is_unknown_where_nothing_is_known() -> None:
    assert environment_file.compare({"A": "1"}, required=["B"], known=[]).unknown == []


@pytest.mark.parametrize(("value", "weak"), [(STRONG, True), (STRONG[::-1], False), ("", False)])
def test_the_placeholder_of_the_example_is_weak(value: str, weak: bool) -> None:
    compared = environment_file.compare(
        {"TOKEN": value}, required=[], known=["TOKEN"], secrets=["TOKEN"], placeholders={"TOKEN": STRONG}
    )
    assert compared.weak == (["TOKEN"] if weak else [])


def test_a_piece_of_a_secret_that_looks_like_a_name_is_not_shown() -> None:
    text = "KEY=-----BEGIN\nMIIBOwIBAAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8Q=\nhttp_proxy=x\n"
    parsed = parse(text)
    compared = environment_file.compare(parsed.values, required=[], known=["KEY"])
    assert compared.unknown == ["(a name that is not shown)", "http_proxy"]
    assert compared.present == ["(a name that is not shown)", "KEY", "http_proxy"]
