"""The one exception family of the package (pure, standard library only: also runs inside the host program)."""

from __future__ import annotations

from typing import Any

__all__ = ["ConnectionLost", "FloyoError", "Refused", "TimedOut", "Unusable"]


class FloyoError(Exception):
    """Something that a person must read.

    ``message`` names the object and what was found, ``expected`` what should have been there, ``next_step`` the command or
    look that comes next, ``code`` a stable upper-case word for scripts (``RELEASE_UNKNOWN``). ``details`` are JSON-able facts.
    No field may hold a secret.
    """

    def __init__(
        self, message: str, *, code: str = "FAILED", expected: str = "", next_step: str = "", **details: Any
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.expected = expected
        self.next_step = next_step
        self.details = details

    def __str__(self) -> str:
        parts = [self.message.rstrip(".") + "."]
        if self.expected:
            parts.append(f"Expected: {self.expected.rstrip('.')}.")
        if self.next_step:
            parts.append(f"Next: {self.next_step.rstrip('.')}.")
        return " ".join(parts)

    def as_result(self) -> dict[str, Any]:
        """The keys a module's failed result carries: msg, code, expected, next_step, and the details."""
        return {
            **self.details,
            "msg": str(self),
            "code": self.code,
            "expected": self.expected,
            "next_step": self.next_step,
        }


class Refused(FloyoError):
    """The request is understood and will not be carried out as asked (lock, fencing, policy)."""


class TimedOut(FloyoError):
    """A deadline passed."""


class Unusable(FloyoError):
    """An input (URL, file, artifact, answer) is not what it must be."""


class ConnectionLost(FloyoError):
    """A server could not be reached or went away."""
