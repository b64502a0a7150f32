"""From the parameters of module floyo_logs to its result."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Optional

from ..environment_file import parse_environment_file
from ..errors import Unusable
from ..text import shorten
from .files import LogFile, journal, last_lines, log_files, matching
from .lines import LEVELS, Line, moment, parse
from .redact import Redactor, secret_values
from .scan import Question, Tally, words_for

__all__ = ["ARGUMENT_SPEC", "look", "when"]

ARGUMENT_SPEC: dict[str, Any] = {
    "path": {"type": "path", "default": "/var/log/floyo/app.log"},
    "unit": {"type": "str", "default": ""},
    "rotated": {"type": "bool", "default": True},
    "want": {
        "type": "list",
        "elements": "str",
        "choices": ["lines", "patterns", "memory", "slow"],
        "default": ["lines"],
    },
    "text": {"type": "str", "default": ""},
    "regex": {"type": "str", "default": ""},
    "ignore_case": {"type": "bool", "default": False},
    "level": {"type": "str", "choices": ["", *LEVELS], "default": ""},
    "since": {"type": "str", "default": ""},
    "until": {"type": "str", "default": ""},
    "zone": {"type": "str", "choices": ["local", "utc"], "default": "local"},
    "last": {"type": "int", "default": 100},
    "all_files": {"type": "bool", "default": False},
    "top": {"type": "int", "default": 20},
    "slower_than": {"type": "float", "default": 500.0},
    "environment_file": {"type": "path", "default": ""},
}

_LINE_LENGTH = 2000
_AGES = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
# A file's last change and the time in its last line come from the same clock, but not from the same program.
_MODIFIED_SLACK = 3600


def when(text: str, *, now: float, local: bool, name: str) -> Optional[float]:
    """The epoch meant by ``15m``, ``2h``, ``1d`` (ago), a date, or a time; None for nothing."""
    text = text.strip()
    if not text:
        return None
    age = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|m|min|h|d|w)(?: ago)?", text)
    found = now - float(age[1]) * _AGES[age[2]] if age else moment(text, local=local)
    if found is None:
        raise Unusable(
            f"{name} {shorten(text, 40)} is no time",
            code="TIME_INVALID",
            expected='an age such as 15m, 2h or 3d, a day such as 2025-01-15, or "2025-01-15 10:30"',
            next_step=f"correct {name}",
        )
    return found


def look(params: Mapping[str, Any]) -> dict[str, Any]:
    """Read, count, redact."""
    if not params["want"] or params["last"] < 1 or params["top"] < 1:
        raise Unusable("nothing is asked for", code="NOTHING_ASKED", expected="one of want, last and top of at least 1")
    begun = time.monotonic()
    question = _question(params)
    hide = Redactor(_secrets(params["environment_file"]))
    tally = Tally(question, frozenset(params["want"]), params["last"], params["slower_than"], hide)
    unread = 0
    files: list[LogFile] = []
    if params["unit"]:
        # The journal's newest entries are enough when nothing sorts any of them out.
        alone = tally.want == {"lines"} and not (question.text or question.regex or question.level)
        for entry in journal(
            params["unit"], count=params["last"] if alone else 0, since=question.since, until=question.until
        ):
            raw = str(entry["text"]).encode()
            tally.take_line(raw, _with_journal(parse(raw, local=question.local), entry))
        source = f"journal of {params['unit']}"
    else:
        source = params["path"]
        files, unread = _read(params, question, tally)
    return {
        "changed": False,
        "source": source,
        "matched": tally.matched,
        "complete": not unread,
        "lines": [_shown(raw, line, question, hide) for raw, line in tally.lines],
        "patterns": _patterns(tally, params["top"], hide),
        "pattern_count": sum(one["count"] for one in tally.patterns.values()),
        "memory": {"count": tally.memory_count, "lines": [_entry(line, hide) for line in tally.memory]},
        "slow": {
            "threshold_ms": params["slower_than"],
            "timed": tally.timed_count,
            "count": tally.slow_count,
            "requests": sorted(tally.slow.values(), key=lambda one: (-one["count"], one["what"]))[: params["top"]],
        },
        "undated": tally.undated,
        "files": [
            {"name": os.path.basename(one.path), "size": one.size, "remarks": [hide(text) for text in one.remarks]}
            for one in files
        ],
        "unread_files": unread,
        "since": _iso(question.since),
        "until": _iso(question.until),
        "seconds": round(time.monotonic() - begun, 3),
    }


def _question(params: Mapping[str, Any]) -> Question:
    now = time.time()
    local = params["zone"] == "local"
    regex = None
    if params["regex"]:
        try:
            regex = re.compile(params["regex"].encode(), re.IGNORECASE if params["ignore_case"] else 0)
        except re.error as error:
            raise Unusable(
                f"regex {shorten(params['regex'], 60)} cannot be read: {error}",
                code="REGEX_INVALID",
                expected="a regular expression of Python",
                next_step="correct it, or give the words themselves in text",
            ) from error
    if "\n" in params["text"]:
        raise Unusable("text has a line break", code="TEXT_INVALID", expected="what stands in one line")
    return Question(
        params["text"].encode(),
        regex,
        params["ignore_case"],
        params["level"],
        when(params["since"], now=now, local=local, name="since"),
        when(params["until"], now=now, local=local, name="until"),
        local,
    )


def _secrets(path: str) -> list[str]:
    """What the service's environment holds that its log may repeat."""
    if not path:
        return []
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return secret_values(parse_environment_file(stream.read()).values)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Unusable(
            f"{path} cannot be read, so its secrets would be shown: {error.strerror}",
            code="ENVIRONMENT_UNREADABLE",
            next_step="become root, or leave environment_file out",
        ) from error


def _read(params: Mapping[str, Any], question: Question, tally: Tally) -> tuple[list[LogFile], int]:
    """(the files that were read, how many older ones were not needed). The newest come first."""
    there = log_files(params["path"], rotated=params["rotated"])
    if question.since is not None:
        there = [one for one in there if one.modified >= question.since - _MODIFIED_SLACK]
    only_lines = tally.want == {"lines"}
    words = words_for(question, sorted(tally.want))
    is_tail = only_lines and not words and not question.needs_parsing and question.regex is None
    kept: list[tuple[bytes, Optional[Line]]] = []
    read: list[LogFile] = []
    for file in reversed(there):
        if only_lines and not params["all_files"] and len(kept) >= params["last"]:
            break
        read.append(file)
        tally.lines.clear()
        lines = last_lines(file, params["last"]) if is_tail else matching(file, words)
        for raw in lines:
            tally.take(raw)
        kept = ([*tally.lines, *kept])[-params["last"] :]
    tally.lines.clear()
    tally.lines.extend(kept)
    return read, len(there) - len(read)


def _with_journal(line: Line, entry: Mapping[str, Any]) -> Line:
    """What the journal knows where the line itself says nothing."""
    return Line(
        line.text,
        line.kind,
        line.epoch if line.epoch is not None else entry["epoch"],
        line.level or entry["level"],
        line.logger or entry["by"],
        line.message,
        line.trouble,
        line.duration_ms,
    )


def _patterns(tally: Tally, top: int, hide: Redactor) -> list[dict[str, Any]]:
    found = sorted(tally.patterns.values(), key=lambda one: (-one["count"], one["pattern"]))[:top]
    return [
        {
            "pattern": one["pattern"],
            "count": one["count"],
            "level": one["level"],
            "first": _iso(one["first"]),
            "last": _iso(one["last"]),
            "sample": _entry(one["sample"], hide)["message"],
            "by_minute": [[60 * minute, count] for minute, count in sorted(one["minutes"].items())],
        }
        for one in found
    ]


def _shown(raw: bytes, line: Optional[Line], question: Question, hide: Redactor) -> dict[str, Any]:
    return _entry(line or parse(raw, local=question.local), hide)


def _entry(line: Line, hide: Redactor) -> dict[str, Any]:
    """A line as it may be shown. Redacted before it is cut: half a secret has no shape any more."""
    message = line.message or line.text
    if line.trouble:
        message = f"{message} | {line.trouble}"
    return {
        "time": _iso(line.epoch),
        "epoch": line.epoch,
        "level": line.level,
        "logger": shorten(hide(line.logger), 100),
        "message": shorten(hide(message[: 4 * _LINE_LENGTH]), _LINE_LENGTH),
    }


def _iso(epoch: Optional[float]) -> Optional[str]:
    if epoch is None:
        return None
    try:
        return datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    except (ValueError, OverflowError, OSError):
        return None
