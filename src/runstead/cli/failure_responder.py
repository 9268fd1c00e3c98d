"""Responder that answers requests in place of a server that could not start or has ended: 503, with the reason."""

from __future__ import annotations

import json
import os
import socket
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from runstead.runtime.json_types import JsonObject

_LOOK_EVERY: Final = 0.05
_LONGEST_BODY: Final = 1_048_576
"""Maximum bytes of a request that are read before the response; a client that is still sending might not see the
response."""
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class FailureResponder:
    """Server in threads on a listening socket, until it is closed. The socket stays open."""

    def __init__(self, listening: socket.socket, answer: JsonObject) -> None:
        handler = type("_Handler", (_Handler,), {"body": json.dumps(answer).encode()})
        self._server = ThreadingHTTPServer(("", 0), handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = socket.socket(fileno=os.dup(listening.fileno()))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_LOOK_EVERY,), name="failure-responder", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Accept no more connections; new ones wait in the socket for the next server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    body = b""
    timeout = 5.0

    def answer(self) -> None:
        with suppress(ValueError, OSError):
            self.rfile.read(min(int(self.headers.get("content-length", 0)), _LONGEST_BODY))
        self.send_response(HTTPStatus.SERVICE_UNAVAILABLE)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(self.body)))
        self.send_header("retry-after", "1")
        self.send_header("connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the terminal already shows the problem."""


for _method in _METHODS:
    setattr(_Handler, f"do_{_method}", _Handler.answer)
