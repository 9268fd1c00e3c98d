"""Registry of this server's graphs, with the factory of each. Implements the kernel's AgentResolver."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from langgraph.graph import StateGraph

from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.exceptions import AgentNotFound

from .configuration import GraphConfiguration
from .factory import UserFactory
from .modules import GraphLoadError, extend_search_path, load_variable
from .sources import GraphSource

_UNNAMED: Final = "LangGraph"
"""Name that LangGraph gives a graph that was compiled without one."""


class RegisteredGraph:
    """One graph, loaded on first use. Implements the kernel's AgentFactory."""

    def __init__(self, source: GraphSource, loading: threading.Lock) -> None:
        self.source = source
        self._loading = loading
        self._factory: UserFactory | None = None

    def load(self) -> UserFactory:
        """Run the user's module, unless that was done. Blocks. Raises GraphLoadError, and tries again on the next
        call."""
        # One import at a time, for all graphs: user modules may not be safe to import from several threads.
        with self._loading:
            if self._factory is None:
                self._factory = UserFactory(self.source, load_variable(self.source))
            return self._factory

    @property
    def name(self) -> str | None:
        """Name with which the graph was compiled; None if it has none, is built by a factory, or is not loaded."""
        name = None if self._factory is None else self._factory.graph_name
        return None if name == _UNNAMED else name

    async def context_schema(self) -> object | None:
        """See AgentFactory."""
        try:
            return (await self._loaded()).context_schema
        except GraphLoadError:
            # The error is reported when a run uses the graph.
            return None

    @asynccontextmanager
    async def build(self, config: JsonMapping, store: object = None) -> AsyncIterator[Any]:
        """See AgentFactory. A pending import runs in a thread, so that it blocks no loop."""
        factory = await self._loaded()
        async with factory.open(config, store) as agent:
            yield self._named(agent)

    def _named(self, agent: Any) -> Any:
        """Return the compiled agent. Without a name of its own it gets the graph's id, for traces and events."""
        if isinstance(agent, StateGraph):
            agent = agent.compile()
        return agent.copy(update={"name": self.source.graph_id}) if agent.name == _UNNAMED else agent

    async def _loaded(self) -> UserFactory:
        return await asyncio.to_thread(self.load) if self._factory is None else self._factory


class GraphRegistry:
    """All graphs of a configuration. Creating the registry imports nothing; call `load` before serving."""

    def __init__(self, configuration: GraphConfiguration) -> None:
        self.configuration = configuration
        loading = threading.Lock()
        self._graphs = {source.graph_id: RegisteredGraph(source, loading) for source in configuration.graphs}

    @property
    def graph_ids(self) -> Sequence[str]:
        return tuple(self._graphs)

    @property
    def descriptions(self) -> Mapping[str, str | None]:
        """Descriptions of the graphs from the configuration."""
        return {graph_id: graph.source.description for graph_id, graph in self._graphs.items()}

    @property
    def names(self) -> Mapping[str, str]:
        """Names with which the loaded graphs were compiled, of those that have one of their own."""
        named = {graph_id: graph.name for graph_id, graph in self._graphs.items()}
        return {graph_id: name for graph_id, name in named.items() if name is not None}

    def resolve(self, graph_id: str) -> RegisteredGraph:
        try:
            return self._graphs[graph_id]
        except KeyError:
            raise AgentNotFound(graph_id, self.graph_ids) from None

    def load(self) -> None:
        """Put the project on the search path and load every graph. Blocks: do not call on the server's loop.

        Raises GraphLoadError, or all errors as an ExceptionGroup, so that one start shows every mistake.
        """
        extend_search_path(self.configuration.search_paths)
        failures: list[GraphLoadError] = []
        for graph in self._graphs.values():
            try:
                graph.load()
            except GraphLoadError as error:
                failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise ExceptionGroup("graphs cannot be loaded", failures)
