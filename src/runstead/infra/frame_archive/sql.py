"""The archive of streams in SQL. Foreign keys delete an archive with its run, and blocks with their archive."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from runstead.infra.storage.access_predicates import is_storable
from runstead.infra.storage.database import Database
from runstead.infra.storage.schema import frame_archives as archives
from runstead.infra.storage.schema import frame_blocks as blocks
from runstead.infra.storage.schema import runs
from runstead.runtime.clock import Clock
from runstead.runtime.runs.types import RunId
from runstead.runtime.stream_bridge.contract import StreamEvent
from runstead.runtime.stream_bridge.exceptions import StreamNotFound

from .packing import ArchiveBlock, ArchiveIndex, Packer
from .reader import ArchiveReader

_TRANSACTION: Final = 1024 * 1024
"""Compressed bytes to write in one transaction."""
_INLINE: Final = 16 * 1024
"""Bytes of events up to which compressing takes less time than handing them to a thread."""
_UNFINISHED: Final = timedelta(hours=1)
"""Age of an incomplete archive from which on its writer is regarded as dead."""
_BATCH: Final = 500


class SqlFrameArchive:
    """FrameArchive over a Database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def list_missing(self, run_ids: Collection[RunId]) -> Sequence[RunId]:
        statement = select(runs.c.run_id).where(runs.c.run_id.in_(list(run_ids)), _is_missing())
        return await self._database.read(lambda connection: list(connection.execute(statement).scalars()), single=True)

    async def list_missing_between(
        self, after: datetime, until: datetime, limit: int
    ) -> Sequence[tuple[datetime, RunId]]:
        def work(connection: Connection) -> list[tuple[datetime, RunId]]:
            ended = and_(runs.c.ended_at.is_not(None), _is_missing())
            columns = select(runs.c.ended_at, runs.c.run_id).order_by(runs.c.ended_at, runs.c.run_id)
            page = columns.where(ended, runs.c.ended_at > after, runs.c.ended_at <= until).limit(limit)
            found = [(at, run_id) for at, run_id in connection.execute(page)]
            if len(found) < limit:
                return found
            last = found[-1][0]
            same = columns.where(ended, runs.c.ended_at == last)
            return [each for each in found if each[0] < last] + [(at, one) for at, one in connection.execute(same)]

        return await self._database.read(work)

    async def store(self, run_id: RunId, pages: AsyncIterator[Sequence[StreamEvent]]) -> bool:
        if not is_storable(run_id):
            return False
        writing = _Writing(self._database, run_id, self._clock.now())
        packer, ready, size = Packer(), list[ArchiveBlock](), 0
        try:
            async for events in pages:
                is_small = sum(len(event.data) for event in events) <= _INLINE
                packed = packer.add(events) if is_small else await asyncio.to_thread(packer.add, events)
                ready += packed
                size += sum(len(block.data) for block in packed)
                if is_last := events[-1].terminal is not None:
                    return await writing.add(ready, is_last=is_last)
                if size >= _TRANSACTION:
                    if not await writing.add(ready, is_last=False):
                        return False
                    ready, size = [], 0
        finally:
            await writing.close()
        raise ValueError(f"the events of run {run_id} end without a terminal event")

    async def subscribe(self, run_id: RunId, attempt: int, last_event_id: str) -> ArchiveReader:
        if not is_storable(run_id):
            raise StreamNotFound(run_id)

        def work(connection: Connection) -> tuple[str, ArchiveIndex] | None:
            complete = and_(archives.c.run_id == run_id, archives.c.is_complete, archives.c.attempt >= attempt)
            archive_id = connection.execute(select(archives.c.archive_id).where(complete)).scalar()
            if archive_id is None:
                return None
            key = (blocks.c.attempt, blocks.c.first_seq)
            statement = select(*key, blocks.c.events).where(blocks.c.archive_id == archive_id).order_by(*key)
            return archive_id, ArchiveIndex([tuple(row) for row in connection.execute(statement)])

        found = await self._database.read(work)
        if found is None:
            raise StreamNotFound(run_id)
        return ArchiveReader(self._database, run_id, *found, last_event_id)

    async def delete_before(self, time: datetime) -> int:
        abandoned = and_(~archives.c.is_complete, archives.c.created_at < self._clock.now() - _UNFINISHED)
        where = or_(archives.c.created_at < time, abandoned)
        deleted, found = 0, _BATCH
        while found == _BATCH:
            found = await self._database.write(lambda connection: _delete_oldest(connection, where))
            deleted += found
        return deleted

    async def delete_beyond(self, size: int) -> int:
        deleted, found = 0, _BATCH
        while found == _BATCH:
            found = await self._database.write(lambda connection: _delete_beyond(connection, size))
            deleted += found
        return deleted


class _Writing:
    """One archive that is being written."""

    def __init__(self, database: Database, run_id: RunId, now: datetime) -> None:
        self._database, self._run_id, self._now = database, run_id, now
        self._archive_id = uuid.uuid4().hex
        self._has_begun = self._is_over = False

    async def add(self, ready: Sequence[ArchiveBlock], *, is_last: bool) -> bool:
        """Write blocks; return False if the run was deleted, or another writer has completed an archive of it."""

        def work(connection: Connection) -> bool:
            size = sum(len(block.data) for block in ready)
            run = select(runs.c.run_id).where(runs.c.run_id == self._run_id)
            # Locked, so that the run is not deleted before the row that refers to it is inserted; by the last write,
            # also against other writers, one of which would not see the archive of the other.
            locked = run.with_for_update(read=not is_last, key_share=True)
            if connection.execute(locked).first() is None:
                return False
            if not (self._continue(connection, size) if self._has_begun else self._begin(connection, size)):
                return False
            connection.execute(insert(blocks), [self._row(block) for block in ready])
            if is_last:
                self._complete(connection, ready[-1].attempt)
            return True

        self._is_over = is_last
        self._has_begun = await self._database.write(work, durable=False)
        return self._has_begun

    async def close(self) -> None:
        """Delete what was written of an archive that will not be completed."""
        if self._has_begun and not self._is_over:
            unfinished = delete(archives).where(archives.c.archive_id == self._archive_id)
            await self._database.write(lambda connection: connection.execute(unfinished))

    def _begin(self, connection: Connection, size: int) -> bool:
        row = {"archive_id": self._archive_id, "run_id": self._run_id, "attempt": 0, "is_complete": False}
        connection.execute(insert(archives), {**row, "created_at": self._now, "size": size})
        return True

    def _continue(self, connection: Connection, size: int) -> bool:
        own = update(archives).where(archives.c.archive_id == self._archive_id)
        return connection.execute(own.values(size=archives.c.size + size)).rowcount == 1

    def _complete(self, connection: Connection, attempt: int) -> None:
        others = and_(archives.c.run_id == self._run_id, archives.c.archive_id != self._archive_id)
        connection.execute(delete(archives).where(others))
        own = update(archives).where(archives.c.archive_id == self._archive_id)
        connection.execute(own.values(is_complete=True, attempt=attempt))

    def _row(self, block: ArchiveBlock) -> dict[str, object]:
        return {
            "archive_id": self._archive_id,
            "attempt": block.attempt,
            "first_seq": block.first_seq,
            "events": block.events,
            "data": block.data,
        }


def _is_missing() -> ColumnElement[bool]:
    archived = select(archives.c.archive_id).where(
        archives.c.run_id == runs.c.run_id, archives.c.is_complete, archives.c.attempt >= runs.c.attempt
    )
    return and_(runs.c.ended_at.is_not(None), runs.c.started_at.is_not(None), ~runs.c.temporary, ~archived.exists())


def _delete_oldest(connection: Connection, where: ColumnElement[bool]) -> int:
    found = select(archives.c.archive_id).where(where).order_by(archives.c.created_at).limit(_BATCH)
    return _delete(connection, list(connection.execute(found).scalars()))


def _delete_beyond(connection: Connection, size: int) -> int:
    total = connection.execute(select(func.coalesce(func.sum(archives.c.size), 0))).scalar_one()
    surplus, old = int(total) - size, list[str]()
    if surplus <= 0:
        return 0
    oldest: Any = select(archives.c.archive_id, archives.c.size).order_by(archives.c.created_at).limit(_BATCH)
    for archive_id, bytes_ in connection.execute(oldest):
        if surplus <= 0:
            break
        old.append(archive_id)
        surplus -= bytes_
    return _delete(connection, old)


def _delete(connection: Connection, archive_ids: Sequence[str]) -> int:
    connection.execute(delete(archives).where(archives.c.archive_id.in_(archive_ids)))
    return len(archive_ids)
