"""Somebody else who holds rows of a PostgreSQL schema: what a test wants to see waiting, waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import psycopg
from psycopg.errors import LockNotAvailable

from .postgres import PostgresSchema

_WAITING: Final = (
    "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
)


class Holder:
    """A transaction that holds what its statements have locked."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def is_waited_for(self) -> None:
        """Returns when somebody waits for it."""
        for _ in range(1_000):
            if await self._count():
                return
            await asyncio.sleep(0.01)
        raise TimeoutError("nobody waits")

    async def _count(self) -> int:
        row = await (await self._connection.execute(_WAITING)).fetchone()
        assert row is not None
        return int(row[0])


@asynccontextmanager
async def holding(schema: PostgresSchema, *statements: str) -> AsyncIterator[Holder]:
    """Hold what ``statements`` lock for the length of a block, then take back what they did."""
    async with connected(schema) as connection:
        for statement in statements:
            await connection.execute(statement.encode())
        yield Holder(connection)
        await connection.rollback()


async def is_free(schema: PostgresSchema, rows: str) -> bool:
    """Whether nobody holds ``rows``, which a SELECT finds."""
    async with connected(schema) as connection:
        try:
            await connection.execute(f"{rows} FOR UPDATE NOWAIT".encode())
        except LockNotAvailable:
            return False
        finally:
            await connection.rollback()
    return True


@asynccontextmanager
async def connected(schema: PostgresSchema) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A connection of the test's own."""
    async with await psycopg.AsyncConnection.connect(schema.url, options=f"-c search_path={schema.name}") as connection:
        yield connection
