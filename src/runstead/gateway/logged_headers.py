"""Request headers in log lines, as ``http.logging_headers`` of langgraph.json selects them."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bound_contextvars


class LoggedHeaders:
    """ASGI middleware that adds headers to log lines. ``chosen`` decides by the header's name in lower case."""

    def __init__(self, app: ASGIApp, chosen: Callable[[str], bool]) -> None:
        self._app, self._chosen = app, chosen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        pairs = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"])
        with bound_contextvars(headers={name: value for name, value in pairs if self._chosen(name)}):
            await self._app(scope, receive, send)
