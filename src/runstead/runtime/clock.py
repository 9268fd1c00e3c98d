"""Now and sleep, behind one seam, so that tests own time.

Leases, heartbeats, delays and retention all read this clock and no other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The time as the kernel sees it."""

    def now(self) -> datetime:
        """Wall-clock time, aware, in UTC. What is stored and compared between processes."""
        ...

    def monotonic(self) -> float:
        """Seconds that never step back. For deadlines that stay in this process."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``; a value of zero or less yields once."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """True as soon as ``event`` is set; False when ``seconds`` passed first. None waits for ever."""
        ...


class SystemClock:
    """The machine's clock and asyncio's timers."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0))

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        return event.is_set() or await _within(event.wait(), seconds)


async def _within(waiting: Awaitable[object], seconds: float | None) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await waiting
    except TimeoutError:
        return False
    return True
