"""One verdict on pending migrations: their SQL, how large the tables are now, who has them now, what squawk says (pure).

A lock on a table of 50 rows is over before anybody notices; on one of 50 million it is an outage. A linter that sees the
SQL alone must warn of both; here the live sizes decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .locks import Hold, Statement, blocks, conflicts, statements_of

__all__ = ["LIMITS", "Live", "judge", "live_from", "size_text", "worst"]

LIMITS = {"rows": 1_000_000, "bytes": 1 << 30, "blocker_seconds": 3.0}
"""From when on a table is large; how long a session may have had a table before it stands in the way."""

_ORDER = ("pass", "warn", "fail")
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
    """The database now. ``tables``: name (with schema, and without where it is visible) to rows and bytes; ``indexes``:
    name to its table; ``holders``: full table name to sessions ``{lock, seconds, text}``."""

    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    indexes: dict[str, str] = field(default_factory=dict)
    holders: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def only(self, names: Iterable[str]) -> Live:
        """What of it is about the tables and indexes of these names."""
        wanted = set(names)
        wanted |= {self.indexes[name].lower() for name in wanted if name in self.indexes}
        tables = {name: facts for name, facts in self.tables.items() if name in wanted}
        full = {facts["name"] for facts in tables.values()}
        return Live(
            tables,
            {name: table for name, table in self.indexes.items() if name in wanted},
            {table: held for table, held in self.holders.items() if table in full},
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
    rows, size = table["rows"], float(table["bytes"])
    counted = f"{rows / 1e6:.1f} M rows" if rows >= 1_000_000 else f"{rows} rows"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return counted if table["bytes"] < 1 << 20 else f"{counted}, {size:.1f} {unit}"


def worst(results: Iterable[str]) -> str:
    return max(results, key=_ORDER.index, default="pass")


def judge(
    scripts: Iterable[Mapping[str, Any]],
    live: Live,
    *,
    violations: Mapping[str, Sequence[Mapping[str, Any]]],
    limits: Mapping[str, float],
) -> dict[str, Any]:
    """``{verdict, revisions: [{revision, verdict, findings, holds}]}``. Scripts as of state preview, with their class."""
    limits, fresh, judged = {**LIMITS, **limits}, set[str](), []
    for script in scripts:
        name = script["revision"]
        if script["renderable"]:
            statements = statements_of(script["sql"], new_tables=fresh)
            fresh |= {made for statement in statements if (made := _made(statement))}
            findings = _of_statements(statements, live, limits, fresh)
            findings += _of_squawk(statements, live, limits, violations.get(name, ()), script["class"], findings)
            holds = [_shown(hold, live) for statement in statements for hold in statement.holds]
        else:
            found = f"its SQL depends on rows: {script['reason']}"
            findings, holds = [_finding("warn", found, "rehearse it: that shows locks and time")], []
        judged.append(
            {
                "revision": name,
                "verdict": worst(entry["result"] for entry in findings),
                "findings": sorted(findings, key=lambda entry: -_ORDER.index(entry["result"])),
                "holds": [hold for index, hold in enumerate(holds) if hold and hold not in holds[:index]],
            }
        )
    return {"verdict": worst(entry["verdict"] for entry in judged), "revisions": judged}


def _made(statement: Statement) -> str:
    words = statement.text.split()
    if [word.upper() for word in words[:1]] != ["CREATE"] or "TABLE" not in (word.upper() for word in words[:3]):
        return ""
    rest = words[[word.upper() for word in words].index("TABLE") + 1 :]
    while rest and rest[0].upper() in ("IF", "NOT", "EXISTS"):
        rest = rest[1:]
    return rest[0].split("(")[0].replace('"', "").lower() if rest else ""


def _finding(result: str, found: str, advice: str = "", statement: str = "", rule: str = "") -> dict[str, str]:
    shown = statement if len(statement) <= 120 else statement[:117] + "..."
    return {"result": result, "found": found, "next": advice, "statement": shown, "rule": rule}


def _is_large(table: Mapping[str, Any], limits: Mapping[str, float]) -> bool:
    return bool(table) and (table["rows"] >= limits["rows"] or table["bytes"] >= limits["bytes"])


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
) -> list[dict[str, str]]:
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


def _of_hold(
    statement: Statement, hold: Hold, table: Mapping[str, Any], limits: Mapping[str, float]
) -> list[dict[str, str]]:
    where = f"{table['name']} ({size_text(table)})"
    stops, large = blocks(hold.lock), _is_large(table, limits)
    if hold.work == "unknown":
        result = "fail" if large and stops else "warn"
        return [_finding(result, f"not known how long it holds {where}", "rehearse it", statement.text)]
    if hold.work == "moment" or (not stops and hold.work != "rows"):
        return []
    doing = {"scan": "is read as a whole", "rewrite": "is written anew", "rows": "has rows changed"}[hold.work]
    if not large:
        return [_finding("pass", f"{where} {doing}: small", "", statement.text)]
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
) -> list[dict[str, str]]:
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
    already: Sequence[Mapping[str, str]],
) -> list[dict[str, str]]:
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
