"""A plain dump (``pg_dump > backup.sql``), statement by statement, and what of it may run (pure).

Only what pg_dump writes passes. A meta-command of psql, a statement that reaches beyond its database, and text that could be
read in two ways are refused, with the line. No psql reads it: each statement goes to the server as a message of its own, which
the server takes as one statement or not at all. So a mistake here runs nothing on a host, and no second statement unseen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Optional

from ..errors import FloyoError, Refused, Unusable
from ..text import shorten

__all__ = ["Piece", "PlainDump", "split_lines"]

_BATCH = 1 << 20
_MOST_HEADS = 100
_NAME = rb'(?:[a-z_\x80-\xff][a-z0-9_$\x80-\xff]*|"(?:[^"]|"")+")'
_TOKEN = re.compile(
    rb"[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*|'|\"|\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$|--|/\*|\\|[;()]"
)
# How the inside of each goes on: doubled ends, and in E'' what a backslash escapes.
_ENDS = {b"'": re.compile(rb"''|'"), b"E": re.compile(rb"\\.|''|'", re.DOTALL), b'"': re.compile(rb'""|"')}
_COMMENT = re.compile(rb"/\*|\*/")
_WORDISH = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$") | frozenset(
    range(0x80, 0x100)
)
_RESTRICT = re.compile(rb"\\(un)?restrict [A-Za-z0-9]+\s*")
_COPY = re.compile(rb"COPY (?:(%b)\.)?(%b)(?: \(%b(?:, %b)*\)| ) FROM stdin;" % ((_NAME,) * 4))
_EXTENSION = re.compile(rb"CREATE EXTENSION (?:IF NOT EXISTS )?(%b)(?: WITH SCHEMA (%b))?;" % (_NAME, _NAME))
_FOR_ROLE = re.compile(rb"ALTER DEFAULT PRIVILEGES FOR ROLE (%b) " % _NAME)
_GRANTEE = re.compile(rb" (?:TO|FROM) (%b)(?: WITH GRANT OPTION)?;\Z" % _NAME)
_OWNER = re.compile(rb"ALTER [A-Z].* OWNER TO %b;" % _NAME, re.DOTALL)
_SETTING = re.compile(rb"SET (\w+) (?:=|TO) (?:'([^'\\]*)'|(\w+));")
_SEARCH_PATH = re.compile(rb"SELECT pg_catalog\.set_config\('search_path', '[^'\\]*', false\);")
_INSERT_HEAD = re.compile(rb"INSERT INTO (?:(%b)\.)?(%b) (?:\([^()']*\) )?VALUES \('([^'\\]*)'\);" % (_NAME, _NAME))
# What --inserts writes, line after line, when nothing is odd about its values.
_VALUE = rb"(?:'[^']*(?:''[^']*)*'|-?[0-9]+(?:\.[0-9]+)?|NULL|true|false)"
_INSERT = re.compile(
    rb"INSERT INTO (?:%b\.)?%b (?:\(%b(?:, %b)*\) )?VALUES \(%b(?:, %b)*\);\n" % (*(_NAME,) * 4, _VALUE, _VALUE)
)
_ENDS_OF_ROWS = frozenset((b"\\.\n", b"\\.\r\n"))
_COMPLETE = b"-- PostgreSQL database dump complete"

# --- what may run ----------------------------------------------------------------------------------------------------

# The run's own limits stay.
_LIMITS = {
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
}
_SETTINGS = {
    "client_encoding",
    "standard_conforming_strings",
    "check_function_bodies",
    "xmloption",
    "client_min_messages",
    "row_security",
    "default_tablespace",
    "default_table_access_method",
    "default_with_oids",
    "escape_string_warning",
    "search_path",
}
# In these a byte of a letter may look like a backslash.
_ENCODINGS = re.compile(
    rb"(?i)sjis|shift_?jis.*|mskanji|big5|gbk|gb18030|uhc|johab|(win|windows)(932|949|950|936)",
)
_CALLS = {
    ("SELECT", "PG_CATALOG", "SETVAL", "TRUE"),
    ("SELECT", "PG_CATALOG", "SETVAL", "FALSE"),
    ("SELECT", "PG_CATALOG", "LO_CREATE"),
    ("SELECT", "PG_CATALOG", "LO_OPEN"),
    ("SELECT", "PG_CATALOG", "LOWRITE"),
    ("SELECT", "PG_CATALOG", "LO_CLOSE"),
    ("SELECT", "PG_CATALOG", "LO_UNLINK", "OID", "FROM", "PG_CATALOG", "PG_LARGEOBJECT_METADATA", "WHERE", "OID"),
}
_STATISTICS = {
    ("SELECT", "FROM", "PG_CATALOG", f"PG_RESTORE_{what}_STATS") for what in ("RELATION", "ATTRIBUTE", "EXTENDED")
}
_ADJECTIVES = {"OR", "REPLACE", "UNIQUE", "UNLOGGED"}
_NOUNS = {
    "SCHEMA", "TABLE", "VIEW", "MATERIALIZED", "INDEX", "SEQUENCE", "FUNCTION", "PROCEDURE", "AGGREGATE", "TYPE", "DOMAIN",
    "TRIGGER", "RULE", "POLICY", "EXTENSION", "COLLATION", "CONVERSION", "CAST", "OPERATOR", "TEXT", "STATISTICS", "PUBLICATION",
    "CONSTRAINT", "DEFAULT", "COLUMN", "LARGE",
}  # fmt: skip
_GRANTED = {
    "TABLE", "SEQUENCE", "SCHEMA", "FUNCTION", "PROCEDURE", "ROUTINE", "TYPE", "DOMAIN", "LANGUAGE", "LARGE", "ALL",
}  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """``statement`` with its words outside of quotes; ``copy``, the statement before rows, ``rows`` of it, and ``end`` of them."""

    kind: str
    line: int
    text: bytes = b""
    words: tuple[str, ...] = ()
    table: str = ""


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines with their ends; one may be as long as it likes."""
    begun: list[bytes] = []  # of a line whose end is still to come
    for chunk in chunks:
        lines = chunk.splitlines(keepends=True) if b"\r" not in chunk else re.findall(rb"[^\n]*\n|[^\n]+\Z", chunk)
        if begun and lines:
            begun.append(lines.pop(0))
            if begun[-1].endswith(b"\n"):
                yield b"".join(begun)
                begun.clear()
        if lines and not lines[-1].endswith(b"\n"):
            begun.append(lines.pop())
        yield from lines
    if begun:
        yield b"".join(begun)


class PlainDump:
    """One reading of a dump. What it has learnt by the end is in its attributes."""

    def __init__(self, *, version_table: str = "", privileges: bool = True, ours: bool = False) -> None:
        """``ours``: pg_restore has just written it from an archive of ours; only what the run itself decides is left out."""
        self._privileges, self._ours = privileges, ours
        self._version_table = version_table.rpartition(".")[2]
        self.server = self.client = ""  # the versions that it names
        self.rows: dict[str, int] = {}
        self.heads: list[str] = []
        self.extensions: dict[str, str] = {}
        self.roles: set[str] = set()
        self.large_objects = self.statements = self.passed_over = 0
        self._complete = False

    def pieces(self, lines: Iterable[bytes]) -> Iterator[Piece]:
        """What of it is to run. Raises at the first line that may not, and at the end when the dump is not whole."""
        for piece in _Splitter(self._comment).pieces(lines):
            if piece.kind == "statement" and not self._runs(piece):
                self.passed_over += 1
                continue
            self._learn(piece)
            yield piece
        if not self._complete:
            raise _cut("its last line, 'PostgreSQL database dump complete', is missing")

    def _comment(self, line: bytes) -> None:
        self._complete = self._complete or line.rstrip() == _COMPLETE
        found = re.match(rb"-- Dumped (from database|by pg_dump) version (\d+[\w.]*)", line)
        if found and found[1].startswith(b"from"):
            self.server = self.server or found[2].decode()
        elif found:
            self.client = self.client or found[2].decode()

    def _learn(self, piece: Piece) -> None:
        if self._complete and piece.kind != "end":
            raise _refused(piece, "comes after the dump's end", "one dump in a file")
        if piece.kind == "rows":
            self.rows[piece.table] += piece.text.count(b"\n")
            if piece.table.rpartition(".")[2] == self._version_table:
                self._learn_heads([row.split(b"\t")[0] for row in piece.text.splitlines()])
        elif piece.kind == "copy":
            self.rows.setdefault(piece.table, 0)
        elif piece.kind == "statement":
            self.statements += 1
            if piece.words[:3] == ("SELECT", "PG_CATALOG", "LO_CREATE"):
                self.large_objects += 1
            elif found := _EXTENSION.fullmatch(piece.text):
                self.extensions[_unquoted(found[1])] = _unquoted(found[2] or b"public")
            elif piece.words[:1] in (("GRANT",), ("REVOKE",), ("ALTER",)):
                roles = (_GRANTEE.search(piece.text), _FOR_ROLE.match(piece.text))
                self.roles |= {_unquoted(found[1]) for found in roles if found}
            elif self._version_table.encode() in piece.text[:200]:
                row = _INSERT_HEAD.fullmatch(piece.text)
                if row and _unquoted(row[2]) == self._version_table:
                    self._learn_heads([row[3]])

    def _learn_heads(self, values: list[bytes]) -> None:
        if len(self.heads) + len(values) < _MOST_HEADS:
            self.heads = sorted([*self.heads, *(value.decode(errors="replace") for value in values)])

    def _runs(self, piece: Piece) -> bool:
        """Whether a statement is to run, or passed over; what may not run raises."""
        words, text = piece.words, piece.text
        first, second = (*words, "", "")[:2]
        noun = next((word for word in words[1:] if word not in _ADJECTIVES), "")
        if text in (b"BEGIN;", b"COMMIT;"):
            return False  # around large objects; all is one transaction here
        if first == "SET":
            return self._is_set(piece)
        if words[:3] == ("COMMENT", "ON", "EXTENSION"):
            return False  # the extension has brought it, and only its owner may say it
        if self._ours:
            return True
        if first in ("GRANT", "REVOKE"):
            on = words.index("ON") if "ON" in words else len(words)
            if (*words, "", "")[on + 1] not in _GRANTED:
                raise _refused(piece, "gives or takes rights beyond the database's own objects")
            return self._privileges
        if first == "ALTER" and _OWNER.fullmatch(text):
            return False  # everything belongs to the database's owner, as after a restore
        if first == "COMMENT":
            noun = words[2] if words[1:2] == ("ON",) and len(words) > 2 else ""
        if first == "ALTER" and second == "DEFAULT" and not self._privileges:
            return False
        if words[:4] in _STATISTICS:
            return False  # they are made anew
        fits = (
            (first in ("CREATE", "ALTER", "DROP", "COMMENT") and noun in _NOUNS)
            or (first, second) in (("INSERT", "INTO"), ("REFRESH", "MATERIALIZED"))
            or words in _CALLS
            or bool(_SEARCH_PATH.fullmatch(text))
        )
        if not fits:
            raise _refused(
                piece, _REASONS.get((first, noun)) or _REASONS.get(first) or "is nothing that pg_dump writes"
            )
        return True

    def _is_set(self, piece: Piece) -> bool:
        found = _SETTING.fullmatch(piece.text)
        name, value = (found[1].decode().lower(), found[2] or found[3] or b"") if found else ("", b"")
        if name in _LIMITS:
            return False
        if self._ours:
            return True
        if name not in _SETTINGS:
            raise _refused(piece, "changes who works, or a setting that pg_dump leaves alone")
        if (name == "standard_conforming_strings" and value.lower() != b"on") or (
            name == "client_encoding" and _ENCODINGS.fullmatch(value)
        ):
            raise _refused(piece, "makes the text readable in two ways", "UTF8 and standard_conforming_strings = on")
        return True


_BEYOND = "reaches beyond the database"
_REASONS: dict[object, str] = {
    **{(verb, noun): _BEYOND for verb in ("CREATE", "ALTER", "DROP", "COMMENT")
       for noun in ("DATABASE", "ROLE", "USER", "GROUP", "TABLESPACE", "SYSTEM", "SERVER", "FOREIGN", "SUBSCRIPTION")},
    "COPY": "reads or writes something else than the rows that follow it",
    "DO": "runs a program whose text is in the file",
    "CALL": "runs a program whose text is in the file",
    "SELECT": "calls something that pg_dump does not",
    **dict.fromkeys(("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "PREPARE"),
                    "ends or divides the one transaction"),
}  # fmt: skip


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass
class _State:
    """Within a statement, over the ends of lines."""

    quote: bytes = b""  # ', E, ", a dollar quote with its tag, or /*
    depth: int = 0  # of nested comments
    parens: int = 0
    bodies: int = 0  # BEGIN ATOMIC ... END of a function
    after_string: bool = False
    words: list[str] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    line: int = 0

    @property
    def begun(self) -> bool:
        return bool(self.quote or self.parts)


class _Splitter:
    def __init__(self, comment: Callable[[bytes], None]) -> None:
        self._comment, self._number = comment, 0

    def pieces(self, lines: Iterable[bytes]) -> Iterator[Piece]:
        state, iterator = _State(), iter(lines)
        for line in iterator:
            self._number += 1
            self._require_text(line)
            if self._number == 1:
                line = line[3:] if line.startswith(b"\xef\xbb\xbf") else line
            if not state.begun and (not line.strip() or _RESTRICT.fullmatch(line)):
                continue
            if not state.begun and line.startswith(b"INSERT INTO ") and _INSERT.fullmatch(line):
                yield Piece("statement", self._number, line[:-1], ("INSERT", "INTO"))
                continue
            if not state.begun and line.startswith(b"--"):
                self._comment(line)
                continue
            position = 0
            while True:
                piece, position, state = self._statement(line, position, state)
                if piece is None:
                    break
                if piece.words[:1] == ("COPY",):
                    yield from self._rows(piece, line[position:], iterator)
                    break
                yield piece
        if state.begun:
            raise _cut(f"the statement that begins in line {state.line} has no end")

    def _require_text(self, line: bytes) -> None:
        if b"\0" in line:
            raise Unusable(
                f"line {self._number} holds a zero byte: this is no text in the encoding of a database",
                code="SQL_UNREADABLE",
                expected="the output of pg_dump in the plain format, as it came",
                next_step="an archive is restored by its label; unpack what is compressed; PowerShell's > writes UTF-16",
            )

    def _rows(self, copy: Piece, rest: bytes, lines: Iterator[bytes]) -> Iterator[Piece]:
        found = _COPY.fullmatch(copy.text)
        if not found or rest.strip():
            raise _refused(copy, _REASONS["COPY"], "COPY table (columns) FROM stdin")
        table = _table(found[1], found[2])
        yield Piece("copy", copy.line, copy.text, copy.words, table)
        batch, size, begin, ended = list[bytes](), 0, self._number + 1, False
        while not ended:
            line = next(lines, b"")
            if not line:
                raise _cut(f"the rows of {table} have no end")
            self._number += 1
            ended = line in _ENDS_OF_ROWS
            if not ended:
                batch.append(line)
                size += len(line)
            if batch and (ended or size >= _BATCH):
                text = b"".join(batch)
                self._require_text(text)
                yield Piece("rows", begin, text, table=table)
                batch, size, begin = [], 0, self._number + 1
        yield Piece("end", self._number, table=table)

    def _statement(self, line: bytes, position: int, state: _State) -> tuple[Optional[Piece], int, _State]:
        """Read on to the end of a statement, or of the line. Returns the statement when it ends here."""
        begin = position
        while position < len(line):
            if state.quote:
                position = self._inside(line, position, state)
                continue
            found = _TOKEN.search(line, position)
            gap = line[position : found.start() if found else len(line)]
            state.after_string = state.after_string and not gap.strip()
            if not found:
                break
            token, position = found[0], found.end()
            if token == b"--":
                position = len(line)
                continue
            if token == b"'":
                state.quote = self._string(line, found.start(), state)
            elif token == b"/*" or token == b'"' or token[:1] == b"$":
                if token[:1] == b"$" and found.start() and line[found.start() - 1] in _WORDISH:
                    raise self._unclear(line)
                state.quote, state.depth = token, 1
                if token == b'"':
                    state.words.append('"')
            elif token == b"\\":
                raise self._meta(line[found.start() :])
            elif token == b"(":
                state.parens += 1
            elif token == b")":
                state.parens = max(0, state.parens - 1)
            elif token == b";" and not state.parens and not state.bodies:
                text = b"".join([*state.parts, line[begin:position]]).strip()
                piece = Piece("statement", state.line or self._number, text, tuple(state.words))
                return piece, position, _State()
            elif token != b";":
                self._word(token, state)
            if token != b"/*":
                state.after_string = False
        if state.parts or line[begin:].strip():
            state.line = state.line or self._number
            state.parts.append(line[begin:])
        return None, len(line), state

    def _inside(self, line: bytes, position: int, state: _State) -> int:
        quote = state.quote
        if quote == b"/*":
            found = _COMMENT.search(line, position)
            if found:
                state.depth += 1 if found[0] == b"/*" else -1
                state.quote = b"" if not state.depth else quote
            return found.end() if found else len(line)
        if quote[:1] == b"$":
            end = line.find(quote, position)
            state.quote = quote if end < 0 else b""
            return len(line) if end < 0 else end + len(quote)
        found = _ENDS[quote].search(line, position)
        if not found:
            return len(line)
        if len(found[0]) == 1:
            state.quote, state.after_string = b"", quote != b'"'
        return found.end()

    def _string(self, line: bytes, at: int, state: _State) -> bytes:
        """Which kind of string begins. In doubt, none: two in a row are one to the server, and the second like the first."""
        if state.after_string:
            raise self._unclear(line)
        if not at or line[at - 1] not in _WORDISH:
            return b"'"
        if (at > 1 and line[at - 2] in _WORDISH) or line[at - 1 : at] not in b"eEbBxXnN":
            raise self._unclear(line)
        return b"E" if line[at - 1 : at] in b"eE" else b"'"

    @staticmethod
    def _word(token: bytes, state: _State) -> None:
        """psql's own rule for bodies of functions that are SQL: semicolons in them end nothing."""
        word = token.decode(errors="replace").upper()
        state.words.append(word)
        makes = [each for each in state.words[:4] if each not in ("OR", "REPLACE")][:2]
        if makes in (["CREATE", "FUNCTION"], ["CREATE", "PROCEDURE"]) and not state.parens:
            if word == "BEGIN" or (word == "CASE" and state.bodies):
                state.bodies += 1
            elif word == "END" and state.bodies:
                state.bodies -= 1

    def _unclear(self, line: bytes) -> FloyoError:
        return Refused(
            f"line {self._number} can be read in two ways: {_shown(line)}",
            code="SQL_UNREADABLE",
            expected="what pg_dump writes",
            next_step="dump again with pg_dump; nothing was changed",
            line=self._number,
        )

    def _meta(self, text: bytes) -> FloyoError:
        return Refused(
            f"line {self._number} is a command to psql and not to the server: {_shown(text)}",
            code="SQL_FORBIDDEN",
            expected="what pg_dump writes of one database, without --create",
            next_step="ask who has made the file what that is for; nothing was changed",
            line=self._number,
        )


def _table(schema: Optional[bytes], name: bytes) -> str:
    return f"{_unquoted(schema or b'public')}.{_unquoted(name)}"


def _unquoted(name: bytes) -> str:
    text = name.decode(errors="replace")
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def _shown(text: bytes) -> str:
    return shorten(text.decode(errors="replace"), 60)


def _refused(
    piece: Piece, why: str, expected: str = "what pg_dump writes of one database, without --create"
) -> FloyoError:
    return Refused(
        f"the statement in line {piece.line} {why}: {_shown(piece.text)}",
        code="SQL_FORBIDDEN",
        expected=expected,
        next_step="dump that one database again with pg_dump --no-owner; nothing was changed",
        line=piece.line,
    )


def _cut(what: str) -> FloyoError:
    return Unusable(
        f"the dump is not whole: {what}",
        code="SQL_TRUNCATED",
        expected="a file that ends with 'PostgreSQL database dump complete'",
        next_step="take it again, or fetch it again; nothing was changed",
    )
