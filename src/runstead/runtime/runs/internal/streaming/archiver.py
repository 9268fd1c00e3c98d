"""Archiver of streams: copies the events of ended runs from the stream bridge to the archive.

It is notified at the end of each run that this process executed. A periodic scan finds the others: runs whose worker
died between the end and the copy, and runs whose terminal event another process has published.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from datetime import timedelta
from itertools import islice
from typing import Final

from runstead.runtime.clock import Clock
from runstead.runtime.periodic import repeat
from runstead.runtime.runs.observer import RunLifecycleEvent, RunLifecycleEventType
from runstead.runtime.runs.store import FrameArchive
from runstead.runtime.runs.types import RunId
from runstead.runtime.stream_bridge.contract import FROM_THE_START, StreamBridge, StreamEvent
from runstead.runtime.stream_bridge.exceptions import StreamBridgeError, StreamNotFound

_ENDS: Final = (
    RunLifecycleEventType.RUN_COMPLETED,
    RunLifecycleEventType.RUN_FAILED,
    RunLifecycleEventType.RUN_CANCELLED,
)
_AT_ONCE: Final = 4
"""Runs that are copied at the same time."""
_BATCH: Final = 64
"""Runs that are checked with one statement."""
_SILENCE: Final = 5.0
"""Seconds without an event after which a stream is regarded as not ended."""
_PAST: Final = timedelta(hours=1)
"""Runs that ended longer before the start are not looked for: their streams are gone."""
_POSTPONED: Final = 1_000
"""Maximum number of runs to try again, whose streams have not ended or could not be read."""

_log = logging.getLogger(__name__)


class _NotEnded(Exception):
    """The stream has no terminal event yet."""


class FrameArchiver:
    """RunObserver that archives the streams of ended runs."""

    def __init__(self, archive: FrameArchive, bridge: StreamBridge, clock: Clock, lease_term: timedelta) -> None:
        self._archive, self._bridge, self._clock, self._lease_term = archive, bridge, clock, lease_term
        self._ended: dict[RunId, None] = {}
        self._notified = asyncio.Event()
        self._postponed: dict[RunId, None] = {}
        self._scanned_until = clock.now() - _PAST
        self._is_running = False

    async def on_event(self, event: RunLifecycleEvent) -> None:
        if self._is_running and event.event_type in _ENDS:
            self._ended[event.run_id] = None
            self._notified.set()

    async def run(self) -> None:
        """Archive streams until cancelled."""
        self._is_running = True
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(repeat(self.scan, self._lease_term.total_seconds(), self._clock, failed=_scan_failed))

    async def drain(self, seconds: float) -> None:
        """Archive the streams of the runs that have ended so far, for at most ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                while self._ended:
                    await self._archive_ended()
        except TimeoutError:
            _log.warning("the streams of %d ended runs are not archived: there is no time left", len(self._ended))
        except Exception:
            _log.exception("could not archive the streams of %d ended runs", len(self._ended))

    async def scan(self) -> int:
        """Archive the streams of runs that ended more than a lease term ago without being archived.

        Each end is examined once; a stream that cannot be read yet is tried again at the next scan. Return the number
        of archived streams.
        """
        again, self._postponed = list(self._postponed), {}
        archived = await self._archive_all(await self._archive.list_missing(again)) if again else 0
        until = self._clock.now() - self._lease_term
        while self._scanned_until < until:
            found = await self._archive.list_missing_between(self._scanned_until, until, _BATCH)
            archived += await self._archive_all(run_id for _, run_id in found)
            self._scanned_until = found[-1][0] if len(found) >= _BATCH else until
        return archived

    async def _follow(self) -> None:
        while True:
            await self._notified.wait()
            self._notified.clear()
            while self._ended:
                try:
                    await self._archive_ended()
                except Exception as error:
                    # The next scan finds them.
                    _log.warning("could not archive the streams of ended runs yet: %s", error)

    async def _archive_ended(self) -> None:
        run_ids = list(islice(self._ended, _BATCH))
        failure: Exception | None = None
        try:
            await self._archive_all(await self._archive.list_missing(run_ids))
        except Exception as error:
            failure = error
        # Not after a cancellation: `drain` goes on with them.
        for run_id in run_ids:
            self._ended.pop(run_id, None)
        if failure is not None:
            raise failure

    async def _archive_all(self, run_ids: Iterable[RunId]) -> int:
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(run_id: RunId) -> bool:
            async with limit:
                return await self._archive_one(run_id)

        return sum(await asyncio.gather(*(one(run_id) for run_id in run_ids)))

    async def _archive_one(self, run_id: RunId) -> bool:
        try:
            async with aclosing(self._events(run_id)) as pages:
                return await self._archive.store(run_id, pages)
        except StreamNotFound:
            _log.debug("the stream of run %s is gone and cannot be archived", run_id)
        except Exception as error:
            expected = isinstance(error, _NotEnded | StreamBridgeError)
            _log.log(
                logging.DEBUG if expected else logging.WARNING,
                "could not archive the stream of run %s yet: %s",
                run_id,
                error,
                exc_info=None if expected else error,
            )
            if len(self._postponed) < _POSTPONED:
                self._postponed[run_id] = None
        return False

    async def _events(self, run_id: RunId) -> AsyncGenerator[Sequence[StreamEvent]]:
        subscription = await self._bridge.subscribe(run_id, FROM_THE_START[0], _SILENCE)
        try:
            while items := await subscription.read():
                events = [item for item in items if isinstance(item, StreamEvent)]
                if not events:
                    raise _NotEnded(f"it has no terminal event after {_SILENCE} s")
                yield events
                if events[-1].terminal is not None:
                    return
        finally:
            await subscription.aclose()


def _scan_failed() -> None:
    _log.warning("the scan for streams to archive failed; it will be repeated", exc_info=True)
