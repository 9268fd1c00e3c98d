"""A transaction that locks rows of a PostgreSQL schema, so that tests can observe waiting code."""

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
    """A transaction that holds the locks of its statements."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def is_waited_for(self) -> None:
        """Return when another transaction waits for it."""
        for _ in range(1_000):
            if await self._count():
                return
            await asyncio.sleep(0.01)
        raise TimeoutError("no transaction waits")

    async def _count(self) -> int:
        row = await (await self._connection.execute(_WAITING)).fetchone()
        assert row is not None
        return int(row[0])


@asynccontextmanager
async def holding(schema: PostgresSchema, *statements: str) -> AsyncIterator[Holder]:
    """Hold the locks of ``statements`` for the length of a block, then roll back."""
    async with connected(schema) as connection:
        for statement in statements:
            await connection.execute(statement.encode())
        yield Holder(connection)
        await connection.rollback()


async def is_free(schema: PostgresSchema, rows: str) -> bool:
    """True if ``rows``, the result of a SELECT, are not locked."""
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
    """A connection of the test."""
    async with await psycopg.AsyncConnection.connect(schema.url, options=f"-c search_path={schema.name}") as connection:
        yield connection
