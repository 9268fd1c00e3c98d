"""Pack the events of a run's log into compressed blocks, and find positions among them. Pure.

A block has consecutive events of one attempt, so that its ids follow from the first one. Events that are missing
between two blocks are a gap for readers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from zstandard import ZstdCompressor, ZstdDecompressor, ZstdError

from runstead.infra.stream_bridge.memory.blocks import MOST_BYTES, MOST_EVENTS, Piece, encode
from runstead.infra.stream_bridge.offsets import LogOffsets
from runstead.runtime.stream_bridge.contract import StreamEvent
from runstead.runtime.stream_bridge.event_ids import numbers_of, position_after

_LEVEL: Final = 3


@dataclass(frozen=True, slots=True)
class ArchiveBlock:
    """Compressed events, from ``{attempt}-{first_seq}`` on."""

    attempt: int
    first_seq: int
    events: int
    data: bytes


class Packer:
    """Packs events in the order in which they are added. For one thread at a time."""

    def __init__(self) -> None:
        self._waiting: list[StreamEvent] = []
        self._bytes = 0
        self._next: tuple[int, int] | None = None
        self._first = (0, 0)
        self._compressor = ZstdCompressor(level=_LEVEL)

    def add(self, events: Sequence[StreamEvent]) -> list[ArchiveBlock]:
        """Return the blocks that are full. The terminal event completes the last ones."""
        blocks: list[ArchiveBlock] = []
        for event in events:
            numbers = numbers_of(event.id)
            if numbers is None or (self._next is not None and numbers < self._next):
                # Without an id of its own, or for the second time: no reader could resume after it.
                continue
            size = len(event.data)
            is_full = len(self._waiting) >= MOST_EVENTS or self._bytes + size > MOST_BYTES
            if self._waiting and (is_full or numbers != self._next or event.terminal is not None):
                blocks.append(self._block())
            if not self._waiting:
                self._first = numbers
            self._waiting.append(event)
            self._bytes += size
            self._next = (numbers[0], numbers[1] + 1)
            if event.terminal is not None:
                blocks.append(self._block())
        return blocks

    def _block(self) -> ArchiveBlock:
        events, self._waiting, self._bytes = self._waiting, [], 0
        return ArchiveBlock(*self._first, len(events), self._compressor.compress(encode(events)))


def unpack(first: int, data: bytes) -> Piece:
    """Return the events of a block whose first event has the position ``first``. Raises ValueError."""
    try:
        return Piece(first, ZstdDecompressor().decompress(data))
    except ZstdError as error:
        raise ValueError(f"not a block of events: {error}") from error


@dataclass(frozen=True, slots=True)
class ArchivedSpan:
    """Position and id of the first event of a block, and the number of its events."""

    first: int
    attempt: int
    first_seq: int
    events: int

    @property
    def end(self) -> int:
        return self.first + self.events


class ArchiveIndex:
    """Positions of the blocks of one archive, given as (attempt, first seq, events) in the order of their ids."""

    def __init__(self, blocks: Sequence[tuple[int, int, int]]) -> None:
        self._begun: list[tuple[int, int]] = []
        self._spans: list[ArchivedSpan] = []
        end = 0
        for attempt, first_seq, events in blocks:
            if not self._begun or self._begun[-1][0] != attempt:
                self._begun.append((attempt, end))
            span = ArchivedSpan(self._begun[-1][1] + first_seq - 1, attempt, first_seq, events)
            self._spans.append(span)
            end = span.end
        self._end = end

    @property
    def offsets(self) -> LogOffsets:
        first = self._spans[0]
        oldest = f"{first.attempt}-{first.first_seq}"
        return LogOffsets(self._begun[-1][0], self._end - 1, True, first.first, oldest, self._begun)

    def at(self, place: int) -> ArchivedSpan:
        """Return the block with the event at this position, or the next block if that event is missing."""
        index = bisect_right(self._spans, place, key=lambda span: span.first) - 1
        if index >= 0 and place < self._spans[index].end:
            return self._spans[index]
        return self._spans[index + 1]

    def before(self, place: int) -> str:
        """Return the id after which the event at this position is the next one."""
        attempt, start = next(begun for begun in reversed(self._begun) if begun[1] <= place)
        return position_after(attempt, place - start)
