"""Storage failures are not failures of the run: a lost attempt is followed by another."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from runstead.infra.dispatch.local import LocalDispatcher
from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.internal.streaming.stream_service import RunStreamService
from runstead.runtime.runs.internal.streaming.wait import RunWaitService
from runstead.runtime.runs.store import Settled
from runstead.runtime.runs.types import Lease, Outcome, RunId, RunRecord, RunStatus, ThreadId, WorkerId
from runstead.runtime.storage_fault import FaultKind, StorageFault
from runstead.testing.clock import turn
from runstead.testing.fakes import InMemoryCheckpointStore, InMemoryLeaseStore, Step
from tests.faults.kernel import ALICE, Storage, a_spec


class Fault(StorageFault):
    def __init__(self, kind: FaultKind) -> None:
        self.kind = kind
        super().__init__(kind)


class FailingOnce(InMemoryCheckpointStore):
    """Fails when the first attempt starts."""

    def __init__(self, kind: FaultKind) -> None:
        super().__init__()
        self._kind: FaultKind | None = kind

    async def mark(self, thread_id: ThreadId, run_id: RunId) -> str | None:
        if (kind := self._kind) is not None:
            self._kind = None
            raise Fault(kind)
        return await super().mark(thread_id, run_id)


@pytest.mark.parametrize("kind", ["away", "busy", "closed"])
async def test_unavailable_storage_costs_an_attempt_and_no_run(kind: FaultKind) -> None:
    storage = Storage()
    async with storage.worker(checkpoints=FailingOnce(kind)) as runs:
        with acting(ALICE):
            result = await runs.create_and_wait(a_spec("r1"))
    assert (result.record.status, result.record.attempt, result.record.lost_attempts) == (RunStatus.SUCCESS, 2, 0)


async def test_disk_that_is_full_costs_an_attempt_and_no_run() -> None:
    storage = Storage()
    async with storage.worker(checkpoints=FailingOnce("full")) as runs:
        with acting(ALICE):
            waiting = asyncio.create_task(runs.create_and_wait(a_spec("r1")))
            while not waiting.done():
                await storage.clock.advance(0.5)
            result = await waiting
    assert (result.record.status, result.record.attempt, result.record.lost_attempts) == (RunStatus.SUCCESS, 2, 0)


async def test_permanent_storage_error_fails_the_run() -> None:
    """Another attempt would fail in the same way."""
    storage = Storage()
    async with storage.worker(checkpoints=FailingOnce("read_only")) as runs:
        with acting(ALICE):
            result = await runs.create_and_wait(a_spec("r1"))
    assert (result.record.status, result.record.attempt) == (RunStatus.ERROR, 1)


class NeedsKey(InMemoryCheckpointStore):
    """Fails like a storage whose values need a key that this process lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0

    async def mark(self, thread_id: ThreadId, run_id: RunId) -> str | None:
        self.begun += 1
        raise Fault("keyless")


async def test_run_that_needs_a_missing_key_is_released_to_others() -> None:
    storage, checkpoints = Storage(), NeedsKey()
    async with storage.worker(checkpoints=checkpoints) as runs:
        with acting(ALICE):
            await runs.create_background(a_spec("r1"))
        # Turns of the loop do not advance time: without a pause it would be claimed again in each.
        await turn(500)
        assert (storage.status("r1"), checkpoints.begun) == ("pending", 1)
        await storage.clock.advance(29)
        assert checkpoints.begun == 1
        await storage.clock.advance(60)
        assert (storage.status("r1"), checkpoints.begun) == ("pending", 3)
    async with storage.worker(bridge=MemoryStreamBridge(clock=storage.clock)) as keyed:
        with acting(ALICE):
            ended = await keyed.join_wait(RunId("r1"))
    assert (ended.record.status, ended.record.lost_attempts) == (RunStatus.SUCCESS, 0)


class UnreadableEnd(InMemoryLeaseStore):
    """The row of a run needs a missing key by the time that the run ends, or starts."""

    def __init__(self, storage: Storage, *, at: str) -> None:
        super().__init__(storage.tables, storage.bell.notify)
        self._at, self.calls = at, 0

    async def claim(self, run_id: RunId, worker: WorkerId, term: timedelta) -> Lease | None:
        if self._at == "claim":
            self.calls += 1
            raise Fault("keyless")
        return await super().claim(run_id, worker, term)

    async def settle(self, lease: Lease, outcome: Outcome) -> Settled:
        self.calls += 1
        raise Fault("keyless")


@pytest.mark.parametrize("at", ["claim", "settle"])
async def test_run_whose_row_needs_a_missing_key_waits_for_another_worker(at: str) -> None:
    storage = Storage()
    leases = UnreadableEnd(storage, at=at)
    async with storage.worker(
        lease_store=leases, dispatcher=LocalDispatcher(leases, storage.bell, storage.clock)
    ) as runs:
        with acting(ALICE):
            await runs.create_background(a_spec("r1"))
        await turn(500)
        await storage.clock.advance(29)
        assert (storage.status("r1"), leases.calls) == ("pending", 1)
    async with storage.worker(bridge=MemoryStreamBridge(clock=storage.clock)) as keyed:
        with acting(ALICE):
            ended = await keyed.join_wait(RunId("r1"))
    assert ended.record.status is RunStatus.SUCCESS


async def test_wait_raises_when_the_output_cannot_be_read() -> None:
    storage = Storage()
    async with storage.worker() as runs:
        with acting(ALICE):
            ended = (await runs.create_and_wait(a_spec("r1"))).record
            # Its terminal event is no longer on its stream.
            await storage.bridge.cleanup("r1")

            async def cannot_be_read(record: RunRecord) -> bytes | None:
                raise Fault("away")

            runtime = storage.runtime()
            waits = RunWaitService(runtime, RunStreamService(runtime, cannot_be_read), cannot_be_read)
            with pytest.raises(Fault):
                await waits.wait(ended)


class Held(InMemoryCheckpointStore):
    """The first attempt waits for the storage, and then gets an unavailable error."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go_on = asyncio.Event(), asyncio.Event()

    async def mark(self, thread_id: ThreadId, run_id: RunId) -> str | None:
        if not self.entered.is_set():
            self.entered.set()
            await self.go_on.wait()
            raise Fault("away")
        return await super().mark(thread_id, run_id)


async def test_storage_failure_during_shutdown_leaves_the_run_pending() -> None:
    storage, checkpoints = Storage(), Held()
    async with storage.worker(checkpoints=checkpoints) as runs:
        with acting(ALICE):
            await runs.create_background(a_spec("r1"))
        await checkpoints.entered.wait()
        closing = asyncio.create_task(runs.close(0))
        await turn()
        checkpoints.go_on.set()
        await closing
    assert storage.status("r1") == "pending"


async def test_stop_during_a_storage_failure_is_applied_by_the_next_attempt() -> None:
    storage, checkpoints = Storage(), Held()
    async with storage.worker(checkpoints=checkpoints) as runs:
        with acting(ALICE):
            await runs.create_background(a_spec("r1", Step("hang")))
            await checkpoints.entered.wait()
            stopped = asyncio.create_task(runs.cancel(RunId("r1"), wait=True))
            await turn()
            checkpoints.go_on.set()
            await stopped
    assert storage.status("r1") == "interrupted"


class UndoingLate(InMemoryCheckpointStore):
    """Cannot roll back at first."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 3

    async def undo(self, thread_id: ThreadId, run_id: RunId) -> None:
        if self.left:
            self.left -= 1
            raise Fault("away")
        await super().undo(thread_id, run_id)


async def test_rollback_waits_for_the_unavailable_storage() -> None:
    storage = Storage()
    checkpoints = UndoingLate()
    async with storage.worker(checkpoints=checkpoints) as runs:
        with acting(ALICE):
            _, stream = await runs.create_and_stream(a_spec("r1", Step("hang")))
            assert await anext(stream)
            undone = asyncio.create_task(runs.cancel(RunId("r1"), action="rollback", wait=True))
            while not undone.done():
                await storage.clock.advance(0.1)
            await undone
            await stream.aclose()
    assert checkpoints.left == 0
    assert "r1" not in storage.tables.runs
