"""Middlewares that langgraph.json configures: ``http.mount_prefix`` and ``http.logging_headers``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from runstead.wire.errors import NotFound

from .auth.authentication import own_path

_ALSO_AT_THE_ROOT: Final = ("/", "/ok")
"""Paths that also work without the prefix, for health checks."""


class MountPrefix:
    """ASGI middleware, inside the error middleware. Raises NotFound for paths outside ``prefix``."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        root: str = scope.get("root_path", "")
        path = own_path(scope)
        if path == self._prefix or path.startswith(f"{self._prefix}/"):
            scope = {**scope, "root_path": root + self._prefix}
        elif path not in _ALSO_AT_THE_ROOT:
            raise NotFound(f"Nothing is served here; everything is under {self._prefix}")
        await self._app(scope, receive, send)


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
