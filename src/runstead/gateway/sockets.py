"""Error responses of WebSockets: a browser can read neither the status of a refused upgrade nor its body.

Therefore the connection is accepted and closed with code 4000 plus the status that the same request would have over
HTTP.
"""

from __future__ import annotations

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runstead.wire.errors import NotFound, problem_of

_log = logging.getLogger(__name__)


class SocketFailures:
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
