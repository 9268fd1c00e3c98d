"""Detection of a thread whose latest state is older than the one that its last run left.

A run's row names the checkpoint that it left. If that checkpoint is no longer stored (power failure without fsync, a
checkpoint file or table from another backup), the thread would silently return to an earlier state.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any, Final

import orjson

from runstead.runtime.runs.lost_states import may_be_behind
from runstead.runtime.runs.store import RunCheckpointStore
from runstead.runtime.runs.types import CheckpointRef, RunRecord

from .state_views import ThreadState, checkpoint_config

_log = logging.getLogger(__name__)

_REMEMBERED: Final = 10_000
"""Maximum number of threads that are remembered as logged."""


class LostStates:
    """Comparison of states with the last run of their thread. Reads the storage only if the two differ."""

    def __init__(self, checkpoints: RunCheckpointStore) -> None:
        self._checkpoints = checkpoints
        self._logged: OrderedDict[str, None] = OrderedDict()

    async def remark_on(self, latest: ThreadState, run: RunRecord | None) -> str | None:
        """Return a sentence for readers if ``latest``, the thread's latest state, lacks the state that ``run`` left.

        ``run`` is the run that began last, as it was read before the state.
        """
        latest_id = None if latest.checkpoint is None else latest.checkpoint.get("checkpoint_id")
        if run is None or (final := run.final_checkpoint_id) is None:
            return None
        if not may_be_behind(run, latest_id, latest.created_at, orjson.loads(latest.metadata or b"{}")):
            return None
        place: Any = checkpoint_config(run.thread_id, CheckpointRef(final))
        if await self._checkpoints.saver.aget_tuple(place) is not None:
            return None
        said = (
            f"the state is older than what run {run.run_id} left, because its last checkpoint {final} is no longer "
            "stored: restore the checkpoints from a backup"
        )
        if run.thread_id not in self._logged:
            self._logged[run.thread_id] = None
            if len(self._logged) > _REMEMBERED:
                self._logged.popitem(last=False)
            _log.error("thread %s: %s", run.thread_id, said)
        return said
