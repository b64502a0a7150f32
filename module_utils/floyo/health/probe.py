"""Asks health endpoints, all at once, and turns answers and failures into checks."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

from ..http import Answer, Client, RequestFailed, parse_object, safe_url
from ..text import shorten
from .judge import DEFAULT_SEVERITIES, DEFAULT_WORDS, Check, Endpoint, Verdict, judge_body, judge_expectation, overall

__all__ = ["Probe", "Round", "ask_until"]

_FIRST_PAUSE = 0.2
_PAUSE_GROWTH = 1.6
_LONGEST_PAUSE = 3.0
# A round with less time than this would report its own haste as the server's failure.
_SHORTEST_ROUND = 0.5


@dataclass(frozen=True)
class Round:
    """All checks, asked once at the same time."""

    checks: tuple[Check, ...]
    verdict: Verdict


@dataclass(frozen=True)
class Probe:
    """What to ask and how to read it. ``expect`` is compared with the body of the endpoint ``health``."""

    client: Client
    endpoints: tuple[Endpoint, ...]
    expect: Mapping[str, Iterable[Any]] = field(default_factory=dict)
    words: Mapping[str, Iterable[str]] = field(default_factory=lambda: DEFAULT_WORDS)
    severities: Mapping[str, str] = field(default_factory=lambda: DEFAULT_SEVERITIES)
    status_field: str = "status"
    checks_field: str = "checks"

    def ask(self, *, timeout: float | None = None) -> Round:
        """One round. All requests are under way before the first answer is read."""
        pending = [(endpoint, self.client.start(endpoint.url, timeout=timeout)) for endpoint in self.endpoints]
        checks = []
        for endpoint, request in pending:
            try:
                checks.append(self._judge(endpoint, request.result()))
            except RequestFailed as failure:
                checks.append(_failed(endpoint, failure))
        if not any(check.answered for check in checks):
            # Nothing shows that this is the application at all, so "not offered" would be a guess.
            checks = [_not_found(check) if check.reason == "NOT_OFFERED" else check for check in checks]
        return Round(tuple(checks), overall(checks, self.severities))

    def _judge(self, endpoint: Endpoint, answer: Answer) -> Check:
        if answer.status == 404 and endpoint.optional:
            return Check(endpoint, "healthy", "NOT_OFFERED", "is not offered", answer.status, answer.latency_ms)
        body = self._body(answer)
        level, reason, message, components = judge_body(
            body, words=self.words, status_field=self.status_field, checks_field=self.checks_field
        )
        if answer.status == 503:
            # The application's own refusal ("Service not ready"), whatever its body calls it.
            said = shorten(body.get("detail") or "refuses service") if reason in ("OK", "NO_STATUS") else message
            level, reason, message = "unhealthy", "UNHEALTHY", f"answers 503: {said}"
        if endpoint.name == "health" and level != "unhealthy":
            complaints = judge_expectation(body, self.expect)
            if complaints:
                level, reason, message = "unhealthy", "WRONG_RELEASE", ", ".join(complaints)
        return Check(
            endpoint,
            level,
            reason,
            message,
            answer.status,
            answer.latency_ms,
            answered=True,
            components=components,
            next_step=_NEXT_STEPS.get(reason, ""),
            body=body,
        )

    def _body(self, answer: Answer) -> dict[str, Any]:
        """The body of an answer that can be judged: 2xx, or a 503 in which the application itself speaks."""
        if 200 <= answer.status < 300:
            return parse_object(answer)
        if answer.status == 503:
            try:
                return parse_object(answer)
            except RequestFailed:
                raise _bad_status(answer) from None
        raise _bad_status(answer)


_NEXT_STEPS = {
    "UNHEALTHY": "follow the named dependency: its unit, its journal, its address in the environment file",
    "DEGRADED": "look at the named dependency before it fails",
    "WRONG_RELEASE": "ask playbooks/status.yml which release each host runs",
    "NO_STATUS": "name the fields in status_field and checks_field",
    "UNKNOWN_STATUS": "add the word to status_words",
}

_BY_STATUS: dict[int, tuple[str, str, str]] = {
    401: ("UNAUTHORIZED", "answers 401: the request is not authenticated", "give a valid token"),
    403: ("FORBIDDEN", "answers 403: the token lacks the right", "give an administrator's token"),
    404: ("STATUS", "answers 404: the path is not offered", "correct the path, or list the check under optional"),
    429: ("RATE_LIMITED", "answers 429: the rate limit is reached", "ask less often, or exempt this address"),
}


def _bad_status(answer: Answer) -> RequestFailed:
    code, what, hint = _BY_STATUS.get(
        answer.status, ("STATUS", f"answers {answer.status}", "read the unit's journal, and the proxy's before it")
    )
    if 300 <= answer.status < 400:
        target = safe_url(answer.headers.get("Location", ""))
        code, what = "REDIRECTED", f"redirects ({answer.status}) to {target or 'nowhere'}"
        hint = "ask the final address: a health path must answer by itself"
    return RequestFailed(
        f"{safe_url(answer.url)} {what}",
        code=code,
        url=answer.url,
        status=answer.status,
        latency_ms=answer.latency_ms,
        next_step=hint,
    )


def _failed(endpoint: Endpoint, failure: RequestFailed) -> Check:
    # The address stands beside the message in every result.
    message = failure.message.removeprefix(safe_url(failure.url)).strip()
    return Check(
        endpoint, "unhealthy", failure.code, message, failure.status, failure.latency_ms, next_step=failure.next_step
    )


def _not_found(check: Check) -> Check:
    code, message, hint = _BY_STATUS[404]
    return dataclasses.replace(check, level="unhealthy", reason=code, message=message, next_step=hint)


def ask_until(
    probe: Probe,
    good: Callable[[Verdict], bool],
    *,
    deadline: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Round, int, float]:
    """Rounds until ``good`` or until ``deadline`` seconds are over: the last round, their number, the seconds it took.

    The pauses grow and are not equal, so that many controllers do not ask in step.
    """
    begun = clock()
    pause = _FIRST_PAUSE
    rounds = 0
    while True:
        left = deadline - (clock() - begun)
        latest = probe.ask(timeout=max(left, _SHORTEST_ROUND))
        rounds += 1
        left = deadline - (clock() - begun)
        if good(latest.verdict) or left <= 0:
            return latest, rounds, round(clock() - begun, 3)
        wait = pause * random.uniform(0.75, 1.25)  # noqa: S311 - spreads requests, guards nothing
        if left - wait < _SHORTEST_ROUND:
            return latest, rounds, round(clock() - begun, 3)
        sleep(wait)
        pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE)
