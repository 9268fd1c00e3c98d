"""A manual clock: time passes only when the test says so, and nothing really sleeps."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from typing import Final

TURNS: Final = 25
"""Number of loop iterations after each step of time, so that woken tasks can run their follow-up work."""

_Sleeper = tuple[float, int, "asyncio.Future[None]"]


class ManualClock:
    """A Clock that only advances in calls of `forward`. For the tasks of one event loop."""

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._passed = 0.0
        self._order = count()
        self._sleepers: list[_Sleeper] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return self._passed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
        else:
            await self._until(self._passed + seconds)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        if event.is_set():
            return True
        if seconds is None:
            return await event.wait()
        ringing = asyncio.ensure_future(event.wait())
        alarm = asyncio.ensure_future(self.sleep(seconds))
        try:
            await asyncio.wait((ringing, alarm), return_when=asyncio.FIRST_COMPLETED)
            return event.is_set()
        finally:
            ringing.cancel()
            alarm.cancel()

    async def advance(self, seconds: float | timedelta) -> None:
        """Advance the time.

        Sleepers wake in the order of their times, each at its own, and run before time continues.
        """
        if isinstance(seconds, timedelta):
            seconds = seconds.total_seconds()
        target = self._passed + seconds
        await turn()
        while self._sleepers and self._sleepers[0][0] <= target:
            self._passed = max(self._passed, self._sleepers[0][0])
            while self._sleepers and self._sleepers[0][0] <= self._passed:
                _, _, waking = heappop(self._sleepers)
                if not waking.done():
                    waking.set_result(None)
            await turn()
        self._passed = target
        await turn()

    @property
    def sleepers(self) -> int:
        """Return the number of tasks that wait for time to pass."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def _until(self, when: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._sleepers, (when, next(self._order), future))
        await future


async def turn(times: int = TURNS) -> None:
    """Let every ready task run, for ``times`` iterations of the loop."""
    for _ in range(times):
        await asyncio.sleep(0)
