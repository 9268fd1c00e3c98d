"""Remove and copy threads, with their runs, checkpoints and streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson
from uuid_utils.compat import uuid7

from runstead.runtime.actor_context import thread_access
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.exceptions import RunNotFound, ThreadBusy, ThreadNotFound
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.redaction import without_origin
from runstead.runtime.runs.store import RunCheckpointStore, RunEventStore
from runstead.runtime.runs.types import RunFailure, RunFilter, RunId, RunRecord, ThreadId, ThreadOutcome
from runstead.runtime.stream_bridge.contract import StreamBridge

from .states import ThreadStates
from .thread_configs import ThreadConfigs
from .thread_files import ThreadFiles
from .threads import ThreadRecord, ThreadStore

_PAGE: Final = 500
_ROUNDS: Final = 5


class ThreadService:
    """Deletion of threads of the bound actor."""

    def __init__(
        self,
        runs: RunsFacade,
        threads: ThreadStore,
        events: RunEventStore,
        checkpoints: RunCheckpointStore,
        bridge: StreamBridge,
        files: ThreadFiles | None = None,
    ) -> None:
        self._runs, self._threads, self._events = runs, threads, events
        self._checkpoints, self._bridge, self._files = checkpoints, bridge, files

    async def remove(self, thread_id: ThreadId) -> None:
        """Delete a thread. Raises ThreadNotFound, and ThreadBusy if new runs keep arriving while the old ones are being
        stopped."""
        for attempt in range(1, _ROUNDS + 1):
            if await self._threads.get(thread_id) is None:
                raise ThreadNotFound(thread_id)
            # Includes the runs of other users on this thread.
            with thread_access(thread_id):
                runs = await self._stopped(thread_id)
                await self._checkpoints.delete_thread(thread_id)
                await self._events.delete_events(thread_id)
                if self._files is not None:
                    await self._files.delete_thread(thread_id)
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
        """Delete all states of a thread except the latest.

        Return False if the older ones are still needed, since a run that a crash interrupted may be rolled back. Raises
        ThreadNotFound, and ThreadBusy while a run is in flight.
        """
        thread = await self._threads.get(thread_id)
        if thread is None:
            raise ThreadNotFound(thread_id)
        if thread.status == "busy":
            raise ThreadBusy([run.run_id for run in await self._runs.list_runs(RunFilter(thread_id))])
        # A waiter gets its response before the worker has deleted the run's mark, and may call this at once.
        for run in await self._runs.list_runs(RunFilter(thread_id), limit=_PAGE):
            if run.status.is_terminal and run.started_at is not None:
                await self._checkpoints.forget_mark(thread_id, run.run_id)
                break
        return await self._checkpoints.keep_latest(thread_id)

    async def _stopped(self, thread_id: ThreadId) -> Sequence[RunId]:
        """Stop all runs of the thread, and return their ids."""
        runs: list[RunRecord] = []
        while page := await self._runs.list_runs(RunFilter(thread_id), limit=_PAGE, offset=len(runs)):
            runs.extend(page)
        # Newest first: stopping the head of the thread would let the next run begin.
        for run in runs:
            if not run.status.is_terminal:
                await self._stop(run.run_id)
        return [run.run_id for run in runs]

    async def _stop(self, run_id: RunId) -> None:
        try:
            await self._runs.cancel(run_id, wait=True)
        except RunNotFound:
            return


class ThreadCopies:
    """Copies of threads of the bound actor."""

    def __init__(
        self, threads: ThreadStore, checkpoints: RunCheckpointStore, states: ThreadStates, configs: ThreadConfigs
    ) -> None:
        self._threads, self._checkpoints, self._states, self._configs = threads, checkpoints, states, configs

    async def copy(self, thread_id: ThreadId, *, metadata: JsonMapping) -> ThreadRecord:
        """Copy a thread and return the copy, under a new id. Raises ThreadNotFound."""
        thread = await self._threads.get(thread_id)
        if thread is None:
            raise ThreadNotFound(thread_id)
        ttl = await self._threads.get_ttl(thread_id)
        target = ThreadId(str(uuid7()))
        # State first: an existing but empty copy would look like a thread that has lost its state.
        await self._checkpoints.copy_thread(thread_id, target)
        await self._checkpoints.sync()
        # The runs are not copied, and with them the config from which a factory builds the graph would be lost.
        configurable = without_origin((await self._configs.config_of(thread)).get("configurable") or {})
        config = {"configurable": configurable} if configurable else {}
        made = await self._threads.create(target, metadata=metadata, config=config, ttl=ttl)
        with thread_access(target):
            if thread.status == "busy":
                # The record still has the values of the run before the executing one.
                await self._states.record(target)
            elif thread.values is not None or thread.status != "idle":
                await self._threads.set_state(target, _left(thread))
            return await self._threads.get(target) or made


def _left(thread: ThreadRecord) -> ThreadOutcome:
    error = None if thread.error is None else RunFailure(**orjson.loads(orjson.dumps(thread.error)))
    return ThreadOutcome(thread.status, thread.values, thread.interrupts, error)
