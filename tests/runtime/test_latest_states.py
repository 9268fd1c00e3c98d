"""A run is refused on a thread whose latest state is lost, and can name an older state instead."""

from __future__ import annotations

from typing import Any

import pytest

from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.types import CheckpointRef, RunId, RunRecord, RunStatus
from runstead.testing.fakes import InMemoryRunStore, Step
from tests.faults.kernel import ALICE, Storage, a_spec


class CountingStorage(Storage):
    """Counts the lists of runs that were read."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: CountingRuns = CountingRuns(self.tables, self.bell.notify)


class CountingRuns(InMemoryRunStore):
    listed = 0

    async def list_runs(self, *where: Any, **limits: Any) -> Any:
        self.listed += 1
        return await super().list_runs(*where, **limits)


async def ran(storage: Storage, runs: RunsFacade, run_id: str, **fields: Any) -> RunRecord:
    with acting(ALICE):
        await runs.create_background(a_spec(run_id, Step(), Step(), **fields))
        await storage.clock.advance(60)
    return storage.tables.runs[RunId(run_id)].record


def lose_latest(storage: Storage, count: int = 1) -> None:
    """Lose the latest checkpoints of the thread, as a power failure without a sync does."""
    written = storage.checkpoints.saver.storage["t1"][""]
    for checkpoint_id in list(written)[-count:]:
        del written[checkpoint_id]


@pytest.mark.parametrize("count", [1, 3])
async def test_run_on_a_thread_with_a_lost_state_is_refused_until_it_names_a_state(count: int) -> None:
    storage = Storage()
    async with storage.worker() as runs:
        first = await ran(storage, runs, "r1")
        second = await ran(storage, runs, "r2")
        assert (first.status, second.status) == (RunStatus.SUCCESS, RunStatus.SUCCESS)
        lose_latest(storage, count)
        for run_id in ("r3", "r4"):
            refused = await ran(storage, runs, run_id)
            assert refused.status is RunStatus.ERROR
            assert refused.failure is not None
            assert refused.failure.error == "StateLost"
            assert str(second.final_checkpoint_id) in refused.failure.message
            assert "checkpoint_id" in refused.failure.message
        older = CheckpointRef(first.final_checkpoint_id)
        assert (await ran(storage, runs, "r5", checkpoint=older)).status is RunStatus.SUCCESS
        assert (await ran(storage, runs, "r6")).status is RunStatus.SUCCESS


async def test_restored_state_is_continued() -> None:
    storage = Storage()
    async with storage.worker() as runs:
        await ran(storage, runs, "r1")
        written = storage.checkpoints.saver.storage["t1"][""]
        kept = dict(written)
        lose_latest(storage)
        assert (await ran(storage, runs, "r2")).status is RunStatus.ERROR
        written.update(kept)
        assert (await ran(storage, runs, "r3")).status is RunStatus.SUCCESS


async def test_runs_of_one_process_on_a_thread_read_no_earlier_runs() -> None:
    storage = CountingStorage()
    async with storage.worker() as runs:
        await ran(storage, runs, "r1")
        before = storage.runs.listed
        await ran(storage, runs, "r2")
        assert storage.runs.listed == before
    async with storage.worker(bridge=MemoryStreamBridge(clock=storage.clock)) as runs:
        await ran(storage, runs, "r3")
        assert storage.runs.listed == before + 1
