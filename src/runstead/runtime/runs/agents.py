"""The port to the graphs: a graph id is resolved to a factory, and the factory makes an agent for one run.

The kernel knows agents only by the few methods of LangGraph's Pregel that it calls, so that a fake can stand in.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class Agent(Protocol):
    """A compiled graph (langgraph.pregel.Pregel)."""

    def astream(self, input: Any, config: Any = None, **options: Any) -> AsyncGenerator[Any, None]: ...

    def astream_events(self, input: Any, config: Any = None, **options: Any) -> Any: ...

    async def aget_state(self, config: Any, *, subgraphs: bool = False) -> Any: ...

    async def aupdate_state(self, config: Any, values: Any, as_node: str | None = None) -> Any: ...

    def copy(self, update: Any = None) -> Agent: ...


class AgentFactory(Protocol):
    """Makes the agent of one run."""

    async def context_schema(self) -> Any | None:
        """Return the type of the graph's context; None if it has none, or if nobody knows before the graph is made."""
        ...

    def build(self, config: Mapping[str, Any], store: Any = None) -> AbstractAsyncContextManager[Any]:
        """Open the graph for a run with this RunnableConfig: a compiled graph, or a builder still to be compiled.
        ``store`` is langgraph's BaseStore as this run may write it, for those who ask for one before there is a graph.

        Entered and left on the event loop on which the agent will run, never on the server's: user code is called here.
        Whatever the factory opened (an async context manager) is closed on leaving.
        """
        ...


class AgentResolver(Protocol):
    """Knows the registered graphs."""

    @property
    def graph_ids(self) -> Sequence[str]:
        """All registered ids, in the order of the configuration."""
        ...

    def resolve(self, graph_id: str) -> AgentFactory:
        """The factory behind an id. Raises AgentNotFound."""
        ...
