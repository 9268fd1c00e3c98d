"""Stores what the callbacks of an attempt collected, beside the stream: events and usage, by time.

A write follows the first new event after a short while, however long the graph stays silent, so that what a run does
is visible while it does it, and survives the death of the process. The rest is written before the run settles.

A store that fails is tried again and then given up on with a log line. It never fails the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from runstead.runtime.runs.callbacks.builder import RunCallbacks
from runstead.runtime.runs.exceptions import LeaseLost
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.types import Lease, ModelUsage

from .exhaustion import is_exhaustion

T = TypeVar("T")

_log = logging.getLogger(__name__)

_DELAY: Final = 0.2
"""Seconds between the first new event and the write that includes it. A shorter run costs no additional write."""
_PAUSES: Final = (0.05, 0.2, 0.5)
_RETRY_DELAY: Final = 1.0
"""Seconds between tries while the run goes on."""
_FULL_PAUSE: Final = 2.0
"""Seconds between tries while the disk is full."""


class EventWriter:
    """Writer of one attempt. One write at a time, which keeps the order."""

    def __init__(self, callbacks: RunCallbacks, runtime: RunsRuntime, lease: Lease) -> None:
        self._source, self._tokens = callbacks.events, callbacks.tokens
        self._store, self._leases, self._clock = runtime.event_store, runtime.lease_store, runtime.clock
        self._lease = lease
        self._recorded = 0
        self._pending = asyncio.Event()
        self._turn = asyncio.Lock()
        self._is_full = False

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write new events soon after they come, for the length of a block."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            # On any thread, and by abandoned agent code also after the loop was closed.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._pending.set)

        self._source.on_pending = wake
        if len(self._source):
            self._pending.set()
        task = asyncio.create_task(self._write_for_ever(), name="event writer")
        try:
            yield
        finally:
            # A write under way is completed: one that is cut off may have been stored, and would be stored again.
            async with self._turn:
                task.cancel()
            await asyncio.wait({task})

    async def finish(self, *, wait_for_room: bool = True) -> None:
        """Write the rest. Returns when it is written, or given up on; a full disk is waited for, if that is wanted."""
        pauses = iter(_PAUSES)
        while not await self._write():
            # A run whose disk is full cannot be settled either.
            pause = _FULL_PAUSE if self._is_full and wait_for_room else next(pauses, None)
            if pause is None:
                _log.error("%d run events are lost: the event store keeps failing", len(self._source.take()))
                return
            await self._clock.sleep(pause)

    async def _write_for_ever(self) -> None:
        while True:
            await self._pending.wait()
            await self._clock.sleep(_DELAY)
            self._pending.clear()
            async with self._turn:
                is_written = await self._write() and await self._record_usage()
            if not is_written:
                self._pending.set()
                await self._clock.sleep(_RETRY_DELAY)

    async def with_usage(self, work: Callable[[Sequence[ModelUsage]], Awaitable[T]]) -> T:
        """Call ``work`` with the usage of the attempt so far, while nothing else writes it."""
        async with self._turn:
            return await work(self._tokens.usage())

    async def finish_usage(self) -> None:
        """Write the usage of an attempt that is handed back: nothing else will. A failure is logged."""
        async with self._turn:
            await self._record_usage()

    async def _record_usage(self) -> bool:
        changes = self._tokens.changes
        if changes == self._recorded:
            return True
        try:
            await self._leases.record_usage(self._lease, self._tokens.completion_data(), self._tokens.usage())
        except LeaseLost:
            return True
        except Exception:
            _log.warning("the usage of run %s could not be stored", self._lease.run_id, exc_info=True)
            return False
        self._recorded = changes
        return True

    async def _write(self) -> bool:
        events = self._source.take()
        if not events:
            return True
        try:
            await self._store.append(events, holder=self._lease.holder)
        except LeaseLost:
            # Another attempt has the run, and records what happens in it.
            self._is_full = False
            return True
        except Exception as error:
            _log.warning("run events could not be stored; trying again", exc_info=True)
            self._source.put_back(events)
            self._is_full = is_exhaustion(error)
            return False
        self._is_full = False
        return True
