"""An event loop on virtual time, stepped from outside.

It is asyncio's own selector loop with a selector that never waits, so that tasks, timeouts, events and queues behave
as in production. The world steps it, and advances the time when nothing is left to do at the present one.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
from collections.abc import Callable, Mapping
from contextvars import Context
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final, TypeVarTuple

Ts = TypeVarTuple("Ts")

EPOCH: Final = datetime(2030, 1, 1, tzinfo=UTC)
"""The wall-clock time at second zero of a simulation."""


class NeverReady(selectors.BaseSelector):
    """A selector that never reports a file as ready: in a simulation no data comes from outside."""

    def __init__(self) -> None:
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, fileobj if isinstance(fileobj, int) else fileobj.fileno(), events, data)
        self._keys[key.fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that runs only when stepped; its time comes from ``now``."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._has_ready = False
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = count()
        self._stepped_at = -1.0
        super().__init__(NeverReady())

    def time(self) -> float:
        return self._now()

    def step(self) -> None:
        """Run everything that is ready or due, once; callbacks that become ready by that are left for the next step."""
        self._has_ready = False
        self._stepped_at = self._now()
        # Documented behaviour: a loop that was stopped before it runs executes the scheduled callbacks once.
        self.stop()
        self.run_forever()

    def next_time(self) -> float | None:
        """Return the time of the loop's next work: now, its next timer, or None."""
        if self._has_ready:
            return self._now()
        timers = self._timers
        while timers and (timers[0][2].cancelled() or timers[0][0] <= self._stepped_at):
            heapq.heappop(timers)
        return timers[0][0] if timers else None

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self._has_ready = True
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self._has_ready = True
        return super().call_soon_threadsafe(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        # A timer that is due already must not look as if the last step had served it.
        handle = super().call_at(max(when, self._now()), callback, *args, context=context)
        if when <= self._stepped_at:
            self._has_ready = True
        else:
            heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle


class LoopClock:
    """The Clock port on the running loop's time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._now())

    def monotonic(self) -> float:
        return self._now()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0))

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        if event.is_set():
            return True
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        return True
