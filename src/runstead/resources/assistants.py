"""Assistants: a graph with settings, under an id. Every graph has one of its own, made when the server starts."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Protocol, TypeAlias

NAMESPACE_GRAPH: Final = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""The namespace in which langgraph-api derives a graph's own assistant id (4-wire, section 2)."""

AssistantSortField: TypeAlias = Literal["assistant_id", "graph_id", "name", "created_at", "updated_at"]


def assistant_id_of(graph_id: str) -> str:
    """The id of a graph's own assistant: the same on every server."""
    return str(uuid.uuid5(NAMESPACE_GRAPH, graph_id))


@dataclass(frozen=True, slots=True)
class AssistantRecord:
    """An assistant as stored. A ``shared`` one belongs to the server and is visible to everybody."""

    assistant_id: str
    graph_id: str
    name: str
    config: Mapping[str, Any]
    context: Mapping[str, Any]
    metadata: Mapping[str, Any]
    version: int
    created_at: datetime
    updated_at: datetime
    description: str | None = None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class AssistantFilter:
    """Which assistants to find; ANDed. ``name`` is a case-insensitive part; ``metadata`` is contained."""

    graph_id: str | None = None
    name: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class AssistantStore(Protocol):
    """Keeps assistants under the bound actor (ActorRequired without one): their own and the shared ones."""

    async def register_graphs(self, graphs: Mapping[str, str | None]) -> None:
        """Make a shared assistant for every graph (id -> description) that has none, named like it; unscoped, at
        start-up.

        Shared assistants of graphs that are gone stay, so that their threads remain readable.
        """
        ...

    async def get(self, assistant_id: str) -> AssistantRecord | None: ...

    async def search(
        self,
        where: AssistantFilter,
        *,
        sort_by: AssistantSortField = "created_at",
        sort_order: Literal["asc", "desc"] = "desc",
        limit: int = 10,
        offset: int = 0,
    ) -> Sequence[AssistantRecord]: ...

    async def count(self, where: AssistantFilter) -> int: ...
