"""A plain dump is read as the server reads it; the corpus of what is refused is in the module ring, on a real server."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ansible.module_utils.floyo.backup.plain import PlainDump, split_lines
from ansible.module_utils.floyo.errors import FloyoError

END = "\n-- PostgreSQL database dump complete\n"
HEAD = "-- Dumped from database version 16.4 (Debian)\n-- Dumped by pg_dump version 17.1\n\n"


def statements(text: str, **options: bool) -> list[str]:
    dump = PlainDump(**options)
    return [piece.text.decode() for piece in dump.pieces(split_lines([(HEAD + text + END).encode()])) if piece.text]


def refused(text: str) -> str:
    with pytest.raises(FloyoError) as error:
        statements(text)
    return error.value.code


def test_what_it_tells_of_itself() -> None:
    text = (
        'CREATE TABLE public.a (x int);\nCOPY public.a (x) FROM stdin;\n1\n2\n\\.\n\nCOPY "S"."odd ""t" ("a b", c) FROM stdin;\n\\.\n'
        "COPY public.alembic_version (version_num) FROM stdin;\nbb22\naa11\n\\.\nSELECT pg_catalog.lo_create('5');\n"
        'CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA ext;\nGRANT SELECT ON TABLE public.a TO app;\n'
        "GRANT ALL ON SCHEMA public TO PUBLIC;\nALTER TABLE public.a OWNER TO me;\n"
    )
    dump = PlainDump(version_table="public.alembic_version")
    list(dump.pieces(split_lines([(HEAD + text + END).encode()])))
    assert (dump.server, dump.client) == ("16.4", "17.1")
    assert dump.rows == {"public.a": 2, 'S.odd "t': 0, "public.alembic_version": 2}
    assert (dump.heads, dump.large_objects, dump.extensions) == (["aa11", "bb22"], 1, {"uuid-ossp": "ext"})
    assert (dump.roles, dump.statements, dump.passed_over) == ({"app"}, 5, 1)


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE a (b text DEFAULT 'it''s; \\! x');",
        "CREATE TABLE a (b text DEFAULT E'it\\'s; \\\\');",
        'CREATE TABLE "a"";\\c" (b int);',
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; -- ' \n $$;",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $a$ SELECT $$;$$ $b$ $a$;",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN 1 = 1 THEN 1 END; SELECT 2; END;",
        "CREATE TABLE a (b int /* ; /* ' */ \\ */, c int);",
        "CREATE RULE r AS ON INSERT TO a DO (SELECT 1; SELECT 2);",
        "CREATE TABLE a (b text DEFAULT U&'\\0041');",
        "CREATE TABLE a$b$c (d int);",
        "CREATE VIEW v AS SELECT x[1:2], b'01' FROM a;",
        "INSERT INTO a VALUES ('\\', 'x;y');",
    ],
)
def test_one_statement_is_one(text: str) -> None:
    assert statements(text + "\n" + text) == [text, text]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'a' \\g", "CREATE TABLE a (b text DEFAULT 'x'\n'y');", "CREATE TABLE a (b date DEFAULT date'2025-01-01');",
        "CREATE TABLE a (b text DEFAULT E'x' -- c\n'\\'');", "CREATE TABLE a (b int DEFAULT 1$$x$$);",
        "CREATE TABLE a (b text DEFAULT $1$a$ x $a$);", "CREATE TABLE a (b text DEFAULT aE'x\\'');", "VACUUM;", ";",
        "COPY public.a FROM stdin; SELECT 1;\n\\.\n", "COPY public.a (x) FROM stdin -- x\n;\n\\.\n", "\\.", "\\restrict `id`",
        "SET search_path = public, pg_temp;", "SELECT pg_catalog.set_config('role', 'x', false);", "GRANT a TO b;",
        "SELECT pg_catalog.setval('s', (SELECT 1), true);", "WITH x AS (SELECT 1) SELECT * FROM x;", "BEGIN; SAVEPOINT x;",
    ],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_or_is_not_of_pg_dump(text: str) -> None:
    assert refused(text) in ("SQL_UNREADABLE", "SQL_FORBIDDEN")


def test_what_the_run_decides_is_passed_over() -> None:
    own = "\\restrict abc\nSET lock_timeout = 0;\nBEGIN;\nCOMMIT;\nALTER TABLE public.a OWNER TO x;\n\\unrestrict abc\n"
    rights = (
        'GRANT SELECT ON TABLE public.a TO app;\nALTER DEFAULT PRIVILEGES FOR ROLE x GRANT SELECT ON TABLES TO "b c";\n'
    )
    assert statements(own) == []
    assert len(statements(own + rights)) == 2
    assert statements(own + rights, privileges=False) == []
    assert statements("SET ROLE x;\nGRANT a TO b;\nSET lock_timeout = 0;\n", ours=True) == [
        "SET ROLE x;",
        "GRANT a TO b;",
    ]


@pytest.mark.parametrize(
    "text", ["", HEAD, HEAD + "SELECT 'a", HEAD + "COPY public.a (x) FROM stdin;\n1\n", HEAD + "/* x", "x"]
)
def test_what_is_not_whole(text: str) -> None:
    with pytest.raises(FloyoError) as error:
        list(PlainDump().pieces(split_lines([text.encode()])))
    assert error.value.code == "SQL_TRUNCATED"


@given(st.lists(st.binary(max_size=9), max_size=9))
def test_lines_are_the_same_however_they_come(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    lines = list(split_lines(chunks))
    assert b"".join(lines) == whole
    assert all(line.find(b"\n") in (-1, len(line) - 1) for line in lines)
    assert all(line.endswith(b"\n") for line in lines[:-1])


@given(st.lists(st.text("a'\"\\$;E\n-/*()", max_size=12), max_size=4))
def test_any_value_in_quotes_stays_in_them(values: list[str]) -> None:
    """As a constant, a name, a body and a row: what stands in quotes is nobody's statement."""
    text = ""
    for value in values:
        constant = value.replace("'", "''")
        name = value.replace('"', '""') or "x"
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        text += f"COMMENT ON TABLE public.a IS '{constant}';\nCOMMENT ON TABLE public.\"{name}\" IS E'{escaped}';\n"
        text += f"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $q${value}$q$;\n"
    assert len(statements(text)) == 3 * len(values)


@given(
    st.lists(
        st.sampled_from(["1", "-2.50", "NULL", "true", "'x'", "'it''s'", "''", "'\\'", "' , '"]), min_size=1, max_size=5
    )
)
def test_the_short_way_for_rows_of_inserts_is_no_other(values: list[str]) -> None:
    """What it does not know goes the long way, which finds the same."""
    text = "".join(("INSERT INTO public.a", " VALUES (", ", ".join(values), ");"))
    assert statements(text) == statements(text + " ") == [text]
