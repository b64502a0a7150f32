"""Who waits for whom, and whom nobody may end."""

from __future__ import annotations

from typing import Any

import pytest

from ansible.module_utils.floyo.diagnose.activity import (
    blocking_tree,
    by_client,
    flatten,
    kept_because,
    session_of,
    summary,
)


def row(pid: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "pid": pid, "datname": "app", "usename": "app", "application_name": "web", "client": "10.0.0.1",
        "backend_type": "client backend", "state": "active", "wait_event_type": None, "wait_event": None, "query": "SELECT 1",
        "started": 1764110000, "seconds": 10.0, "waits": None, "blocked_by": None, **more,
    }  # fmt: skip


def test_a_session_is_named_as_in_the_servers_log() -> None:
    assert session_of(row(4711)) == "69262eb0.1267"


def test_a_session_whose_start_is_hidden_still_counts() -> None:
    """To an account without pg_monitor: it has a name by which nobody can be ended."""
    hidden = row(4711, started=None, state=None, usename=None, application_name=None, client=None, query=None)
    assert session_of(hidden) == "?.1267"
    assert shape(blocking_tree([hidden, row(2, blocked_by=[4711], waits=3.0)])) == [(0, 4711), (1, 2)]


def test_states_and_clients() -> None:
    rows = [row(1), row(2, state="idle"), row(3, state=None), row(4, backend_type="walwriter", state=None),
            row(5, application_name="floyo:backup@db1:77", client=None),
            row(6, application_name="floyo:backup@db1:99", client=None, state="idle in transaction")]  # fmt: skip
    assert summary(rows) == {"active": 2, "idle": 1, "hidden": 1, "idle in transaction": 1}
    first, second = by_client(rows)
    assert (first["application"], first["connections"], first["active"], first["idle"]) == ("web", 3, 1, 1)
    assert (second["application"], second["client"], second["idle_in_transaction"]) == ("floyo:backup@db1", "local", 1)


def shape(roots: Any) -> list[tuple[int, int]]:
    return [(depth, session["pid"]) for depth, session in flatten(roots)]


def test_the_root_is_who_waits_for_nobody() -> None:
    rows = [row(1, state="idle in transaction"), row(2, blocked_by=[1], waits=9.0), row(3, blocked_by=[2, 1], waits=4.0),
            row(4, blocked_by=[1], waits=1.0), row(5)]  # fmt: skip
    roots = blocking_tree(rows)
    assert shape(roots) == [(0, 1), (1, 2), (2, 3), (1, 4)]
    assert roots[0]["state"] == "idle in transaction"
    assert roots[0]["blocks"][0]["waits"] == 9.0


def test_two_roots_the_one_with_most_waiting_first() -> None:
    rows = [row(1), row(2, blocked_by=[1]), row(5), row(6, blocked_by=[5]), row(7, blocked_by=[5])]
    assert [root["pid"] for root in blocking_tree(rows)] == [5, 1]


def test_circles_prepared_transactions_and_sessions_that_went() -> None:
    circle = blocking_tree([row(1, blocked_by=[2]), row(2, blocked_by=[1]), row(3, blocked_by=[2])])
    assert sorted(pid for _, pid in shape(circle)) == [1, 2, 3]
    assert circle[0]["circular"] is True
    prepared = blocking_tree([row(1, blocked_by=[0])])
    assert (prepared[0]["pid"], prepared[0]["state"]) == (0, "prepared transaction")
    gone = blocking_tree([row(1, blocked_by=[99])])
    assert (gone[0]["pid"], gone[0]["state"]) == (99, "gone")
    assert blocking_tree([row(1, blocked_by=[1])]) == [], "a parallel worker of its own"
    assert blocking_tree([]) == []


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({}, ""),
        ({"backend_type": "autovacuum worker"}, "it is no client (autovacuum worker)"),
        ({"backend_type": "walsender"}, "it is no client (walsender)"),
        ({"backend_type": None}, "it is no client"),
        ({"application_name": "floyo:dump@db1:1"}, "of ours"),
        ({"application_name": "floyo:migrate@db1:1"}, "of ours"),
        ({"application_name": "floyo:restore@db1:1"}, "of ours"),
        ({"application_name": "pg_dump"}, "it is pg_dump"),
        ({"application_name": "pg_restore"}, "it is pg_restore"),
        ({"application_name": "alembic"}, "it is alembic"),
        ({"pid": 77}, "of ours"),
        ({"usename": "backup"}, "user backup is protected"),
        ({"application_name": "billing-night"}, "application billing-night is protected"),
        ({"application_name": "billing"}, ""),
        ({"query": "CREATE UNIQUE INDEX CONCURRENTLY x ON t (a)"}, "CREATE UNIQUE INDEX"),
        ({"query": "  vacuum full t"}, "VACUUM"),
        ({"query": "ALTER TABLE t ADD c int"}, "ALTER TABLE"),
        ({"query": "ALTER TABLE t ADD c int", "state": "idle in transaction"}, ""),
    ],
)
def test_who_is_kept(more: dict[str, Any], why: str) -> None:
    found = kept_because(row(**more), holders=[77], users=["backup"], applications=["billing-.*"], named=False)
    assert (why in found) if why else found == ""


def test_a_name_frees_maintenance_and_nothing_else() -> None:
    def named(**more: Any) -> str:
        return kept_because(row(**more), holders=[77], users=["backup"], applications=[], named=True)

    assert named(query="CREATE INDEX x ON t (a)") == ""
    assert named(application_name="floyo:dump@db1:1")
    assert named(backend_type="walsender")
    assert named(backend_type="autovacuum worker")
    assert named(pid=77)
    assert named(usename="backup")
