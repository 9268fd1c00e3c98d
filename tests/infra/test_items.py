"""Items: langgraph's store on SQLite, separate for each actor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from runstead.infra.storage.database import Database
from runstead.infra.storage.items.store import SqlItemStore
from runstead.infra.storage.sqlite import open_storage
from runstead.resources.items import ActorScopedStore, InvalidItem
from runstead.runtime.actor_context import ActorContext, ActorRequired, acting
from runstead.testing.clock import ManualClock

ALICE = ActorContext("alice")
BOB = ActorContext("bob")


@pytest.fixture(params=["sql", "memory"])
async def store(request: pytest.FixtureRequest, database: Database) -> BaseStore:
    if request.param == "memory":
        return ActorScopedStore(InMemoryStore())
    return ActorScopedStore(SqlItemStore(database, ManualClock()))


@pytest.fixture
def alice() -> Iterator[ActorContext]:
    with acting(ALICE):
        yield ALICE


async def test_item_round_trips(store: BaseStore, alice: ActorContext) -> None:
    value = {"text": "grüße \0", "nested": [1, None, {"x": 1.5}]}
    await store.aput(("notes", "2030"), "k", value)
    found = await store.aget(("notes", "2030"), "k")
    assert found is not None
    assert (found.namespace, found.key, found.value) == (("notes", "2030"), "k", value)
    assert (await store.asearch(("notes",)))[0].namespace == ("notes", "2030")
    again = await store.aget(("notes", "2030"), "k")
    assert again is not None
    assert again.namespace == ("notes", "2030")
    await store.adelete(("notes", "2030"), "k")
    assert await store.aget(("notes", "2030"), "k") is None


@pytest.mark.parametrize(
    "stranger",
    [
        BOB,
        ActorContext("alice", tenant_id="another"),
        ActorContext("Alice"),
        ActorContext("alic"),
        ActorContext("default.alice", tenant_id="x"),
        ActorContext("*"),
        ActorContext("%"),
        ActorContext("alice\ud800"),
    ],
    ids=ascii,
)
async def test_items_of_another_user_are_invisible(store: BaseStore, stranger: ActorContext) -> None:
    with acting(ALICE):
        await store.aput(("notes",), "k", {"mine": 1})
    with acting(stranger):
        assert await store.alist_namespaces() == []
        assert await store.asearch(()) == []
        assert await store.asearch(("notes",)) == []
        assert await store.aget(("notes",), "k") is None
        await store.adelete(("notes",), "k")
        await store.aput(("notes",), "k", {"theirs": 1})
        assert [item.value for item in await store.asearch(())] == [{"theirs": 1}]
    with acting(ALICE):
        assert [item.value for item in await store.asearch(())] == [{"mine": 1}]


async def test_user_names_differing_in_a_dot_have_separate_items(store: BaseStore) -> None:
    with acting(ActorContext("a.b")):
        await store.aput(("c",), "k", {"x": 1})
    with acting(ActorContext("a")):
        assert await store.asearch(("b", "c")) == []
        assert await store.alist_namespaces() == []


async def test_nothing_is_done_without_an_actor(store: BaseStore) -> None:
    with pytest.raises(ActorRequired):
        await store.aput(("notes",), "k", {})
    with pytest.raises(ActorRequired):
        await store.asearch(())
    with pytest.raises(ActorRequired):
        await asyncio.to_thread(store.get, ("notes",), "k")


async def test_batch_results_are_in_order(store: BaseStore, alice: ActorContext) -> None:
    await store.aput(("a",), "k", {"n": 1})
    got, put, found, absent = await store.abatch(
        [GetOp(("a",), "k"), PutOp(("b",), "k", {"n": 2}), SearchOp(()), GetOp(("a",), "none")]
    )
    assert got is not None
    assert getattr(got, "value", None) == {"n": 1}
    assert (put, absent) == (None, None)
    assert isinstance(found, list)


async def test_namespaces_are_listed_as_their_owner_knows_them(store: BaseStore, alice: ActorContext) -> None:
    for namespace in (("notes", "a", "x"), ("notes", "b"), ("alice", "notes"), ("todo",)):
        await store.aput(namespace, "k", {})
    with acting(BOB):
        await store.aput(("notes", "bob"), "k", {})
    everything = [("alice", "notes"), ("notes", "a", "x"), ("notes", "b"), ("todo",)]
    assert await store.alist_namespaces() == everything
    assert await store.alist_namespaces(prefix=("notes",)) == [("notes", "a", "x"), ("notes", "b")]
    assert await store.alist_namespaces(max_depth=1) == [("alice",), ("notes",), ("todo",)]
    assert await store.alist_namespaces(suffix=("x",)) == [("notes", "a", "x")]
    assert await store.alist_namespaces(prefix=("*",), suffix=("b",)) == [("notes", "b")]
    assert await store.alist_namespaces(limit=2, offset=1) == everything[1:3]
    assert await store.alist_namespaces(suffix=("*",), limit=2, offset=1) == everything[1:3]


async def test_suffix_match_does_not_see_the_owner_label(store: BaseStore, alice: ActorContext) -> None:
    await store.aput(("notes",), "k", {})
    assert await store.alist_namespaces(suffix=("alice", "notes")) == []
    assert await store.alist_namespaces(suffix=("*", "notes")) == []


@pytest.mark.parametrize("label", ["a.b", "", "\ud800", "a\0b"], ids=ascii)
async def test_invalid_namespace_label_is_refused(store: BaseStore, alice: ActorContext, label: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (langgraph's and ours; both say what is wrong)
        await store.aput(("notes", label), "k", {})


@pytest.mark.parametrize("label", ["a.b", "", 1, "a\0b"], ids=ascii)
@pytest.mark.parametrize(
    "op_of",
    [
        lambda label: GetOp(("notes", label), "k"),
        lambda label: PutOp(("notes", label), "k", {}),
        lambda label: SearchOp((label,)),
        lambda label: ListNamespacesOp((MatchCondition("prefix", (label,)),)),
    ],
    ids=["get", "put", "search", "list"],
)
async def test_batch_refuses_a_label_that_cannot_be_stored(
    database: Database, op_of: Callable[[Any], Op], label: Any
) -> None:
    store = SqlItemStore(database, ManualClock())
    with pytest.raises(InvalidNamespaceError, match="label"):
        await store.abatch([op_of(label)])


async def test_unstorable_item_is_refused(store: BaseStore, alice: ActorContext) -> None:
    for key, value in (("k", {"x": object()}), ("k", {"x": "\ud800"}), ("k", {"x": 2**70}), ("\ud800", {})):
        with pytest.raises(InvalidItem):
            await store.aput(("notes",), key, value)
    assert await store.asearch(()) == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"x": float("nan")}, "value.x is not a finite number"),
        ({"x": [1, {"y": float("inf")}]}, r"value.x\[1\].y is not a finite number"),
        ({1: "x"}, "must be str"),
        ({"x": {1, 2}}, "not JSON serializable"),
        (["x"], "an item's value is an object"),
    ],
    ids=ascii,
)
async def test_value_not_expressible_in_json_is_refused(
    store: BaseStore, alice: ActorContext, value: Any, message: str
) -> None:
    with pytest.raises(InvalidItem, match=message):
        await store.aput(("notes",), "k", value)
    assert await store.aget(("notes",), "k") is None


async def test_store_is_usable_from_other_event_loops_and_threads(store: BaseStore, alice: ActorContext) -> None:
    async def on_a_loop() -> None:
        await store.aput(("loop",), "k", {"x": 1})

    await asyncio.to_thread(lambda: asyncio.run(on_a_loop()))
    await asyncio.to_thread(lambda: store.put(("thread",), "k", {"x": 2}))
    assert await asyncio.to_thread(lambda: len(store.search(()))) == 2
    with pytest.raises(asyncio.InvalidStateError, match="use the async method"):
        store.get(("thread",), "k")


class Seen(TypedDict):
    """The state of the graph below."""

    n: int


async def test_graph_stores_items_for_its_actor(store: BaseStore) -> None:
    async def remember(state: Seen, *, store: BaseStore) -> Seen:
        before = await store.aget(("seen",), "n")
        seen = (before.value["n"] if before else 0) + 1
        await store.aput(("seen",), "n", {"n": seen})
        return {"n": seen}

    agent = StateGraph(Seen).add_node("remember", remember).add_edge(START, "remember").compile(store=store)
    counts = []
    for actor in (ALICE, ALICE, BOB):
        with acting(actor):
            counts.append((await agent.ainvoke({"n": 0}))["n"])
    assert counts == [1, 2, 1]


async def test_cancelled_caller_leaves_the_store_usable(store: BaseStore, alice: ActorContext) -> None:
    for n in range(20):
        leaving = asyncio.create_task(store.aput(("notes",), f"k-{n}", {}))
        for _ in range(n % 5):
            await asyncio.sleep(0)
        leaving.cancel()
    await store.aput(("notes",), "last", {})
    assert await store.aget(("notes",), "last") is not None


async def test_items_survive_reopening(tmp_path: Path, alice: ActorContext) -> None:
    for expected in (None, "there"):
        async with open_storage(tmp_path / "again.sqlite") as database:
            store = ActorScopedStore(SqlItemStore(database, ManualClock()))
            found = await store.aget(("notes",), "k")
            assert (found.value["it"] if found else None) == expected
            await store.aput(("notes",), "k", {"it": "there"})
