"""Changes of assistants: permissions and preconditions above the store.

Users may change their own assistants. A graph's default assistant is shared by all users: a change by one user affects
the runs of all others. So only ``trusted`` actors may change it, and while its graph is served it cannot be deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from runstead.runtime.actor_context import ActorContext, require_actor_context

from .assistant_lookup import AssistantDirectory, AssistantNotFound
from .assistants import AssistantChange, AssistantDraft, AssistantRecord, AssistantStore


class AssistantProtected(Exception):
    """The assistant belongs to the server, and this actor may not change it."""

    def __init__(self, assistant: AssistantRecord) -> None:
        super().__init__(
            f"Assistant {assistant.assistant_id} is the default of graph {assistant.graph_id}, shared by all users, "
            f"and not yours to change; create one of your own with graph_id={assistant.graph_id!r}, or ask the "
            "operator, who can let users with a certain scope change it (shared_assistants_scope)"
        )


class AssistantInUse(Exception):
    """The operation would leave a graph without its default assistant."""


class AssistantEditor:
    """Editor that creates, changes and deletes assistants for the bound actor. Assistants are named by id or by
    graph."""

    def __init__(
        self,
        store: AssistantStore,
        directory: AssistantDirectory,
        trusted: Callable[[ActorContext], bool],
    ) -> None:
        self._store, self._directory, self._trusted = store, directory, trusted

    async def create(
        self, draft: AssistantDraft, *, assistant_id: str | None, if_exists: Literal["raise", "do_nothing"]
    ) -> AssistantRecord:
        """Create an assistant. Raises GraphNotFound, AssistantExists."""
        self._directory.check_graph(draft.graph_id)
        return await self._store.create(draft, assistant_id=assistant_id, if_exists=if_exists)

    async def update(self, name: str, change: AssistantChange) -> AssistantRecord:
        """Create the next version, even if nothing changes, as the reference server does.

        Raises AssistantNotFound, InvalidAssistant, GraphNotFound, AssistantProtected, AssistantInUse.
        """
        before = await self._changeable(name)
        if change.graph_id is not None:
            self._directory.check_graph(change.graph_id)
            if before.shared and change.graph_id != before.graph_id:
                raise AssistantInUse(
                    f"Assistant {before.assistant_id} is the default of graph {before.graph_id} and stays with it; "
                    f"create another one with graph_id={change.graph_id!r}"
                )
        return _there(await self._store.update(before.assistant_id, change), before)

    async def set_latest(self, name: str, version: int) -> AssistantRecord:
        """Make a version the latest. Raises AssistantNotFound, InvalidAssistant, VersionNotFound,
        AssistantProtected."""
        before = await self._changeable(name)
        return _there(await self._store.set_latest(before.assistant_id, version), before)

    async def removable(self, name: str) -> AssistantRecord:
        """Return the assistant that `delete` would delete. Raises as `delete` does."""
        before = await self._changeable(name)
        if before.shared and self._directory.serves(before.graph_id):
            raise AssistantInUse(
                f"Assistant {before.assistant_id} is the default of graph {before.graph_id} and exists as long as the "
                "graph is served; take the graph out of the configuration to remove it"
            )
        return before

    async def delete(self, name: str) -> None:
        """Delete an assistant. Raises AssistantNotFound, InvalidAssistant, AssistantProtected, AssistantInUse."""
        before = await self.removable(name)
        if not await self._store.delete(before.assistant_id):
            raise AssistantNotFound(before.assistant_id)

    async def _changeable(self, name: str) -> AssistantRecord:
        record = await self._directory.find(name)
        if record.shared and not self._trusted(require_actor_context("changing an assistant")):
            raise AssistantProtected(record)
        return record


def _there(after: AssistantRecord | None, before: AssistantRecord) -> AssistantRecord:
    if after is None:
        # Another request has deleted it in the meantime.
        raise AssistantNotFound(before.assistant_id)
    return after
