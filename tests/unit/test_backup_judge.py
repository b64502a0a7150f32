"""Decisions of pg_backup: programs, space, contents, plausibility, what was left behind."""

from __future__ import annotations

from typing import Any, Optional

import pytest

from ansible.module_utils.floyo.backup.judge import (
    Owner,
    Programs,
    Space,
    Toc,
    choose_programs,
    compress_option,
    compression,
    forecast,
    has_ended,
    missing_from,
    parse_reserve,
    read_toc,
    require_space,
    shrunk,
)
from ansible.module_utils.floyo.backup.schema import fingerprint
from ansible.module_utils.floyo.errors import Refused, Unusable

MB = 1 << 20


# --- programs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("versions", "server", "chosen"),
    [
        (["13.4", "15.18", "17.2"], 15, "15.18"),
        (["13.4", "17.2"], 15, "17.2"),
        (["9.6.24"], 15, None),
        (["9.6.24", "18beta1"], 18, "18beta1"),
        (["18.0"], 18, "18.0"),
        ([], 15, None),
    ],
)
def test_the_oldest_program_that_is_new_enough(versions: list[str], server: int, chosen: Optional[str]) -> None:
    found = [Programs(f"/bin/{version}", version) for version in versions]
    if chosen:
        assert choose_programs(found, server, "server 15.18").version == chosen
        return
    with pytest.raises(Unusable, match=f"server 15.18 needs pg_dump and pg_restore {server} or later") as raised:
        choose_programs(found, server, "server 15.18")
    assert f"apt-get install postgresql-client-{server}" in raised.value.next_step


@pytest.mark.parametrize(
    ("asked", "major", "meant", "option"),
    [
        ("auto", 15, "gzip:6", "--compress=6"),
        ("auto", 16, "zstd", "--compress=zstd"),
        ("none", 15, "none", "--compress=0"),
        ("none", 16, "none", "--compress=none"),
        ("gzip", 15, "gzip:6", "--compress=6"),
        ("gzip:9", 15, "gzip:9", "--compress=9"),
        ("gzip:9", 17, "gzip:9", "--compress=gzip:9"),
        ("zstd:12", 17, "zstd:12", "--compress=zstd:12"),
        ("lz4", 17, "lz4", "--compress=lz4"),
    ],
)
def test_compression(asked: str, major: int, meant: str, option: str) -> None:
    assert compression(asked, major, lambda method: method != "lz4" or major == 17) == meant
    assert compress_option(meant, major) == option


@pytest.mark.parametrize(
    ("asked", "major"), [("zstd", 15), ("lz4:3", 15), ("bzip2", 16), ("auto:3", 16), ("gzip:x", 16)]
)
def test_compression_that_cannot_be(asked: str, major: int) -> None:
    with pytest.raises(Unusable):
        compression(asked, major, lambda _: True)


def test_a_build_without_the_library() -> None:
    assert compression("auto", 17, lambda _: False) == "gzip:6"
    with pytest.raises(Unusable, match="this pg_dump 17 cannot compress with zstd"):
        compression("zstd", 17, lambda _: False)


# --- space -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5%", 50),
        ("0", 0),
        ("12.5%", 125),
        ("500", 500),
        ("1K", 1024),
        ("2MiB", 2 * MB),
        ("1.5 MB", 3 * MB // 2),
        ("1g", 1 << 30),
    ],
)
def test_what_must_stay_free(text: str, expected: int) -> None:
    assert parse_reserve(text, 1000) == expected


@pytest.mark.parametrize("text", ["", "five", "-1", "100%", "5X", "1 000"])
def test_no_size(text: str) -> None:
    with pytest.raises(Unusable):
        parse_reserve(text, 1000)


def previous(size: int, tables: int, compress: str = "gzip:6") -> dict[str, Any]:
    return {"table_bytes": tables, "dump": {"size": size, "compress": compress}}


def test_the_forecast_learns_from_the_backup_before() -> None:
    first = forecast(100 * MB, None, "gzip:6")
    assert first >= 100 * MB
    learned = forecast(100 * MB, previous(10 * MB, 50 * MB), "gzip:6")
    assert 20 * MB < learned < 30 * MB
    assert forecast(100 * MB, previous(10 * MB, 50 * MB, "none"), "gzip:6") == first, "compressed in another way"
    assert forecast(100 * MB, previous(MB, MB), "gzip:6") == first, "too small to learn from"
    assert forecast(100 * MB, None, "none") > first


def test_space() -> None:
    require_space(Space(100 * MB, 30 * MB), 20 * MB, 10 * MB, "/b")
    with pytest.raises(Refused, match="/b has 29 MiB free; the dump needs about 20 MiB, and 10 MiB must stay free"):
        require_space(Space(100 * MB, 30 * MB - 1), 20 * MB, 10 * MB, "/b")


# --- contents --------------------------------------------------------------------------------------------------------

LISTING = """;
; Archive created at 2026-11-23 23:36:45 UTC
;     TOC Entries: 21
;
214; 1259 16386 TABLE public we ird postgres
3369; 2613 16400 BLOB - 16400 postgres
3365; 0 16391 TABLE DATA public e postgres
3364; 0 16386 TABLE DATA public two
lines postgres
3371; 0 0 BLOBS - BLOBS
3368; 0 16409 MATERIALIZED VIEW DATA public mv postgres
"""


def test_the_table_of_contents() -> None:
    toc = read_toc(LISTING)
    assert (toc.entries, toc.tables, toc.large_objects) == (6, {16391, 16386}, True)
    assert read_toc(LISTING.replace("23:36:45", "01:02:03")).digest == toc.digest
    assert read_toc(LISTING.replace(" e ", " f ")).digest != toc.digest
    assert read_toc("").tables == frozenset()


@pytest.mark.parametrize(
    ("tables", "objects", "words"),
    [
        ({1: "a", 2: "b"}, 0, ""),
        ({1: "a", 2: "b", 3: "c"}, 0, "the dump holds no data of c"),
        (
            {number: f"t{number}" for number in range(1, 20)},
            0,
            "the dump holds no data of t10, t11, t12, t13, t14 and others",
        ),
        ({}, 5, "the dump holds no large objects"),
    ],
)
def test_what_is_missing(tables: dict[int, str], objects: int, words: str) -> None:
    assert missing_from(Toc(2, "", frozenset({1, 2}), large_objects=False), tables, objects) == words


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (None, {}, ""),
        ({"a": 10}, {"a": 0}, ""),
        ({"a": 1000}, {"a": 900}, ""),
        ({"a": 1000}, {"a": 400}, "400 rows, the backup before had 1000"),
        ({"a": 1000, "b": 200}, {"a": 1000, "b": 0}, "tables are empty that were not: b"),
        ({"a": 1000, "b": 5, "c": 5}, {"a": 1000}, "most tables of the backup before are gone (b, c)"),
        ({"a": 1000, "b": 5, "c": 5}, {"a": 1000, "c": 5}, ""),
    ],
)
def test_a_shrunken_database(before: Optional[dict[str, int]], now: dict[str, int], words: str) -> None:
    assert shrunk(now, {"rows": before} if before else None) == words


def test_the_fingerprint_does_not_depend_on_the_order_of_rows() -> None:
    rows = [("column", "a.x", "int"), ("relation", "a", "r"), ("column", "a.y", None)]
    assert fingerprint(rows) == fingerprint(rows[::-1])
    assert fingerprint(rows)["kinds"]["column"]["count"] == 2
    assert fingerprint(rows)["sha256"] != fingerprint([*rows[:2], ("column", "a.y", "int")])["sha256"]
    assert fingerprint([("a", "b", "cd")]) != fingerprint([("a", "bc", "d")])


# --- what others left ------------------------------------------------------------------------------------------------

HERE = Owner(host="db1", boot="b1", pid=10, started="500")


@pytest.mark.parametrize(
    ("owner", "started_now", "ended"),
    [
        (None, "", True),
        ({"host": "db1", "boot": "b1", "pid": 7, "started": "400"}, "400", False),
        ({"host": "db1", "boot": "b1", "pid": 7, "started": "400"}, "", True),
        ({"host": "db1", "boot": "b1", "pid": 7, "started": "400"}, "450", True),
        ({"host": "db1", "boot": "b0", "pid": 7, "started": "400"}, "400", True),
        ({"host": "db2", "boot": "b0", "pid": 7, "started": "400"}, "", False),
    ],
)
def test_whose_unfinished_work_may_be_swept(owner: Optional[dict[str, Any]], started_now: str, ended: bool) -> None:
    assert has_ended({"owner": owner} if owner else {}, HERE, started_now) is ended
