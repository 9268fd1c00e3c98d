"""Shutdown: announce it, refuse new requests, and drain runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.stream_bridge.contract import StreamBridge

from .profile import Notices


class Shutdown:
    """Shutdown that happens once, however often it is requested."""

    def __init__(self, runs: RunsFacade, bridge: StreamBridge, notices: Notices, grace: float) -> None:
        self._runs, self._bridge, self._notices, self._grace = runs, bridge, notices, grace
        self.is_leaving = False
        self._has_begun = False

    def leave(self) -> None:
        """Report not ready from now on; everything else continues until the drain."""
        self.is_leaving = True

    async def drain(self) -> None:
        """Drain the runs while their readers still read, then end the streams, so that connections can close."""
        self.leave()
        if self._has_begun:
            return
        self._has_begun = True
        await self._runs.close(self._grace)
        await self._bridge.close()
        self._notices.close()


_UNAVAILABLE: Final = JSONResponse(
    {"detail": "The server is about to stop, and it is not known whether this was done. Send it again in a moment."},
    status_code=HTTPStatus.SERVICE_UNAVAILABLE,
    headers={"retry-after": "1"},
)


class DrainingMiddleware:
    """ASGI middleware that closes the connection after each response while the server is stopping.

    Otherwise a client would send its next request over the kept connection, to a server that is gone by then; over a
    new connection, it reaches another server.
    """

    def __init__(self, app: ASGIApp, is_leaving: Callable[[], bool]) -> None:
        self._app, self._is_leaving = app, is_leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def closing(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if self._is_leaving():
                    MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        try:
            await self._app(scope, receive, closing)
        except asyncio.CancelledError:
            if started or not self._is_leaving():
                raise
            # The request took longer than the shutdown allows. Without this, the response would be a 500.
            await _UNAVAILABLE(scope, receive, closing)
