"""A reader's subscription to a run's log in memory."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Final

from runstead.runtime.clock import Clock
from runstead.runtime.state_machine import StateMachine
from runstead.runtime.stream_bridge.contract import (
    CANCELLED_SENTINEL,
    END_SENTINEL,
    HEARTBEAT_SENTINEL,
    ResumeResult,
    StreamEvent,
    StreamItem,
    StreamStatus,
)
from runstead.runtime.stream_bridge.exceptions import StreamNotFound

from ..timers import SLACK, DeadlineScheduler
from .blocks import Block, Piece
from .log import RunLog
from .spool import Spool

MOST_EVENTS = 512
PACKED_EVENTS = 128
"""Maximum number of events of one read from blocks, which must be decoded: small turns keep live readers responsive."""
MOST_BYTES = 1024 * 1024
"""Maximum bytes of one read. A stalled reader keeps what it has read in memory: that must not be a whole window."""


class ReaderState(Enum):
    """``READING``: from memory. ``FETCHING``: waiting for a piece of a file. ``BROKEN``: the end cannot be read."""

    READING = auto()
    FETCHING = auto()
    BROKEN = auto()
    ENDED = auto()


TRANSITIONS: Final[Mapping[ReaderState, frozenset[ReaderState]]] = {
    ReaderState.READING: frozenset({ReaderState.FETCHING, ReaderState.ENDED}),
    ReaderState.FETCHING: frozenset({ReaderState.READING, ReaderState.BROKEN, ReaderState.ENDED}),
    ReaderState.BROKEN: frozenset({ReaderState.ENDED}),
    # Closed after its end.
    ReaderState.ENDED: frozenset({ReaderState.ENDED}),
}

_log = logging.getLogger(__name__)


def _within_bounds(events: list[StreamEvent]) -> list[StreamEvent]:
    size = 0
    for number, event in enumerate(events):
        size += len(event.data)
        if size > MOST_BYTES and number:
            return events[:number]
    return events


class LogReader:
    """A StreamSubscription over a `RunLog`. For one task at a time.

    It holds the log object, so that a log that the bridge has deleted is still read to its end. From a file it reads
    one piece at a time, and holds it until it has returned all of its events.
    """

    __slots__ = (
        "__weakref__",
        "_alarms",
        "_armed",
        "_clock",
        "_fetching",
        "_interval",
        "_last_id",
        "_log",
        "_missed",
        "_pieces",
        "_place",
        "_reader",
        "_resumed",
        "_spoken_at",
        "_spool",
        "_waiter",
    )

    def __init__(
        self,
        log: RunLog,
        last_event_id: str | None,
        interval: float | None,
        clock: Clock,
        alarms: DeadlineScheduler,
        spool: Spool | None = None,
    ):
        self._log, self._clock, self._alarms, self._spool = log, clock, alarms, spool
        self._interval = interval
        self._place, self._resumed = log.resume(last_event_id)
        # The last id that the reader was given, and the number of lost events after it (None: unknown).
        self._last_id = last_event_id if self._resumed.status in ("resumed", "evicted") else None
        self._missed = self._resumed.gap_count if self._resumed.status == "evicted" else 0
        self._spoken_at = clock.monotonic()
        self._armed = False
        self._reader = StateMachine(ReaderState.READING, TRANSITIONS)
        self._waiter: asyncio.Future[None] | None = None
        # Blocks that are being read, in order.
        self._pieces: deque[Piece] = deque()
        self._fetching: asyncio.Task[None] | None = None
        log.readers.add(self)

    @property
    def resumed(self) -> ResumeResult:
        return self._resumed

    @property
    def lag(self) -> int:
        """The number of published events that this reader has not read yet."""
        return max(0, self._log.end - self._place)

    async def read(self) -> Sequence[StreamItem]:
        while self._reader.state is not ReaderState.ENDED:
            if self._reader.state is ReaderState.BROKEN:
                # Readers use the run's record instead.
                raise StreamNotFound(self._log.run_id)
            if items := self._take():
                self._spoken_at = self._clock.monotonic()
                return items
            if self._reader.state is not ReaderState.FETCHING and self._log.gone is not None:
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
        self._wake()

    def _take(self) -> list[StreamItem]:
        """Return the items that can be read now.

        There is no await before the return, so a cancelled read loses nothing.
        """
        log = self._log
        if self._reader.state is ReaderState.FETCHING:
            return []
        events = self._gather()
        if events:
            self._place += len(events)
            self._last_id, self._missed = events[-1].id, 0
        items: list[StreamItem] = list(events)
        if log.terminal is not None and self._place >= log.end:
            items.append(CANCELLED_SENTINEL if log.status is StreamStatus.CANCELLED else END_SENTINEL)
            self._finish()
        return items

    def _gather(self) -> list[StreamEvent]:
        """Return the next events, up to a limit. Starts reading from a file if necessary."""
        log, events = self._log, list[StreamEvent]()
        if self._place < log.first_kept and self._piece() is None:
            self._start_again()
        while (room := (PACKED_EVENTS if self._pieces else MOST_EVENTS) - len(events)) > 0:
            place = self._place + len(events)
            if (piece := self._piece(place)) is None:
                if place < log.first_kept:
                    # The window has moved past the events after the pieces: the next read reports that.
                    break
                block = log.block_at(place)
                if block is None:
                    events += log.since(place, room)
                    break
                if block.data is None:
                    if not events:
                        self._fetch(block)
                    break
                self._pieces.append(Piece(block.first, block.data))
                continue
            events += piece.take(place, room)
        return _within_bounds(events)

    def _piece(self, place: int | None = None) -> Piece | None:
        """Return the piece with the next event, if it was read; drop the pieces before it."""
        place = self._place if place is None else place
        while self._pieces and not self._pieces[0].first <= place < self._pieces[0].end:
            self._pieces.popleft()
        return self._pieces[0] if self._pieces else None

    def _start_again(self) -> None:
        """Continue from the oldest kept event after the window has overtaken this reader, and record the gap."""
        first = self._log.first_kept
        if self._missed is not None:
            self._missed += first - self._place
        self._resumed = self._log.shape.evicted(self._last_id, self._missed)
        self._place = first

    def _fetch(self, block: Block) -> None:
        blocks = self._log.blocks.adjacent(block)
        self._reader.enter(ReaderState.FETCHING)
        self._fetching = asyncio.create_task(self._fetched(blocks), name="stream-block")

    async def _fetched(self, blocks: Sequence[Block]) -> None:
        first, last = blocks[0], blocks[-1]
        assert self._spool is not None
        assert first.file is not None
        try:
            data = await self._spool.read(first.file, first.offset, last.offset + last.length - first.offset)
            pieces = [self._spool.piece_of(data[block.offset - first.offset :][: block.length]) for block in blocks]
            self._pieces.extend(Piece(block.first, piece) for block, piece in zip(blocks, pieces, strict=True))
        except (OSError, ValueError) as error:
            self._reader.enter(self._after_loss(blocks, error))
        else:
            self._reader.enter(ReaderState.READING)
        finally:
            self._fetching = None
        self._wake()

    def _after_loss(self, blocks: Sequence[Block], error: Exception) -> ReaderState:
        if not blocks[-1].dropped:
            _log.warning("events of run %s cannot be read from disk and are lost: %s", self._log.run_id, error)
        if self._log.blocks.end in blocks:
            # Without its end the log is useless.
            return ReaderState.BROKEN
        # As if the window had moved past them: readers get a notice of the gap.
        self._log.drop_before(blocks[-1].end)
        return ReaderState.READING

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("a stream subscription is read by one task at a time")
        # A reader that waits for the disk need not be woken by new events.
        is_fetching = self._reader.state is ReaderState.FETCHING
        self._waiter = asyncio.get_running_loop().create_future() if is_fetching else self._log.waiter()
        try:
            await self._waiter
        finally:
            self._log.leave(self._waiter)
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _arm(self, beat_at: float) -> None:
        # One entry at a time: a busy reader moves its deadline without adding another one.
        if not self._armed:
            self._armed = True
            self._alarms.call_at(beat_at, self._fire)

    def _fire(self) -> None:
        self._armed = False
        if self._waiter is None or self._waiter.done() or self._interval is None:
            return
        beat_at = self._spoken_at + self._interval
        if self._clock.monotonic() >= beat_at - SLACK:
            self._waiter.set_result(None)
        else:
            self._arm(beat_at)

    def _finish(self) -> None:
        self._reader.enter(ReaderState.ENDED)
        self._pieces.clear()
        if self._fetching is not None:
            self._fetching.cancel()
        self._log.readers.discard(self)
