"""Memory limits for request bodies and responses: their bytes are counted while held, and refused when they are too
many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runstead.runtime.byte_budget import BudgetExceeded, ByteBudget
from runstead.wire.errors import NoRoom, TooManyBytes

MEMORY: Final = "runstead.memory"
"""Scope key of a request's or WebSocket's RequestMemory."""
PIECE: Final = 256 * 1024
"""Bytes of a response that are passed to the server at once: it keeps a copy until the client has read them."""
_PATIENCE: Final = 10.0
"""Seconds that a response waits for memory."""
_PAUSE: Final = 0.05


class RequestMemory:
    """Memory of one request: its body until the response begins, its response until it is sent."""

    def __init__(self, budget: ByteBudget, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._share, self._answer, self._sleep = budget.share(), budget.share(), sleep
        self.body: bytes | None = None
        """The body, once it has been read."""

    def assign(self, user: str) -> None:
        """Count all of it for this user. Raises TooManyBytes and NoRoom."""
        try:
            self._share.assign(user)
            self._answer.assign(user)
        except BudgetExceeded as error:
            raise _problem(error) from error

    def take(self, size: int) -> None:
        """Take bytes for a body. Raises TooManyBytes and NoRoom."""
        try:
            self._share.take(size)
        except BudgetExceeded as error:
            raise _problem(error) from error

    def give_back(self, size: int | None = None) -> None:
        """Give bytes of the body back; None: all, since it is no longer needed."""
        self._share.give_back(size)
        if size is None:
            self.body = None

    async def take_answer(self, size: int) -> None:
        """Take bytes for a response as soon as there is room. Raises TooManyBytes and NoRoom after a while."""
        waited = 0.0
        while True:
            try:
                self._answer.take(size)
            except BudgetExceeded as error:
                if waited >= _PATIENCE:
                    raise _problem(error) from error
                await self._sleep(_PAUSE)
                waited += _PAUSE
            else:
                return

    def give_answer_back(self, size: int | None = None) -> None:
        """Give bytes of the response back; None: all."""
        self._answer.give_back(size)


class MemoryGuard:
    """ASGI middleware around everything that reads bodies.

    Raises TooManyBytes and NoRoom before a response has begun. A response that finds no room later is cut off, like one
    whose server shuts down: the client can reconnect.
    """

    def __init__(self, app: ASGIApp, budget: ByteBudget) -> None:
        self._app, self._budget = app, budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        memory = RequestMemory(self._budget)

        async def counted() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                memory.take(len(message.get("body", b"")))
            return message

        try:
            await self._app({**scope, MEMORY: memory}, counted, _Answer(memory, send).send)
        finally:
            memory.give_back()
            memory.give_answer_back()


class _Answer:
    """Response that is sent in pieces: the part that the client has not read is kept here, where it is counted."""

    def __init__(self, memory: RequestMemory, send: Send) -> None:
        self._memory, self._send = memory, send
        self._taken = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._memory.give_back()
            length = Headers(raw=message.get("headers", [])).get("content-length", "")
            if length.isdigit() and int(length) > PIECE:
                # Taken now, while the request can still be refused with an error text.
                await self._take(int(length))
        elif message["type"] == "http.response.body" and len(message.get("body", b"")) > PIECE:
            await self._send_in_pieces(message)
            return
        await self._send(message)

    async def _send_in_pieces(self, message: Message) -> None:
        body: bytes = message["body"]
        if (more := len(body) - self._taken) > 0:
            await self._take(more)
        for start in range(0, len(body), PIECE):
            piece = body[start : start + PIECE]
            is_last = start + PIECE >= len(body)
            await self._send({**message, "body": piece, "more_body": not is_last or message.get("more_body", False)})
            self._memory.give_answer_back(len(piece))
            self._taken -= len(piece)

    async def _take(self, size: int) -> None:
        await self._memory.take_answer(size)
        self._taken += size


def _problem(error: BudgetExceeded) -> TooManyBytes | NoRoom:
    return TooManyBytes(error.limit) if error.whose == "user" else NoRoom(error.limit)
