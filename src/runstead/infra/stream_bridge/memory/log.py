"""The log of one run: its events within a window, their ids, and the readers that wait for the next one.

The latest events are objects in memory. If enabled, older ones are packed into blocks, which `spilling` may write to
files. A log does not depend on other runs or on time; the bridge decides how long it is kept.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Final
from weakref import WeakSet

from runstead.runtime.stream_bridge.contract import ResumeResult, StreamEvent, StreamStatus, TerminalKind
from runstead.runtime.stream_bridge.exceptions import StreamBridgeError

from ..offsets import LogOffsets
from .blocks import EVENT_COST, MOST_BYTES, MOST_EVENTS, Block, Blocks, cost_of

_HOT_EVENTS: Final = 2_048
_HOT_BYTES: Final = 1024 * 1024
"""Limits below which events are not packed while a run continues: readers that keep up get the publisher's objects."""
_SMALL: Final = 2_048
"""Bytes up to which a terminal event is not packed into a block and does not count."""
_STATUS_AFTER: Final[dict[TerminalKind, StreamStatus]] = {
    "end": StreamStatus.ENDED,
    "error": StreamStatus.ERRORED,
    "cancel": StreamStatus.CANCELLED,
}


@dataclass(slots=True)
class Meter:
    """Memory that the events of several logs take, in bytes, and its limit."""

    used: int = 0
    limit: int = 2**62


class RunLog:
    """An append-only log with a window over its end.

    A position (place) in the log is the number of events published before it, so that it stays valid while the window
    moves. The terminal event comes after the window and is not part of it.

    Blocks leave the window as a whole, so that the window may be smaller than ``max_bytes`` by up to one block.
    """

    __slots__ = (
        "__weakref__",
        "_begun",
        "_block_bytes",
        "_events",
        "_full_at",
        "_max_bytes",
        "_max_events",
        "_meter",
        "_on_drop",
        "_pack_at",
        "_pack_over",
        "_published",
        "_seq",
        "_waiting",
        "attempt",
        "blocks",
        "gone",
        "kept_bytes",
        "readers",
        "run_id",
        "status",
        "terminal",
    )

    def __init__(
        self,
        run_id: str,
        attempt: int,
        *,
        max_events: int,
        max_bytes: int,
        meter: Meter | None = None,
        on_drop: Callable[[RunLog], None] | None = None,
    ) -> None:
        """Create an empty log. ``meter`` also counts the memory of this log.

        With ``on_drop``, which is called after a block has left the window, older events are packed into blocks.
        """
        self.run_id = run_id
        self.attempt = attempt
        self.status = StreamStatus.OPEN
        self.terminal: StreamEvent | None = None
        self.gone: Callable[[], StreamBridgeError] | None = None
        """Creates the error for readers if no more events will follow although the run has not ended."""
        self.kept_bytes = 0
        self.readers: WeakSet[object] = WeakSet()
        """The current readers. Weak, so that a reader that was dropped without being closed does not count."""
        self._max_events, self._max_bytes = max_events, max_bytes
        self._events: deque[StreamEvent] = deque()
        self.blocks = Blocks()
        """The events before those in memory."""
        self._meter = meter or Meter()
        self._on_drop = on_drop
        self._block_bytes = min(MOST_BYTES, max(max_bytes // 16, 1))
        self._full_at = max_events
        """The number of published events up to which the window need not move because of their number."""
        # Limits on events outside of blocks, and on kept bytes, from which on events are packed.
        self._pack_at, self._pack_over = (_HOT_EVENTS, _HOT_BYTES) if on_drop else (2**62, 2**62)
        self._published = 0
        self._seq = 0
        # (attempt, position of its first event) of each attempt that has published: maps an id to a position.
        self._begun: list[tuple[int, int]] = []
        # In order of arrival, so that a simulation is repeatable: a set is ordered by memory addresses.
        self._waiting: dict[asyncio.Future[None], None] = {}

    @property
    def kept_events(self) -> int:
        return self._published - self.first_kept

    @property
    def first_hot(self) -> int:
        """Return the position of the first event outside of blocks."""
        return self._published - len(self._events)

    @property
    def first_kept(self) -> int:
        """Return the position of the first event that is still kept."""
        first = self.blocks.first
        return self._published - len(self._events) if first is None else first.first

    @property
    def memory(self) -> int:
        """Return the bytes of memory that its events take, approximately, without blocks that are being written."""
        return self._hot + self.blocks.cost

    @property
    def end(self) -> int:
        """Return the position after the last event."""
        return self._published + (self.terminal is not None)

    @property
    def oldest(self) -> str | None:
        if (first := self.blocks.first) is not None:
            attempt, start = next(begun for begun in reversed(self._begun) if begun[1] <= first.first)
            return f"{attempt}-{first.first - start + 1}"
        if self._events:
            return self._events[0].id
        return self.terminal.id if self.terminal else None

    @property
    def shape(self) -> LogOffsets:
        ended = self.terminal is not None
        return LogOffsets(self.attempt, self._published, ended, self.first_kept, self.oldest, self._begun)

    def take_over(self, attempt: int) -> None:
        """Start a higher attempt: its ids begin with its own number, and their sequence starts at 1."""
        self.attempt, self._seq = attempt, 0
        self.status = StreamStatus.OPEN

    def append(self, name: str, data: bytes) -> str:
        """Append an event, move the window, wake readers. The cost does not depend on the log's length."""
        event = StreamEvent(self._next_id(), name, data)
        events = self._events
        events.append(event)
        self._published += 1
        self.kept_bytes += len(data)
        self._meter.used += len(data) + EVENT_COST
        if self.kept_bytes > self._max_bytes or self._published > self._full_at:
            self._trim()
        if len(events) > self._pack_at or (self.kept_bytes > self._pack_over and len(events) > 1):
            self._pack()
        if self._waiting:
            self.wake()
        return event.id

    def append_terminal(self, kind: TerminalKind, data: bytes) -> str:
        self.terminal = StreamEvent(self._next_id(), kind, data, terminal=kind)
        if self._has_large_end:
            self._meter.used += cost_of(self.terminal)
        self.status = _STATUS_AFTER[kind]
        self.wake()
        return self.terminal.id

    def drop_before(self, place: int) -> None:
        """Drop the blocks with events before this position."""
        while (first := self.blocks.first) is not None and first.first < place:
            self._drop_block()

    def drop_to(self, memory: int) -> None:
        """Drop the oldest events until the rest takes at most ``memory`` bytes of memory; the last event stays.

        Events in files are older than those in memory, so they are dropped first.
        """
        left = self.memory
        while self.blocks.first is not None and (left > memory or self.blocks.first.data is None):
            left -= self._drop_block()
        while len(self._events) > 1 and left > memory:
            left -= cost_of(self._events[0])
            self._drop_hot()

    def drop_file(self) -> None:
        """Drop the blocks of the oldest file."""
        first = self.blocks.first
        while self.blocks.first is not None and first is not None and self.blocks.first.file is first.file:
            self._drop_block()

    def block_at(self, place: int) -> Block | None:
        """Return the block with the event at this position; None if that event is outside of blocks."""
        if place < self.first_hot:
            return self.blocks.at(place)
        return self.blocks.end if place == self._published else None

    def pack(self, keep: int) -> None:
        """Pack the oldest events until at most ``keep`` bytes of memory are outside of blocks.

        The terminal event is packed last, if it is large enough.
        """
        while self._events and self._hot > keep:
            self._pack()
        if self.terminal is not None and self._has_large_end and not self._events and self._hot > keep:
            block = Block.of(self._published, [self.terminal])
            self._meter.used += block.cost - cost_of(self.terminal)
            self.blocks.add_end(block)
            self.terminal = StreamEvent(self.terminal.id, self.terminal.event, b"", self.terminal.terminal)

    def begin_writing(self, at_most: int) -> Sequence[Block]:
        """Return the oldest blocks in memory, marked as being written; see `Blocks.begin_writing`."""
        writing = self.blocks.begin_writing(at_most)
        self._meter.used -= sum(block.cost for block in writing)
        return writing

    def failed_writing(self) -> None:
        """Return the blocks to memory after a failed write."""
        self._meter.used += self.blocks.failed()

    def leave_meter(self) -> None:
        """Stop counting towards the memory of all logs."""
        memory = self.memory
        self._meter.used -= memory
        self._meter = Meter(memory)

    @property
    def has_more_to_write(self) -> bool:
        """Return whether memory contains events that are worth a block."""
        return bool(self._events or self.blocks.unwritten) or self._has_large_end

    @property
    def _hot(self) -> int:
        """Return the bytes of memory of events outside of blocks."""
        end = cost_of(self.terminal) if self.terminal is not None and self._has_large_end else 0
        return self.kept_bytes - self.blocks.size + len(self._events) * EVENT_COST + end

    @property
    def _has_large_end(self) -> bool:
        return self.terminal is not None and self.blocks.end is None and len(self.terminal.data) > _SMALL

    def _pack(self) -> None:
        sizes = list(accumulate([len(event.data) for event in islice(self._events, MOST_EVENTS)]))
        count = max(bisect_right(sizes, self._block_bytes), 1)
        first = self.first_hot
        block = Block.of(first, [self._events.popleft() for _ in range(count)])
        self._meter.used += block.cost - block.size - count * EVENT_COST
        self.blocks.add(block)
        self._pack_over += block.size

    def _trim(self) -> None:
        """Move the window. The last event stays, however large it is: readers that keep up get it."""
        while (first := self.blocks.first) is not None and (left := self.kept_events - first.count):
            if self.kept_bytes <= self._max_bytes and left < self._max_events:
                self._full_at = first.first + self._max_events
                return
            self._drop_block()
        events = self._events
        while len(events) > 1 and (len(events) > self._max_events or self.kept_bytes > self._max_bytes):
            self._drop_hot()
        self._full_at = self._published - len(events) + self._max_events

    def _drop_block(self) -> int:
        assert self.blocks.first is not None
        self.kept_bytes -= self.blocks.first.size
        self._pack_over -= self.blocks.first.size
        freed = self.blocks.drop_first()
        self._meter.used -= freed
        if self._on_drop is not None:
            self._on_drop(self)
        return freed

    def _drop_hot(self) -> None:
        length = len(self._events.popleft().data)
        self.kept_bytes -= length
        self._meter.used -= length + EVENT_COST

    def since(self, place: int, at_most: int) -> list[StreamEvent]:
        """Return up to ``at_most`` events from ``place`` on, which must not be in a block.

        The cost is proportional to the result; for a reader that is far behind, at most a walk along the log.
        """
        missing = max(self._published - place, 0)
        if missing > at_most:
            start = len(self._events) - missing
            return list(islice(self._events, start, start + at_most))
        events = list(islice(reversed(self._events), missing))
        events.reverse()
        if self.terminal and place < self.end and self.blocks.end is None:
            events.append(self.terminal)
        return events

    def resume(self, last_event_id: str | None) -> tuple[int, ResumeResult]:
        """Return the start position of a reader that has seen ``last_event_id``; see ResumeResult."""
        return self.shape.resume(last_event_id)

    def waiter(self) -> asyncio.Future[None]:
        """Return a future that the next `wake` completes. Return it with `leave`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = None
        return future

    def leave(self, future: asyncio.Future[None]) -> None:
        self._waiting.pop(future, None)

    def wake(self) -> None:
        """Wake all waiting readers. Readers that were woken and have not read yet are not woken again."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def shut(self, gone: Callable[[], StreamBridgeError]) -> None:
        """Announce that no more events follow.

        Readers get ``gone`` after the remaining events, unless the run has ended.
        """
        self.gone = gone
        self.wake()

    def _next_id(self) -> str:
        if self._seq == 0:
            self._begun.append((self.attempt, self._published))
        self._seq += 1
        return f"{self.attempt}-{self._seq}"
