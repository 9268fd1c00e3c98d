"""Bounded queue of the messages of a WebSocket that wait to be processed."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, TypeAlias

from starlette.websockets import WebSocket, WebSocketDisconnect

from runstead.wire.errors import WireError

from .memory_guard import MEMORY, RequestMemory

SocketMessage: TypeAlias = str | bytes
_MOST_MESSAGES: Final = 128
"""Clients send tens of subscriptions at once."""


class SocketInbox:
    """Queue that reads a client's messages while earlier ones are processed.

    A client that does not wait for responses fills it: then it ends, and has ``overflowed``. ``max_bytes`` limits the
    bytes of all waiting messages.
    """

    def __init__(self, socket: WebSocket, max_bytes: int) -> None:
        self._socket, self._max_bytes = socket, max_bytes
        self._messages: deque[SocketMessage] = deque()
        self._bytes = 0
        self._has_ended = False
        self._news = asyncio.Event()
        self._memory: RequestMemory | None = socket.scope.get(MEMORY)
        self._refusal: WireError | None = None
        self.overflowed = False

    async def next(self) -> SocketMessage | None:
        """Return the oldest message; None after the last one, or if the queue has overflowed.

        Raises TooManyBytes and NoRoom.
        """
        while not self._messages and not self._has_ended:
            self._news.clear()
            await self._news.wait()
        if self._refusal is not None:
            raise self._refusal
        if self.overflowed or not self._messages:
            return None
        message = self._messages.popleft()
        self._bytes -= len(message)
        if self._memory is not None:
            self._memory.give_back(len(message))
        return message

    async def fill(self) -> None:
        """Read until the client disconnects or the queue overflows."""
        try:
            while not self.overflowed:
                received = await self._socket.receive()
                if received["type"] == "websocket.disconnect":
                    return
                self._add(received.get("text") or received.get("bytes") or "")
        except WireError as error:
            self._refusal = error
        except (WebSocketDisconnect, RuntimeError):
            return
        finally:
            self._has_ended = True
            self._news.set()

    def _add(self, message: SocketMessage) -> None:
        if len(self._messages) >= _MOST_MESSAGES or (self._messages and self._bytes + len(message) > self._max_bytes):
            self.overflowed = True
            return
        if self._memory is not None:
            self._memory.take(len(message))
        self._messages.append(message)
        self._bytes += len(message)
        self._news.set()
