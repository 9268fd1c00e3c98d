"""Change and remove assistants: permission, protection of default assistants, and runs in flight."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal, TypeAlias

from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.exceptions import RunNotFound, ThreadNotFound
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.types import AssistantId, RunFilter, RunRecord, RunStatus, ThreadId

from .assistant_lookup import AssistantLookup, AssistantNotFound
from .assistants import AssistantChange, AssistantDraft, AssistantRecord, AssistantStore
from .thread_service import ThreadService
from .threads import ThreadFilter, ThreadRecord, ThreadStore


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


class AssistantService:
    """Editor that creates, changes and deletes assistants for the bound actor. Assistants are named by id or by
    graph."""

    def __init__(
        self,
        store: AssistantStore,
        directory: AssistantLookup,
        trusted: Callable[[ActorContext], bool],
    ) -> None:
        self._store, self._directory, self._trusted = store, directory, trusted

    async def create(
        self, draft: AssistantDraft, *, assistant_id: AssistantId | None, if_exists: Literal["raise", "do_nothing"]
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


MayTouch: TypeAlias = Callable[[Literal["update", "delete"], ThreadId, JsonMapping], Awaitable[bool]]
"""Return whether the actor may update or delete a thread with this metadata; may raise to refuse the whole
operation."""

_PAGE: Final = 500
_IN_FLIGHT: Final = (RunStatus.PENDING, RunStatus.STARTING, RunStatus.RUNNING)


class AssistantRemoval:
    """Deletion of assistants for the bound actor."""

    def __init__(
        self, editor: AssistantService, runs: RunsFacade, threads: ThreadStore, removal: ThreadService
    ) -> None:
        self._editor, self._runs, self._threads, self._removal = editor, runs, threads, removal

    async def remove(self, name: str, *, with_threads: bool, may: MayTouch) -> None:
        """Delete the assistant with this id, or of this graph.

        Its runs in flight are interrupted. With ``with_threads``, the threads that last used it are deleted. Raises
        ThreadBusy, and the errors of AssistantService.delete and ``may`` before anything has changed.
        """
        assistant = await self._editor.removable(name)
        threads = await self._threads_of(assistant.assistant_id, may) if with_threads else []
        await self._in_flight(assistant.assistant_id, may)
        # Threads first: if this is interrupted, the assistant still exists and the request can be repeated.
        for thread_id in threads:
            await self._forget(thread_id)
        await self._editor.delete(assistant.assistant_id)
        # From now on no request can create further runs of it.
        for run in await self._in_flight(assistant.assistant_id, may):
            await self._stop(run)

    async def _threads_of(self, assistant_id: AssistantId, may: MayTouch) -> Sequence[ThreadId]:
        found: list[ThreadRecord] = []
        where = ThreadFilter(metadata={"assistant_id": assistant_id})
        while page := await self._threads.search(
            where, sort_by="thread_id", limit=_PAGE, offset=len(found), values_bytes=0
        ):
            found.extend(page)
        return [one.thread_id for one in found if await may("delete", one.thread_id, one.metadata)]

    async def _in_flight(self, assistant_id: AssistantId, may: MayTouch) -> Sequence[RunRecord]:
        """Return the runs in flight, newest first: stopping the head of a thread would let the next run begin."""
        found: list[RunRecord] = []
        where = RunFilter(statuses=_IN_FLIGHT, assistant_id=assistant_id)
        while page := await self._runs.list_runs(where, limit=_PAGE, offset=len(found)):
            found.extend(page)
        return [run for run in found if await may("update", run.thread_id, await self._metadata_of(run))]

    async def _metadata_of(self, run: RunRecord) -> JsonMapping:
        # The thread of a stateless run may be gone; its metadata started as the run's.
        thread = await self._threads.get(run.thread_id)
        return run.metadata if thread is None else thread.metadata

    async def _forget(self, thread_id: ThreadId) -> None:
        try:
            await self._removal.remove(thread_id)
        except ThreadNotFound:
            return

    async def _stop(self, run: RunRecord) -> None:
        try:
            await self._runs.cancel(run.run_id)
        except RunNotFound:
            return
