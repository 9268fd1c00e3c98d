"""Timers of the stream bridges: many deadlines in one task, and the heartbeat of one reader."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Final

from runstead.runtime.clock import Clock

SLACK: Final = 0.001
"""Seconds that an action may be early: close deadlines then share one wake-up, and rounding cannot cause a busy
loop.
"""

_log = logging.getLogger(__name__)


class DeadlineScheduler:
    """Calls actions at their time, on the event loop on which `run` runs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._bell = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def call_at(self, when: float, action: Callable[[], None]) -> None:
        """Call ``action`` once the clock's monotonic time has reached ``when``."""
        if not self._due or when < self._due[0][0]:
            self._bell.set()
        heappush(self._due, (when, next(self._order), action))

    async def run(self) -> None:
        """Serve the deadlines until cancelled. An action that fails is logged, and the others continue."""
        while True:
            self._bell.clear()
            self._call_due()
            seconds = self._due[0][0] - self._clock.monotonic() if self._due else None
            await self._clock.wait(self._bell, seconds)

    def _call_due(self) -> None:
        while self._due and self._due[0][0] <= self._clock.monotonic() + SLACK:
            _, _, action = heappop(self._due)
            try:
                action()
            except Exception:
                _log.exception("a deadline of the stream bridge failed")


class HeartbeatTimer:
    """For one task at a time. ``interval`` is in seconds; None for a reader without heartbeats."""

    __slots__ = ("__weakref__", "_alarms", "_armed", "_clock", "_interval", "_last_sent_at", "_waiter")

    def __init__(self, interval: float | None, clock: Clock, alarms: DeadlineScheduler) -> None:
        self._interval, self._clock, self._alarms = interval, clock, alarms
        self._last_sent_at = clock.monotonic()
        self._armed = False
        self._waiter: asyncio.Future[None] | None = None

    def reset(self) -> None:
        """Restart the heartbeat interval after the reader was given something."""
        self._last_sent_at = self._clock.monotonic()

    @property
    def is_due(self) -> bool:
        """Return whether the reader was given nothing for a whole interval."""
        return self._interval is not None and self._clock.monotonic() >= self._last_sent_at + self._interval - SLACK

    def wake(self) -> None:
        """Wake the reader, since there are new events."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Return at the next `wake`, or when a heartbeat is due."""
        if self._waiter is not None:
            raise RuntimeError("a stream subscription is read by one task at a time")
        self._arm()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _arm(self) -> None:
        # One entry at a time: a busy reader moves its deadline without adding another one.
        if self._interval is not None and not self._armed:
            self._armed = True
            self._alarms.call_at(self._last_sent_at + self._interval, self._fire)

    def _fire(self) -> None:
        self._armed = False
        if self._waiter is None or self._waiter.done():
            return
        if self.is_due:
            self.wake()
        else:
            self._arm()
