"""Stream of one run as the facade's readers see it.

Adds to the bridge: the record answers if there is no stream, a gap is reported and followed by the current values, and
a reader never waits forever for a run that has ended.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, Self, TypeAlias

from runstead.runtime.actor_context import acting
from runstead.runtime.clock import Clock
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.types import RunRecord, RunStatus
from runstead.runtime.storage_fault import StorageFault
from runstead.runtime.stream_bridge.contract import (
    END_SENTINEL,
    FROM_THE_START,
    HEARTBEAT_SENTINEL,
    LIVE,
    ResumeResult,
    Sentinel,
    StreamEvent,
    StreamItem,
    StreamSubscription,
)
from runstead.runtime.stream_bridge.event_ids import position_before
from runstead.runtime.stream_bridge.exceptions import BridgeUnavailable, StreamNotFound

from .event_filter import ALL_EVENTS, EventFilter
from .gaps import gap_event, is_after_run, position_after_run

_TRIES: Final = 3

_log = logging.getLogger(__name__)

ReadValues: TypeAlias = Callable[[RunRecord], Awaitable[bytes | None]]
"""Reader of the values that a run left, or of the thread's latest, as JSON; None if there are none."""


class RunStream:
    """One reader of one run. Iterate it, or `read` it in batches; close it when leaving early.

    Yields StreamEvents, HEARTBEAT_SENTINEL after silence, and finally the terminal event with its sentinel. Raises
    BridgeClosed when the server shuts down before the run has ended: read again later.
    """

    def __init__(
        self,
        record: RunRecord,
        subscription: StreamSubscription | None,
        *,
        streams: RunStreamService,
        gap: ResumeResult | None,
        choice: EventFilter,
        on_leave: Callable[[], Awaitable[object]] | None,
        clock: Clock,
        heartbeat: float,
    ) -> None:
        self.record = record
        self._subscription = subscription
        self._streams, self._gap = streams, gap
        self._resumed = None if subscription is None else subscription.resumed
        self._last_id = None if subscription is None else subscription.resumed.requested
        self._unread: list[StreamItem] = []
        self._choice = choice
        self._on_leave = on_leave
        self._clock, self._heartbeat = clock, heartbeat
        self._shown_at = clock.monotonic()
        # If the run had already ended when the reader came, its terminal event should be in the stream by now.
        self._suspect = record.status.is_terminal
        self._is_archived = False
        """True if the archive was already asked for a stream that was lost after its run had ended."""
        self._over = subscription is None
        self._closed = False
        self._buffer: list[StreamItem] = []

    @property
    def is_kept(self) -> bool:
        """Return whether events of the run are kept. If not, the reader gets the end from the run's record."""
        return self._subscription is not None

    async def read(self) -> Sequence[StreamItem]:
        """Return the items that can be read now, at least one; an empty sequence after the end.

        A cancelled read loses no items.
        """
        try:
            if self._gap is None and not self._unread:
                self._unread = await self._batch()
            # Items stay in `_unread` until they are returned, since reading the values for a gap takes a while.
            events = [] if self._gap is None else await self._streams.with_gap_event(self.record, self._gap)
        except Exception:
            # The stream broke or the server shuts down. The reader did not leave, so the run must not be stopped.
            self._over = True
            raise
        items, self._unread, self._gap = [*events, *self._unread], [], None
        return items

    async def _batch(self) -> list[StreamItem]:
        """Return the next items that pass this reader's filter; none at the end."""
        while not self._over and self._subscription is not None:
            items = self._choice.apply(await self._from(self._subscription))
            # Only the last item can be a sentinel. Many readers may rejoin a long log at once, and a check of every
            # item would delay all other requests.
            last = items[-1] if items else None
            if last is HEARTBEAT_SENTINEL and (ended := await self._ended_unseen()) is not None:
                items, last = self._lost(ended), END_SENTINEL
            if isinstance(last, Sentinel) and last is not HEARTBEAT_SENTINEL:
                self._over = True
            now = self._clock.monotonic()
            if not items and now - self._shown_at >= self._heartbeat:
                # The run publishes events, but none that pass the filter: this reader needs a heartbeat.
                items = [HEARTBEAT_SENTINEL]
            if items or self._gap is not None:
                self._shown_at = now
                return items
        return []

    async def _from(self, subscription: StreamSubscription) -> Sequence[StreamItem]:
        try:
            items = await subscription.read()
        except StreamNotFound:
            return await self._after_loss(subscription)
        if subscription.resumed is not self._resumed:
            # Retention has overtaken this reader since its last read, or its position is resolved only now.
            self._resumed = subscription.resumed
            self._gap = _gap_in(self._resumed)
        self._gap = self._gap or self._lost_before(items)
        self._last_id = next((item.id for item in reversed(items) if isinstance(item, StreamEvent)), self._last_id)
        return items

    def _lost_before(self, items: Sequence[StreamItem]) -> ResumeResult | None:
        """Return a gap for a reader from the start if the log begins with a later attempt.

        The events of earlier attempts are no longer kept, and their number is unknown. None if the log itself begins
        with a gap event.
        """
        first = items[0] if items else None
        if self._last_id not in FROM_THE_START or self._resumed is None or self._resumed.status != "resumed":
            return None
        if not isinstance(first, StreamEvent) or first.id.startswith("1-") or first.event == "gap":
            return None
        return ResumeResult("evicted", self._last_id, first.id, None, position_before(first.id))

    async def _after_loss(self, subscription: StreamSubscription) -> Sequence[StreamItem]:
        """Continue after the stream was lost before its end: the run was deleted, or the server that kept the stream
        failed."""
        current = await self._streams.current(self.record)
        if not current.status.is_terminal or not self._is_archived:
            self._is_archived = current.status.is_terminal
            found = await self._streams.subscription(current, self._last_id)
            if found is not None:
                self._subscription = found
                self._resumed = found.resumed
                if self._last_id is None or _gap_in(found.resumed) is not None:
                    self._gap = replace(found.resumed, status="evicted", requested=self._last_id, gap_count=None)
                await subscription.aclose()
                return []
            current = await self._streams.current(self.record)
        return self._lost(current)

    def _lost(self, ended: RunRecord) -> list[StreamItem]:
        """Return the items for an ended run whose stream was lost: record a gap of unknown size, then END."""
        if ended.started_at is not None:
            self._gap = ResumeResult("evicted", self._last_id, None, None, position_after_run(ended))
        return [END_SENTINEL]

    async def aclose(self) -> None:
        """Stop reading. Before the end, call ``on_leave`` if it is given, which may stop the run."""
        if self._closed:
            return
        self._closed = True
        if self._subscription is not None:
            await self._subscription.aclose()
        if not self._over and self._on_leave is not None:
            await self._on_leave()

    def __aiter__(self) -> AsyncIterator[StreamItem]:
        return self

    async def __anext__(self) -> StreamItem:
        if not self._buffer:
            self._buffer = list(reversed(await self.read()))
        if not self._buffer:
            raise StopAsyncIteration
        return self._buffer.pop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def _ended_unseen(self) -> RunRecord | None:
        """Return the run if it has ended without a terminal event in the stream.

        Its publisher was lost between settling and publishing, or the stream was lost.
        """
        try:
            current = await self._streams.current(self.record)
        except StorageFault as fault:
            # The stream remains open; the run's status is checked again at the next heartbeat.
            _log.warning("could not check whether run %s has ended: %s", self.record.run_id, fault)
            return None
        # Required twice in a row, since the terminal event may be about to arrive.
        was_suspect, self._suspect = self._suspect, current.status.is_terminal
        if not (was_suspect and self._suspect):
            return None
        await self._streams.forget(self.record)
        return current


def _gap_in(resumed: ResumeResult) -> ResumeResult | None:
    return resumed if resumed.status in ("evicted", "invalid") else None


class RunStreamService:
    """Service that opens streams on runs."""

    def __init__(self, runtime: RunsRuntime, read_values: ReadValues) -> None:
        self._runtime, self._read_values = runtime, read_values

    async def open(
        self,
        record: RunRecord,
        *,
        last_event_id: str | None,
        choice: EventFilter = ALL_EVENTS,
        on_leave: Callable[[], Awaitable[object]] | None = None,
        is_new: bool = False,
    ) -> RunStream:
        """Return a reader of ``record``'s stream.

        ``last_event_id`` as in StreamBridge.subscribe; ``is_new`` for a record that was just created. Raises
        BridgeUnavailable if streams are lost as soon as they are created.
        """
        subscription: StreamSubscription | None = None
        if not is_after_run(record, last_event_id, is_kept=True):
            subscription = await self.subscription(record, last_event_id, is_new=is_new)
        gap: ResumeResult | None = None
        if subscription is not None:
            # An unknown id is answered with all kept events, and a gap that says so.
            gap = _gap_in(subscription.resumed)
        elif is_new or (last_event_id not in (None, LIVE) and not is_after_run(record, last_event_id, is_kept=False)):
            # The run has ended and its stream is gone: missed events are lost, but the run's values are not.
            gap = ResumeResult("evicted", last_event_id, None, None)
        return RunStream(
            record,
            subscription,
            streams=self,
            gap=gap,
            choice=choice,
            on_leave=on_leave,
            clock=self._runtime.clock,
            heartbeat=self._runtime.limits.heartbeat,
        )

    async def subscription(
        self, record: RunRecord, last_event_id: str | None, *, is_new: bool = False
    ) -> StreamSubscription | None:
        """Return a subscription; None if the run has ended and its stream is gone, so that its record answers."""
        if record.status.is_terminal:
            return await self._subscribe(record, last_event_id)
        for again in range(_TRIES):
            await self._ensure_stream(record, is_new=is_new and not again)
            subscription = await self._subscribe(record, last_event_id)
            if subscription is not None or await self._has_ended(record):
                return subscription
            # Lost at this moment with the server that kept it. The run continues, so this must not look like its end.
        raise BridgeUnavailable(f"the stream of run {record.run_id} was lost {_TRIES} times")

    async def _ensure_stream(self, record: RunRecord, *, is_new: bool) -> None:
        """Open the stream of a live run, even if the process that kept it is gone.

        For a pending run, the next attempt is the one that will publish.
        """
        bridge = self._runtime.bridge
        was_kept = await bridge.status(record.run_id) is not None
        waiting = record.status is RunStatus.PENDING
        await bridge.open(record.run_id, record.attempt + 1 if waiting else max(record.attempt, 1))
        if not was_kept and not is_new and await self._has_ended(record):
            # Either the run ended and its stream was deleted after the record was read, or the stream existed all the
            # time and its server did not respond. In the second case its terminal event arrives, or
            # `OrphanedStreamReconciler`
            # publishes it.
            status = await bridge.status(record.run_id)
            if status is not None and not status.is_terminal:
                await self.forget(record)

    async def _subscribe(self, record: RunRecord, last_event_id: str | None) -> StreamSubscription | None:
        try:
            return await self._runtime.bridge.subscribe(record.run_id, last_event_id, self._runtime.limits.heartbeat)
        except StreamNotFound:
            return await self._subscribe_archived(record, last_event_id)

    async def _subscribe_archived(self, record: RunRecord, last_event_id: str | None) -> StreamSubscription | None:
        archive = self._runtime.archive
        if archive is None or not record.status.is_terminal or last_event_id in (None, LIVE):
            return None
        try:
            return await archive.subscribe(record.run_id, max(record.attempt, 1), last_event_id)
        except StreamNotFound:
            return None

    async def with_gap_event(self, record: RunRecord, resumed: ResumeResult) -> list[StreamEvent]:
        """Return the events for a reader with a gap: the gap itself, and the current values (law 5: never stay
        silent)."""
        self._runtime.telemetry.stream_gap(record)
        events = [gap_event(record, resumed)]
        try:
            values = await self._read_values(record)
        except StorageFault:
            # The values exist, and a reader that rejoins gets them.
            raise
        except Exception:
            _log.warning("could not read the values of run %s for a reader with a gap", record.run_id, exc_info=True)
            values = None
        if values is not None:
            events.append(StreamEvent("", "values", values))
        return events

    async def forget(self, record: RunRecord) -> None:
        """Delete the stream of a run that ended before it began, since no worker would ever end it. The run's record
        answers from now on.

        A run that did begin is left alone: its worker may be late but ends its stream in time, or
        `OrphanedStreamReconciler` does.
        """
        with acting(record.actor):
            current = await self._runtime.query_store.get_run(record.run_id)
        if current is None or current.started_at is None:
            await self._runtime.bridge.cleanup(record.run_id)

    async def _has_ended(self, record: RunRecord) -> bool:
        return (await self.current(record)).status.is_terminal

    async def current(self, record: RunRecord) -> RunRecord:
        """Return the stored run; a deleted run is reported as INTERRUPTED."""
        # A stream outlives the request that opened it, so it reads on behalf of the actor that opened it.
        with acting(record.actor):
            current = await self._runtime.query_store.get_run(record.run_id)
        return current or replace(record, status=RunStatus.INTERRUPTED, started_at=None)
