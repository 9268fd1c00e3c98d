"""Events of a log in blocks: byte strings that are stored, written and read as a whole.

A block is encoded in columns, so that encoding is a few joins without a loop over fields. Files contain blocks, and so
does memory for older events: small events then take a fraction of the memory, and the garbage collector has no objects
to scan. Pure.
"""

from __future__ import annotations

import json
import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from typing import Final

from runstead.runtime.stream_bridge.contract import StreamEvent, TerminalKind

from .spool import SpoolFile

MOST_EVENTS: Final = 512
MOST_BYTES: Final = 256 * 1024
"""Maximum size of a block, which is read and decoded as a whole; a single larger event forms a block of its own."""
EVENT_COST: Final = 200
"""Bytes of memory that an event takes in addition to its data, as measured."""
BLOCK_COST: Final = 300
"""Bytes of memory that a block takes in addition to its data."""
_HEAD: Final = struct.Struct("<BIII")


@dataclass(slots=True, eq=False)
class Block:
    """Consecutive events, starting at position ``first``. ``size`` bytes of their data count towards the log's window.

    The encoded events are ``data``, or the ``length`` bytes of ``file`` from ``offset`` on.
    """

    first: int
    count: int
    size: int
    data: bytes | None
    length: int
    file: SpoolFile | None = None
    offset: int = 0
    dropped: bool = False
    """True once the window has moved past it."""

    @classmethod
    def of(cls, first: int, events: Sequence[StreamEvent]) -> Block:
        data = encode(events)
        size = 0 if events[0].terminal else sum([len(event.data) for event in events])
        return cls(first, len(events), size, data, len(data))

    @property
    def end(self) -> int:
        return self.first + self.count

    @property
    def cost(self) -> int:
        """Return the bytes of memory that it takes while its data is in memory."""
        return self.length + BLOCK_COST


class Blocks:
    """The blocks of one log, in order and without gaps: in files, then being written, then in memory."""

    __slots__ = ("_blocks", "cost", "end", "files", "size", "unwritten", "writing")

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self.end: Block | None = None
        """The terminal event, once it is in a block of its own. It is not part of the window."""
        self.size = 0
        """Bytes of all other blocks that count towards the window."""
        self.unwritten: list[Block] = []
        """The blocks in memory that are not being written."""
        self.cost = 0
        """The bytes of memory of the unwritten blocks."""
        self.writing: Sequence[Block] = ()
        """The blocks that are being written to a file; they stay in memory until that is complete."""
        self.files: list[SpoolFile] = []
        """The files of the blocks, in order; new blocks are written to the last one."""

    def __len__(self) -> int:
        return len(self._blocks)

    @property
    def first(self) -> Block | None:
        return self._blocks[0] if self._blocks else None

    def add(self, block: Block) -> None:
        self._blocks.append(block)
        self.unwritten.append(block)
        self.size += block.size
        self.cost += block.cost

    def add_end(self, block: Block) -> None:
        self.end = block
        self.unwritten.append(block)
        self.cost += block.cost

    def drop_first(self) -> int:
        """Drop the first block, which has left the window. Return the bytes of memory that this frees."""
        block = self._blocks.pop(0)
        block.dropped = True
        self.size -= block.size
        if self.unwritten and self.unwritten[0] is block:
            del self.unwritten[0]
            self.cost -= block.cost
            return block.cost
        return 0

    def at(self, place: int) -> Block:
        """Return the block that contains this position. The position must be in one of the blocks."""
        return self._blocks[self._index(place)]

    def adjacent(self, block: Block) -> Sequence[Block]:
        """Return a block in a file and those after it that are read with it in one operation."""
        if block is self.end:
            return [block]
        found = [block]
        events, length = block.count, block.length
        for other in islice(self._blocks, self._index(block.first) + 1, None):
            events, length = events + other.count, length + other.length
            is_next = other.file is block.file and other.offset == found[-1].offset + found[-1].length
            if not is_next or events > MOST_EVENTS or length > MOST_BYTES:
                break
            found.append(other)
        return found

    def begin_writing(self, at_most: int) -> Sequence[Block]:
        """Return the oldest blocks in memory, at least one, in ``at_most`` bytes, and mark them as being written."""
        length = count = 0
        for block in self.unwritten:
            if count and length + block.length > at_most:
                break
            length, count = length + block.length, count + 1
        self.writing, self.unwritten = self.unwritten[:count], self.unwritten[count:]
        self.cost -= sum(block.cost for block in self.writing)
        return self.writing

    def wrote(self, file: SpoolFile, offset: int) -> int:
        """Record that the blocks being written are in ``file`` from ``offset`` on. Return their end."""
        for block in self.writing:
            block.file, block.offset, block.data = file, offset, None
            offset += block.length
        self.writing = ()
        return offset

    def failed(self) -> int:
        """Return the blocks to memory after a failed write.

        Return the bytes of memory of those that are still needed.
        """
        wanted = [block for block in self.writing if not block.dropped]
        self.unwritten[:0] = wanted
        self.writing = ()
        cost = sum(block.cost for block in wanted)
        self.cost += cost
        return cost

    @property
    def idle_files(self) -> Sequence[SpoolFile]:
        """Return the files that contain no block any more."""
        first = self.first or self.end
        if first is not None and first.file is not None:
            return self.files[: self.files.index(first.file)] if self.files else ()
        # Everything in memory will be written to the last file, or to a later one.
        return self.files[:-1] if first is not None or self.writing else self.files[:]

    def _index(self, place: int) -> int:
        return bisect_right(self._blocks, place, key=lambda block: block.first) - 1


def cost_of(event: StreamEvent) -> int:
    """Return the bytes of memory that an event takes."""
    return len(event.data) + EVENT_COST


def encode(events: Sequence[StreamEvent]) -> bytes:
    """Return the events as one byte string. A terminal event must be alone in its block."""
    names: dict[str, int] = {}
    data = [event.data for event in events]
    labels = [names.setdefault(event.event, len(names)) for event in events]
    ids = "\n".join([event.id for event in events]).encode()
    texts = json.dumps(list(names)).encode()
    count = len(events)
    return b"".join(
        (
            _HEAD.pack(events[0].terminal is not None, count, len(ids), len(texts)),
            struct.pack(f"<{count}I{count}H", *map(len, data), *labels),
            ids,
            texts,
            *data,
        )
    )


class Piece:
    """An encoded block that is being read: events are created when taken, since that is the expensive part."""

    __slots__ = ("_data", "_ids", "_is_terminal", "_labels", "_lengths", "_offsets", "_texts", "count", "first")

    def __init__(self, first: int, data: bytes) -> None:
        """Decode the structure of a block. Raises ValueError if ``data`` is no encoded block."""
        try:
            self._is_terminal, count, ids_length, texts_length = _HEAD.unpack_from(data)
            numbers = struct.unpack_from(f"<{count}I{count}H", data, _HEAD.size)
            at = _HEAD.size + 6 * count
            self._ids = data[at : at + ids_length].decode().split("\n")
            at += ids_length
            self._texts = json.loads(data[at : at + texts_length])
            self._lengths, self._labels = numbers[:count], numbers[count:]
            self._offsets = list(accumulate(self._lengths, initial=at + texts_length))
        except struct.error as error:
            raise ValueError(f"not a block of events: {error}") from error
        if self._offsets[-1] != len(data) or len(self._ids) != count or max(self._labels) >= len(self._texts):
            raise ValueError(f"not a block of events: it has {len(data)} bytes")
        self.first, self.count, self._data = first, int(count), data

    @property
    def end(self) -> int:
        return self.first + self.count

    def take(self, place: int, at_most: int) -> list[StreamEvent]:
        """Return the next events from position ``place`` on, which must be in this piece."""
        start = place - self.first
        stop = min(start + at_most, self.count)
        data, texts, offsets = self._data, self._texts, self._offsets
        events = [
            StreamEvent(self._ids[n], texts[self._labels[n]], data[offsets[n] : offsets[n + 1]])
            for n in range(start, stop)
        ]
        if self._is_terminal:
            kinds: tuple[TerminalKind, ...] = ("end", "error", "cancel")
            return [replace(event, terminal=kind) for event in events for kind in kinds if kind == event.event]
        return events
