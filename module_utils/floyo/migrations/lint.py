"""One verdict on pending migrations: their SQL, how large the tables are now, who has them now, what squawk says (pure).

A lock on a table of 50 rows is over before anybody notices; on one of 50 million it is an outage. A linter that sees the
SQL alone must warn of both; here the live sizes decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from .locks import Hold, Statement, blocks, conflicts, statements_of

__all__ = ["LIMITS", "Live", "bytes_text", "judge", "live_from", "size_text", "worst"]

LIMITS: dict[str, float] = {
    "rows": 1_000_000, "bytes": 1 << 30, "per_second": 100.0, "blocker_seconds": 3.0, "transaction_seconds": 300.0,
    "replica_seconds": 30.0, "slot_bytes": 1 << 30,
}  # fmt: skip
"""From when on a table is large, and how often a second it is used to count as hot; how long a session may have had a table
before it stands in the way, and a transaction may be open at all; how far replicas and slots may be behind."""
# A hot table is large at a tenth of the size: what stops it for a moment stops many.
_HOT = 10

_ORDER = ("pass", "warn", "fail")
Finding = dict[str, Any]
# Rules of squawk whose harm grows with the table.
_SIZE_RULES = {
    "require-concurrent-index-creation", "require-concurrent-index-deletion", "require-concurrent-reindex",
    "require-concurrent-partition-detach", "constraint-missing-not-valid", "adding-field-with-default",
    "adding-foreign-key-constraint", "changing-column-type", "adding-not-nullable-field", "adding-serial-primary-key-field",
    "disallowed-unique-constraint", "prefer-repack",
}  # fmt: skip
# Rules about what an older release does not bear. The class of the revision says that too.
_OLDER_RELEASE_RULES = {
    "adding-required-field", "ban-drop-column", "ban-drop-table", "ban-drop-not-null", "ban-drop-constraint", "ban-drop-type",
    "ban-drop-schema", "ban-drop-view", "ban-drop-function", "ban-drop-sequence", "ban-drop-domain", "renaming-column",
    "renaming-table", "renaming-object", "ban-set-schema", "ban-truncate-cascade", "ban-revoke",
}  # fmt: skip
# Matters of taste, and what these runs see to anyway: timeouts, one transaction, no second run of half a revision.
_TASTE_RULES = {
    "prefer-bigint-over-int", "prefer-bigint-over-smallint", "prefer-identity", "prefer-robust-stmts", "prefer-text-field",
    "prefer-timestamp-tz", "ban-char-field", "require-timeout-settings", "require-lock-timeout", "require-statement-timeout",
    "transaction-nesting", "ban-uncommitted-transaction", "unused-ignore", "require-table-schema",
}  # fmt: skip
_ADVICE = {
    "CREATE": "build it concurrently, in an autocommit_block() of a revision of its own",
    "ADD": "add the constraint NOT VALID, and validate it in a later revision",
    "NOT NULL": "add CHECK (... IS NOT NULL) NOT VALID, validate it, then SET NOT NULL",
    "rewrite": "add a new column, fill it in batches, switch to it, drop the old one later",
    "rows": "change the rows in batches, each committed",
}


@dataclass
class Live:
    """The database now. ``tables``: name (with schema, and without where it is visible) to rows, bytes and, where it was asked,
    uses ``per_second``; ``indexes``: name to its table; ``holders``: full table name to sessions ``{lock, seconds, text}``.

    Beside the tables: open ``transactions`` ``{seconds, snapshot, text}``, the oldest first; ``replicas`` ``{name, seconds, bytes}`` that
    are behind; ``slots`` ``{name, active, bytes, lost}``; bytes that are ``free`` where the data is, None when that is not known;
    whether our account ``sees_all`` of other sessions.
    """

    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    indexes: dict[str, str] = field(default_factory=dict)
    holders: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    transactions: list[dict[str, Any]] = field(default_factory=list)
    replicas: list[dict[str, Any]] = field(default_factory=list)
    slots: list[dict[str, Any]] = field(default_factory=list)
    free: Optional[int] = None
    sees_all: bool = True

    def only(self, names: Iterable[str]) -> Live:
        """What of it is about the tables and indexes of these names."""
        wanted = set(names)
        wanted |= {self.indexes[name].lower() for name in wanted if name in self.indexes}
        tables = {name: facts for name, facts in self.tables.items() if name in wanted}
        full = {facts["name"] for facts in tables.values()}
        return replace(
            self,
            tables=tables,
            indexes={name: table for name, table in self.indexes.items() if name in wanted},
            holders={table: held for table, held in self.holders.items() if table in full},
        )

    def may_be_hot(self, limits: Mapping[str, float]) -> list[str]:
        """Full names of tables that would count as large only when they are hot: worth asking."""
        limits = {**LIMITS, **limits}
        return sorted(
            {
                facts["name"]
                for facts in self.tables.values()
                if not _is_large(facts, limits) and _is_large({**facts, "per_second": limits["per_second"]}, limits)
            }
        )

    def table_of(self, hold: Hold) -> dict[str, Any]:
        """What is known of the held table; empty when there is none of that name."""
        name = self.indexes.get(hold.table.lower(), "") if hold.index else hold.table
        return self.tables.get(name.lower(), {})


def live_from(
    tables: Iterable[Sequence[Any]], indexes: Iterable[Sequence[Any]], holders: Iterable[Mapping[str, Any]]
) -> Live:
    """From rows (schema, name, visible, rows, bytes), (schema, index, visible, table), and holders with their ``table``."""
    live = Live()
    for schema, name, visible, rows, size in tables:
        full = f"{schema}.{name}"
        facts = {"name": full, "rows": int(rows), "bytes": int(size)}
        live.tables[full.lower()] = facts
        if visible:
            live.tables[name.lower()] = facts
    for schema, name, visible, table in indexes:
        live.indexes[f"{schema}.{name}".lower()] = table
        if visible:
            live.indexes[name.lower()] = table
    for holder in holders:
        live.holders.setdefault(holder["table"], []).append(dict(holder))
    return live


def size_text(table: Mapping[str, Any]) -> str:
    """``50 rows`` or ``50.0 M rows, 7.2 GiB``."""
    rows = table["rows"]
    counted = f"{rows / 1e6:.1f} M rows" if rows >= 1_000_000 else f"{rows} rows"
    return counted if table["bytes"] < 1 << 20 else f"{counted}, {bytes_text(table['bytes'])}"


def bytes_text(size: float) -> str:
    """``7.2 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def worst(results: Iterable[str]) -> str:
    return max(results, key=_ORDER.index, default="pass")


def judge(
    scripts: Iterable[Mapping[str, Any]],
    live: Live,
    *,
    violations: Mapping[str, Sequence[Mapping[str, Any]]],
    limits: Mapping[str, float],
) -> dict[str, Any]:
    """``{verdict, revisions: [{revision, verdict, findings, holds, needs}], surroundings}``. Scripts as of state preview, with
    their class. ``needs`` are the bytes of disk that a revision may take until it ends; ``surroundings`` are findings about
    the database as a whole, each with a ``name``.
    """
    limits, fresh, judged = {**LIMITS, **limits}, set[str](), []
    everything: list[Statement] = []
    for script in scripts:
        name = script["revision"]
        if script["renderable"]:
            statements = statements_of(script["sql"], new_tables=fresh)
            fresh |= {made for statement in statements if (made := _made(statement))}
            findings = _of_statements(statements, live, limits, fresh)
            findings += _of_squawk(statements, live, limits, violations.get(name, ()), script["class"], findings)
            holds = [_shown(hold, live) for statement in statements for hold in statement.holds]
            needs = sum(_needed(statement, live) for statement in statements)
            everything += statements
        else:
            needs = 0
            found = f"its SQL depends on rows: {script['reason']}"
            findings, holds = [_finding("warn", found, "rehearse it: that shows locks and time")], []
        judged.append(
            {
                "revision": name,
                "verdict": worst(entry["result"] for entry in findings),
                "findings": sorted(findings, key=lambda entry: -_ORDER.index(entry["result"])),
                "holds": [hold for index, hold in enumerate(holds) if hold and hold not in holds[:index]],
                "needs": needs,
            }
        )
    surroundings = _surroundings(everything, judged, live, limits) if judged else []
    return {
        "verdict": worst(entry["verdict" if "verdict" in entry else "result"] for entry in [*judged, *surroundings]),
        "revisions": judged,
        "surroundings": surroundings,
    }


# --- what is about the database as a whole ---------------------------------------------------------------------------


def _needed(statement: Statement, live: Live) -> int:
    """Bytes of disk until the statement's transaction has ended: what is written beside the old, and once more as WAL."""
    size = 0
    for hold in statement.holds:
        table = live.table_of(hold)
        if table and hold.work in ("rewrite", "rows"):
            size += 2 * table["bytes"]
        elif table and hold.work == "scan" and statement.text.upper().startswith(("CREATE", "REINDEX")):
            size += table["bytes"]  # an index is smaller than its table, mostly much smaller
    return size


def _surroundings(
    statements: Sequence[Statement], judged: Sequence[Mapping[str, Any]], live: Live, limits: Mapping[str, float]
) -> list[Finding]:
    needs = max(entry["needs"] for entry in judged)
    heavy = needs >= limits["bytes"]
    found = [
        *_of_disk(needs, live.free, heavy),
        *_of_transactions(statements, live, limits),
        *_of_replicas(live, limits, heavy),
        *_of_slots(live, limits),
    ]
    if not live.sees_all:
        text, advice = (
            "sessions and replicas of other accounts are hidden from this one",
            "grant it pg_monitor: playbooks/provision.yml",
        )
        found.append(_about("rights", "warn", text, advice))
    return sorted(found, key=lambda entry: -_ORDER.index(entry["result"]))


def _about(name: str, result: str, found: str, advice: str, statement: str = "") -> Finding:
    return {**_finding(result, found, advice, statement), "name": name}


def _of_disk(needs: int, free: Optional[int], heavy: bool) -> list[Finding]:
    if free is None:
        if not heavy:
            return []
        found = f"up to {bytes_text(needs)} may be written, and it is not known how much room the server has"
        return [_about("disk", "warn", found, "look there: df of its data directory (floyo_data_directory)")]
    if needs > free / 2:
        found = f"up to {bytes_text(needs)} may be written, and {bytes_text(free)} are free"
        advice = "give the server more room, or change the rows in batches"
        return [_about("disk", "fail" if needs > free else "warn", found, advice)]
    return []


def _of_transactions(statements: Sequence[Statement], live: Live, limits: Mapping[str, float]) -> list[Finding]:
    """An open transaction keeps back vacuum; its snapshot every concurrent build that begins after it."""
    waits = next((one.text for one in statements if " CONCURRENTLY " in one.text.upper()), "")
    for one in live.transactions:
        if waits and one["snapshot"] and one["seconds"] >= limits["blocker_seconds"]:
            found = f"a concurrent build waits for every query that began before it: {one['text']}"
            return [_about("transaction", "fail", found, "let it end, or end it, before the migration", waits)]
    return [
        _about(
            "transaction",
            "warn",
            f"a transaction is open for long: {one['text']}",
            "see what it does: playbooks/database_connections.yml",
        )
        for one in live.transactions[:1]
        if one["seconds"] >= limits["transaction_seconds"]
    ]


def _of_replicas(live: Live, limits: Mapping[str, float], heavy: bool) -> list[Finding]:
    return [
        _about(
            "replica",
            "fail" if heavy else "warn",
            f"replica {one['name']} is {one['seconds']:.0f} s and {bytes_text(one['bytes'])} behind",
            "let it catch up first: what is written now comes on top",
        )
        for one in live.replicas
        # One that has stopped reports no time any more: what it lacks tells.
        if one["seconds"] >= limits["replica_seconds"] or one["bytes"] >= limits["slot_bytes"]
    ]


def _of_slots(live: Live, limits: Mapping[str, float]) -> list[Finding]:
    found = []
    for one in live.slots:
        if one["lost"]:
            said, advice = (
                "has lost WAL that it needs",
                "drop it (pg_drop_replication_slot) and set its replica up anew",
            )
        elif not one["active"] and one["bytes"] >= limits["slot_bytes"]:
            said, advice = (
                f"keeps {bytes_text(one['bytes'])} of WAL, and nobody reads it",
                "start its reader, or drop it",
            )
        elif one["bytes"] >= limits["slot_bytes"]:
            said, advice = f"is {bytes_text(one['bytes'])} behind", "let its reader catch up first"
        else:
            continue
        found.append(_about("slot", "warn", f"replication slot {one['name']} {said}", advice))
    return found


# --- what is about one revision --------------------------------------------------------------------------------------


def _made(statement: Statement) -> str:
    words = statement.text.split()
    if [word.upper() for word in words[:1]] != ["CREATE"] or "TABLE" not in (word.upper() for word in words[:3]):
        return ""
    rest = words[[word.upper() for word in words].index("TABLE") + 1 :]
    while rest and rest[0].upper() in ("IF", "NOT", "EXISTS"):
        rest = rest[1:]
    return rest[0].split("(")[0].replace('"', "").lower() if rest else ""


def _finding(result: str, found: str, advice: str = "", statement: str = "", rule: str = "") -> Finding:
    shown = statement if len(statement) <= 120 else statement[:117] + "..."
    return {"result": result, "found": found, "next": advice, "statement": shown, "rule": rule}


def _is_large(table: Mapping[str, Any], limits: Mapping[str, float]) -> bool:
    part = _HOT if table and table.get("per_second", 0.0) >= limits["per_second"] else 1
    return bool(table) and (table["rows"] * part >= limits["rows"] or table["bytes"] * part >= limits["bytes"])


def _shown(hold: Hold, live: Live) -> dict[str, Any]:
    table = live.table_of(hold)
    if not table:
        return {}
    return {
        "table": table["name"],
        "lock": hold.lock,
        "work": hold.work,
        "rows": table["rows"],
        "bytes": table["bytes"],
    }


def _of_statements(
    statements: Sequence[Statement], live: Live, limits: Mapping[str, float], fresh: set[str]
) -> list[Finding]:
    findings = []
    for statement in statements:
        for hold in statement.holds:
            if hold.lock == "unknown":
                findings.append(_finding("warn", "not known which tables it locks", "rehearse it", statement.text))
                continue
            table = live.table_of(hold)
            if not table:
                continue  # made by the chain itself, or not there: then the revision fails, and says so
            findings += _of_hold(statement, hold, table, limits)
            findings += _of_holders(statement, hold, table, live, limits)
    return findings


def _of_hold(statement: Statement, hold: Hold, table: Mapping[str, Any], limits: Mapping[str, float]) -> list[Finding]:
    used = table.get("per_second", 0.0)
    often = f", used {used:.0f} times a second" if used >= limits["per_second"] else ""
    where = f"{table['name']} ({size_text(table)}{often})"
    stops, large = blocks(hold.lock), _is_large(table, limits)
    if hold.work == "unknown":
        result = "fail" if large and stops else "warn"
        return [_finding(result, f"not known how long it holds {where}", "rehearse it", statement.text)]
    if hold.work == "moment" or (not stops and hold.work != "rows"):
        return []
    doing = {"scan": "is read as a whole", "rewrite": "is written anew", "rows": "has rows changed"}[hold.work]
    if not large:
        # Changed rows stop nobody; what stops somebody is told although it is short.
        small = {"small": True} if stops else {}
        return [{**_finding("pass", f"{where} {doing}: small", "", statement.text), **small}]
    if hold.work == "rows":
        return [
            _finding("warn", f"{where} {doing}, in one transaction if all of them", _ADVICE["rows"], statement.text)
        ]
    return [_finding("fail", f"nobody can {stops} {where} while it {doing}", _advice(statement, hold), statement.text)]


def _advice(statement: Statement, hold: Hold) -> str:
    upper = statement.text.upper()
    if hold.work == "rewrite":
        return _ADVICE["rewrite"]
    if "SET NOT NULL" in upper:
        return _ADVICE["NOT NULL"]
    return _ADVICE["CREATE" if upper.startswith(("CREATE", "REINDEX")) else "ADD"]


def _of_holders(
    statement: Statement, hold: Hold, table: Mapping[str, Any], live: Live, limits: Mapping[str, float]
) -> list[Finding]:
    """Sessions that have the table now, for so long already that the statement would wait for them in vain."""
    return [
        _finding(
            "fail",
            f"{table['name']} is held now by {holder['text']}",
            "let it end, or end it, before the migration: everybody else would queue behind",
            statement.text,
        )
        for holder in live.holders.get(table["name"], ())
        if holder["seconds"] >= limits["blocker_seconds"] and conflicts(hold.lock, holder["lock"])
    ]


def _of_squawk(
    statements: Sequence[Statement],
    live: Live,
    limits: Mapping[str, float],
    violations: Sequence[Mapping[str, Any]],
    kind: str,
    already: Sequence[Finding],
) -> list[Finding]:
    findings = []
    for violation in violations:
        rule, said = violation["rule"], f"squawk {violation['rule']}: {violation['message']}"
        statement = next((one for one in statements if one.first_line <= violation["line"] <= one.last_line), None)
        text = statement.text if statement else ""
        if rule in _TASTE_RULES:
            continue
        if rule in _OLDER_RELEASE_RULES:
            if kind == "expand":
                advice = "look whether a running release needs what changes; floyo_class in the file decides"
                findings.append(_finding("warn", f"{said} The revision counts as expand", advice, text, rule))
            continue
        if rule in _SIZE_RULES and statement:
            tables = [table for hold in statement.holds if (table := live.table_of(hold))]
            if not any(_is_large(table, limits) for table in tables):
                sizes = ", ".join(f"{table['name']} has {size_text(table)}" for table in tables) or "a new table"
                findings.append(_finding("pass", f"{said} Here: {sizes}", "", text, rule))
                continue
            if any(entry["result"] == "fail" and text.startswith(entry["statement"][:100]) for entry in already):
                continue  # said, with the size
        findings.append(_finding("warn", said, violation.get("help") or "", text, rule))
    return findings
