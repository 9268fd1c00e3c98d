"""Authentication middleware, which binds the actor around every request. Open paths need no authentication."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.fair_turns import group_of
from runstead.wire.credentials import Authenticator, Credentials
from runstead.wire.errors import BodyTooLarge

from ..memory_guard import MEMORY, RequestMemory
from ..request_log import record_of
from .access_watch import AccessWatch
from .policy import OPEN_PATHS, PathTemplates, is_open

_MAX_BODY: Final = 32 * 1024 * 1024
"""Maximum bytes that are read for an authenticator; the limit for routes is a setting."""


CHECK_SECONDS: Final = 5.0
WATCH: Final = "runstead.access_watch"
"""Scope key of the access watch, for requests whose caller is authenticated again during the request."""
ACTOR: Final = "runstead.actor"
"""Scope key of an authenticated actor, so that no request is authenticated twice."""


class Authentication:
    """ASGI middleware without which no stored data can be accessed, since it binds the actor."""

    def __init__(
        self,
        app: ASGIApp,
        authenticator: Authenticator,
        *,
        open_paths: Collection[str] = OPEN_PATHS,
        check_seconds: float = CHECK_SECONDS,
        paths: PathTemplates | None = None,
    ) -> None:
        """Create the middleware. ``check_seconds`` is the interval at which callers are authenticated again.

        ``paths``: those of routes, whose ids the authenticator gets.
        """
        self._app, self._authenticator, self._check_seconds = app, authenticator, check_seconds
        self._paths = paths or PathTemplates()
        self._open = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or is_open(own_path(scope), self._open):
            await self._app(scope, receive, send)
            return
        if (actor := scope.get(ACTOR)) is not None:
            _assign(scope, actor)
            with acting(actor):
                await self._app(scope, receive, send)
            return
        body = _ReadAhead(receive)
        ask = partial(self._authenticator.authenticate, _credentials(scope, body, self._paths))
        actor = await ask()
        if (record := record_of(scope)) is not None:
            record.user = actor.user_id
        _assign(scope, actor)
        with acting(actor):
            inside = {**scope, ACTOR: actor}
            if actor.is_authenticated:
                watch = AccessWatch(ask, actor, self._check_seconds)
                await watch.serve(self._app, {**inside, WATCH: watch}, body.receive, send)
            else:
                await self._app(inside, body.receive, send)


class _ReadAhead:
    """Request body for an authenticator that reads it, kept for the route behind."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read: bytes | None = None
        self._given = True

    async def body(self) -> bytes:
        """Read the whole body. Raises BodyTooLarge."""
        if self._read is not None:
            return self._read
        chunks, size, more = [], 0, True
        while more:
            message = await self._receive()
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > _MAX_BODY:
                raise BodyTooLarge(_MAX_BODY)
            more = message.get("more_body", False)
        self._read, self._given = b"".join(chunks), False
        return self._read

    async def receive(self) -> Message:
        if self._given:
            return await self._receive()
        self._given = True
        return {"type": "http.request", "body": self._read, "more_body": False}


def _assign(scope: Scope, actor: ActorContext) -> None:
    """Count the request's memory for its user. Raises TooManyBytes."""
    memory: RequestMemory | None = scope.get(MEMORY)
    if memory is not None:
        memory.assign(group_of(actor))


def own_path(scope: Scope) -> str:
    """Return the path relative to the mount point of the app."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"


def _credentials(scope: Scope, body: _ReadAhead, paths: PathTemplates) -> Credentials:
    client = scope.get("client")
    method, path = scope.get("method", "GET"), own_path(scope)
    return Credentials(
        method=method,
        path=path,
        headers=_headers(scope),
        query=scope.get("query_string", b"").decode("latin-1"),
        client=client[0] if client else None,
        path_params=paths.params_of(method, path),
        scope=scope,
        body=body.body if scope["type"] == "http" else _nothing,
    )


def _headers(scope: Scope) -> Mapping[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def _nothing() -> bytes:
    return b""
