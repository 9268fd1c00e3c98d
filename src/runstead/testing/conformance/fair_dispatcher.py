"""The conformance suite of dispatchers whose runs take fair turns.

Subclass it and provide two fixtures: ``dispatcher``, and ``waiting``, over a store with fair turns. ``clock`` is the
suite's.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import pytest

from runstead.runtime.runs.dispatch import RunDispatcher
from runstead.runtime.runs.types import RunId
from runstead.testing.clock import ManualClock, turn

from .dispatcher import RecordingWorker, WaitingRuns, eventually, serving


class GroupedRuns(WaitingRuns, Protocol):
    """Waiting runs of groups."""

    async def add_to(self, group: str, run_id: RunId, priority: int = 0) -> None:
        """Add a waiting run of a group, as `add` does."""
        ...

    async def end(self, run_id: RunId) -> None:
        """Settle a run that was taken."""
        ...


class _Worker(RecordingWorker):
    """A worker that also ends its runs in the store."""

    def __init__(self, waiting: GroupedRuns, slots: int, reserved: int = 0) -> None:
        super().__init__(waiting, slots, reserved)
        self._grouped = waiting

    async def end(self, run_id: RunId) -> None:
        await self._grouped.end(run_id)
        self.finish(run_id)


async def _nothing_more(worker: _Worker, launched: int) -> None:
    """Check that nothing more is delivered; an adapter over a network needs a moment for a wrong delivery."""
    for _ in range(10):
        await turn()
        await asyncio.sleep(0.01)
    assert len(worker.launched) == launched, worker.launched


class FairDispatcherConformance:
    """The suite of fair dispatchers. Subclass it and provide ``dispatcher`` and ``waiting``."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    async def test_first_run_of_a_group_precedes_a_backlog_of_another_group(
        self, dispatcher: RunDispatcher, waiting: GroupedRuns, clock: ManualClock
    ) -> None:
        for number in range(12):
            await waiting.add_to("a", RunId(f"a-{number}"))
        worker = _Worker(waiting, slots=2)
        async with serving(dispatcher, worker):
            await eventually(clock, worker.launched, 2)
            await waiting.add_to("b", RunId("b-0"))
            await worker.end(worker.launched[0])
            await eventually(clock, worker.launched, 3)
        assert worker.launched[2] == "b-0"

    async def test_waiting_groups_are_delivered_in_turn(
        self, dispatcher: RunDispatcher, waiting: GroupedRuns, clock: ManualClock
    ) -> None:
        for group in "abc":
            for number in range(4):
                await waiting.add_to(group, RunId(f"{group}-{number}"))
        worker = _Worker(waiting, slots=1)
        async with serving(dispatcher, worker):
            for done in range(12):
                await eventually(clock, worker.launched, done + 1)
                await worker.end(worker.launched[done])
        rounds = [worker.launched[at : at + 3] for at in range(0, 12, 3)]
        assert [sorted(one) for one in rounds] == [[f"{group}-{n}" for group in "abc"] for n in range(4)]

    async def test_more_urgent_run_is_delivered_first(
        self, dispatcher: RunDispatcher, waiting: GroupedRuns, clock: ManualClock
    ) -> None:
        worker = _Worker(waiting, slots=1)
        await waiting.add_to("a", RunId("first"))
        async with serving(dispatcher, worker):
            await eventually(clock, worker.launched, 1)
            await waiting.add_to("a", RunId("late"), 5)
            await waiting.add_to("b", RunId("usual"))
            await waiting.add_to("a", RunId("urgent"), -5)
            for done in ("first", "urgent", "usual"):
                await worker.end(RunId(done))
                await eventually(clock, worker.launched, len(worker.launched) + 1)
        assert worker.launched == ["first", "urgent", "usual", "late"]

    async def test_reserved_slots_are_for_groups_without_running_runs(
        self, dispatcher: RunDispatcher, waiting: GroupedRuns, clock: ManualClock
    ) -> None:
        for number in range(12):
            await waiting.add_to("a", RunId(f"a-{number}"))
        worker = _Worker(waiting, slots=6, reserved=2)
        async with serving(dispatcher, worker):
            await eventually(clock, worker.launched, 4)
            await _nothing_more(worker, 4)
            await waiting.add_to("b", RunId("b-0"))
            await eventually(clock, worker.launched, 5)
            await waiting.add_to("b", RunId("b-1"))
            await _nothing_more(worker, 5)
            await worker.end(worker.launched[0])
            await _nothing_more(worker, 5)
            await worker.end(worker.launched[1])
            await eventually(clock, worker.launched, 6)
        assert worker.launched[4:] == ["b-0", "b-1"]

    async def test_single_group_gets_each_slot_as_soon_as_it_is_free(
        self, dispatcher: RunDispatcher, waiting: GroupedRuns, clock: ManualClock
    ) -> None:
        for number in range(9):
            await waiting.add_to("a", RunId(f"a-{number}"))
        worker = _Worker(waiting, slots=4, reserved=1)
        async with serving(dispatcher, worker):
            for done in range(9):
                await eventually(clock, worker.launched, min(done + 3, 9))
                await worker.end(worker.launched[done])
        assert sorted(worker.launched) == [f"a-{number}" for number in range(9)]

    async def test_two_workers_deliver_groups_in_turn(
        self, dispatcher: RunDispatcher, waiting: GroupedRuns, clock: ManualClock
    ) -> None:
        for number in range(20):
            await waiting.add_to("a", RunId(f"a-{number}"))
        one, two = _Worker(waiting, slots=3), _Worker(waiting, slots=3)
        async with serving(dispatcher, one), serving(dispatcher, two):
            # Both are full, however long that takes: a worker with a free slot would take the turns of the next
            # groups.
            await eventually(clock, one.launched, 3)
            await eventually(clock, two.launched, 3)
            await waiting.add_to("b", RunId("b-0"))
            await one.end(one.launched[0])
            await eventually(clock, one.launched, 4)
            await waiting.add_to("c", RunId("c-0"))
            await two.end(two.launched[0])
            await eventually(clock, two.launched, 4)
        assert (one.launched[3], two.launched[3]) == ("b-0", "c-0")
