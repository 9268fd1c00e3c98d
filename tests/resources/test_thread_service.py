"""A thread's history is deleted as soon as it is unused."""

from __future__ import annotations

import asyncio

from runstead.resources.thread_service import ThreadService
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.types import RunId, ThreadId
from runstead.testing.fakes import InMemoryCheckpointStore, InMemoryThreadStore
from tests.faults.kernel import ALICE, Storage, a_spec


class SlowToForget(InMemoryCheckpointStore):
    """A worker that has published the terminal event, and deletes its undo record on request."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may = asyncio.Event(), asyncio.Event()

    async def forget_mark(self, thread_id: ThreadId, run_id: RunId) -> None:
        if not self.asked.is_set():
            self.asked.set()
            await self.may.wait()
        await super().forget_mark(thread_id, run_id)


async def test_thread_can_be_pruned_immediately_after_waiting_for_its_run() -> None:
    storage, checkpoints = Storage(), SlowToForget()
    threads = InMemoryThreadStore(storage.tables)
    async with storage.worker(checkpoints=checkpoints) as runs:
        removal = ThreadService(runs, threads, storage.events, checkpoints, storage.bridge)
        with acting(ALICE):
            await runs.create_and_wait(a_spec("r1"))
            await checkpoints.asked.wait()
            try:
                assert checkpoints.marks == {("t1", "r1")}
                assert await removal.keep_latest(ThreadId("t1"))
            finally:
                checkpoints.may.set()


async def test_run_deleted_before_worker_cleanup_leaves_no_undo_record() -> None:
    """The same for a worker that never deletes it: it does not know that the run was settled, and now the run is
    deleted.
    """
    storage, checkpoints = Storage(), SlowToForget()
    async with storage.worker(checkpoints=checkpoints) as runs:
        with acting(ALICE):
            await runs.create_and_wait(a_spec("r1"))
            await checkpoints.asked.wait()
            try:
                await runs.delete_run(RunId("r1"))
                assert checkpoints.marks == frozenset()
            finally:
                checkpoints.may.set()
