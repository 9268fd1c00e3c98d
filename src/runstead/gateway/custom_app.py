"""An app of the user's own beside our routes: what ``http.app`` of langgraph.json names.

A request goes through their middleware to the first route that takes it: ours that cannot be shadowed, then theirs,
then all others of ours. Their app stays what it is, with its state, its exception handlers and its lifespan; ours
stands in it as a last route that takes everything. Theirs runs on the loop of user code, ours on the server's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, BaseUser
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runstead.runtime.actor_context import ActorContext, acting, require_actor_context
from runstead.runtime.user_code.scope import UserWork
from runstead.runtime.user_code.thread_loop import LoopLost, LoopTask, submit_to
from runstead.runtime.user_code.user_loop import UserLoop
from runstead.wire.credentials import Authenticator
from runstead.wire.errors import Unavailable

from .authentication import ACTOR, CHECK_SECONDS, WATCH, Authentication, own_path
from .failures import Failures
from .lifespan import Lifespan
from .loop_bridge import Work, bridged
from .sockets import SocketFailures

RESERVED: Final = frozenset(("/ok", "/ready", "/docs", "/openapi.json"))
"""What load balancers and readers rely on; all other routes of ours may be shadowed."""

_PROBES: Final = frozenset(("/ok", "/ready"))
"""What load balancers ask without credentials: their middleware, which may want some, does not see it."""
_BELOW: Final = "runstead.below"
_ASK: Final = "runstead.ask"
_OURS_AGAIN: Final = ("app", "router", "route", "endpoint", "path_params", "app_root_path")
"""What a request's way through their app leaves in its scope, and our routes must find as it was."""


class CustomApp:
    """Their app, made ready. ``auth_first``: it is asked who somebody is before their middleware sees the request.
    ``authenticated``: it is asked on their routes too.

    Making a second one of the same app takes it over from the first.
    """

    def __init__(self, app: Starlette, *, auth_first: bool = False, authenticated: bool = False) -> None:
        self.app = app
        self._auth_first, self._authenticated = auth_first, authenticated
        self._state: Mapping[str, Any] = {}
        self._user_loop: UserLoop | None = None
        self._lifespan: Lifespan | None = None
        self._routes = [route for route in app.router.routes if not isinstance(route, _Ours)]
        app.router.routes[:] = [_Ours(RESERVED), *self._routes, _Ours()]
        app.user_middleware[:] = [one for one in app.user_middleware if not _is(one, _Guard)]
        own_cors = next((one for one in app.user_middleware if _is(one, CORSMiddleware)), None)
        self.has_cors = own_cors is not None
        options: Mapping[str, Any] = own_cors.kwargs if own_cors else {}
        self.cors_origins: tuple[Collection[str], str | None] = (
            options.get("allow_origins", ()),
            options.get("allow_origin_regex"),
        )
        """Origins that its own CORSMiddleware allows: a list, and an expression."""
        if authenticated and not auth_first:
            # The innermost: after all middleware of theirs.
            app.user_middleware.append(Middleware(_Guard, theirs=self.is_theirs))
        app.middleware_stack = None

    @asynccontextmanager
    async def lifespan(self, user_loop: UserLoop) -> AsyncIterator[None]:
        """Their app, started on ``user_loop`` for the length of a block. Raises what its start or its end raises."""
        self._user_loop = user_loop
        await self.start_again()
        try:
            yield
        finally:
            if self._lifespan is not None:
                await self._lifespan.end()

    async def start_again(self) -> None:
        """Start their app anew, after the loop on which it was started is lost. Raises what its start raises."""
        assert self._user_loop is not None, "it has been started once"
        self._lifespan = Lifespan(self.app.router.lifespan_context(self.app))
        self._state = await self._lifespan.start(self._user_loop)

    async def serve(self, below: ASGIApp, door: Door, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by one of their routes, or ``below``. ``door`` is where one has to say who one is."""
        is_theirs = self.is_theirs(scope)
        if not is_theirs and (self._only_routes or own_path(scope) in _PROBES):
            await below(scope, receive, send)
            return
        ours = {name: scope[name] for name in _OURS_AGAIN if name in scope}
        home = asyncio.get_running_loop()
        theirs = bridged(self.app, self._submit)

        async def back(inner: Scope, receive: Receive, send: Send) -> None:
            # Theirs may have changed headers, or told more of the user: all but what marks the way stays.
            kept = {name: value for name, value in inner.items() if name not in _OURS_AGAIN}
            await bridged(below, partial(submit_to, home))({**kept, **ours}, receive, send)

        async def ask(inside: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            # From their loop to ours, where one is asked who one is, and back to what is inside.
            asking = partial(door.through, bridged(inside, self._submit))
            await bridged(asking, partial(submit_to, home))(scope, receive, send)

        scope = {**scope, _BELOW: back, _ASK: ask, "state": {**scope.get("state", {}), **self._state}}
        has_begun = False

        async def watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            if self._auth_first and (self._authenticated or not is_theirs):
                await door.through(theirs, scope, receive, watched, is_open=not is_theirs)
            else:
                await theirs(scope, receive, watched)
        except LoopLost:
            if not has_begun:
                await Failures(SocketFailures(_unavailable))(scope, receive, send)

    def _submit(self, work: Work) -> LoopTask[None]:
        assert self._user_loop is not None, "it is served within its lifespan"
        return self._user_loop.submit(work, UserWork("http.app"))

    @property
    def _only_routes(self) -> bool:
        """Whether their app does nothing with a request that none of its routes takes."""
        middleware = [one for one in self.app.user_middleware if not _is(one, _Guard)]
        return not middleware and type(self.app) in (Starlette, FastAPI)

    def is_authenticated(self, scope: Scope) -> bool:
        """Whether the caller of this route has to say who they are, on a server that asks."""
        return self._authenticated or not self.is_theirs(scope)

    def is_theirs(self, scope: Scope) -> bool:
        """One of their routes takes the request."""
        if own_path(scope) in RESERVED:
            return False
        return any(route.matches(dict(scope))[0] is Match.FULL for route in self._routes)


async def _unavailable(scope: Scope, receive: Receive, send: Send) -> None:
    raise Unavailable("This server's user code did not come back and starts anew; send the request again in a moment")


def _is(middleware: Middleware, kind: type[Any]) -> bool:
    return isinstance(middleware.cls, type) and issubclass(middleware.cls, kind)


class Door:
    """Asks who somebody is, and refuses in our own words; what comes behind fails as it likes."""

    def __init__(self, authenticator: Authenticator, check_seconds: float = CHECK_SECONDS) -> None:
        self._authenticator, self._check_seconds = authenticator, check_seconds

    async def through(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, is_open: bool = False) -> None:
        """``app``, for one who is known; with ``is_open`` our open paths need nobody."""
        admitted: list[tuple[Scope, Receive, ActorContext | None]] = []

        async def inside(scope: Scope, receive: Receive, _: Send) -> None:
            admitted.append((scope, receive, require_actor_context("a route") if ACTOR in scope else None))

        asking = Authentication(inside, self._authenticator, has_open_paths=is_open, check_seconds=self._check_seconds)
        await Failures(SocketFailures(asking))(scope, receive, send)
        for scope_inside, receive_inside, actor in admitted:
            if actor is None:
                await app(scope_inside, receive_inside, send)
                return
            known = {"user": ActorUser(actor), "auth": AuthCredentials(sorted(actor.scopes))}
            with acting(actor):
                watch = scope_inside.get(WATCH)
                serve = app if watch is None else partial(watch.serve, app)
                await serve({**scope_inside, **known}, receive_inside, send)


class ActorUser(BaseUser):
    """An actor as Starlette knows users: ``request.user``. What the authenticator told of them is there by key."""

    def __init__(self, actor: ActorContext) -> None:
        self._actor = actor

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def identity(self) -> str:
        return self._actor.user_id

    @property
    def display_name(self) -> str:
        return str(self._actor.claims.get("display_name") or self._actor.user_id)

    @property
    def permissions(self) -> list[str]:
        return sorted(self._actor.scopes)

    def __getitem__(self, name: str) -> Any:
        return self._actor.claims[name]


class _Ours(BaseRoute):
    """A route in their app that leads to ours: for some paths, or for all that nobody else took."""

    def __init__(self, paths: frozenset[str] | None = None) -> None:
        self._paths = paths

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        taken = self._paths is None or own_path(scope) in self._paths
        return (Match.FULL if taken and _BELOW in scope else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope[_BELOW](scope, receive, send)


class _Guard:
    """Middleware in their app, around their routes only: ours have a door of their own."""

    def __init__(self, app: ASGIApp, theirs: Callable[[Scope], bool]) -> None:
        self._app, self._theirs = app, theirs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _ASK in scope and self._theirs(scope):
            await scope[_ASK](self._app, scope, receive, send)
        else:
            await self._app(scope, receive, send)


class CustomRoutes:
    """ASGI middleware: requests go to the custom app, while there is one, and come back here for what is ours."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        custom: Callable[[], CustomApp | None],
        authenticator: Authenticator,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self._app, self._custom, self._door = app, custom, Door(authenticator, check_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (custom := self._custom()) is None:
            await self._app(scope, receive, send)
        else:
            await custom.serve(self._app, self._door, scope, receive, send)


class Cors:
    """Starlette's CORS, unless the custom app has its own, which is then around all routes."""

    def __init__(self, app: ASGIApp, *, custom: Callable[[], CustomApp | None], options: Mapping[str, Any]) -> None:
        """``options`` are those of CORSMiddleware."""
        self._app, self._custom = app, custom
        self._with_cors = CORSMiddleware(app, **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        custom = self._custom()
        await (self._app if custom and custom.has_cors else self._with_cors)(scope, receive, send)
