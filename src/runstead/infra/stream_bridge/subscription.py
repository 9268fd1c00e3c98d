"""One reader's place in a run's log in Redis.

A reader who is behind reads pages; one who has come to the end shares the tail with all who are there. It is told of
everything that is missing between two events it gets, whatever the reason: the window, a lost server, a full outbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from runstead.runtime.stream_bridge import (
    CANCELLED_SENTINEL,
    END_SENTINEL,
    HEARTBEAT_SENTINEL,
    LIVE,
    ResumeResult,
    StreamBridgeError,
    StreamEvent,
    StreamItem,
    StreamNotFound,
    StreamStatus,
    numbers_of,
    position_before,
)

from .follower import Follower
from .keys import RunKeys
from .pages import Pages
from .pulse import Pulse
from .scripts import Page
from .tail import Tail

MOST_EVENTS: Final = 512
"""Of one read."""
_TRIES: Final = 20
_TRY_AGAIN: Final = 0.25
"""Seconds between looks for a stream whose reader came while Redis was away."""


@dataclass(frozen=True, slots=True)
class ReadingRoom:
    """What all readers of a process share."""

    pages: Pages
    follower: Follower


def first_page(last_event_id: str | None) -> str:
    """What to read after, to learn where a reader with this id starts, and most likely what it reads first."""
    if last_event_id == LIVE:
        return LIVE
    return last_event_id if last_event_id is not None and numbers_of(last_event_id) is not None else ""


class LogSubscription:
    """A StreamSubscription. For one task at a time. Without a ``page`` it finds its place when Redis is back."""

    def __init__(
        self,
        run_id: str,
        keys: RunKeys,
        room: ReadingRoom,
        pulse: Pulse,
        last_event_id: str | None,
        page: Page | None,
    ) -> None:
        self._run_id, self._keys, self._room, self._pulse = run_id, keys, room, pulse
        self._asked = last_event_id
        self._after = first_page(last_event_id)
        self._resumed = ResumeResult("fresh" if last_event_id in (None, LIVE) else "resumed", last_event_id)
        self._placed = self._done = False
        self._place = 0
        # The last id the reader was given, and how many events after it are gone (None: nobody knows).
        self._last: str | None = None
        self._missed: int | None = 0
        # The place within the tail: the last event before what comes next, where that is known without a doubt.
        self._within: tuple[int, int] | None = None
        self._tail: Tail | None = None
        self._seen_version = -1
        self._page: Page | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._gone: Callable[[], StreamBridgeError] | None = None
        if page is not None:
            self._find_place(page)

    @property
    def resumed(self) -> ResumeResult:
        return self._resumed

    def wake(self) -> None:
        self._pulse.wake()

    def shut(self, gone: Callable[[], StreamBridgeError]) -> None:
        """Nothing more will come, whatever the log says."""
        self._gone = gone
        self._stop_fetching()
        self.wake()

    async def read(self) -> Sequence[StreamItem]:
        while not self._done:
            if items := self._take():
                self._pulse.spoke()
                return items
            if not self._done and (gone := self._gone or self._gone_with_tail()) is not None:
                raise gone()
            if self._done:
                break
            if self._pulse.is_due:
                self._pulse.spoke()
                return [HEARTBEAT_SENTINEL]
            await self._pulse.wait()
        return ()

    async def aclose(self) -> None:
        self._finish()
        self.wake()

    def _take(self) -> list[StreamItem]:
        """What can be read now. Nothing is awaited between taking and returning, so a cancelled read takes nothing."""
        if self._page is not None:
            page, self._page = self._page, None
            if self._placed:
                items = self._turn(page)
            else:
                self._find_place(page)
                return self._take()
            if items or self._done:
                return items
        if (events := self._from_tail()) is not None:
            return self._given(events) if events else []
        self._fetch()
        return []

    def _from_tail(self) -> Sequence[StreamEvent] | None:
        """What the tail has for us: maybe nothing yet. None when pages have to be read."""
        if self._tail is None:
            return None
        events = self._tail.since(*self._within, MOST_EVENTS) if self._within is not None else None
        # Pages were read since the tail last moved, and told nothing: it has to move first.
        return () if events is None and self._tail.version == self._seen_version else events

    def _given(self, events: Sequence[StreamEvent]) -> list[StreamItem]:
        """Events that follow each other, and what we gave last, without a hole."""
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
        """The first page: measured against what the reader asked for."""
        if not page.there:
            # Only a reader who came during an outage gets here: there is nothing to read.
            self._gone = partial(StreamNotFound, self._run_id)
            return
        self._placed = True
        self._place, self._resumed = page.shape.resume(self._asked)
        if self._resumed.status in ("resumed", "evicted"):
            self._last, self._missed = self._asked, self._resumed.gap_count
        if self._resumed.status in ("evicted", "invalid") and self._after:
            # That page was read from another place than where this reader starts.
            self._after = ""
        elif self._asked == LIVE:
            self._after = f"{page.attempt}-{page.seq}" if page.terminal is None else _before(page.terminal)
            self._page = page
        else:
            self._page = page

    def _turn(self, page: Page) -> list[StreamItem]:
        """Read a page. At a hole it is cut off: what comes behind is told of first, by the next read."""
        given: list[StreamEvent] = []
        for event in page.events:
            place = _place_of(event, page)
            if place != self._place + len(given):
                if given:
                    return self._given(given)
                self._tell_gap(event, place, page)
            given.append(event)
        if given:
            return self._given(given)
        if page.terminal is not None and self._last == page.terminal:
            self._finish()
            return [CANCELLED_SENTINEL if page.status is StreamStatus.CANCELLED else END_SENTINEL]
        if page.forgotten or page.terminal is not None:
            # Forgotten before its end, or ended and then thrown away, its end with it, by a server short of memory.
            self._gone = partial(StreamNotFound, self._run_id)
            return []
        self._come_to_the_end(page)
        return []

    def _tell_gap(self, event: StreamEvent, place: int | None, page: Page) -> None:
        """The reader goes on from ``event``, and is told how much it has lost."""
        is_known = place is not None and place > self._place and self._has_same_places(page)
        if self._missed is not None:
            self._missed = self._missed + place - self._place if is_known and place is not None else None
        self._resumed = ResumeResult("evicted", self._last, event.id, self._missed, self._rejoin(event, place, page))
        self._place = place if place is not None else self._place

    @staticmethod
    def _rejoin(event: StreamEvent, place: int | None, page: Page) -> str:
        """The id to come back with: before ``event``, unless the window may have moved past it by then."""
        return page.shape.rejoin if place == page.shape.first else position_before(event.id)

    def _has_same_places(self, page: Page) -> bool:
        """Whether places in this log mean what they meant when our last event was given: a log that was lost with its
        publisher begins anew.
        """
        numbers = numbers_of(self._last) if self._last is not None else None
        if numbers is None or self._missed != 0:
            return True
        return any(start + numbers[1] == self._place for attempt, start in page.shape.begun if attempt == numbers[0])

    def _come_to_the_end(self, page: Page) -> None:
        """Nothing is left in the log: what comes next is in the tail."""
        end = (page.attempt, page.seq)
        is_sure = page.there and page.shape.published == self._place and self._has_same_places(page)
        self._within = end if is_sure else None
        start = end if page.there and page.terminal is None else numbers_of(self._after) or (0, 0)
        if self._tail is None or self._tail.gone is not None:
            self._leave_tail()
            self._tail = self._room.follower.follow(self._run_id, self._keys, self, *start)
            # Others may have brought it further than this page knows.
            self._seen_version = self._tail.version if self._tail.last <= start else -1

    def _fetch(self) -> None:
        if self._fetching is None and self._gone is None and not self._done:
            if self._tail is not None:
                self._seen_version = self._tail.version
            self._fetching = asyncio.create_task(self._fetched(), name="stream-page")

    async def _fetched(self) -> None:
        try:
            page = await self._room.pages.read_patiently(self._keys, self._after)
            for _ in range(_TRIES):
                if self._placed or page.there:
                    break
                # Redis has just come back, maybe without its data: the publisher brings the stream back in a moment.
                await asyncio.sleep(_TRY_AGAIN)
                page = await self._room.pages.read_patiently(self._keys, self._after)
            self._page = page
        finally:
            self._fetching = None
        self.wake()

    def _gone_with_tail(self) -> Callable[[], StreamBridgeError] | None:
        if self._tail is None or self._tail.gone is None or self._fetching is not None:
            return None
        return self._tail.gone

    def _finish(self) -> None:
        self._done = True
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
