"""Manifests and the list made of them, for pg_backup."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible.module_utils.floyo.backup.catalogue import NO_MANIFEST, Files, read_catalogue
from ansible.module_utils.floyo.backup.manifest import link_to, manifest_digest, read_manifest, seal
from ansible.module_utils.floyo.errors import Unusable
from ansible.module_utils.floyo.migrations.planner import Consent, Release, plan_rollback

A, B, C = (f"2025011{day}T120000Z-aaaaaa" for day in (1, 2, 3))


def manifest(label: str = A, sequence: int = 1, **more: Any) -> dict[str, Any]:
    return seal(
        {
            "label": label,
            "sequence": sequence,
            "created": f"{label[:4]}-01-01T00:00:00Z",
            "database": "floyo",
            "dump": {"size": 100, "sha256": "ab" * 32, "toc": {"entries": 1}},
            "server": {"version": "15.18"},
            "client": {"version": "15.18"},
            "alembic": {"heads": ["r1"], "version_table": "public.alembic_version"},
            "schema": {"sha256": "cd"},
            "rows": {"public.users": 5, "public.events": 7},
            "about": {"release": "v1-00000000", "version": "v1", "reason": "test", "more": 1},
            "seconds": {"dump": 1.5},
            "verified_at": "2025-01-11T12:00:05Z",
            "previous": link_to(None),
            **more,
        }
    )


def text(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, sort_keys=True)


def test_what_was_written_is_read() -> None:
    assert read_manifest(text(manifest()), A) == manifest()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no JSON"),
        ("[]", "no format"),
        ("{}", "no format"),
        (text({**manifest(), "format": 2}), "has format 2, this version reads 1"),
        (text({**manifest(), "sequence": 9}), "digest does not fit"),
        (text({key: value for key, value in manifest().items() if key != "digest"}), "digest does not fit"),
        (text(manifest(B)), f"belongs to {B}"),
        (text(manifest(rows=None)), "lacks rows"),
        (text(manifest(dump={"size": "100"})), "lacks dump.size, dump.sha256, dump.toc"),
    ],
)
def test_a_manifest_that_is_not_as_it_was_written(content: str, words: str) -> None:
    with pytest.raises(Unusable, match=words):
        read_manifest(content, A)


@given(st.integers(0, 10_000), st.integers(0, 6))
def test_no_flipped_bit_goes_unnoticed(place: int, bit: int) -> None:
    """Blanks and line ends between the words may change: they mean nothing."""
    data = bytearray(text(manifest()).encode())
    data[place % len(data)] ^= 1 << bit
    try:
        found = read_manifest(data.decode(), A)
    except Unusable:
        return
    assert found == manifest()


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    turned = dict(reversed(list(manifest().items())))
    assert manifest_digest(turned) == manifest()["digest"]


# --- the list --------------------------------------------------------------------------------------------------------


def files(value: dict[str, Any], size: int = 100, **more: Any) -> Files:
    return Files(dump_size=size, manifest=text(value), **more)


def test_the_list_is_newest_first_by_sequence() -> None:
    first = manifest(C, 1)
    found = read_catalogue("/b", {C: files(first), A: files(manifest(A, 2, previous=link_to(first)))})
    assert [(entry["label"], entry["sequence"]) for entry in found.entries] == [(A, 2), (C, 1)]
    assert found.sequence == 2
    assert found.newest("floyo") == found.manifests[A]
    assert found.newest("other") is None
    entry = found.entries[0]
    assert (entry["path"], entry["rows"], entry["heads"], entry["seconds"]) == (f"/b/{A}.dump", 12, ["r1"], None)
    assert (entry["release"], entry["commit"], entry["verified"], entry["dump_seconds"]) == (
        "v1-00000000",
        "",
        True,
        1.5,
    )


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (Files(dump_size=100), NO_MANIFEST),
        (Files(manifest=text(manifest())), "the dump is missing"),
        (files(manifest(), 99), "the dump has 99 bytes instead of 100"),
        (Files(dump_size=100, manifest="{"), "the manifest is damaged: it is no JSON"),
        (
            files(manifest(), checked=json.dumps({"manifest": manifest()["digest"], "problem": "cut", "at": "now"})),
            "cut",
        ),
    ],
)
def test_problems(found: Files, problem: str) -> None:
    (entry,) = read_catalogue("/b", {A: found}).entries
    assert (entry["verified"], entry["problem"]) == (False, problem)


@pytest.mark.parametrize("checked", ["", "{", "[]", '{"manifest": "another", "problem": "cut"}'])
def test_a_note_about_another_dump_says_nothing(checked: str) -> None:
    (entry,) = read_catalogue("/b", {A: files(manifest(), checked=checked)}).entries
    assert (entry["verified"], entry["verified_at"]) == (True, "2025-01-11T12:00:05Z")


def test_unfinished_work_is_not_listed() -> None:
    left = {A: Files(partial_size=3, running="{}"), B: Files(dump_size=3, running="{}"), C: Files(temporary=("x",))}
    assert read_catalogue("/b", left).entries == []


def test_a_manifest_that_was_exchanged_with_its_digest() -> None:
    first, forged = manifest(A), manifest(A, rows={})
    second = manifest(B, 2, previous=link_to(first))
    found = read_catalogue("/b", {A: files(forged), B: files(second)})
    assert [(entry["label"], entry["problem"]) for entry in found.entries] == [
        (B, ""),
        (A, f"the manifest is not the one that {B} was chained to"),
    ]


def test_a_removed_predecessor_is_no_problem() -> None:
    second = manifest(B, 2, previous={"label": A, "digest": "00"})
    assert read_catalogue("/b", {B: files(second)}).entries[0]["verified"]


def test_the_planner_reads_the_list() -> None:
    """A rollback behind an irreversible revision finds the backup that fits."""

    def revision(name: str, down: list[str], kind: str) -> dict[str, Any]:
        way = {"kind": "unknown", "loses": []}
        return {"revision": name, "down_revisions": down, "class": kind, "summary": "", "file": "", "downgrade": way}

    old = Release("v1", (revision("r1", [], "expand"),))
    new = Release("v2", (*old.revisions, revision("r2", ["r1"], "irreversible")))
    entries = read_catalogue("/b", {A: files(manifest(A)), B: files(manifest(B, 2), 99)}).entries
    plan = plan_rollback(["r2"], old, new, backups=entries, consent=Consent(restore=True))
    assert (plan["verdict"], plan["backup"]) == ("RESTORE", A)
