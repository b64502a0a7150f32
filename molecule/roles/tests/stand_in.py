"""Stands in for uvicorn: takes the inherited socket, logs one line of JSON a request, answers after a moment."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        print(json.dumps({"level": "ERROR", "message": self.path}), flush=True)
        time.sleep(0.05)
        body = json.dumps({"status": "ready", "pid": os.getpid()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing but our own lines."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # the end of the process waits for answers that are under way
    request_queue_size = 100

    def server_bind(self) -> None:
        self.socket.close()
        self.socket = socket.socket(fileno=3)


if __name__ == "__main__":
    server = Server(("", 0), Handler, bind_and_activate=False)
    server.server_bind()
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.05)
    server.server_close()
