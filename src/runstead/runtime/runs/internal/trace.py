"""Brings what the callbacks collected to the event store: in batches, beside the stream, before the run settles.

A store that fails is tried again and then given up on with a log line. It never fails the run.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from runstead.runtime.clock import Clock

from ..callbacks.events import RunEventCallback
from ..exceptions import LeaseLost
from ..store import RunEventStore
from ..types import Holder

_log = logging.getLogger(__name__)

_BATCH: Final = 100
_INTERVAL: Final = 1.0
"""Seconds after which fewer events than a batch are written too, so that a page of them is fresh."""
_PAUSES: Final = (0.05, 0.2, 0.5)


class TraceWriter:
    """One attempt's writer. One write at a time, so the order is kept."""

    def __init__(self, source: RunEventCallback, store: RunEventStore, clock: Clock, holder: Holder) -> None:
        self._source, self._store, self._clock, self._holder = source, store, clock, holder
        self._writing: asyncio.Task[bool] | None = None
        self._last = clock.monotonic()

    def write_soon(self) -> None:
        """Write what there is, if it is enough or old enough, without making the caller wait."""
        waiting = len(self._source)
        if not waiting or (self._writing is not None and not self._writing.done()):
            return
        now = self._clock.monotonic()
        if waiting >= _BATCH or now - self._last >= _INTERVAL:
            self._last = now
            self._writing = asyncio.ensure_future(self._write())

    async def finish(self) -> None:
        """Write the rest. Returns when it is written, or given up on."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
        for pause in (*_PAUSES, None):
            if await self._write():
                return
            if pause is not None:
                await self._clock.sleep(pause)
        _log.error("%d run events are lost: the event store keeps failing", len(self._source.take()))

    async def _write(self) -> bool:
        events = self._source.take()
        if not events:
            return True
        try:
            await self._store.append(events, holder=self._holder)
        except LeaseLost:
            # The run is somebody else's, who tells what happens in it.
            return True
        except Exception:
            _log.warning("run events could not be stored; trying again", exc_info=True)
            self._source.put_back(events)
            return False
        return True
