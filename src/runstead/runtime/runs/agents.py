"""Port to the graphs: a graph id is resolved to a factory, and the factory builds an agent for one run.

The kernel uses only the few methods of LangGraph's Pregel that `Agent` lists, so that tests can use a fake.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from ..json_types import JsonMapping


class Agent(Protocol):
    """A compiled graph (langgraph.pregel.Pregel)."""

    def astream(self, input: object, config: object = None, **options: object) -> AsyncGenerator[Any, None]: ...

    def astream_events(self, input: object, config: object = None, **options: object) -> Any: ...

    async def aget_state(self, config: object, *, subgraphs: bool = False) -> Any: ...

    async def aupdate_state(self, config: object, values: object, as_node: str | None = None) -> object: ...

    def copy(self, update: object = None) -> Agent: ...


class AgentFactory(Protocol):
    """Factory of the agent for one run."""

    async def context_schema(self) -> object | None:
        """Return the type of the graph's context; None if it has none, or if it is unknown before the graph is
        built."""
        ...

    def build(self, config: JsonMapping, store: object = None) -> AbstractAsyncContextManager[Any]:
        """Open the graph for a run with this RunnableConfig: a compiled graph, or a builder still to be compiled.

        ``store`` is the LangGraph BaseStore that this run may write, for factories that take one as a parameter.

        Enter and exit on the event loop on which the agent will run, never on the server's loop: user code is called
        here. A context manager that the factory opened is closed on exit.
        """
        ...


class AgentResolver(Protocol):
    """Registry of graphs."""

    @property
    def graph_ids(self) -> Sequence[str]:
        """All registered ids, in the order of the configuration."""
        ...

    def resolve(self, graph_id: str) -> AgentFactory:
        """Return the factory for an id. Raises AgentNotFound."""
        ...
