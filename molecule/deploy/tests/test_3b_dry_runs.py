"""What a dry run says is what the run then does: the same objects on the same hosts. The fleet runs v1.0.0."""

from __future__ import annotations

import json
import re
from typing import Any

Change = tuple[str, str, str]


def changes(world: Any, name: str, *words: str, **variables: Any) -> set[Change]:
    """Host, task, and the objects that its diffs name, of all that a playbook changed or would change."""
    done = world.play(
        name, "--diff", *words, settings={"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}, **variables
    )  # fmt: skip
    assert done.rc == 0, done.output
    # Tables are printed before the report.
    report, _ = json.JSONDecoder().raw_decode(re.split(r"^(?={$)", done.output, maxsplit=1, flags=re.MULTILINE)[-1])
    return {
        (host, task["task"]["name"], thing)
        for play in report["plays"]
        for task in play["tasks"]
        for host, result in task["hosts"].items()
        for thing in objects(result)
    }


def objects(result: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for one in result.get("results") or [result]:
        if one.get("changed"):
            diffs = one.get("diff") or [{}]
            found += [
                named(diff) or str(one.get("item", "")) for diff in (diffs if isinstance(diffs, list) else [diffs])
            ]
    return found


def named(diff: dict[str, Any]) -> str:
    """The object that a diff is about. Its other header may be the controller's temporary file."""
    before = diff.get("before")
    return str(diff.get("before_header") or (before.get("path", "") if isinstance(before, dict) else ""))


def tasks(found: set[Change], host: str) -> list[str]:
    return sorted({task for name, task, _ in found if name == host})


def test_deploy(world: Any) -> None:
    first, *others = world.backends
    release = next(one["release"] for one in world.release(first)["releases"] if one["version"] == "v1.1.0")
    before = world.snapshot()
    predicted = changes(world, "deploy", "--check", floyo_version="v1.1.0")
    assert world.snapshot() == before
    assert changes(world, "deploy", floyo_version="v1.1.0") == predicted
    switch = f"floyo_deploy : Serve {release}"
    assert tasks(predicted, first) == [switch, "floyo_deploy : Take a verified backup"]
    assert [tasks(predicted, host) for host in others] == [[switch]] * 2
    assert changes(world, "deploy", "--check", floyo_version="v1.1.0") == set()


def test_rollback(world: Any) -> None:
    before = world.snapshot()
    predicted = changes(world, "rollback", "--check")
    assert world.snapshot() == before
    assert changes(world, "rollback") == predicted
    assert {host for host, task, _ in predicted if "Serve v1.0.0" in task} == set(world.backends)
    assert world.versions() == ["v1.0.0"] * 3


def test_backup(world: Any) -> None:
    listing = "ls /var/backups/floyo"
    before = world.database.check_output(listing)
    predicted = changes(world, "backup", "--check")
    assert world.database.check_output(listing) == before
    assert changes(world, "backup") == predicted
    assert [task for _, task, _ in predicted] == ["floyo_deploy : Take a verified backup"]


def test_provision(world: Any) -> None:
    """Somebody changed a file's mode, a file, a unit, and stopped a service."""
    host, proxy = world.backends[2], world.fleet.groups["floyo_proxy"][0]
    world.hosts[host].check_output(
        "chmod 0644 /etc/floyo/backend.env && echo '# by hand' >>/etc/floyo/floyo-release.json"
        " && echo '# by hand' >>/etc/systemd/system/floyo-backend.service && systemctl daemon-reload"
    )
    world.fleet.host(proxy).check_output("echo '# by hand' >>/etc/haproxy/haproxy.cfg")
    limit = ("--limit", f"{host},{proxy}")
    predicted = changes(world, "provision", "--check", *limit)
    assert world.hosts[host].file("/etc/floyo/backend.env").mode == 0o644
    assert changes(world, "provision", *limit) == predicted
    assert {name for name, _, _ in predicted} == {host, proxy}
    assert world.hosts[host].file("/etc/floyo/backend.env").mode == 0o640
    assert changes(world, "provision", "--check", *limit) == set()
