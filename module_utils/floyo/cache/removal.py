"""Keys go away: all of a database, or those that begin with a prefix; and a copy of what is no cache (glue)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from typing import Any

from ..errors import FloyoError, Refused, TimedOut, Unusable
from .client import Cache
from .copies import read_copies, write_copies
from .judge import persistence
from .keys import GUARDED, KeyReader, Tally, escape_glob

__all__ = ["Removal", "put_back"]

# Names of keys that are kept in memory until they are copied.
_MOST_COPIED = 100_000


class Removal:
    """Keys go away: all of the URL's database, or those that begin with a prefix.

    Every key is looked at before the first one goes. Between this look and the removal a key may come: of a prefix, each
    one is judged again by its name when its turn comes; FLUSHDB takes everything that is there at its moment.
    """

    def __init__(self, server: Cache, parameters: Mapping[str, Any], *, check_mode: bool) -> None:
        self.server, self.asked, self.check_mode = server, parameters, check_mode
        self.url = server.url
        self.whole = parameters["state"] == "flushed"
        self.pattern = "*" if self.whole else escape_glob(parameters["prefix"] or "")
        self.ends = time.monotonic() + parameters["deadline"]
        self.warnings: list[str] = []
        unknown = sorted(set(parameters["patterns"]) - set(GUARDED))
        if unknown:
            raise Unusable(f"patterns names {unknown[0]}", code="PATTERNS_INVALID", expected=", ".join(GUARDED[:-1]))
        self.reader = KeyReader(parameters["cache_prefixes"], parameters["patterns"])
        # Whoever names a prefix means what has no expiry too.
        self.allowed = {*parameters["allow"], *(() if self.whole else ("lasting",))}
        self.tally = Tally()
        self.gone = 0
        self.clustered = False
        self.others: list[tuple[Cache, bytes]] = []

    def result(self) -> dict[str, Any]:
        self._require_what_was_meant()
        info = self.server.info()
        with ExitStack() as stack:
            nodes, passed = self._nodes(info, stack)
            if self.asked["copy_to"] and self.clustered:
                raise Refused(
                    "keys of a cluster are not copied",
                    code="COPY_IN_CLUSTER",
                    reason="COPY",
                    expected="one server",
                    next_step="save each node with BGSAVE, then leave copy_to out",
                )
            if passed:
                self.warnings.append(f"{' > '.join(passed)} is a replica; the keys go on its primary {nodes[0].place}")
            before = {node.place: self._look(node) for node in nodes}
            self._require_only_cache()
            plan = [node for node in nodes if before[node.place]]
            result: dict[str, Any] = {
                "changed": bool(plan),
                "database": self.url.database,
                "before": sum(before.values()),
                "kinds": self.tally.as_result(),
                "persistence": persistence(info),
                "passed": passed,
            }
            rows: list[dict[str, Any]] = [
                {"node": node.place, "keys": before[node.place], "removed": 0} for node in nodes
            ]
            copied = 0
            if plan and not self.check_mode:
                copied = self._copy()
                for row, node in zip(rows, nodes):
                    if node in plan:
                        row.update(self._remove(node))
            return {
                **result,
                "copied": copied,
                "removed": sum(row["removed"] for row in rows),
                "nodes": rows,
                "warnings": self.warnings,
            }

    def _require_what_was_meant(self) -> None:
        if self.whole and self.asked["confirm_database"] != self.url.database:
            raise Refused(
                f"the URL means database {self.url.database} and confirm_database {self.asked['confirm_database']}",
                code="DATABASE_NOT_CONFIRMED", reason="NOT_CONFIRMED",
                expected="the number of the database that is to be emptied, twice",
                next_step=f"compare {self.url} with what you mean to empty",
            )  # fmt: skip
        if not self.whole and not self.asked["prefix"]:
            raise Refused(
                "the prefix is empty: that is every key", code="PREFIX_EMPTY", reason="PREFIX_EMPTY",
                expected="how the names begin", next_step="state: flushed empties a database",
            )  # fmt: skip

    def _nodes(self, info: dict[str, Any], stack: ExitStack) -> tuple[list[Cache], list[str]]:
        """Every server that holds a part of the keys and takes writes."""
        if int(info.get("cluster_enabled", 0)):
            self.clustered = True
            nodes = self.server.primaries()
            passed = list[str]()
        else:
            primary, passed = self.server.primary(info)
            nodes = [primary]
        for node in nodes:
            if node is not self.server:
                stack.enter_context(closing(node))
        return nodes, passed

    def _look(self, node: Cache) -> int:
        """Sort the keys of a node; how many there are. A walk may meet a key twice, so of all of them DBSIZE counts."""
        before = self.tally.total
        for keys in self._walk(node):
            unknown = []
            for key in keys:
                kind = self.reader.by_name(key)
                if kind:
                    self._note(node, kind, key)
                else:
                    unknown.append(key)
            if unknown:
                answers = node.many([words for key in unknown for words in (("TYPE", key), ("PTTL", key))])
                for key, kind, ttl in zip(unknown, answers[::2], answers[1::2]):
                    found = self.reader.by_value(kind, ttl)
                    if found:
                        self._note(node, found, key)
        return node.size() if self.whole else self.tally.total - before

    def _note(self, node: Cache, kind: str, key: bytes) -> None:
        self.tally.add(kind, key)
        if self.asked["copy_to"] and kind in GUARDED:
            if len(self.others) >= _MOST_COPIED:
                raise Refused(
                    f"more than {_MOST_COPIED} keys are no cache: too many to copy", code="TOO_MANY_TO_COPY",
                    reason="TOO_MANY_TO_COPY", next_step="BGSAVE on the server and copy dump.rdb, then leave copy_to out",
                )  # fmt: skip
            self.others.append((node, key))

    def _walk(self, node: Cache) -> Iterator[list[bytes]]:
        for keys in node.scan(self.pattern, self.asked["batch"]):
            if time.monotonic() > self.ends:
                raise TimedOut(
                    f"{self.url} has more keys than could be walked in {self.asked['deadline']:g} s",
                    code="REDIS_DEADLINE", reason="DEADLINE", removed=self.gone,
                    expected="an end within deadline", next_step="run again with a longer deadline: it goes on",
                )  # fmt: skip
            yield keys

    def _require_only_cache(self) -> None:
        others = self.tally.guarded(self.allowed)
        if not others:
            return
        shown = "; ".join(f"{count} {name}: {', '.join(self.tally.names(name))}" for name, count in others.items())
        words = ", ".join(others)
        raise Refused(
            f"database {self.url.database} of {self.url.place} holds more than cache: {shown}",
            code="CACHE_HOLDS_OTHERS",
            reason="HOLDS_OTHERS",
            expected="nothing but cache in what goes",
            next_step=f"delete by the cache's prefix (state: prefix_deleted), or allow what may go by name (allow: [{words}])",
            kinds=self.tally.as_result(),
        )

    def _remove(self, node: Cache) -> dict[str, int]:
        if self.whole:
            size = node.size()
            # ASYNC: the memory is given back by another thread; the keys are gone at once.
            node.ask("FLUSHDB", "ASYNC")
            self.gone += size
            return {"removed": size, "after": node.size()}
        removed = 0
        try:
            for keys in self._walk(node):
                # What came since the look is judged as well.
                going = [key for key in keys if self.reader.by_name(key) in ("", "cache", *self.allowed)]
                removed += self._unlink(node, going)
                self.gone = removed
                if self.asked["pause"]:
                    time.sleep(self.asked["pause"])
        except FloyoError as error:
            error.details["removed"] = removed
            raise
        return {"removed": removed}

    def _unlink(self, node: Cache, keys: list[bytes]) -> int:
        if not keys:
            return 0
        if not self.clustered:
            return int(node.ask("UNLINK", *keys))
        # One command may not name keys of several slots.
        return sum(int(answer) for answer in node.many([("UNLINK", key) for key in keys]))

    def _copy(self) -> int:
        """What is no cache and goes all the same, before anything goes."""
        if not self.asked["copy_to"] or not self.others:
            return 0
        return write_copies(self.asked["copy_to"], self.others, database=self.url.database)


def put_back(server: Cache, parameters: Mapping[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """The keys of a copy that are not there now. One that is there stays as it is, and one that has expired stays away."""
    copies = read_copies(parameters["copy_to"], database=server.url.database)
    now = time.time() * 1000
    due = [copy for copy in copies if not copy.expires or copy.expires > now]
    with ExitStack() as stack:
        primary, passed = server.primary(server.info())
        if passed:
            stack.enter_context(closing(primary))
        batches = [due[at : at + parameters["batch"]] for at in range(0, len(due), parameters["batch"])]
        missing = [
            copy
            for batch in batches
            for copy, found in zip(batch, primary.many([("EXISTS", copy.key) for copy in batch]))
            if not found
        ]
        if not check_mode:
            for copy in missing:
                primary.ask("RESTORE", copy.key, copy.expires, copy.value, *(("ABSTTL",) if copy.expires else ()))
    return {
        "changed": bool(missing),
        "warnings": [],
        "put_back": len(missing),
        "there": len(due) - len(missing),
        "expired": len(copies) - len(due),
    }
