"""Loopback client: ``langgraph_sdk.get_client()`` without a URL, which in user code reaches the code's own server.

The SDK has a hook for servers. A request goes from the loop of user code to the server's loop, on behalf of the actor
for whom the code runs: a node has the access of its run's user. Code that does not act for a user, such as a lifespan
or a route without authentication, acts as the server. (docs/adr/0036)
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import httpx
from langgraph_sdk._async import client as sdk_client
from starlette.types import ASGIApp, Receive, Scope, Send

from runstead.gateway.auth.authentication import ACTOR
from runstead.gateway.loop_bridge import bridged
from runstead.gateway.loopback_transport import LoopbackTransport
from runstead.runtime.actor_context import OWN_ONLY, ActorContext, get_actor_context
from runstead.runtime.user_code.scope import current_server
from runstead.runtime.user_code.thread_loop import submit_to
from runstead.runtime.user_code.user_loop import UserLoop
from runstead.wire.errors import Unauthenticated


@dataclass(frozen=True, slots=True)
class _Server:
    """Routes of a server, callable from any loop. ``actor`` is the actor of its own code."""

    app: ASGIApp
    prefix: str
    actor: ActorContext


_SERVERS: Final[dict[UserLoop, _Server]] = {}
"""Servers that run in this process, newest last."""


async def _loopback(scope: Scope, receive: Receive, send: Send) -> None:
    """Route a client's request to the server whose code calls, or else to the newest server."""
    await _serve(current_server(), scope, receive, send)


async def _serve(server_id: object | None, scope: Scope, receive: Receive, send: Send) -> None:
    if not _SERVERS:
        raise httpx.ConnectError("no server runs in this process, or not yet; give get_client() a url")
    own = _SERVERS.get(server_id) if isinstance(server_id, UserLoop) else None
    server = own or list(_SERVERS.values())[-1]
    actor = get_actor_context()
    if actor is None and (own is not None or not server.actor.is_authenticated):
        actor = server.actor
    if actor is None:
        raise Unauthenticated(
            "get_client() without a URL works in graphs, http.app and auth handlers of a server, and in tasks that "
            "they start; here it is not known for whom it acts: give it a url, and headers with credentials"
        )
    reach = server.actor.access_scope if actor.is_server else OWN_ONLY
    path, raw_path = server.prefix + scope["path"], quote(server.prefix).encode() + scope["raw_path"]
    await server.app({**scope, "path": path, "raw_path": raw_path, ACTOR: actor.with_scope(reach)}, receive, send)


def own_routes(user_loop: UserLoop) -> LoopbackTransport:
    """Return a transport to the routes of the server with this loop, for the bound actor."""
    return LoopbackTransport(functools.partial(_serve, user_loop))


_TRANSPORT: Final = LoopbackTransport(_loopback)
# The hook is private in the SDK.
_SDK: Any = sdk_client


class _Transports(list[Any]):
    """Replacement for the SDK's list of clients that wait for a server: connects each at once, and keeps none."""

    def append(self, transport: object) -> None:
        _connect(transport)


def _connect(transport: Any) -> None:
    # httpx's own transport buffers responses until they are complete; the one of langgraph-api, if installed, requires
    # the loop of its own server.
    transport.app, transport.handle_async_request = _loopback, _TRANSPORT.handle_async_request


@contextmanager
def loopback(app: ASGIApp, prefix: str | None, user_loop: UserLoop, actor: ActorContext) -> Iterator[None]:
    """Connect clients without a URL to ``app``, which is served on the running loop, for the duration of a block.

    ``user_loop`` is the loop of the server's code; ``actor`` is the actor of its code that does not act for a user.
    """
    waiting: list[Any] = _SDK._registered_transports
    for transport in waiting:
        _connect(transport)
    _SDK._registered_transports = _Transports()
    home = functools.partial(submit_to, asyncio.get_running_loop())
    _SERVERS[user_loop] = _Server(bridged(app, home), prefix or "", actor)
    try:
        yield
    finally:
        del _SERVERS[user_loop]
