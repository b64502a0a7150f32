"""A release's digest sees every change; the same tree packs to the same bytes; damaged bytes are refused."""

# Some changes are two steps in one expression.
# mypy: disable-error-code="func-returns-value"

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.release.artifact import file_digest, pack, size_of, tree_digest, unpack


def make(root: Path) -> Path:
    (root / "bin").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "bin" / "run").write_text("#!/bin/sh\n")
    (root / "bin" / "run").chmod(0o755)
    (root / "bin" / "data").write_text("data")
    (root / "bin" / "python").symlink_to("run")
    (root / "grün\n☃").write_text("name")
    Path(os.fsdecode(os.fsencode(root) + b"/latin-\xe9")).write_text("bytes that are no UTF-8")
    for path in [*root.rglob("*"), root]:
        os.utime(path, (1, 1), follow_symlinks=False)
    return root


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda root: (root / "bin" / "data").write_text("datb"),
    "empty file": lambda root: (root / "bin" / "data").write_text(""),
    "more": lambda root: (root / "bin" / "new").touch(),
    "less": lambda root: (root / "bin" / "data").unlink(),
    "name": lambda root: (root / "bin" / "data").rename(root / "bin" / "date"),
    "place": lambda root: (root / "bin" / "data").rename(root / "data"),
    "not executable": lambda root: (root / "bin" / "run").chmod(0o644),
    "set-uid": lambda root: (root / "bin" / "run").chmod(0o4755),
    "others write": lambda root: (root / "bin").chmod(0o777),
    "directory gone": lambda root: (root / "empty").rmdir(),
    "new empty directory": lambda root: (root / "empty2").mkdir(),
    "link elsewhere": lambda root: ((root / "bin" / "python").unlink(), (root / "bin" / "python").symlink_to("data")),
    "link became a file": lambda root: (
        (root / "bin" / "python").unlink(),
        (root / "bin" / "python").write_text("#!/bin/sh\n"),
    ),
    "directory became a link": lambda root: ((root / "empty").rmdir(), (root / "empty").symlink_to("bin")),
    "file became a pipe": lambda root: ((root / "bin" / "data").unlink(), os.mkfifo(root / "bin" / "data")),
    "name that is no text": lambda root: (root / "grün\n☃").rename(root / "grün\n☄"),
    "manifest deeper down": lambda root: (root / "bin" / "release.json").touch(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_changes_the_digest(tmp_path: Path, change: Callable[[Path], object]) -> None:
    root = make(tmp_path / "r")
    before = tree_digest(root)
    change(root)
    assert tree_digest(root) != before


def test_time_and_the_manifest_itself_do_not_count(tmp_path: Path) -> None:
    root = make(tmp_path / "r")
    before = tree_digest(root)
    os.utime(root / "bin" / "data")
    (root / "release.json").write_text("{}")
    assert tree_digest(root) == before == tree_digest(make(tmp_path / "other"))


def test_the_size_is_the_same_on_every_file_system(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x")
    (tmp_path / "two").write_bytes(b"x" * 4097)
    assert size_of(tmp_path) == 3 * 4096


def test_the_same_tree_packs_to_the_same_bytes_and_comes_back_whole(tmp_path: Path) -> None:
    digests = {pack(make(tmp_path / name / "r"), tmp_path / f"{name}.tar.zst") for name in ("a", "b")}
    assert len(digests) == 1
    packed = tmp_path / "a.tar.zst"
    assert digests == {file_digest(packed)}
    assert packed.stat().st_mode & 0o007 == 0
    target = tmp_path / "target"
    target.mkdir()
    umask = os.umask(0o077)
    try:
        unpack(packed, digests.pop(), target)
    finally:
        os.umask(umask)
    assert tree_digest(target / "r") == tree_digest(tmp_path / "a" / "r"), "whatever the caller's umask"


def test_damaged_bytes_are_refused_before_anything_is_unpacked(tmp_path: Path) -> None:
    packed, target = tmp_path / "r.tar.zst", tmp_path / "target"
    digest = pack(make(tmp_path / "r"), packed)
    target.mkdir()
    packed.write_bytes(packed.read_bytes()[:-1] + b"?")
    with pytest.raises(FloyoError) as caught:
        unpack(packed, digest, target)
    assert caught.value.code == "ARTIFACT_DAMAGED"
    assert list(target.iterdir()) == []


def test_what_cannot_be_unpacked_says_what_tar_said(tmp_path: Path) -> None:
    packed = tmp_path / "r.tar.zst"
    packed.write_text("no archive")
    with pytest.raises(FloyoError, match="cannot be unpacked") as caught:
        unpack(packed, file_digest(packed), tmp_path)
    assert caught.value.code == "ARTIFACT_FAILED"


def test_a_failed_packing_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    with pytest.raises(FloyoError, match="cannot be packed"):
        pack(tmp_path / "gone", tmp_path / "artifacts" / "gone.tar.zst")
    assert list((tmp_path / "artifacts").iterdir()) == []
