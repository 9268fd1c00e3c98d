"""Plan and factory to compiled agent: the graph of one run, with the checkpointer and store of that run.

User code is called here (factories), so this runs on an agent loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields, is_dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from pydantic import BaseModel

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


def fitting_context(agent: Any, context: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """``context`` without what the graph's schema has no place for; None when nothing is left.

    A run's context mirrors its configurable, and may hold keys that were meant for something else: a dataclass
    would refuse them all.
    """
    schema = getattr(agent, "context_schema", None)
    if schema is None or context is None:
        return context
    known = set(_names_of(schema))
    return {key: value for key, value in context.items() if key in known} or None


def _names_of(schema: Any) -> Iterator[str]:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        for name, field in schema.model_fields.items():
            yield name
            if field.alias is not None:
                yield field.alias
    elif is_dataclass(schema):
        yield from (field.name for field in fields(schema) if field.init)
    else:
        # A TypedDict, of typing or of typing_extensions.
        yield from getattr(schema, "__annotations__", ())
