"""One question to the application on this host (standard library only).

A fleet waits for this at every look and every switch, and on every host urllib takes longer to import than all the rest of
the program: for one GET over loopback a socket is enough.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any

__all__ = ["ask"]

# What is read of a body; health answers are short.
LIMIT = 65536
# Frameworks lead from /health/ to /health, or back.
FOLLOWED = 3


def ask(url: str, *, timeout: float, followed: int = 0) -> tuple[int, Any]:
    """(status, parsed body or None) of ``http://host:port/path``; status 0 when nobody answered within ``timeout`` seconds.

    HTTP/1.0, so that the end of the body is the end of the connection; a server that sends chunks all the same is read, too.
    Redirects to another path of the same server are followed, others are answers.
    """
    deadline = time.monotonic() + timeout
    place, slash, path = url.partition("://")[2].partition("/")
    host, _, port = place.rpartition(":")
    request = f"GET {slash or '/'}{path} HTTP/1.0\r\nHost: {place}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    try:
        head, body = _exchange((host.strip("[]"), int(port)), request.encode(), deadline)
    except OSError:
        return 0, None
    try:
        status = int(head.split(None, 2)[1])
    except (IndexError, ValueError):
        return 0, None
    there = _field(head, b"location").decode(errors="replace")
    there = f"http://{place}{there}" if there.startswith("/") else there
    if 300 <= status < 400 and there.startswith(f"http://{place}/") and followed < FOLLOWED:
        return ask(there, timeout=max(0.001, deadline - time.monotonic()), followed=followed + 1)
    try:
        return status, json.loads(_joined(body) if _chunked(head) else body)
    except ValueError:
        return status, None


def _exchange(address: tuple[str, int], request: bytes, deadline: float) -> tuple[bytes, bytes]:
    """Head and body of the answer; a body that the other side cut short is returned as it came. Raises OSError."""
    answer = b""
    # The host as bytes: a text would be encoded as domains are, by a table that takes long to load.
    place: tuple[Any, int] = (address[0].encode(), address[1])
    with socket.create_connection(place, timeout=max(0.001, deadline - time.monotonic())) as connection:
        connection.sendall(request)
        while len(answer) < LIMIT and not _complete(answer):
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            data = connection.recv(LIMIT)
            if not data:
                break
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


def _complete(answer: bytes) -> bool:
    """Whether all of a body came whose length was said: a server may leave the connection open."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    if _chunked(head):
        return body.endswith(b"0\r\n\r\n")
    length = _field(head, b"content-length")
    return length.isdigit() and len(body) >= int(length)


def _chunked(head: bytes) -> bool:
    return _field(head, b"transfer-encoding").lower() == b"chunked"


def _field(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return b""


def _joined(body: bytes) -> bytes:
    """The chunks of a body in one piece; raises ValueError when they are no chunks."""
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if not length:
            break
        whole, body = whole + body[:length], body[length + 2 :]
    return whole
