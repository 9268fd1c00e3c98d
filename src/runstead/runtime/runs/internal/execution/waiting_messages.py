"""Steering messages whose run has ended: those that its state contains are delivered, the first other starts a run.

The worker that settled a run does this at once. A scan finds the threads where it could not, or where a run ended
without a worker.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from runstead.runtime.periodic import repeat
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.steering import MovedMessage, TakenMessage
from runstead.runtime.runs.store import SteeringStore
from runstead.runtime.runs.types import RunRecord, ThreadId
from runstead.runtime.storage_fault import StorageFault

_log = logging.getLogger(__name__)

DELIVERED_MESSAGES: Final = "delivered_messages"
"""The key in the metadata of a checkpoint: the ids of messages that it contains and earlier ones may not."""
_SCANS_PER_TERM: Final = 2
_MOST_CHECKPOINTS: Final = 2_000
_NO_RESULTS: Final = frozenset(("__error__", "__interrupt__", "__resume__", "__error_source_node__"))
"""Channels of pending writes of a task that has not ended."""


class WaitingMessages:
    """Decides what happens to the open messages of threads."""

    def __init__(self, runtime: RunsRuntime, store: SteeringStore) -> None:
        self._runtime, self._store = runtime, store

    async def watch(self) -> None:
        """Scan until cancelled."""
        pause = self._runtime.limits.lease_term.total_seconds() / _SCANS_PER_TERM

        def failed() -> None:
            _log.exception("the scan for waiting messages failed; retrying in %.1f s", pause)

        await repeat(self.scan, pause, self._runtime.clock, failed=failed, at_once=True)

    async def scan(self) -> int:
        """Handle all threads with open messages and without a run. Return the number of runs that were created."""
        moved = 0
        for thread_id in await self._store.list_idle():
            try:
                moved += await self.run_ended(thread_id) is not None
            except Exception as error:
                # What is wrong with one thread does not concern the others; a fault of the storage does.
                if isinstance(error, StorageFault) and error.kind != "damaged":
                    raise
                _log.warning("messages for thread %s still wait", thread_id, exc_info=True)
        return moved

    async def run_ended(self, thread_id: ThreadId, *, is_paused: bool = False) -> MovedMessage | None:
        """Handle the open messages of a thread whose run has ended. ``is_paused``: it will continue from its state."""
        if unresolved := await self._store.list_unresolved(thread_id):
            await self._resolve(thread_id, unresolved, {one.run_id for one in unresolved} if is_paused else set())
        moved = await self._store.move(thread_id)
        if moved is not None:
            self._runtime.telemetry.run_created(moved.run)
            _log.info("message %s starts run %s", moved.message_id, moved.run.run_id)
        return moved

    async def resolve(self, thread_id: ThreadId, taken: Sequence[TakenMessage], run: RunRecord) -> None:
        """Resolve messages that earlier attempts took, for a run that is executing."""
        spec = run.spec
        continues = spec.input is None or (spec.command is not None and spec.command.has_resume)
        others = {one.run_id for one in taken} if continues else set()
        await self._resolve(thread_id, taken, {run.run_id} | others)

    async def _resolve(self, thread_id: ThreadId, taken: Sequence[TakenMessage], continued: set[str]) -> None:
        saver = self._runtime.checkpoints.saver
        stored = [one for one in taken if await _is_stored(saver, thread_id, one, one.run_id in continued)]
        await self._store.resolve(taken, [one.message_id for one in stored])


async def _is_stored(
    saver: BaseCheckpointSaver[str], thread_id: ThreadId, taken: TakenMessage, is_continued: bool
) -> bool:
    """Return whether the stored state contains a message.

    Results of a task beside a checkpoint count if the graph continues from it: otherwise they are dropped.
    """
    config: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": taken.task.namespace}}
    # Newest first; the message is in none before the checkpoint that its task's step began with.
    async for saved in saver.alist(config, limit=_MOST_CHECKPOINTS):
        named = saved.metadata.get(DELIVERED_MESSAGES)
        if isinstance(named, list) and taken.message_id in named:
            return True
        if saved.checkpoint["id"] == taken.task.checkpoint_id:
            return is_continued and any(
                task_id == taken.task.task_id and channel not in _NO_RESULTS
                for task_id, channel, _ in saved.pending_writes or ()
            )
    return False
