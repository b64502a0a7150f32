"""redis_cache against real servers: what goes, what must not, and why not."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

Module = Callable[..., Any]
More = Callable[..., Any]


def url(server: Any, database: int = 0, *, user: str = "", password: str = "") -> str:
    return f"redis://{user}:{password or server.password}@{server.host}:{server.port}/{database}"


class Place:
    """An empty database of a server, and the module run on it."""

    def __init__(self, server: Any, run_module: Module, database: int = 0) -> None:
        self.server, self._run, self.database = server, run_module, database
        self.client = redis.Redis(host=server.host, port=server.port, password=server.password, db=database, protocol=2)
        self.client.flushdb()

    def run(self, state: str, *, check: bool = False, **more: Any) -> Any:
        needs = {"flushed": {"confirm_database": self.database}}.get(state, {})
        given = {"url": url(self.server, self.database), "state": state, **needs, **more}
        result = self._run("redis_cache", given, check=check)
        assert self.server.password not in json.dumps(result.json) + result.stderr
        return result

    def fill(self, count: int, name: str = "cache:page:", ttl: int = 1000) -> None:
        pipeline = self.client.pipeline(transaction=False)
        for number in range(count):
            pipeline.set(f"{name}{number}", "x" * 20, ex=ttl or None)
        pipeline.execute()

    @property
    def keys(self) -> set[bytes]:
        return {bytes(key) for key in self.client.scan_iter("*", count=1000)}


@pytest.fixture
def place(redis_server: Any, run_module: Module) -> Place:
    return Place(redis_server, run_module)


# --- looks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [False, True])
def test_ping(place: Place, check: bool) -> None:
    result = place.run("ping", check=check)
    assert (result.rc, result["changed"]) == (0, False)
    assert 0 < result["latency_ms"] < 10_000
    assert result["role"] == "primary"
    assert result["version"].split(".")[0] in ("6", "7", "8")
    assert result["persistence"]["aof"] is False
    assert result["server"] == f"redis://{place.server.host}:{place.server.port}/0"


@pytest.mark.parametrize("check", [False, True])
def test_info_counts_each_database(place: Place, run_module: Module, check: bool) -> None:
    place.fill(10)
    place.fill(3, "keep:", ttl=0)
    Place(place.server, run_module, 3).fill(2)
    result = place.run("info", check=check)
    assert result["changed"] is False
    assert result["databases"]["0"] == {"keys": 13, "without_ttl": 3}
    assert result["databases"]["3"] == {"keys": 2, "without_ttl": 0}
    assert result["memory"]["used"] > 0


def look_up(place: Place, hits: int, misses: int) -> None:
    place.client.set("cache:there", "1", ex=100)
    pipeline = place.client.pipeline(transaction=False)
    for key, count in (("cache:there", hits), ("cache:not", misses)):
        for _ in range(count):
            pipeline.get(key)
    pipeline.execute()


@pytest.mark.parametrize("check", [False, True])
def test_stats_of_a_window_are_not_those_of_the_life(place: Place, check: bool) -> None:
    look_up(place, 2000, 0)
    before = place.run("stats", looked_at=0)
    look_up(place, 20, 180)
    later = place.run("stats", sample=before["sample"], check=check)
    assert later["changed"] is False
    window = later["window"]
    assert (window["hits"], window["misses"], window["hit_rate"]) == (20, 180, 10.0)
    assert (window["source"], window["restarted"]) == ("earlier sample", False)
    assert later["lifetime"]["hit_rate"] > 50
    assert {finding["check"]: finding["verdict"] for finding in later["findings"]}["hit_rate"] == "fail"
    assert later["verdict"] == "fail"
    assert later["findings"][0]["verdict"] == "fail", "the worst first"


def test_stats_look_twice(place: Place) -> None:
    stop = threading.Event()

    def ask() -> None:
        client = place.server.client()
        while not stop.is_set():
            client.get("cache:not")
            time.sleep(0.001)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        result = place.run("stats", window=0.5, limits={"min_lookups": 1})
    finally:
        stop.set()
        thread.join()
    assert result["window"]["source"] == "two looks"
    assert result["window"]["misses"] > 0
    assert result["window"]["hit_rate"] == 0.0


def test_stats_keep_a_sample_for_the_next_look(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "sample.json"
    place.run("stats", sample_file=str(file), check=True)
    assert not file.exists(), "a dry run writes nothing"
    first = place.run("stats", sample_file=str(file))
    assert first["window"] == {}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    look_up(place, 150, 50)
    assert place.run("stats", sample_file=str(file))["window"]["hit_rate"] == 75.0
    file.write_text("{half")
    damaged = place.run("stats", sample_file=str(file))
    assert damaged["window"] == {}
    assert "is damaged and begins anew" in str(damaged["warnings"])
    assert json.loads(file.read_text())["run_id"] == damaged["run_id"]


def test_stats_notice_a_restart_and_a_reset(place: Place, more_redis: More) -> None:
    look_up(place, 200, 0)
    sample = place.run("stats", looked_at=0)["sample"]
    place.client.config_resetstat()
    reset = place.run("stats", sample=sample)
    assert (reset["window"]["reset"], reset["window"]["hit_rate"]) == (True, None)
    other = place.run("stats", sample=sample, url=url(more_redis()))
    assert (other["window"]["restarted"], other["window"]["hits"]) == (True, None)


def test_stats_with_too_few_lookups_is_no_pass(more_redis: More, run_module: Module) -> None:
    result = Place(more_redis(), run_module).run("stats")
    found = {finding["check"]: finding for finding in result["findings"]}
    assert found["hit_rate"]["verdict"] == "inconclusive"
    assert result["lifetime"]["hit_rate"] is None


def test_stats_see_evictions_and_a_full_memory(more_redis: More, run_module: Module) -> None:
    place = Place(more_redis("maxmemory 3mb", "maxmemory-policy allkeys-lru"), run_module)
    sample = place.run("stats", looked_at=0)["sample"]
    pipeline = place.client.pipeline(transaction=False)
    for number in range(3000):
        pipeline.set(f"cache:{number}", "x" * 1000)
    pipeline.execute()
    found = {finding["check"]: finding for finding in place.run("stats", sample=sample)["findings"]}
    assert found["evictions"]["verdict"] == "warn"
    assert found["evictions"]["value"] > 0
    assert found["memory"]["verdict"] == "pass", "it evicts, as it is meant to"
    place.client.config_set("maxmemory-policy", "noeviction")
    found = {finding["check"]: finding for finding in place.run("stats", looked_at=0)["findings"]}
    assert found["memory"]["verdict"] == "fail"
    assert found["keys_without_ttl"]["verdict"] == "warn"
    assert found["keys_without_ttl"]["value"] == 100.0


def test_stats_name_what_lies_there_but_no_whole_key(place: Place) -> None:
    place.fill(300)
    place.fill(100, "session:8f2a-secret-", ttl=0)
    result = place.run("stats", looked_at=5000)
    names = {entry["name"]: entry for entry in result["names"]}
    assert (names["cache:*"]["share"], names["cache:*"]["without_ttl"]) == (75.0, 0.0)
    assert (names["session:*"]["share"], names["session:*"]["without_ttl"]) == (25.0, 100.0)
    assert names["cache:*"]["mean_bytes"] > 20
    assert "secret" not in json.dumps(result.json)


# --- flushed ---------------------------------------------------------------------------------------------------------


def test_flushed_four_times(place: Place, run_module: Module) -> None:
    """Only the URL's database: community.general's module would run FLUSHALL here."""
    other = Place(place.server, run_module, 5)
    other.fill(7)
    place.fill(1200)
    dry = place.run("flushed", check=True)
    assert (dry["changed"], dry["before"], dry["removed"]) == (True, 1200, 0)
    assert dry["kinds"] == {"cache": {"keys": 1200, "names": []}}
    assert len(place.keys) == 1200
    done = place.run("flushed")
    assert (done["changed"], done["before"], done["removed"]) == (True, 1200, 1200)
    assert done["nodes"] == [
        {"node": f"{place.server.host}:{place.server.port}", "keys": 1200, "removed": 1200, "after": 0}
    ]
    assert place.keys == set()
    assert len(other.keys) == 7
    for check in (True, False):
        again = place.run("flushed", check=check)
        assert (again.rc, again["changed"], again["before"]) == (0, False, 0)
    assert len(other.keys) == 7


@pytest.mark.parametrize("check", [True, False])
def test_another_number_than_the_urls_is_refused(place: Place, check: bool) -> None:
    place.fill(1)
    result = place.run("flushed", confirm_database=1, check=check)
    assert (result.rc, result["reason"]) == (1, "NOT_CONFIRMED")
    assert len(place.keys) == 1
    missing = place.run("flushed", confirm_database=None)
    assert "confirm_database" in missing["msg"]


OTHERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "a queue of Celery": ("queues", lambda c: c.lpush("celery", "job")),
    "a binding of kombu": ("queues", lambda c: c.sadd("_kombu.binding.mail", "x")),
    "a result": ("queues", lambda c: c.set("celery-task-meta-1", "x", ex=100)),
    "what is not acknowledged": ("queues", lambda c: c.hset("unacked", "a", "b")),
    "a queue of RQ": ("queues", lambda c: c.lpush("rq:queue:default", "job")),
    "a queue of Bull": ("queues", lambda c: c.zadd("bull:mail:delayed", {"1": 1})),
    "a list of an unknown name": ("queues", lambda c: c.lpush("orders", "1")),
    "a stream of an unknown name": ("queues", lambda c: c.xadd("events", {"a": "b"})),
    "a session": ("sessions", lambda c: c.set("session:8f2a", "x", ex=100)),
    "a lock": ("locks", lambda c: c.set("lock:report", "x", ex=100)),
    "a rate limit": ("limits", lambda c: c.set("rate_limit:10.0.0.1", "1", ex=100)),
    "a key without an expiry": ("lasting", lambda c: c.set("feature-flags", "x")),
}


@pytest.mark.parametrize("what", OTHERS)
def test_one_key_that_is_no_cache_stops_a_flush(place: Place, what: str) -> None:
    kind, make = OTHERS[what]
    place.fill(1500)
    make(place.client)
    before = place.keys
    for check in (True, False):
        result = place.run("flushed", check=check)
        assert (result.rc, result["code"], result["reason"]) == (1, "CACHE_HOLDS_OTHERS", "HOLDS_OTHERS")
        assert f"1 {kind}: " in result["msg"]
        assert f"allow: [{kind}]" in result["next_step"]
        assert "8f2a" not in json.dumps(result.json), "a session's name may be its secret"
    assert place.keys == before
    wrong = "locks" if kind != "locks" else "queues"
    assert place.run("flushed", allow=[wrong]).rc == 1
    allowed = place.run("flushed", allow=[kind])
    assert (allowed.rc, allowed["removed"]) == (0, 1501)
    assert place.keys == set()


def test_what_expires_by_itself_may_go(place: Place) -> None:
    place.fill(5, "pages/", ttl=50)
    result = place.run("flushed")
    assert (result.rc, result["removed"]) == (0, 5)
    assert result["kinds"] == {"temporary": {"keys": 5, "names": ["pages/* (5)"]}}


def test_names_of_the_application(place: Place) -> None:
    place.client.set("floyo:lock:1", "x")
    assert place.run("flushed").rc == 1
    assert place.run("flushed", cache_prefixes=["floyo:"], check=True).rc == 0
    place.client.set("who-1", "x", ex=100)
    refused = place.run("flushed", cache_prefixes=["floyo:"], patterns={"sessions": ["who-*"]})
    assert "1 sessions" in refused["msg"]
    assert place.run("flushed", patterns={"other": ["x"]})["code"] == "PATTERNS_INVALID"


def test_a_copy_of_what_is_no_cache_comes_back(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "copy"
    place.fill(50)
    place.client.rpush("celery", "one", "two")
    place.client.set("flag", b"\x00\xff")
    place.client.set("session:1", "s", px=400_000)
    place.client.set("session:2", "s", px=1)
    arguments: dict[str, Any] = {"allow": ["queues", "lasting", "sessions"], "copy_to": str(file)}
    time.sleep(0.01)
    assert place.run("flushed", check=True, **arguments)["copied"] == 0
    assert not file.exists()
    done = place.run("flushed", **arguments)
    assert done["copied"] == 3
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert place.keys == set()

    place.client.set("flag", "newer")
    for check in (True, False):
        back = place.run("put_back", copy_to=str(file), check=check)
        assert (back["changed"], back["put_back"], back["there"]) == (True, 2, 1)
    assert place.client.lrange("celery", 0, -1) == [b"one", b"two"]
    assert place.client.get("flag") == b"newer", "what is there stays"
    assert 0 < place.client.pttl("session:1") <= 400_000
    for check in (True, False):
        assert place.run("put_back", copy_to=str(file), check=check)["changed"] is False
    other = place.run("put_back", copy_to=str(file), url=url(place.server, 1))
    assert other["code"] == "COPY_OF_ANOTHER"
    file.write_text("junk")
    assert place.run("put_back", copy_to=str(file))["code"] == "COPY_UNUSABLE"


def test_the_memory_of_a_flush_is_given_back_beside_the_server(place: Place) -> None:
    """Freed in the foreground, a large database holds the server up until a watcher takes it for dead."""
    place.fill(2000)
    before = place.client.info("memory")["lazyfreed_objects"]
    assert place.run("flushed")["removed"] == 2000
    until(lambda: place.client.info("memory")["lazyfreed_objects"] >= before + 2000)


# --- prefix_deleted --------------------------------------------------------------------------------------------------


def test_prefix_deleted_four_times(place: Place) -> None:
    place.fill(1300)
    place.fill(40, "cache:user:")
    place.fill(5, "cache*page:")
    place.client.lpush("celery", "job")
    dry = place.run("prefix_deleted", prefix="cache:page:", check=True)
    assert (dry["changed"], dry["before"], dry["removed"]) == (True, 1300, 0)
    assert len(place.keys) == 1346
    done = place.run("prefix_deleted", prefix="cache:page:", batch=100)
    assert (done["changed"], done["removed"]) == (True, 1300)
    assert len(place.keys) == 46
    for check in (True, False):
        again = place.run("prefix_deleted", prefix="cache:page:", check=check)
        assert (again["changed"], again["before"]) == (False, 0)
    assert place.run("prefix_deleted", prefix="cache*page:")["removed"] == 5, "a star means itself"
    assert len(place.keys) == 41


def test_a_prefix_of_queues_is_refused(place: Place) -> None:
    place.fill(3, "rq:result:")
    place.client.lpush("work:1", "job")
    for prefix, kind in (("rq:", "queues"), ("work:", "queues")):
        for check in (True, False):
            result = place.run("prefix_deleted", prefix=prefix, check=check)
            assert (result.rc, result["reason"]) == (1, "HOLDS_OTHERS")
            assert kind in result["msg"]
    assert len(place.keys) == 4
    assert place.run("prefix_deleted", prefix="rq:", allow=["queues"])["removed"] == 3


def test_whoever_names_a_prefix_means_what_has_no_expiry_too(place: Place) -> None:
    place.fill(3, "pages:", ttl=0)
    assert place.run("prefix_deleted", prefix="pages:")["removed"] == 3


def test_an_empty_prefix_is_refused(place: Place) -> None:
    place.fill(1)
    assert place.run("prefix_deleted", prefix="")["reason"] == "PREFIX_EMPTY"
    assert "prefix" in place.run("prefix_deleted")["msg"]
    assert len(place.keys) == 1


@pytest.mark.parametrize("batch", [0, 5001])
def test_a_batch_that_would_hold_the_server_up_is_refused(place: Place, batch: int) -> None:
    assert place.run("prefix_deleted", prefix="cache:", batch=batch)["code"] == "BATCH_INVALID"


def test_a_deadline_ends_it_and_the_next_run_goes_on(place: Place) -> None:
    place.fill(3000)
    result = place.run("prefix_deleted", prefix="cache:", batch=10, pause=0.05, deadline=1.0)
    assert (result.rc, result["reason"]) == (1, "DEADLINE")
    left = len(place.keys)
    assert 0 < result["removed"] == 3000 - left
    assert place.run("prefix_deleted", prefix="cache:")["removed"] == left


# --- rights ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def account(place: Place) -> Iterator[Callable[..., str]]:
    """``account("+@all", "-flushdb")`` makes an ACL user and gives its URL."""
    made: list[str] = []

    def make(*rights: str) -> str:
        name = f"user{len(made)}"
        place.client.execute_command("ACL", "SETUSER", name, "on", ">pass-of-user", "~*", *rights)
        made.append(name)
        return url(place.server, user=name, password="pass-of-user")

    yield make
    for name in made:
        place.client.execute_command("ACL", "DELUSER", name)


def test_an_account_that_may_only_ping(place: Place, account: Callable[..., str]) -> None:
    mine = account("-@all", "+ping", "+select")
    result = place.run("ping", url=mine)
    assert result.rc == 0
    assert (result["version"], result["role"]) == ("", "")
    assert "REDIS" not in result["warnings"][0]
    assert "info" in str(result["warnings"])
    assert place.run("stats", url=mine)["reason"] == "NOPERM"


@pytest.mark.parametrize(
    ("state", "right"), [("flushed", "flushdb"), ("flushed", "scan"), ("prefix_deleted", "unlink"), ("flushed", "info")]
)
def test_a_right_that_is_missing_is_named_and_nothing_goes(
    place: Place, account: Callable[..., str], state: str, right: str
) -> None:
    place.fill(10)
    more: dict[str, Any] = {"prefix": "cache:"} if state == "prefix_deleted" else {}
    result = place.run(state, url=account("+@all", f"-{right}"), **more)
    assert (result.rc, result["code"], result["reason"]) == (1, "REDIS_NOPERM", "NOPERM")
    assert right in result["msg"].lower()
    assert "Traceback" not in result.stderr
    assert len(place.keys) == 10


def test_the_rights_that_provisioning_gives_are_enough(place: Place, account: Callable[..., str], root: Path) -> None:
    import yaml

    rights = yaml.safe_load((root / "roles/floyo_redis/defaults/main.yml").read_text())["floyo_redis_rights"].split()
    mine = account(*[right for right in rights if right[0] in "+-"])
    place.fill(20)
    assert place.run("ping", url=mine)["role"] == "primary"
    assert place.run("stats", url=mine).rc == 0
    assert place.run("prefix_deleted", url=mine, prefix="cache:page:1").rc == 0
    assert place.run("flushed", url=mine)["removed"] == 9
    with pytest.raises(redis.exceptions.NoPermissionError):
        redis.Redis.from_url(mine).flushall()


# --- each failure its own reason -------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def failure(place: Place, reason: str, address: str, state: str = "ping", **more: Any) -> Any:
    result = place.run(state, url=address, timeout=1.0, **more)
    assert (result.rc, result["code"], result["reason"]) == (1, f"REDIS_{reason}", reason)
    assert result["next_step"]
    assert "Traceback" not in result.stderr + result["msg"]
    return result


def test_passwords(place: Place) -> None:
    here = f"{place.server.host}:{place.server.port}/0"
    failure(place, "NOAUTH", f"redis://{here}")
    wrong = failure(place, "WRONGPASS", f"redis://:wrong-S3cret@{here}")
    assert "S3cret" not in json.dumps(wrong.json)
    failure(place, "WRONGPASS", f"redis://nobody:wrong@{here}")


def test_a_password_that_nobody_wants(more_redis: More, place: Place) -> None:
    server = more_redis()
    server.client().config_set("requirepass", "")
    failure(place, "PASSWORD_NOT_WANTED", url(server))


def test_nobody_there(place: Place, tmp_path: Path) -> None:
    failure(place, "REFUSED", f"redis://127.0.0.1:{free_port()}/0")
    failure(place, "DNS", "redis://no-such-host.invalid/0")
    failure(place, "NO_SOCKET", f"unix://{tmp_path}/none.sock")


def test_somebody_else_there(place: Place) -> None:
    for answer, reason in ((b"HTTP/1.1 400 Bad Request\r\n\r\n", "NOT_REDIS"), (b"", "CLOSED"), (None, "TIMEOUT")):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()

            def serve(listener: socket.socket = listener, answer: bytes | None = answer) -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1000)
                    if answer is None:
                        connection.recv(1000)
                    else:
                        connection.sendall(answer)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            failure(place, reason, f"redis://127.0.0.1:{listener.getsockname()[1]}/0")
            thread.join(10)


def test_a_database_that_is_not_there(place: Place) -> None:
    failure(place, "NO_DATABASE", url(place.server, 99), "info")


def test_a_command_that_was_renamed(more_redis: More, run_module: Module) -> None:
    server = more_redis("rename-command FLUSHDB kept-from-you")
    place = Place.__new__(Place)
    place.server, place._run, place.database = server, run_module, 0
    server.client().set("cache:1", "x")
    failure(place, "UNKNOWN_COMMAND", url(server), "flushed")


def test_no_room_for_another_client(more_redis: More, place: Place) -> None:
    server = more_redis()
    held = server.client()
    held.config_set("maxclients", 1)
    failure(place, "MAX_CLIENTS", url(server))
    assert held.ping()


def test_no_driver(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    real = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name == "redis":
            raise ImportError("No module named 'redis'")
        return real(name, package)

    from ansible.module_utils.floyo.cache import client

    monkeypatch.setattr(client.importlib, "import_module", without)
    result = place.run("ping")
    assert result["code"] == "DRIVER_MISSING"
    assert "python3-redis" in result["next_step"]


# --- sockets and TLS -------------------------------------------------------------------------------------------------


def test_a_unix_socket(more_redis: More, place: Place, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for parent in list(tmp_path.parents)[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    path = f"/tmp/flrd-{os.getpid()}-{time.monotonic_ns()}.sock"
    server = more_redis(f"unixsocket {path}", "unixsocketperm 777")
    server.client().set("cache:1", "x", ex=100)
    mine = f"unix://:{server.password}@{path}?db=0"
    assert place.run("ping", url=mine)["server"] == f"unix://{path}?db=0"
    done = place.run("flushed", url=mine)
    assert (done.rc, done["removed"]) == (0, 1)
    assert server.client().dbsize() == 0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, and a certificate of it for localhost that the server's account can read."""
    directory = tmp_path_factory.mktemp("tls")
    for path in (directory, *list(directory.parents)[:2]):
        path.chmod(0o755)
    commands = [
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    ]
    (directory / "names").write_text("subjectAltName=DNS:localhost\n")
    for command in commands:
        subprocess.run(["openssl", *command.split()], cwd=directory, check=True, capture_output=True)
    (directory / "server.key").chmod(0o644)
    return directory


def test_tls(more_redis: More, place: Place, authority: Path) -> None:
    port = free_port()
    server = more_redis(
        f"tls-port {port}", f"tls-cert-file {authority}/server.pem", f"tls-key-file {authority}/server.key",
        "tls-auth-clients no",
    )  # fmt: skip
    mine = f"rediss://:{server.password}@localhost:{port}/0"
    good = place.run("ping", url=mine, ca_path=f"{authority}/ca.pem")
    assert (good.rc, good["server"]) == (0, f"rediss://localhost:{port}/0")
    assert place.run("ping", url=f"{mine}?ssl_ca_certs={authority}/ca.pem").rc == 0
    assert place.run("ping", url=mine, validate_certs=False).rc == 0
    assert place.run("ping", url=f"{mine}?ssl_cert_reqs=none").rc == 0
    failure(place, "TLS", mine)
    failure(place, "TLS", mine.replace("localhost", "127.0.0.1"), ca_path=f"{authority}/ca.pem")
    failure(place, "TLS", f"rediss://:{server.password}@localhost:{server.port}/0", ca_path=f"{authority}/ca.pem")
    failure(place, "CLOSED", f"redis://:{server.password}@localhost:{port}/0")


# --- replicas and clusters -------------------------------------------------------------------------------------------


def until(condition: Callable[[], Any]) -> Any:
    limit = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.02)
    return value


def test_on_a_replica_the_keys_go_on_its_primary(more_redis: More, run_module: Module) -> None:
    primary = more_redis()
    replica = more_redis(f"masterauth {primary.password}")
    replica.client().config_set("requirepass", primary.password)
    replica.password = primary.password
    replica.client().replicaof(primary.host, primary.port)
    place = Place(primary, run_module)
    place.fill(30)
    until(lambda: replica.client().dbsize() == 30)

    looked = place.run("info", url=url(replica))
    assert (looked["role"], looked["replication"]["link"]) == ("replica", "up")
    assert looked["replication"]["primary"] == f"{primary.host}:{primary.port}"
    assert {f["check"]: f["verdict"] for f in place.run("stats", url=url(replica))["findings"]}["replication"] == "pass"
    removals: dict[str, dict[str, Any]] = {"prefix_deleted": {"prefix": "cache:page:1"}, "flushed": {}}
    for state, more in removals.items():
        result = place.run(state, url=url(replica), **more)
        assert result.rc == 0
        assert result["passed"] == [f"{replica.host}:{replica.port}"]
        assert result["nodes"][0]["node"] == f"{primary.host}:{primary.port}"
        assert "is a replica" in str(result["warnings"])
    assert place.keys == set()
    until(lambda: replica.client().dbsize() == 0)

    primary.client().shutdown(nosave=True)
    until(lambda: replica.client().info("replication")["master_link_status"] == "down")
    failure(place, "REFUSED", url(replica), "flushed")
    found = {f["check"]: f for f in place.run("stats", url=url(replica))["findings"]}
    assert found["replication"]["verdict"] == "fail"


def test_a_primary_that_became_a_replica_meanwhile(more_redis: More, run_module: Module) -> None:
    """A fail-over between the look and the removal: the write is refused, and that is said."""
    server, new = more_redis(), more_redis()
    place = Place(server, run_module)
    place.fill(2000)
    from ansible.module_utils.floyo.cache import removal

    real = removal.Removal._require_only_cache

    def demote(self: Any) -> None:
        real(self)
        server.client().replicaof(new.host, new.port)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(removal.Removal, "_require_only_cache", demote)
        result = place.run("prefix_deleted", prefix="cache:", url=url(server))
    assert (result.rc, result["reason"], result["removed"]) == (1, "READONLY", 0)


def test_every_primary_of_a_cluster(more_redis: More, run_module: Module) -> None:
    """FLUSHDB by one connection empties one node only."""
    buses = [free_port() for _ in range(2)]
    nodes = [more_redis("cluster-enabled yes", f"cluster-port {bus}") for bus in buses]
    for node in nodes:
        node.client().config_set("requirepass", nodes[0].password)
        node.password = nodes[0].password
    place = Place(nodes[0], run_module)
    failure(place, "CLUSTER_DOWN", url(nodes[0]), "flushed")
    for node, (begin, end) in zip(nodes, ((0, 8191), (8192, 16383))):
        node.client().execute_command("CLUSTER", "ADDSLOTSRANGE", begin, end)
    nodes[0].client().execute_command("CLUSTER", "MEET", nodes[1].host, nodes[1].port, buses[1])
    for node in nodes:
        until(lambda node=node: b"cluster_state:ok" in node.client().execute_command("CLUSTER", "INFO"))  # type: ignore[misc]

    def fill() -> None:
        client = redis.RedisCluster(host=nodes[0].host, port=nodes[0].port, password=nodes[0].password, protocol=2)
        for number in range(200):
            client.set(f"cache:page:{number}", "x")
        client.close()

    def sizes() -> list[int]:
        return [node.client().dbsize() for node in nodes]

    fill()
    before = sizes()
    assert sum(before) == 200
    assert min(before) > 0
    dry = place.run("flushed", check=True)
    assert (dry["changed"], dry["before"], len(dry["nodes"])) == (True, 200, 2)
    some = place.run("prefix_deleted", prefix="cache:page:1")
    assert (some.rc, some["removed"]) == (0, 111)
    assert sum(sizes()) == 89
    done = place.run("flushed")
    assert (done["removed"], sorted(row["after"] for row in done["nodes"])) == (89, [0, 0])
    assert sizes() == [0, 0]
    assert place.run("flushed")["changed"] is False
    fill()
    for check in (True, False):
        refused = place.run("flushed", copy_to="/tmp/none", check=check)
        assert (refused["code"], sum(sizes())) == ("COPY_IN_CLUSTER", 200)
