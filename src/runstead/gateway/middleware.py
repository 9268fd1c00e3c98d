"""Mount prefix (``http.mount_prefix`` of langgraph.json): all routes under a prefix, as if mounted in another app."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

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
