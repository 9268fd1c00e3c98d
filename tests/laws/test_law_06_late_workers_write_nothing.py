"""Law 6: a late worker cannot write: no row, no checkpoint, no event, no outcome."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from runstead.runtime.actor_context import acting
from runstead.runtime.runs.exceptions import LeaseLost
from runstead.runtime.runs.types import Lease, Outcome, RunId, RunStatus, WorkerId
from runstead.testing.fakes import AgentEnvironment, FakeAgent, FakeAgents, InMemoryLeaseStore, Step
from tests.faults.kernel import ALICE, Storage
from tests.simulation.scenario import Scenario, a_spec

TERM = timedelta(seconds=3)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_worker_that_slept_while_another_finished_its_run_changes_nothing(story: Scenario, durability: str) -> None:
    steps = [Step(takes=1, chunks=3) for _ in range(4)]
    story.create(a_spec(RunId("r1"), *steps, durability=durability))
    story.wait(1.5)
    late = story.kernel
    late.process.freeze()
    story.start()
    assert story.end_of(RunId("r1")).record.attempt == 2
    ended = story.durable.tables.runs[RunId("r1")].record
    checkpoints = sorted(story.durable.checkpoints.saver.storage["t1"][""])
    published = len(story.durable.witness.published[RunId("r1")])
    late.process.thaw()
    story.wait(60)
    assert story.durable.tables.runs[RunId("r1")].record == ended
    assert sorted(story.durable.checkpoints.saver.storage["t1"][""]) == checkpoints
    assert story.log() == ["r1.0", "r1.1", "r1.2", "r1.3"]
    assert late.facade.active_runs == 0
    later = story.durable.witness.published[RunId("r1")][published:]
    # A terminal event published by the reconciler is not an event of the late attempt.
    assert not any(event.terminal for event in later if event.event_id.startswith("1-")), "it published an end"


def test_worker_that_slept_without_a_successor_continues(story: Scenario) -> None:
    """Like a closed laptop: the lease has expired, but no other worker exists."""
    story.create(a_spec(RunId("r1"), Step(takes=1), Step(takes=1)))
    story.wait(0.5)
    story.kernel.process.freeze()
    story.wait(3600)
    story.kernel.process.thaw()
    result = story.end_of(RunId("r1"), within=10)
    assert (result.record.status, result.record.attempt, result.record.lost_attempts) == (RunStatus.SUCCESS, 1, 0)
    assert len(story.durable.effects.done) == 2, "a step was taken twice"


def test_every_write_of_a_lease_that_was_lost_is_refused(story: Scenario) -> None:
    leases = InMemoryLeaseStore(story.durable.tables)

    async def writes(lease: Lease) -> None:
        for write in (
            leases.renew(lease, TERM),
            leases.begin(lease, None),
            leases.settle(lease, Outcome(RunStatus.SUCCESS)),
            leases.release(lease),
        ):
            with pytest.raises(LeaseLost):
                await write

    async def lose_one() -> None:
        lease = await leases.claim(RunId("r1"), WorkerId("late"), TERM)
        assert lease is not None
        await story.world.outside.clock.sleep(4)
        assert await leases.recover(RunId("r1"), 3)
        await writes(lease)
        assert await leases.claim(RunId("r1"), WorkerId("next"), TERM)
        await writes(lease)

    story.create(a_spec(RunId("r1"), after_seconds=1))
    story.close()
    story.wait(1)
    story.world.complete(story.world.outside, lose_one(), story.now + 60)


class Items:
    """An item store that checks for permission to write."""

    def __init__(self, check: Callable[[], object] = lambda: True) -> None:
        self._check, self.kept = check, list[str]()

    def fenced(self, check: Callable[[], object], holder: object = None) -> Items:
        return Items(check)

    def put(self, item: str) -> None:
        self._check()
        self.kept.append(item)


@dataclass(frozen=True, slots=True)
class Keeping(FakeAgents):
    """Factories that keep a reference to their store."""

    stores: list[Items] = field(default_factory=list)

    @asynccontextmanager
    async def build(self, config: Mapping[str, Any], store: Any = None) -> AsyncIterator[FakeAgent]:
        store.put("while the run goes on")
        self.stores.append(store)
        async with FakeAgents.build(self, config, store) as agent:
            yield agent


async def test_store_given_to_a_factory_is_bound_to_the_run() -> None:
    storage = Storage()
    agents = Keeping(AgentEnvironment(clock=storage.clock, effects=storage.effects))
    async with storage.worker(agents=agents, store=Items()) as runs:
        with acting(ALICE):
            await runs.create_and_wait(a_spec(RunId("r1")))
        (items,) = agents.stores
        assert items.kept == ["while the run goes on"]
        with pytest.raises(LeaseLost):
            items.put("too late")
