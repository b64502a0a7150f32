"""What a run leaves in the journal, and the timeline that is made of it."""

from __future__ import annotations

from ansible.module_utils.floyo.report.journal import Journal, timeline


def run(journal: Journal, key: str, name: str, at: float, hosts: dict[str, str], **about: str) -> None:
    """A task that takes a second; each host begins a little later than the one before."""
    journal.start_task(key, name, phase=about.get("phase", ""), action="x", state=about.get("state", ""), at=at)
    for number, (host, word) in enumerate(hosts.items()):
        journal.start_host(key, host, at + number / 10)
        journal.end_host(key, host, word, at + 1)


def deploy() -> Journal:
    journal = Journal()
    journal.start_playbook(0)
    journal.start_play("Prepare", ["a", "b"], continued=False)
    run(journal, "1", "Ask", 0, {"a": "ok", "b": "ok"}, phase="Look")
    run(journal, "2", "Judge", 1, {"a": "ok"}, phase="Look")
    run(journal, "3", "Leave out", 2, {"a": "skipped", "b": "skipped"}, phase="Nothing")
    journal.start_task("3b", "Swap back", phase="", action="ansible.builtin.include_role", state="", at=2.5)
    journal.end_host("3b", "a", "ok", 2.6)
    run(journal, "4", "Build", 3, {"a": "changed"}, phase="Build")
    run(journal, "5", "Ask again", 4, {"a": "ok"}, phase="Look")
    journal.start_play("Switch, batch by batch", ["a"], continued=False)
    run(journal, "6", "Serve v2", 5, {"a": "changed"}, state="switched", phase="Switch")
    journal.start_play("Switch, batch by batch", ["b"], continued=True)
    run(journal, "6", "Serve v2", 6, {"b": "failed"}, state="switched", phase="Switch")
    journal.start_play("Finish", ["a", "b"], continued=False)
    run(journal, "7", "Put the host back", 7, {"a": "changed", "b": "skipped"}, state="switched", phase="Swap back")
    journal.start_task("8", "Write the page", phase="Finish", action="floyo_report", state="", at=8)
    return journal


def test_phases_in_their_order_then_every_host() -> None:
    rows = timeline(deploy(), 9)
    assert [row["label"] for row in rows] == [
        "Look", "Build", "Switch: batch 1 (a)", "Switch: batch 2 (b)", "Swap back", "a", "b",
    ]  # fmt: skip
    look = rows[0]["spans"]
    assert [(span["begin"], span["end"]) for span in look] == [(0, 2), (4, 5)], "what follows itself is one stretch"
    assert [row["result"] for row in rows] == ["", "", "", "failed", "", "", "failed"]
    assert [(span["label"], span["tone"]) for span in rows[5]["spans"]] == [
        ("Serve v2", "good"),
        ("Put the host back", "good"),
    ]


def test_a_big_batch_is_counted_and_not_named() -> None:
    journal = Journal()
    journal.start_playbook(0)
    journal.start_play("Switch", ["a"], continued=False)
    run(journal, "1", "Serve", 0, {"a": "ok"})
    journal.start_play("Switch", ["b"], continued=True)
    run(journal, "1", "Serve", 1, {f"h{number}": "ok" for number in range(50)})
    journal.end_task(2)
    assert [row["label"] for row in timeline(journal, 2)] == ["Switch: batch 1 (a)", "Switch: batch 2 (50 hosts)"]


def test_a_second_playbook_begins_a_new_story() -> None:
    journal = deploy()
    journal.start_playbook(100)
    assert (journal.began, timeline(journal, 101)) == (100, [])


def test_results_of_hosts_at_their_own_pace_go_to_their_own_task() -> None:
    journal = Journal()
    journal.start_playbook(0)
    journal.start_play("Free", ["a", "b"], continued=False)
    journal.start_task("1", "First", phase="", action="x", state="switched", at=0)
    journal.start_host("1", "a", 0)
    journal.start_task("2", "Second", phase="", action="x", state="", at=1)
    journal.start_host("2", "b", 1)
    journal.end_host("1", "a", "failed", 2)
    journal.end_host("2", "b", "ok", 3)
    assert [step.failed for step in journal.steps] == [True, False]
