"""Event protocol reader of a thread, from run to run, for as long as a client reads.

A reader follows the runs of a thread in the order in which they began. It reads the log of each from the stream bridge;
if the log is gone, it derives the events from the run's record. Between runs it waits for a notification. It reads for
the bound actor: another user's thread, or one that does not exist yet, has no events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Final

from runstead.resources.thread_notices import ThreadListener
from runstead.runtime.runs.types import RunFilter, RunId, RunRecord, ThreadId
from runstead.runtime.stream_bridge.contract import HEARTBEAT_SENTINEL
from runstead.runtime.stream_bridge.exceptions import BridgeClosed
from runstead.wire.protocol.events import CUSTOM, ProtocolEvent, Subscription
from runstead.wire.protocol.translator import RESUME_GAP

from .approval_events import NAME, ApprovalNews, approval_news
from .run_events import EventItem, EventReaderPorts, RunEventReader, run_or_none

_RECENT: Final = 50
"""Maximum number of past runs for a new reader. The state of a thread is in its latest values, not in its past runs."""
_LOOK_AGAIN: Final = 30.0
"""Seconds after which the rows are read even without a notification."""


class ThreadEvents:
    """Factory of readers on threads of the bound actor."""

    def __init__(self, sources: EventReaderPorts) -> None:
        self._sources = sources

    def open(self, thread_id: ThreadId, wanted: Subscription) -> ThreadEventReader:
        """Return a reader of all kept events, and then of all new ones. The thread need not exist yet."""
        return ThreadEventReader(self._sources, thread_id, wanted)

    async def current_events(self, thread_id: ThreadId, wanted: Subscription) -> Sequence[ProtocolEvent]:
        """Return the events that a new reader receives immediately."""
        reader = self.open(thread_id, wanted)
        try:
            return [event for event in await reader.present() if isinstance(event, ProtocolEvent)]
        finally:
            await reader.aclose()


class ThreadEventReader:
    """Position of one reader in a thread. For one task at a time."""

    def __init__(self, sources: EventReaderPorts, thread_id: ThreadId, wanted: Subscription) -> None:
        self._sources, self._thread_id, self._wanted = sources, thread_id, wanted
        self._listener: ThreadListener = sources.notices.listener(thread_id)
        self._waiting: deque[RunRecord | ApprovalNews] = deque()
        self._told_until: datetime | None = None
        """Time of the latest event of an approval that was read."""
        self._followed: set[tuple[RunId, object]] = set()
        self._reading: AsyncGenerator[Sequence[EventItem]] | None = None
        self._looked_at: float | None = None
        self._closed = False

    async def read(self) -> Sequence[EventItem]:
        """Return the items that can be read now, at least one; ``[HEARTBEAT_SENTINEL]`` after a silent interval.

        Raises BridgeClosed when the server shuts down.
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
        """Return everything that can be read without waiting for new events."""
        shown: list[EventItem] = []
        while self._looked_at is None or self._waiting or self._reading is not None:
            items = await self._step(wait=False)
            shown += [item for item in items if self._is_shown(item)]
            if HEARTBEAT_SENTINEL in items:
                break
        return shown

    async def aclose(self) -> None:
        """End the reader. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._sources.notices.leave(self._thread_id, self._listener)
        if self._reading is not None:
            await self._reading.aclose()
            self._reading = None

    async def _step(self, *, wait: bool) -> Sequence[EventItem]:
        """Make one step: the next part of the current run, or the next run, or a wait for one."""
        if self._reading is not None:
            if (items := await anext(self._reading, None)) is not None:
                return items
            self._reading = None
            return ()
        if not self._waiting:
            await self._look()
        if self._waiting:
            run = self._waiting.popleft()
            if isinstance(run, ApprovalNews):
                return [run.to_protocol()]
            key = (run.run_id, run.started_at)
            if key not in self._followed or not run.status.is_terminal:
                self._followed.add(key)
                is_last = not any(isinstance(one, RunRecord) for one in self._waiting)
                self._reading = RunEventReader(self._sources, run, self._wanted, is_last=is_last).items(wait)
            return ()
        return await self._wait() if wait else ()

    async def _wait(self) -> Sequence[EventItem]:
        if not await self._sources.clock.wait(self._listener.heard, self._sources.heartbeat):
            return [HEARTBEAT_SENTINEL]
        return ()

    async def _look(self) -> None:
        """Find new runs: those that were notified, and at intervals all of them."""
        if self._listener.closed:
            raise BridgeClosed
        in_doubt, changed = self._listener.in_doubt, self._listener.take()
        now = self._sources.clock.monotonic()
        if in_doubt or self._looked_at is None or now - self._looked_at >= _LOOK_AGAIN:
            self._looked_at = now
            where = RunFilter(self._thread_id)
            found = list(await self._sources.runs.list_runs(where, limit=_RECENT))
        else:
            found = [run for run_id in changed if (run := await run_or_none(self._sources.runs, run_id)) is not None]
        # A run that was followed to its end and executes again is a dead letter that was retried.
        new = [
            run
            for run in found
            if _has_begun(run) and ((run.run_id, run.started_at) not in self._followed or not run.status.is_terminal)
        ]
        self._waiting.extend(sorted([*new, *await self._news()], key=_order))

    async def _news(self) -> Sequence[ApprovalNews]:
        """Return what has happened to approvals since the last time, if the reader selects it."""
        if not self._wanted.wants("custom", CUSTOM + NAME):
            return ()
        news = await approval_news(self._sources, self._thread_id, self._told_until)
        if news:
            self._told_until = news[-1].at
        return news

    def _is_shown(self, item: EventItem) -> bool:
        if not isinstance(item, ProtocolEvent):
            return True
        return item.method == RESUME_GAP or self._wanted.matches(item)


def _has_begun(run: RunRecord) -> bool:
    return run.status.is_terminal or (run.started_at is not None)


def _order(found: RunRecord | ApprovalNews) -> tuple[object, int]:
    if isinstance(found, ApprovalNews):
        return (found.at, 0)
    return (found.started_at or found.ended_at or found.created_at, found.queue_seq)
