"""Resolution of ambiguous commits: the database may have applied a write whose reply was lost.

If such a write ended a pending run, the run has no lease holder to publish its terminal event, and its stream would
stay open for as long as the process lives.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Final, TypeAlias

from runstead.runtime.actor_context import acting
from runstead.runtime.backoff import Backoff
from runstead.runtime.runs.exceptions import RunError
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.types import RunFilter, RunId, RunRecord, RunSpec, RunStatus

from ..background_tasks import BackgroundTasks
from ..execution.registry import RunRegistry

_log = logging.getLogger(__name__)

_PAUSES: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
_TRIES: Final = 200
"""With the last pause repeated, a quarter of an hour. A reader that still waits then learns of the end by its
heartbeats."""

_AT_RISK: Final = 1_000
"""Maximum number of pending runs that are checked per thread; equal to the maximum size of a batch."""

Tell: TypeAlias = Callable[[RunRecord], Awaitable[None]]


class AmbiguousCommitResolver:
    """Resolver that reads the rows again once the database is available, and publishes terminal events that are
    missing."""

    def __init__(self, runtime: RunsRuntime, registry: RunRegistry, errands: BackgroundTasks, tell: Tell) -> None:
        self._runtime, self._registry, self._background, self._publish_terminal = runtime, registry, errands, tell

    @asynccontextmanager
    async def guard(self, suspects: Sequence[RunRecord]) -> AsyncIterator[None]:
        """Guard a write that may end ``suspects``, which are the records from before the write.

        If the write fails without a clear refusal, check the pending suspects in the background.
        """
        try:
            yield
        except RunError:
            # A refusal: nothing was written.
            raise
        except Exception:
            if waiting := [run for run in suspects if run.status is RunStatus.PENDING and run.started_at is None]:
                self._background.spawn(self._settle(waiting))
            raise

    async def candidates(self, specs: Sequence[RunSpec]) -> Sequence[RunRecord]:
        """Return the pending runs that the creation of ``specs`` may end."""
        threads = {spec.thread_id for spec in specs if spec.multitask_strategy in ("interrupt", "rollback")}
        found: list[RunRecord] = []
        for thread_id in sorted(thread_id for thread_id in threads if thread_id is not None):
            where = RunFilter(thread_id, (RunStatus.PENDING,))
            found += await self._runtime.query_store.list_runs(where, limit=_AT_RISK)
        return found

    async def _settle(self, suspects: Sequence[RunRecord]) -> None:
        left = list(suspects)
        for pause in islice(Backoff(_PAUSES), len(_PAUSES) + _TRIES):
            if not (left := [run for run in left if not await self._settled(run)]):
                return
            await self._runtime.clock.sleep(pause)
        _log.warning("could not determine the final status of runs %s", ", ".join(run.run_id for run in left))

    async def _settled(self, suspect: RunRecord) -> bool:
        """Return whether this run needs no further check."""
        try:
            with acting(suspect.actor):
                run = await self._runtime.query_store.get_run(suspect.run_id)
        except Exception:
            return False
        if run is None:
            # A run that is rolled back before it begins has no row any more.
            run = dataclasses.replace(suspect, status=RunStatus.INTERRUPTED)
        if run.status.is_terminal and run.started_at is None and await self._is_unpublished(run.run_id):
            await self._publish_terminal(run)
        elif run.stop_requested is not None:
            await self._runtime.dispatcher.request_stop(run.run_id)
        return True

    async def _is_unpublished(self, run_id: RunId) -> bool:
        """Return whether the stream is open and no local handle will publish its terminal event.

        A repeated request may already have published it.
        """
        status = await self._runtime.bridge.status(run_id)
        return self._registry.get(run_id) is None and status is not None and not status.is_terminal
