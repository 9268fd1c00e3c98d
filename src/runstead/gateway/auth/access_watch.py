"""Periodic re-authentication that ends streams and WebSockets whose caller has lost access.

A stream can outlive the key or account that opened it by hours. The authenticator decides as at the start of the
request; if it fails (an unavailable database), access is kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runstead.runtime.actor_context import ActorContext
from runstead.wire.errors import Unauthenticated, problem_of

_log = logging.getLogger(__name__)

CLOSED: Final = 4401
"""Close code of a WebSocket whose caller has lost access."""
_REASON: Final = "Your access has ended; log in again"


class AccessWatch:
    """Watch of one request or WebSocket, whose caller is authenticated again every ``every`` seconds until it ends."""

    def __init__(self, ask: Callable[[], Awaitable[ActorContext]], actor: ActorContext, every: float) -> None:
        self._ask, self._actor, self._every = ask, actor, every
        self._serving: asyncio.Task[object] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._also: list[Callable[[], Awaitable[object]]] = []
        self._has_ended = self._has_begun = False

    def also_ask(self, question: Callable[[], Awaitable[object]]) -> None:
        """Add a check to each round, which raises when access has ended."""
        self._also.append(question)

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve ``app``. When access ends, cancel it: a response is cut off, a WebSocket is closed with 4401.

        Raises Unauthenticated if no part of a response has been sent by then.
        """

        async def watched(message: Message) -> None:
            self._has_begun = True
            await send(message)

        self._serving = asyncio.current_task()
        # Most requests end before the first check.
        timer = asyncio.get_running_loop().call_later(self._every, self._begin)
        try:
            await app(scope, receive, watched)
        except asyncio.CancelledError:
            if not self._has_ended or self._serving is None or self._serving.uncancel() > 0:
                raise
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": CLOSED, "reason": _REASON})
            elif not self._has_begun:
                raise Unauthenticated(_REASON) from None
        finally:
            timer.cancel()
            if self._asking is not None:
                self._asking.cancel()

    def _begin(self) -> None:
        self._asking = asyncio.create_task(self._watch(), name="access-watch")

    async def _watch(self) -> None:
        is_allowed = True
        while is_allowed:
            if is_allowed := await self._is_allowed():
                await asyncio.sleep(self._every)
        _log.info("closing a stream of user %s: access has ended", self._actor.user_id)
        self._has_ended = True
        if self._serving is not None:
            self._serving.cancel()

    async def _is_allowed(self) -> bool:
        try:
            again = await self._ask()
        except Exception as error:
            return problem_of(error).status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
        before = self._actor
        is_same = (again.tenant_id, again.user_id) == (before.tenant_id, before.user_id)
        return is_same and before.scopes <= again.scopes and await self._are_allowed()

    async def _are_allowed(self) -> bool:
        for question in self._also:
            try:
                await question()
            except Exception as error:
                # An object that no longer matches a handler's filter looks missing.
                refusals = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
                if problem_of(error).status in refusals:
                    return False
        return True
