"""The report of a deploy and of a rollback, whatever is known when it ends."""

from __future__ import annotations

from typing import Any

import pytest

from ansible.module_utils.floyo.haproxy import counters
from ansible.module_utils.floyo.report import document
from ansible.module_utils.floyo.report.deploy import deploy_report
from ansible.module_utils.floyo.report.traffic import lost, rates, samples

OLD, NEW = "v1-aaaaaaaa", "v2-bbbbbbbb"
GATES = [
    {"gate": "disk", "result": "ok", "found": "x", "next": ""},
    {"gate": "team", "result": "warn", "found": "", "next": ""},
]
SHARED: dict[str, Any] = {
    "__floyo_deploy_build": {
        "release": NEW,
        "manifest": {"release": NEW, "version": "v2", "commit": "c0ffee", "tests": {"passed": True, "summary": "9 passed"}},
    },
    "__floyo_deploy_gates": GATES,
    "__floyo_deploy_plan": {
        "verdict": "SAFE", "reason": "additions only", "steps": [{"what": "upgrade", "text": "apply r2"}],
        "pending": [{"revision": "r2", "class": "expand", "summary": "tags"}],
    },
    "__floyo_deploy_migration": {"applied": [{"revision": "r2", "direction": "up", "seconds": 0.4}]},
    "__floyo_deploy_backup": {"backup": {"label": "L1", "size": 5 * 2**20, "sha256": "ab", "seconds": 1.5, "heads": ["r1"]}},
}  # fmt: skip


def host(outcome: str = "switched", **more: Any) -> dict[str, Any]:
    to = NEW if outcome in ("switched", "unchanged") else None
    return {
        **SHARED,
        "__floyo_deploy_info": {"current": {"release": OLD}},
        "__floyo_deploy_switch": {"outcome": outcome, "from": OLD, "to": to, "seconds": 1.2},
        "__floyo_deploy_health": {"verdict": "healthy"},
        **more,
    }


def csv(requests: int, failed: int, at: float) -> str:
    head = "# pxname,svname,status,hrsp_5xx,hrsp_2xx"
    return f"{head}\nfloyo,a,UP,0,\nfloyo_https,FRONTEND,OPEN,{failed},{requests - failed}\n\n# at {at}\n"


def counted(*answers: str) -> dict[str, Any]:
    return {"results": [{"item": f"proxy{number}", "stdout": text} for number, text in enumerate(answers)]}


def whole(report: dict[str, Any]) -> dict[str, Any]:
    """Through what every report goes through; sections by title."""
    sections = [{**one, "rows": []} if one["type"] == "timeline" else one for one in report["sections"]]
    made = document.made(
        kind="deploy", title="t", application="a", environment="e", began=0, ended=1, **{**report, "sections": sections}
    )  # fmt: skip
    return {**made, "by_title": {one["title"]: one for one in made["sections"]}}


def test_a_good_deploy() -> None:
    hosts = {
        "a": host(
            __floyo_deploy_traffic_before=counted(csv(100, 1, 10)),
            __floyo_deploy_traffic_after=counted(csv(300, 1, 20)),
        ),
        "b": host(__floyo_deploy_traffic_before=counted(csv(100, 1, 10)), __floyo_deploy_seen=counted(csv(400, 3, 30))),
    }
    made = whole(deploy_report(hosts, "deploy v2", {}, frontend="floyo_https"))
    assert (made["verdict"], made["word"]) == ("good", "done")
    assert made["facts"]["version"] == "v2"
    assert made["facts"]["from"] == [OLD]
    assert (made["facts"]["hosts"], made["facts"]["on_release"], made["facts"]["lost_requests"]) == (2, 2, 2)
    tiles = {tile["label"]: (tile["value"], tile["tone"]) for tile in made["by_title"]["At a glance"]["tiles"]}
    assert tiles["hosts on the release"] == ("2 of 2", "good")
    assert tiles["gates"] == ("1 ok, 1 warn", "doubtful")
    assert tiles["lost requests"] == ("2 of 300", "bad")
    assert made["by_title"]["Migrations"]["rows"][0]["class"] == "expand"
    assert ["size", "5.0 MiB"] in [list(row.values()) for row in made["by_title"]["Backup"]["rows"]]
    requests = made["by_title"]["Requests through the proxies"]["series"][0]["points"]
    assert [point[:2] for point in requests] == [[10, 20], [20, 20], [20, 10], [30, 10]]


def test_a_failed_batch_says_why_and_what_was_put_back() -> None:
    failed = {
        "msg": "v2 did not come up.\nLast lines:\n  ImportError: x",
        "failed": True,
        "outcome": "reverted",
        "log_tail": ["x", "  y"],
    }
    hosts = {
        "a": host(__floyo_deploy_back={"outcome": "switched", "to": OLD, "seconds": 1}),
        "b": {**host(), "__floyo_deploy_switch": failed},
    }
    made = whole(deploy_report(hosts, "deploy v2", {"b": failed["msg"]}))
    assert (made["verdict"], made["word"]) == ("bad", "put back")
    assert made["by_title"]["Last lines of the switch on b"]["lines"] == ["x", "  y"]
    assert made["facts"]["put_back"] == 1
    assert made["facts"]["failed_hosts"] == ["b"]
    assert made["by_title"]["What failed"]["lines"] == [
        "b:",
        "  v2 did not come up.",
        "  Last lines:",
        "    ImportError: x",
    ]


def test_a_deploy_that_stopped_at_the_gates_touched_nothing() -> None:
    hosts = {"a": {"__floyo_deploy_gates": GATES, "__floyo_deploy_info": {"unreachable": True}}, "b": {}}
    made = whole(deploy_report(hosts, "deploy v2", {"a": "disk: full. Nothing was changed."}, started=False))
    assert (made["verdict"], made["word"]) == ("bad", "stopped")
    assert "Stopped before any host was switched" in made["summary"]
    assert "healthy" not in {tile["label"] for tile in made["by_title"]["At a glance"]["tiles"]}


def test_sick_and_unchanged_hosts() -> None:
    sick = deploy_report({"a": host(), "b": host(__floyo_deploy_health={"verdict": "unhealthy"})}, "deploy v2", {})
    assert (sick["verdict"], sick["summary"]) == ("doubtful", "Not well: b.")
    assert deploy_report({"a": host("unchanged")}, "deploy v2", {})["word"] == "unchanged"


def test_a_rollback_has_its_own_target() -> None:
    facts = {
        "__floyo_deploy_target": {"release": OLD, "version": "v1", "current": NEW},
        "__floyo_deploy_switch": {"outcome": "switched", "from": NEW, "to": OLD, "seconds": 0.8},
        "__floyo_deploy_plan": {"skipped": True},
    }
    made = whole(deploy_report({"a": facts}, "roll back", {}))
    assert (made["facts"]["version"], made["facts"]["on_release"], made["word"]) == ("v1", 1, "done")
    assert made["facts"]["lost_requests"] is None


def test_nothing_at_all_is_known() -> None:
    assert whole(deploy_report({"a": {}}, "deploy", {"a": ""}, started=False))["verdict"] == "bad"


@pytest.mark.parametrize("text", ["", "<html>", "# pxname,svname\nfloyo,BACKEND\n"])
def test_counters_that_are_none(text: str) -> None:
    assert counters(text, "floyo_https") == {}
    assert samples([counted(text), {"skipped": True}, None], "floyo_https") == []
    assert (lost([]), rates([])) == (None, {})


def test_a_proxy_that_began_again_and_two_that_count_together() -> None:
    taken = samples([counted(csv(1000, 50, 0), csv(10, 0, 0)), counted(csv(40, 2, 10), csv(30, 0, 10))], "floyo_https")
    assert lost(taken) == 2
    assert rates(taken)["total"] == 60
    assert rates(taken)["series"][0]["points"] == [[0, 6.0], [10, 6.0]]
