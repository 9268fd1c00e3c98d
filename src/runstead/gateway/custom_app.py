"""Custom app of the user next to the built-in routes, as ``http.app`` of langgraph.json names it.

A request passes the custom app's middleware to the first matching route: built-in routes that cannot be replaced, then
the custom app's, then all other built-in routes. The custom app keeps its state, its exception handlers and its
lifespan; the built-in routes are added to it as a last route that matches everything. The custom app runs on the loop
of user code, the built-in routes on the server's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
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
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.user_code.scope import UserWork
from runstead.runtime.user_code.thread_loop import LoopLost, LoopTask, submit_to
from runstead.runtime.user_code.user_loop import UserLoop
from runstead.wire.credentials import Authenticator
from runstead.wire.errors import Unavailable

from .auth.authentication import ACTOR, CHECK_SECONDS, WATCH, Authentication, own_path
from .auth.policy import OPEN_PATHS, PathTemplates
from .error_middleware import ErrorMiddleware, SocketErrorMiddleware
from .lifespan import Lifespan
from .loop_bridge import Work, bridged

RESERVED: Final = frozenset(("/ok", "/ready", "/docs", "/openapi.json"))
"""Built-in paths on which load balancers and documentation readers rely; all other built-in routes may be replaced."""

_PROBES: Final = frozenset(("/ok", "/ready"))
"""Paths that load balancers request without credentials: the custom app's middleware, which may require some, does not
see them."""
_BELOW: Final = "runstead.below"
_ASK: Final = "runstead.ask"
_OURS_AGAIN: Final = ("app", "router", "route", "endpoint", "path_params", "app_root_path")
"""Scope entries that the custom app changes, and that the built-in routes need in their original form."""


class CustomApp:
    """Custom app with the built-in routes added.

    ``auth_first``: authenticate before the app's middleware sees the request. ``authenticated``: authenticate the app's
    own routes too. Creating a second instance for the same app takes the app over from the first.
    """

    def __init__(self, app: Starlette, *, auth_first: bool = False, authenticated: bool = False) -> None:
        self.app = app
        self._auth_first, self._authenticated = auth_first, authenticated
        self._state: JsonMapping = {}
        self._user_loop: UserLoop | None = None
        self._lifespan: Lifespan | None = None
        self._routes = [route for route in app.router.routes if not isinstance(route, _Ours)]
        app.router.routes[:] = [_Ours(RESERVED), *self._routes, _Ours()]
        app.user_middleware[:] = [one for one in app.user_middleware if not _is(one, _Guard)]
        own_cors = next((one for one in app.user_middleware if _is(one, CORSMiddleware)), None)
        self.has_cors = own_cors is not None
        options: JsonMapping = own_cors.kwargs if own_cors else {}
        self.cors_origins: tuple[Collection[str], str | None] = (
            options.get("allow_origins", ()),
            options.get("allow_origin_regex"),
        )
        """Origins that its own CORSMiddleware allows: a list, and a regular expression."""
        if authenticated and not auth_first:
            # Innermost: after all middleware of the custom app.
            app.user_middleware.append(Middleware(_Guard, theirs=self.is_theirs))
        app.middleware_stack = None

    @asynccontextmanager
    async def lifespan(self, user_loop: UserLoop) -> AsyncIterator[None]:
        """Start the custom app on ``user_loop`` for the duration of a block. Raises the errors of its start or end."""
        self._user_loop = user_loop
        await self.start_again()
        try:
            yield
        finally:
            if self._lifespan is not None:
                await self._lifespan.end()

    async def start_again(self) -> None:
        """Start the custom app again after its loop was lost. Raises the errors of its start."""
        assert self._user_loop is not None, "it has been started once"
        self._lifespan = Lifespan(self.app.router.lifespan_context(self.app))
        self._state = await self._lifespan.start(self._user_loop)

    async def serve(self, below: ASGIApp, door: AuthGate, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond with one of the custom app's routes, or with ``below``. ``door`` authenticates the request."""
        is_theirs = self.is_theirs(scope)
        if not is_theirs and (self._only_routes or own_path(scope) in _PROBES):
            await below(scope, receive, send)
            return
        ours = {name: scope[name] for name in _OURS_AGAIN if name in scope}
        home = asyncio.get_running_loop()
        theirs = bridged(self.app, self._submit)

        async def back(inner: Scope, receive: Receive, send: Send) -> None:
            # The custom app may have changed headers, or added data about the user: keep everything except the routing
            # entries.
            kept = {name: value for name, value in inner.items() if name not in _OURS_AGAIN}
            await bridged(below, partial(submit_to, home))({**kept, **ours}, receive, send)

        async def ask(inside: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            # Switch from the custom app's loop to the server's, which authenticates, and back.
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
                await ErrorMiddleware(SocketErrorMiddleware(_unavailable))(scope, receive, send)

    def _submit(self, work: Work) -> LoopTask[None]:
        assert self._user_loop is not None, "it is served within its lifespan"
        return self._user_loop.submit(work, UserWork("http.app"))

    @property
    def _only_routes(self) -> bool:
        """True if the custom app does nothing with a request that matches none of its routes."""
        middleware = [one for one in self.app.user_middleware if not _is(one, _Guard)]
        return not middleware and type(self.app) in (Starlette, FastAPI)

    def is_authenticated(self, scope: Scope) -> bool:
        """Return whether this request must be authenticated, on a server with authentication."""
        return self._authenticated or not self.is_theirs(scope)

    def is_theirs(self, scope: Scope) -> bool:
        """Return whether one of the custom app's routes matches the request."""
        if own_path(scope) in RESERVED:
            return False
        return any(route.matches(dict(scope))[0] is Match.FULL for route in self._routes)


async def _unavailable(scope: Scope, receive: Receive, send: Send) -> None:
    raise Unavailable("This server's user code was blocked and is being restarted; send the request again in a moment")


def _is(middleware: Middleware, kind: type[object]) -> bool:
    return isinstance(middleware.cls, type) and issubclass(middleware.cls, kind)


class AuthGate:
    """Authentication of requests with the server's own error format. Errors of the app behind it pass through
    unchanged."""

    def __init__(
        self,
        authenticator: Authenticator,
        check_seconds: float = CHECK_SECONDS,
        paths: PathTemplates | None = None,
        open_paths: Collection[str] = OPEN_PATHS,
    ) -> None:
        self._authenticator, self._check_seconds, self._paths = authenticator, check_seconds, paths
        self._open_paths = open_paths

    async def through(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, is_open: bool = False) -> None:
        """Serve ``app`` for an authenticated caller; with ``is_open``, the built-in open paths need no
        authentication."""
        admitted: list[tuple[Scope, Receive, ActorContext | None]] = []

        async def inside(scope: Scope, receive: Receive, _: Send) -> None:
            admitted.append((scope, receive, require_actor_context("a route") if ACTOR in scope else None))

        asking = Authentication(
            inside,
            self._authenticator,
            open_paths=self._open_paths if is_open else (),
            check_seconds=self._check_seconds,
            paths=self._paths,
        )
        await ErrorMiddleware(SocketErrorMiddleware(asking))(scope, receive, send)
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
    """Actor as Starlette's ``request.user``. Claims of the authenticator are available by key."""

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

    def __getitem__(self, name: str) -> object:
        return self._actor.claims[name]


class _Ours(BaseRoute):
    """Route in the custom app that leads to the built-in routes: for some paths, or for all that no other route
    matched."""

    def __init__(self, paths: frozenset[str] | None = None) -> None:
        self._paths = paths

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        taken = self._paths is None or own_path(scope) in self._paths
        return (Match.FULL if taken and _BELOW in scope else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: object) -> Any:
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope[_BELOW](scope, receive, send)


class _Guard:
    """Authentication inside the custom app, for its own routes only: the built-in routes have their own
    authentication."""

    def __init__(self, app: ASGIApp, theirs: Callable[[Scope], bool]) -> None:
        self._app, self._theirs = app, theirs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _ASK in scope and self._theirs(scope):
            await scope[_ASK](self._app, scope, receive, send)
        else:
            await self._app(scope, receive, send)


class CustomRoutes:
    """ASGI middleware that sends requests through the custom app, if there is one, and on to the built-in routes."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        custom: Callable[[], CustomApp | None],
        authenticator: Authenticator,
        check_seconds: float = CHECK_SECONDS,
        paths: PathTemplates | None = None,
        open_paths: Collection[str] = OPEN_PATHS,
    ) -> None:
        self._app, self._custom = app, custom
        self._door = AuthGate(authenticator, check_seconds, paths, open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (custom := self._custom()) is None:
            await self._app(scope, receive, send)
        else:
            await custom.serve(self._app, self._door, scope, receive, send)


class Cors:
    """Starlette's CORS, unless the custom app has its own, which then covers all routes."""

    def __init__(self, app: ASGIApp, *, custom: Callable[[], CustomApp | None], options: JsonMapping) -> None:
        """Create the middleware. ``options`` are those of CORSMiddleware."""
        self._app, self._custom = app, custom
        self._with_cors = CORSMiddleware(app, **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        custom = self._custom()
        await (self._app if custom and custom.has_cors else self._with_cors)(scope, receive, send)
