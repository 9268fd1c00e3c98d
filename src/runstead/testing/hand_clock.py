"""Clock of a server in a test: time passes as usual, and moves forward at once when the test says so."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass(eq=False, slots=True)
class _Sleeper:
    """A task that waits for a time, on its own event loop."""

    loop: asyncio.AbstractEventLoop
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        # The loop of a stopped server is closed.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.woken.set)


class HandClock:
    """A Clock for any number of event loops and threads, which `advance` moves forward.

    Tasks whose time has come wake at once. Other than with a `ManualClock`, work that waits for short times goes on by
    itself, so that a whole server can run on it.
    """

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._ahead = 0.0
        self._sleepers: set[_Sleeper] = set()

    def advance(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0, milliseconds: float = 0
    ) -> None:
        """Move the time forward. Callable from any thread; returns before the woken tasks have done anything."""
        step = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds)
        if step < timedelta():
            raise ValueError("time moves forward only")
        with self._gate:
            self._ahead += step.total_seconds()
            waiting = list(self._sleepers)
        for sleeper in waiting:
            sleeper.wake()

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._ahead)

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    async def sleep(self, seconds: float) -> None:
        deadline = self.monotonic() + max(seconds, 0)
        await asyncio.sleep(0)
        sleeper = _Sleeper(asyncio.get_running_loop())
        with self._gate:
            self._sleepers.add(sleeper)
        try:
            while (left := deadline - self.monotonic()) > 0:
                sleeper.woken.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await sleeper.woken.wait()
        finally:
            with self._gate:
                self._sleepers.discard(sleeper)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        if event.is_set():
            return True
        if seconds is None:
            return await event.wait()
        set_first = asyncio.ensure_future(event.wait())
        too_late = asyncio.ensure_future(self.sleep(seconds))
        try:
            await asyncio.wait((set_first, too_late), return_when=asyncio.FIRST_COMPLETED)
            return event.is_set()
        finally:
            set_first.cancel()
            too_late.cancel()
