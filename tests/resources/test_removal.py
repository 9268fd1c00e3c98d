"""A thread's past is forgotten as soon as nobody needs it."""

from __future__ import annotations

import asyncio

from runstead.resources.removal import ThreadRemoval
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.types import RunId, ThreadId
from runstead.testing.fakes import InMemoryCheckpointStore, InMemoryThreadStore
from tests.faults.kernel import ALICE, Storage, a_spec


class SlowToForget(InMemoryCheckpointStore):
    """A worker that has told the end of its run, and gets to letting the mark go when it is told to."""

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
        removal = ThreadRemoval(runs, threads, storage.events, checkpoints, storage.bridge)
        with acting(ALICE):
            await runs.create_and_wait(a_spec("r1"))
            await checkpoints.asked.wait()
            try:
                assert checkpoints.marks == {("t1", "r1")}
                assert await removal.keep_latest("t1")
            finally:
                checkpoints.may.set()


async def test_run_deleted_before_worker_cleanup_leaves_no_undo_record() -> None:
    """Nor does one whose worker never does: it has not heard that the run was settled, and now the run is gone."""
    storage, checkpoints = Storage(), SlowToForget()
    async with storage.worker(checkpoints=checkpoints) as runs:
        with acting(ALICE):
            await runs.create_and_wait(a_spec("r1"))
            await checkpoints.asked.wait()
            try:
                await runs.delete_run("r1")
                assert checkpoints.marks == frozenset()
            finally:
                checkpoints.may.set()
