"""Reads the values that a run left, for a reader who has no stream to read them from."""

from __future__ import annotations

from .agents import Agent
from .exceptions import LeaseLost
from .internal.planner import ExecutionPlanner
from .internal.snapshot import read_snapshot
from .runtime import RunsRuntime
from .thread_agents import ThreadAgents
from .types import Lease, RunRecord


class RunValues:
    """Reads through the graph: what a state's values are is the graph's to say."""

    def __init__(self, runtime: RunsRuntime, planner: ExecutionPlanner) -> None:
        self._clock, self._planner = runtime.clock, planner
        self._agents = ThreadAgents(runtime.agents, runtime.agent_loops, runtime.checkpoints, runtime.store)

    async def read(self, record: RunRecord) -> bytes | None:
        """The values that an ended run left, or the thread's latest while it goes on, as JSON; None when there are none
        (any more). Raises AgentNotFound, AgentUnresponsive, and what the graph's own code raises.
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
            return (await read_snapshot(agent, config)).values

        return await self._agents.use(record.spec.graph_id, values, config=config, guard=refuse)
