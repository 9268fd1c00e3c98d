"""Writer of the callbacks' events to the event store: in batches, in parallel with the stream, before the run settles.

A failing store is retried, then its events are dropped with a log line. It never fails the run.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from runstead.runtime.clock import Clock
from runstead.runtime.runs.callbacks.events import RunEventCallback
from runstead.runtime.runs.exceptions import LeaseLost
from runstead.runtime.runs.store import RunEventStore
from runstead.runtime.runs.types import Holder

from .exhaustion import is_exhaustion

_log = logging.getLogger(__name__)

_BATCH: Final = 100
_INTERVAL: Final = 1.0
"""Seconds after which an incomplete batch is written too, so that readers find fresh events."""
_PAUSES: Final = (0.05, 0.2, 0.5)
_FULL_PAUSE: Final = 2.0
"""Seconds between retries while the disk is full."""


class EventWriter:
    """Writer of one attempt. One write at a time, which keeps the order."""

    def __init__(self, source: RunEventCallback, store: RunEventStore, clock: Clock, holder: Holder) -> None:
        self._source, self._store, self._clock, self._holder = source, store, clock, holder
        self._writing: asyncio.Task[bool] | None = None
        self._last = clock.monotonic()
        self._is_full = False

    def write_soon(self) -> None:
        """Start to write pending events if there are enough or they are old enough. Does not block the caller."""
        waiting = len(self._source)
        if not waiting or (self._writing is not None and not self._writing.done()):
            return
        now = self._clock.monotonic()
        if waiting >= _BATCH or now - self._last >= _INTERVAL:
            self._last = now
            self._writing = asyncio.ensure_future(self._write())

    async def finish(self, *, wait_for_room: bool = True) -> None:
        """Write the remaining events. Return when they are written or dropped. A full disk is waited for if
        ``wait_for_room``."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
        pauses = iter(_PAUSES)
        while not await self._write():
            # While the disk is full, the run cannot be settled either.
            pause = _FULL_PAUSE if self._is_full and wait_for_room else next(pauses, None)
            if pause is None:
                _log.error("%d run events are lost: the event store keeps failing", len(self._source.take()))
                return
            await self._clock.sleep(pause)

    async def _write(self) -> bool:
        events = self._source.take()
        if not events:
            return True
        try:
            await self._store.append(events, holder=self._holder)
        except LeaseLost:
            # Another worker holds the run and records its events.
            self._is_full = False
            return True
        except Exception as error:
            _log.warning("could not store run events; retrying", exc_info=True)
            self._source.put_back(events)
            self._is_full = is_exhaustion(error)
            return False
        self._is_full = False
        return True
