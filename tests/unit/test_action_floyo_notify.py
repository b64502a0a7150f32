"""floyo_notify through ansible-playbook and a real receiver of apprise's json:// messages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SECRET = "tok-9f8e7d6c"


class Receiver:
    """Takes messages; /500 refuses them and /hang never answers."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.stopped = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path.startswith("/hang"):
                    receiver.stopped.wait(60)
                    return
                receiver.messages.append(json.loads(body))
                self.send_response(500 if self.path.startswith("/500") else 200)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                """Keep the test's output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, path: str = "ok") -> str:
        return f"json://user:{SECRET}@127.0.0.1:{self.port}/{path}/{SECRET}"

    def stop(self) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.stop()


class Told:
    """One run of the task: its registered result and everything that was shown."""

    def __init__(self, done: subprocess.CompletedProcess[str], result: Path) -> None:
        self.rc = done.returncode
        self.shown = done.stdout + done.stderr
        self.result = json.loads(result.read_text())


@pytest.fixture
def tell(root: Path, tmp_path: Path) -> Any:
    def run(*options: str, **arguments: Any) -> Told:
        target = tmp_path / "result.json"
        tasks = [
            {
                "name": "Tell",
                "floyo_notify": {"body": "3 backends", **arguments},
                "register": "told",
                "ignore_errors": True,
            },
            {
                "name": "Keep the result",
                "ansible.builtin.copy": {"content": "{{ told | to_json }}", "dest": str(target), "mode": "0600"},
                "check_mode": False,
            },
            {"name": "Fail as the task did", "ansible.builtin.fail": {"msg": "it failed"}, "when": "told is failed"},
        ]
        playbook = tmp_path / "play.yml"
        playbook.write_text(json.dumps([{"name": "Test", "hosts": "all", "gather_facts": False, "tasks": tasks}]))
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        command = [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "-i",
            "localhost,",
            "-c",
            "local",
            "-v",
            *options,
        ]
        settings = {
            "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
            "ANSIBLE_HOME": str(tmp_path),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        }
        done = subprocess.run(
            [*command, str(playbook)], env={**clean, **settings}, capture_output=True, text=True, cwd="/", check=False
        )
        assert target.exists(), done.stdout + done.stderr
        told = Told(done, target)
        assert SECRET not in told.shown + target.read_text()
        return told

    return run


def test_every_service_gets_the_message(tell: Any, receiver: Receiver) -> None:
    told = tell(
        urls=[receiver.url("a"), receiver.url("b")], title="Floyo\x1b[31m v1.1.0", body="one\ntwo\x07", type="success"
    )
    assert told.rc == 0
    assert told.result["notified"] == 2
    assert not told.result["changed"]
    assert [(item["index"], item["scheme"], item["sent"], item["reason"]) for item in told.result["results"]] == [
        (0, "json", True, ""),
        (1, "json", True, ""),
    ]
    assert [(message["title"], message["message"], message["type"]) for message in receiver.messages] == [
        ("Floyo v1.1.0", "one\ntwo", "success")
    ] * 2


@pytest.mark.parametrize("urls", [[], [""], ""])
def test_no_url_is_skipped(tell: Any, urls: Any) -> None:
    told = tell(urls=urls, required=True)
    assert (told.rc, told.result["notified"], told.result["skipped"]) == (0, 0, True)


def test_check_mode_says_what_it_would_send(tell: Any, receiver: Receiver) -> None:
    told = tell("--check", urls=[receiver.url(), "no such service"], title="Floyo")
    assert receiver.messages == []
    assert told.result["would_send"] == {"title": "Floyo", "body": "3 backends", "type": "info"}
    assert told.result["notified"] == 0
    assert [item["reason"] for item in told.result["results"]] == ["", "is not a URL that apprise knows"]


REASONS = [
    "the service answered 500",
    "no answer within 3 s",
    "the service cannot be reached",
    "is not a URL that apprise knows",
]


@pytest.mark.parametrize("required", [False, True])
def test_each_failure_has_its_reason_and_the_others_are_told(tell: Any, receiver: Receiver, required: bool) -> None:
    unused = f"json://127.0.0.1:1/{SECRET}"
    # Not apprise's own patience of 4 s, which a busy machine may meet first.
    urls = [receiver.url("500"), f"{receiver.url('hang')}?rto=60", unused, f"hooks.example/{SECRET}", receiver.url()]
    told = tell(urls=urls, required=required, timeout=3)
    assert told.rc == (2 if required else 0)
    assert [item["reason"] for item in told.result["results"]] == [*REASONS, ""]
    assert [item["scheme"] for item in told.result["results"]] == ["json", "json", "json", "unknown", "json"]
    assert told.result["notified"] == 1
    sentence = "4 of 5 notifications cannot be sent: URL 0 (json): the service answered 500; URL 1 (json): no answer"
    assert sentence in " ".join(told.shown.split())
    assert ("[WARNING]: 4 of 5" in " ".join(told.shown.split())) is not required
