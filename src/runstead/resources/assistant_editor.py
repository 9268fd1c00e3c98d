"""Who may change which assistant, and what has to be there for it: the rules above the store.

One's own assistants are one's own. The graphs' own are everybody's: what one user writes into them, the next one's
runs are made with. So only those may change them who are ``trusted`` with it, and as long as its graph is served nobody
can remove one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from runstead.runtime.actor_context import ActorContext, require_actor_context

from .assistants import AssistantChange, AssistantDraft, AssistantRecord, AssistantStore
from .directory import AssistantDirectory, AssistantNotFound


class AssistantProtected(Exception):
    """The assistant is the server's, and not this actor's to change."""

    def __init__(self, assistant: AssistantRecord) -> None:
        super().__init__(
            f"Assistant {assistant.assistant_id} is the graph's own ({assistant.graph_id}), which everybody uses, and "
            f"not yours to change; create one of your own with graph_id={assistant.graph_id!r}, or ask the operator, "
            "who can let users with a certain scope change it (shared_assistants_scope)"
        )


class AssistantInUse(Exception):
    """What is asked for would leave a graph without its own assistant."""


class AssistantEditor:
    """Makes, changes and forgets assistants for the bound actor, who names them by id or by graph."""

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
        """Raises GraphNotFound, AssistantExists."""
        self._directory.check_graph(draft.graph_id)
        return await self._store.create(draft, assistant_id=assistant_id, if_exists=if_exists)

    async def update(self, name: str, change: AssistantChange) -> AssistantRecord:
        """Make the next version; also where nothing changes, as the reference server does.

        Raises AssistantNotFound, InvalidAssistant, GraphNotFound, AssistantProtected, AssistantInUse.
        """
        before = await self._changeable(name)
        if change.graph_id is not None:
            self._directory.check_graph(change.graph_id)
            if before.shared and change.graph_id != before.graph_id:
                raise AssistantInUse(
                    f"Assistant {before.assistant_id} is the graph's own ({before.graph_id}) and stays with it; "
                    f"create another one with graph_id={change.graph_id!r}"
                )
        return _there(await self._store.update(before.assistant_id, change), before)

    async def set_latest(self, name: str, version: int) -> AssistantRecord:
        """Raises AssistantNotFound, InvalidAssistant, VersionNotFound, AssistantProtected."""
        before = await self._changeable(name)
        return _there(await self._store.set_latest(before.assistant_id, version), before)

    async def removable(self, name: str) -> AssistantRecord:
        """The assistant that `delete` would forget. Raises as it does."""
        before = await self._changeable(name)
        if before.shared and self._directory.serves(before.graph_id):
            raise AssistantInUse(
                f"Assistant {before.assistant_id} is the graph's own ({before.graph_id}) and exists as long as the "
                "graph is served; take the graph out of the configuration to remove it"
            )
        return before

    async def delete(self, name: str) -> None:
        """Raises AssistantNotFound, InvalidAssistant, AssistantProtected, AssistantInUse."""
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
        # Somebody has deleted it since it was found.
        raise AssistantNotFound(before.assistant_id)
    return after
