"""Open interrupts of threads, and validation of answers to them.

Two clients may answer the same interrupt at once. The first one's run takes it; from then on it is no longer open,
although the thread shows it until that run has settled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

import orjson

from runstead.resources.response_schemas import violation
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.interrupts import answers_of, is_by_interrupt, pending_interrupts
from runstead.runtime.runs.store import RunCheckpointStore, RunQueryStore
from runstead.runtime.runs.types import RunFilter, RunRecord, RunSpec, RunStatus, ThreadId
from runstead.runtime.serialization import jsonable

from .state_views import checkpoint_config
from .threads import ThreadStore

Interrupt: TypeAlias = JsonMapping
"""Interrupt in the form for clients: ``id``, ``value``, and ``response_schema`` if it has one."""

_IN_FLIGHT: Final = (RunStatus.PENDING, RunStatus.STARTING, RunStatus.RUNNING)
_MANY: Final = 1_000


class InvalidAnswer(Exception):
    """The answer violates the ``response_schema`` of its interrupt."""

    def __init__(self, interrupt_id: str, problem: str) -> None:
        super().__init__(f"The answer to interrupt {interrupt_id} does not fit its response_schema: {problem}")


class OpenInterrupts:
    """Open interrupts of the bound actor's threads."""

    def __init__(self, threads: ThreadStore, runs: RunQueryStore, checkpoints: RunCheckpointStore) -> None:
        self._threads, self._runs, self._checkpoints = threads, runs, checkpoints
        self._locks: WeakValueDictionary[ThreadId, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, thread_id: ThreadId) -> AsyncIterator[Mapping[str, Interrupt]]:
        """Yield open interrupts by id; none for an unknown thread. No other request of this process can answer during
        the block."""
        lock = self._locks.setdefault(thread_id, asyncio.Lock())
        async with lock:
            yield await self._open(thread_id)

    async def check_answers(self, spec: RunSpec) -> None:
        """Raise InvalidAnswer if the new run gives an answer that violates its interrupt's response_schema.

        Interrupts that are not open yet, or unknown, are left to the graph. So is a repeated request (the same
        idempotency key): its run exists, and may have taken the interrupt that it answered.
        """
        command = spec.command
        if spec.thread_id is None or command is None or not command.has_resume:
            return
        asked = await self._asked(spec, spec.thread_id)
        if spec.after_seconds > 0 and not is_by_interrupt(command.resume, asked):
            # It answers the interrupt that is pending when it begins.
            return
        for interrupt_id, answer in answers_of(command.resume, asked).items():
            problem = violation(answer, asked[interrupt_id].get("response_schema"))
            if problem is not None and not await self._is_repeated(spec, spec.thread_id):
                raise InvalidAnswer(interrupt_id, problem)

    async def _asked(self, spec: RunSpec, thread_id: ThreadId) -> Mapping[str, Interrupt]:
        """Return the interrupts that the run will find: those of the checkpoint from which it starts."""
        at = spec.checkpoint
        if at is None or not (at.checkpoint_id or at.checkpoint_ns):
            return await self._open(thread_id)
        stored = await self._checkpoints.saver.aget_tuple(checkpoint_config(thread_id, at))
        writes = None if stored is None else stored.pending_writes
        return _by_id(jsonable(pending_interrupts(writes)))

    async def _open(self, thread_id: ThreadId) -> Mapping[str, Interrupt]:
        # Runs first: a run that settles between the two reads has then removed its interrupts from the thread.
        in_flight = await self._runs.list_runs(RunFilter(thread_id, _IN_FLIGHT), limit=_MANY)
        thread = await self._threads.get(thread_id)
        if thread is None:
            return {}
        waiting = _by_id(orjson.loads(thread.interrupts))
        taken = {interrupt_id for run in in_flight for interrupt_id in _answers(run, waiting)}
        return {key: value for key, value in waiting.items() if key not in taken}

    async def _is_repeated(self, spec: RunSpec, thread_id: ThreadId) -> bool:
        if spec.idempotency is None:
            return False
        recent = await self._runs.list_runs(RunFilter(thread_id), limit=_MANY)
        return any(run.spec.idempotency == spec.idempotency for run in recent)


def _by_id(found: Mapping[str, list[JsonObject]]) -> dict[str, Interrupt]:
    return {one["id"]: one for task in found.values() for one in task if one.get("id")}


def _answers(run: RunRecord, waiting: Mapping[str, Interrupt]) -> list[str]:
    """Return the waiting interrupts that a run in flight takes. A run without a resume takes all of them."""
    if run.spec.after_seconds > 0 and run.status is RunStatus.PENDING:
        # Delayed: until it begins, the interrupts can be answered.
        return []
    command = run.spec.command
    if command is None or not command.has_resume or not is_by_interrupt(command.resume, waiting):
        return list(waiting)
    return [key for key in command.resume if key in waiting]
