"""Admission of claimed runs to execution by the memory of their worker.

A run whose input does not fit waits until other runs have ended. A run that has already lost workers (a suspect) starts
later, and never beside another suspect: if it is the run that crashes workers, the other runs continue without it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from runstead.runtime.backoff import exponential
from runstead.runtime.clock import Clock
from runstead.runtime.runs.store import SUSPECT_LOSSES
from runstead.runtime.serialization import encode

from .registry import RunHandle

STEP: Final = 0.25
"""Seconds between the starts of two runs that have each lost one worker."""
BACK_OFF: Final = 10.0
"""Seconds that a run waits after it has lost two workers. Doubles with each further lost worker."""
_LONGEST: Final = 300.0
PROBATION: Final = 10.0
"""Seconds after the start of a suspect in which no other run starts."""


@dataclass(slots=True, eq=False)
class _Entry:
    size: int
    is_suspect: bool
    is_admitted: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class ExecutionCapacity:
    """Runs that execute in this process, and runs that wait for room, in order.

    ``limit`` bounds the total bytes of the inputs of executing runs; a single run always fits. ``on_change`` is called
    when no run waits any more.
    """

    def __init__(self, limit: int | None, clock: Clock, on_change: Callable[[], None]) -> None:
        self._limit, self._clock, self._on_change = limit, clock, on_change
        self._bytes = 0
        self._queue: deque[_Entry] = deque()
        self._suspect: _Entry | None = None
        self._probation: asyncio.Task[None] | None = None
        self._next_start = float("-inf")

    @property
    def is_full(self) -> bool:
        """True while claimed runs wait for room: further claims would only use memory."""
        return self._first is not None

    @asynccontextmanager
    async def held(self, handle: RunHandle) -> AsyncIterator[None]:
        """Hold room for the run of ``handle`` during a block. The block begins when there is room, or when the run is
        to stop."""
        run = handle.lease.run
        size = 0 if self._limit is None else len(encode(run.spec.input))
        entry = _Entry(size, is_suspect=run.lost_attempts >= SUSPECT_LOSSES)
        handle.on_stop(entry.wake.set)
        if (pause := self._pause(run.lost_attempts)) > 0:
            await self._clock.wait(entry.wake, pause)
        self._queue.append(entry)
        try:
            self._admit()
            await entry.wake.wait()
            yield
        finally:
            self._leave(entry)

    def _pause(self, lost_attempts: int) -> float:
        """Return the seconds that a run with this number of lost workers waits."""
        if lost_attempts == 0:
            return 0
        if lost_attempts >= SUSPECT_LOSSES:
            return exponential(BACK_OFF, lost_attempts - 1, _LONGEST)
        now = self._clock.monotonic()
        start = max(now, self._next_start)
        self._next_start = start + STEP
        return start - now

    def _admit(self) -> None:
        while (entry := self._first) is not None and self._fits(entry):
            self._queue.remove(entry)
            entry.is_admitted = True
            entry.wake.set()
            self._bytes += entry.size
            if entry.is_suspect:
                self._suspect = entry
                self._probation = asyncio.create_task(self._end_probation(), name="probation of a run")
        if not self.is_full:
            self._on_change()

    @property
    def _first(self) -> _Entry | None:
        """The next entry to admit. Suspects that wait for another suspect do not block other entries."""
        return next((entry for entry in self._queue if not (entry.is_suspect and self._suspect is not None)), None)

    def _fits(self, entry: _Entry) -> bool:
        has_room = self._limit is None or self._bytes == 0 or self._bytes + entry.size <= self._limit
        return has_room and self._probation is None

    async def _end_probation(self) -> None:
        await self._clock.sleep(PROBATION)
        self._probation = None
        self._admit()

    def _leave(self, entry: _Entry) -> None:
        if entry.is_admitted:
            self._bytes -= entry.size
        else:
            self._queue.remove(entry)
        if entry is self._suspect:
            self._suspect = None
            if self._probation is not None:
                self._probation.cancel()
                self._probation = None
        self._admit()
