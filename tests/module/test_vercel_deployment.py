"""A frontend at Vercel: the module and both playbooks against a service that speaks Vercel's API over TLS.

Vercel's command is a stand-in that notes how it was called and what it was given.
"""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "planted-vercel-t0ken"
STAND_IN = """#!{python}
import json, os, ssl, sys, urllib.request
words = sys.argv[1:]
names = ("VERCEL_TOKEN", "VERCEL_ORG_ID", "VERCEL_PROJECT_ID", "NODE_EXTRA_CA_CERTS")
with open({calls!r}, "a") as stream:
    print(json.dumps({{"argv": words, "cwd": os.getcwd(), **{{name: os.environ.get(name) for name in names}}}}), file=stream)
if "build" in words and os.path.exists("broken"):
    sys.exit("Error: Command \\"npm run build\\" exited with 1")
if "deploy" in words:
    meta = dict(word.split("=", 1) for word in words if word.startswith("floyo"))
    request = urllib.request.Request({made!r}, data=json.dumps(meta).encode(), method="POST")
    print("Inspect: somewhere", file=sys.stderr)
    print(urllib.request.urlopen(request, context=ssl.create_default_context(cafile={pem!r})).read().decode())
"""


class Service:
    """Vercel, as far as it matters: one project, its deployments, and what its domains lead to."""

    def __init__(self, pem: Path) -> None:
        self.deployments: list[dict[str, Any]] = []
        self.production = ""
        self.job: dict[str, Any] = {}
        self.asked: list[str] = []
        # Looks at the project until a change is done; -1 and it fails.
        self.slow = 1
        # What /api/health answers, by deployment; 200 when it is not in here.
        self.sick: dict[str, int] = {}
        self.sick_in_public: set[str] = set()
        self.page: bytes | None = None
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.serve(self, "GET")

            def do_POST(self) -> None:
                service.serve(self, "POST")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.host = f"localhost:{self.server.server_port}"
        self.url = f"https://{self.host}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def made(self, *, proven: bool = False, **meta: str) -> str:
        number = len(self.deployments) + 1
        self.deployments.append(
            {"uid": f"dpl_{number}", "url": f"{self.host}/d/dpl_{number}", "created": 1_700_000_000_000 + number,
             "readySubstate": "PROMOTED" if proven else "STAGED", "meta": meta}
        )  # fmt: skip
        return f"dpl_{number}"

    def serve(self, request: BaseHTTPRequestHandler, method: str) -> None:
        parts = urlsplit(request.path)
        data = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        status, body = self.answer(
            method, parts.path, parse_qs(parts.query), request.headers.get("Authorization"), data
        )
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    def answer(self, method: str, path: str, query: Any, token: str | None, data: bytes) -> tuple[int, Any]:
        words = path.strip("/").split("/")
        if words[-1] == "health":
            seen = self.production if words[0] == "api" else words[1]
            self.asked.append(f"health of {seen}{' in public' if words[0] == 'api' else ''}")
            status = self.sick.get(seen, 500 if words[0] == "api" and seen in self.sick_in_public else 200)
            return status, {"status": "ok" if status == 200 else "error"}
        if path == "/_made":
            self.asked.append("made")
            return 200, f"https://{self.host}/d/{self.made(**json.loads(data))}".encode()
        if token != f"Bearer {TOKEN}":
            return 403, {"error": {"code": "forbidden", "message": "Not authorized"}}
        if self.page is not None:
            return 200, self.page
        if query.get("teamId") != ["team_1"]:
            return 404, {"error": {"message": "Project not found"}}
        if path == "/v6/deployments":
            assert query["target"] == ["production"]
            assert query["state"] == ["READY"]
            return 200, {"deployments": self.deployments}
        if words[1:] == ["projects", "floyo"]:
            return 200, self.look()
        if method == "POST" and words[0] in ("v9", "v10") and words[3] in ("rollback", "promote"):
            self.asked.append(f"{words[3]} {words[4]}")
            self.job = {"type": words[3], "toDeploymentId": words[4], "jobStatus": "pending"}
            return 201, {}
        return 404, {"error": {"message": "Project not found"}}

    def look(self) -> dict[str, Any]:
        if self.job.get("jobStatus") in ("pending", "in-progress"):
            self.slow -= 1
            self.job["jobStatus"] = "in-progress"
            if self.slow < 0:
                self.job["jobStatus"] = "failed"
            elif not self.slow:
                self.slow, self.job["jobStatus"] = 1, "succeeded"
                self.production = self.job["toDeploymentId"]
                for one in self.deployments:
                    if one["uid"] == self.production:
                        one["readySubstate"] = "PROMOTED"
        return {"id": "prj_1", "lastAliasRequest": self.job or None, "targets": {"production": {"id": self.production}}}


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    key = path.with_suffix(".key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(path)],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + key.read_text())
    return path


@pytest.fixture
def service(pem: Path) -> Iterator[Service]:
    found = Service(pem)
    yield found
    found.server.shutdown()
    found.server.server_close()


class World:
    """A repository with three versions, the stand-in, and what the module is given."""

    def __init__(self, service: Service, pem: Path, place: Path) -> None:
        self.service, self.place, self.calls_file = service, place, place / "calls.jsonl"
        self.repository, self.directory = place / "floyo", place / "cache"
        program = place / "vercel"
        program.write_text(
            STAND_IN.format(
                python=sys.executable, calls=str(self.calls_file), made=f"{service.url}/_made", pem=str(pem)
            )
        )
        program.chmod(0o755)
        (self.repository / "frontend").mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        for version in ("v1.0.0", "v1.1.0", "v1.2.0"):
            (self.repository / "frontend" / ("broken" if version == "v1.2.0" else "page")).write_text(version)
            self.git("add", "-A")
            self.git("commit", "-q", "-m", version)
            self.git("tag", version)
        self.options = {
            "project": "floyo", "org": "team_1", "token": TOKEN, "api_url": service.url, "ca_path": str(pem), "timeout": 20,
        }  # fmt: skip
        self.source = {
            "state": "deployed", "repository": str(self.repository), "directory": str(self.directory), "root": "frontend",
            "vercel": str(program),
        }  # fmt: skip

    def git(self, *words: str) -> None:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *words], cwd=self.repository, check=True, capture_output=True)

    @property
    def calls(self) -> list[dict[str, Any]]:
        with contextlib.suppress(FileNotFoundError):
            return [json.loads(line) for line in self.calls_file.read_text().splitlines()]
        return []

    def play(self, name: str, *words: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        inventory = self.place / "hosts.yml"
        inventory.write_text(json.dumps({"all": {"children": {"floyo_frontend": None}}}))
        given = {
            "floyo_environment": "test", "floyo_repository": str(self.repository), "floyo_asgi": "backend.main:app",
            "floyo_requirements": ["requirements.txt"], "floyo_ca_bundle": self.options["ca_path"],
            "floyo_frontend_health_url": f"{self.service.url}/api/health",
            "floyo_frontend_project": "floyo", "floyo_frontend_org": "team_1", "floyo_frontend_token": TOKEN,
            "floyo_frontend_api_url": self.service.url, "floyo_frontend_timeout": 20, "floyo_ready_timeout": 3,
            "floyo_frontend_vercel": self.source["vercel"], "floyo_frontend_directory": str(self.directory),
            **variables,
        }  # fmt: skip
        (self.place / "vars.json").write_text(json.dumps(given))
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), f"playbooks/{name}.yml",
             "-e", f"@{self.place / 'vars.json'}", *words],
            cwd=ROOT, env={**os.environ, "NO_COLOR": "1"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert TOKEN not in done.stdout
        done.stdout = " ".join(done.stdout.split())
        return done


@pytest.fixture
def world(service: Service, pem: Path, tmp_path: Path) -> World:
    return World(service, pem, tmp_path)


def test_a_deployment_is_made_once_and_on_no_domain(run_module: Any, world: World) -> None:
    options = {**world.options, **world.source, "version": "v1.0.0"}
    dry = run_module("vercel_deployment", options, check=True)
    assert (dry["changed"], dry["deployment"], world.calls) == (True, None, [])
    made = run_module("vercel_deployment", options)
    assert made["changed"]
    assert (made["deployment"]["version"], made["deployment"]["state"], made["current"]) == (
        "v1.0.0",
        "on no domain",
        None,
    )
    assert len(made["deployment"]["commit"]) == 40
    for check in (True, False):
        again = run_module("vercel_deployment", options, check=check)
        assert (again["changed"], again["deployment"]["id"]) == (False, "dpl_1")
    assert run_module("vercel_deployment", {**options, "rebuild": True}, check=True)["changed"]
    # pull, build, deploy; in the frontend's directory; to no domain.
    said = [" ".join(call["argv"][2:]) for call in world.calls]
    assert [text.split()[0] for text in said] == ["pull", "build", "deploy"]
    assert "--prebuilt --prod --skip-domain" in said[2]
    assert {Path(call["cwd"]).name for call in world.calls} == {"frontend"}
    assert not (world.directory / "source").exists()
    # Who we are goes by the environment and never by the arguments.
    assert {(call["VERCEL_TOKEN"], call["VERCEL_ORG_ID"], call["VERCEL_PROJECT_ID"]) for call in world.calls} == {
        (TOKEN, "team_1", "prj_1")
    }
    assert {call["NODE_EXTRA_CA_CERTS"] for call in world.calls} == {world.options["ca_path"]}
    assert TOKEN not in "".join(said) + (world.directory / "vercel.log").read_text() + json.dumps(made.json)


def test_a_version_is_built_again_when_asked(run_module: Any, world: World, service: Service) -> None:
    options = {**world.options, **world.source, "version": "v1.0.0"}
    run_module("vercel_deployment", options)
    again = run_module("vercel_deployment", {**options, "rebuild": True})
    assert (again["changed"], again["deployment"]["id"]) == (True, "dpl_2")


def test_promotion_and_the_way_back(run_module: Any, world: World, service: Service) -> None:
    for version in ("v1.0.0", "v1.1.0"):
        service.made(floyoVersion=version)
    for number, name in ((1, "v1.0.0"), (2, f"{service.url}/d/dpl_2")):
        promoted = {**world.options, "state": "promoted", "deployment": name}
        runs = [run_module("vercel_deployment", promoted, check=check) for check in (True, False, True, False)]
        assert [run["changed"] for run in runs] == [True, True, False, False]
        assert runs[1]["current"]["id"] == f"dpl_{number}"
    back = {**world.options, "state": "rolled_back"}
    dry = run_module("vercel_deployment", back, check=True)
    assert (dry["changed"], dry["deployment"]["version"], dry["current"]["version"]) == (True, "v1.0.0", "v1.1.0")
    real = run_module("vercel_deployment", back)
    assert (real["from"]["version"], real["current"]["version"]) == ("v1.1.0", "v1.0.0")
    assert [one["state"] for one in real["deployments"]] == ["served", "serves"]
    # There is nothing before the first: neither a dry run nor a real one makes something up.
    for check in (True, False):
        assert run_module("vercel_deployment", back, check=check)["code"] == "NO_PREVIOUS"
    # A named one twice.
    named = {**back, "deployment": "v1.1.0"}
    runs = [run_module("vercel_deployment", named, check=check) for check in (True, False, True, False)]
    assert [run["changed"] for run in runs] == [True, True, False, False]
    assert service.asked == ["promote dpl_1", "promote dpl_2", "rollback dpl_1", "rollback dpl_2"]


def test_what_a_killed_run_began_is_waited_for(run_module: Any, world: World, service: Service) -> None:
    service.made(floyoVersion="v1.0.0")
    service.job, service.slow = {"type": "promote", "toDeploymentId": "dpl_1", "jobStatus": "pending"}, 2
    done = run_module("vercel_deployment", {**world.options, "state": "promoted", "deployment": "dpl_1"})
    assert (done["changed"], service.asked) == (True, [])


def test_what_has_been_asked_for_is_taken_back_before_it_happens(
    run_module: Any, world: World, service: Service
) -> None:
    """A promotion that took too long: what served still serves, and would not for long."""
    service.production = service.made(proven=True, floyoVersion="v1.0.0")
    service.made(floyoVersion="v1.1.0")
    service.job, service.slow = {"type": "promote", "toDeploymentId": "dpl_2", "jobStatus": "pending"}, 3
    back = {**world.options, "state": "rolled_back", "deployment": "v1.0.0"}
    assert run_module("vercel_deployment", back, check=True)["changed"]
    done = run_module("vercel_deployment", back)
    assert (done["changed"], service.asked, service.production) == (True, ["rollback dpl_1"], "dpl_1")
    assert not run_module("vercel_deployment", back)["changed"]


def test_a_change_that_fails_or_does_not_end(run_module: Any, world: World, service: Service) -> None:
    service.made(floyoVersion="v1.0.0")
    promoted = {**world.options, "state": "promoted", "deployment": "dpl_1"}
    service.slow = 0
    assert run_module("vercel_deployment", promoted)["code"] == "TURN_FAILED"
    service.slow = 1000
    result = run_module("vercel_deployment", {**promoted, "timeout": 0.5})
    assert (result["code"], service.production) == ("TURN_UNFINISHED", "")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"token": "no"}, "TOKEN_REFUSED"), ({"token": ""}, "NOT_CONFIGURED"), ({"project": "other"}, "PROJECT_UNKNOWN"),
        ({"org": "team_2"}, "PROJECT_UNKNOWN"), ({"api_url": "https://localhost:9"}, "API_UNREACHABLE"),
        ({"ca_path": ""}, "API_UNREACHABLE"), ({"state": "promoted", "deployment": "v7"}, "DEPLOYMENT_UNKNOWN"),
        ({"state": "rolled_back"}, "NOTHING_SERVES"),
    ],
)  # fmt: skip
def test_reasons(run_module: Any, world: World, service: Service, wrong: dict[str, Any], code: str) -> None:
    result = run_module("vercel_deployment", {**world.options, **wrong})
    assert (result["failed"], result["code"]) == (True, code)
    assert result["next_step"]
    assert service.asked == []


@pytest.mark.parametrize("page", [b"<html>maintenance</html>", b"[]"])
def test_an_answer_that_is_none(run_module: Any, world: World, service: Service, page: bytes) -> None:
    service.page = page
    assert run_module("vercel_deployment", world.options)["code"] == "API_FAILED"


@pytest.mark.parametrize(
    ("wrong", "code", "says"),
    [
        ({"version": "v1.2.0"}, "DEPLOY_FAILED", 'Command "npm run build" exited with 1'),
        ({"version": "v1.1.1"}, "VERSION_UNKNOWN", "v1.1.0"),
        ({"root": "web"}, "ROOT_MISSING", "floyo_frontend_root"),
        ({"vercel": "no-such-program"}, "COMMAND_MISSING", "npm install --global vercel"),
    ],
)
def test_what_cannot_be_built(
    run_module: Any, world: World, service: Service, wrong: dict[str, Any], code: str, says: str
) -> None:
    result = run_module("vercel_deployment", {**world.options, **world.source, "version": "v1.0.0", **wrong})
    assert (result["failed"], result["code"]) == (True, code)
    assert says in result["msg"]
    assert service.deployments == []
    # What was pulled for the build is secret.
    assert code == "ROOT_MISSING" or not (world.directory / "source").exists()


# --- as a user does it -----------------------------------------------------------------------------------------------


def test_deploy_and_roll_back(world: World, service: Service) -> None:
    dry = world.play("frontend_deploy", "--check", floyo_version="v1.0.0")
    assert dry.returncode == 0, dry.stdout
    assert "v1.0.0 would be built, looked at and promoted" in dry.stdout
    assert service.deployments == []
    for version in ("v1.0.0", "v1.1.0"):
        done = world.play("frontend_deploy", floyo_version=version)
        assert done.returncode == 0, done.stdout
    # Each was looked at before users saw it.
    assert service.asked == [
        "made", "health of dpl_1", "promote dpl_1", "health of dpl_1 in public",
        "made", "health of dpl_2", "promote dpl_2", "health of dpl_2 in public",
    ]  # fmt: skip
    again = world.play("frontend_deploy", floyo_version="v1.1.0")
    assert "changed=0" in again.stdout
    dry = world.play("frontend_rollback", "--check")
    assert "v1.0.0 would serve." in dry.stdout
    assert service.production == "dpl_2"
    done = world.play("frontend_rollback")
    assert done.returncode == 0, done.stdout
    assert service.production == "dpl_1"
    assert service.asked[-2:] == ["rollback dpl_1", "health of dpl_1 in public"]


def test_what_is_sick_is_not_shown_to_users(world: World, service: Service) -> None:
    service.production = service.made(proven=True, floyoVersion="v1.0.0")
    service.sick = {"dpl_2": 500}
    done = world.play("frontend_deploy", floyo_version="v1.1.0")
    assert done.returncode != 0
    assert "500" in done.stdout
    assert (service.production, [one for one in service.asked if "promote" in one]) == ("dpl_1", [])


def test_what_is_sick_in_public_is_taken_back(world: World, service: Service) -> None:
    service.production = service.made(proven=True, floyoVersion="v1.0.0")
    service.sick_in_public = {"dpl_2"}
    done = world.play("frontend_deploy", floyo_version="v1.1.0")
    assert done.returncode != 0
    assert "v1.1.0 was not kept" in done.stdout
    assert "Users see v1.0.0 again." in done.stdout
    assert service.production == "dpl_1"
