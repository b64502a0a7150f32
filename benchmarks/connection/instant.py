"""Connection instant: a host that answers at once, to measure the controller alone. See benchmarks/scale.py."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: instant
short_description: Answers of a fleet that is not there
description: For measurements. Knows what role floyo_deploy asks in a rollback, and refuses anything else.
author: floyo-ops
options: {}
"""

OLD, NEW = "v1.0.0-00000000", "v1.1.0-11111111"
_REVISION = {"class": "expand", "down_revisions": [], "depends_on": [], "branch_labels": [], "autocommit": False,
             "downgrade": {"kind": "clean", "loses": []}, "drops": [], "operations": ["create table workflows"]}  # fmt: skip
_FIRST = {**_REVISION, "revision": "a1", "file": "a1.py", "sha256": "0" * 64, "summary": "tables", "reasons": []}
_SECOND = {**_FIRST, "revision": "b2", "down_revisions": ["a1"], "file": "b2.py", "operations": ["add column"]}
_GRAPHS = {OLD: [_FIRST], NEW: [_FIRST, _SECOND]}


def _release(name: str, sequence: int) -> dict[str, Any]:
    revisions = _GRAPHS[name]
    return {
        "release": name, "version": name.partition("-")[0], "sequence": sequence, "state": "good", "pinned": "",
        "commit": "0" * 40, "author": "Floyo", "date": "", "subject": "", "built_at": 0.0,
        "alembic": {"heads": [revisions[-1]["revision"]], "revisions": revisions},
    }  # fmt: skip


def _entry(sequence: int, old: str | None, new: str) -> dict[str, Any]:
    return {
        "sequence": sequence, "from": old, "to": new, "outcome": "switched", "kind": "deploy", "seconds": 0.5, "id": "0",
        "at": 0.0, "token": sequence, "holder": "", "reason": "",
    }  # fmt: skip


INFO = {
    "changed": False, "clock": 0.0, "fence": 2, "intent": None, "link": NEW, "platform": "linux", "python_tag": "cpython-311",
    "program_digest": "0" * 64, "disk_free": 10**11, "disk_total": 10**12,
    "current": {"release": NEW, "version": "v1.1.0", "fault": "", "pid": 1, "since": 0.0},
    "releases": [_release(OLD, 1), _release(NEW, 2)],
    "history": [_entry(1, None, OLD), _entry(2, OLD, NEW)],
}  # fmt: skip
_HELD = {
    "changed": True, "held": True, "token": 3, "holder": "bench", "reason": "", "since": 0.0, "expires": 0.0,
    "taken_from": "", "msg": "",
}  # fmt: skip
_SCHEMA = {
    "changed": False,
    "status": "at",
    "current": ["b2"],
    "heads": ["b2"],
    "pending": [],
    "plan": [],
    "applied": [],
}


def _answer(command: str, sent: str) -> dict[str, Any]:
    # Ansible wraps what it runs into a shell of its own.
    if "/usr/bin/floyo-release " in command:
        if " lease " in command:
            return _HELD
        if " migrations" in command:
            return _SCHEMA
        if " info" in command:
            return INFO
        if to := re.search(r" switch ([\w.-]+)", command):
            return {"changed": True, "outcome": "switched", "from": NEW, "to": to[1], "seconds": 0.5}
    if "alembic_migrate" in sent:
        return _SCHEMA
    raise ValueError(f"nothing is known of {command[:300]}")


def _no_files(path: str) -> AnsibleError:
    return AnsibleError(
        f"{path} cannot be sent or fetched: this connection answers commands only, and the bench has no other"
    )


class Connection(ConnectionBase):
    transport = "instant"
    has_pipelining = True

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        with Path(os.environ["FLOYO_BENCH_CALLS"]).open("a") as calls:
            calls.write("x")
        return 0, json.dumps(_answer(cmd, (in_data or b"").decode(errors="replace"))).encode(), b""

    def put_file(self, in_path: str, out_path: str) -> None:
        raise _no_files(in_path)

    def fetch_file(self, in_path: str, out_path: str) -> None:
        raise _no_files(in_path)

    def close(self) -> None:
        self._connected = False
