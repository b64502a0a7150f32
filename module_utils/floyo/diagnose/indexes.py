"""Indexes that nobody uses, that are there twice, that are missing, that are broken (pure, standard library only)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..finding import Finding
from .judge import Limits, megabytes, period, quoted, table_name

__all__ = ["Catalogue", "findings"]


class Catalogue:
    """The tables, indexes and foreign keys of a database."""

    def __init__(
        self,
        tables: Sequence[Mapping[str, Any]],
        indexes: Sequence[Mapping[str, Any]],
        keys: Sequence[Mapping[str, Any]],
        sizes: Mapping[int, int],
    ) -> None:
        self.tables = {table["oid"]: table for table in tables}
        self.indexes, self.keys, self.sizes = indexes, keys, sizes
        self.of_table: dict[int, list[Mapping[str, Any]]] = {}
        for index in sorted(indexes, key=lambda item: str(item["name"])):
            self.of_table.setdefault(index["table"], []).append(index)

    def table(self, index: Mapping[str, Any]) -> str:
        table = self.tables.get(index["table"])
        return table_name(table) if table else ""

    def size(self, index: Mapping[str, Any]) -> int:
        return self.sizes.get(index["oid"], 0)

    def supports_key(self, index: Mapping[str, Any]) -> bool:
        """Whether its first columns are those of a foreign key: deleting a parent row looks there."""
        return any(
            key["table"] == index["table"] and set(_columns(index)[: len(key["columns"])]) == set(key["columns"])
            for key in self.keys
        )


def _columns(index: Mapping[str, Any]) -> list[int]:
    """Numbers of the key's columns; 0 stands for an expression."""
    return [int(number) for number in index["columns"].split()][: index["key_columns"]]


def _keeps(index: Mapping[str, Any]) -> bool:
    """Whether it says what may be in the table, and does not only make it quick."""
    return bool(index["unique"] or index["primary"] or index["constraint"] or index["identity"])


def findings(known: Catalogue, *, facts: Mapping[str, Any], counted: float, limits: Limits) -> Iterator[Finding]:
    """``counted``: for how many seconds scans have been counted."""
    found = [
        *_invalid(known),
        *_duplicates(known),
        *_unused(known, facts, counted, limits),
        *_missing_for_keys(known, limits),
        *_missing_by_scans(known, counted, limits),
    ]
    yield from found
    if not found:
        yield Finding(
            "indexes", "pass", f"{len(known.indexes)} indexes: none invalid, twice, unused or missing", value=0
        )


def _invalid(known: Catalogue) -> Iterator[Finding]:
    for index in known.indexes:
        if index["valid"]:
            continue
        name = table_name(index)
        leftover = str(index["name"]).rstrip("0123456789").endswith(("_ccnew", "_ccold"))
        yield Finding(
            "invalid_index", "inconclusive" if index["building"] else "fail" if index["unique"] else "warn",
            f"{name} on {known.table(index)} is invalid: it costs at every write and answers nothing"
            + (", or it is being built just now" if index["building"] else ""),
            object=name, value=known.size(index), confidence="low" if index["building"] else "high",
            next_step="SELECT * FROM pg_stat_progress_create_index; look again when it is done" if index["building"] else
            f"DROP INDEX CONCURRENTLY {name}" if leftover else f"REINDEX INDEX CONCURRENTLY {name}",
        )  # fmt: skip


def _duplicates(known: Catalogue) -> Iterator[Finding]:
    """The same again, or the beginning of another one. What keeps a constraint stays, the other one is too much."""
    shape = ("method", "predicate", "expressions")
    detail = ("classes", "collations", "orders")
    for indexes in known.of_table.values():
        valid = [index for index in indexes if index["valid"] and not index["partition"]]
        told: set[int] = set()
        for index in valid:
            for other in valid:
                if index is other or index["oid"] in told or any(index[key] != other[key] for key in shape):
                    continue
                mine, theirs = index["columns"].split(), other["columns"].split()
                same = mine == theirs and all(index[key] == other[key] for key in detail)
                begins = (
                    index["method"] == "btree"
                    and not index["expressions"]
                    and len(_columns(index)) < len(_columns(other))
                    and len(mine) == len(_columns(index))
                    and all(
                        other[key].split()[: len(mine)] == index[key].split()[: len(mine)]
                        for key in ("columns", *detail)
                    )
                )
                # A unique one may go only where another one says the same.
                bound = index["constraint"] or index["primary"] or index["identity"]
                if not (same or begins) or bound or (index["unique"] and not (same and other["unique"])):
                    continue
                # Of two that may go, the one with the later name is too many.
                if same and _may_go_for(other, index) and index["name"] < other["name"]:
                    continue
                told.add(index["oid"])
                name, size = table_name(index), known.size(index)
                yield Finding(
                    "duplicate_index", "warn",
                    f"{name} on {known.table(index)} {'is the same as' if same else 'is the beginning of'} "
                    f"{table_name(other)} ({megabytes(size)})",
                    object=name, value=size, confidence="high" if same else "medium",
                    next_step=f"a migration with DROP INDEX CONCURRENTLY {name}",
                )  # fmt: skip


def _may_go_for(index: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return not (
        index["constraint"] or index["primary"] or index["identity"] or (index["unique"] and not other["unique"])
    )


def _unused(known: Catalogue, facts: Mapping[str, Any], counted: float, limits: Limits) -> Iterator[Finding]:
    days = counted / 86400
    doubts = []
    if days < limits["unused_days"]:
        doubts.append(f"scans were counted for {period(counted)} only")
    if facts["in_recovery"]:
        doubts.append("this is a replica: the primary may use it")
    if facts["replicas"]:
        doubts.append(f"{facts['replicas']} replicas may use it: ask each of them")
    for index in known.indexes:
        size = known.size(index)
        if index["scans"] or _keeps(index) or not index["valid"] or index["partition"] or known.supports_key(index):
            continue
        if size < limits["index_min_mb"] * 1048576:
            continue
        name = table_name(index)
        yield Finding(
            "unused_index", "inconclusive" if doubts else "warn",
            f"{name} on {known.table(index)} ({megabytes(size)}) was never used" + (f", but {'; '.join(doubts)}" if doubts else ""),
            object=name, value=size, threshold=f"{limits['unused_days']:g} days of counting", sample=period(counted),
            confidence="low" if doubts else "high",
            next_step="look again later" if doubts else f"a migration with DROP INDEX CONCURRENTLY {name}; "
            "pg_get_indexdef keeps the way back",
        )  # fmt: skip


def _missing_for_keys(known: Catalogue, limits: Limits) -> Iterator[Finding]:
    """Without an index, deleting one row above reads the whole table below, and locks it longer."""
    for key in known.keys:
        wanted = set(key["columns"])
        if any(
            set(_columns(index)[: len(wanted)]) == wanted and index["valid"] and not index["predicate"]
            for index in known.of_table.get(key["table"], [])
        ):
            continue
        table = known.tables.get(key["table"])
        rows = max(table["rows"], table["live"], 0) if table else 0
        if table is None or rows < limits["missing_rows"]:
            continue
        target = known.tables.get(key["target"])
        above = table_name(target) if target else "its target"
        name, columns = table_name(table), ", ".join(quoted(column) for column in key["names"])
        yield Finding(
            "missing_index", "warn", f"{name} ({rows:.0f} rows) has no index for its foreign key {key['name']} to {above}",
            object=name, value=rows, threshold=f"{limits['missing_rows']:g} rows", confidence="medium",
            sample="the catalogue",
            next_step=f"a migration with CREATE INDEX CONCURRENTLY ON {name} ({columns}), if rows of {above} are deleted",
        )  # fmt: skip


def _missing_by_scans(known: Catalogue, counted: float, limits: Limits) -> Iterator[Finding]:
    for table in known.tables.values():
        scans, rows = table["seq_scans"] or 0, max(table["live"] or 0, table["rows"], 0)
        by_index = sum(index["scans"] or 0 for index in known.of_table.get(table["oid"], []))
        if rows < limits["missing_rows"] or scans < 100 or by_index >= 19 * scans:
            continue
        each = (table["seq_rows"] or 0) / scans
        # An EXISTS or a LIMIT stops after a few rows: such a scan misses no index.
        if each < rows / 10:
            continue
        name = table_name(table)
        yield Finding(
            "missing_index", "warn" if counted >= 86400 else "inconclusive",
            f"{name} ({rows:.0f} rows) was read as a whole {scans} times, {each:.0f} rows each, and by index {by_index} times",
            object=name, value=scans, threshold="95 % by index", sample=period(counted), confidence="low",
            next_step=f"playbooks/database_slow_queries.yml: which statement reads {name}; EXPLAIN it, without ANALYZE",
        )  # fmt: skip
