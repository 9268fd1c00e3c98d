"""Reader of the values that a run left, for callers without a stream."""

from __future__ import annotations

from runstead.runtime.serialization import encode

from .agents import Agent
from .exceptions import LeaseLost
from .graph_access import ThreadAgents
from .internal.execution.planner import ExecutionPlanner
from .internal.execution.snapshot import output_values, waiting_interrupts, with_interrupts
from .runtime import RunsRuntime
from .stored_state import read_state
from .types import Lease, RunRecord


class RunValues:
    """Reader that goes through the graph, since the graph decides what a state's values are."""

    def __init__(self, runtime: RunsRuntime, planner: ExecutionPlanner) -> None:
        self._clock, self._planner = runtime.clock, planner
        self._agents = ThreadAgents(
            runtime.agents, runtime.agent_loops, runtime.checkpoints, runtime.store, runtime.error_texts
        )

    async def read(self, record: RunRecord) -> bytes | None:
        """Return the values of the graph's output channels as JSON, or None if there are none (any more).

        For an ended run: the values that it left, with the interrupts that wait for an answer. While the run executes:
        the thread's latest values. Raises AgentNotFound, AgentUnresponsive, GraphCodeFailed.
        """
        lease = Lease(record, "reader", max(record.attempt, 1), self._clock.now())
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

        return await self._agents.use(record.spec.graph_id, values, config=config, guard=refuse)
