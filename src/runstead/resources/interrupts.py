"""What a thread waits to be answered, and answering it once.

Two clients may answer the same interrupt at once. The first one's run takes it; from then on it is no longer open, even
though the thread shows it until that run has settled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from weakref import WeakValueDictionary

import orjson

from runstead.runtime.runs.store import RunQueryStore
from runstead.runtime.runs.types import RunFilter, RunRecord, RunStatus, ThreadId

from .threads import ThreadStore

_IN_FLIGHT: Final = (RunStatus.PENDING, RunStatus.STARTING, RunStatus.RUNNING)
_MANY: Final = 1_000


class OpenInterrupts:
    """The open interrupts of the bound actor's threads."""

    def __init__(self, threads: ThreadStore, runs: RunQueryStore) -> None:
        self._threads, self._runs = threads, runs
        self._locks: WeakValueDictionary[ThreadId, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, thread_id: ThreadId) -> AsyncIterator[Mapping[str, Any]]:
        """Open interrupts by id, with their values; none for a thread that is unknown. Nobody else in this process
        answers while the block lasts.
        """
        lock = self._locks.setdefault(thread_id, asyncio.Lock())
        async with lock:
            yield await self._open(thread_id)

    async def _open(self, thread_id: ThreadId) -> Mapping[str, Any]:
        # The runs first: one that settles between the two looks has then taken its interrupts off the thread.
        in_flight = await self._runs.list_runs(RunFilter(thread_id, _IN_FLIGHT), limit=_MANY)
        thread = await self._threads.get(thread_id)
        if thread is None:
            return {}
        found: dict[str, list[dict[str, Any]]] = orjson.loads(thread.interrupts)
        waiting = {one["id"]: one.get("value") for task in found.values() for one in task if one.get("id")}
        taken = {interrupt_id for run in in_flight for interrupt_id in _answers(run, waiting)}
        return {key: value for key, value in waiting.items() if key not in taken}


def _answers(run: RunRecord, waiting: Mapping[str, Any]) -> list[str]:
    """Which of the waiting interrupts a run in flight takes. One that begins anew leaves none of them open."""
    if run.spec.after_seconds > 0 and run.status is RunStatus.PENDING:
        # For later: until then there is time to answer.
        return []
    command = run.spec.command
    if command is None or not command.has_resume:
        return list(waiting)
    resume = command.resume
    if isinstance(resume, Mapping) and any(key in waiting for key in resume):
        return [key for key in resume if key in waiting]
    return list(waiting)
