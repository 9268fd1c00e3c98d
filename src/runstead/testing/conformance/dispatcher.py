"""The conformance suite of run dispatchers.

Subclass it and provide two fixtures: ``dispatcher``, and ``waiting``, which adds waiting runs where the dispatcher
finds them, as a store does when it commits. Both use the suite's ``clock``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Protocol

import pytest

from runstead.runtime.runs.dispatch import RunDispatcher, RunWorker
from runstead.runtime.runs.types import RunId
from runstead.testing.clock import ManualClock, turn

PATIENCE: Final = 30.0
"""Real seconds that a delivery may take before the test fails instead of hanging."""


class WaitingRuns(Protocol):
    """The durable rows that a dispatcher reads."""

    async def add(self, run_id: RunId, *, due_in: float = 0) -> None:
        """Add a waiting run, durably, and signal it as a store does after its commit."""
        ...

    async def take(self, run_id: RunId) -> bool:
        """Claim the run: True for exactly one of all callers."""
        ...


class RecordingWorker:
    """A worker that claims and records the runs delivered to it, and executes nothing."""

    def __init__(self, waiting: WaitingRuns, slots: int = 10, reserved: int = 0) -> None:
        self.launched: list[RunId] = []
        self.offered: list[RunId] = []
        self.notices: list[RunId] = []
        self.most_at_once = 0
        self.hold = asyncio.Event()
        """While it is cleared, launches wait before they claim."""
        self.hold.set()
        self._waiting = waiting
        self.slots, self.reserved = slots, reserved
        self._busy: set[RunId] = set()
        self._launching = 0
        self._freed = asyncio.Event()

    @property
    def free(self) -> int:
        return self.slots - len(self._busy)

    async def wait_free(self, more_than: int = 0) -> None:
        while self.free <= more_than:
            self._freed.clear()
            await self._freed.wait()

    async def launch(self, run_id: RunId) -> bool:
        assert self.free > 0, "a run was delivered to a worker without room"
        held = run_id in self._busy
        self._busy.add(run_id)
        self.offered.append(run_id)
        self._launching += 1
        self.most_at_once = max(self.most_at_once, self._launching)
        try:
            await self.hold.wait()
            if not await self._waiting.take(run_id):
                if not held:
                    self.finish(run_id)
                return False
        finally:
            self._launching -= 1
        self.launched.append(run_id)
        return True

    async def finished(self, run_id: RunId) -> None:
        while run_id in self._busy:
            self._freed.clear()
            await self._freed.wait()

    def check_stop_request(self, run_id: RunId) -> None:
        self.notices.append(run_id)

    def finish(self, run_id: RunId) -> None:
        """End the run, which frees its slot."""
        self._busy.discard(run_id)
        self._freed.set()


@asynccontextmanager
async def serving(dispatcher: RunDispatcher, worker: RunWorker) -> AsyncIterator[asyncio.Task[None]]:
    """Deliver to ``worker`` for the length of a block."""
    task = asyncio.create_task(dispatcher.serve(worker))
    await turn()
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def eventually(clock: ManualClock, seen: list[RunId], count: int) -> None:
    """Wait for ``count`` deliveries without advancing the test's clock; adapters may need real time for their I/O."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        await turn()
        if len(seen) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{len(seen)} of {count} runs were delivered: {seen} (at {clock.monotonic():.3f} s)")


class RunDispatcherConformance:
    """The suite of run dispatchers. Subclass it and provide ``dispatcher``, ``waiting`` and ``clock``."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    async def test_new_waiting_run_is_delivered_at_once(
        self, dispatcher: RunDispatcher, waiting: WaitingRuns, clock: ManualClock
    ) -> None:
        worker = RecordingWorker(waiting)
        async with serving(dispatcher, worker):
            await waiting.add(RunId("run-1"))
            await eventually(clock, worker.launched, 1)
        assert worker.launched == ["run-1"]

    async def test_runs_that_wait_at_the_start_are_delivered(
        self, dispatcher: RunDispatcher, waiting: WaitingRuns, clock: ManualClock
    ) -> None:
        for number in range(3):
            await waiting.add(RunId(f"run-{number}"))
        worker = RecordingWorker(waiting)
        async with serving(dispatcher, worker):
            await eventually(clock, worker.launched, 3)
        assert sorted(worker.launched) == ["run-0", "run-1", "run-2"]

    async def test_worker_gets_runs_only_as_slots_become_free(
        self, dispatcher: RunDispatcher, waiting: WaitingRuns, clock: ManualClock
    ) -> None:
        worker = RecordingWorker(waiting, slots=2)
        for number in range(5):
            await waiting.add(RunId(f"run-{number}"))
        async with serving(dispatcher, worker):
            for done in range(5):
                await eventually(clock, worker.launched, min(done + 2, 5))
                assert len(worker.launched) <= done + 2
                worker.finish(worker.launched[done])
        assert sorted(worker.launched) == [f"run-{number}" for number in range(5)]

    async def test_delayed_run_is_delivered_when_due_and_not_before(
        self, dispatcher: RunDispatcher, waiting: WaitingRuns, clock: ManualClock
    ) -> None:
        worker = RecordingWorker(waiting)
        async with serving(dispatcher, worker):
            await waiting.add(RunId("later"), due_in=20)
            await waiting.add(RunId("sooner"), due_in=5)
            await clock.advance(4.9)
            assert worker.launched == []
            await clock.advance(0.2)
            await eventually(clock, worker.launched, 1)
            await clock.advance(15)
            await eventually(clock, worker.launched, 2)
        assert worker.launched == ["sooner", "later"]

    async def test_two_workers_share_runs_and_launch_none_twice(
        self, dispatcher: RunDispatcher, waiting: WaitingRuns, clock: ManualClock
    ) -> None:
        one, two = RecordingWorker(waiting, slots=10), RecordingWorker(waiting, slots=10)
        async with serving(dispatcher, one), serving(dispatcher, two):
            for number in range(20):
                await waiting.add(RunId(f"run-{number}"))
            for _ in range(500):
                await turn()
                if len(one.launched) + len(two.launched) >= 20:
                    break
                await asyncio.sleep(0.01)
        assert sorted(one.launched + two.launched) == sorted(f"run-{number}" for number in range(20))

    async def test_cancelling_serve_stops_deliveries_but_not_launched_runs(
        self, dispatcher: RunDispatcher, waiting: WaitingRuns, clock: ManualClock
    ) -> None:
        worker = RecordingWorker(waiting)
        async with serving(dispatcher, worker) as task:
            await waiting.add(RunId("before"))
            await eventually(clock, worker.launched, 1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await waiting.add(RunId("after"))
            await clock.advance(120)
        assert worker.launched == ["before"]

    async def test_cancelling_serve_completes_a_launch_under_way(
        self, dispatcher: RunDispatcher, waiting: WaitingRuns, clock: ManualClock
    ) -> None:
        worker = RecordingWorker(waiting)
        worker.hold.clear()
        async with serving(dispatcher, worker) as task:
            await waiting.add(RunId("run-1"))
            await eventually(clock, worker.offered, 1)
            task.cancel()
            await turn()
            worker.hold.set()
            await asyncio.gather(task, return_exceptions=True)
            await eventually(clock, worker.launched, 1)

    async def test_request_stop_reaches_the_serving_worker_at_once(
        self, dispatcher: RunDispatcher, waiting: WaitingRuns, clock: ManualClock
    ) -> None:
        worker = RecordingWorker(waiting)
        async with serving(dispatcher, worker):
            await waiting.add(RunId("run-1"))
            await eventually(clock, worker.launched, 1)
            await dispatcher.request_stop(RunId("run-1"))
            await eventually(clock, worker.notices, 1)
        assert worker.notices == ["run-1"]

    async def test_request_stop_without_a_worker_is_no_error(self, dispatcher: RunDispatcher) -> None:
        await dispatcher.request_stop(RunId("run-not-held"))
