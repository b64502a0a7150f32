"""Reads one line of a log, whatever wrote it (pure, standard library only).

Known are JSON objects, ``DATE TIME LEVEL logger text`` in its many spellings, and syslog's own head. A line that is none of
these is kept as its text: it may be a part of a traceback, or junk.
"""

from __future__ import annotations

import datetime
import json
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Callable, NamedTuple, Optional, Union

__all__ = ["LEVELS", "Hide", "Line", "at_least", "duration_of", "moment", "parse", "pattern_of"]

Hide = Callable[[str], str]

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_LEVEL_OF = {
    "TRACE": "DEBUG", "DEBUG": "DEBUG", "INFO": "INFO", "NOTICE": "INFO", "WARN": "WARNING", "WARNING": "WARNING",
    "ERR": "ERROR", "ERROR": "ERROR", "SEVERE": "ERROR", "CRIT": "CRITICAL", "CRITICAL": "CRITICAL",
    "FATAL": "CRITICAL", "ALERT": "CRITICAL", "EMERG": "CRITICAL", "PANIC": "CRITICAL",
}  # fmt: skip
_TIME_KEYS = ("timestamp", "time", "ts", "@timestamp", "asctime")
_LEVEL_KEYS = ("level", "levelname", "severity", "log_level")
_LOGGER_KEYS = ("logger", "name", "logger_name")
_TEXT_KEYS = ("message", "msg", "event")
_TROUBLE_KEYS = ("exception", "exc_info", "traceback", "error")
_DURATION_KEYS = {"duration_ms": 1.0, "latency_ms": 1.0, "elapsed_ms": 1.0, "response_time_ms": 1.0, "duration": 1000.0}

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s?(Z|[+-]\d\d:?\d\d)?(?=\W|$)", re.ASCII
)
_SYSLOG = re.compile(r"([A-Z][a-z]{2}) +(\d{1,2}) (\d\d):(\d\d):(\d\d) \S+ [^\s:\[]+(?:\[\d+\])?: ", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LEVEL_WORD = re.compile(r"\W*([A-Za-z]{3,8})\W*$", re.ASCII)
_REQUEST = re.compile(
    r"\b(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/\S*)(?:.*?\b(\d{3})\b)?.*?\b(\d+(?:\.\d+)?) ?(ms|s)\b", re.ASCII
)
_SLOW = re.compile(r"\bslow\b.*?\b(\d+(?:\.\d+)?) ?(ms|s)\b", re.IGNORECASE | re.ASCII)
_UNITS = {"ms": 1.0, "s": 1000.0}
# In this order: a number inside an address or an identifier is a part of it.
_VARIABLE = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "<uuid>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b", re.ASCII), "<address>"),
    (re.compile(r"'[^']*'|\"[^\"]*\""), "<text>"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"\d+(?:\.\d+)?", re.ASCII), "<n>"),
)
_PATTERN_LENGTH = 160
# The line of a traceback that says what was raised. SQLAlchemy goes on behind it, with the statement and an address.
_RAISED = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:: |:?$)")
_SAME_DIGITS = str.maketrans("123456789", "000000000")


class Line(NamedTuple):
    """One line. ``epoch`` None: it tells no time. ``kind``: json, plain, other."""

    text: str
    kind: str = "other"
    epoch: Optional[float] = None
    level: str = ""
    logger: str = ""
    message: str = ""
    trouble: str = ""
    duration_ms: Optional[float] = None


def parse(raw: Union[bytes, str], *, local: bool = True) -> Line:
    """``local``: a time without a zone is the host's own, else UTC. Never raises."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    text = text.rstrip("\r\n")
    epoch = None
    body = text
    head = _SYSLOG.match(text)
    if head:
        epoch = _syslog_epoch(head)
        body = text[head.end() :]
    if body.startswith("{"):
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            return _from_json(text, value, epoch, local)
    return _from_plain(text, body, epoch, local)


def _from_json(text: str, value: Mapping[str, Any], epoch: Optional[float], local: bool) -> Line:
    told = _first(value, _TIME_KEYS)
    if isinstance(told, (int, float)) and not isinstance(told, bool):
        epoch = float(told) / (1000 if told > 1e11 else 1)
    elif isinstance(told, str):
        found = moment(told, local=local)
        epoch = found if found is not None else epoch
    trouble = _first(value, _TROUBLE_KEYS)
    lines = [part for part in str(trouble or "").splitlines() if part.strip()]
    duration = next(
        (
            float(value[key]) * factor
            for key, factor in _DURATION_KEYS.items()
            if isinstance(value.get(key), (int, float)) and not isinstance(value[key], bool)
        ),
        None,
    )
    return Line(
        text,
        "json",
        epoch,
        _LEVEL_OF.get(str(_first(value, _LEVEL_KEYS) or "").upper(), ""),
        str(_first(value, _LOGGER_KEYS) or ""),
        str(_first(value, _TEXT_KEYS) or ""),
        next((part for part in reversed(lines) if _RAISED.match(part)), lines[-1].strip() if lines else ""),
        duration,
    )


def _from_plain(text: str, body: str, epoch: Optional[float], local: bool) -> Line:
    if body.startswith("{"):
        # Half an object: its words are fields and no level.
        return Line(text, "other", epoch, message=body)
    # The time stands at the beginning or not at all: one further on is what the message is about.
    found = _ISO.search(body[:40])
    rest = body
    if found:
        epoch = _iso_epoch(found, local)
        rest = body[found.end() :]
    words = rest.split(None, 4)
    for number, word in enumerate(words[:4]):
        match = _LEVEL_WORD.match(word)
        level = _LEVEL_OF.get(match[1].upper(), "") if match and (match[1].isupper() or found) else ""
        if level and ((match and match[1].isupper()) or number == 0):
            after = rest.split(None, number + 1)[number + 1 :]
            logger, _, message = (after[0] if after else "").partition(" ")
            return Line(text, "plain", epoch, level, logger.rstrip(":"), message.strip() or logger)
    return Line(text, "plain" if epoch is not None else "other", epoch, "", "", rest.strip())


def _first(value: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((value[key] for key in keys if value.get(key) not in (None, "")), None)


def at_least(level: str) -> frozenset[str]:
    """The levels from ``level`` upwards."""
    return frozenset(LEVELS[LEVELS.index(level) :])


# --- times -----------------------------------------------------------------------------------------------------------


def moment(text: str, *, local: bool = True) -> Optional[float]:
    """The epoch of an ISO time or date at the beginning of ``text``, else None."""
    match = _ISO.match(text)
    if match:
        return _iso_epoch(match, local)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text.strip(), re.ASCII):
        return _minute(text.strip(), "00:00", "" if local else "Z")
    return None


def _iso_epoch(match: re.Match[str], local: bool) -> Optional[float]:
    day, minute, second, fraction, zone = match.groups()
    begun = _minute(day, minute, (zone or ("" if local else "Z")).replace(":", ""))
    if begun is None:
        return None
    return begun + int(second or 0) + (float(f"0.{fraction}") if fraction else 0.0)


@lru_cache(maxsize=4096)
def _minute(day: str, minute: str, zone: str) -> Optional[float]:
    """The epoch of a minute; ``zone`` is empty for the host's own. A log has thousands of lines in each."""
    try:
        when = datetime.datetime.strptime(f"{day} {minute}", "%Y-%m-%d %H:%M")
        if not zone:
            return time.mktime(when.timetuple())
        shift = 0 if zone == "Z" else (int(zone[1:3]) * 60 + int(zone[3:5])) * 60 * (-1 if zone[0] == "-" else 1)
        return when.replace(tzinfo=datetime.timezone.utc).timestamp() - shift
    except (ValueError, OverflowError):
        return None


def _syslog_epoch(match: re.Match[str]) -> Optional[float]:
    """syslog tells no year: it is the one that does not put the line into the future."""
    month, day, *clock = match.groups()
    if month not in _MONTHS:
        return None
    now = time.time()
    year = time.localtime(now).tm_year
    for candidate in (year, year - 1):
        try:
            hour, minute, second = map(int, clock)
            epoch = time.mktime((candidate, _MONTHS.index(month) + 1, int(day), hour, minute, second, 0, 0, -1))
        except (ValueError, OverflowError):
            return None
        if epoch <= now + 86400:
            return epoch
    return None


# --- what a line is about --------------------------------------------------------------------------------------------


def pattern_of(line: Line, hide: Hide = str) -> str:
    """What the runbook counts: the fifth field of a plain line; logger and message of a JSON line without what varies.

    ``hide`` takes secrets out of a text, before that loses its numbers: a secret without them is another word.
    """
    if line.kind != "json":
        fields = hide(line.text).split(None, 5)
        return fields[4][:_PATTERN_LENGTH] if len(fields) > 4 else "(fewer than five fields)"
    kind = re.match(r"[\w.]+", line.trouble)
    trouble = f" ({kind[0].rsplit('.', 1)[-1]})" if kind else ""
    return f"{line.logger or '-'}: {_normalised(hide(line.message))}{trouble}"


def _normalised(message: str) -> str:
    # Which digits they are makes no difference in the end: thousands of messages are one here.
    return _normalised_shape(message.translate(_SAME_DIGITS))


@lru_cache(maxsize=4096)
def _normalised_shape(message: str) -> str:
    text = message[: 4 * _PATTERN_LENGTH]
    for pattern, name in _VARIABLE:
        text = pattern.sub(name, text)
    return " ".join(text.split())[:_PATTERN_LENGTH]


def duration_of(line: Line, hide: Hide = str) -> Optional[tuple[float, str]]:
    """(milliseconds, what took them) of a line that tells how long something took, else None."""
    text = hide(line.message or line.text)
    match = _REQUEST.search(text)
    if match:
        path = _normalised(match[2].partition("?")[0])
        return float(match[4]) * _UNITS[match[5]], f"{match[1]} {path}"
    if line.duration_ms is not None:
        return line.duration_ms, f"{line.logger}: {_normalised(text)}"
    match = _SLOW.search(text)
    if match:
        return float(match[1]) * _UNITS[match[2]], f"{line.logger or 'slow'}: {_normalised(text)}"
    return None
