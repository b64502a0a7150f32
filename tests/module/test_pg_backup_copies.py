"""pg_backup's copies elsewhere: sent through rclone, read there again, pruned there, and fetched back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible.module_utils.floyo.backup import copied, remote, store

TABLES = """
CREATE TABLE alembic_version (version_num text PRIMARY KEY);
INSERT INTO alembic_version VALUES ('aaaa1111');
CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL);
INSERT INTO users (name) SELECT 'a plain name ' || g FROM generate_series(1, 2000) g;
"""
PASSWORD = "an-unusual-p4ssword"
LAST = {"last": 1, "daily": 0, "weekly": 0, "monthly": 0}


class Place:
    """A server that rclone runs, what it serves, and the configuration by which another rclone reaches it."""

    def __init__(self, protocol: str, root: Path) -> None:
        self.root, self.port = root / "elsewhere", _free_port()
        self.root.mkdir()
        self.home = root / "home"
        self.home.mkdir()
        address = ["--dir-cache-time", "0s", "--addr", f"127.0.0.1:{self.port}", "--user", "floyo", "--pass", PASSWORD]
        self.process = subprocess.Popen(
            ["rclone", "serve", protocol, str(self.root), *address],
            env={**os.environ, "HOME": str(self.home), "RCLONE_CONFIG": "/dev/null"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        obscured = subprocess.run(
            ["rclone", "obscure", PASSWORD], check=True, capture_output=True, text=True
        ).stdout.strip()
        at = {
            "webdav": f"type = webdav\nurl = http://127.0.0.1:{self.port}\nvendor = other",
            "sftp": f"type = sftp\nhost = 127.0.0.1\nport = {self.port}\nshell_type = none",
        }[protocol]
        self.config = root / "rclone.conf"
        self.config.write_text(f"[offsite]\n{at}\nuser = floyo\npass = {obscured}\n")
        self.config.chmod(0o600)
        limit = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < limit, "rclone serve did not start"
            time.sleep(0.05)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in (self.root / "floyo").iterdir())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(params=["webdav", "sftp"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = Place(request.param, tmp_path)
    yield made
    made.stop()


@pytest.fixture
def webdav(tmp_path: Path) -> Iterator[Place]:
    made = Place("webdav", tmp_path)
    yield made
    made.stop()


class Site:
    def __init__(self, server: Any, root: Path, run_module: Callable[..., Any]) -> None:
        self.server, self.directory, self.config, self._run = server, root / "backups", root / "rclone.conf", run_module
        self.url = server.fresh_database()
        self.database = self.url.rpartition("/")[2]
        self.server.sql(TABLES, database=self.database)

    def arguments(self, state: str, **more: Any) -> dict[str, Any]:
        common = {"directory": str(self.directory), "state": state, "database_url": self.url, "min_free": "1K"}
        return {**common, "lock_wait": 1, "remote": "offsite:floyo", "rclone_config": str(self.config), **more}

    def run(self, state: str, *, check: bool = False, **more: Any) -> Any:
        return self._run("pg_backup", self.arguments(state, **more), check=check)

    def good(self, state: str, **more: Any) -> Any:
        result = self.run(state, **more)
        assert result.rc == 0, result["msg"]
        return result

    def lose(self, label: str) -> None:
        for path in self.directory.glob(f"{label}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def site(postgres_server: Any, tmp_path: Path, run_module: Callable[..., Any]) -> Iterator[Site]:
    made = Site(postgres_server, tmp_path, run_module)
    yield made
    for (name,) in postgres_server.sql("SELECT datname FROM pg_database"):
        if name.startswith(made.database):
            postgres_server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.parametrize("form", ["custom", "directory"])
def test_a_copy_is_made_and_comes_back(site: Site, place: Place, form: str) -> None:
    predicted = site.good("present", format=form, check=True)
    assert predicted["backup"] == {}
    assert not (place.root / "floyo").exists()
    result = site.good("present", format=form)
    label = result["backup"]["label"]
    assert result["copied"] == [label]
    assert place.files == [f"{label}.dump", f"{label}.json"]
    (entry,) = result["backups"]
    assert entry["copied_to"] == "offsite:floyo"
    assert entry["copied_at"]
    # Four runs of each state.
    for check in (True, False):
        assert site.good("copied", check=check)["changed"] is False
        assert site.good("fetched", label=label, check=check)["changed"] is False
    site.lose(label)
    predicted = site.good("fetched", check=True)
    assert (predicted["changed"], predicted["fetched"]) == (True, label)
    assert site.good("info")["backups"] == []
    fetched = site.good("fetched")
    assert (fetched["changed"], fetched["fetched"]) == (True, label)
    assert [(each["label"], each["verified"]) for each in fetched["backups"]] == [(label, True)]
    site.good("verified")
    assert site.good("drilled")["drill"]["rows"] == 2001
    listed = site.good("info")
    assert [each["label"] for each in listed["elsewhere"]] == [label]
    text = json.dumps([result.json, fetched.json, listed.json])
    assert PASSWORD not in text


def test_what_lies_there_is_read_again(site: Site, webdav: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that changes one bit and says nothing."""
    real = remote.Remote.send

    def send(self: remote.Remote, path: str, name: str) -> None:
        real(self, path, name)
        there = webdav.root / "floyo" / name
        data = bytearray(there.read_bytes())
        data[-7] ^= 1
        there.write_bytes(data)

    monkeypatch.setattr(remote.Remote, "send", send)
    taken = site.good("present")
    label = taken["backup"]["label"]
    assert "is not what was sent" in json.dumps(taken["warnings"])
    assert webdav.files == [f"{label}.dump"], "without a manifest it is no backup"
    assert site.run("copied")["code"] == "COPY_DIFFERS"
    assert site.good("info")["elsewhere"][0]["verified"] is False
    monkeypatch.undo()
    predicted = site.good("copied", check=True)
    assert (predicted["changed"], predicted["copied"]) == (True, [label])
    assert site.good("copied")["copied"] == [label]
    assert site.good("info")["elsewhere"][0]["verified"] is True


def test_a_damaged_copy_is_not_believed(site: Site, webdav: Place) -> None:
    label = site.good("present")["backup"]["label"]
    there = webdav.root / "floyo" / f"{label}.dump"
    whole = there.read_bytes()
    there.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    site.lose(label)
    result = site.run("fetched")
    assert (result["code"], "sha256" in result["msg"]) == ("BACKUP_DAMAGED", True)
    there.write_bytes(whole[:-1])
    # By its size in the list, or because the place itself promises more than it has.
    assert site.run("fetched", label=label)["code"] in ("BACKUP_DAMAGED", "REMOTE_FAILED")
    assert [path.name for path in site.directory.iterdir()] == [".lock"]


def test_a_damaged_backup_is_replaced_by_its_copy(site: Site, webdav: Place) -> None:
    label = site.good("present")["backup"]["label"]
    dump = site.directory / f"{label}.dump"
    whole = dump.read_bytes()
    dump.write_bytes(whole[:-1] + b"x")
    assert site.run("verified")["code"] == "BACKUP_DAMAGED"
    assert site.good("fetched", label=label)["changed"] is True
    assert dump.read_bytes() == whole
    assert site.good("info")["backups"][0]["verified"] is True


def test_the_place_is_down(site: Site, webdav: Place) -> None:
    """No backup is missed because of it, and it does not stay unseen."""
    webdav.stop()
    for check in (True, False):
        result = site.good("present", check=check)
        assert "rclone lsjson at offsite:floyo has failed" in json.dumps(result["warnings"])
    assert site.run("copied")["code"] == "REMOTE_FAILED"
    assert "what is elsewhere is unknown" in json.dumps(site.good("info")["warnings"])
    checked = site.run("checked")
    found = {each["check"]: each["result"] for each in checked["checks"]}
    assert (checked["code"], found["copy"]) == ("BACKUPS_UNFIT", "fail")
    assert site.run("pruned")["code"] == "REMOTE_FAILED"
    assert PASSWORD not in json.dumps([checked.json, result.json])


def test_the_check_asks_for_the_age_of_the_copy(site: Site, webdav: Place) -> None:
    site.good("present")
    found = {each["check"]: each["result"] for each in site.good("checked", limits={"redundancy_warn": 1})["checks"]}
    assert found["copy"] == "pass"
    assert "copy" not in {each["check"] for each in site.good("checked", remote="")["checks"]}


def test_copies_are_pruned_by_the_same_rule_and_by_themselves(
    site: Site, webdav: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [site.good("present")["backup"]["label"] for _ in range(3)]
    for label in labels:
        site.lose(label)
    predicted = site.good("pruned", keep=LAST, check=True)
    assert predicted["removed_elsewhere"] == [labels[1], labels[0]]
    assert len(webdav.files) == 6
    # Here nothing is left, and there the newest stays all the same.
    result = site.good("pruned", keep=LAST)
    assert (result["removed"], result["removed_elsewhere"]) == ([], [labels[1], labels[0]])
    assert webdav.files == [f"{labels[2]}.dump", f"{labels[2]}.json"]
    assert site.good("pruned", keep=LAST)["changed"] is False
    # What a killed removal or copy has left.
    (webdav.root / "floyo" / f"{labels[0]}.dump").write_bytes(b"half")
    assert site.good("pruned", keep=LAST)["removed_elsewhere"] == [], "somebody may be about to complete it"
    monkeypatch.setattr(copied, "_COMPLETED_BY_NOW", -60.0)
    assert site.good("pruned", keep=LAST)["removed_elsewhere"] == [labels[0]]
    assert webdav.files == [f"{labels[2]}.dump", f"{labels[2]}.json"]


def test_places_that_are_none(site: Site, webdav: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = f":webdav,url='http://127.0.0.1',user=floyo,pass={PASSWORD}:floyo"
    refused = site.run("present", remote=secret)
    assert (refused["code"], PASSWORD in refused["msg"]) == ("REMOTE_UNUSABLE", False)
    assert not site.directory.exists(), "it was refused before the dump"
    assert site.run("copied", remote="/just/a/path")["code"] == "REMOTE_UNUSABLE"
    assert site.run("copied", remote="")["code"] == "REMOTE_UNUSABLE"
    assert site.run("copied", rclone_config=str(tmp_path / "nowhere"))["code"] == "REMOTE_UNUSABLE"
    assert site.run("fetched")["code"] == "NO_BACKUP"
    assert site.run("copied", remote="other:floyo")["code"] == "REMOTE_FAILED"
    site.config.chmod(0o640)
    assert site.run("copied")["code"] == "KEY_EXPOSED"
    site.config.chmod(0o600)
    monkeypatch.setattr("shutil.which", lambda *_: None)
    missing = site.run("copied")
    assert (missing["code"], "apt-get install rclone" in missing["next_step"]) == ("RCLONE_MISSING", True)


def test_killed_while_it_fetches(site: Site, webdav: Place) -> None:
    """What has come so far is swept, and it is fetched all the same."""
    site.server.sql(
        "CREATE TABLE big AS SELECT g, md5(random()::text) AS x FROM generate_series(1, 200000) g",
        database=site.database,
    )
    label = site.good("present")["backup"]["label"]
    site.lose(label)
    run = subprocess.Popen(
        [sys.executable, "-c", PROCESS, json.dumps(site.arguments("fetched"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    limit = time.monotonic() + 60
    try:
        while not list(site.directory.glob("*.partial")) and run.poll() is None:
            assert time.monotonic() < limit
            time.sleep(0.001)
    finally:
        run.kill()
        run.communicate()
    assert run.returncode == -signal.SIGKILL
    assert site.good("info")["backups"] == []
    assert site.good("fetched")["fetched"] == label
    assert not list(site.directory.glob("*.partial")) + list(site.directory.glob("*.running.json"))


PROCESS = f"""
import sys
import ansible.module_utils, ansible.module_utils.basic as basic
ansible.module_utils.__path__.append({str(Path(store.__file__).parents[2])!r})
sys.path.insert(0, {str(Path(__file__).parents[2] / "library")!r})
basic._ANSIBLE_ARGS = b'{{"ANSIBLE_MODULE_ARGS": ' + sys.argv[1].encode() + b"}}"
if hasattr(basic, "_ANSIBLE_PROFILE"):
    basic._ANSIBLE_PROFILE = "legacy"
import pg_backup
pg_backup.main()
"""
