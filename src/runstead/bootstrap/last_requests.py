"""What a server that is about to go adds to its answers."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class LastRequests:
    """Answers of a leaving server close their connections: who keeps one would send the next request over it, to a
    server that is gone by then; over a new one it comes to another server.
    """

    def __init__(self, app: ASGIApp, is_leaving: Callable[[], bool]) -> None:
        self._app, self._is_leaving = app, is_leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._is_leaving():
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self._app(scope, receive, closing)
