"""Binds the actor around every request; the open paths are served to anybody."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from runstead.runtime.actor_context import acting
from runstead.wire.credentials import Authenticator, Credentials

OPEN_PATHS: Final = frozenset(("/", "/ok", "/ready", "/info", "/docs", "/openapi.json"))
"""They tell nothing about anybody, and load balancers and browsers ask for them without credentials."""


class Authentication:
    """ASGI middleware: nothing durable can be reached behind it without an actor."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app, self._authenticator = app, authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or _own_path(scope) in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        actor = await self._authenticator.authenticate(_credentials(scope))
        with acting(actor):
            await self._app(scope, receive, send)


def _own_path(scope: Scope) -> str:
    """The path below where the app is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"


def _credentials(scope: Scope) -> Credentials:
    client = scope.get("client")
    return Credentials(
        method=scope.get("method", "WEBSOCKET"),
        path=_own_path(scope),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        query=scope.get("query_string", b"").decode("latin-1"),
        client=client[0] if client else None,
    )
