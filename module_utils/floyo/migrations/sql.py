"""What a piece of PostgreSQL SQL does to a schema that is in use, judged by its keywords (pure).

Conservative: what no rule knows is ``unknown``. This is no parser; it only has to be sure when it says ``expand``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

__all__ = ["Effect", "constant_default", "sql_effects", "sql_statements"]


@dataclass(frozen=True)
class Effect:
    """One thing a migration does: its class, what it is in words, and what is lost for good when it happens."""

    kind: str  # expand, contract, data or unknown
    what: str
    loses: str = ""
    makes: str = ""  # "table t" or "column t.c": what the way back has to drop
    needs_no_rows: bool = False  # fails as soon as the table holds something
    understood: bool = False  # unknown is only what an older release makes of it


_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* | /\*.*?\*/ )
    | (?P<string>  (?<![\w$])[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' )
    | (?P<dollar>  (?<![\w$])\$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$ )
    | (?P<quoted>  "(?:[^"]|"")*" )
    | (?P<end>     ; )
    | (?P<other>   [^;'"$/\-eE]+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)


def sql_statements(text: str) -> list[str]:
    """The statements of ``text`` without comments, blanks squeezed, the content of literals replaced by nothing."""
    statements, current = [], ""
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup if match.lastgroup != "tag" else "dollar"
        if kind == "comment":
            current += " "
        elif kind == "end":
            statements.append(current)
            current = ""
        elif kind in ("string", "dollar"):
            current += "''"
        else:
            current += match.group()
    statements.append(current)
    return [squeezed for statement in statements if (squeezed := re.sub(r"\s+", " ", statement).strip())]


_NAME = r'(?:"(?:[^"]|"")+"|[\w$]+)(?:\s*\.\s*(?:"(?:[^"]|"")+"|[\w$]+))*'
_CONSTANT = re.compile(
    r"""
    \(*\s*
    (?: [-+]?\d+(?:\.\d+)? | '' | TRUE | FALSE | NULL | NOW\s*\(\s*\) | CURRENT_(?:TIMESTAMP|DATE|TIME)(?:\(\d\))?
        | LOCALTIMESTAMP | CURRENT_USER | ARRAY\s*\[\s*\] | \{\} | \[\] )
    \s*\)*
    (?: \s*::\s*[\w\s"]+(?:\(\d+(?:,\s*\d+)?\))?(?:\[\])? )?
    """,
    re.VERBOSE | re.IGNORECASE,
)


def constant_default(expression: str) -> bool:
    """Whether a default is surely one value for all present rows: then PostgreSQL does not rewrite the table."""
    squeezed = sql_statements(expression)
    return len(squeezed) == 1 and bool(_CONSTANT.fullmatch(squeezed[0].strip()))


def _plain(name: str) -> str:
    return re.sub(r"\s*\.\s*", ".", name).replace('"', "")


def sql_effects(text: str, *, new_tables: Iterable[str] = ()) -> list[Effect]:
    """What the statements of ``text`` do. Nobody uses tables in ``new_tables``, or made on the way, yet."""
    fresh = {_plain(name).lower() for name in new_tables}
    effects: list[Effect] = []
    for statement in sql_statements(text):
        made = re.match(
            # IF NOT EXISTS may find an old one
            rf"CREATE\s+(?:UNLOGGED\s+|TEMP(?:ORARY)?\s+)?TABLE\s+(?!IF\s+NOT\s+EXISTS\b)({_NAME})",
            statement,
            re.IGNORECASE,
        )
        effects.extend(_statement(statement, fresh))
        if made:
            fresh.add(_plain(made.group(1)).lower())
    return effects


def _fresh(name: str, fresh: set[str]) -> bool:
    return _plain(name).lower() in fresh


_OBJECT = r"(?:MATERIALIZED\s+VIEW|FOREIGN\s+TABLE|[A-Z]+)"
_KEEPS_ROWS = {
    "INDEX",
    "VIEW",
    "FUNCTION",
    "PROCEDURE",
    "TRIGGER",
    "POLICY",
    "RULE",
    "STATISTICS",
    "EXTENSION",
    "TYPE",
    "DOMAIN",
    "OWNED",
}


def _statement(statement: str, fresh: set[str]) -> list[Effect]:
    upper = statement.upper()
    short = statement if len(statement) <= 80 else statement[:77] + "..."
    for pattern, judge in _RULES:
        match = re.match(pattern, statement, re.IGNORECASE)
        if match:
            return judge(match, upper, fresh, short)
    return [Effect("unknown", f"SQL: {short}")]


_Judge = Callable[["re.Match[str]", str, "set[str]", str], "list[Effect]"]


def _create_table(match: re.Match[str], upper: str, fresh: set[str], short: str) -> list[Effect]:
    if re.search(r"\bPARTITION OF\b|\bINHERITS\b", upper):
        return [Effect("unknown", f"create a part of another table: {short}")]
    name = _plain(match.group(1))
    return [Effect("expand", f"create table {name}", makes="" if " TEMP" in upper[:20] else f"table {name}")]


def _create_index(match: re.Match[str], upper: str, fresh: set[str], short: str) -> list[Effect]:
    table = match.group("table")
    if match.group("unique") and not _fresh(table, fresh):
        return [Effect("contract", f"demand unique values in {_plain(table)}")]
    return [Effect("expand", f"create an index on {_plain(table)}")]


def _create(match: re.Match[str], upper: str, fresh: set[str], short: str) -> list[Effect]:
    return [Effect("expand", short)]


def _changes_rows(match: re.Match[str], upper: str, fresh: set[str], short: str) -> list[Effect]:
    verb, table = match.group("verb").upper().split()[0], match.group("table")
    if verb == "INSERT" and _fresh(table, fresh) and not re.search(r"\bRETURNING\b|\bON CONFLICT\b", upper):
        return [Effect("expand", f"fill the new table {_plain(table)}")]
    return [
        Effect(
            "data", f"{verb.lower()} rows of {_plain(table)}", f"rows of {_plain(table)}" if verb == "DELETE" else ""
        )
    ]


def _with(match: re.Match[str], upper: str, fresh: set[str], short: str) -> list[Effect]:
    changes = re.search(r"\b(INSERT|UPDATE|DELETE|MERGE)\b", upper)
    return [Effect("data" if changes else "unknown", f"SQL: {short}")]


def _drop(match: re.Match[str], upper: str, fresh: set[str], short: str) -> list[Effect]:
    kind = " ".join(match.group("object").upper().split())
    keeps = kind in _KEEPS_ROWS and "CASCADE" not in upper
    if kind == "TABLE":
        names = re.sub(r"(?i)^(IF\s+EXISTS\s+)|\s+(CASCADE|RESTRICT)$", "", match.group("names").strip())
        return [Effect("contract", short, f"table {_plain(name.strip())}") for name in _top_level(names)]
    return [Effect("contract", short, "" if keeps or kind == "MATERIALIZED VIEW" else short[5:].strip())]


def _truncate(match: re.Match[str], upper: str, fresh: set[str], short: str) -> list[Effect]:
    return [Effect("contract", short, f"rows of {_plain(match.group(1))}")]


def _harmless(match: re.Match[str], upper: str, fresh: set[str], short: str) -> list[Effect]:
    return []


def _contract(match: re.Match[str], upper: str, fresh: set[str], short: str) -> list[Effect]:
    return [Effect("contract", short)]


def _enum_value(match: re.Match[str], upper: str, fresh: set[str], short: str) -> list[Effect]:
    return [
        Effect(
            "unknown",
            f"add a value to type {_plain(match.group(1))}: an older release may not know how to read it",
            understood=True,
        )
    ]


def _alter_table(match: re.Match[str], upper: str, fresh: set[str], short: str) -> list[Effect]:
    table = match.group(1)
    if _fresh(table, fresh):
        return [Effect("expand", f"shape the new table {_plain(table)}")]
    return [_action(action.strip(), _plain(table)) for action in _top_level(match.group("actions"))]


def _top_level(text: str) -> list[str]:
    """``text`` split at commas outside brackets and quoted names."""
    parts, depth, current, quoted = [], 0, "", False
    for character in text:
        if character == '"':
            quoted = not quoted
        if not quoted:
            depth += (character in "([") - (character in ")]")
            if character == "," and depth == 0:
                parts.append(current)
                current = ""
                continue
        current += character
    return [*parts, current]


def _action(action: str, table: str) -> Effect:
    upper = action.upper()
    kind = next((kind for pattern, kind in _ACTIONS if re.match(pattern, upper)), "unknown")
    if kind == "add":
        return _added_column(action, table)
    if kind == "drop_column":
        name = _plain(re.split(r"\s+", re.sub(r"(?i)^DROP\s+(COLUMN\s+)?(IF\s+EXISTS\s+)?", "", action))[0])
        return Effect("contract", f"drop column {table}.{name}", f"column {table}.{name}")
    if kind == "null":
        what = f"alter table {table}: {action[:60]}: an older release may not expect it"
        return Effect("unknown", what, understood=True)
    loses = f"what the change of type cuts off in {table}" if kind == "type" else ""
    return Effect("contract" if kind == "type" else kind, f"alter table {table}: {action[:60]}", loses)


_ACTIONS = [
    (r"ADD\s+(CONSTRAINT|UNIQUE|PRIMARY\s+KEY|FOREIGN\s+KEY|CHECK|EXCLUDE)\b", "contract"),
    (r"ADD\s+", "add"),
    (r"VALIDATE\s+CONSTRAINT\b", "expand"),
    (r"ALTER\s+CONSTRAINT\b", "unknown"),
    (r"ALTER\s+(COLUMN\s+)?\S+\s+SET\s+DEFAULT\b", "expand"),
    (r"ALTER\s+(COLUMN\s+)?\S+\s+SET\s+(STATISTICS|STORAGE|COMPRESSION)\b", "expand"),
    (r"ALTER\s+(COLUMN\s+)?\S+\s+(SET\s+DATA\s+)?TYPE\b", "type"),
    (r"ALTER\s+(COLUMN\s+)?\S+\s+(SET\s+NOT\s+NULL|DROP\s+DEFAULT|DROP\s+IDENTITY|DROP\s+EXPRESSION)\b", "contract"),
    (r"ALTER\s+(COLUMN\s+)?\S+\s+DROP\s+NOT\s+NULL\b", "null"),
    (r"DROP\s+CONSTRAINT\b", "contract"),
    (r"DROP\s+", "drop_column"),
    (r"RENAME\b|SET\s+SCHEMA\b|(ENABLE|FORCE)\s+ROW\s+LEVEL\s+SECURITY\b", "contract"),
    (r"SET\s+\(|RESET\s+\(", "expand"),
]


def _added_column(action: str, table: str) -> Effect:
    match = re.match(rf"(?i)ADD\s+(?:COLUMN\s+)?(?:IF\s+NOT\s+EXISTS\s+)?({_NAME})\s+(.*)", action)
    if not match:
        return Effect("unknown", f"alter table {table}: {action[:60]}")
    name, rest = _plain(match.group(1)), match.group(2).upper()
    what, makes = f"add column {table}.{name}", f"column {table}.{name}"
    default = re.search(
        r"\bDEFAULT\s+(.*?)(?=\s+(?:NOT\s+NULL|NULL|UNIQUE|PRIMARY|CHECK|REFERENCES|CONSTRAINT|COLLATE)\b|$)", rest
    )
    if re.search(r"\bUNIQUE\b|\bPRIMARY\s+KEY\b", rest):
        return Effect("contract", f"{what}, unique")
    if re.search(r"\bNOT\s+NULL\b", rest) and (not default or default.group(1).strip("() ") == "NULL"):
        return Effect("contract", f"{what}, NOT NULL without a default", makes=makes, needs_no_rows=True)
    if re.search(r"\bGENERATED\b|\b(SMALL|BIG)?SERIAL\d?\b|\bCHECK\b", rest):
        return Effect("unknown", f"{what}: rewrites or checks the whole table")
    if default and not constant_default(default.group(1)):
        return Effect("unknown", f"{what}: its default may differ from row to row, which rewrites the table")
    return Effect("expand", what, makes=makes)


_RULES: list[tuple[str, _Judge]] = [
    (rf"CREATE\s+(?:UNLOGGED\s+|TEMP(?:ORARY)?\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?({_NAME})", _create_table),
    (
        r"CREATE\s+(?P<unique>UNIQUE\s+)?INDEX\s+(?:CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?"
        rf"(?:(?!ON\b){_NAME}\s+)?ON\s+(?:ONLY\s+)?(?P<table>{_NAME})",
        _create_index,
    ),
    (
        r"CREATE\s+(SEQUENCE|TYPE|DOMAIN|SCHEMA|EXTENSION|VIEW|MATERIALIZED\s+VIEW|FUNCTION|PROCEDURE|STATISTICS)\b",
        _create,
    ),
    (rf"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?({_NAME})\s*\*?\s+(?P<actions>.*)", _alter_table),
    (rf"ALTER\s+TYPE\s+({_NAME})\s+ADD\s+VALUE\b", _enum_value),
    (
        r"ALTER\s+(TYPE|SEQUENCE|VIEW|INDEX|SCHEMA|DOMAIN|FUNCTION|MATERIALIZED)\s.*\b(RENAME|DROP|SET\s+SCHEMA)\b",
        _contract,
    ),
    (
        rf"(?P<verb>INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO|COPY)\s+(?:ONLY\s+)?(?P<table>{_NAME})",
        _changes_rows,
    ),
    (r"WITH\b", _with),
    (rf"DROP\s+(?P<object>{_OBJECT})\b(?P<names>.*)", _drop),
    (rf"TRUNCATE\s+(?:TABLE\s+)?(?:ONLY\s+)?({_NAME})", _truncate),
    (r"REVOKE\b", _contract),
    (r"COMMENT\s+ON\b|GRANT\b", _create),
    (r"ANALYZE\b|SET\s+(LOCAL\s+|SESSION\s+)?(LOCK_TIMEOUT|STATEMENT_TIMEOUT)\b", _harmless),
]
