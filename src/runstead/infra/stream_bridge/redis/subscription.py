"""A reader's subscription to a run's log in Redis.

A reader that is behind reads pages; one that has reached the end shares the tail with all readers there. It reports
every gap between two events that it returns, whatever the reason: the window, a lost server, a full buffer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Final

from runstead.runtime.state_machine import StateMachine
from runstead.runtime.stream_bridge.contract import (
    CANCELLED_SENTINEL,
    END_SENTINEL,
    HEARTBEAT_SENTINEL,
    LIVE,
    ResumeResult,
    StreamEvent,
    StreamItem,
    StreamStatus,
)
from runstead.runtime.stream_bridge.event_ids import numbers_of, position_before
from runstead.runtime.stream_bridge.exceptions import StreamBridgeError, StreamNotFound

from ..timers import HeartbeatTimer
from .keys import RunKeys
from .pages import Pages
from .scripts import Page
from .tail_buffer import TailBuffer
from .tail_registry import TailRegistry

MOST_EVENTS: Final = 512
"""Maximum number of events of one read."""
_TRIES: Final = 20
_TRY_AGAIN: Final = 0.25
"""Seconds between attempts to find a stream whose reader subscribed while Redis was unavailable."""


class ReaderState(Enum):
    """Position of a reader in the log. ``STARTING``: its position is not known yet, since Redis was unavailable.
    ``READING``: behind the end, on pages. ``LIVE``: on the tail, and on pages where it has lost the tail's events.
    """

    STARTING = auto()
    READING = auto()
    LIVE = auto()
    ENDED = auto()


TRANSITIONS: Final[Mapping[ReaderState, frozenset[ReaderState]]] = {
    ReaderState.STARTING: frozenset({ReaderState.READING, ReaderState.ENDED}),
    ReaderState.READING: frozenset({ReaderState.LIVE, ReaderState.ENDED}),
    # Live again: on another tail, after the first one was lost with its shard's reader.
    ReaderState.LIVE: frozenset({ReaderState.LIVE, ReaderState.ENDED}),
    # Closed after its end.
    ReaderState.ENDED: frozenset({ReaderState.ENDED}),
}


@dataclass(frozen=True, slots=True)
class ReaderContext:
    """State that all readers of a process share."""

    pages: Pages
    follower: TailRegistry


def first_page(last_event_id: str | None) -> str:
    """Return the id to read after, to find the reader's start position and most likely its first events."""
    if last_event_id == LIVE:
        return LIVE
    return last_event_id if last_event_id is not None and numbers_of(last_event_id) is not None else ""


class LogSubscription:
    """A StreamSubscription. For one task at a time. Without a ``page`` it finds its position when Redis is back."""

    def __init__(
        self,
        run_id: str,
        keys: RunKeys,
        room: ReaderContext,
        pulse: HeartbeatTimer,
        last_event_id: str | None,
        page: Page | None,
    ) -> None:
        self._run_id, self._keys, self._room, self._pulse = run_id, keys, room, pulse
        self._asked = last_event_id
        self._after = first_page(last_event_id)
        self._resumed = ResumeResult("fresh" if last_event_id in (None, LIVE) else "resumed", last_event_id)
        self._reader = StateMachine(ReaderState.STARTING, TRANSITIONS)
        self._place = 0
        # The last id that the reader was given, and the number of lost events after it (None: unknown).
        self._last: str | None = None
        self._missed: int | None = 0
        # The position within the tail: the last event before the next one, if that is known for certain.
        self._within: tuple[int, int] | None = None
        self._tail: TailBuffer | None = None
        self._seen_version = -1
        self._page: Page | None = None
        self._fetching: asyncio.Task[None] | None = None
        # The error of the next read that finds no items.
        self._gone: Callable[[], StreamBridgeError] | None = None
        if page is not None:
            self._find_place(page)

    @property
    def resumed(self) -> ResumeResult:
        return self._resumed

    @property
    def _has_ended(self) -> bool:
        return self._reader.state is ReaderState.ENDED

    def wake(self) -> None:
        self._pulse.wake()

    def shut(self, gone: Callable[[], StreamBridgeError]) -> None:
        """End the subscription with an error, whatever the log contains."""
        self._gone = gone
        self._stop_fetching()
        self.wake()

    async def read(self) -> Sequence[StreamItem]:
        while not self._has_ended:
            if items := self._take():
                self._pulse.reset()
                return items
            if self._has_ended:
                break
            if (gone := self._gone or self._lost_with_tail()) is not None:
                raise gone()
            if self._pulse.is_due:
                self._pulse.reset()
                return [HEARTBEAT_SENTINEL]
            await self._pulse.wait()
        return ()

    async def aclose(self) -> None:
        self._finish()
        self.wake()

    def _take(self) -> list[StreamItem]:
        """Return the items that can be read now.

        There is no await before the return, so a cancelled read loses nothing.
        """
        if self._page is not None:
            page, self._page = self._page, None
            if self._reader.state is ReaderState.STARTING:
                self._find_place(page)
                return self._take()
            items = self._turn(page)
            if items or self._has_ended:
                return items
        if (events := self._from_tail()) is not None:
            return self._given(events) if events else []
        self._fetch()
        return []

    def _from_tail(self) -> Sequence[StreamEvent] | None:
        """Return the next events of the tail, possibly none yet. Return None if pages have to be read."""
        if self._tail is None:
            return None
        events = self._tail.since(*self._within, MOST_EVENTS) if self._within is not None else None
        # Pages were read since the tail last changed, without result: wait for the tail to change.
        return () if events is None and self._tail.version == self._seen_version else events

    def _given(self, events: Sequence[StreamEvent]) -> list[StreamItem]:
        """Record and return events that follow each other and the last one returned without a gap."""
        last = events[-1]
        self._place += len(events)
        self._seen_version = -1
        self._last, self._missed = last.id, 0
        self._after, self._within = last.id, numbers_of(last.id)
        items: list[StreamItem] = list(events)
        if last.terminal is not None:
            items.append(CANCELLED_SENTINEL if last.terminal == "cancel" else END_SENTINEL)
            self._finish()
        return items

    def _find_place(self, page: Page) -> None:
        """Use the first page to find the start position for the reader's last event id."""
        if not page.there:
            # Only a reader that subscribed during an outage gets here: the stream does not exist.
            self._gone = partial(StreamNotFound, self._run_id)
            return
        self._reader.enter(ReaderState.READING)
        self._place, self._resumed = page.shape.resume(self._asked)
        if self._resumed.status in ("resumed", "evicted"):
            self._last, self._missed = self._asked, self._resumed.gap_count
        if self._resumed.status in ("evicted", "invalid") and self._after:
            # That page was read from another position than this reader's start.
            self._after = ""
        elif self._asked == LIVE:
            self._after = f"{page.attempt}-{page.seq}" if page.terminal is None else _before(page.terminal)
            self._page = page
        else:
            self._page = page

    def _turn(self, page: Page) -> list[StreamItem]:
        """Return the events of a page up to the first gap: the next read reports the gap first."""
        given: list[StreamEvent] = []
        for event in page.events:
            place = _place_of(event, page)
            if place != self._place + len(given):
                if given:
                    return self._given(given)
                self._emit_gap(event, place, page)
            given.append(event)
        if given:
            return self._given(given)
        if page.terminal is not None and self._last == page.terminal:
            self._finish()
            return [CANCELLED_SENTINEL if page.status is StreamStatus.CANCELLED else END_SENTINEL]
        if page.forgotten or page.terminal is not None:
            # Deleted before its end, or ended and then evicted, with its end, by a server short of memory.
            self._gone = partial(StreamNotFound, self._run_id)
            return []
        self._reach_end(page)
        return []

    def _emit_gap(self, event: StreamEvent, place: int | None, page: Page) -> None:
        """Continue from ``event`` after a gap, and record the number of lost events."""
        is_known = place is not None and place > self._place and self._has_same_places(page)
        if self._missed is not None:
            self._missed = self._missed + place - self._place if is_known and place is not None else None
        self._resumed = ResumeResult("evicted", self._last, event.id, self._missed, self._rejoin(event, place, page))
        self._place = place if place is not None else self._place

    @staticmethod
    def _rejoin(event: StreamEvent, place: int | None, page: Page) -> str:
        """Return the id to return with: before ``event``, unless the window may have moved past it by then."""
        return page.shape.rejoin if place == page.shape.first else position_before(event.id)

    def _has_same_places(self, page: Page) -> bool:
        """Return whether positions in this log are still the same as when our last event was returned.

        A log that was lost with its publisher begins anew.
        """
        numbers = numbers_of(self._last) if self._last is not None else None
        if numbers is None or self._missed != 0:
            return True
        return any(start + numbers[1] == self._place for attempt, start in page.shape.begun if attempt == numbers[0])

    def _reach_end(self, page: Page) -> None:
        """Join the tail, since the log has no more events."""
        end = (page.attempt, page.seq)
        is_sure = page.there and page.shape.published == self._place and self._has_same_places(page)
        self._within = end if is_sure else None
        self._reader.enter(ReaderState.LIVE)
        start = end if page.there and page.terminal is None else numbers_of(self._after) or (0, 0)
        if self._tail is None or self._tail.gone is not None:
            self._leave_tail()
            self._tail = self._room.follower.follow(self._run_id, self._keys, self, *start)
            # Other readers may have advanced it further than this page.
            self._seen_version = self._tail.version if self._tail.last <= start else -1

    def _fetch(self) -> None:
        if self._fetching is None and self._gone is None and not self._has_ended:
            if self._tail is not None:
                self._seen_version = self._tail.version
            self._fetching = asyncio.create_task(self._fetched(), name="stream-page")

    async def _fetched(self) -> None:
        try:
            page = await self._room.pages.read_patiently(self._keys, self._after)
            for _ in range(_TRIES):
                if self._reader.state is not ReaderState.STARTING or page.there:
                    break
                # Redis has just come back, maybe without its data: the publisher restores the stream in a moment.
                await asyncio.sleep(_TRY_AGAIN)
                page = await self._room.pages.read_patiently(self._keys, self._after)
            self._page = page
        finally:
            self._fetching = None
        self.wake()

    def _lost_with_tail(self) -> Callable[[], StreamBridgeError] | None:
        if self._tail is None or self._tail.gone is None or self._fetching is not None:
            return None
        return self._tail.gone

    def _finish(self) -> None:
        self._reader.enter(ReaderState.ENDED)
        self._stop_fetching()
        self._leave_tail()

    def _stop_fetching(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()

    def _leave_tail(self) -> None:
        tail, self._tail = self._tail, None
        if tail is not None:
            self._room.follower.leave(tail, self)


def _place_of(event: StreamEvent, page: Page) -> int | None:
    numbers = numbers_of(event.id)
    if numbers is None:
        return None
    return next((start + numbers[1] - 1 for attempt, start in page.shape.begun if attempt == numbers[0]), None)


def _before(event_id: str) -> str:
    attempt, _, seq = event_id.partition("-")
    return f"{attempt}-{int(seq) - 1}"
