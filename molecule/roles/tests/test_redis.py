"""floyo_redis: one user, no default user, no plain password on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis
from testinfra.host import Host

if TYPE_CHECKING:
    from molecule.conftest import Fleet


def connect(fleet: Fleet, **login: Any) -> redis.Redis:
    return redis.Redis(
        host=fleet.address(fleet.groups["floyo_cache"][0]), port=6379, socket_timeout=10, protocol=2, **login
    )


def test_nobody_is_let_in_without_a_name(fleet: Fleet) -> None:
    with pytest.raises(redis.exceptions.AuthenticationError, match="Authentication required"):
        connect(fleet).ping()


def test_the_default_user_is_off(fleet: Fleet) -> None:
    password = fleet.facts[fleet.groups["floyo_cache"][0]]["redis_password"]
    with pytest.raises(redis.exceptions.AuthenticationError):
        connect(fleet, password=password).ping()


def test_the_application_works_and_does_not_administer(fleet: Fleet) -> None:
    password = fleet.facts[fleet.groups["floyo_cache"][0]]["redis_password"]
    client = connect(fleet, username="floyo", password=password)
    assert client.set("probe", "1", ex=10)
    assert client.get("probe") == b"1"
    assert "keyspace_hits" in client.info("stats")
    client.delete("probe")
    for command in (["CONFIG", "GET", "dir"], ["FLUSHALL"], ["ACL", "LIST"], ["SHUTDOWN"]):
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*command)


def test_files_hold_no_plain_password(fleet: Fleet, cache: Host) -> None:
    password = fleet.facts[fleet.groups["floyo_cache"][0]]["redis_password"]
    for path in ("/etc/redis/floyo.acl", "/etc/redis/floyo.conf"):
        file = cache.file(path)
        assert (file.group, file.mode) == ("redis", 0o640)
        assert password not in file.content_string


def test_memory_is_bounded_and_the_address_chosen(fleet: Fleet, cache: Host) -> None:
    name = fleet.groups["floyo_cache"][0]
    client = connect(fleet, username="floyo", password=fleet.facts[name]["redis_password"])
    memory = client.info("memory")
    assert memory["maxmemory"] == 256 * 1024 * 1024
    assert memory["maxmemory_policy"] == "allkeys-lru"
    listening = {line.split()[3] for line in cache.check_output("ss -ltnH 'sport = :6379'").splitlines()}
    assert listening == {"127.0.0.1:6379", f"{fleet.address(name)}:6379"}
