"""Items in PostgreSQL that several processes read and sweep concurrently: all lock in one order, so none deadlocks."""

from __future__ import annotations

import asyncio

import pytest
from langgraph.store.base import PutOp

from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.items.store import SqlItemStore
from runstead.testing.clock import ManualClock
from tests.servers.locks import holding, is_free
from tests.servers.postgres import PostgresSchema

NOTES = ("alice", "notes")
FIRST, LAST = (f"SELECT 1 FROM items WHERE key = '{key}'" for key in ("a", "z"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def items(postgres_database: PostgresDatabase, clock: ManualClock) -> SqlItemStore:
    """Two items that live for a minute; the last one was created first, and is found first."""
    items = SqlItemStore(postgres_database, clock)
    for key, words in (("z", "alpha alpha alpha"), ("a", "alpha beta")):
        await items.abatch([PutOp(NOTES, key, {"text": words}, None, 1.0)])
    return items


async def test_search_waiting_for_an_item_locks_no_later_item(
    items: SqlItemStore, postgres_schema: PostgresSchema
) -> None:
    async with holding(postgres_schema, f"{FIRST} FOR UPDATE") as somebody:
        searching = asyncio.ensure_future(items.asearch(NOTES, query="alpha", refresh_ttl=True))
        await somebody.is_waited_for()
        assert await is_free(postgres_schema, LAST)
    assert [item.key for item in await searching] == ["z", "a"]


async def test_sweep_waiting_for_an_item_locks_no_later_item(
    items: SqlItemStore, clock: ManualClock, postgres_schema: PostgresSchema
) -> None:
    await clock.advance(120)
    async with holding(postgres_schema, f"{FIRST} FOR UPDATE") as somebody:
        sweeping = asyncio.ensure_future(items.sweep())
        await somebody.is_waited_for()
        assert await is_free(postgres_schema, LAST)
    assert await sweeping == 2
