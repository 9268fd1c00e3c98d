"""The bytes of request bodies and of answers: counted while they are held, refused when they are too many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runstead.runtime.byte_budget import BudgetExceeded, ByteBudget
from runstead.wire.errors import NoRoom, TooManyBytes

MEMORY: Final = "runstead.memory"
"""In the scope of a request or WebSocket: its RequestMemory."""
PIECE: Final = 256 * 1024
"""Bytes of an answer that are handed to the server at once: it keeps a copy until the client has read them."""
_PATIENCE: Final = 10.0
"""Seconds that an answer waits for room."""
_PAUSE: Final = 0.05


class RequestMemory:
    """What one request holds: its body until it is answered, its answer until it is sent."""

    def __init__(self, budget: ByteBudget, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._share, self._answer, self._sleep = budget.share(), budget.share(), sleep
        self.body: bytes | None = None
        """The body, once it has been read."""

    def assign(self, user: str) -> None:
        """Count all of it as this user's. Raises TooManyBytes and NoRoom."""
        try:
            self._share.assign(user)
            self._answer.assign(user)
        except BudgetExceeded as error:
            raise _problem(error) from error

    def take(self, size: int) -> None:
        """Hold so many bytes of a body. Raises TooManyBytes and NoRoom."""
        try:
            self._share.take(size)
        except BudgetExceeded as error:
            raise _problem(error) from error

    def give_back(self, size: int | None = None) -> None:
        """Hold so many bytes of the body less; None: it is needed no longer."""
        self._share.give_back(size)
        if size is None:
            self.body = None

    async def take_answer(self, size: int) -> None:
        """Hold so many bytes of an answer, once there is room. Raises TooManyBytes and NoRoom after a while."""
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
        """Hold so many bytes of the answer less; None: none any more."""
        self._answer.give_back(size)


class MemoryGuard:
    """ASGI middleware around everything that reads bodies.

    Raises TooManyBytes and NoRoom while nothing is answered yet. An answer that finds no room later is cut, as is one
    whose server goes down: its client comes back for the rest.
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
    """Sends an answer in pieces: what the client has not read waits here, where it is counted."""

    def __init__(self, memory: RequestMemory, send: Send) -> None:
        self._memory, self._send = memory, send
        self._taken = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._memory.give_back()
            length = Headers(raw=message.get("headers", [])).get("content-length", "")
            if length.isdigit() and int(length) > PIECE:
                # Now, while it can still be refused in words.
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
