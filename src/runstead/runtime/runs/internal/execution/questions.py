"""The run whose question a run answers: its stream awaits input until then."""

from __future__ import annotations

import logging

from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.types import Lease, RunFilter, RunId, RunStatus, ThreadId

_log = logging.getLogger(__name__)


class EarlierQuestion:
    """The question that the thread of an attempt was asking when it began, if any."""

    def __init__(self, runtime: RunsRuntime) -> None:
        self._runtime = runtime
        self._run_id: RunId | None = None

    async def answered(self, lease: Lease) -> None:
        """Note that a run goes on with the thread, with an answer or without."""
        if lease.follows_question:
            self._run_id = await mark_answered(self._runtime, lease.thread_id)

    async def refused(self) -> None:
        """Note that the answer was refused: the human is still asked."""
        if self._run_id is not None:
            await self._runtime.bridge.mark_awaiting_input(self._run_id)


async def mark_answered(runtime: RunsRuntime, thread_id: ThreadId) -> RunId | None:
    """Mark the thread's latest run that succeeded as answered, and return it. A failure is logged: the stream then
    awaits input until it expires.
    """
    try:
        where = RunFilter(thread_id=thread_id, statuses=(RunStatus.SUCCESS,))
        for run in await runtime.query_store.list_runs(where, limit=1):
            await runtime.bridge.mark_answered(run.run_id)
            return run.run_id
    except Exception:
        _log.warning("the stream of the run that asked on thread %s could not be marked", thread_id, exc_info=True)
    return None
