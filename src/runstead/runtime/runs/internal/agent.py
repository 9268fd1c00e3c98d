"""Plan and factory to compiled agent: the graph of one run, with the checkpointer and store of that run.

User code is called here (factories), so this runs on an agent loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from ..agents import Agent, AgentFactory


@asynccontextmanager
async def opened(
    factory: AgentFactory, config: dict[str, Any], checkpointer: BaseCheckpointSaver[Any], store: Any | None
) -> AsyncIterator[Agent]:
    """The agent, ready to run, for the length of a block."""
    async with factory.build(config, store) as graph:
        if not hasattr(graph, "astream") and hasattr(graph, "compile"):
            graph = graph.compile()
        update = {"checkpointer": checkpointer}
        # A graph that was compiled with a store of its own keeps it where the server has none.
        if store is not None:
            update["store"] = store
        yield graph.copy(update=update)
