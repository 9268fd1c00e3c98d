"""A reader's subscription to an archived stream."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, select

from runstead.infra.storage.database import Database
from runstead.infra.storage.schema import frame_blocks as blocks
from runstead.infra.stream_bridge.memory.blocks import Piece
from runstead.runtime.stream_bridge.contract import (
    CANCELLED_SENTINEL,
    END_SENTINEL,
    ResumeResult,
    Sentinel,
    StreamEvent,
    StreamItem,
)
from runstead.runtime.stream_bridge.exceptions import StreamNotFound

from .packing import ArchivedSpan, ArchiveIndex, unpack

_EVENTS: Final = 128
"""Maximum number of events of one read, so that other requests are served in between."""

_log = logging.getLogger(__name__)


class ArchiveReader:
    """A StreamSubscription over a complete archive. For one task at a time; it holds one block in memory."""

    def __init__(
        self, database: Database, run_id: str, archive_id: str, index: ArchiveIndex, last_event_id: str
    ) -> None:
        self._database, self._run_id, self._archive_id, self._index = database, run_id, archive_id, index
        self._place, self._resumed = index.offsets.resume(last_event_id)
        # The last id that the reader was given.
        self._last_id = last_event_id if self._resumed.status in ("resumed", "evicted") else None
        self._missed = self._resumed.gap_count if self._resumed.status == "evicted" else 0
        self._piece: Piece | None = None
        self._is_over = False

    @property
    def resumed(self) -> ResumeResult:
        return self._resumed

    async def read(self) -> Sequence[StreamItem]:
        while not self._is_over:
            if self._place > self._index.offsets.published:
                return await self._end()
            span = self._index.at(self._place)
            piece = self._piece
            if piece is None or not piece.first <= self._place < piece.end:
                piece = await self._load(span)
            if piece is None:
                # A damaged block. Without its end the stream is useless, and readers use the record instead.
                if span.end > self._index.offsets.published:
                    raise StreamNotFound(self._run_id)
                self._skip_to(span.end)
                continue
            if self._place < span.first:
                self._skip_to(span.first)
            return self._take(piece)
        return ()

    async def aclose(self) -> None:
        self._is_over, self._piece = True, None

    def _take(self, piece: Piece) -> Sequence[StreamItem]:
        events = piece.take(self._place, _EVENTS)
        items: list[StreamItem] = list(events)
        last = events[-1]
        self._piece, self._place = piece, self._place + len(events)
        self._last_id, self._missed = last.id, 0
        if last.terminal is not None:
            items.append(_sentinel(last))
            self._is_over, self._piece = True, None
        return items

    async def _end(self) -> Sequence[StreamItem]:
        """Return the sentinel for a reader that has seen the terminal event."""
        published = self._index.offsets.published
        piece = await self._load(self._index.at(published))
        self._is_over = True
        return [END_SENTINEL if piece is None else _sentinel(piece.take(published, 1)[0])]

    def _skip_to(self, place: int) -> None:
        """Continue behind events that the archive lacks, and record the gap."""
        if self._missed is not None:
            self._missed += place - self._place
        span = self._index.at(place)
        oldest = f"{span.attempt}-{span.first_seq}"
        self._resumed = ResumeResult("evicted", self._last_id, oldest, self._missed, self._index.before(place))
        self._place = place

    async def _load(self, span: ArchivedSpan) -> Piece | None:
        def work(connection: Connection) -> Piece | None:
            statement = select(blocks.c.data).where(
                blocks.c.archive_id == self._archive_id,
                blocks.c.attempt == span.attempt,
                blocks.c.first_seq == span.first_seq,
            )
            data = connection.execute(statement).scalar()
            if data is None:
                raise StreamNotFound(self._run_id)
            try:
                return unpack(span.first, bytes(data))
            except ValueError as error:
                _log.warning("archived events of run %s cannot be read and are lost: %s", self._run_id, error)
                return None

        return await self._database.read(work)


def _sentinel(terminal: StreamEvent) -> Sentinel:
    return CANCELLED_SENTINEL if terminal.terminal == "cancel" else END_SENTINEL
