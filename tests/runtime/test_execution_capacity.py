"""Selection of claimed runs that may execute concurrently in one worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from runstead.runtime.actor_context import acting
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.internal.admission import decide
from runstead.runtime.runs.internal.execution.capacity import BACK_OFF, PROBATION, STEP
from runstead.runtime.runs.types import RunId, ThreadId
from runstead.testing.fakes import Step
from tests.faults.kernel import ALICE, LONG, Storage, a_spec

BIG = "x" * 1000


async def accepted(storage: Storage, count: int, *, lost_attempts: int = 0, size: str = "", start: int = 1) -> None:
    """Runs that hang until they are stopped, each on its own thread."""
    for number in range(start, start + count):
        spec = a_spec(f"r{number}", Step("hang"), thread_id=ThreadId(f"t{number}"))
        spec = replace(spec, input={**spec.input, "size": size})
        with acting(ALICE):
            await storage.runs.create_runs([spec], decide)
        storage.tables.write(storage.tables.runs[RunId(f"r{number}")], lost_attempts=lost_attempts)


@asynccontextmanager
async def working(storage: Storage, input_bytes: int | None = None) -> AsyncIterator[RunsFacade]:
    with acting(ALICE):
        async with storage.worker(limits=replace(LONG, input_bytes=input_bytes)) as runs:
            await storage.clock.advance(0)
            yield runs
            for run_id in storage.tables.runs:
                await runs.cancel(run_id)
            await storage.clock.advance(0)


def running(storage: Storage) -> list[str]:
    return [run_id for run_id in storage.tables.runs if storage.status(run_id) == "running"]


async def test_inputs_that_do_not_fit_wait_until_others_have_ended() -> None:
    storage = Storage()
    await accepted(storage, 3, size=BIG)
    async with working(storage, input_bytes=2500) as runs:
        assert running(storage) == ["r1", "r2"]
        await runs.cancel(RunId("r1"), wait=True)
        await storage.clock.advance(0)
        assert running(storage) == ["r2", "r3"]


async def test_single_run_is_executed_at_any_input_size() -> None:
    storage = Storage()
    await accepted(storage, 2, size=BIG)
    async with working(storage, input_bytes=10) as runs:
        assert running(storage) == ["r1"]
        await runs.cancel(RunId("r1"), wait=True)
        await storage.clock.advance(0)
        assert running(storage) == ["r2"]


async def test_no_run_is_claimed_while_claimed_ones_wait_for_memory() -> None:
    storage = Storage()
    await accepted(storage, 2, size=BIG)
    async with working(storage, input_bytes=10):
        await accepted(storage, 1, start=3)
        await storage.clock.advance(60)
        assert (storage.status("r2"), storage.status("r3")) == ("starting", "pending")


async def test_run_waiting_for_memory_can_be_stopped() -> None:
    storage = Storage()
    await accepted(storage, 2, size=BIG)
    async with working(storage, input_bytes=10) as runs:
        await runs.cancel(RunId("r2"), wait=True)
        assert storage.status("r2") == "interrupted"
        assert running(storage) == ["r1"]


async def test_runs_that_lost_a_worker_restart_one_after_the_other() -> None:
    storage = Storage()
    await accepted(storage, 3, lost_attempts=1)
    async with working(storage):
        assert running(storage) == ["r1"]
        await storage.clock.advance(STEP)
        assert running(storage) == ["r1", "r2"]
        await storage.clock.advance(STEP)
        assert running(storage) == ["r1", "r2", "r3"]


async def test_run_that_lost_two_workers_restarts_later_and_alone() -> None:
    storage = Storage()
    await accepted(storage, 2, lost_attempts=2)
    async with working(storage) as runs:
        await storage.clock.advance(BACK_OFF - 1)
        assert running(storage) == []
        await storage.clock.advance(1)
        assert running(storage) == ["r1"]
        await accepted(storage, 1, start=3)
        await storage.clock.advance(PROBATION - 1)
        # Nothing else starts beside it yet.
        assert running(storage) == ["r1"]
        await storage.clock.advance(31)
        # Another one of its kind waits for its end, and delays no others.
        assert running(storage) == ["r1", "r3"]
        await runs.cancel(RunId("r1"), wait=True)
        await storage.clock.advance(0)
        assert running(storage) == ["r2", "r3"]


async def test_other_runs_execute_while_a_run_waits_to_restart() -> None:
    storage = Storage()
    await accepted(storage, 1, lost_attempts=2)
    await accepted(storage, 1, start=2)
    async with working(storage):
        assert running(storage) == ["r2"]
        await storage.clock.advance(BACK_OFF)
        assert running(storage) == ["r1", "r2"]


async def test_readers_and_waiters_hold_no_input_in_memory() -> None:
    storage = Storage()
    async with working(storage) as runs:
        with acting(ALICE):
            record, stream = await runs.create_and_stream(a_spec("r1", Step("hang")))
            assert stream.record.spec.input is None
            assert record.spec.input is not None
            await stream.aclose()
