"""The archive of streams on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from runstead.infra.encryption.keyring import Keyring
from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.engines.sqlite import SqliteDatabase
from runstead.infra.frame_archive.sql import SqlFrameArchive
from runstead.infra.key_rotation.recoding import encrypted_tables
from runstead.infra.key_rotation.rewriting import Usage, rewrite, usage_of
from runstead.infra.storage.database import Database
from runstead.infra.storage.schema import frame_archives, frame_blocks
from runstead.infra.storage.sqlite import open_storage
from runstead.runtime.stream_bridge.contract import END_SENTINEL, ResumeResult, StreamEvent
from runstead.runtime.stream_bridge.exceptions import StreamNotFound
from runstead.testing.conformance.frame_archive import FrameArchiveConformance, log_of, pages, read_all
from runstead.testing.conformance.run_storage import RunStorage
from tests.servers.postgres import PostgresSchema
from tests.servers.sqlite import current
from tests.servers.stores import stores_over


@pytest.fixture
def archive(database: Database, storage: RunStorage) -> SqlFrameArchive:
    return SqlFrameArchive(database, storage.clock)


class TestSqliteFrameArchive(FrameArchiveConformance):
    pass


class TestPostgresFrameArchive(FrameArchiveConformance):
    @pytest.fixture
    async def database(self, postgres_schema: PostgresSchema) -> PostgresDatabase:
        return await postgres_schema.emptied()


async def test_a_long_stream_is_compressed_and_written_in_several_transactions(
    database: SqliteDatabase, storage: RunStorage, archive: SqlFrameArchive
) -> None:
    run = await storage.ended(await storage.accept())
    # Random data does not shrink, so that it fills more than one transaction.
    noise = [StreamEvent(f"1-{number}", "values", os.urandom(30_000).hex().encode()) for number in range(1, 61)]
    events = [*noise, StreamEvent("1-61", "end", b"null", "end")]
    assert await archive.store(run.run_id, pages(events, size=10))
    assert (await read_all(archive, run.run_id))[0] == [*events, END_SENTINEL]
    size = func.sum(func.length(frame_blocks.c.data))
    stored = await database.read(lambda connection: connection.execute(select(size)).scalar_one())
    assert stored < sum(len(event.data) for event in events) * 0.6
    recorded = select(frame_archives.c.size)
    assert await database.read(lambda connection: connection.execute(recorded).scalar_one()) == stored


async def test_a_damaged_block_is_a_gap_and_a_damaged_end_is_no_stream(
    database: SqliteDatabase, storage: RunStorage, archive: SqlFrameArchive
) -> None:
    run = await storage.ended(await storage.accept())
    events = log_of(1_100)
    await archive.store(run.run_id, pages(events))
    broken = update(frame_blocks).where(frame_blocks.c.first_seq == 513).values(data=b"no block")
    await database.write(lambda connection: connection.execute(broken))
    items, starts = await read_all(archive, run.run_id)
    assert items == [*events[:512], *events[1_024:], END_SENTINEL]
    assert starts[1:] == [ResumeResult("evicted", "1-512", "1-1025", 512)]
    broken = update(frame_blocks).values(data=b"no block")
    await database.write(lambda connection: connection.execute(broken))
    with pytest.raises(StreamNotFound):
        await read_all(archive, run.run_id)


async def test_events_are_encrypted_and_rewritten_with_a_new_key(tmp_path: Path) -> None:
    old, new = Keyring([b"o" * 32]), Keyring([b"n" * 32, b"o" * 32])
    file = current(tmp_path / "runs.sqlite")
    events = log_of(20)

    async with open_storage(file) as database:
        storage = stores_over(database)
        plain = await storage.ended(await storage.accept())
        await SqlFrameArchive(database, storage.clock).store(plain.run_id, pages(events))
    async with open_storage(file, old) as database:
        storage = stores_over(database)
        run = await storage.ended(await storage.accept())
        archive = SqlFrameArchive(database, storage.clock)
        await archive.store(run.run_id, pages(events))
        for one in (plain, run):
            assert (await read_all(archive, one.run_id))[0] == [*events, END_SENTINEL]
    async with open_storage(file) as database:
        tables = [table for table in encrypted_tables() if table is frame_blocks]
        usage = Usage()
        await usage_of(database, tables, new, usage)
        # A block of twenty events, and the terminal event.
        assert usage.by_key == {old.key_id: 2, "": 2}
        await rewrite(database, tables, new, lambda *_: None)
    async with open_storage(file, new) as database:
        archive = SqlFrameArchive(database, storage.clock)
        for one in (plain, run):
            assert (await read_all(archive, one.run_id))[0] == [*events, END_SENTINEL]
