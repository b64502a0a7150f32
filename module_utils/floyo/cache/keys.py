"""What a key is for, by its name, its type and whether it expires (pure, standard library only).

A cache shares its database with more than one thinks: a worker's queue is one list among a million pages, and once it
is gone nobody can say what was in it. So whatever is not known to be cache counts as something else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import translate
from typing import Any, Optional

__all__ = ["CLASSES", "GUARDED", "KeyReader", "Tally", "escape_glob"]

CLASSES = ("cache", "queues", "sessions", "locks", "limits", "lasting", "temporary")
"""``lasting``: of an unknown kind and without an expiry. ``temporary``: of an unknown kind, and would go by itself."""
GUARDED = ("queues", "sessions", "locks", "limits", "lasting")

_PATTERNS: dict[str, tuple[str, ...]] = {
    # Celery and kombu, RQ, Bull, arq, dramatiq, huey, taskiq, saq, Sidekiq, Resque
    "queues": (
        "_kombu.*", "celery", "celery\x06\x16*", "celery-task*-meta-*", "celery*pidbox*", "unacked*", "rq:*", "bull:*", "bullmq:*",
        "arq:*", "dramatiq:*", "huey.*", "huey:*", "taskiq*", "saq:*", "queue:*", "queues", "resque:*", "jobs:*",
    ),
    "sessions": (
        "session:*", "sessions:*", "sess:*", "session_*", "session-*", "*:session:*", "*:sessions:*", "flask_session*",
        "*django.contrib.sessions*", "PHPREDIS_SESSION*", "spring:session*", "token:*", "tokens:*", "refresh_token*", "csrf:*",
    ),
    "locks": ("lock:*", "locks:*", "*:lock", "*:lock:*", "redlock*", "*_lock", "mutex:*", "leader:*"),
    "limits": ("rate:*", "rate_*", "rate-*", "ratelimit*", "rl:*", "limit:*", "limiter*", "LIMITER*", "LIMITS:*", "throttle*"),
}  # fmt: skip
# Jobs lie in these; nothing that only caches uses them.
_QUEUE_TYPES = (b"list", b"stream")
_LABEL = re.compile(r"[A-Za-z0-9_.-]{1,32}")


def escape_glob(prefix: str) -> str:
    """A pattern for SCAN that matches what begins with ``prefix``, whatever characters are in it."""
    return re.sub(r"([*?\[\]\\^])", r"\\\1", prefix) + "*"


class KeyReader:
    """Sorts keys into ``CLASSES``. The prefixes of the cache are the caller's word and win over every pattern."""

    def __init__(self, cache_prefixes: Sequence[str], patterns: Optional[Mapping[str, Iterable[str]]] = None) -> None:
        more = patterns or {}
        self._prefixes = tuple(prefix.encode() for prefix in cache_prefixes)
        self._known = re.compile(
            "|".join(
                f"(?P<{name}>{'|'.join(translate(pattern) for pattern in (*known, *more.get(name, ())))})"
                for name, known in _PATTERNS.items()
            )
        )

    def by_name(self, key: bytes) -> str:
        """The class, or nothing when the name says nothing."""
        if self._prefixes and key.startswith(self._prefixes):
            return "cache"
        match = self._known.match(key.decode("latin-1"))
        return str(match.lastgroup) if match else ""

    @staticmethod
    def by_value(kind: bytes, ttl: int) -> str:
        """The class of a key whose name says nothing, or nothing when it went away meanwhile."""
        if ttl == -2 or kind == b"none":
            return ""
        if kind in _QUEUE_TYPES:
            return "queues"
        return "lasting" if ttl == -1 else "temporary"

    @staticmethod
    def label(key: bytes) -> str:
        """What may be shown of a key: the word before its first separator. The rest may be a session's secret."""
        parts = re.split(r"([:/|])", key.decode("latin-1"), maxsplit=1)
        if len(parts) > 1:
            return f"{parts[0]}{parts[1]}*" if _LABEL.fullmatch(parts[0]) else "(others)"
        # One word: a name is short and has no digits, a token is long or has some.
        return parts[0] if re.fullmatch(r"[A-Za-z_.-]{1,24}", parts[0]) else "(others)"


class Tally:
    """How many keys of each class there are, and under which names."""

    _EXAMPLES = 5
    # A word before the separator may be a user's name: then there are as many words as users.
    _LABELS = 1000

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._labels: dict[str, Counter[str]] = {name: Counter() for name in CLASSES}

    def add(self, kind: str, key: bytes) -> None:
        self.counts[kind] += 1
        if kind == "cache":
            return
        labels, label = self._labels[kind], KeyReader.label(key)
        labels[label if label in labels or len(labels) < self._LABELS else "(others)"] += 1

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def guarded(self, allowed: Iterable[str]) -> dict[str, int]:
        """The classes that nobody has allowed by name, and their keys."""
        return {name: self.counts[name] for name in GUARDED if self.counts[name] and name not in set(allowed)}

    def names(self, kind: str) -> list[str]:
        return [f"{label} ({count})" for label, count in self._labels[kind].most_common(self._EXAMPLES)]

    def as_result(self) -> dict[str, Any]:
        return {name: {"keys": self.counts[name], "names": self.names(name)} for name in CLASSES if self.counts[name]}
