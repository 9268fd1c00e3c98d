"""An agent resolver for tests of the kernel with a real graph."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self


class OneGraph:
    """An AgentResolver in which every id is the same compiled graph."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    def resolve(self, graph_id: str) -> Self:
        return self

    async def context_schema(self) -> None:
        return None

    @asynccontextmanager
    async def build(self, config: object, store: object = None) -> AsyncIterator[Any]:
        yield self._graph
