"""A tenant's shared items beside each user's own: visibility and pagination."""

from __future__ import annotations

from typing import Any

import pytest

from runstead.infra.storage.database import Database
from runstead.infra.storage.items.store import SqlItemStore
from runstead.resources.items import ActorScopedStore
from runstead.runtime.actor_context import AccessScope, ActorContext, acting
from runstead.runtime.page_budget import page_within
from runstead.testing.clock import ManualClock

ACME = ("org", "acme")
ALICE, BOB, ELSEWHERE = ActorContext("alice"), ActorContext("bob"), ActorContext("alice", tenant_id="other")


def led(actor: ActorContext, namespace: tuple[str, ...] = ACME) -> ActorContext:
    return actor.with_scope(AccessScope(items=namespace))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def requests(database: Database, clock: ManualClock) -> ActorScopedStore:
    return ActorScopedStore(SqlItemStore(database, clock))


@pytest.fixture
def graphs(requests: ActorScopedStore) -> ActorScopedStore:
    return requests.finding_shared()


async def keys(store: ActorScopedStore, actor: ActorContext, namespace: tuple[str, ...], **more: Any) -> list[str]:
    with acting(actor):
        return [item.key for item in await store.asearch(namespace, **more)]


async def put(store: ActorScopedStore, actor: ActorContext, namespace: tuple[str, ...], *names: str) -> None:
    with acting(actor):
        for name in names:
            await store.aput(namespace, name, {"by": actor.user_id, "text": f"a cat called {name}"})


async def test_page_covers_own_and_shared_items(
    requests: ActorScopedStore, graphs: ActorScopedStore, clock: ManualClock
) -> None:
    for number in range(6):
        await clock.advance(1)
        await put(requests, ALICE if number % 2 else led(ALICE), (*ACME, "n"), f"k{number}")
    newest_first = [f"k{number}" for number in reversed(range(6))]
    for store, actor in ((requests, led(ALICE)), (graphs, ALICE)):
        assert await keys(store, actor, ACME, limit=100) == newest_first
        pages = [await keys(store, actor, ACME, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
        assert pages == [newest_first[:2], newest_first[2:4], newest_first[4:], []]
        assert sorted(await keys(store, actor, ACME, limit=100, query="cat")) == sorted(newest_first)
    assert await keys(requests, led(BOB), ACME) == await keys(graphs, BOB, ()) == ["k4", "k2", "k0"]
    assert await keys(requests, BOB, ()) == await keys(requests, led(ELSEWHERE), ACME) == []
    assert await keys(graphs, ELSEWHERE, ()) == []


async def test_page_of_own_and_shared_items_ends_at_its_byte_limit(
    requests: ActorScopedStore, clock: ManualClock
) -> None:
    for number in range(4):
        await clock.advance(1)
        with acting(ALICE if number % 2 else led(ALICE)):
            await requests.aput((*ACME, "n"), f"k{number}", {"text": "x" * 4_000})
    found: list[str] = []
    while len(found) < 4:
        with page_within(10_000) as page:
            found += await keys(requests, led(ALICE), ACME, limit=100, offset=len(found))
        assert page.is_cut == (len(found) < 4)
    assert found == ["k3", "k2", "k1", "k0"]


async def test_namespaces_of_own_and_shared_items_are_listed(
    requests: ActorScopedStore, graphs: ActorScopedStore
) -> None:
    await put(requests, led(ALICE), (*ACME, "b", "c"), "k")
    await put(requests, ALICE, (*ACME, "a"), "k")
    with acting(led(ALICE)):
        assert await requests.alist_namespaces(prefix=ACME) == [(*ACME, "a"), (*ACME, "b", "c")]
        assert await requests.alist_namespaces(prefix=ACME, limit=1, offset=1) == [(*ACME, "b", "c")]
        assert await requests.alist_namespaces(prefix=ACME, max_depth=3) == [(*ACME, "a"), (*ACME, "b")]
        assert await requests.alist_namespaces(prefix=(*ACME, "*"), suffix=("c",)) == [(*ACME, "b", "c")]
    with acting(BOB):
        assert await graphs.alist_namespaces() == [(*ACME, "b", "c")]
        assert await graphs.alist_namespaces(prefix=("*",)) == [(*ACME, "b", "c")]


async def test_shared_item_hides_own_item_of_the_same_key(requests: ActorScopedStore, graphs: ActorScopedStore) -> None:
    await put(requests, BOB, ACME, "k")
    await put(requests, led(ALICE), ACME, "k")
    for store, actor in ((requests, led(BOB)), (graphs, BOB)):
        with acting(actor):
            item = await store.aget(ACME, "k")
            assert item is not None
            assert item.value["by"] == "alice"
            assert [one.value["by"] for one in await store.asearch(ACME)] == ["alice"]
    with acting(BOB):
        await graphs.adelete(ACME, "k")
        assert await graphs.aget(ACME, "k") is None
    assert await keys(requests, led(ALICE), ACME) == []


async def test_handler_grants_only_the_namespace_it_sets(requests: ActorScopedStore) -> None:
    await put(requests, led(ALICE, ("org", "other")), ("org", "other"), "k")
    with acting(led(BOB)):
        for namespace in (("org", "other"), ("org",), ()):
            assert await requests.asearch(namespace) == []
        assert await requests.aget(("org", "other"), "k") is None
        assert await requests.alist_namespaces() == []
        await requests.aput(("org", "other"), "k", {"by": "bob"})
        await requests.adelete(("org", "other"), "k")
    assert await keys(requests, led(ALICE, ("org", "other")), ("org", "other")) == ["k"]


async def test_graph_writes_to_a_shared_namespace_are_shared(
    requests: ActorScopedStore, graphs: ActorScopedStore
) -> None:
    await put(graphs, BOB, ACME, "before")
    await put(requests, led(ALICE), (*ACME, "docs"), "k")
    await put(graphs, BOB, (*ACME, "memories"), "after")
    await put(graphs, BOB, ("org", "acme2"), "beside")
    assert await keys(requests, led(ALICE), ACME) == ["k", "after"]
    assert sorted(await keys(graphs, BOB, ("org",))) == ["after", "before", "beside", "k"]


async def test_user_named_like_a_shared_space_cannot_reach_it(
    requests: ActorScopedStore, graphs: ActorScopedStore
) -> None:
    await put(requests, led(ALICE), ACME, "k")
    for name in ("@tenant", "@shared", "%40tenant"):
        pretender = ActorContext(name)
        assert await keys(requests, pretender, ()) == []
        await put(requests, pretender, ACME, "forged")
    assert await keys(requests, led(BOB), ACME) == await keys(graphs, BOB, ()) == ["k"]
