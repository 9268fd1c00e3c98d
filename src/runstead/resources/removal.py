"""A thread is forgotten: its runs are stopped, and everything that was kept of it goes, the row last. Or its past is.

The row goes last so that a deletion which was cut short can be repeated, and no later thread of the
same id finds an old state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from runstead.runtime.actor_context import also_on
from runstead.runtime.runs.exceptions import RunNotFound, ThreadBusy, ThreadNotFound
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.store import RunCheckpointStore, RunEventStore
from runstead.runtime.runs.types import RunFilter, RunId, RunRecord, ThreadId
from runstead.runtime.stream_bridge import StreamBridge

from .threads import ThreadStore

_PAGE: Final = 500
_ROUNDS: Final = 5


class ThreadRemoval:
    """Deletes threads of the bound actor."""

    def __init__(
        self,
        runs: RunsFacade,
        threads: ThreadStore,
        events: RunEventStore,
        checkpoints: RunCheckpointStore,
        bridge: StreamBridge,
    ) -> None:
        self._runs, self._threads, self._events = runs, threads, events
        self._checkpoints, self._bridge = checkpoints, bridge

    async def remove(self, thread_id: ThreadId) -> None:
        """Raises ThreadNotFound; ThreadBusy when new runs keep coming in while the old ones are being stopped."""
        for attempt in range(1, _ROUNDS + 1):
            if await self._threads.get(thread_id) is None:
                raise ThreadNotFound(thread_id)
            # With those that others have on it.
            with also_on(thread_id):
                runs = await self._stopped(thread_id)
                await self._checkpoints.delete_thread(thread_id)
                await self._events.delete_events(thread_id)
            try:
                await self._threads.delete(thread_id)
            except ThreadBusy:
                if attempt == _ROUNDS:
                    raise
                continue
            for run_id in runs:
                await self._bridge.cleanup(run_id)
            return

    async def keep_latest(self, thread_id: ThreadId) -> bool:
        """Forget all states of a thread but the latest. False when the older ones are needed still: a run that a crash
        has cut off may have to be undone. Raises ThreadNotFound, and ThreadBusy while a run is in flight.
        """
        thread = await self._threads.get(thread_id)
        if thread is None:
            raise ThreadNotFound(thread_id)
        if thread.status == "busy":
            raise ThreadBusy([run.run_id for run in await self._runs.list_runs(RunFilter(thread_id))])
        # Whoever waits for a run is answered before its worker has let its mark go, and may come here at once.
        for run in await self._runs.list_runs(RunFilter(thread_id), limit=_PAGE):
            if run.status.is_terminal and run.started_at is not None:
                await self._checkpoints.forget_mark(thread_id, run.run_id)
                break
        return await self._checkpoints.keep_latest(thread_id)

    async def _stopped(self, thread_id: ThreadId) -> Sequence[RunId]:
        """All runs of the thread, none of them in flight any more."""
        runs: list[RunRecord] = []
        while page := await self._runs.list_runs(RunFilter(thread_id), limit=_PAGE, offset=len(runs)):
            runs.extend(page)
        # The newest first: stopping the head would let the next one begin.
        for run in runs:
            if not run.status.is_terminal:
                await self._stop(run.run_id)
        return [run.run_id for run in runs]

    async def _stop(self, run_id: RunId) -> None:
        try:
            await self._runs.cancel(run_id, wait=True)
        except RunNotFound:
            return
