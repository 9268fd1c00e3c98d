"""``langgraph_sdk.get_client()`` without a URL: in user code, it reaches the server that runs the code.

The SDK has a hook for servers. A request goes from the loop of user code to the server's, as the actor on whose behalf
the code runs: what a node may reach is what its run's user may reach.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from langgraph_sdk._async import client as sdk_client
from starlette.types import ASGIApp, Receive, Scope, Send

from runstead.gateway.authentication import ACTOR
from runstead.gateway.loop_bridge import bridged
from runstead.runtime.actor_context import OWN, get_actor_context
from runstead.runtime.user_code.thread_loop import submit_to
from runstead.wire.errors import Unauthenticated


class _Loopback:
    """The ASGI app behind such clients, of whichever server runs."""

    def __init__(self) -> None:
        self._servers: list[tuple[ASGIApp, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        actor = get_actor_context()
        if not self._servers or actor is None:
            raise Unauthenticated("get_client() without a URL works in graphs that a server runs; give it a url")
        app, prefix = self._servers[-1]
        path = prefix + scope["path"]
        own = {"root_path": "", "path": path, "raw_path": path.encode(), ACTOR: actor.within(OWN)}
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
# The hook is private there.
_SDK: Any = sdk_client


class _Transports(list[Any]):
    """In place of the SDK's list of clients that wait for a server: connects each at once, and keeps none."""

    def append(self, transport: Any) -> None:
        transport.app = _LOOPBACK


@contextmanager
def loopback(app: ASGIApp, prefix: str | None) -> Iterator[None]:
    """Let clients without a URL reach ``app``, which is served on the running loop, for the length of a block."""
    waiting: list[Any] = _SDK._registered_transports
    for transport in waiting:
        transport.app = _LOOPBACK
    _SDK._registered_transports = _Transports()
    with _LOOPBACK.served_by(app, prefix or ""):
        yield
