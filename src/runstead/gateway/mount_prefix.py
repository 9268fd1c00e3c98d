"""Everything under a prefix, as if another app had mounted this one there: ``http.mount_prefix`` of langgraph.json."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from runstead.wire.errors import NotFound

from .authentication import own_path

_ALSO_AT_THE_ROOT: Final = ("/", "/ok")
"""Health checks know nothing of prefixes."""


class MountPrefix:
    """ASGI middleware, inside of those that answer failures. Raises NotFound for what is not under ``prefix``."""

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
