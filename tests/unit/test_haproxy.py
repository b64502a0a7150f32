"""HAProxy's statistics."""

from __future__ import annotations

from ansible.module_utils.floyo.haproxy import drained, states

CSV = """# pxname,svname,qcur,status,weight
floyo_https,FRONTEND,0,OPEN,
floyo,backend1,0,UP,1
floyo,backend2,0,DRAIN,1
floyo,backend3,0,MAINT,1
floyo,BACKEND,0,UP,2
shop,backend1,0,DRAIN,1
"""


def test_states_of_one_backend() -> None:
    assert states(CSV, "floyo") == {"backend1": "UP", "backend2": "DRAIN", "backend3": "MAINT"}
    assert states("", "floyo") == {}
    assert states("<html>503</html>", "floyo") == {}


def test_only_drained_servers_of_this_application_are_given_back() -> None:
    answers = [{"item": "proxy1", "stdout": CSV}, {"item": "proxy2", "msg": "connection refused"}]
    assert drained(answers, "floyo") == [["proxy1", "backend2"]]
