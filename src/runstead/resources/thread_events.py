"""A thread's events, from run to run, for as long as somebody reads them.

A reader follows the runs of a thread in the order in which they began. Of each it reads the log that the stream bridge
keeps; where there is none any more, it tells from the record what the run came to. Between runs it waits for a notice.
It reads for the bound actor: a thread that is somebody else's, or does not exist yet, is silent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import orjson

from runstead.runtime.clock import Clock
from runstead.runtime.runs.exceptions import RunNotFound, ThreadNotFound
from runstead.runtime.runs.facade import RunsFacade, RunStream
from runstead.runtime.runs.types import RunFilter, RunId, RunRecord, RunStatus, ThreadId
from runstead.runtime.stream_bridge import (
    HEARTBEAT_SENTINEL,
    BridgeClosed,
    Sentinel,
    StreamBridge,
    StreamEvent,
    StreamItem,
    StreamNotFound,
)
from runstead.wire.protocol.events import Namespace, ProtocolEvent, Subscription
from runstead.wire.protocol.numbering import number_of
from runstead.wire.protocol.translator import RESUME_GAP, RunTranslator, kind_of

from .states import TaskState, ThreadStates
from .thread_notices import ThreadListener, ThreadNotices
from .threads import ThreadStore

EventItem: TypeAlias = ProtocolEvent | Sentinel

_RECENT: Final = 50
"""Runs of a thread that a new reader is told of. The state of a thread is in its last values, not in its past."""
_LOOK_AGAIN: Final = 30.0
"""Seconds after which the rows are looked at although no notice came."""
_AT_ONCE: Final = 0.05
"""Seconds of silence after which a run has nothing to say for now, to one who does not wait."""


@dataclass(frozen=True, slots=True)
class _Sources:
    """Everything that readers read from."""

    runs: RunsFacade
    bridge: StreamBridge
    threads: ThreadStore
    states: ThreadStates
    notices: ThreadNotices
    clock: Clock
    heartbeat: float


class ThreadEvents:
    """Opens readers on threads of the bound actor."""

    def __init__(
        self,
        runs: RunsFacade,
        bridge: StreamBridge,
        threads: ThreadStore,
        states: ThreadStates,
        notices: ThreadNotices,
        clock: Clock,
        *,
        heartbeat: float,
    ) -> None:
        self._sources = _Sources(runs, bridge, threads, states, notices, clock, heartbeat)

    def open(self, thread_id: ThreadId, wanted: Subscription) -> ThreadEventReader:
        """A reader of all that is kept, and then of all that comes. The thread need not exist yet."""
        return ThreadEventReader(self._sources, thread_id, wanted)

    async def told(self, thread_id: ThreadId, wanted: Subscription) -> Sequence[ProtocolEvent]:
        """What a new reader would be told at once."""
        reader = self.open(thread_id, wanted)
        try:
            return [event for event in await reader.present() if isinstance(event, ProtocolEvent)]
        finally:
            await reader.aclose()


class ThreadEventReader:
    """One reader's place in a thread. For one task at a time."""

    def __init__(self, sources: _Sources, thread_id: ThreadId, wanted: Subscription) -> None:
        self._sources, self._thread_id, self._wanted = sources, thread_id, wanted
        self._listener: ThreadListener = sources.notices.listener(thread_id)
        self._waiting: deque[RunRecord] = deque()
        self._followed: set[tuple[RunId, object]] = set()
        self._reading: AsyncGenerator[Sequence[EventItem]] | None = None
        self._looked_at: float | None = None
        self._closed = False

    async def read(self) -> Sequence[EventItem]:
        """What can be read now, at least one item; ``[HEARTBEAT_SENTINEL]`` after a while of silence.

        Raises BridgeClosed when the server goes down.
        """
        spoke_at = self._sources.clock.monotonic()
        while True:
            items = await self._step(wait=True)
            shown = [item for item in items if self._is_shown(item)]
            if shown and shown != [HEARTBEAT_SENTINEL]:
                return [item for item in shown if item is not HEARTBEAT_SENTINEL]
            if shown or self._sources.clock.monotonic() - spoke_at >= self._sources.heartbeat:
                return [HEARTBEAT_SENTINEL]

    async def present(self) -> Sequence[EventItem]:
        """All that can be read without waiting for anything to happen."""
        told: list[EventItem] = []
        while self._looked_at is None or self._waiting or self._reading is not None:
            items = await self._step(wait=False)
            told += [item for item in items if self._is_shown(item)]
            if HEARTBEAT_SENTINEL in items:
                break
        return told

    async def aclose(self) -> None:
        """Leave. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._sources.notices.leave(self._thread_id, self._listener)
        if self._reading is not None:
            await self._reading.aclose()
            self._reading = None

    async def _step(self, *, wait: bool) -> Sequence[EventItem]:
        """One look: the next piece of the run that is being read, or the next run, or a wait for one."""
        if self._reading is not None:
            if (items := await anext(self._reading, None)) is not None:
                return items
            self._reading = None
            return ()
        if not self._waiting:
            await self._look()
        if self._waiting:
            run = self._waiting.popleft()
            key = (run.run_id, run.started_at)
            if key not in self._followed:
                self._followed.add(key)
                self._reading = RunReading(self._sources, run, self._wanted, is_last=not self._waiting).items(wait)
            return ()
        return await self._wait() if wait else ()

    async def _wait(self) -> Sequence[EventItem]:
        if not await self._sources.clock.wait(self._listener.heard, self._sources.heartbeat):
            return [HEARTBEAT_SENTINEL]
        return ()

    async def _look(self) -> None:
        """Which runs have come: those that were told of, and now and then all of them."""
        if self._listener.closed:
            raise BridgeClosed
        told = self._listener.take()
        now = self._sources.clock.monotonic()
        if self._looked_at is None or now - self._looked_at >= _LOOK_AGAIN:
            self._looked_at = now
            where = RunFilter(self._thread_id)
            found = list(await self._sources.runs.list_runs(where, limit=_RECENT))
        else:
            found = [run for run_id in told if (run := await _run(self._sources.runs, run_id)) is not None]
        new = [run for run in found if _has_begun(run) and (run.run_id, run.started_at) not in self._followed]
        self._waiting.extend(sorted(new, key=_order))

    def _is_shown(self, item: EventItem) -> bool:
        if not isinstance(item, ProtocolEvent):
            return True
        return item.method == RESUME_GAP or self._wanted.matches(item)


class RunReading:
    """One run, from its first event to its last."""

    def __init__(self, sources: _Sources, run: RunRecord, wanted: Subscription, *, is_last: bool) -> None:
        self._sources, self._run, self._wanted, self._is_last = sources, run, wanted, is_last
        self._translator = RunTranslator(run, says=wanted.wants("messages", "tools"))

    async def items(self, wait: bool) -> AsyncGenerator[Sequence[EventItem]]:
        """Its events in batches, and heartbeats. With ``wait`` off, those that are there already, and a heartbeat where
        more are to come.
        """
        if self._run.status.is_terminal and await self._sources.bridge.status(self._run.run_id) is None:
            yield [event async for event in self._recalled()]
            return
        try:
            stream = await self._sources.runs.join_stream(self._run.run_id, last_event_id="-1")
        except RunNotFound:
            return
        async with stream:
            async for batch in self._live(stream, wait):
                yield batch
        if not self._translator.over:
            yield await self._ended_unseen()

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
            run = await _run(self._sources.runs, self._run.run_id) or self._run
            for event in self._translator.end(run, item.terminal, _message_of(item)):
                yield event
            return
        if item.event == "gap":
            yield self._translator.gap(self._wanted.since)
        for event in self._translator.translate(item):
            yield event

    async def _ended_unseen(self) -> Sequence[EventItem]:
        """The log ended without its last event, or was forgotten: the record has the last word."""
        run = await _run(self._sources.runs, self._run.run_id)
        if run is None:
            return list(self._translator.end(self._run, "cancel"))
        if not run.status.is_terminal:
            return []
        return list(self._translator.end(run, kind_of(run), run.failure.message if run.failure else None))

    async def _recalled(self) -> AsyncIterator[ProtocolEvent]:
        """A run of which only the record is left."""
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
        """What the thread's last run has left: its values, and what it asked."""
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
    """The interrupts that tasks wait for, each with the namespace of the graph that asks."""
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


async def _run(runs: RunsFacade, run_id: RunId) -> RunRecord | None:
    try:
        return await runs.get_run(run_id)
    except RunNotFound:
        return None


def _has_begun(run: RunRecord) -> bool:
    return run.status.is_terminal or (run.started_at is not None)


def _order(run: RunRecord) -> tuple[object, int]:
    return (run.started_at or run.ended_at or run.created_at, run.queue_seq)


def _message_of(terminal: StreamEvent) -> str | None:
    if terminal.terminal != "error":
        return None
    told = orjson.loads(terminal.data)
    return str(told.get("message")) if isinstance(told, dict) else None
