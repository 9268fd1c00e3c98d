"""Reads a thread's values for a reader who has no stream to read them from."""

from __future__ import annotations

import asyncio
from typing import Any

from ..exceptions import LeaseLost
from ..runtime import RunsRuntime
from ..types import Lease, RunRecord
from .agent import opened
from .fence import FencedSaver
from .planner import ExecutionPlanner
from .snapshot import StateSnapshot, read_snapshot


class RunStateReader:
    """Reads through the graph, on an agent loop: what a state's values are is the graph's to say."""

    def __init__(self, runtime: RunsRuntime, planner: ExecutionPlanner) -> None:
        self._runtime, self._planner = runtime, planner

    async def values(self, record: RunRecord) -> bytes | None:
        """The values that an ended run left, or the thread's latest while it goes on, as JSON; None when there are
        none (any more).
        """
        lease = Lease(record, "reader", max(record.attempt, 1), self._runtime.clock.now())
        plan = self._planner.plan(lease, resuming=True)
        config: dict[str, Any] = plan.state_config
        if record.status.is_terminal:
            if record.final_checkpoint_id is None:
                return None
            config["configurable"]["checkpoint_id"] = record.final_checkpoint_id

        async def refuse() -> None:
            raise LeaseLost(record.run_id, record.attempt)

        saver = FencedSaver(self._runtime.checkpoints.saver, asyncio.get_running_loop(), refuse, {})
        factory = self._runtime.agents.resolve(plan.graph_id)

        async def read() -> StateSnapshot:
            async with opened(factory, config, saver, self._runtime.store) as agent:
                return await read_snapshot(agent, config)

        async with self._runtime.agent_loops.lease() as loop:
            task = loop.submit(read)
            await task.wait()
            return task.result().values
