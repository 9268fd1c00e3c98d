"""A queue from one event loop to another: many items per wake-up, and a producer that waits when it is far ahead."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class CrossLoopQueue(Generic[T]):
    """One producer, on any event loop; one reader, on the loop where the feed was made."""

    def __init__(self, capacity: int = 1_000) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._reader_loop = asyncio.get_running_loop()
        self._readable = asyncio.Event()
        self._waking = False
        self._room: Future[None] | None = None
        self._closed = False
        self.finished = False
        """The producer has put its last item; what is left is read without waiting."""

    async def put(self, item: T) -> None:
        """Append; waits while the reader is ``capacity`` items behind. After `close` it drops the item."""
        if self._closed:
            return
        self._items.append(item)
        self.wake()
        if len(self._items) >= self._capacity:
            room: Future[None] = Future()
            self._room = room
            # Looked at again after the future is seen by the reader: it may have emptied the feed in between.
            if len(self._items) >= self._capacity and not self._closed:
                await asyncio.wrap_future(room)

    def finish(self) -> None:
        """The producer's last word. Safe to call twice, from any thread."""
        self.finished = True
        self.wake()

    def wake(self) -> None:
        """Make the reader's `read` return, with nothing when there is nothing."""
        if not self._waking:
            self._waking = True
            with contextlib.suppress(RuntimeError):
                self._reader_loop.call_soon_threadsafe(self._readable.set)

    async def read(self) -> list[T]:
        """All items there are; waits until there are some, or until `wake` or `finish`."""
        if not self.finished:
            await self._readable.wait()
        self._readable.clear()
        # Cleared before the items are taken: an item appended from now on wakes again.
        self._waking = False
        items: list[T] = []
        with contextlib.suppress(IndexError):
            while True:
                items.append(self._items.popleft())
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)
        # A producer that never pauses must not keep the reader's loop to itself.
        await asyncio.sleep(0)
        return items

    def close(self) -> None:
        """The reader is gone: let the producer run on without anybody listening."""
        self._closed = True
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)
