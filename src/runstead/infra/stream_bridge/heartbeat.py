"""A reader's wait for new events or the next heartbeat deadline."""

from __future__ import annotations

import asyncio

from runstead.runtime.clock import Clock

from .timers import SLACK, Alarms


class Pulse:
    """For one task at a time. ``interval`` is in seconds; None for a reader without heartbeats."""

    __slots__ = ("__weakref__", "_alarms", "_armed", "_clock", "_interval", "_spoken_at", "_waiter")

    def __init__(self, interval: float | None, clock: Clock, alarms: Alarms) -> None:
        self._interval, self._clock, self._alarms = interval, clock, alarms
        self._spoken_at = clock.monotonic()
        self._armed = False
        self._waiter: asyncio.Future[None] | None = None

    def spoke(self) -> None:
        """Restart the heartbeat interval after the reader was given something."""
        self._spoken_at = self._clock.monotonic()

    @property
    def is_due(self) -> bool:
        """Return whether the reader was given nothing for a whole interval."""
        return self._interval is not None and self._clock.monotonic() >= self._spoken_at + self._interval - SLACK

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
            self._alarms.call_at(self._spoken_at + self._interval, self._beat)

    def _beat(self) -> None:
        self._armed = False
        if self._waiter is None or self._waiter.done():
            return
        if self.is_due:
            self.wake()
        else:
            self._arm()
