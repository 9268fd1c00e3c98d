"""A queue from one event loop to another: many items per wake-up, and producers that wait when they are far ahead."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Generic, TypeVar

T = TypeVar("T")


class CrossLoopQueue(Generic[T]):
    """Producers on one event loop, whichever it is; one reader, on the loop where the queue was made."""

    def __init__(self, capacity: int = 1_000, *, size: Callable[[T], int] | None = None) -> None:
        """``capacity`` counts items, or the sum of their ``size``."""
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
        """The last item has been put; what is left is read without waiting."""

    async def put(self, item: T) -> None:
        """Append; wait while the reader is ``capacity`` behind. After `close` the item is dropped.

        Raises what `fail` was given.
        """
        self.append(item)
        if self._is_full() and not self._closed:
            room: Future[None] = Future()
            self._waiting.append(room)
            # Looked at again after the reader can see the future: it may have emptied the queue in between.
            if self._is_full() and not self._closed:
                await asyncio.wrap_future(room)

    def append(self, item: T) -> None:
        """Append without waiting for room. Raises as `put`; after `close` the item is dropped."""
        if self._failure is not None:
            raise self._failure
        if self._closed:
            return
        if self._size is not None:
            self._size_put += self._size(item)
        self._items.append(item)
        self.wake()

    def finish(self) -> None:
        """No more items will be put. Safe to call twice, from any thread."""
        self.finished = True
        self.wake()

    def wake(self) -> None:
        """Make the reader's `read` return, with nothing when there is nothing."""
        if not self._waking:
            self._waking = True
            with contextlib.suppress(RuntimeError):
                self._reader_loop.call_soon_threadsafe(self._readable.set)

    async def read(self) -> list[T]:
        """Return all items there are; wait until there are some, or until `wake` or `finish`."""
        if not self.finished:
            await self._readable.wait()
        self._readable.clear()
        # Cleared before the items are taken: an item appended from now on wakes again.
        self._waking = False
        items: list[T] = []
        with contextlib.suppress(IndexError):
            while True:
                items.append(self._items.popleft())
        if self._size is not None:
            self._size_taken += sum(map(self._size, items))
        self._let_go_on()
        # A producer that never pauses must not keep the reader's loop to itself.
        await asyncio.sleep(0)
        return items

    def close(self) -> None:
        """Drop what is put from now on: the reader is gone, and producers do not have to know."""
        self._closed = True
        self._let_go_on()

    def fail(self, error: BaseException) -> None:
        """As `close`, and make every later `put` raise ``error``."""
        self._failure = error
        self.close()

    def _is_full(self) -> bool:
        behind = len(self._items) if self._size is None else self._size_put - self._size_taken
        return behind >= self._capacity

    def _let_go_on(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                # Its producer may have given up waiting.
                with contextlib.suppress(InvalidStateError):
                    self._waiting.popleft().set_result(None)
