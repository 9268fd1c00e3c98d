"""Many deadlines served by one task.

An idle reader costs one heap entry for each heartbeat interval, not a task or a timer of its own. Entries cannot be
removed: an action must check whether it still applies.
"""

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


class Alarms:
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
