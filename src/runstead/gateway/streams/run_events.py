"""Protocol events of one run, read from its log, or derived from its record if the log is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import orjson

from runstead.resources.approvals import ApprovalStore
from runstead.resources.state_views import TaskState
from runstead.resources.states import ThreadStates
from runstead.resources.thread_notices import ThreadNotices
from runstead.resources.threads import ThreadStore
from runstead.runtime.clock import Clock
from runstead.runtime.runs.exceptions import RunNotFound, ThreadNotFound
from runstead.runtime.runs.facade import RunsFacade, RunStream
from runstead.runtime.runs.types import RunId, RunRecord, RunStatus
from runstead.runtime.stream_bridge.contract import HEARTBEAT_SENTINEL, Sentinel, StreamBridge, StreamEvent, StreamItem
from runstead.runtime.stream_bridge.exceptions import StreamNotFound
from runstead.wire.protocol.events import Namespace, ProtocolEvent, Subscription
from runstead.wire.protocol.numbering import number_of
from runstead.wire.protocol.translator import RunTranslator, kind_of

EventItem: TypeAlias = ProtocolEvent | Sentinel

_AT_ONCE: Final = 0.05
"""Seconds of silence after which a reader that does not wait considers all present events read."""


@dataclass(frozen=True, slots=True)
class EventReaderPorts:
    """Components from which readers read."""

    runs: RunsFacade
    bridge: StreamBridge
    threads: ThreadStore
    states: ThreadStates
    notices: ThreadNotices
    clock: Clock
    heartbeat: float
    approvals: ApprovalStore


class RunEventReader:
    """Reading of one run, from its first event to its last."""

    def __init__(self, sources: EventReaderPorts, run: RunRecord, wanted: Subscription, *, is_last: bool) -> None:
        self._sources, self._run, self._wanted, self._is_last = sources, run, wanted, is_last
        self._translator = RunTranslator(run, says=wanted.wants("messages", "tools"))

    async def items(self, wait: bool) -> AsyncGenerator[Sequence[EventItem]]:
        """Yield its events in batches, and heartbeats. Without ``wait``, yield the present events, and a heartbeat if
        more are to come."""
        is_gone = self._run.status.is_terminal and await self._sources.bridge.status(self._run.run_id) is None
        if is_gone and not self._has_missed_events:
            yield [event async for event in self._recalled()]
            return
        try:
            stream = await self._sources.runs.join_stream(self._run.run_id, last_event_id="-1")
        except RunNotFound:
            return
        if is_gone and not stream.is_kept:
            await stream.aclose()
            yield [event async for event in self._recalled()]
            return
        async with stream:
            async for batch in self._live(stream, wait):
                yield batch
        if not self._translator.over:
            yield await self._ended_unseen()

    @property
    def _has_missed_events(self) -> bool:
        """Return whether the reader returns after it has read other events, and lacks events of this run.

        A new reader gets the result of past runs, not their archived events.
        """
        return 0 < (self._wanted.since or 0) < number_of(self._run.ended_at or self._run.created_at)

    async def _live(self, stream: RunStream, wait: bool) -> AsyncIterator[Sequence[EventItem]]:
        while True:
            try:
                if wait or self._run.status.is_terminal:
                    items = await stream.read()
                else:
                    items = await _at_once(stream)
            except StreamNotFound:
                return
            if not items:
                return
            batch: list[EventItem] = []
            for item in items:
                if item is HEARTBEAT_SENTINEL:
                    batch.append(item)
                elif isinstance(item, StreamEvent):
                    batch += [event async for event in self._events_of(item)]
            if batch:
                yield batch
            if not wait and HEARTBEAT_SENTINEL in batch:
                self._translator.over = True
                return

    async def _events_of(self, item: StreamEvent) -> AsyncIterator[ProtocolEvent]:
        if item.terminal is not None:
            run = await run_or_none(self._sources.runs, self._run.run_id) or self._run
            for event in self._translator.end(run, item.terminal, _message_of(item)):
                yield event
            return
        if item.event == "gap":
            yield self._translator.gap(self._wanted.since)
        for event in self._translator.translate(item):
            yield event

    async def _ended_unseen(self) -> Sequence[EventItem]:
        """Return the terminal events for a log that ended without them, or was deleted: the record is authoritative."""
        run = await run_or_none(self._sources.runs, self._run.run_id)
        if run is None:
            return list(self._translator.end(self._run, "cancel"))
        if not run.status.is_terminal:
            return []
        return list(self._translator.end(run, kind_of(run), run.failure.message if run.failure else None))

    async def _recalled(self) -> AsyncIterator[ProtocolEvent]:
        """Yield the events of a run that has only its record left."""
        run, translator = self._run, self._translator
        for event in translator.begin():
            yield event
        translator.ended_at(run)
        if self._wanted.since and self._wanted.since < number_of(run.ended_at or run.created_at):
            yield translator.gap(self._wanted.since)
        if self._is_last:
            async for event in self._left():
                yield event
        for event in translator.end(run, kind_of(run), run.failure.message if run.failure else None):
            yield event

    async def _left(self) -> AsyncIterator[ProtocolEvent]:
        """Yield the values and interrupts that the thread's last run left."""
        if self._wanted.wants("values"):
            result = await self._sources.runs.join_wait(self._run.run_id)
            if result.output is not None:
                for event in self._translator.values_left(result.output, self._run):
                    yield event
        thread = await self._sources.threads.get(self._run.thread_id)
        if thread is None or thread.status != "interrupted" or self._run.status is not RunStatus.SUCCESS:
            return
        self._translator.paused()
        for namespace, interrupt in await self._pending():
            self._translator.asked(namespace, interrupt)

    async def _pending(self) -> Sequence[tuple[Namespace, dict[str, object]]]:
        try:
            state = await self._sources.states.read(self._run.thread_id, subgraphs=True)
        except ThreadNotFound:
            return []
        return list(pending_in(state.tasks))


def pending_in(tasks: Sequence[TaskState], above: Namespace = ()) -> list[tuple[Namespace, dict[str, object]]]:
    """Return the interrupts for which tasks wait, each with the namespace of its graph."""
    found: list[tuple[Namespace, dict[str, object]]] = []
    for task in tasks:
        below = pending_in(task.state.tasks, (*above, f"{task.name}:{task.id}")) if task.state else []
        found += below or [(above, interrupt) for interrupt in orjson.loads(task.interrupts)]
    return found


async def _at_once(stream: RunStream) -> Sequence[StreamItem]:
    try:
        async with asyncio.timeout(_AT_ONCE):
            return await stream.read()
    except TimeoutError:
        return [HEARTBEAT_SENTINEL]


async def run_or_none(runs: RunsFacade, run_id: RunId) -> RunRecord | None:
    try:
        return await runs.get_run(run_id)
    except RunNotFound:
        return None


def _message_of(terminal: StreamEvent) -> str | None:
    if terminal.terminal != "error":
        return None
    data = orjson.loads(terminal.data)
    return str(data.get("message")) if isinstance(data, dict) else None
