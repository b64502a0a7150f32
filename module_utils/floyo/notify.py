"""Messages to people through apprise: on the controller, and on a host whose own job has failed (client)."""

from __future__ import annotations

import inspect
import re
import threading
import time
from collections.abc import Sequence
from typing import Any

from .text import one_line

try:
    import apprise
except ImportError:
    apprise = None

__all__ = ["AVAILABLE", "Message", "complaint", "messages_to", "plain"]

AVAILABLE = apprise is not None
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]{0,19})://")


def plain(title: str, body: str) -> tuple[str, str]:
    """Both without what moves cursors; lines of the body stay lines."""
    return one_line(title), "\n".join(one_line(line) for line in body.splitlines())


def messages_to(urls: Sequence[str], timeout: float) -> list[Message]:
    return [Message(index, url, timeout) for index, url in enumerate(urls)]


def complaint(results: Sequence[dict[str, Any]]) -> str:
    """What could not be sent, in a sentence; empty when all was."""
    failed = [item for item in results if item["reason"]]
    if not failed:
        return ""
    return (
        f"{len(failed)} of {len(results)} notifications cannot be sent: "
        + "; ".join(f"URL {item['index']} ({item['scheme']}): {item['reason']}" for item in failed)
        + ". Next: check the URLs, counted from 0, with the command apprise."
    )


class Message:
    """One URL and what became of the message to it. The URL itself holds secrets and is shown nowhere."""

    def __init__(self, index: int, url: str, timeout: float) -> None:
        matched = _SCHEME.match(url)
        self._index = index
        self._timeout = timeout
        self._deadline = 0.0
        self._logged: list[str] = []
        self._sent: bool | None = None
        self._reason = ""
        self._thread: threading.Thread | None = None
        # Sequential: the thread below is the only one, and a daemon, so that a service that hangs cannot keep Ansible.
        self._service = apprise.Apprise.instantiate(url, asset=apprise.AppriseAsset(async_mode=False))
        self._scheme = matched.group(1).lower() if matched and self._service else "unknown"
        if self._service is None:
            self._reason = "is not a URL that apprise knows"
        else:
            self._service.socket_connect_timeout = self._service.socket_read_timeout = timeout

    def send(self, title: str, body: str, kind: str) -> None:
        if self._service is not None:
            self._deadline = time.monotonic() + self._timeout
            self._thread = threading.Thread(target=self._deliver, args=(title, body, kind), daemon=True)
            self._thread.start()

    def outcome(self) -> dict[str, Any]:
        if self._thread is not None:
            self._thread.join(max(0.0, self._deadline - time.monotonic()))
            if self._thread.is_alive():
                self._reason = f"no answer within {self._timeout:g} s"
            elif not self._sent:
                self._reason = self._reason or _reason("\n".join(self._logged))
        return {
            "index": self._index,
            "scheme": self._scheme,
            "sent": bool(self._sent) and not self._reason,
            "reason": self._reason,
        }

    def _deliver(self, title: str, body: str, kind: str) -> None:
        sender = apprise.Apprise()
        sender.add(self._service)
        listening: dict[str, Any] = {"log_callback": lambda entry, _service: self._logged.append(entry.message)}
        if "log_callback" not in inspect.signature(sender.notify).parameters:
            listening = {}  # that of Debian 12, which says less of why
        try:
            sent = sender.notify(
                body=body, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT, **listening
            )
            self._sent = bool(sent)
        except Exception as error:  # noqa: BLE001 - a service's plugin may raise anything; only its kind is safe to show
            self._reason = f"apprise failed with {type(error).__name__}"


def _reason(logged: str) -> str:
    """Why apprise says that it failed. Its sentences may hold parts of the URL: only what is safe is taken."""
    status = re.search(r"\berror=(\d{3})\b", logged)
    if status:
        return f"the service answered {status.group(1)}"
    return "the service cannot be reached" if "onnection error" in logged else "the service did not take it"
