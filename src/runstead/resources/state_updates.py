"""What was written to a thread's state outside of runs, found again in its checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from runstead.runtime.runs.store import RunCheckpointStore
from runstead.runtime.runs.types import CheckpointRef, ThreadId

from .state_views import ThreadState
from .states import CheckpointNotFound, ThreadStates
from .threads import ThreadStore

_MOST = 200
"""Checkpoints that are looked through; who has missed more has the state itself."""


@dataclass(frozen=True, slots=True)
class StateUpdated:
    """One update: its checkpoint, and when it was written."""

    checkpoint_id: str
    at: datetime


class StateUpdates:
    """Finds updates of the states of the bound actor's threads."""

    def __init__(self, threads: ThreadStore, states: ThreadStates, checkpoints: RunCheckpointStore) -> None:
        self._threads, self._states, self._checkpoints = threads, states, checkpoints

    async def since(self, thread_id: ThreadId, after: datetime | None) -> Sequence[StateUpdated]:
        """Those after a moment, the oldest first; none of a thread that is absent."""
        if await self._threads.get(thread_id) is None:
            return ()
        found: list[StateUpdated] = []
        config = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
        async for one in self._checkpoints.saver.alist(config, limit=_MOST):
            at = datetime.fromisoformat(one.checkpoint["ts"])
            if after is not None and at <= after:
                break
            # What a run writes says which run it was.
            if not one.metadata.get("run_id"):
                found.append(StateUpdated(one.checkpoint["id"], at))
        return found[::-1]

    async def state(self, thread_id: ThreadId, update: StateUpdated) -> ThreadState | None:
        """The state that an update made; None when it is gone again."""
        try:
            return await self._states.read(thread_id, at=CheckpointRef(update.checkpoint_id))
        except CheckpointNotFound:
            return None
