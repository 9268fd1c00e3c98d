"""Clock port: current time and sleeping, which tests control.

Leases, heartbeats, delays and retention read only this clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Time as the kernel sees it."""

    def now(self) -> datetime:
        """Return wall-clock time, timezone-aware, in UTC. It is stored, and compared between processes."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go backwards. For deadlines within this process."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``; zero or less yields to the event loop once."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Wait for ``event`` and return True as soon as it is set; return False after ``seconds``. None waits without
        limit."""
        ...


class SystemClock:
    """Clock of the machine, with asyncio's timers."""

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
