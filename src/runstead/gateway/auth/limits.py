"""Limits for clients: requests and open streams are counted between authentication and the routes."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.limits import ClientLimits

from .audit import ACTOR

_STREAMS: Final = re.compile(r"/(stream|stream/events|wait|join)/?$")


class Limits:
    """ASGI middleware behind authentication. The server's own code, and open paths, are not limited."""

    def __init__(self, app: ASGIApp, source: Callable[[], ClientLimits]) -> None:
        """``source``: the limits of the running application."""
        self._app, self._source = app, source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        actor: ActorContext | None = scope.get(ACTOR)
        if actor is None or actor.is_server:
            await self._app(scope, receive, send)
            return
        limits = self._source()
        async with AsyncExitStack() as opened:
            if limits.requests is not None:
                await limits.requests.take(actor)
            if limits.streams is not None and (scope["type"] == "websocket" or _STREAMS.search(scope["path"])):
                await opened.enter_async_context(limits.streams.open(actor))
            await self._app(scope, receive, send)
