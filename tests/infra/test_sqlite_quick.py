"""Immediate operations of the SQLite engine: quick work in the calling thread, and commits synced later."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from runstead.infra.engines.sqlite import SqliteDatabase, open_sqlite
from runstead.resources.storage_errors import StorageClosed, StorageError

FULL, NORMAL = 2, 1


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    async with open_sqlite(tmp_path / "a.sqlite") as database:
        await database.write(lambda connection: _run(connection, "CREATE TABLE t (id TEXT PRIMARY KEY)"))
        yield database


def _run(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement)


def _insert(key: str) -> str:
    return f"INSERT INTO t VALUES ('{key}')"


def _keys(connection: Connection) -> list[str]:
    return list(connection.exec_driver_sql("SELECT id FROM t ORDER BY id").scalars())


def _level(connection: Connection) -> int:
    level: int = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
    return level


async def test_quick_read_is_done_in_the_calling_thread_and_sees_what_was_committed(database: SqliteDatabase) -> None:
    await database.write(lambda connection: _run(connection, _insert("a")))

    def work(connection: Connection) -> tuple[list[str], int]:
        return _keys(connection), threading.get_ident()

    assert await database.read(work, quick=True) == (["a"], threading.get_ident())


async def test_every_quick_read_sees_the_latest_commit(database: SqliteDatabase) -> None:
    """A cursor left open would keep the connection in an old snapshot."""
    for number in range(5):
        key = str(number)
        await database.write(lambda connection, key=key: _run(connection, _insert(key)))  # type: ignore[misc]
        first = await database.read(
            lambda connection: connection.exec_driver_sql("SELECT id FROM t").first(), quick=True
        )
        assert first is not None
        assert len(await database.read(_keys, quick=True)) == number + 1


async def test_quick_reads_may_come_from_many_threads_at_once(database: SqliteDatabase) -> None:
    await database.write(lambda connection: _run(connection, _insert("a")))

    def elsewhere() -> list[list[str]]:
        async def read() -> list[list[str]]:
            return [await database.read(_keys, quick=True) for _ in range(50)]

        return asyncio.run(read())

    results = await asyncio.gather(*(asyncio.to_thread(elsewhere) for _ in range(8)))
    assert all(keys == ["a"] for keys_of_one in results for keys in keys_of_one)
    assert await database.read(_keys, quick=True) == ["a"]


async def test_quick_read_cannot_write(database: SqliteDatabase) -> None:
    with pytest.raises((OperationalError, StorageError)):
        await database.read(lambda connection: _run(connection, _insert("a")), quick=True)
    assert await database.read(_keys) == []


async def test_quick_read_of_a_closed_database_raises(database: SqliteDatabase) -> None:
    await asyncio.to_thread(database.close)
    with pytest.raises(StorageClosed):
        await database.read(_keys, quick=True)


async def test_only_durable_writes_wait_for_the_disk(database: SqliteDatabase) -> None:
    levels = [await database.write(_level, durable=durable) for durable in (True, False, False, True)]
    assert levels == [FULL, NORMAL, NORMAL, FULL]


async def test_group_commit_is_durable_if_one_write_needs_it(database: SqliteDatabase) -> None:
    entered, opened = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        entered.set()
        assert opened.wait(10)

    holding = asyncio.create_task(database.write(hold, durable=False))
    await asyncio.to_thread(entered.wait, 10)
    queued = [asyncio.create_task(database.write(_level, durable=durable)) for durable in (False, True, False)]
    await asyncio.sleep(0)
    opened.set()
    await holding
    assert await asyncio.gather(*queued) == [FULL, FULL, FULL]


async def test_database_configured_without_fsync_never_syncs(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "b.sqlite", synchronous="NORMAL") as database:
        assert [await database.write(_level, durable=durable) for durable in (True, False, True)] == [NORMAL] * 3


async def test_nondurable_write_is_visible_and_survives_closing(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "b.sqlite") as database:
        await database.write(lambda connection: _run(connection, "CREATE TABLE t (id TEXT PRIMARY KEY)"))
        await database.write(lambda connection: _run(connection, _insert("a")), durable=False)
        assert await database.read(_keys) == await database.read(_keys, quick=True) == ["a"]
    async with open_sqlite(tmp_path / "b.sqlite") as database:
        assert await database.read(_keys) == ["a"]


async def test_failed_single_write_leaves_nothing(database: SqliteDatabase) -> None:
    def half(connection: Connection) -> None:
        _run(connection, _insert("half"))
        raise ValueError("and then it fails")

    with pytest.raises(ValueError, match="and then"):
        await database.write(half)
    await database.write(lambda connection: _run(connection, _insert("whole")))
    assert await database.read(_keys) == ["whole"]


def _insert_here(key: str) -> Callable[[Connection], int]:
    def work(connection: Connection) -> int:
        _run(connection, _insert(key))
        return threading.get_ident()

    return work


async def test_quick_write_is_done_in_the_calling_thread_and_seen_by_all(database: SqliteDatabase) -> None:
    assert await database.write(_insert_here("a"), durable=False, quick=True) == threading.get_ident()
    assert await database.read(_keys) == await database.read(_keys, quick=True) == ["a"]


async def test_quick_write_that_must_be_durable_waits_for_the_disk(database: SqliteDatabase) -> None:
    await database.write(_level, durable=False, quick=True)
    assert await database.write(_level, quick=True) == FULL


async def test_quick_write_is_not_done_before_an_earlier_write(database: SqliteDatabase) -> None:
    entered, opened = threading.Event(), threading.Event()

    def holding(connection: Connection) -> None:
        entered.set()
        assert opened.wait(60)
        _run(connection, _insert("first"))

    first = asyncio.create_task(database.write(holding))
    await asyncio.to_thread(entered.wait, 60)
    quick = asyncio.create_task(database.write(lambda connection: _keys(connection), durable=False, quick=True))
    # The loop is not held up by the write in progress.
    await asyncio.sleep(0)
    assert not quick.done()
    opened.set()
    assert await quick == ["first"]
    await first


async def test_failed_quick_write_leaves_nothing(database: SqliteDatabase) -> None:
    def failing(connection: Connection) -> None:
        _run(connection, _insert("a"))
        raise LookupError("no")

    with pytest.raises(LookupError):
        await database.write(failing, durable=False, quick=True)
    assert await database.read(_keys) == []
    assert await database.write(_insert_here("a"), durable=False, quick=True) == threading.get_ident()


async def test_quick_write_leaves_waiting_for_another_process_to_the_writer(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "a.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    quick = asyncio.create_task(database.write(_insert_here("a"), durable=False, quick=True))
    await asyncio.sleep(0)
    other.execute("ROLLBACK")
    other.close()
    assert await quick != threading.get_ident()


async def test_quick_writes_do_not_move_the_log_to_the_file(database: SqliteDatabase) -> None:
    def setting(connection: Connection) -> int:
        pages: int = connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar_one()
        return pages

    before = await database.write(setting)
    assert await database.write(setting, durable=False, quick=True) == 0
    assert await database.write(setting) == before > 0


async def test_quick_writes_may_come_from_many_threads_at_once(database: SqliteDatabase) -> None:
    def write_ten(name: int) -> None:
        async def all_of_them() -> None:
            for number in range(10):
                await database.write(_insert_here(f"{name}-{number}"), durable=number % 2 == 0, quick=True)

        asyncio.run(all_of_them())

    await asyncio.gather(*(asyncio.to_thread(write_ten, name) for name in range(4)))
    assert len(await database.read(_keys)) == 40


async def test_quick_write_calls_back_after_its_commit(database: SqliteDatabase) -> None:
    seen: list[list[str]] = []

    def committed(_: int) -> None:
        reader = sqlite3.connect(database.path)
        seen.append([row[0] for row in reader.execute("SELECT id FROM t")])
        reader.close()

    await database.write(_insert_here("a"), durable=False, quick=True, committed=committed)
    assert seen == [["a"]]


async def test_quick_write_to_a_closed_database_raises(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "b.sqlite") as database:
        pass
    with pytest.raises(StorageClosed):
        await database.write(_keys, durable=False, quick=True)
