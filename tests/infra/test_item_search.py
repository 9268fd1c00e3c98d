"""Search of items by meaning with an embedder, and by words without one."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from langgraph.store.base import ensure_embeddings

from runstead.graphs.embeddings import HashedEmbeddings
from runstead.infra.storage.database import Database
from runstead.infra.storage.items import ranking
from runstead.infra.storage.items.index import ItemIndex
from runstead.infra.storage.items.store import SqlItemStore
from runstead.resources.items import ActorScopedStore, EmbeddingFailed, InvalidItem
from runstead.runtime.actor_context import ActorContext, acting
from runstead.testing.clock import ManualClock

DIRECTIONS = {"cat": 0, "dog": 1, "car": 2}


@pytest.fixture(autouse=True)
def alice() -> Iterator[None]:
    with acting(ActorContext("alice")):
        yield


def embed(texts: Sequence[str]) -> list[list[float]]:
    """One dimension for each word that it knows."""
    return [[float(text.count(word)) for word in DIRECTIONS] for text in texts]


def indexed(database: Database, how: Any = embed, *, name: str = "ours", **more: Any) -> ActorScopedStore:
    index = ItemIndex(name, more.pop("dims", 3), ensure_embeddings(how), **more)
    return ActorScopedStore(SqlItemStore(database, ManualClock(), index=index))


def unindexed(database: Database) -> ActorScopedStore:
    return ActorScopedStore(SqlItemStore(database, ManualClock()))


async def keys(store: ActorScopedStore, query: str, **more: Any) -> list[str]:
    return [item.key for item in await store.asearch(more.pop("prefix", ()), query=query, **more)]


async def test_nearest_items_come_first_with_scores(database: Database) -> None:
    store = indexed(database)
    await store.aput(("pets",), "both", {"text": "a cat and a dog"})
    await store.aput(("pets",), "cat", {"text": "a cat"})
    await store.aput(("pets",), "dog", {"text": "a dog"})
    found = await store.asearch(("pets",), query="cat")
    assert [item.key for item in found] == ["cat", "both", "dog"]
    assert [item.score for item in found] == pytest.approx([1, math.sqrt(0.5), 0], abs=1e-6)
    assert await keys(store, "cat", limit=1, offset=1) == ["both"]
    assert [item.score for item in await store.asearch(("pets",))] == [None, None, None]


async def test_query_keeps_to_namespace_filter_and_owner(database: Database) -> None:
    store = indexed(database)
    await store.aput(("pets",), "old", {"text": "cat", "age": 9})
    await store.aput(("pets", "young"), "young", {"text": "cat", "age": 1})
    await store.aput(("petsmore",), "other", {"text": "cat", "age": 1})
    assert set(await keys(store, "cat", prefix=("pets",))) == {"old", "young"}
    assert await keys(store, "cat", prefix=("pets",), filter={"age": {"$lt": 5}}) == ["young"]
    with acting(ActorContext("bob")):
        assert await keys(store, "cat") == []
        await store.aput(("pets",), "bobs", {"text": "cat"})
        assert await keys(store, "cat") == ["bobs"]


async def test_item_can_name_its_indexed_paths(database: Database) -> None:
    store = indexed(database, fields=["text"])
    value = {"text": "cat", "note": {"about": "dog"}, "parts": [{"text": "car"}, {"text": "dog"}]}
    await store.aput(("a",), "usual", value)
    await store.aput(("a",), "note", value, index=["note.about"])
    await store.aput(("a",), "parts", value, index=["parts[*].text"])
    await store.aput(("a",), "never", value, index=False)
    best = {word: (await keys(store, word))[:2] for word in DIRECTIONS}
    assert best["cat"][0] == "usual"
    assert set(best["dog"]) == {"note", "parts"}
    assert best["car"][0] == "parts"
    assert "never" not in await keys(store, "cat", limit=100)
    assert await store.aget(("a",), "never") is not None


async def test_rewritten_item_is_found_by_its_current_text(database: Database) -> None:
    store = indexed(database)
    await store.aput(("a",), "k", {"text": "cat"})
    await store.aput(("a",), "k", {"text": "dog"})
    (found,) = await store.asearch((), query="dog")
    assert found.score == pytest.approx(1)
    await store.aput(("a",), "k", {"text": "dog"}, index=False)
    assert await keys(store, "dog") == []
    await store.adelete(("a",), "k")
    assert await keys(store, "dog") == []


async def test_vectors_of_another_embedder_are_not_compared(database: Database) -> None:
    await indexed(database, name="old").aput(("a",), "before", {"text": "cat"})
    store = indexed(database, name="new")
    await store.aput(("a",), "after", {"text": "cat"})
    assert await keys(store, "cat") == ["after"]
    assert {item.key for item in await store.asearch(())} == {"before", "after"}


async def test_another_length_of_vectors_is_another_embedder(database: Database) -> None:
    await indexed(database).aput(("a",), "before", {"text": "cat"})
    store = indexed(database, lambda texts: [[1.0, 0.0]] * len(texts), dims=2)
    await store.aput(("a",), "after", {"text": "cat"})
    assert await keys(store, "cat") == ["after"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda texts: [[1.0, 2.0]] * len(texts), "a vector of 2 numbers, and store.index.dims is 3"),
        (lambda texts: [], "one vector for each text"),
        (lambda texts: [["x", "y", "z"]] * len(texts), "no vector"),
        (lambda texts: [[float("nan")] * 3] * len(texts), "not finite"),
        (lambda texts: 1 / 0, "failed with ZeroDivisionError"),
    ],
    ids=["dims", "none", "words", "nan", "raises"],
)
async def test_embedder_failure_is_raised_and_stores_nothing(database: Database, how: Any, message: str) -> None:
    store = indexed(database, how)
    with pytest.raises(EmbeddingFailed, match=message):
        await store.aput(("a",), "k", {"text": "cat"})
    assert await store.aget(("a",), "k") is None


@pytest.mark.parametrize("path", ["", " ", "a[", "a{b", 1], ids=str)
async def test_invalid_index_path_is_refused(database: Database, path: Any) -> None:
    with pytest.raises(InvalidItem, match="index"):
        await indexed(database).aput(("a",), "k", {"text": "cat"}, index=[path])


async def test_asynchronous_embedder_is_supported(database: Database) -> None:
    async def later(texts: Sequence[str]) -> list[list[float]]:
        return embed(texts)

    store = indexed(database, later)
    await store.aput(("a",), "k", {"text": "cat"})
    assert await keys(store, "cat") == ["k"]


async def test_query_without_embedder_matches_words(database: Database) -> None:
    store = unindexed(database)
    await store.aput(("a",), "one", {"text": "The quick brown fox", "text2": "jumps"})
    await store.aput(("a",), "two", {"text": "A fox, a FOX and another fox!", "kind": "x"})
    await store.aput(("a",), "none", {"text": "lazy dogs", "n": 7})
    await store.aput(("a",), "part", {"text": "fox", "title": "birds"}, index=["title"])
    await store.aput(("a",), "never", {"text": "fox"}, index=False)
    found = await store.asearch((), query="fox")
    assert [item.key for item in found] == ["two", "one"]
    assert all(item.score and item.score > 0 for item in found)
    assert await keys(store, "Quick FOX") == ["one", "two"]
    assert await keys(store, "birds") == ["part"]
    assert await keys(store, "7") == ["none"]
    assert await keys(store, "text") == []
    assert await keys(store, "fox", filter={"kind": "x"}) == ["two"]
    assert await keys(store, "fox", limit=1, offset=1) == ["one"]
    with acting(ActorContext("bob")):
        assert await keys(store, "fox") == []


def test_built_in_embedder_is_deterministic_and_matches_word_forms() -> None:
    near = HashedEmbeddings(256)
    cat, cats, engine = near.embed_documents(["I love my cat", "loving cats", "engine oil"])

    def cosine(one: list[float], other: list[float]) -> float:
        return sum(a * b for a, b in zip(one, other, strict=True))

    assert cosine(cat, cat) == pytest.approx(1)
    assert cosine(cat, cats) > 0.2 > abs(cosine(cat, engine))
    assert near.embed_query("") == [0.0] * 256
    assert [round(number, 6) for number in HashedEmbeddings(4).embed_query("cat")] == [-0.806898, 0.0, -0.59069, 0.0]


def test_vectors_are_multiplied_alike_with_numpy_and_without() -> None:
    pytest.importorskip("numpy")
    chance = random.Random(7)
    vectors = [ranking.packed([chance.gauss(0, 1) for _ in range(64)]) for _ in range(20)]
    query, *others = vectors
    quick = list(ranking._with_numpy(query, others))
    assert quick == pytest.approx(list(ranking._by_hand(query, others)), abs=1e-6)
