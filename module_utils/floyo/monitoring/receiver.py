"""floyo-alerts: takes Alertmanager's webhooks and tells people through apprise (client: one small HTTP server)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable

from .. import notify
from .message import message_of

__all__ = ["serve"]

_LARGEST = 4 * 1024 * 1024


def tell(payload: Mapping[str, Any], settings: Mapping[str, Any], say: Callable[[str], None]) -> bool:
    """False when nobody could be told: Alertmanager then tries again.

    One URL that fails among others is only complained of. To repeat for its sake would tell the others twice.
    """
    title, body, kind = message_of(payload)
    title, body = notify.plain(f"{settings['title']}: {title}", body)
    messages = notify.messages_to(settings["urls"], settings["timeout"])
    for message in messages:
        message.send(title, body, kind)
    outcomes = [message.outcome() for message in messages]
    sentence = notify.complaint(outcomes)
    say(f"{title}: {sentence or f'told {len(outcomes)}'}")
    return any(one["sent"] for one in outcomes)


def serve(settings: Mapping[str, Any], say: Callable[[str], None]) -> ThreadingHTTPServer:
    """A server that is bound and not yet running. POST takes an alert; GET answers when it is there at all."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200)

        def do_POST(self) -> None:
            try:
                size = int(self.headers.get("Content-Length") or 0)
                if not 0 < size <= _LARGEST:
                    raise ValueError("no length, or too long")
                payload = json.loads(self.rfile.read(size))
                told = tell(payload, settings, say)
            except (ValueError, AttributeError) as error:
                say(f"this is no message of Alertmanager's: {error}")
                self._answer(400)  # Alertmanager does not repeat it
                return
            self._answer(200 if told else 502)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Each message has its line."""

    host, port = str(settings["listen"]).rsplit(":", 1)
    return ThreadingHTTPServer((host, int(port)), Handler)
