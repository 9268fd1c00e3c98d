"""Lookup of assistants by id or by the name of a graph."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.agents import AgentResolver
from runstead.runtime.runs.contexts import missing_fields
from runstead.runtime.runs.types import AssistantId

from .assistants import AssistantRecord, AssistantStore, assistant_id_of


class AssistantNotFound(Exception):
    """The actor has no such assistant."""

    def __init__(self, assistant_id: AssistantId) -> None:
        self.assistant_id = assistant_id
        super().__init__(f"Assistant with ID {assistant_id} not found")


class InvalidAssistant(Exception):
    """The name is neither an id nor the name of a graph."""

    def __init__(self, name: str, graph_ids: Sequence[str]) -> None:
        graphs = ", ".join(graph_ids) or "none"
        super().__init__(
            f"Invalid assistant: '{name[:100]}'. Must be either:\n"
            f"- A valid assistant UUID, or\n- One of the registered graphs: {graphs}"
        )


class SubgraphNotFound(Exception):
    """The graph has no subgraph in this namespace."""

    def __init__(self, namespace: str) -> None:
        super().__init__(f"There is no subgraph {namespace[:200]!r}; see the assistant's subgraphs for their names")


class GraphNotFound(Exception):
    """No graph with this name is served."""

    def __init__(self, graph_id: str, graph_ids: Sequence[str]) -> None:
        super().__init__(f"Graph '{graph_id[:100]}' not found. Expected one of: {sorted(graph_ids)}")


class ContextIncomplete(Exception):
    """Required fields of the graph's context are missing."""

    def __init__(self, graph_id: str, missing: Sequence[str]) -> None:
        self.missing = tuple(missing)
        names = ", ".join(repr(name) for name in missing)
        super().__init__(f"context: graph '{graph_id}' requires {names}; give it in context, or as the assistant's")


class AssistantLookup:
    """Lookup of assistants under the bound actor."""

    def __init__(self, store: AssistantStore, agents: AgentResolver) -> None:
        self._store, self._agents = store, agents

    async def find(self, name: str) -> AssistantRecord:
        """Return the assistant with this id, or the default assistant of the graph with this name.

        Raises AssistantNotFound, InvalidAssistant.
        """
        assistant_id = self.id_of(name)
        if (record := await self._store.get(assistant_id)) is None:
            raise AssistantNotFound(assistant_id)
        return record

    def id_of(self, name: str) -> AssistantId:
        """Return the id that an assistant of this name has, whether or not there is one. Raises InvalidAssistant."""
        if name in self._agents.graph_ids:
            return assistant_id_of(name)
        if (found := _uuid(name)) is None:
            raise InvalidAssistant(name, self._agents.graph_ids)
        return found

    def serves(self, graph_id: str) -> bool:
        """Return whether the graph is served now. An assistant outlives its graph."""
        return graph_id in self._agents.graph_ids

    def check_graph(self, graph_id: str) -> None:
        """Raise GraphNotFound if the graph is not served."""
        if not self.serves(graph_id):
            raise GraphNotFound(graph_id, self._agents.graph_ids)

    async def check_context(self, graph_id: str, context: JsonMapping | None) -> None:
        """Raise ContextIncomplete if the graph will certainly refuse the context. A graph that is built per run may
        still refuse it later."""
        schema = await self._agents.resolve(graph_id).context_schema()
        if missing := missing_fields(schema, context):
            raise ContextIncomplete(graph_id, missing)


def _uuid(text: str) -> AssistantId | None:
    try:
        return AssistantId(str(uuid.UUID(text)))
    except ValueError:
        return None
