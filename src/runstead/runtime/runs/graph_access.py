"""Access to graphs outside runs: to read a thread's state, to update it, or to describe the graph itself.

All code of the graph's author (factories, reducers, schemas) runs on an agent loop, never on the server's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from runstead.runtime.runs.exceptions import AgentTimeout
from runstead.runtime.serialization import encode
from runstead.runtime.user_code.scope import UserWork
from runstead.runtime.user_code.thread_loop import LoopLost, UserCodeCancelled

from ..json_types import JsonObject
from ..runs.types import WorkerId
from .agent_loop import AgentLoops
from .agents import Agent, AgentResolver
from .error_redaction import REDACTING, ErrorRedactor
from .exceptions import GraphCodeFailed, LeaseLost
from .internal.execution.agent import open_agent
from .internal.execution.fenced_saver import FencedSaver
from .internal.execution.planner import ExecutionPlanner
from .internal.execution.snapshot import output_values, waiting_interrupts, with_interrupts
from .runtime import RunsRuntime
from .store import RunCheckpointStore
from .stored_state import OURS, read_state
from .types import Lease, RunRecord

T = TypeVar("T")

Guard = Callable[[], Coroutine[object, object, None]]


async def unguarded() -> None:
    """Allow every write."""


class GraphAccess:
    """Access to graphs for short work. ``store`` is the LangGraph BaseStore for graphs, if there is one."""

    ANSWER_WITHIN: Final = 30.0

    def __init__(
        self,
        agents: AgentResolver,
        loops: AgentLoops,
        checkpoints: RunCheckpointStore,
        store: Any | None = None,
        error_redactor: ErrorRedactor = REDACTING,
    ) -> None:
        self._agents, self._loops, self._checkpoints, self._store = agents, loops, checkpoints, store
        self._texts = error_redactor

    async def run(
        self,
        graph_id: str,
        work: Callable[[Agent], Awaitable[T]],
        *,
        config: JsonObject | None = None,
        guard: Guard = unguarded,
    ) -> T:
        """Run ``work`` with the graph on an agent loop, and return its result or raise its error.

        ``guard`` is called on the caller's loop before each write of a checkpoint; its error stops the work. Raises
        AgentNotFound, AgentTimeout, GraphCodeFailed for errors of the graph's own code, and any RunError or
        StorageFault that ``work`` raises.
        """
        factory = self._agents.resolve(graph_id)
        saver = FencedSaver(self._checkpoints.saver, asyncio.get_running_loop(), guard, {})

        async def on_agent_loop() -> T:
            async with open_agent(factory, {"configurable": {}, **(config or {})}, saver, self._store) as agent:
                return await work(agent)

        name = UserWork("state", graph_id, thread_id=(config or {}).get("configurable", {}).get("thread_id"))
        async with self._loops.lease(name) as loop:
            task = loop.submit(on_agent_loop)
            # A loop that user code blocks is abandoned with the lease; the caller must not be blocked by it.
            if not await task.wait(self.ANSWER_WITHIN):
                raise AgentTimeout(graph_id, self.ANSWER_WITHIN)
            try:
                return task.result()
            except (LoopLost, UserCodeCancelled) as error:
                raise AgentTimeout(graph_id) from error
            except OURS:
                raise
            except Exception as error:
                raise GraphCodeFailed(graph_id, self._texts.class_and_message(error)) from error


class RunValues:
    """Reader that goes through the graph, since the graph decides what a state's values are."""

    def __init__(self, runtime: RunsRuntime, planner: ExecutionPlanner) -> None:
        self._clock, self._planner = runtime.clock, planner
        self._agents = GraphAccess(
            runtime.agents, runtime.agent_loops, runtime.checkpoints, runtime.store, runtime.error_redactor
        )

    async def read(self, record: RunRecord) -> bytes | None:
        """Return the values of the graph's output channels as JSON, or None if there are none (any more).

        For an ended run: the values that it left, with the interrupts that wait for an answer. While the run executes:
        the thread's latest values. Raises AgentNotFound, AgentTimeout, GraphCodeFailed.
        """
        lease = Lease(record, WorkerId("reader"), max(record.attempt, 1), self._clock.now())
        config = self._planner.plan(lease, resuming=True).state_config
        if record.status.is_terminal:
            if record.final_checkpoint_id is None:
                return None
            config["configurable"]["checkpoint_id"] = record.final_checkpoint_id

        async def refuse() -> None:
            raise LeaseLost(record.run_id, record.attempt)

        async def values(agent: Agent) -> bytes | None:
            state = await read_state(agent, config)
            if (left := output_values(agent, state)) is None:
                return None
            # While a run executes, its final interrupts are unknown.
            waiting = waiting_interrupts(state) if record.status.is_terminal else ()
            return encode(with_interrupts(left, waiting))

        return await self._agents.run(record.spec.graph_id, values, config=config, guard=refuse)
