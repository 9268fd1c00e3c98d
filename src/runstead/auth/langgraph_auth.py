"""Authentication and authorization by the handlers of a ``langgraph_sdk.Auth``, which langgraph.json names.

langgraph_sdk defines how handlers are found and what their results mean; `runstead.wire.authorization` interprets
filters.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self, TypeVar
from urllib.parse import parse_qsl

import orjson
from langgraph_sdk import Auth
from starlette.exceptions import HTTPException
from starlette.requests import Request

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.user_code.scope import UserWork
from runstead.runtime.user_code.thread_loop import LoopLost, UserCodeCancelled
from runstead.runtime.user_code.user_loop import UserCodeTimeout, UserLoop
from runstead.runtime.value_shape import value_shape
from runstead.wire.authorization import Action, Filters, InvalidFilter, Resource, filter_of
from runstead.wire.credentials import Credentials
from runstead.wire.errors import Forbidden, Refused, Unauthenticated, Unavailable, WireError
from runstead.wire.users import AuthenticatedUser, actor_of

T = TypeVar("T")

_log = logging.getLogger(__name__)

_ANSWER_WITHIN: Final = 60.0
_NO_ANSWER: Final = "This server's auth handler does not answer; send the request again in a moment"
_HANDLER: Final = UserWork("auth handler")

PARAMETERS: Final = (
    "request", "body", "path", "method", "path_params", "query_params", "headers", "authorization", "scope",
)  # fmt: skip
"""Parameters that an authenticate handler may have."""


class InvalidAuth(Exception):
    """The auth module cannot be used; the text contains the reason and the fix."""


class InvalidAnswer(WireError):
    """A handler returned an invalid result, which is a mistake of its author, not of the client."""

    status = 500


def check_auth(auth: object) -> Callable[..., object]:
    """Return the authenticate handler of ``auth``. Raises InvalidAuth if it has none that can be called."""
    if not isinstance(auth, Auth):
        raise InvalidAuth(f"it is a {type(auth).__name__}, not a langgraph_sdk.Auth")
    handler = auth._authenticate_handler
    if handler is None:
        raise InvalidAuth("it has no @auth.authenticate handler, so that no user could be authenticated; add one")
    _parameters(handler)
    return handler


class LangGraphAuth:
    """Authenticator and Authorizer over the handlers of ``auth``, which are called on ``user_loop``."""

    def __init__(
        self,
        auth: Auth,
        user_loop: UserLoop,
        *,
        answer_within: float = _ANSWER_WITHIN,
        stored_fields: Collection[str] | None = None,
    ) -> None:
        """Create the authenticator. ``answer_within``: maximum seconds of a handler. ``stored_fields``: see `actor_of`.

        Raises InvalidAuth, see `check_auth`.
        """
        self._stored_fields = stored_fields
        self._authenticate = check_auth(auth)
        self._wanted = _parameters(self._authenticate)
        self._auth, self._user_loop, self._answer_within = auth, user_loop, answer_within

    @classmethod
    @asynccontextmanager
    async def running(cls, auth: Any) -> AsyncIterator[Self]:
        """Create it with a user loop of its own, for the duration of a block. Raises InvalidAuth."""
        async with UserLoop.running() as user_loop:
            yield cls(auth, user_loop)

    @property
    def decides(self) -> bool:
        """True if there is any handler for authorization."""
        return bool(self._auth._handlers or self._auth._global_handlers)

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        arguments = await _arguments(credentials, self._wanted)
        try:
            user = await self._called(self._authenticate, arguments)
        except AssertionError as error:
            # Short handlers refuse with an assertion: `assert token in TOKENS`.
            raise Unauthenticated(str(error) or "Not authenticated") from error
        except (Auth.exceptions.HTTPException, HTTPException) as error:
            raise _refused(error) from error
        return actor_of(user, self._stored_fields)

    async def authorize(
        self, actor: ActorContext, resource: Resource, action: Action, value: JsonObject
    ) -> Filters | None:
        handler = self._handler(resource, action)
        if handler is None:
            return None
        user: Any = AuthenticatedUser(actor)
        context = Auth.types.AuthContext(permissions=user.permissions, user=user, resource=resource, action=action)
        try:
            answer = await self._called(handler, {"ctx": context, "value": value})
        except AssertionError as error:
            raise Forbidden(str(error) or "Forbidden") from error
        except (Auth.exceptions.HTTPException, HTTPException) as error:
            raise _refused(error) from error
        return _filters(answer, handler)

    async def _called(self, handler: Callable[..., Any], arguments: JsonMapping) -> Any:
        """Return the result of ``handler``. Raises Unavailable if it does not return in time, or raises a timeout of
        its own: of an unavailable service, or because other user code blocked the loop."""
        try:
            if inspect.iscoroutinefunction(handler):
                return await self._user_loop.run(lambda: handler(**arguments), self._answer_within, named=_HANDLER)
            return await self._user_loop.run_sync(lambda: handler(**arguments), self._answer_within, named=_HANDLER)
        except (UserCodeTimeout, UserCodeCancelled, LoopLost) as error:
            raise Unavailable(_NO_ANSWER) from error
        except Exception as error:
            if not _is_timeout(error):
                raise
            _log.warning("%s timed out", _name(handler), exc_info=True)
            raise Unavailable(_NO_ANSWER) from error

    def _handler(self, resource: str, action: str) -> Callable[..., object] | None:
        """Return the most specific handler."""
        for key in ((resource, action), (resource, "*"), ("*", action), ("*", "*")):
            if found := self._auth._handlers.get(key):
                return found[-1]
        return self._auth._global_handlers[-1] if self._auth._global_handlers else None


def _filters(answer: object, handler: Callable[..., Any]) -> Filters | None:
    if answer is None or answer is True:
        return None
    if answer is False:
        raise Forbidden("Forbidden")
    if isinstance(answer, Mapping):
        # Checked now, so that an invalid filter is an error on every request, and not only on some.
        try:
            filter_of(answer)
        except InvalidFilter:
            _log.error("%s returned a filter that cannot be applied: %s", _name(handler), value_shape(answer))
            raise
        return dict(answer)
    _log.error("%s must return None, True, False or a filter (a dict), got %s", _name(handler), value_shape(answer))
    raise InvalidAnswer(
        f"This server's auth handler must return None, True, False or a filter (a dict), got {type(answer).__name__}"
    )


def _parameters(handler: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the parameters of ``handler``. Raises InvalidAuth for an unknown one."""
    wanted = []
    for name, parameter in inspect.signature(handler).parameters.items():
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        if name in PARAMETERS and parameter.kind is not inspect.Parameter.POSITIONAL_ONLY:
            wanted.append(name)
        elif parameter.default is inspect.Parameter.empty:
            known = ", ".join(PARAMETERS)
            raise InvalidAuth(f"{_name(handler)} asks for {name!r}; an authenticate handler may ask for {known}")
    return tuple(wanted)


async def _arguments(credentials: Credentials, wanted: tuple[str, ...]) -> JsonObject:
    raw = await credentials.body() if {"request", "body"} & set(wanted) else b""
    makers: dict[str, Callable[[], object]] = {
        "request": lambda: _request(credentials, raw),
        "body": lambda: _json(raw),
        "path": lambda: credentials.path,
        "method": lambda: credentials.method,
        "path_params": lambda: dict(credentials.path_params),
        "query_params": lambda: dict(parse_qsl(credentials.query, keep_blank_values=True)),
        "headers": lambda: {
            name.encode("latin-1"): value.encode("latin-1") for name, value in credentials.headers.items()
        },
        "authorization": lambda: credentials.headers.get("authorization"),
        "scope": lambda: dict(credentials.scope),
    }
    return {name: makers[name]() for name in wanted}


def _request(credentials: Credentials, raw: bytes) -> Request:
    """Return the request with its body read: a handler runs on another loop, which cannot read the connection."""

    async def receive() -> JsonObject:
        return {"type": "http.request", "body": raw, "more_body": False}

    scope = {**credentials.scope, "path_params": dict(credentials.path_params)}
    # Also for a WebSocket, whose handshake is an HTTP request.
    return Request({**scope, "type": "http", "method": credentials.method}, receive)


def _json(raw: bytes) -> object:
    try:
        return orjson.loads(raw) if raw.strip() else {}
    except orjson.JSONDecodeError:
        return None


def _is_timeout(error: Exception) -> bool:
    """Return whether the error is a timeout, of Python or of an HTTP client: httpx and requests have classes of that
    name."""
    return any("Timeout" in kind.__name__ for kind in type(error).__mro__)


def _refused(error: Any) -> WireError | Refused:
    return Refused(int(error.status_code), str(error.detail), error.headers)


def _name(handler: Callable[..., Any]) -> str:
    return f"auth handler {getattr(handler, '__qualname__', repr(handler))}"
