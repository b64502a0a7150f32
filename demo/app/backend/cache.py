"""Redis as a cache that may be absent: what fails here never fails a request."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import redis

logger = logging.getLogger("floyo.cache")
TTL = 30
QUIET = 5.0


class Cache:
    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) if url else None
        self.local: dict[str, tuple[float, Any]] = {}
        self.hits = self.misses = self.sets = 0
        self.failures, self.opened = 0, 0.0

    @property
    def backend(self) -> str:
        return "redis" if self.client else "memory"

    def circuit(self) -> dict[str, Any]:
        """Closed: asked; open: left alone for a while after failures; half_open: tried again."""
        if self.failures < 3:
            state = "closed"
        else:
            state = "open" if time.monotonic() - self.opened < QUIET else "half_open"
        return {"state": state, "failure_count": self.failures}

    def _ask(self, what: str, *words: Any) -> Any:
        if self.client is None or self.circuit()["state"] == "open":
            return None
        try:
            answer = self.client.execute_command(what, *words)
        except redis.RedisError as error:
            self.failures, self.opened = self.failures + 1, time.monotonic()
            logger.warning("redis: %s", type(error).__name__)
            return None
        self.failures = 0
        return answer

    def get(self, key: str) -> Any:
        if self.client is None:
            until, value = self.local.get(key, (0.0, None))
            found = value if until > time.monotonic() else None
        else:
            text = self._ask("GET", f"cache:{key}")
            found = json.loads(text) if text else None
        self.hits, self.misses = self.hits + (found is not None), self.misses + (found is None)
        return found

    def set(self, key: str, value: Any) -> None:
        self.sets += 1
        if self.client is None:
            self.local[key] = (time.monotonic() + TTL, value)
        else:
            self._ask("SET", f"cache:{key}", json.dumps(value), "EX", TTL)

    def drop(self, key: str) -> None:
        self.local.pop(key, None)
        self._ask("DEL", f"cache:{key}")

    def count(self, key: str, seconds: int) -> int | None:
        """Requests of a window, by Redis for all processes; None when it cannot be told."""
        number = self._ask("INCR", key)
        if number == 1:
            self._ask("EXPIRE", key, seconds)
        return None if number is None else int(number)

    def ping(self) -> bool:
        """Whether Redis answers now, whatever the circuit says."""
        if self.client is None:
            return False
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def works(self) -> bool:
        """Written and read back."""
        token = str(time.monotonic_ns())
        if self.client is None:
            self.local["check"] = (time.monotonic() + 1, token)
            return self.local["check"][1] == token
        self._ask("SET", "cache:check", token, "EX", 5)
        answer = self._ask("GET", "cache:check")
        return answer is not None and answer.decode() == token

    def stats(self) -> dict[str, Any]:
        asked = self.hits + self.misses
        mine = {
            "type": self.backend,
            "hits": self.hits,
            "misses": self.misses,
            "sets": self.sets,
            "hit_rate": round(100 * self.hits / asked, 2) if asked else 0.0,
        }
        if self.client is None:
            return {**mine, "size": len(self.local)}
        try:
            told = self.client.info("stats")
            keys = self.client.dbsize()
        except redis.RedisError:
            return mine
        return {
            **mine,
            "redis_keys": keys,
            "redis_hits": told["keyspace_hits"],
            "redis_misses": told["keyspace_misses"],
        }
