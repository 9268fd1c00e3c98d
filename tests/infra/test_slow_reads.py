"""Searches that read many rows, and concurrent reads."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, LargeBinary, Select, column, literal_column, select, table

from runstead.infra.engines.slow_queries import MOST_WAITING
from runstead.infra.engines.sqlite import READERS, SqliteDatabase, open_sqlite
from runstead.infra.engines.sqlite_time_limit import within
from runstead.infra.storage.dialect import containing
from runstead.resources.storage_errors import StorageBusy

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    async with open_sqlite(tmp_path / "a.sqlite") as database:
        yield database


def one(connection: Connection) -> Any:
    return connection.exec_driver_sql("SELECT 1").scalar()


class Held:
    """Reads that last until released."""

    def __init__(self) -> None:
        self._going = threading.Event()
        self.begun = 0

    def read(self, connection: Connection) -> Any:
        self.begun += 1
        self._going.wait(30)
        return one(connection)

    def let_go(self) -> None:
        self._going.set()


async def test_searches_leave_threads_to_other_reads(database: SqliteDatabase) -> None:
    held = Held()
    searches = [asyncio.ensure_future(database.read(held.read, slow=True)) for _ in range(2 * READERS)]
    async with asyncio.timeout(20):
        assert await asyncio.gather(*(database.read(one) for _ in range(10))) == [1] * 10
    assert held.begun <= 1
    held.let_go()
    assert await asyncio.gather(*searches) == [1] * len(searches)


async def test_searches_beyond_the_queue_limit_are_refused(database: SqliteDatabase) -> None:
    held = Held()
    searches = [asyncio.ensure_future(database.read(held.read, slow=True)) for _ in range(MOST_WAITING + 1)]
    await asyncio.sleep(0)
    with pytest.raises(StorageBusy, match="too many searches"):
        await database.read(held.read, slow=True)
    held.let_go()
    await asyncio.gather(*searches)
    assert await database.read(one, slow=True) == 1


async def test_search_of_a_cancelled_caller_is_skipped(database: SqliteDatabase) -> None:
    held, unwanted = Held(), Held()
    first = asyncio.ensure_future(database.read(held.read, slow=True))
    second = asyncio.ensure_future(database.read(unwanted.read, slow=True))
    await asyncio.sleep(0)
    second.cancel()
    held.let_go()
    await first
    assert await database.read(one, slow=True) == 1
    assert unwanted.begun == 0


async def test_search_that_takes_too_long_is_aborted(database: SqliteDatabase) -> None:
    search = within(0.05, lambda connection: connection.exec_driver_sql(ENDLESS).scalar())
    with pytest.raises(StorageBusy, match="narrow it"):
        await database.read(search)
    assert await database.read(one) == 1


async def test_close_completes_queued_searches(tmp_path: Path) -> None:
    held = Held()
    async with open_sqlite(tmp_path / "a.sqlite") as database:
        searches = [asyncio.ensure_future(database.read(held.read, slow=True)) for _ in range(5)]
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.1, held.let_go)
    assert await asyncio.gather(*searches) == [1] * 5


@pytest.mark.parametrize(
    ("wanted", "looked_at"),
    [({"name": "wanted"}, [2, 3]), ({"name": "ä"}, [1, 2, 3]), ({"x": 1}, [2])],
    ids=["plain", "with-another-letter", "a-number"],
)
async def test_only_rows_containing_the_searched_text_are_parsed(
    wanted: dict[str, Any], looked_at: list[int], tmp_path: Path
) -> None:
    parsed: list[bytes] = []

    def looked(stored: bytes, _: str) -> bool:
        parsed.append(bytes(stored))
        return True

    rows = [b'{"other": "wanted"}', b'{"name": "another"}', b'{"name": "wanted", "x": 1}', b'{"name": ["wanted"]}']
    values = column("v", LargeBinary)
    statement: Select[Any] = (
        select(literal_column("1")).select_from(table("t", values)).where(containing(values, wanted))
    )

    def fill(connection: Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE t (v BLOB)")
        for row in rows:
            connection.exec_driver_sql("INSERT INTO t VALUES (?)", (row,))

    def prepare(connection: sqlite3.Connection) -> None:
        connection.create_function("json_contains", 2, looked)

    async with open_sqlite(tmp_path / "a.sqlite", prepare=prepare) as database:
        await database.write(fill)
        await database.read(lambda connection: connection.execute(statement).all())
    assert parsed == [rows[number] for number in looked_at]
