"""Refusal of a new run on a thread whose latest state is lost, so that it does not silently continue an older one."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from runstead.runtime.runs.exceptions import StateLost
from runstead.runtime.runs.lost_states import may_be_behind
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.types import Lease, RunFilter, RunStatus, ThreadId

_REMEMBERED: Final = 10_000
_LOOKED_AT: Final = 5
"""Number of ended runs that are read to find one that has left a state: runs that never began have left none."""


class LatestStates:
    """Last checkpoints of threads as runs left them; those of runs that this process has settled are remembered.

    So only the first run of this process on a thread costs a query.
    """

    def __init__(self, runtime: RunsRuntime) -> None:
        self._runtime = runtime
        self._left: OrderedDict[ThreadId, str] = OrderedDict()

    def remember(self, thread_id: ThreadId, checkpoint_id: str) -> None:
        """Note the checkpoint that a settled run left."""
        self._left.pop(thread_id, None)
        self._left[thread_id] = checkpoint_id
        if len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)

    async def require(self, lease: Lease, base: str | None) -> None:
        """Refuse an attempt that would continue from ``base``, the thread's latest checkpoint, although the thread's
        last run left another one, which is not stored any more.

        A run that names the checkpoint to continue from is never refused. Raises StateLost.
        """
        spec = lease.run.spec
        is_named = spec.checkpoint is not None and spec.checkpoint.checkpoint_id is not None
        if lease.attempt > 1 or is_named or spec.scope.is_temporary:
            return
        if base is not None and self._left.get(lease.thread_id) == base:
            return
        ended = RunFilter(lease.thread_id, tuple(status for status in RunStatus if status.is_terminal))
        latest_runs = await self._runtime.query_store.list_runs(ended, limit=_LOOKED_AT)
        run = next((run for run in latest_runs if run.final_checkpoint_id is not None), None)
        if run is None or (final := run.final_checkpoint_id) is None or final == base:
            return
        saver: Any = self._runtime.checkpoints.saver
        place = {"thread_id": lease.thread_id, "checkpoint_ns": ""}
        latest = await saver.aget_tuple({"configurable": place})
        made, metadata = (None, {}) if latest is None else (latest.checkpoint["ts"], latest.metadata)
        if not may_be_behind(run, base, made, metadata):
            return
        if await saver.aget_tuple({"configurable": {**place, "checkpoint_id": final}}) is not None:
            return
        raise StateLost(lease.thread_id, final)
