"""A release is started beside the one that serves: with stand-ins for systemd that really start and stop it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ansible.module_utils.floyo.errors import FloyoError
from ansible.module_utils.floyo.hostprog.host import Config, Host
from ansible.module_utils.floyo.release.rehearse import rehearse

# Each is told where to keep its units; what they are given is written down.
SYSTEMD_RUN = """#!{python}
import json, socket, subprocess, sys, time
words = sys.argv[1:]
options = [word for word in words if word.startswith("--") and words.index(word) < words.index("-m")]
command = words[words.index("-m") - 1:]
unit = next(word.split("=", 1)[1] for word in options if word.startswith("--unit="))
properties = dict(word.split("=", 2)[1:] for word in options if word.startswith("--property="))
open("{units}/started.json", "w").write(json.dumps([unit, options, properties, command]))
if properties["EnvironmentFile"] == "/nowhere":
    open("{units}/" + unit + ".log", "w").write("its last words")
    sys.exit("Failed to load environment files: No such file or directory")
with open("{units}/" + unit + ".log", "wb") as log:
    child = subprocess.Popen(command, cwd=properties["WorkingDirectory"], stdout=log, stderr=log, start_new_session=True)
open("{units}/" + unit, "w").write(str(child.pid))
# Back when it listens or has ended, so that no test depends on how busy this machine is.
port = int(next(word for word in command if word.startswith("--port=")).partition("=")[2])
while child.poll() is None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            break
    time.sleep(0.02)
"""
SYSTEMCTL = """#!/bin/sh
for unit; do :; done
pid=$(cat "{units}/$unit" 2>/dev/null)
case $1 in
  show) grep -qs '^State:.[RSD]' /proc/$pid/status && echo active || echo inactive;;
  stop) # like the real one: back when the process has ended
    echo "$unit" >> {units}/stopped
    test -z "$pid" || kill -s KILL -- -"$pid" 2>/dev/null
    while grep -qs '^State:.[RSD]' /proc/$pid/status; do sleep 0.01; done;;
esac
true
"""
JOURNALCTL = """#!/bin/sh
cat "{units}/$2.log"
"""
# Stands where the release's interpreter is: answers what the release's file ``answer`` holds, or does not start.
SERVER = """#!{python}
import http.server, json, pathlib, sys
status, body, field = json.loads(pathlib.Path("answer").read_text())
print("starting with", *sys.argv[1:], flush=True)
if not status:
    sys.exit("RuntimeError: SECRET_KEY is not set")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(status if self.path == "/health/readiness" else 404)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())
port = int(next(word for word in sys.argv if word.startswith("--port=")).partition("=")[2])
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    units, programs = tmp_path / "units", tmp_path / "bin"
    units.mkdir()
    programs.mkdir()
    for name, text in (("systemd-run", SYSTEMD_RUN), ("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
        (programs / name).write_text(text.format(python=sys.executable, units=units))
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    release = tmp_path / "releases" / "v2-00000000"
    (release / ".venv" / "bin").mkdir(parents=True)
    (release / "app").mkdir()
    python = release / ".venv" / "bin" / "python"
    python.write_text(SERVER.replace("{python}", sys.executable))
    python.chmod(0o755)
    manifest = {"release": release.name, "version": "v2", "project_dir": "app"}
    (release / "release.json").write_text(json.dumps(manifest))
    return Host(
        Config(
            name="floyo", root=str(tmp_path), state_dir=str(tmp_path), unit="u.service", socket_unit="u.socket",
            extra_units=(), readiness_url="http://127.0.0.1:8000/health/readiness", health_url="http://h",
            ready_timeout=10.0, release_field="version", environment_file="/dev/null", user="floyo", group="floyo",
            python=sys.executable, asgi="main:app", switch_unit="s.service",
        )
    )  # fmt: skip


def answering(host: Host, status: int, body: object = None) -> None:
    Path(host.release_dir("v2-00000000"), "app", "answer").write_text(json.dumps([status, body, ""]))


def alive(host: Host) -> list[str]:
    """Units whose process still runs."""
    units = [path.name for path in Path(host.config.root, "units").glob("*.service")]
    return [unit for unit in units if host.systemctl("show", unit).stdout.strip() == "active"]


def test_a_release_that_becomes_ready_passes_and_is_gone(host: Host) -> None:
    answering(host, 200, {"status": "ready"})
    found = rehearse(host, "v2-00000000", timeout=30.0, check=False)
    assert (found["release"], found["changed"]) == ("v2-00000000", False)
    assert found["seconds"] > 0
    assert alive(host) == []


def test_it_runs_as_the_service_does_and_may_do_nothing_more(host: Host) -> None:
    answering(host, 200)
    rehearse(host, "v2-00000000", timeout=30.0, check=False)
    unit, options, properties, command = json.loads(Path(host.config.root, "units", "started.json").read_text())
    assert unit.startswith("floyo-rehearsal-")
    assert "--collect" in options, "a failed one would stay in systemd's memory"
    assert (properties["User"], properties["EnvironmentFile"]) == ("floyo", "/dev/null")
    assert properties["WorkingDirectory"] == f"{host.release_dir('v2-00000000')}/app"
    assert properties["RuntimeMaxSec"] == "60", "it ends when nobody is left to end it"
    assert (properties["ProtectSystem"], properties["CapabilityBoundingSet"]) == ("strict", "")
    assert "FLOYO_RELEASE=v2-00000000 FLOYO_VERSION=v2" in properties["Environment"]
    assert command[0] == f"{host.release_dir('v2-00000000')}/.venv/bin/python"
    assert command[-1] == "main:app"
    assert "--host=127.0.0.1" in command, "nobody from outside may find it"
    assert "--port=8000" not in command


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (503, {"detail": "the schema is behind"}, "readiness answers 503 the schema is behind"),
        (404, "no", "readiness answers 404"),
        (200, {"status": "not_ready"}, "readiness says not_ready"),
        (0, None, "its process ended"),
    ],
)
def test_a_release_that_is_not_ready_fails_with_its_own_words_and_is_gone(
    host: Host, status: int, body: object, fault: str
) -> None:
    answering(host, status, body)
    with pytest.raises(FloyoError) as caught:
        rehearse(host, "v2-00000000", timeout=0.1, check=False)
    assert caught.value.code == "REHEARSAL_FAILED"
    assert fault in str(caught.value)
    assert "the running release was not touched" in str(caught.value)
    assert caught.value.details["log_tail"][0].startswith("starting with -m uvicorn")
    assert ("SECRET_KEY is not set" in "".join(caught.value.details["log_tail"])) == (status == 0)
    assert alive(host) == []


def test_what_systemd_refuses_is_said(host: Host) -> None:
    host = Host(host.config._replace(environment_file="/nowhere"))
    with pytest.raises(FloyoError, match="Failed to load environment files") as caught:
        rehearse(host, "v2-00000000", timeout=1.0, check=False)
    assert caught.value.code == "REHEARSAL_FAILED"
    assert caught.value.details["log_tail"] == ["its last words"]


def test_check_mode_starts_nothing_and_knows_what_is_missing(host: Host) -> None:
    assert rehearse(host, "v2-00000000", timeout=1.0, check=True)["changed"] is False
    with pytest.raises(FloyoError, match="v9 is not on this host"):
        rehearse(host, "v9", timeout=1.0, check=True)
    assert not Path(host.config.root, "units", "started.json").exists()
