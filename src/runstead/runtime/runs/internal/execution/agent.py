"""Compiled agent of one run, built from its plan and factory, with the run's checkpointer and store.

Factories are user code, so this runs on an agent loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from runstead.runtime.runs.agents import Agent, AgentFactory

from ....json_types import JsonObject


@asynccontextmanager
async def open_agent(
    factory: AgentFactory, config: JsonObject, checkpointer: BaseCheckpointSaver[Any], store: Any | None
) -> AsyncIterator[Agent]:
    """Yield the agent, ready to run, for the duration of a block."""
    async with factory.build(config, store) as graph:
        if not hasattr(graph, "astream") and hasattr(graph, "compile"):
            graph = graph.compile()
        update = {"checkpointer": checkpointer}
        # A graph that was compiled with its own store keeps that store if the server has none.
        if store is not None:
            update["store"] = store
        yield graph.copy(update=update)
