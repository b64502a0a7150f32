"""State rehearsed: the pending revisions on a copy of the database, up with their times and locks, and down again (glue).

The copy comes from a backup, under a name that only copies for rehearsals have. Nothing here connects to the live database.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Optional

from ..backup.schema import OBJECTS_SQL
from ..errors import FloyoError, Unusable
from ..files import read_json, write_json
from ..text import shorten
from .live import lock_name

if TYPE_CHECKING:
    from .client import Helper

__all__ = ["Rehearsal", "measured", "read_record", "schema_changes"]

_FOREIGN = r"n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'"
# Columns by name: a column that was dropped and came back stands at the end of its table.
_TABLES_SQL = (
    "SELECT n.nspname || '.' || c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname),"  # noqa: S608 (constants)
    " coalesce((SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname) FROM pg_attribute a"
    " WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '')"
    f" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND {_FOREIGN} ORDER BY 1"
)
_MOST_DIFFERENCES = 20

Schema = dict[tuple[str, str], str]
Rows = dict[str, tuple[int, str]]


def schema_changes(before: Mapping[tuple[str, str], str], after: Mapping[tuple[str, str], str]) -> list[str]:
    """What differs, in words: ``column public.users.name is gone``."""
    words = [f"{kind} {name} is gone" for kind, name in before if (kind, name) not in after]
    words += [f"{kind} {name} stays" for kind, name in after if (kind, name) not in before]
    words += [
        f"{kind} {name} is another one"
        for (kind, name), text in before.items()
        if after.get((kind, name), text) != text
    ]
    return sorted(words)


def _row_changes(before: Rows, after: Rows) -> list[str]:
    """Rows of tables that are there both times; the others are told by the schema."""
    words = []
    for table, (count, digest) in before.items():
        found = after.get(table)
        if found is None or found == (count, digest):
            continue
        words.append(
            f"{table} has {found[0]} rows instead of {count}"
            if found[0] != count
            else f"rows of {table} have other values"
        )
    return words


def measured(observed: Mapping[str, Any], version_table: str) -> dict[str, Any]:
    """``locks``, ``rows`` and ``rewritten`` of a step, without alembic's own table."""

    def own(table: str) -> bool:
        return table.rpartition(".")[2] == version_table

    return {
        "locks": [
            {"table": one["table"], "lock": lock_name(one["mode"]), "seconds": one["seconds"]}
            for one in observed["locks"]
            if not own(one["table"])
        ],
        "rows": {table: counts for table, counts in observed["rows"].items() if not own(table)},
        "rewritten": [table for table in observed["rewritten"] if not own(table)],
    }


def read_record(path: str, revisions: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the last rehearsal has found of each revision, when the file of the revision is still the same."""
    try:
        known = read_json(path, {}) if path else {}
    except ValueError as error:
        raise Unusable(
            f"{path} cannot be read: {error}",
            code="RECORD_DAMAGED",
            expected="the record of rehearsals, JSON",
            next_step="remove the file and rehearse again: playbooks/migration_rehearse.yml",
        ) from error
    return {
        entry["revision"]: known[entry["revision"]]
        for entry in revisions
        if known.get(entry["revision"], {}).get("sha256") == entry["sha256"]
    }


class Rehearsal:
    """The chain of a run (``run`` is the module's), in the database that ``helper`` is connected to."""

    def __init__(self, run: Any, helper: Helper) -> None:
        self.run, self.helper = run, helper
        self.entries: list[dict[str, Any]] = []
        self.levels: list[tuple[Schema, Rows]] = []

    def result(self, plan: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """``{revisions, problem}``; a problem ends the way up, and nothing is gone down then."""
        problem: Optional[FloyoError] = None
        self.levels.append((self.schema(), self.rows(None, {})))
        for number, step in enumerate(plan, 1):
            try:
                self.up(step, (number, len(plan)))
            except FloyoError as error:
                problem = error
                break
        if problem is None:
            self.back()
        return {"revisions": self.entries, "problem": problem}

    # --- up -----------------------------------------------------------------------------------------------------------

    def up(self, step: Mapping[str, Any], place: tuple[int, int]) -> None:
        self.run.step(self.helper, step, place=place)
        done = self.run.applied[-1]
        entry = {
            "revision": step["revision"],
            "sha256": self.run.lineage[step["revision"]]["sha256"],
            "seconds": done["seconds"],
            **{key: done[key] for key in ("wal", "locks", "rows", "rewritten")},
            "downgrade": None,
        }
        self.entries.append(entry)
        self.levels.append((self.schema(), self.rows(self.touched(done), self.levels[-1][1])))

    def touched(self, done: Mapping[str, Any]) -> Optional[set[str]]:
        """Tables whose rows may be others now; None: any. A short lock outside a transaction may not have been seen."""
        if self.run.lineage[done["revision"]]["autocommit"]:
            return None
        return {*(one["table"] for one in done["locks"]), *done["rows"], *done["rewritten"]}

    # --- down ---------------------------------------------------------------------------------------------------------

    def back(self) -> None:
        """Take everything back, the newest first, and compare with what was there before each."""
        told: set[str] = set()
        rows = self.levels[-1][1]
        for number in reversed(range(len(self.entries))):
            entry = self.entries[number]
            step = {"revision": entry["revision"], "direction": "down", "class": "", "summary": ""}
            step = {**step, **self.run.described(entry["revision"])}
            try:
                self.run.step(self.helper, step, place=(len(self.entries) - number, len(self.entries)))
            except FloyoError as error:
                entry["downgrade"] = {
                    "seconds": 0.0,
                    "lossless": False,
                    "differs": [],
                    "error": shorten(error.message, 200),
                }
                for lower in self.entries[:number]:
                    why = f"not reached: {entry['revision']} cannot be taken back"
                    lower["downgrade"] = {"seconds": 0.0, "lossless": False, "differs": [], "error": why}
                return
            done = self.run.applied[-1]
            rows = self.rows(self.touched(done), rows)
            schema_before, rows_before = self.levels[number]
            words = schema_changes(schema_before, self.schema()) + _row_changes(rows_before, rows)
            # What a newer downgrade has left behind is told there.
            news = [word for word in words if word not in told]
            told.update(words)
            entry["downgrade"] = {
                "seconds": done["seconds"],
                "lossless": not news,
                "differs": news[:_MOST_DIFFERENCES],
                "error": "",
            }

    # --- what is compared ---------------------------------------------------------------------------------------------

    def query(self, sql: str) -> list[list[Any]]:
        rows: list[list[Any]] = self.run.asked_of(self.helper, "query", sql=sql)["rows"]
        return rows

    def schema(self) -> Schema:
        return {(kind, name): definition or "" for kind, name, definition in self.query(OBJECTS_SQL)}

    def rows(self, touched: Optional[set[str]], before: Rows) -> Rows:
        """Rows and a sum of their hashes, which no order changes, of each table; those not touched are as before."""
        found: Rows = {}
        for table, quoted, columns in self.query(_TABLES_SQL) if self.run.asked["compare_rows"] else ():
            if table == self.run.state["version_table"]:
                continue
            if touched is not None and table not in touched and table in before:
                found[table] = before[table]
                continue
            ((count, digest),) = self.query(
                f"SELECT count(*), coalesce(sum(hashtextextended((ROW({columns}))::text, 0)), 0)::text FROM ONLY {quoted}"  # noqa: S608 (quoted by the server)
            )
            found[table] = (count, digest)
        return found

    # --- what stays ---------------------------------------------------------------------------------------------------

    def remember(self, path: str, backup: str) -> None:
        """For the tables of later runs: what this rehearsal has found of each revision."""
        try:
            known = read_json(path, {})
        except ValueError:
            known = {}  # it is written anew
        at = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        known.update({entry["revision"]: {**entry, "at": at, "backup": backup} for entry in self.entries})
        write_json(path, json.loads(json.dumps(known)), mode=0o644)
