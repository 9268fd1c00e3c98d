"""``langgraph_sdk.get_client()`` without a URL: in user code, it reaches the server that runs the code.

The SDK has a hook for servers. A request goes from the loop of user code to the server's, as the actor on whose behalf
the code runs: what a node may reach is what its run's user may reach.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

import httpx
from langgraph_sdk._async import client as sdk_client
from starlette.types import ASGIApp, Receive, Scope, Send

from runstead.gateway.authentication import ACTOR
from runstead.gateway.loop_bridge import bridged
from runstead.gateway.loopback_transport import LoopbackTransport
from runstead.runtime.actor_context import OWN, get_actor_context
from runstead.runtime.user_code.thread_loop import submit_to
from runstead.wire.errors import Unauthenticated


class _Loopback:
    """The ASGI app behind such clients, of whichever server runs."""

    def __init__(self) -> None:
        self._servers: list[tuple[ASGIApp, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        actor = get_actor_context()
        if not self._servers:
            raise httpx.ConnectError("no server runs in this process, or not yet; give get_client() a url")
        if actor is None:
            raise Unauthenticated("get_client() without a URL works in graphs that a server runs; give it a url")
        app, prefix = self._servers[-1]
        path, raw_path = prefix + scope["path"], quote(prefix).encode() + scope["raw_path"]
        own = {"path": path, "raw_path": raw_path, ACTOR: actor.within(OWN)}
        await app({**scope, **own}, receive, send)

    @contextmanager
    def served_by(self, app: ASGIApp, prefix: str) -> Iterator[None]:
        server = (bridged(app, functools.partial(submit_to, asyncio.get_running_loop())), prefix)
        self._servers.append(server)
        try:
            yield
        finally:
            self._servers.remove(server)


_LOOPBACK = _Loopback()
LOOPBACK_TRANSPORT: Final = LoopbackTransport(_LOOPBACK)
"""To the server that runs in this process, as the bound actor."""
# The hook is private there.
_SDK: Any = sdk_client


class _Transports(list[Any]):
    """In place of the SDK's list of clients that wait for a server: connects each at once, and keeps none."""

    def append(self, transport: Any) -> None:
        _connect(transport)


def _connect(transport: Any) -> None:
    # A transport of httpx keeps answers until they are complete; one of langgraph-api, where that is installed, wants
    # the loop of its own server.
    transport.app, transport.handle_async_request = _LOOPBACK, LOOPBACK_TRANSPORT.handle_async_request


@contextmanager
def loopback(app: ASGIApp, prefix: str | None) -> Iterator[None]:
    """Let clients without a URL reach ``app``, which is served on the running loop, for the length of a block."""
    waiting: list[Any] = _SDK._registered_transports
    for transport in waiting:
        _connect(transport)
    _SDK._registered_transports = _Transports()
    with _LOOPBACK.served_by(app, prefix or ""):
        yield
