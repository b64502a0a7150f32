"""Deployments as Vercel lists them, and which one to go back to."""

from __future__ import annotations

from typing import Any

import pytest

from ansible.module_utils.floyo.errors import Refused, Unusable
from ansible.module_utils.floyo.vercel.deployments import current, named, previous, production, read


def listed(uid: str, created: int, *, proven: bool = True, **meta: str) -> dict[str, Any]:
    return {
        "uid": uid, "url": f"floyo-{uid}.vercel.app", "created": created,
        "readySubstate": "PROMOTED" if proven else "STAGED", "meta": meta,
    }  # fmt: skip


THREE = read(
    [
        listed("b", 2000, floyoVersion="v2", floyoCommit="c2"),
        listed("a", 1000, githubCommitRef="main", githubCommitSha="c1"),
        listed("c", 3000, proven=False, floyoVersion="v3"),
    ]
)


def test_newest_first_and_who_made_it() -> None:
    assert [one.id for one in THREE] == ["c", "b", "a"]
    assert [(one.version, one.commit, one.proven) for one in THREE] == [
        ("v3", "", False), ("v2", "c2", True), ("main", "c1", True),
    ]  # fmt: skip
    assert THREE[1].url == "https://floyo-b.vercel.app"
    assert read([{"uid": "x", "url": None}])[0].label == "x"


def test_what_serves() -> None:
    assert current({"targets": {"production": {"id": "b"}}}, THREE) == THREE[1]
    assert current({}, THREE) is None
    assert production({"targets": {"production": None}}) == ""


def test_back_is_what_users_saw_before() -> None:
    assert previous(THREE, THREE[0]).id == "b"
    assert previous(THREE, THREE[1]).id == "a"
    with pytest.raises(Refused, match="no deployment before main was in production"):
        previous(THREE, THREE[2])
    with pytest.raises(Refused, match="nothing is in production"):
        previous(THREE, None)


@pytest.mark.parametrize(
    "name", ["b", "v2", "https://floyo-b.vercel.app", "https://floyo-b.vercel.app/", "floyo-b.vercel.app"]
)
def test_a_deployment_has_many_names(name: str) -> None:
    assert named(THREE, name).id == "b"


def test_of_a_version_the_newest() -> None:
    again = read([listed("b", 2000, floyoVersion="v2"), listed("d", 4000, floyoVersion="v2")])
    assert named(again, "v2").id == "d"


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(Unusable, match=r"v9 is no deployment.*v3, v2, main"):
        named(THREE, "v9")
    with pytest.raises(Unusable, match="one of the newest: none"):
        named([], "v9")
