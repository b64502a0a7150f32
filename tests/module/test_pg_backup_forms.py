"""pg_backup's forms of a dump: encrypted, as a directory, compressed; and whatever happens to their bytes is found."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible.module_utils.floyo.backup import glue, store

TABLES = """
CREATE TABLE alembic_version (version_num text PRIMARY KEY);
INSERT INTO alembic_version VALUES ('aaaa1111');
CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL);
INSERT INTO users (name) SELECT 'a plain name ' || g FROM generate_series(1, 2000) g;
CREATE TABLE empty (id int);
SELECT lo_from_bytea(0, 'large'::bytea);
"""


class Site:
    def __init__(self, server: Any, directory: Path, run_module: Callable[..., Any]) -> None:
        self.server, self.directory, self._run = server, directory, run_module
        self.url = server.fresh_database()
        self.database = self.url.rpartition("/")[2]
        self.sql(TABLES)

    def sql(self, text: str) -> list[Any]:
        return list(self.server.sql(text, database=self.database))

    def arguments(self, state: str, **more: Any) -> dict[str, Any]:
        common = {"directory": str(self.directory), "state": state, "database_url": self.url, "min_free": "1K"}
        return {**common, "lock_wait": 1, "lock_timeout": 5, **more}

    def run(self, state: str, *, check: bool = False, **more: Any) -> Any:
        return self._run("pg_backup", self.arguments(state, **more), check=check)

    def good(self, state: str, **more: Any) -> Any:
        result = self.run(state, **more)
        assert result.rc == 0, result["msg"]
        return result

    def take(self, **more: Any) -> dict[str, Any]:
        return dict(self.good("present", **more)["backup"])

    def listed(self, label: str) -> dict[str, Any]:
        (entry,) = self.good("info", label=label)["backups"]
        return dict(entry)

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())


@pytest.fixture
def site(postgres_server: Any, tmp_path: Path, run_module: Callable[..., Any]) -> Iterator[Site]:
    made = Site(postgres_server, tmp_path / "backups", run_module)
    yield made
    for (name,) in postgres_server.sql("SELECT datname FROM pg_database"):
        if name.startswith(made.database):
            postgres_server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')


class Key:
    """What age-keygen makes: a file for who may read, a word for who may write."""

    def __init__(self, path: Path) -> None:
        self.file = str(path)
        subprocess.run(["age-keygen", "-o", self.file], check=True, capture_output=True)
        path.chmod(0o600)
        told = subprocess.run(["age-keygen", "-y", self.file], check=True, capture_output=True, text=True)
        self.public = told.stdout.strip()


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Key, Key]:
    return Key(tmp_path / "key"), Key(tmp_path / "other")


# --- encrypted -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_key", [False, True])
def test_an_encrypted_backup_comes_back(site: Site, keys: tuple[Key, Key], with_key: bool) -> None:
    key, _ = keys
    identity = {"identity_file": key.file} if with_key else {}
    backup = site.take(recipients=[key.public], **identity)
    dump = backup["manifest"]["dump"]
    assert dump["encryption"] == {"method": "age", "recipients": [key.public]}
    assert dump["toc"]["tables"] == 3
    assert Path(backup["path"]).read_bytes().startswith(b"age-encryption.org/v1\n")
    assert site.listed(backup["label"])["encrypted"] is True
    told = site.good("verified").json.get("warnings", [])
    assert f"compared by their bytes alone: {backup['label']}" in json.dumps(told)
    site.good("verified", identity_file=key.file)
    site.sql("UPDATE users SET name = 'after'")
    drill = site.good("drilled", identity_file=key.file, jobs=4)["drill"]
    assert (drill["label"], drill["rows"]) == (backup["label"], 2001)
    site.good("restored", label=backup["label"], identity_file=key.file, recipients=[key.public])
    assert site.sql("SELECT count(*) FROM users WHERE name LIKE 'a plain name %'") == [(2000,)]
    assert all(each["encrypted"] for each in site.good("info")["backups"]), "the safety backup is, too"


def test_no_plaintext_reaches_the_disk(site: Site, keys: tuple[Key, Key], tmp_path: Path) -> None:
    """Whatever pg_dump writes goes to age; and what age is given in a restore comes from no file."""
    key, _ = keys
    taken = site.take(compress="none")
    plain = b"a plain name 1999"
    assert plain in Path(taken["path"]).read_bytes(), "otherwise nothing is proven here"
    Path(taken["path"]).unlink()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    trace = tmp_path / "trace"
    environment = {**os.environ, "TMPDIR": str(scratch)}
    for arguments in (
        site.arguments("present", recipients=[key.public], compress="none"),
        site.arguments("drilled", identity_file=key.file),
    ):
        watched = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=openat,creat,memfd_create", "-y"]
        run = [*watched, sys.executable, "-c", PROCESS, json.dumps(arguments)]
        done = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        written = {
            line.split('"')[1] for line in trace.read_text().splitlines()
            if ("O_WRONLY" in line or "O_RDWR" in line) and '"' in line and "= -1" not in line
        }  # fmt: skip
        strange = [
            path for path in written
            if not path.startswith((str(site.directory), "/dev/", "/proc/", str(scratch), str(tmp_path / "trace")))
        ]  # fmt: skip
        assert strange == [], "files outside of what is looked at"
    assert not any(
        path.is_file() and plain in path.read_bytes() for path in [*site.directory.iterdir(), *scratch.rglob("*")]
    )


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


def test_keys_that_do_not_fit(site: Site, keys: tuple[Key, Key], tmp_path: Path) -> None:
    """Each has an error of its own, and none of them says that the backup is damaged."""
    key, other = keys
    label = site.take(recipients=[key.public])["label"]
    garbage = tmp_path / "garbage"
    garbage.write_text("nonsense\n")
    garbage.chmod(0o600)
    for state in ("drilled", "restored"):
        named = {"label": label} if state == "restored" else {}
        assert site.run(state, **named)["code"] == "KEY_MISSING"
        wrong = site.run(state, identity_file=other.file, **named)
        assert (wrong["code"], other.file in wrong["msg"]) == ("KEY_WRONG", True)
        assert site.run(state, identity_file=str(garbage), **named)["code"] == "KEY_UNUSABLE"
        assert site.run(state, identity_file=str(tmp_path / "nowhere"), **named)["code"] == "KEY_MISSING"
    assert site.run("verified", identity_file=other.file)["code"] == "KEY_WRONG"
    Path(other.file).chmod(0o644)
    assert site.run("verified", identity_file=other.file)["code"] == "KEY_EXPOSED"
    assert site.listed(label)["verified"] is True
    site.good("verified", identity_file=key.file)


def test_several_may_read_it(site: Site, keys: tuple[Key, Key]) -> None:
    label = site.take(recipients=[each.public for each in keys])["label"]
    for each in keys:
        site.good("verified", label=label, identity_file=each.file)


def test_recipients_that_are_none(site: Site, keys: tuple[Key, Key], monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Path(keys[0].file).read_text().splitlines()[-1]
    refused = site.run("present", recipients=[secret], check=True)
    assert (refused["code"], secret in json.dumps(refused["msg"])) == ("KEY_EXPOSED", False)
    assert site.run("present", recipients=["age1nonsense"], check=True)["code"] == "RECIPIENT_UNUSABLE"
    mistyped = keys[0].public[:-1] + ("q" if keys[0].public[-1] != "q" else "p")
    assert site.run("present", recipients=[mistyped], check=True)["code"] == "RECIPIENT_UNUSABLE"
    monkeypatch.setattr("shutil.which", lambda *_: None)
    missing = site.run("present", recipients=[keys[0].public], check=True)
    assert (missing["code"], "apt-get install age" in missing["next_step"]) == ("AGE_MISSING", True)


def test_pg_dump_fails_half_way_through_age(site: Site, keys: tuple[Key, Key]) -> None:
    """A pipe hides nothing: what was encrypted of it is thrown away."""
    real = shlex.quote(str(site.server.bin_dir / "pg_dump"))
    bin_dir = site.directory.parent / "bin"
    bin_dir.mkdir()
    (bin_dir / "pg_dump").write_text(
        f'#!/bin/bash\n[ "$1" = --version ] && exec {real} --version\n{real} "$@" | head -c 3000; exit 3\n'
    )
    (bin_dir / "pg_dump").chmod(0o755)
    (bin_dir / "pg_restore").symlink_to(site.server.bin_dir / "pg_restore")
    result = site.run("present", recipients=[keys[0].public], bin_dir=str(bin_dir))
    assert (result["code"], site.files) == ("DUMP_FAILED", [".lock"])


# --- the directory format --------------------------------------------------------------------------------------------


def test_the_directory_format(site: Site) -> None:
    predicted = site.good("present", format="directory", check=True)
    assert predicted["backup"] == {}
    backup = site.take(format="directory", jobs=3)
    path = Path(backup["path"])
    assert backup["size"] == sum(each.stat().st_size for each in path.iterdir())
    summed = subprocess.run(
        ["bash", "-c", "sha256sum * | sha256sum"], cwd=path, capture_output=True, text=True, check=True
    )
    assert summed.stdout.split()[0] == backup["sha256"], "anybody can check it by hand"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    site.good("verified")
    site.sql("UPDATE users SET name = 'after'")
    assert site.good("drilled", jobs=3)["drill"]["rows"] == 2001
    site.good("restored", label=backup["label"], safety_backup=False, jobs=2)
    assert site.sql("SELECT count(*) FROM users WHERE name LIKE 'a plain name %'") == [(2000,)]
    site.take()
    keep = {"last": 1, "daily": 0, "weekly": 0, "monthly": 0}
    site.good("drilled")
    result = site.good("pruned", keep=keep)
    assert (result["removed"], result["freed"]) == ([backup["label"]], backup["size"])
    assert not path.exists()


def test_a_directory_is_not_encrypted(site: Site, keys: tuple[Key, Key]) -> None:
    assert site.run("present", format="directory", recipients=[keys[0].public])["code"] == "FORMAT_UNUSABLE"


def test_a_killed_dump_into_a_directory_is_swept(site: Site) -> None:
    site.sql("CREATE TABLE big AS SELECT g, md5(g::text) AS x FROM generate_series(1, 200000) g")
    run = subprocess.Popen(
        [sys.executable, "-c", PROCESS, json.dumps(site.arguments("present", format="directory"))],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        limit = time.monotonic() + 60
        while not list(site.directory.glob("*.partial/*.gz")) and run.poll() is None:
            assert time.monotonic() < limit
            time.sleep(0.005)
    finally:
        run.kill()
        run.communicate()
    assert run.returncode == -signal.SIGKILL
    assert site.good("info")["backups"] == []
    healed = site.good("present", lock_wait=30)
    assert len(healed["swept"]) == 2
    assert not list(site.directory.glob("*.partial"))


def test_a_full_disk_in_the_directory_format(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.sql("CREATE TABLE big AS SELECT g, md5(random()::text) AS x FROM generate_series(1, 60000) g")
    site.directory.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(site.directory)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        monkeypatch.setattr(glue, "forecast", lambda *_: 0)
        result = site.run("present", format="directory")
        assert result["code"] == "DISK_FULL", result.json
        assert site.files == [".lock"]
    finally:
        subprocess.run(["umount", str(site.directory)], check=True)


# --- whatever happens to the bytes -----------------------------------------------------------------------------------


FORMS = {
    "custom, gzip": {"compress": "gzip:6"},
    "custom, none": {"compress": "none"},
    "directory, gzip": {"format": "directory", "compress": "gzip:6"},
    "directory, none": {"format": "directory", "compress": "none"},
    "encrypted": {},
}


@pytest.mark.parametrize("form", list(FORMS))
def test_every_cut_and_every_flipped_bit_is_found(site: Site, keys: tuple[Key, Key], form: str) -> None:
    """Ten cuts and a hundred flipped bits of each form; and the sound ones beside them are never said to be damaged."""
    key, _ = keys
    options = dict(FORMS[form], **({"recipients": [key.public]} if form == "encrypted" else {}))
    site.take(**options)
    backup = site.take(**options)
    label, path = backup["label"], Path(backup["path"])
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    chance = random.Random(form)

    def found() -> Any:
        return site.run("verified", label=label, identity_file=key.file if form == "encrypted" else "")

    def must_be_found(what: str) -> None:
        result = found()
        assert (result.rc, result.json.get("code")) == (1, "BACKUP_DAMAGED"), f"{what}: {result.json}"
        assert result["damaged"] == [label]

    for tenth in range(10):
        file = chance.choice(files)
        whole = file.read_bytes()
        size = len(whole) * tenth // 10
        file.write_bytes(whole[:size])
        must_be_found(f"{file.name} cut to {size} of {len(whole)}")
        file.write_bytes(whole)
    for _ in range(100):
        file = chance.choice(files)
        flipped = bytearray(file.read_bytes())
        place, bit = chance.randrange(len(flipped)), chance.randrange(8)
        flipped[place] ^= 1 << bit
        file.write_bytes(flipped)
        must_be_found(f"bit {bit} of byte {place} of {file.name}")
        flipped[place] ^= 1 << bit
        file.write_bytes(flipped)
    healed = found()
    assert (healed.rc, healed["changed"]) == (0, True)
    assert site.run("verified", identity_file=key.file if form == "encrypted" else "").rc == 0, "no false alarm"


def test_exchanged_added_and_missing_files_of_a_directory_are_found(site: Site) -> None:
    label = site.take(format="directory", compress="none")["label"]
    path = site.directory / f"{label}.dump"
    data = sorted(path.glob("*.dat"))
    assert len(data) >= 3

    def must_be_found(what: str) -> None:
        assert site.run("verified")["code"] == "BACKUP_DAMAGED", what

    aside = path / "aside"
    data[0].rename(aside)
    data[1].rename(data[0])
    aside.rename(data[1])
    must_be_found("two files exchanged")
    data[0].rename(aside)
    data[1].rename(data[0])
    aside.rename(data[1])
    site.good("verified")
    (path / "more").touch()
    must_be_found("one file more")
    (path / "more").unlink()
    kept = data[0].read_bytes()
    data[0].unlink()
    must_be_found("one file less")
    data[0].write_bytes(kept)
    site.good("verified")
    shutil.rmtree(path)
    must_be_found("all of it gone")


def test_edited_manifests_are_found(site: Site) -> None:
    """Each value of a manifest, changed by itself."""
    label = site.take()["label"]
    path = site.directory / f"{label}.json"
    whole = json.loads(path.read_text())

    def edits(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        if isinstance(value, dict):
            for key in value:
                yield from edits(value[key], (*at, key))
        else:
            yield at

    places = list(edits(whole))
    assert len(places) > 40
    for place in places:
        edited = json.loads(json.dumps(whole))
        target = edited
        for key in place[:-1]:
            target = target[key]
        target[place[-1]] = "edited" if target[place[-1]] != "edited" else 0
        path.write_text(json.dumps(edited))
        result = site.run("verified")
        assert result["code"] == "BACKUP_DAMAGED", place
    path.write_text(json.dumps(whole))
    site.good("verified")
    # One who knows how to seal has still to know what the dump is like: its digest is in there.
    forged = glue.seal({**whole, "dump": {**whole["dump"], "size": whole["dump"]["size"] + 1}})
    path.write_text(json.dumps(forged))
    assert site.run("verified")["code"] == "BACKUP_DAMAGED"
