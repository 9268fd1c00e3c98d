"""Updates of a thread's state outside runs, found in its checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from runstead.resources.state_views import ThreadState
from runstead.resources.states import CheckpointNotFound, ThreadStates
from runstead.resources.threads import ThreadStore
from runstead.runtime.runs.store import RunCheckpointStore
from runstead.runtime.runs.types import CheckpointRef, ThreadId

_MOST = 200
"""Maximum number of checkpoints to examine; a reader that has missed more can read the state itself."""


@dataclass(frozen=True, slots=True)
class StateUpdated:
    """One update: its checkpoint, and its time."""

    checkpoint_id: str
    at: datetime


class StateUpdates:
    """Updates of the states of the bound actor's threads."""

    def __init__(self, threads: ThreadStore, states: ThreadStates, checkpoints: RunCheckpointStore) -> None:
        self._threads, self._states, self._checkpoints = threads, states, checkpoints

    async def since(self, thread_id: ThreadId, after: datetime | None) -> Sequence[StateUpdated]:
        """Return the updates after a time, oldest first; none for a missing thread."""
        if await self._threads.get(thread_id) is None:
            return ()
        found: list[StateUpdated] = []
        config = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
        async for one in self._checkpoints.saver.alist(config, limit=_MOST):
            at = datetime.fromisoformat(one.checkpoint["ts"])
            if after is not None and at <= after:
                break
            # Checkpoints that a run writes contain its id.
            if not one.metadata.get("run_id"):
                found.append(StateUpdated(one.checkpoint["id"], at))
        return found[::-1]

    async def state(self, thread_id: ThreadId, update: StateUpdated) -> ThreadState | None:
        """Return the state that an update created; None if it no longer exists."""
        try:
            return await self._states.read(thread_id, at=CheckpointRef(update.checkpoint_id))
        except CheckpointNotFound:
            return None
