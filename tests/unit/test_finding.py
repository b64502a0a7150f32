"""Verdicts and their order."""

from __future__ import annotations

from ansible.module_utils.floyo.finding import VERDICTS, Finding, as_results, overall


def test_the_worst_verdict_counts() -> None:
    found = [Finding("a", "pass", ""), Finding("b", "inconclusive", ""), Finding("c", "warn", "")]
    assert overall([]) == "pass"
    assert overall(found[:2]) == "inconclusive", "what cannot be judged is no pass"
    assert overall(found) == "warn"
    assert overall([Finding("d", word, "") for word in VERDICTS]) == "fail"


def test_the_worst_is_shown_first_and_equals_keep_their_order() -> None:
    found = [Finding("a", "pass", ""), Finding("b", "fail", ""), Finding("c", "warn", ""), Finding("d", "fail", "")]
    assert [entry["check"] for entry in as_results(found)] == ["b", "d", "c", "a"]
    assert as_results(found)[0] == {
        "check": "b", "verdict": "fail", "message": "", "object": "", "value": None, "threshold": "",
        "sample": "now", "confidence": "high", "next_step": "",
    }  # fmt: skip
