"""Whole revision files as people write them: what each is by a person's judgement, beside what it is called.

Each file in revisions/ says in a comment what it is. Dangerous is everything but ``expand``: what is dangerous may be called
anything dangerous, and what is additive may be called ``unknown``. The ways back are held likewise.
"""

from __future__ import annotations

import ast
import collections
import re
from pathlib import Path

import pytest

from ansible.module_utils.floyo.migrations.classify import CLASSES, DOWNGRADES, Classification, classify

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((Path(__file__).parent / "revisions").glob("*.py"))
_TRUTH = re.compile(r"^# It is: (\w+)\. The way back: (\w+)\.$", re.MULTILINE)


def truth(path: Path) -> tuple[str, str]:
    found = _TRUTH.search(path.read_text())
    assert found, f"{path.name} does not say what it is"
    return found[1], found[2]


def verdict(path: Path) -> Classification:
    return classify(ast.parse(path.read_text()))


def table(title: str, words: tuple[str, ...], pairs: list[tuple[str, str]]) -> str:
    """Rows are what it is, columns what it is called."""
    counted = collections.Counter(pairs)
    lines = [f"| {title} | {' | '.join(words)} |", f"|---|{'---:|' * len(words)}"]
    lines += [f"| {is_} | {' | '.join(str(counted[is_, called] or '.') for called in words)} |" for is_ in words]
    return "\n".join(lines)


def test_the_corpus_is_large_and_covers_everything() -> None:
    assert len(FILES) >= 60
    assert {truth(path)[0] for path in FILES} == set(CLASSES)
    assert {truth(path)[1] for path in FILES} == set(DOWNGRADES)


def test_confusion(capsys: pytest.CaptureFixture[str]) -> None:
    found = [(path.stem, *truth(path), verdict(path)) for path in FILES]
    classes = table("is, called", CLASSES, [(kind, judged.kind) for _, kind, _, judged in found])
    ways = table("way back is, called", DOWNGRADES, [(back, judged.downgrade) for _, _, back, judged in found])
    with capsys.disabled():
        print(f"\n{len(FILES)} revisions\n\n{classes}\n\n{ways}")
    guide = (ROOT / "docs" / "migrations.md").read_text()
    assert f"{len(FILES)} revisions" in guide
    assert classes in guide and ways in guide, "docs/migrations.md shows other tables than the ones above"
    assert [name for name, kind, _, judged in found if judged.kind == "expand" != kind] == []
    # A way back that loses rows, does a part or nothing must not look like one that does all.
    assert [name for name, _, back, judged in found if judged.downgrade == "clean" != back] == []
    assert [
        name for name, _, back, judged in found if judged.downgrade == "lossy" and back not in ("clean", "lossy")
    ] == []
    # How exact it is: whoever makes a rule better or worse sees it here.
    inexact = {name for name, kind, back, judged in found if (kind, back) != (judged.kind, judged.downgrade)}
    assert inexact == {"add_column_marked", "legacy_positional_arguments"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_verdict_says_why(path: Path) -> None:
    judged = verdict(path)
    assert judged.reasons or judged.kind == "expand"
    assert bool(judged.downgrade_reason) == (judged.downgrade in ("noop", "irreversible", "unknown"))
