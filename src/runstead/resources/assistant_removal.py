"""An assistant is forgotten: what it has in flight is stopped, and where that is asked for its threads go with it.

Runs that have ended stay: they say what was done. Who may touch which thread is asked of the one who calls.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from runstead.runtime.runs.exceptions import RunNotFound, ThreadNotFound
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.types import RunFilter, RunRecord, RunStatus, ThreadId

from .assistant_editor import AssistantEditor
from .removal import ThreadRemoval
from .threads import ThreadFilter, ThreadRecord, ThreadStore

MayTouch: TypeAlias = Callable[[Literal["update", "delete"], ThreadId, Mapping[str, Any]], Awaitable[bool]]
"""Whether the actor may change, or delete, a thread with this metadata; it may raise to refuse all of it."""

_PAGE: Final = 500
_IN_FLIGHT: Final = (RunStatus.PENDING, RunStatus.STARTING, RunStatus.RUNNING)


class AssistantRemoval:
    """Deletes assistants for the bound actor."""

    def __init__(self, editor: AssistantEditor, runs: RunsFacade, threads: ThreadStore, removal: ThreadRemoval) -> None:
        self._editor, self._runs, self._threads, self._removal = editor, runs, threads, removal

    async def remove(self, name: str, *, with_threads: bool, may: MayTouch) -> None:
        """Forget the assistant with this id, or of this graph.

        Its runs in flight are interrupted. ``with_threads``: the threads that were last used with it are deleted.
        Raises what AssistantEditor.delete and ``may`` raise, before anything has happened; ThreadBusy.
        """
        assistant = await self._editor.removable(name)
        threads = await self._threads_of(assistant.assistant_id, may) if with_threads else []
        await self._in_flight(assistant.assistant_id, may)
        # The threads first: if this is cut short, the assistant is still there to ask it of again.
        for thread_id in threads:
            await self._forget(thread_id)
        await self._editor.delete(assistant.assistant_id)
        # Now nobody can add to them.
        for run in await self._in_flight(assistant.assistant_id, may):
            await self._stop(run)

    async def _threads_of(self, assistant_id: str, may: MayTouch) -> Sequence[ThreadId]:
        found: list[ThreadRecord] = []
        where = ThreadFilter(metadata={"assistant_id": assistant_id})
        while page := await self._threads.search(
            where, sort_by="thread_id", limit=_PAGE, offset=len(found), values_bytes=0
        ):
            found.extend(page)
        return [one.thread_id for one in found if await may("delete", one.thread_id, one.metadata)]

    async def _in_flight(self, assistant_id: str, may: MayTouch) -> Sequence[RunRecord]:
        """The newest first: to stop the head of a thread would let the next one begin."""
        found: list[RunRecord] = []
        where = RunFilter(statuses=_IN_FLIGHT, assistant_id=assistant_id)
        while page := await self._runs.list_runs(where, limit=_PAGE, offset=len(found)):
            found.extend(page)
        return [run for run in found if await may("update", run.thread_id, await self._metadata_of(run))]

    async def _metadata_of(self, run: RunRecord) -> Mapping[str, Any]:
        # A stateless run's thread may be gone; its metadata began as the run's.
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
