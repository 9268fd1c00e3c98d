"""Refusal of requests while a process has more connections than it can serve."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from runstead.settings import Settings

_AT_MOST: Final = 10_000
_TEXT: Final = "This server cannot accept more connections; try again in a moment, or raise the setting max_connections"
_REFUSED: Final = JSONResponse(
    {"detail": _TEXT},
    status_code=HTTPStatus.SERVICE_UNAVAILABLE,
    headers={"retry-after": "1", "connection": "close"},
)
_CLOSED: Final = 4000 + HTTPStatus.SERVICE_UNAVAILABLE


class ConnectionLimit:
    """ASGI middleware that responds with 503 while ``connections()`` is more than ``limit``, except on the paths in
    ``open``.

    A refused connection is closed, a WebSocket with code 4503. `TimedHttp` ends connections that have not sent a
    request.
    """

    def __init__(self, app: ASGIApp, connections: Callable[[], int], limit: int, open: Collection[str]) -> None:
        self._app, self._connections, self._limit, self._open = app, connections, limit, open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._connections() <= self._limit or scope["path"] in self._open:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": _CLOSED, "reason": _TEXT[:120]})
        else:
            await _REFUSED(scope, receive, send)


def most_connections(settings: Settings) -> int:
    """Return the maximum number of connections for this process.

    A stream may need a second file besides its connection, so the default is half of the files that the process may
    open.
    """
    if settings.max_connections is not None:
        return settings.max_connections
    if sys.platform == "win32":
        return _AT_MOST
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _AT_MOST if files == resource.RLIM_INFINITY else min(files // 2, _AT_MOST)
