"""Ends that nobody has told: a run has ended, and its stream goes on, because whoever was to end it was lost.

Between settling and telling there is an instant (law 4); while the stream's server is away it can last. Every worker
looks, like for lapsed leases, and tells the readers what is known: a gap, the values that the run left, and its end.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Final

from runstead.runtime.actor_context import acting
from runstead.runtime.storage_fault import StorageFault
from runstead.runtime.stream_bridge import ResumeResult, position_after

from ..runtime import RunsRuntime
from ..types import RunId, RunRecord
from .publisher import tell_end
from .streams import RunStreamService

_LOOKS_PER_TERM: Final = 2

_log = logging.getLogger(__name__)


class UntoldEnds:
    """Finds them a lease term after the run has ended, twice in a row, for the one who executed it may only be late."""

    def __init__(self, runtime: RunsRuntime, streams: RunStreamService) -> None:
        self._runtime, self._streams = runtime, streams
        self._suspects: Collection[RunId] = ()
        self._unreadable: set[RunId] = set()
        """Those whose values cannot be read by this process."""

    async def watch(self) -> None:
        """Until cancelled."""
        pause = self._runtime.limits.lease_term.total_seconds() / _LOOKS_PER_TERM
        while True:
            await self._runtime.clock.sleep(pause)
            try:
                await self.tell()
            except Exception:
                _log.warning("looking for untold ends failed; trying again in %.1f s", pause, exc_info=True)

    async def tell(self) -> int:
        """Tell what was untold at the last look and still is; returns how many ends that were."""
        suspects, self._suspects = self._suspects, ()
        told = 0
        for record in await self._ended(suspects):
            try:
                told += await self._tell(record)
            except StorageFault as fault:
                _log.warning("the end of run %s cannot be told now: %s", record.run_id, fault)
        unended = await self._runtime.bridge.unended()
        self._unreadable.intersection_update(unended)
        found = await self._ended(unended)
        self._suspects = [record.run_id for record in found if record.run_id not in self._unreadable]
        return told

    async def _ended(self, run_ids: Collection[RunId]) -> Sequence[RunRecord]:
        if not run_ids:
            return ()
        long_ago = self._runtime.clock.now() - self._runtime.limits.lease_term
        return await self._runtime.lease_store.ended(run_ids, long_ago)

    async def _goes_on(self, run_id: RunId) -> bool:
        status = await self._runtime.bridge.status(run_id)
        return status is not None and not status.is_terminal

    async def _tell(self, record: RunRecord) -> bool:
        """False where it cannot be told here, or need not any more."""
        if not await self._goes_on(record.run_id):
            return False
        with acting(record.actor.also_for(record.thread_id)):
            missed = [] if record.started_at is None else await self._streams.told_of_gap(record, _lost_after(record))
            if record.final_checkpoint_id is not None and not any(event.event == "values" for event in missed):
                # To end it with less than the run came to would be what all waiters get. Others may have its graph.
                self._unreadable.add(record.run_id)
                return False
            # To read the values takes a while, in which others told it, or somebody had a dead letter tried again.
            if record not in await self._ended([record.run_id]) or not await self._goes_on(record.run_id):
                return False
            _log.warning("run %s has ended, and nobody told its readers: they are told now", record.run_id)
            await tell_end(self._runtime.bridge, record, missed)
            return True


def _lost_after(record: RunRecord) -> ResumeResult:
    """The gap that stands first in the next attempt's part of the log: how much the lost worker had still to publish is
    unknown, and a reader that comes back after it goes on with the values."""
    return ResumeResult("evicted", None, None, None, position_after(record.attempt + 1, 1))
