"""Locks of statements, and the verdict that joins them with live sizes, live sessions and squawk's words."""

from __future__ import annotations

from typing import Any

import pytest

from ansible.module_utils.floyo.migrations.lint import Live, judge, live_from, size_text, worst
from ansible.module_utils.floyo.migrations.locks import LOCKS, Hold, blocks, conflicts, statements_of


def holds(sql: str) -> list[tuple[str, str, str]]:
    return [(hold.table, hold.lock, hold.work) for one in statements_of(sql) for hold in one.holds]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("CREATE TABLE t (id int)", []),
        ("CREATE TABLE t (u int REFERENCES users (id))", [("users", "SHARE ROW EXCLUSIVE", "moment")]),
        ("CREATE TABLE p PARTITION OF events FOR VALUES IN (1)", [("events", "ACCESS EXCLUSIVE", "moment")]),
        ("CREATE INDEX i ON users (name)", [("users", "SHARE", "scan")]),
        ("CREATE UNIQUE INDEX IF NOT EXISTS i ON ONLY app.users (name)", [("app.users", "SHARE", "scan")]),
        ("CREATE INDEX ON users (name)", [("users", "SHARE", "scan")]),
        ("CREATE INDEX CONCURRENTLY i ON users (name)", [("users", "SHARE UPDATE EXCLUSIVE", "scan")]),
        ("DROP INDEX CONCURRENTLY i", [("i", "SHARE UPDATE EXCLUSIVE", "moment")]),
        ("DROP INDEX i", [("i", "ACCESS EXCLUSIVE", "moment")]),
        ("REINDEX INDEX i", [("i", "ACCESS EXCLUSIVE", "scan")]),
        ('ALTER TABLE "users" ADD COLUMN x int', [("users", "ACCESS EXCLUSIVE", "moment")]),
        ("ALTER TABLE users ADD x int DEFAULT 0 NOT NULL", [("users", "ACCESS EXCLUSIVE", "moment")]),
        ("ALTER TABLE users ADD x timestamptz DEFAULT now()", [("users", "ACCESS EXCLUSIVE", "moment")]),
        ("ALTER TABLE users ADD x uuid DEFAULT gen_random_uuid()", [("users", "ACCESS EXCLUSIVE", "rewrite")]),
        ("ALTER TABLE users ADD x bigserial", [("users", "ACCESS EXCLUSIVE", "rewrite")]),
        ("ALTER TABLE users ADD x int GENERATED ALWAYS AS (1) STORED", [("users", "ACCESS EXCLUSIVE", "rewrite")]),
        ("ALTER TABLE users ADD x int UNIQUE", [("users", "ACCESS EXCLUSIVE", "scan")]),
        ("ALTER TABLE users ADD x int REFERENCES o (i)",
         [("users", "ACCESS EXCLUSIVE", "moment"), ("o", "SHARE ROW EXCLUSIVE", "moment")]),
        ("ALTER TABLE users ADD CONSTRAINT c CHECK (x > 0)", [("users", "ACCESS EXCLUSIVE", "scan")]),
        ("ALTER TABLE users ADD CONSTRAINT c CHECK (x > 0) NOT VALID", [("users", "ACCESS EXCLUSIVE", "moment")]),
        ("ALTER TABLE users ADD CONSTRAINT c FOREIGN KEY (x) REFERENCES o (i)",
         [("users", "SHARE ROW EXCLUSIVE", "scan"), ("o", "SHARE ROW EXCLUSIVE", "moment")]),
        ("ALTER TABLE users ADD CONSTRAINT c UNIQUE USING INDEX i", [("users", "ACCESS EXCLUSIVE", "moment")]),
        ("ALTER TABLE users VALIDATE CONSTRAINT c", [("users", "SHARE UPDATE EXCLUSIVE", "scan")]),
        ("ALTER TABLE users ALTER COLUMN x TYPE bigint", [("users", "ACCESS EXCLUSIVE", "rewrite")]),
        ("ALTER TABLE users ALTER x SET NOT NULL", [("users", "ACCESS EXCLUSIVE", "scan")]),
        ("ALTER TABLE users ALTER x SET DEFAULT 1, DROP COLUMN y", [("users", "ACCESS EXCLUSIVE", "moment")]),
        ("ALTER TABLE users ALTER x SET STATISTICS 100", [("users", "SHARE UPDATE EXCLUSIVE", "moment")]),
        ("ALTER TABLE users SET TABLESPACE fast", [("users", "ACCESS EXCLUSIVE", "rewrite")]),
        ("ALTER TABLE users SET (fillfactor = 70)", [("users", "SHARE UPDATE EXCLUSIVE", "moment")]),
        ("ALTER TABLE users RENAME x TO y", [("users", "ACCESS EXCLUSIVE", "moment")]),
        ("ALTER TABLE e ATTACH PARTITION p FOR VALUES IN (1)",
         [("e", "SHARE UPDATE EXCLUSIVE", "moment"), ("p", "ACCESS EXCLUSIVE", "scan")]),
        ("ALTER TABLE users DO SOMETHING NEW", [("users", "ACCESS EXCLUSIVE", "unknown")]),
        ("DROP TABLE users, other CASCADE", [("users", "ACCESS EXCLUSIVE", "moment"), ("other", "ACCESS EXCLUSIVE", "moment")]),
        ("TRUNCATE users", [("users", "ACCESS EXCLUSIVE", "moment")]),
        ("UPDATE users SET x = 'a;b' WHERE y = $$;$$", [("users", "ROW EXCLUSIVE", "rows")]),
        ("DELETE FROM users", [("users", "ROW EXCLUSIVE", "rows")]),
        ("INSERT INTO users VALUES (1)", [("users", "ROW EXCLUSIVE", "moment")]),
        ("CREATE TRIGGER t AFTER INSERT ON users EXECUTE FUNCTION f()", [("users", "SHARE ROW EXCLUSIVE", "moment")]),
        ("REFRESH MATERIALIZED VIEW m", [("m", "ACCESS EXCLUSIVE", "rewrite")]),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", [("m", "EXCLUSIVE", "rewrite")]),
        ("VACUUM (FULL, ANALYZE) users", [("users", "ACCESS EXCLUSIVE", "rewrite")]),
        ("COMMENT ON TABLE users IS 'x'", [("users", "SHARE UPDATE EXCLUSIVE", "moment")]),
        ("SET lock_timeout = '1s'; BEGIN; COMMIT; GRANT SELECT ON users TO x", []),
        ("SELECT rebuild_everything()", [("", "unknown", "unknown")]),
        ("DO $$ BEGIN END $$", [("", "unknown", "unknown")]),
        ("-- ALTER TABLE a DROP b\n/* DROP TABLE c; */ CREATE SEQUENCE s", []),
    ],
)  # fmt: skip
def test_what_a_statement_holds(sql: str, expected: list[tuple[str, str, str]]) -> None:
    assert holds(sql) == expected


def test_tables_that_the_script_makes_are_nobodys() -> None:
    assert holds("CREATE TABLE t (id int); CREATE INDEX i ON t (id); ALTER TABLE t ADD CHECK (id > 0)") == []


def test_lines_are_those_of_the_script() -> None:
    script = "-- one\nBEGIN;\n\nALTER TABLE a\n  ADD b text DEFAULT 'x\ny';\n\n-- two\nDROP TABLE c;\n\nCOMMIT;\n"
    found = [(one.first_line, one.last_line) for one in statements_of(script)]
    assert found == [(1, 1), (3, 5), (8, 8), (10, 10)]


def test_conflicts_are_mutual() -> None:
    for one in LOCKS:
        for other in LOCKS:
            assert conflicts(one, other) == conflicts(other, one), (one, other)
    assert [blocks(lock) for lock in LOCKS] == ["", "", "", "", "write", "write", "write", "read or write"]


# --- the verdict -----------------------------------------------------------------------------------------------------

SMALL = ("public", "users", True, 50, 16384)
LARGE = ("public", "events", True, 50_000_000, 8 << 30)


def script(sql: str, **more: Any) -> dict[str, Any]:
    return {"revision": "aaaa", "sql": sql, "renderable": True, "reason": "", "class": "expand", **more}


def verdict(sql: str, *, said: Any = (), holders: Any = (), limits: Any = None, **more: Any) -> dict[str, Any]:
    live = live_from([SMALL, LARGE], [("public", "by_name", True, "public.events")], holders)
    live.free = 1 << 50
    found = judge([script(sql, **more)], live, violations={"aaaa": said}, limits=limits or {})
    assert found["verdict"] == found["revisions"][0]["verdict"]
    return dict(found["revisions"][0])


@pytest.mark.parametrize(
    ("statement", "on_small", "on_large"),
    [
        ("CREATE INDEX i ON {} (name)", "pass", "fail"),
        ("CREATE INDEX CONCURRENTLY i ON {} (name)", "pass", "pass"),
        ("ALTER TABLE {} ADD COLUMN x int", "pass", "pass"),
        ("ALTER TABLE {} ADD COLUMN x uuid DEFAULT gen_random_uuid()", "pass", "fail"),
        ("ALTER TABLE {} ALTER x TYPE bigint", "pass", "fail"),
        ("ALTER TABLE {} ALTER x SET NOT NULL", "pass", "fail"),
        ("ALTER TABLE {} ADD CONSTRAINT c CHECK (x > 0)", "pass", "fail"),
        ("ALTER TABLE {} ADD CONSTRAINT c CHECK (x > 0) NOT VALID", "pass", "pass"),
        ("ALTER TABLE {} VALIDATE CONSTRAINT c", "pass", "pass"),
        ("UPDATE {} SET x = 1", "pass", "warn"),
        ("ALTER TABLE {} DO SOMETHING NEW", "warn", "fail"),
        ("DROP TABLE {}", "pass", "pass"),
    ],
)
def test_the_size_decides(statement: str, on_small: str, on_large: str) -> None:
    assert verdict(statement.format("users"))["verdict"] == on_small
    assert verdict(statement.format("public.events"))["verdict"] == on_large


def test_a_failing_finding_says_what_to_do() -> None:
    found = verdict("ALTER TABLE events ALTER x SET NOT NULL")["findings"][0]
    assert found["found"] == (
        "nobody can read or write public.events (50.0 M rows, 8.0 GiB) while it is read as a whole"
    )
    assert "NOT VALID" in found["next"]


def test_an_index_counts_by_its_table() -> None:
    assert verdict("REINDEX INDEX by_name")["verdict"] == "fail"
    assert verdict("DROP INDEX by_name")["holds"][0]["table"] == "public.events"


def test_limits_can_be_set() -> None:
    assert verdict("CREATE INDEX i ON users (name)", limits={"rows": 50})["verdict"] == "fail"
    assert verdict("CREATE INDEX i ON events (a)", limits={"rows": 1e9, "bytes": 1 << 40})["verdict"] == "pass"


def test_who_has_the_table_now_stands_in_the_way() -> None:
    def with_holder(sql: str, lock: str, seconds: float) -> str:
        holder = {"table": "public.users", "lock": lock, "seconds": seconds, "text": "pid 7 (report, user ada)"}
        return str(verdict(sql, holders=[holder])["verdict"])

    assert with_holder("ALTER TABLE users ADD x int", "ACCESS SHARE", 60) == "fail"
    assert with_holder("ALTER TABLE users ADD x int", "ACCESS SHARE", 0.5) == "pass"
    assert with_holder("CREATE INDEX i ON users (x)", "ACCESS SHARE", 60) == "pass"
    assert with_holder("CREATE INDEX i ON users (x)", "ROW EXCLUSIVE", 60) == "fail"
    assert with_holder("ALTER TABLE events ADD x int", "ACCESS SHARE", 60) == "pass"


def said(rule: str, line: int = 0) -> list[dict[str, Any]]:
    return [{"rule": rule, "message": "It may block.", "help": "do otherwise", "line": line}]


def test_squawk_and_the_size() -> None:
    rule = said("require-concurrent-index-creation")
    small = verdict("CREATE INDEX i ON users (name)", said=rule)
    assert small["verdict"] == "pass"
    assert any("users has 50 rows" in entry["found"] for entry in small["findings"])
    large = verdict("CREATE INDEX i ON events (name)", said=rule)
    assert [entry["result"] for entry in large["findings"]] == ["fail"], "said once, with the size"


def test_squawk_and_the_class() -> None:
    assert verdict("ALTER TABLE users DROP a", said=said("ban-drop-column"))["verdict"] == "warn"
    assert (
        verdict("ALTER TABLE users DROP a", said=said("ban-drop-column"), **{"class": "contract"})["verdict"] == "pass"
    )


def test_squawk_and_taste() -> None:
    assert verdict("ALTER TABLE users ADD a int", said=said("prefer-bigint-over-int"))["findings"] == []


def test_a_rule_that_came_later_is_a_warning() -> None:
    assert verdict("ALTER TABLE users ADD a int", said=said("no-such-rule-today"))["verdict"] == "warn"


def test_what_reads_rows_has_to_be_rehearsed() -> None:
    found = verdict("", renderable=False, reason="no result offline")
    assert found["verdict"] == "warn"
    assert "rehearse" in found["findings"][0]["next"]


def test_a_table_of_an_earlier_pending_revision_is_new() -> None:
    live = live_from([LARGE], [], [])
    first = script("CREATE TABLE IF NOT EXISTS made (id int)")
    second = script("CREATE INDEX i ON made (id)", revision="bbbb")
    found = judge([first, second], live, violations={"bbbb": said("require-concurrent-index-creation")}, limits={})
    assert found["verdict"] == "pass"


def test_sizes_in_words() -> None:
    assert size_text({"rows": 50, "bytes": 16384}) == "50 rows"
    assert size_text({"rows": 2_500_000, "bytes": 3 << 29}) == "2.5 M rows, 1.5 GiB"
    assert worst([]) == "pass"
    assert blocks(Hold("t", "SHARE").lock) == "write"


# --- a hot table, and the database as a whole ------------------------------------------------------------------------


def test_a_hot_table_is_large_earlier() -> None:
    live = live_from([("public", "carts", True, 200_000, 32 << 20)], [], [])
    assert live.may_be_hot({}) == ["public.carts"]
    assert live.may_be_hot({"rows": 10_000_000}) == []

    def of(per_second: float) -> Any:
        live.tables["carts"]["per_second"] = per_second
        return judge([script("CREATE INDEX i ON carts (a)")], live, violations={}, limits={})["revisions"][0]

    assert (of(99)["verdict"], of(100)["verdict"]) == ("pass", "fail")
    assert "used 100 times a second" in of(100)["findings"][0]["found"]
    assert live_from([SMALL, LARGE], [], []).may_be_hot({}) == [], "too small, and large anyway"


def around(sql: str, **facts: Any) -> list[tuple[str, str]]:
    live = live_from([SMALL, LARGE], [], [])
    for name, value in {"free": 1 << 50, **facts}.items():
        setattr(live, name, value)
    found = judge([script(sql)], live, violations={}, limits={})
    assert all(entry["found"] and entry["next"] for entry in found["surroundings"])
    assert found["verdict"] == worst([found["revisions"][0]["verdict"], *(e["result"] for e in found["surroundings"])])
    return [(entry["name"], entry["result"]) for entry in found["surroundings"]]


REWRITE, QUICK = "ALTER TABLE events ALTER x TYPE bigint", "ALTER TABLE users ADD x int"
BUILD = "CREATE INDEX CONCURRENTLY i ON users (x)"


@pytest.mark.parametrize(
    ("sql", "free", "expected"),
    [
        (REWRITE, (16 << 30) - 1, [("disk", "fail")]),
        (REWRITE, 16 << 30, [("disk", "warn")]),
        (REWRITE, 32 << 30, []),
        (REWRITE, None, [("disk", "warn")]),
        ("UPDATE events SET x = 1", 8 << 30, [("disk", "fail")]),
        ("CREATE INDEX CONCURRENTLY i ON events (x)", (8 << 30) - 1, [("disk", "fail")]),
        ("ALTER TABLE events ADD x int", 1, []),
        (QUICK, None, []),
        ("ALTER TABLE users ALTER x TYPE bigint", None, []),
    ],
)
def test_what_is_written_has_to_fit(sql: str, free: Any, expected: Any) -> None:
    assert around(sql, free=free) == expected


def open_for(seconds: float, snapshot: bool = True) -> list[dict[str, Any]]:
    return [{"seconds": seconds, "snapshot": snapshot, "text": "pid 7 (report, user ada)"}]


def test_an_old_transaction_is_told_and_stops_what_waits_for_it() -> None:
    assert around(QUICK, transactions=open_for(301)) == [("transaction", "warn")]
    assert around(QUICK, transactions=open_for(299)) == []
    assert around(BUILD, transactions=open_for(4)) == [("transaction", "fail")]
    assert around(BUILD, transactions=open_for(2)) == []
    assert around(BUILD, transactions=open_for(200, snapshot=False)) == []


def test_replicas_and_slots_that_are_behind() -> None:
    late = [{"name": "db2", "seconds": 31.0, "bytes": 5 << 20}]
    assert around(QUICK, replicas=late) == [("replica", "warn")]
    assert around(REWRITE, replicas=late) == [("replica", "fail")], "it would fall back further"
    assert around(QUICK, replicas=[{**late[0], "seconds": 29.0}]) == []
    stopped = [{**late[0], "seconds": 0.0, "bytes": 1 << 30}]
    assert around(QUICK, replicas=stopped) == [("replica", "warn")]

    def slot(**facts: Any) -> list[tuple[str, str]]:
        return around(QUICK, slots=[{"name": "s", "active": True, "bytes": 0, "lost": False, **facts}])

    assert slot() == []
    assert slot(bytes=1 << 30) == slot(bytes=1 << 30, active=False) == slot(lost=True) == [("slot", "warn")]


def test_hidden_sessions_are_said() -> None:
    assert around(QUICK, sees_all=False) == [("rights", "warn")]


def test_nothing_pending_asks_for_nothing() -> None:
    live = Live(transactions=open_for(9999), sees_all=False)
    assert judge([], live, violations={}, limits={}) == {"verdict": "pass", "revisions": [], "surroundings": []}
