"""Items with a TTL, on a manual clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.store.base import TTLConfig
from sqlalchemy import func, select

from runstead.bootstrap.background import sweep_items_regularly
from runstead.graphs.embeddings import HashedEmbeddings
from runstead.infra.storage.database import Database
from runstead.infra.storage.items.index import ItemIndex
from runstead.infra.storage.items.store import BATCH, SqlItemStore
from runstead.infra.storage.schema import item_vectors, items
from runstead.resources.items import ActorScopedStore, InvalidItem
from runstead.runtime.actor_context import ActorContext, acting
from runstead.testing.clock import ManualClock

MINUTE = 60.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(autouse=True)
def alice() -> Iterator[None]:
    with acting(ActorContext("alice")):
        yield


def opened(
    database: Database, clock: ManualClock, *, default_ttl: float | None = None, refresh_on_read: bool = True
) -> tuple[SqlItemStore, ActorScopedStore]:
    index = ItemIndex("hashed", 16, HashedEmbeddings(16))
    inner = SqlItemStore(
        database, clock, index=index, ttl=TTLConfig(default_ttl=default_ttl, refresh_on_read=refresh_on_read)
    )
    return inner, ActorScopedStore(inner)


async def test_expired_item_is_hidden_before_the_sweep(database: Database, clock: ManualClock) -> None:
    inner, store = opened(database, clock)
    await store.aput(("notes",), "soon", {"text": "hello"}, ttl=1)
    await store.aput(("notes", "later"), "later", {"text": "hello"}, ttl=10)
    await store.aput(("notes",), "never", {"text": "hello"}, ttl=None)
    await clock.advance(MINUTE)
    assert await store.aget(("notes",), "soon") is None
    assert {item.key for item in await store.asearch(())} == {"later", "never"}
    assert {item.key for item in await store.asearch((), query="hello")} == {"later", "never"}
    assert {item.key for item in await store.asearch((), filter={"text": "hello"})} == {"later", "never"}
    await clock.advance(20 * MINUTE)
    assert await store.alist_namespaces() == [("notes",)]
    assert await inner.sweep() == 2
    assert await inner.sweep() == 0


async def test_reading_refreshes_the_ttl_unless_disabled(database: Database, clock: ManualClock) -> None:
    _, store = opened(database, clock)
    for key in ("read", "searched", "peeked"):
        await store.aput((key,), "k", {}, ttl=2)
    for _ in range(3):
        await clock.advance(1.5 * MINUTE)
        assert await store.aget(("read",), "k") is not None
        assert len(await store.asearch(("searched",))) == 1
        await store.aget(("peeked",), "k", refresh_ttl=False)
        await store.asearch(("peeked",), refresh_ttl=False)
    assert await store.aget(("peeked",), "k") is None
    await clock.advance(2 * MINUTE)
    assert await store.asearch(()) == []


async def test_configuration_sets_the_default_ttl(database: Database, clock: ManualClock) -> None:
    _, store = opened(database, clock, default_ttl=2, refresh_on_read=False)
    await store.aput(("notes",), "usual", {})
    await store.aput(("notes",), "longer", {}, ttl=5)
    await store.aput(("notes",), "for ever", {}, ttl=None)
    await clock.advance(1.5 * MINUTE)
    assert len(await store.asearch(())) == 3
    await store.aget(("notes",), "usual", refresh_ttl=True)
    await clock.advance(MINUTE)
    assert len(await store.asearch(())) == 3
    await clock.advance(MINUTE)
    assert {item.key for item in await store.asearch(())} == {"longer", "for ever"}
    await clock.advance(2 * MINUTE)
    assert {item.key for item in await store.asearch(())} == {"for ever"}


async def test_writing_refreshes_the_ttl_and_recreates_an_expired_item(database: Database, clock: ManualClock) -> None:
    _, store = opened(database, clock)
    await store.aput(("notes",), "k", {"n": 1}, ttl=1)
    made = clock.now()
    await clock.advance(0.5 * MINUTE)
    await store.aput(("notes",), "k", {"n": 2}, ttl=1)
    await clock.advance(0.9 * MINUTE)
    item = await store.aget(("notes",), "k", refresh_ttl=False)
    assert item is not None
    assert (item.created_at, item.updated_at > made) == (made, True)
    await clock.advance(MINUTE)
    await store.aput(("notes",), "k", {"n": 3})
    item = await store.aget(("notes",), "k")
    assert item is not None
    assert item.created_at == clock.now()
    await clock.advance(1000 * MINUTE)
    assert await store.aget(("notes",), "k") is not None


async def test_sweeps_come_at_their_interval_and_leave_no_row(database: Database, clock: ManualClock) -> None:
    inner, store = opened(database, clock)
    for key in range(BATCH + 7):
        await store.aput(("notes",), str(key), {"text": "hello"}, ttl=1)
    await store.aput(("notes",), "stays", {"text": "hello"})

    async def rows() -> list[int]:
        count = [select(func.count()).select_from(table) for table in (items, item_vectors)]
        return await database.read(lambda connection: [connection.execute(one).scalar_one() for one in count])

    async with sweep_items_regularly(inner, clock, 5 * MINUTE):
        await clock.advance(4.9 * MINUTE)
        assert await rows() == [BATCH + 8, BATCH + 8]
        await clock.advance(MINUTE)
        # The sweep works in threads of the database; a sweep of the test is queued behind it.
        await inner.sweep()
        assert await rows() == [1, 1]


@pytest.mark.parametrize("ttl", [float("nan"), float("inf"), 1e300, "1"], ids=str)
async def test_invalid_ttl_is_refused(database: Database, clock: ManualClock, ttl: Any) -> None:
    _, store = opened(database, clock)
    with pytest.raises(InvalidItem, match="ttl"):
        await store.aput(("notes",), "k", {}, ttl=ttl)
