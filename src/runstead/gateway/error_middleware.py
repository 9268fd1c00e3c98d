"""Error responses for whatever a route raises, over HTTP and over WebSockets; unexpected errors are logged."""

from __future__ import annotations

import logging

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runstead.runtime.serialization import encode
from runstead.runtime.storage_fault import StorageFault
from runstead.wire.errors import UNEXPECTED, NotFound, problem_of


class SocketErrorMiddleware:
    """ASGI middleware around everything that may refuse a WebSocket."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        accepted = closed = lost = False

        async def watched(message: Message) -> None:
            nonlocal accepted, closed, lost
            if message["type"] == "websocket.close" and not (accepted or closed):
                # Starlette's response for an unknown path.
                raise NotFound("Not Found")
            accepted = accepted or message["type"] == "websocket.accept"
            closed = closed or message["type"] in ("websocket.close", "websocket.http.response.start")
            try:
                await send(message)
            except OSError:
                lost = True
                raise

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if lost:
                # The client has disconnected, which is not a failure: the server expects the exception that it raised.
                raise
            problem = problem_of(error)
            if problem.status >= 500:
                _log.exception("the WebSocket %s failed", scope["path"])
            if closed:
                return
            if not accepted:
                await send({"type": "websocket.accept"})
            # A close frame has room for 123 bytes of reason.
            reason = problem.detail.encode()[:120].decode(errors="ignore")
            await send({"type": "websocket.close", "code": 4000 + problem.status, "reason": reason})


_log = logging.getLogger(__name__)


class ErrorMiddleware:
    """ASGI middleware around the routes, inside CORS, so that browser clients can read errors too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            # The client disconnected during its own request: there is no one to respond to.
            return
        except Exception as error:
            problem = problem_of(error)
            if isinstance(error, StorageFault) and (error.is_transient or error.kind == "keyless"):
                # Until the fault ends, or the server restarts with the key, every request fails for the same reason.
                _log.warning("%s %s: %s", scope["method"], scope["path"], error)
            elif isinstance(error, StorageFault) and error.kind in ("full", "read_only"):
                # As above, until an operator frees or remounts the disk, which may also hold the log.
                _log.error("%s %s: %s", scope["method"], scope["path"], error)
            elif problem.status == UNEXPECTED or isinstance(error, StorageFault):
                _log.exception("%s %s failed", scope["method"], scope["path"])
            if started:
                # A part of the response has been sent: the server cuts the connection, which the client notices.
                return
            body = encode(problem.to_json())
            await Response(body, problem.status, problem.headers, "application/json")(scope, receive, send)
