"""What releases are called, and which tags are suggested for one that is not there."""

from __future__ import annotations

import re

import pytest

from ansible.module_utils.floyo.release.names import build_key, nearest, newest, release_name, version_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("ref", "kind", "shown"),
    [
        ("v1.4.0", "tag", "v1.4.0"),
        ("release/2024-01", "tag", "release-2024-01"),
        ("v1.0+build.5", "tag", "v1.0+build.5"),
        ("..", "tag", "0123456789ab"),
        (".hidden", "tag", "hidden"),
        ("größe", "tag", "gr-e"),
        ("main", "branch", "0123456789ab"),
        (COMMIT, "commit", "0123456789ab"),
    ],
)
def test_a_version_is_the_tag_or_the_short_commit_and_fit_for_a_directory(ref: str, kind: str, shown: str) -> None:
    assert version_of(ref, kind, COMMIT) == shown


def test_a_release_is_named_by_all_that_it_is_made_of() -> None:
    key = build_key(COMMIT, {"asgi": "a:b"})
    name = release_name("v1", key, "tree", "uvicorn==1")
    assert re.fullmatch(r"v1-[0-9a-f]{8}", name)
    assert name == release_name("v1", build_key(COMMIT, {"asgi": "a:b"}), "tree", "uvicorn==1")
    others = {
        release_name("v1", build_key(COMMIT, {"asgi": "a:c"}), "tree", "uvicorn==1"),
        release_name("v1", build_key(COMMIT[::-1], {"asgi": "a:b"}), "tree", "uvicorn==1"),
        release_name("v1", key, "tree2", "uvicorn==1"),
        release_name("v1", key, "tree", "uvicorn==2"),
        release_name("v2", key, "tree", "uvicorn==1"),
    }
    assert len(others) == 5
    assert name not in others


def test_the_order_of_the_settings_does_not_matter() -> None:
    assert build_key(COMMIT, {"a": 1, "b": 2}) == build_key(COMMIT, {"b": 2, "a": 1})


def test_tags_are_ordered_as_versions_and_not_as_words() -> None:
    assert newest(["v1.9.0", "v1.10.0", "v1.2.0", "v1.10.0.1"]) == ["v1.10.0.1", "v1.10.0", "v1.9.0", "v1.2.0"]
    assert newest(["1.0", "v1.0", "release"]) == ["1.0", "v1.0", "release"]


def test_a_candidate_comes_before_its_version() -> None:
    assert newest(["v1.1.0-rc1", "v1.1.0", "v1.0.0", "v1.1.0-rc2"]) == ["v1.1.0", "v1.1.0-rc2", "v1.1.0-rc1", "v1.0.0"]


def test_a_tag_with_digits_of_other_scripts_is_no_trouble() -> None:
    assert set(newest(["v²", "v٣", "v1"])) == {"v²", "v٣", "v1"}


def test_a_typing_error_finds_the_tags_that_were_meant() -> None:
    tags = [f"v1.{minor}.0" for minor in range(12)] + ["unrelated"]
    assert nearest("v1.40", tags)[0] == "v1.4.0"
    assert nearest("1.11.0", tags)[0] == "v1.11.0"
    assert "unrelated" not in nearest("v1.4.1", tags)
    assert len(nearest("v1.4.1", tags)) == 5


def test_when_nothing_is_alike_the_newest_tags_are_named() -> None:
    assert nearest("zzz", ["v1.2.0", "v1.10.0"], limit=1) == ["v1.10.0"]
    assert nearest("zzz", []) == []
