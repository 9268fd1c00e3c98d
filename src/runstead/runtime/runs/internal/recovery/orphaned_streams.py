"""Publication of missing terminal events of runs that ended while their worker died.

A worker settles a run first and publishes the terminal event second (law 4). If it dies in between, or the stream's
server is unavailable, the stream stays open. Every worker scans for such runs, as it does for expired leases, and
publishes a gap, the values that the run left, and its terminal event.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Final

from runstead.runtime.actor_context import acting
from runstead.runtime.periodic import repeat
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.types import RunId, RunRecord
from runstead.runtime.storage_fault import StorageFault
from runstead.runtime.stream_bridge.contract import ResumeResult
from runstead.runtime.stream_bridge.event_ids import position_after

from ..streaming.publisher import publish_terminal_for
from ..streaming.stream_service import RunStreamService

_LOOKS_PER_TERM: Final = 2
_UNREADABLE_FOR: Final = 30.0
"""Seconds after which values that could not be read are read again."""

_log = logging.getLogger(__name__)


class OrphanedStreamReconciler:
    """Reconciler of runs that ended more than one lease term ago and whose stream was found open in two consecutive
    scans.

    Before that, the run's own worker may only be late.
    """

    def __init__(self, runtime: RunsRuntime, streams: RunStreamService) -> None:
        self._runtime, self._streams = runtime, streams
        self._suspects: Collection[RunId] = ()
        self._unreadable: dict[RunId, float] = {}
        """Runs whose values this process could not read, and the monotonic time at which it tries again."""

    async def watch(self) -> None:
        """Scan until cancelled."""
        pause = self._runtime.limits.lease_term.total_seconds() / _LOOKS_PER_TERM

        def failed() -> None:
            _log.warning("the scan for missing terminal events failed; retrying in %.1f s", pause, exc_info=True)

        await repeat(self.reconcile, pause, self._runtime.clock, failed=failed)

    async def reconcile(self) -> int:
        """Publish the terminal events that were missing at the last scan and still are. Return their number."""
        published = 0
        # Suspects are kept if the database is unavailable now.
        for record in await self._ended(self._suspects):
            try:
                published += await self._publish_terminal(record)
            except StorageFault as fault:
                _log.warning("could not publish the terminal event of run %s: %s", record.run_id, fault)
            except Exception:
                _log.exception("could not publish the terminal event of run %s", record.run_id)
        unended = [RunId(run_id) for run_id in await self._runtime.bridge.list_open()]
        now = self._runtime.clock.monotonic()
        self._unreadable = {run_id: self._unreadable[run_id] for run_id in unended if run_id in self._unreadable}
        found = await self._ended(unended)
        self._suspects = [record.run_id for record in found if self._unreadable.get(record.run_id, now) <= now]
        return published

    async def _ended(self, run_ids: Collection[RunId]) -> Sequence[RunRecord]:
        if not run_ids:
            return ()
        long_ago = self._runtime.clock.now() - self._runtime.limits.lease_term
        return await self._runtime.lease_store.list_ended_before(run_ids, long_ago)

    async def _is_running(self, run_id: RunId) -> bool:
        status = await self._runtime.bridge.status(run_id)
        return status is not None and not status.is_terminal

    async def _publish_terminal(self, record: RunRecord) -> bool:
        """Publish one terminal event. Return False if this process cannot publish it, or need not any more."""
        if not await self._is_running(record.run_id):
            return False
        with acting(record.actor.with_access_to(record.thread_id)):
            missed = (
                [] if record.started_at is None else await self._streams.with_gap_event(record, _lost_after(record))
            )
            if record.final_checkpoint_id is not None and not any(event.event == "values" for event in missed):
                # All waiters would receive an incomplete result. Another worker may have the run's graph, or this one
                # may have lacked something else, such as file descriptors.
                self._unreadable[record.run_id] = self._runtime.clock.monotonic() + _UNREADABLE_FOR
                return False
            # Reading the values takes a while, in which another worker may publish the event, or an operator may retry
            # the dead letter.
            if record not in await self._ended([record.run_id]) or not await self._is_running(record.run_id):
                return False
            _log.warning("run %s has ended without a terminal event; publishing it now", record.run_id)
            await publish_terminal_for(self._runtime.bridge, record, missed)
            return True


def _lost_after(record: RunRecord) -> ResumeResult:
    """Return the gap that comes first among the next attempt's events. The number of events that the lost worker did
    not publish is unknown. A reader that rejoins after the gap continues with the values."""
    return ResumeResult("evicted", None, None, None, position_after(record.attempt + 1, 1))
