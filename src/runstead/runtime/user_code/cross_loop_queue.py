"""Queue from one event loop to another, with many items per wake-up. Producers that are far ahead wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Generic, TypeVar

T = TypeVar("T")


class CrossLoopQueue(Generic[T]):
    """Queue with producers on one event loop, and one reader on the loop on which the queue was created."""

    def __init__(self, capacity: int = 1_000, *, size: Callable[[T], int] | None = None) -> None:
        """Create a queue. ``capacity`` counts items, or the sum of their ``size``."""
        self._items: deque[T] = deque()
        self._capacity, self._size = capacity, size
        # Each is written by one side only, so that neither needs a lock.
        self._size_put = self._size_taken = 0
        self._reader_loop = asyncio.get_running_loop()
        self._readable = asyncio.Event()
        self._waking = False
        self._waiting: deque[Future[None]] = deque()
        self._closed = False
        self._failure: BaseException | None = None
        self.finished = False
        """True when the last item has been added; remaining items are read without waiting."""

    async def put(self, item: T) -> None:
        """Append an item; wait while the reader is ``capacity`` behind. After `close` the item is dropped.

        Raises the error that was passed to `fail`.
        """
        self.append(item)
        if self._is_full() and not self._closed:
            room: Future[None] = Future()
            self._waiting.append(room)
            # Checked again after the reader can see the future: it may have emptied the queue in between.
            if self._is_full() and not self._closed:
                await asyncio.wrap_future(room)

    def append(self, item: T) -> None:
        """Append an item without waiting for room. Raises as `put`; after `close` the item is dropped."""
        if self._failure is not None:
            raise self._failure
        if self._closed:
            return
        if self._size is not None:
            self._size_put += self._size(item)
        self._items.append(item)
        self.wake()

    def finish(self) -> None:
        """Mark the end: no more items will be added. Idempotent, callable from any thread."""
        self.finished = True
        self.wake()

    def wake(self) -> None:
        """Make a waiting `read` return, with an empty list if there are no items."""
        if not self._waking:
            self._waking = True
            with contextlib.suppress(RuntimeError):
                self._reader_loop.call_soon_threadsafe(self._readable.set)

    async def read(self) -> list[T]:
        """Return all available items; wait until there are some, or until `wake` or `finish`."""
        if not self.finished:
            await self._readable.wait()
        self._readable.clear()
        # Cleared before the items are taken, so that an item appended from now on wakes the reader again.
        self._waking = False
        items: list[T] = []
        with contextlib.suppress(IndexError):
            while True:
                items.append(self._items.popleft())
        if self._size is not None:
            self._size_taken += sum(map(self._size, items))
        self._let_go_on()
        # A producer that never pauses must not monopolize the reader's loop.
        await asyncio.sleep(0)
        return items

    def close(self) -> None:
        """Drop all later items: the reader is gone, and producers need not notice."""
        self._closed = True
        self._let_go_on()

    def fail(self, error: BaseException) -> None:
        """Close the queue, and make every later `put` raise ``error``."""
        self._failure = error
        self.close()

    def _is_full(self) -> bool:
        behind = len(self._items) if self._size is None else self._size_put - self._size_taken
        return behind >= self._capacity

    def _let_go_on(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                # Its producer may have stopped waiting.
                with contextlib.suppress(InvalidStateError):
                    self._waiting.popleft().set_result(None)
