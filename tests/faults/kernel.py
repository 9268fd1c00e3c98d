"""The kernel on fakes, each of which a test can replace by a failing one. One storage; any number of workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

from runstead.infra.dispatch.local import LocalDispatcher
from runstead.infra.dispatch.wakeup import WakeupSignal
from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.agent_loop import InlineAgentLoops
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.runtime import RunLimits, RunsRuntime
from runstead.runtime.runs.types import AssistantId, RunId, RunScope, RunSpec, ThreadId
from runstead.testing.clock import ManualClock
from runstead.testing.fakes import (
    AgentEnvironment,
    EffectLog,
    FakeAgents,
    InMemoryCheckpointStore,
    InMemoryLeaseStore,
    InMemoryRunEventStore,
    InMemoryRunStore,
    InMemoryTables,
    Script,
    Step,
)

ALICE = ActorContext("alice")
BOB = ActorContext("bob")

LONG = RunLimits(lease_term=timedelta(days=365), stop_grace=5.0)
"""Renewals never find anything out."""


def a_spec(run_id: str, *steps: Step, thread_id: ThreadId | None = ThreadId("t1"), **fields: Any) -> RunSpec:
    """A run that takes these steps, or one short one, on a thread that is created with it."""
    script = Script(run_id, steps or (Step(),))
    settled: dict[str, Any] = {"scope": RunScope(if_not_exists="create"), "input": script.to_input()}
    return RunSpec(AssistantId("agent"), "agent", run_id=RunId(run_id), thread_id=thread_id, **{**settled, **fields})


@asynccontextmanager
async def let_go(held: asyncio.Event) -> AsyncIterator[None]:
    """Set ``held`` at the end of the block in any case: otherwise a worker could not be closed."""
    try:
        yield
    finally:
        held.set()


class Storage:
    """The storage shared by all workers, and the manual clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.tables = InMemoryTables(self.clock)
        self.effects = EffectLog(self.clock)
        self.bell = WakeupSignal()
        self.runs = InMemoryRunStore(self.tables, self.bell.notify)
        self.leases = InMemoryLeaseStore(self.tables, self.bell.notify)
        self.events = InMemoryRunEventStore(self.tables.threads)
        self.checkpoints = InMemoryCheckpointStore()
        self.bridge = MemoryStreamBridge(clock=self.clock)
        self.dispatcher = LocalDispatcher(self.leases, self.bell, self.clock)

    def status(self, run_id: str) -> str:
        return self.tables.runs[RunId(run_id)].record.status.value

    def thread_status(self, thread_id: str = "t1") -> str:
        return self.tables.threads[ThreadId(thread_id)].record.status

    @asynccontextmanager
    async def workers(self, *executing: bool, **ports: Any) -> AsyncIterator[list[RunsFacade]]:
        """One started facade per flag; the flag decides whether it executes runs. ``ports`` replace the fakes."""
        runtime = self.runtime(**ports)
        async with AsyncExitStack() as stack:
            await runtime.bridge.start()
            stack.push_async_callback(runtime.bridge.close)
            facades = []
            for executes in executing:
                facade = RunsFacade.assemble(runtime)
                await facade.start(execute=executes)
                stack.push_async_callback(facade.close, 0)
                facades.append(facade)
            yield facades

    @asynccontextmanager
    async def worker(self, **ports: Any) -> AsyncIterator[RunsFacade]:
        """One facade that executes."""
        async with self.workers(True, **ports) as (facade,):
            yield facade

    def runtime(self, **ports: Any) -> RunsRuntime:
        """The ports of the kernel, with ``ports`` in place of fakes."""
        return RunsRuntime(**{**self._ports(), **ports})

    def _ports(self) -> dict[str, Any]:
        # No observer: observers are optional.
        return {
            "create_store": self.runs,
            "query_store": self.runs,
            "delete_store": self.runs,
            "lease_store": self.leases,
            "event_store": self.events,
            "checkpoints": self.checkpoints,
            "bridge": self.bridge,
            "dispatcher": self.dispatcher,
            "agents": FakeAgents(AgentEnvironment(clock=self.clock, effects=self.effects)),
            "agent_loops": InlineAgentLoops(),
            "clock": self.clock,
            "limits": LONG,
        }
