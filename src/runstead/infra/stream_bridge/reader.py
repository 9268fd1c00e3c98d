"""One reader's place in a run's log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from runstead.runtime.clock import Clock
from runstead.runtime.stream_bridge import (
    CANCELLED_SENTINEL,
    END_SENTINEL,
    HEARTBEAT_SENTINEL,
    ResumeResult,
    StreamEvent,
    StreamItem,
    StreamStatus,
)

from .alarms import SLACK, Alarms
from .log import RunLog

MOST_EVENTS = 512
MOST_BYTES = 1024 * 1024
"""Of one read. A reader who stalls keeps what it has read from being forgotten: that must not be a whole window."""


def _within_bounds(events: list[StreamEvent]) -> list[StreamEvent]:
    size = 0
    for number, event in enumerate(events):
        size += len(event.data)
        if size > MOST_BYTES and number:
            return events[:number]
    return events


class LogReader:
    """A StreamSubscription over a `RunLog`. For one task at a time.

    It holds the log itself, so that a log the bridge has forgotten is still read to its end.
    """

    __slots__ = (
        "__weakref__",
        "_alarms",
        "_armed",
        "_clock",
        "_done",
        "_interval",
        "_last_id",
        "_log",
        "_missed",
        "_place",
        "_resumed",
        "_spoken_at",
        "_waiter",
    )

    def __init__(self, log: RunLog, last_event_id: str | None, interval: float | None, clock: Clock, alarms: Alarms):
        self._log, self._clock, self._alarms = log, clock, alarms
        self._interval = interval
        self._place, self._resumed = log.resume(last_event_id)
        # The last id the reader was given, and how many events after it are gone (None: nobody knows).
        self._last_id = last_event_id if self._resumed.status in ("resumed", "evicted") else None
        self._missed = self._resumed.gap_count if self._resumed.status == "evicted" else 0
        self._spoken_at = clock.monotonic()
        self._armed = False
        self._done = False
        self._waiter: asyncio.Future[None] | None = None
        log.readers.add(self)

    @property
    def resumed(self) -> ResumeResult:
        return self._resumed

    async def read(self) -> Sequence[StreamItem]:
        while not self._done:
            if items := self._take():
                self._spoken_at = self._clock.monotonic()
                return items
            if self._log.gone is not None:
                raise self._log.gone()
            if self._interval is not None:
                beat_at = self._spoken_at + self._interval
                if self._clock.monotonic() >= beat_at - SLACK:
                    self._spoken_at = self._clock.monotonic()
                    return [HEARTBEAT_SENTINEL]
                self._arm(beat_at)
            await self._wait()
        return ()

    async def aclose(self) -> None:
        self._finish()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take(self) -> list[StreamItem]:
        """What can be read now. Nothing is awaited between taking and returning, so a cancelled read takes nothing."""
        log = self._log
        if self._place < log.first_kept:
            self._start_again()
        events = _within_bounds(log.since(self._place, MOST_EVENTS))
        if events:
            self._place += len(events)
            self._last_id, self._missed = events[-1].id, 0
        items: list[StreamItem] = list(events)
        if log.terminal is not None and self._place >= log.end:
            items.append(CANCELLED_SENTINEL if log.status is StreamStatus.CANCELLED else END_SENTINEL)
            self._finish()
        return items

    def _start_again(self) -> None:
        """The window has overtaken this reader: it goes on from what is kept, and says how much it has lost."""
        first = self._log.first_kept
        if self._missed is not None:
            self._missed += first - self._place
        self._resumed = self._log.shape.evicted(self._last_id, self._missed)
        self._place = first

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("a stream subscription is read by one task at a time")
        self._waiter = self._log.waiter()
        try:
            await self._waiter
        finally:
            self._log.leave(self._waiter)
            self._waiter = None

    def _arm(self, beat_at: float) -> None:
        # One entry at a time: a busy reader moves its deadline without touching the alarms.
        if not self._armed:
            self._armed = True
            self._alarms.call_at(beat_at, self._beat)

    def _beat(self) -> None:
        self._armed = False
        if self._waiter is None or self._waiter.done() or self._interval is None:
            return
        beat_at = self._spoken_at + self._interval
        if self._clock.monotonic() >= beat_at - SLACK:
            self._waiter.set_result(None)
        else:
            self._arm(beat_at)

    def _finish(self) -> None:
        self._done = True
        self._log.readers.discard(self)
