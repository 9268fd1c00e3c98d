"""The SQLite engine: group commit, isolated failures, and shutdown that leaves no caller waiting."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from runstead.infra.engines.sqlite import SqliteDatabase, open_sqlite
from runstead.resources.storage_errors import (
    StorageBusy,
    StorageClosed,
    StorageCorrupt,
    StorageFull,
    StorageReadOnly,
    StorageUnusable,
)


@asynccontextmanager
async def opened(
    path: Path, *, prepare: Callable[[sqlite3.Connection], None] | None = None
) -> AsyncIterator[SqliteDatabase]:
    """A database with one table, whose key is ``id``."""
    async with open_sqlite(path, prepare=prepare) as database:
        await database.write(lambda connection: run(connection, "CREATE TABLE IF NOT EXISTS t (id TEXT PRIMARY KEY)"))
        yield database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    async with opened(tmp_path / "a.sqlite") as database:
        yield database


def run(connection: Connection, statement: str, *values: Any) -> None:
    connection.exec_driver_sql(statement, values)


def inserting(key: str) -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        run(connection, "INSERT INTO t VALUES (?)", key)
        return key

    return work


def keys_of(connection: Connection) -> set[str]:
    return set(connection.exec_driver_sql("SELECT id FROM t").scalars())


class Gate:
    """Blocks the writer in the middle of a piece of work, so that others queue up behind it."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def work(self, connection: Connection) -> None:
        self.entered.set()
        assert self.opened.wait(10)


async def held(database: SqliteDatabase) -> tuple[Gate, asyncio.Task[None]]:
    gate = Gate()
    waiting = asyncio.create_task(database.write(gate.work))
    await asyncio.to_thread(gate.entered.wait, 10)
    return gate, waiting


async def test_written_row_is_read(database: SqliteDatabase) -> None:
    assert await database.write(inserting("a")) == "a"
    assert await database.read(keys_of) == {"a"}


async def test_written_row_is_read_after_reopening(tmp_path: Path) -> None:
    async with opened(tmp_path / "a.sqlite") as database:
        await database.write(inserting("a"))
    async with opened(tmp_path / "a.sqlite") as database:
        assert await database.read(keys_of) == {"a"}


async def test_concurrent_writes_share_a_commit(tmp_path: Path) -> None:
    said: list[str] = []
    async with opened(tmp_path / "a.sqlite", prepare=lambda c: c.set_trace_callback(said.append)) as database:
        gate, waiting = await held(database)
        writes = [asyncio.create_task(database.write(inserting(str(n)))) for n in range(200)]
        await asyncio.sleep(0)
        before = said.count("COMMIT")
        gate.opened.set()
        await asyncio.gather(waiting, *writes)
        assert said.count("COMMIT") - before == 2
        assert len(await database.read(keys_of)) == 200


async def test_failed_work_rolls_back_only_itself(database: SqliteDatabase) -> None:
    def half(connection: Connection) -> None:
        run(connection, "INSERT INTO t VALUES ('half')")
        raise LookupError("not this one")

    gate, waiting = await held(database)
    writes = [
        asyncio.create_task(database.write(work)) for work in (inserting("a"), half, inserting("a"), inserting("b"))
    ]
    await asyncio.sleep(0)
    gate.opened.set()
    await waiting
    first, failed, taken, last = await asyncio.gather(*writes, return_exceptions=True)
    assert (first, last) == ("a", "b")
    assert isinstance(failed, LookupError)
    assert isinstance(taken, IntegrityError)
    assert await database.read(keys_of) == {"a", "b"}


@pytest.mark.parametrize("error", [KeyError("k"), StopIteration(), SystemExit(3), KeyboardInterrupt()], ids=repr)
async def test_writer_survives_any_exception_of_work(database: SqliteDatabase, error: BaseException) -> None:
    def work(connection: Connection) -> None:
        raise error

    raised = await _caught(database, work)
    assert type(raised) is (RuntimeError if isinstance(error, StopIteration) else type(error))
    assert await database.write(inserting("a")) == "a"


async def _caught(database: SqliteDatabase, work: Callable[[Connection], None]) -> BaseException | None:
    try:
        await database.write(work)
    except BaseException as error:
        return error
    return None


async def test_cancelled_queued_write_is_not_executed(database: SqliteDatabase) -> None:
    gate, waiting = await held(database)
    gone = asyncio.create_task(database.write(inserting("gone")))
    stays = asyncio.create_task(database.write(inserting("stays")))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    gate.opened.set()
    await asyncio.gather(waiting, stays)
    assert gone.cancelled()
    assert await database.read(keys_of) == {"stays"}


async def test_committed_callback_runs_when_the_caller_was_cancelled(database: SqliteDatabase) -> None:
    told: list[str] = []
    gate = Gate()

    def work(connection: Connection) -> str:
        gate.work(connection)
        return inserting("a")(connection)

    leaving = asyncio.create_task(database.write(work, committed=told.append))
    await asyncio.to_thread(gate.entered.wait, 10)
    leaving.cancel()
    await asyncio.sleep(0)
    gate.opened.set()
    await database.write(inserting("b"))
    assert leaving.cancelled()
    assert told == ["a"]


async def test_committed_callback_does_not_run_on_failure(database: SqliteDatabase) -> None:
    told: list[str] = []
    await database.write(inserting("a"))
    with pytest.raises(IntegrityError):
        await database.write(inserting("a"), committed=told.append)
    assert told == []


async def test_callback_that_fails_does_not_fail_the_write(database: SqliteDatabase) -> None:
    def refuse(key: str) -> None:
        raise RuntimeError("no bell")

    assert await database.write(inserting("a"), committed=refuse) == "a"


async def test_caller_with_a_closed_loop_does_not_block_others(database: SqliteDatabase) -> None:
    gate, waiting = await held(database)

    def leave() -> None:
        async def start() -> None:
            # The loop closes while this waits in the queue.
            asyncio.create_task(database.write(inserting("left")))
            await asyncio.sleep(0)

        loop = asyncio.new_event_loop()
        loop.run_until_complete(start())
        pending = asyncio.all_tasks(loop)
        loop.close()
        for task in pending:
            task._log_destroy_pending = False  # type: ignore[attr-defined]

    await asyncio.to_thread(leave)
    gate.opened.set()
    await waiting
    assert await database.write(inserting("a")) == "a"


async def test_database_is_usable_from_many_event_loops(database: SqliteDatabase) -> None:
    async def both(key: str) -> set[str]:
        await database.write(inserting(key))
        return await database.read(keys_of)

    def on_a_loop_of_its_own(key: str) -> set[str]:
        return asyncio.run(both(key))

    seen = await asyncio.gather(*(asyncio.to_thread(on_a_loop_of_its_own, str(n)) for n in range(8)))
    assert all(str(n) in keys for n, keys in enumerate(seen))
    assert len(await database.read(keys_of)) == 8


async def test_reads_do_not_wait_for_the_writer(database: SqliteDatabase) -> None:
    await database.write(inserting("a"))
    gate, waiting = await held(database)
    assert await database.read(keys_of) == {"a"}
    gate.opened.set()
    await waiting


async def test_reading_cannot_write(database: SqliteDatabase) -> None:
    with pytest.raises(StorageReadOnly):
        await database.read(inserting("a"))
    assert await database.read(keys_of) == set()


async def test_close_completes_queued_writes(tmp_path: Path) -> None:
    async with opened(tmp_path / "a.sqlite") as database:
        gate, waiting = await held(database)
        writes = [asyncio.create_task(database.write(inserting(str(n)))) for n in range(50)]
        await asyncio.sleep(0)
        gate.opened.set()
    await asyncio.gather(waiting, *writes)
    async with opened(tmp_path / "a.sqlite") as database:
        assert len(await database.read(keys_of)) == 50


async def test_closed_database_raises_storage_closed(tmp_path: Path) -> None:
    async with opened(tmp_path / "a.sqlite") as database:
        pass
    with pytest.raises(StorageClosed):
        await database.write(inserting("a"))
    with pytest.raises(StorageClosed):
        await database.read(keys_of)
    database.close()


async def test_row_violating_a_constraint_fails_alone(tmp_path: Path) -> None:
    def small(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 50")

    async with opened(tmp_path / "a.sqlite", prepare=small) as database:
        gate, waiting = await held(database)
        large = asyncio.create_task(database.write(inserting("x" * 1_000_000)))
        others = [asyncio.create_task(database.write(inserting(key))) for key in ("a", "b")]
        await asyncio.sleep(0)
        gate.opened.set()
        await waiting
        with pytest.raises(StorageFull, match="free some space"):
            await large
        assert await asyncio.gather(*others) == ["a", "b"]
        assert await database.read(keys_of) == {"a", "b"}


async def test_read_only_database_raises_storage_read_only(tmp_path: Path) -> None:
    async with opened(tmp_path / "a.sqlite") as database:
        await database.write(lambda connection: run(connection, "PRAGMA query_only = ON"))
        for _ in range(2):
            with pytest.raises(StorageReadOnly):
                await database.write(inserting("a"))
        assert await database.read(keys_of) == set()


async def test_locked_database_raises_storage_busy_and_recovers(tmp_path: Path) -> None:
    def impatient(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA busy_timeout = 20")

    async with opened(tmp_path / "a.sqlite", prepare=impatient) as database:
        other = sqlite3.connect(tmp_path / "a.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writes = [asyncio.create_task(database.write(inserting(key))) for key in ("a", "b")]
        for outcome in await asyncio.gather(*writes, return_exceptions=True):
            assert isinstance(outcome, StorageBusy)
        other.execute("ROLLBACK")
        other.close()
        assert await database.write(inserting("a")) == "a"


async def test_file_that_is_not_a_database_raises_storage_corrupt(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_bytes(b"definitely not a database, and long enough to be read as one" * 100)
    with pytest.raises(StorageCorrupt, match="not a sound SQLite database"):
        async with open_sqlite(tmp_path / "a.sqlite"):
            pass


async def test_damaged_pages_are_reported_and_fail_reads_and_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    async with opened(path) as database:
        assert await database.check() == []
        for n in range(500):
            await database.write(inserting(f"{n}" * 50))
    damaged = bytearray(path.read_bytes())
    damaged[4096:-4096] = b"\xff" * (len(damaged) - 8192)
    path.write_bytes(damaged)
    async with open_sqlite(path) as database:
        assert await _is_damaged(database)
        with pytest.raises(StorageCorrupt):
            await database.read(keys_of)
        with pytest.raises(StorageCorrupt):
            await database.write(inserting("a"))


async def _is_damaged(database: SqliteDatabase) -> bool:
    try:
        return await database.check() != []
    except StorageCorrupt:
        return True


async def test_uncreatable_path_raises_storage_unusable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageUnusable, match="cannot make a place"):
        async with open_sqlite(tmp_path / "file" / "a.sqlite"):
            pass
