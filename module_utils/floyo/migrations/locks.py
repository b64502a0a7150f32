"""Which lock a statement takes on which table, and what it does while it has it (pure).

By keywords, as PostgreSQL's documentation of each command says. What a rehearsal has measured is better; this is known
before one, and without the rows. A statement that no rule knows has a hold of ``unknown`` work.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["LOCKS", "Hold", "Statement", "blocks", "conflicts", "statements_of"]

# From weak to strong, as pg_locks calls them without "Lock".
LOCKS = (
    "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)  # fmt: skip
_CONFLICTS = {
    "ACCESS SHARE": LOCKS[7:],
    "ROW SHARE": LOCKS[6:],
    "ROW EXCLUSIVE": LOCKS[4:],
    "SHARE UPDATE EXCLUSIVE": LOCKS[3:],
    "SHARE": ("ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", *LOCKS[5:]),
    "SHARE ROW EXCLUSIVE": LOCKS[2:],
    "EXCLUSIVE": LOCKS[1:],
    "ACCESS EXCLUSIVE": LOCKS,
}


@dataclass(frozen=True)
class Hold:
    """One table (or ``index``, whose table it is about) under a lock.

    ``work``: ``moment``, ``scan`` (reads all of it), ``rewrite`` (writes it anew), ``rows`` (those it finds), ``unknown``.
    """

    table: str
    lock: str
    work: str = "moment"
    index: bool = False


@dataclass(frozen=True)
class Statement:
    """Its text with literals emptied, the lines of the script it stands on (the first is 0), and what it holds."""

    text: str
    first_line: int
    last_line: int
    holds: tuple[Hold, ...]


def conflicts(one: str, other: str) -> bool:
    return other in _CONFLICTS.get(one, ())


def blocks(lock: str) -> str:
    """What an application cannot do meanwhile: ``read or write``, ``write`` or nothing."""
    if lock == "ACCESS EXCLUSIVE":
        return "read or write"
    return "write" if conflicts(lock, "ROW EXCLUSIVE") else ""


def statements_of(script: str, *, new_tables: Iterable[str] = ()) -> list[Statement]:
    """The statements of a script. Tables in ``new_tables``, or made on the way, are nobody's yet."""
    fresh = {name.lower() for name in new_tables}
    found = []
    for text, first, last in _split(script):
        if made := re.match(rf"CREATE\s+(?:UNLOGGED\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?({_NAME})", text, re.I):
            fresh.add(_plain(made.group(1)).lower())
        holds = [hold for hold in _holds(text) if hold.table.lower() not in fresh]
        found.append(Statement(text, first, last, tuple(dict.fromkeys(holds))))
    return found


# --- cutting ---------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"(?P<comment>--[^\n]*|/\*.*?\*/)|(?P<string>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*')"
    r"|(?P<dollar>\$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$)|(?P<quoted>\"(?:[^\"]|\"\")*\")|(?P<end>;)"
    r"|(?P<other>[^;'\"$/\-eE]+|.)",
    re.DOTALL,
)


def _split(script: str) -> list[tuple[str, int, int]]:
    pieces, text, line, first = [], "", 0, -1
    for match in _TOKEN.finditer(script + ";"):
        token, kind = match.group(), match.lastgroup if match.lastgroup != "tag" else "dollar"
        if kind == "end":
            squeezed = re.sub(r"\s+", " ", text).strip()
            if squeezed:
                pieces.append((squeezed, first, line))
            text, first = "", -1
        else:
            shown = " " if kind == "comment" else "''" if kind in ("string", "dollar") else token
            if first < 0 and shown.strip():
                first = line + token[: len(token) - len(token.lstrip())].count("\n")
            text += shown
        line += token.count("\n")
    return pieces


# --- judging ---------------------------------------------------------------------------------------------------------

_PART = r'(?:"(?:[^"]|"")+"|[\w$]+)'
_NAME = rf"{_PART}(?:\s*\.\s*{_PART})?"
_IF = r"(?:IF\s+(?:NOT\s+)?EXISTS\s+)?"
_ONLY = r"(?:ONLY\s+)?"
# Statements that wait for nobody's table. What a SELECT calls may do anything.
_HARMLESS = (
    r"BEGIN\b|START\s+TRANSACTION\b|COMMIT\b|END\b|ROLLBACK\b|SAVEPOINT\b|RELEASE\b|SET\b|RESET\b|SHOW\b|GRANT\b"
    r"|SELECT\s+(?:pg_catalog\.)?(?:set_config|setval|nextval)\s*\("
    r"|REVOKE\b|ANALYZE\b|NOTIFY\b|CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP(?:ORARY)?\s+)?(?:UNIQUE\s+)?(?:SEQUENCE|TYPE|DOMAIN"
    r"|SCHEMA|EXTENSION|VIEW|FUNCTION|PROCEDURE|MATERIALIZED\s+VIEW|AGGREGATE|CAST|OPERATOR|COLLATION|ROLE)\b"
    r"|DROP\s+(?:SEQUENCE|TYPE|DOMAIN|SCHEMA|EXTENSION|FUNCTION|PROCEDURE|AGGREGATE|ROLE)\b"
    r"|ALTER\s+(?:TYPE|SEQUENCE|SCHEMA|DOMAIN|FUNCTION|EXTENSION|DEFAULT\s+PRIVILEGES|ROLE|DATABASE)\b"
)


def _plain(name: str) -> str:
    return re.sub(r"\s*\.\s*", ".", name).replace('"', "")


def _holds(text: str) -> list[Hold]:
    if re.match(_HARMLESS, text, re.I):
        return []
    for pattern, lock, work in _RULES:
        match = re.match(pattern, text, re.I)
        if match:
            names = match.groupdict()
            if names.get("concurrently"):
                lock = "SHARE UPDATE EXCLUSIVE"
            listed = re.split(r"\s*,\s*", names.get("list") or "") if names.get("list") else [names["table"]]
            index = "index" in names
            return [
                Hold(_plain(name), lock, work, index=index) for name in listed if re.fullmatch(_NAME, name.strip())
            ] + _referenced(text)
    if created := re.match(rf"CREATE\s+(?:\w+\s+)?TABLE\s+{_IF}({_NAME})", text, re.I):
        parent = re.search(rf"\bPARTITION\s+OF\s+({_NAME})", text, re.I)
        more = [Hold(_plain(parent.group(1)), "ACCESS EXCLUSIVE")] if parent else []
        return [Hold(_plain(created.group(1)), "ACCESS EXCLUSIVE"), *more, *_referenced(text)]
    if altered := re.match(rf"ALTER\s+(?:FOREIGN\s+)?TABLE\s+{_IF}{_ONLY}({_NAME})\s*\*?\s+(.*)", text, re.I):
        table = _plain(altered.group(1))
        found: list[Hold] = []
        for action in _actions(altered.group(2)):
            found += _action(table, action.strip())
        return found
    return [Hold("", "unknown", "unknown")]


def _referenced(text: str) -> list[Hold]:
    """A foreign key puts triggers on the other table."""
    names = re.findall(rf"\bREFERENCES\s+({_NAME})", text, re.I)
    return [Hold(_plain(name), "SHARE ROW EXCLUSIVE") for name in names]


# What each begins with; the lock; how long it is held.
_RULES = [
    (rf"CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?P<concurrently>CONCURRENTLY\s+)?{_IF}(?:(?!ON\b){_PART}\s+)?ON\s+{_ONLY}(?P<table>{_NAME})",
     "SHARE", "scan"),
    (rf"DROP\s+INDEX\s+(?P<concurrently>CONCURRENTLY\s+)?{_IF}(?P<table>(?P<index>{_NAME}))", "ACCESS EXCLUSIVE", "moment"),
    (rf"REINDEX\s+(?:\([^)]*\)\s*)?INDEX\s+(?P<concurrently>CONCURRENTLY\s+)?(?P<table>(?P<index>{_NAME}))", "ACCESS EXCLUSIVE",
     "scan"),
    (rf"REINDEX\s+(?:\([^)]*\)\s*)?TABLE\s+(?P<concurrently>CONCURRENTLY\s+)?(?P<table>{_NAME})", "ACCESS EXCLUSIVE", "scan"),
    (rf"ALTER\s+INDEX\s+{_IF}(?P<table>(?P<index>{_NAME}))", "SHARE UPDATE EXCLUSIVE", "moment"),
    (rf"ALTER\s+(?:MATERIALIZED\s+)?VIEW\s+{_IF}(?P<table>{_NAME})", "ACCESS EXCLUSIVE", "moment"),
    (rf"DROP\s+(?:FOREIGN\s+)?(?:TABLE|VIEW|MATERIALIZED\s+VIEW)\s+{_IF}(?P<list>{_NAME}(?:\s*,\s*{_NAME})*)", "ACCESS EXCLUSIVE",
     "moment"),
    (rf"TRUNCATE\s+(?:TABLE\s+)?{_ONLY}(?P<list>{_NAME}(?:\s*,\s*{_NAME})*)", "ACCESS EXCLUSIVE", "moment"),
    (rf"(?:INSERT\s+INTO|COPY)\s+(?P<table>{_NAME})", "ROW EXCLUSIVE", "moment"),
    (rf"(?:UPDATE|DELETE\s+FROM|MERGE\s+INTO)\s+{_ONLY}(?P<table>{_NAME})", "ROW EXCLUSIVE", "rows"),
    (rf"LOCK\s+(?:TABLE\s+)?{_ONLY}(?P<list>{_NAME}(?:\s*,\s*{_NAME})*)", "ACCESS EXCLUSIVE", "unknown"),
    (rf"CREATE\s+(?:OR\s+REPLACE\s+)?(?:CONSTRAINT\s+)?TRIGGER\s+{_PART}\s.*?\bON\s+(?P<table>{_NAME})", "SHARE ROW EXCLUSIVE",
     "moment"),
    (rf"(?:CREATE|ALTER|DROP)\s+(?:OR\s+REPLACE\s+)?(?:TRIGGER|POLICY|RULE)\s+{_IF}{_PART}\s.*?\bON\s+(?P<table>{_NAME})",
     "ACCESS EXCLUSIVE", "moment"),
    (rf"CREATE\s+STATISTICS\s.*?\bFROM\s+(?P<table>{_NAME})", "SHARE UPDATE EXCLUSIVE", "moment"),
    (rf"COMMENT\s+ON\s+(?:TABLE\s+|COLUMN\s+)(?P<table>{_NAME})", "SHARE UPDATE EXCLUSIVE", "moment"),
    (rf"REFRESH\s+MATERIALIZED\s+VIEW\s+(?P<table>(?!CONCURRENTLY){_NAME})", "ACCESS EXCLUSIVE", "rewrite"),
    (rf"REFRESH\s+MATERIALIZED\s+VIEW\s+CONCURRENTLY\s+(?P<table>{_NAME})", "EXCLUSIVE", "rewrite"),
    (rf"CLUSTER\s+(?P<table>{_NAME})", "ACCESS EXCLUSIVE", "rewrite"),
    (rf"VACUUM\s+(?:\([^)]*\bFULL\b[^)]*\)|FULL(?:\s+ANALYZE)?)\s+(?P<table>{_NAME})", "ACCESS EXCLUSIVE", "rewrite"),
    (rf"VACUUM\s+(?:\([^)]*\)\s*|ANALYZE\s+)?(?P<table>{_NAME})", "SHARE UPDATE EXCLUSIVE", "scan"),
]  # fmt: skip


def _actions(text: str) -> list[str]:
    """The actions of an ALTER TABLE: cut at commas outside brackets and quoted names."""
    parts, depth, current, quoted = [], 0, "", False
    for character in text:
        quoted ^= character == '"'
        if not quoted:
            depth += (character in "([") - (character in ")]")
            if character == "," and depth == 0:
                parts.append(current)
                current = ""
                continue
        current += character
    return [*parts, current]


_COLUMN = rf"ALTER\s+(?:COLUMN\s+)?{_PART}\s+"
_SAME_FOR_ALL = re.compile(
    r"\(*\s*(?:[-+]?\d+(?:\.\d+)?|''|TRUE|FALSE|NULL|NOW\s*\(\s*\)|CURRENT_\w+(?:\(\d\))?|LOCALTIMESTAMP|ARRAY\s*\[\s*\])\s*\)*"
    r"(?:\s*::\s*[\w\s\"]+(?:\(\d+(?:,\s*\d+)?\))?(?:\[\])?)?\s*",
    re.I,
)
_AFTER_DEFAULT = r"(?=\s+(?:NOT\s+NULL|NULL|UNIQUE|PRIMARY|CHECK|REFERENCES|CONSTRAINT|COLLATE|GENERATED)\b|$)"


def _action(table: str, action: str) -> list[Hold]:
    def found(lock: str, work: str = "moment") -> list[Hold]:
        return [Hold(table, lock, work), *_referenced(action)]

    upper = action.upper()
    if re.match(r"ADD\s+(CONSTRAINT\b|CHECK\b|UNIQUE\b|PRIMARY\b|FOREIGN\b|EXCLUDE\b)", upper):
        later = "NOT VALID" in upper or "USING INDEX" in upper
        foreign = re.search(r"\bFOREIGN\s+KEY\b", upper)
        return found("SHARE ROW EXCLUSIVE" if foreign else "ACCESS EXCLUSIVE", "moment" if later else "scan")
    if re.match(r"ADD\s", upper):
        return found("ACCESS EXCLUSIVE", _added(upper))
    for pattern, lock, work in (
        (r"VALIDATE\s+CONSTRAINT\b", "SHARE UPDATE EXCLUSIVE", "scan"),
        (rf"{_COLUMN}(SET\s+DATA\s+)?TYPE\b", "ACCESS EXCLUSIVE", "rewrite"),
        (rf"{_COLUMN}SET\s+NOT\s+NULL\b", "ACCESS EXCLUSIVE", "scan"),
        (rf"{_COLUMN}SET\s+STATISTICS\b", "SHARE UPDATE EXCLUSIVE", "moment"),
        (r"SET\s+(LOGGED|UNLOGGED|TABLESPACE|ACCESS\s+METHOD)\b", "ACCESS EXCLUSIVE", "rewrite"),
        (r"(SET|RESET)\s*\(|CLUSTER\s+ON\b|SET\s+WITHOUT\s+CLUSTER\b", "SHARE UPDATE EXCLUSIVE", "moment"),
        (r"(ENABLE|DISABLE)\s+(REPLICA\s+|ALWAYS\s+)?TRIGGER\b", "SHARE ROW EXCLUSIVE", "moment"),
        (r"DETACH\s+PARTITION\s.*\bCONCURRENTLY\b", "SHARE UPDATE EXCLUSIVE", "moment"),
        (r"(DETACH\s+PARTITION|DROP|RENAME|SET\s+SCHEMA|OWNER|INHERIT|NO\s+INHERIT|ALTER|ENABLE|DISABLE|FORCE|NO\s+FORCE"
         r"|REPLICA|OF|NOT\s+OF)\b", "ACCESS EXCLUSIVE", "moment"),
    ):  # fmt: skip
        if re.match(pattern, upper):
            return found(lock, work)
    if attached := re.match(rf"ATTACH\s+PARTITION\s+({_NAME})", action, re.I):
        return [Hold(table, "SHARE UPDATE EXCLUSIVE"), Hold(_plain(attached.group(1)), "ACCESS EXCLUSIVE", "scan")]
    return found("ACCESS EXCLUSIVE", "unknown")


def _added(upper: str) -> str:
    """How long adding a column takes."""
    if re.search(r"\b(SMALL|BIG)?SERIAL\d?\b|\bSTORED\b|\bAS\s+IDENTITY\b", upper):
        return "rewrite"
    default = re.search(rf"\bDEFAULT\s+(.*?){_AFTER_DEFAULT}", upper)
    if default and not _SAME_FOR_ALL.fullmatch(default.group(1).strip()):
        return "rewrite"
    checks = re.search(r"\bUNIQUE\b|\bPRIMARY\s+KEY\b|\bCHECK\b", upper) or (
        default and re.search(r"\bREFERENCES\b", upper)
    )
    return "scan" if checks else "moment"
