"""A worker renews all its leases, each separately, and begins no step without a valid one."""

from __future__ import annotations

import asyncio
import operator
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, Literal, cast

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from runstead.runtime.actor_context import acting
from runstead.runtime.runs.callbacks.step_gate import StepGate, StepRefused
from runstead.runtime.runs.internal.execution.lease_renewal import LeaseRenewal
from runstead.runtime.runs.internal.execution.registry import RunHandle, RunRegistry
from runstead.runtime.runs.runtime import RunLimits
from runstead.runtime.runs.types import Lease, RunId, ThreadId, WorkerId
from runstead.testing.fakes import InMemoryLeaseStore, Step
from tests.faults.kernel import ALICE, Storage, a_spec
from tests.faults.one_graph import OneGraph


class SlowForOne(InMemoryLeaseStore):
    """The renewal of one run takes longer than any timeout."""

    slow = "r1"
    renewed: Counter[str]

    async def renew(self, lease: Lease, term: timedelta) -> Lease:
        self.renewed[lease.run_id] += 1
        if lease.run_id == self.slow:
            await asyncio.Event().wait()
        return await super().renew(lease, term)


async def test_slow_renewal_does_not_delay_other_renewals() -> None:
    storage = Storage()
    leases = SlowForOne(storage.tables, storage.bell.notify)
    leases.renewed = Counter()
    limits = RunLimits(lease_term=timedelta(seconds=3), stop_grace=5.0)
    async with storage.worker(lease_store=leases, limits=limits) as runs:
        with acting(ALICE):
            for number in (1, 2):
                await runs.create_background(a_spec(f"r{number}", Step("hang"), thread_id=ThreadId(f"t{number}")))
            for _ in range(4):
                await storage.clock.advance(1)
            # It was requested once, and is awaited; the other one is requested each second.
            assert leases.renewed == {"r1": 1, "r2": 4}
            for number in (1, 2):
                await runs.cancel(RunId(f"r{number}"))


class WithoutMemory(InMemoryLeaseStore):
    """Renewals fail while there is no memory."""

    has_memory = True

    async def renew(self, lease: Lease, term: timedelta) -> Lease:
        if not self.has_memory:
            raise MemoryError
        return await super().renew(lease, term)


class Walk(TypedDict):
    log: Annotated[list[str], operator.add]


class Walking(OneGraph):
    """One real graph of three nodes, the first of which waits for ``held``."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self.began: list[str] = []
        self.nodes: list[str] = []
        graph = StateGraph(Walk)
        for name, before in (("first", START), ("second", "first"), ("third", "second")):
            graph.add_node(name, self._node(name)).add_edge(before, name)
        super().__init__(graph.compile())

    def _node(self, name: str) -> Any:
        async def node(state: Walk) -> Walk:
            self.began.append(name)
            if name == "first":
                await self.held.wait()
            return {"log": [name]}

        return node


@asynccontextmanager
async def walking_without_memory(agents: Walking) -> AsyncIterator[tuple[Storage, WithoutMemory]]:
    """A run in its first step, whose worker had no memory for renewing the lease until it expired."""
    storage = Storage()
    leases = WithoutMemory(storage.tables, storage.bell.notify)
    limits = RunLimits(lease_term=timedelta(seconds=3), stop_grace=5.0)
    async with storage.worker(lease_store=leases, limits=limits, agents=agents, is_shared=True) as runs:
        with acting(ALICE):
            spec = replace(a_spec("r1"), input={"log": []})
            await runs.create_background(spec)
        await until(lambda: agents.began == ["first"])
        leases.has_memory = False
        await storage.clock.advance(4)
        try:
            yield storage, leases
        finally:
            leases.has_memory = True
            agents.held.set()


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_true():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_no_step_begins_after_the_lease_has_expired() -> None:
    agents = Walking()
    async with walking_without_memory(agents) as (storage, leases):
        agents.held.set()
        for _ in range(10):
            await storage.clock.advance(1)
        assert agents.began == ["first"]
        leases.has_memory = True
        async with asyncio.timeout(30):
            while storage.status("r1") != "success":
                await storage.clock.advance(1)
    # The finished step is kept. No worker was lost.
    assert agents.began == ["first", "second", "third"]
    record = storage.tables.runs[RunId("r1")].record
    assert (record.attempt, record.lost_attempts) == (2, 0)


async def test_attempt_with_an_expired_lease_ends_if_another_worker_has_the_run() -> None:
    agents = Walking()
    async with walking_without_memory(agents) as (storage, leases):
        await leases.recover(RunId("r1"), 3)
        taken = await leases.claim(RunId("r1"), WorkerId("another"), timedelta(days=1))
        assert taken is not None
        leases.has_memory = True
        agents.held.set()
        for _ in range(10):
            await storage.clock.advance(1)
        assert agents.began == ["first"]
        assert storage.tables.runs[RunId("r1")].record.attempt == 2
        await leases.release(taken)
    assert storage.status("r1") == "pending"


async def test_lease_renewal_continues_after_a_failed_allocation() -> None:
    storage = Storage()
    failures = [MemoryError(), MemoryError()]
    renewed: list[str] = []

    class Registry:
        """Fails first, as an iterator that cannot be allocated."""

        def __iter__(self) -> Iterator[RunHandle]:
            if failures:
                raise failures.pop()
            renewed.append("round")
            return iter(())

    limits = RunLimits(lease_term=timedelta(seconds=3))
    renewal = LeaseRenewal(storage.runtime(limits=limits), cast(RunRegistry, Registry()), asyncio.create_task)
    task = asyncio.create_task(renewal.run())
    await storage.clock.advance(5)
    task.cancel()
    assert renewed == ["round"] * 3


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_refused_step_is_not_taken_for_a_finished_one(durability: Literal["sync", "async", "exit"]) -> None:
    agents = Walking()
    agents.held.set()
    async with agents.build({}) as plain:
        graph = plain.copy(update={"checkpointer": InMemorySaver()})
    refused: list[str] = []
    config: RunnableConfig = {"configurable": {"thread_id": "t1"}}
    gate = StepGate(lambda: "second" not in agents.nodes, lambda: refused.append("step"))
    with pytest.raises(StepRefused):
        await graph.ainvoke({"log": []}, {**config, "callbacks": [Nodes(agents.nodes), gate]}, durability=durability)
    assert (agents.began, refused) == (["first"], ["step"])
    assert (await graph.aget_state(config)).next == ("second",)
    assert (await graph.ainvoke(None, config))["log"] == ["first", "second", "third"]


class Nodes(BaseCallbackHandler):
    """Notes the nodes that are about to begin."""

    run_inline = True

    def __init__(self, nodes: list[str]) -> None:
        self._nodes = nodes

    def on_chain_start(self, *_: object, metadata: Any = None, **__: object) -> None:
        self._nodes.append((metadata or {}).get("langgraph_node", ""))
