"""Deletion of an assistant: its runs in flight are stopped and, if requested, its threads are deleted too.

Runs that have ended stay as a record. The caller decides which threads may be changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from runstead.runtime.runs.exceptions import RunNotFound, ThreadNotFound
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.types import RunFilter, RunRecord, RunStatus, ThreadId

from .assistant_service import AssistantEditor
from .thread_service import ThreadRemoval
from .threads import ThreadFilter, ThreadRecord, ThreadStore

MayTouch: TypeAlias = Callable[[Literal["update", "delete"], ThreadId, Mapping[str, Any]], Awaitable[bool]]
"""Return whether the actor may update or delete a thread with this metadata; may raise to refuse the whole
operation."""

_PAGE: Final = 500
_IN_FLIGHT: Final = (RunStatus.PENDING, RunStatus.STARTING, RunStatus.RUNNING)


class AssistantRemoval:
    """Deletion of assistants for the bound actor."""

    def __init__(self, editor: AssistantEditor, runs: RunsFacade, threads: ThreadStore, removal: ThreadRemoval) -> None:
        self._editor, self._runs, self._threads, self._removal = editor, runs, threads, removal

    async def remove(self, name: str, *, with_threads: bool, may: MayTouch) -> None:
        """Delete the assistant with this id, or of this graph.

        Its runs in flight are interrupted. With ``with_threads``, the threads that last used it are deleted. Raises
        ThreadBusy, and the errors of AssistantEditor.delete and ``may`` before anything has changed.
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

    async def _threads_of(self, assistant_id: str, may: MayTouch) -> Sequence[ThreadId]:
        found: list[ThreadRecord] = []
        where = ThreadFilter(metadata={"assistant_id": assistant_id})
        while page := await self._threads.search(
            where, sort_by="thread_id", limit=_PAGE, offset=len(found), values_bytes=0
        ):
            found.extend(page)
        return [one.thread_id for one in found if await may("delete", one.thread_id, one.metadata)]

    async def _in_flight(self, assistant_id: str, may: MayTouch) -> Sequence[RunRecord]:
        """Return the runs in flight, newest first: stopping the head of a thread would let the next run begin."""
        found: list[RunRecord] = []
        where = RunFilter(statuses=_IN_FLIGHT, assistant_id=assistant_id)
        while page := await self._runs.list_runs(where, limit=_PAGE, offset=len(found)):
            found.extend(page)
        return [run for run in found if await may("update", run.thread_id, await self._metadata_of(run))]

    async def _metadata_of(self, run: RunRecord) -> Mapping[str, Any]:
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
