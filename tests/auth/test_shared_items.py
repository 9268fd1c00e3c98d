"""A handler shares items by rewriting the namespace, within the tenant, for clients and for graphs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk.errors import UnprocessableEntityError

from tests.servers.profiles import PROFILES, served

from .conftest import ClientOf


@pytest.fixture(params=PROFILES)
async def url(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    async with served(Path(__file__).parent / "shared_items.json", tmp_path, request) as url:
        yield url


async def found(client: Any, namespace: list[str], **put: Any) -> dict[str, Any]:
    """Return the items that the graph of this client finds after its writes."""
    answered: dict[str, Any] = await client.runs.wait(None, "librarian", input={"read": namespace, "put": put})
    return answered["found"]  # type: ignore[no-any-return]


async def test_team_shares_items_of_the_namespace_its_handler_sets(client_of: ClientOf) -> None:
    alice, bob, eve = client_of("alice acme team"), client_of("bob acme team"), client_of("eve other team")
    await alice.store.put_item(["notes"], "k", {"x": 1})
    for who in (alice, bob):
        item = await who.store.get_item(["notes"], "k")
        assert (item["namespace"], item["value"]) == (["org", "acme", "notes"], {"x": 1})
    await eve.store.put_item(["notes"], "k", {"x": "eve"})
    assert (await eve.store.list_namespaces())["namespaces"] == [["org", "other", "notes"]]
    assert [one["value"] for one in (await bob.store.search_items([]))["items"]] == [{"x": 1}]
    await bob.store.delete_item(["notes"], "k")
    assert await alice.store.get_item(["notes"], "k") is None
    assert (await eve.store.get_item(["notes"], "k"))["value"] == {"x": "eve"}


async def test_graphs_read_and_write_shared_items(client_of: ClientOf) -> None:
    alice, bob = client_of("alice acme team"), client_of("bob acme team")
    assert await found(alice, ["org", "acme"], early={"by": "alice"}) == {"org/acme early": {"by": "alice"}}
    assert await found(bob, ["org", "acme"]) == {}
    await alice.store.put_item(["notes"], "k", {"x": 1})
    assert await found(bob, ["org", "acme", "notes"]) == {"org/acme/notes k": {"x": 1}}
    assert await found(bob, ["org", "acme", "more"], late={"by": "bob"}) == {"org/acme/more late": {"by": "bob"}}
    shared = {"org/acme/notes k": {"x": 1}, "org/acme/more late": {"by": "bob"}}
    assert await found(bob, ["org", "acme"]) == shared
    # Items that a graph wrote before sharing belong to its user, who finds them beside the shared ones.
    assert await found(alice, ["org", "acme"]) == {**shared, "org/acme early": {"by": "alice"}}
    assert (await alice.store.get_item(["more"], "late"))["value"] == {"by": "bob"}
    # Beside it, each user has private items.
    assert await found(alice, ["diary"], day={"by": "alice"}) == {"diary day": {"by": "alice"}}
    assert await found(bob, ["diary"]) == {}


async def test_namespace_under_the_user_s_own_label_stays_private(client_of: ClientOf) -> None:
    alice, bob = client_of("alice acme user"), client_of("bob acme user")
    await alice.store.put_item(["memories"], "k", {"x": 1})
    for namespace in (["memories"], ["alice", "memories"]):
        assert (await alice.store.get_item(namespace, "k"))["namespace"] == ["alice", "memories"]
        assert await bob.store.get_item(namespace, "k") is None
    assert await found(alice, ["alice", "memories"]) == {"alice/memories k": {"x": 1}}
    assert await found(bob, ["alice", "memories"]) == {}
    assert await found(bob, ["alice"]) == {}


async def test_items_stay_private_when_the_handler_only_allows(client_of: ClientOf) -> None:
    alice, bob, team = client_of("alice acme allow"), client_of("bob acme allow"), client_of("carol acme team")
    await alice.store.put_item(["org", "acme"], "k", {"x": 1})
    await team.store.put_item(["notes"], "k", {"x": 2})
    for namespace in (["org", "acme"], ["org", "acme", "notes"], []):
        assert (await bob.store.search_items(namespace))["items"] == []
    assert [one["value"] for one in (await alice.store.search_items(["org"]))["items"]] == [{"x": 1}]
    assert (await team.store.search_items([]))["items"][0]["value"] == {"x": 2}


async def test_handler_can_set_one_namespace_for_all_items(client_of: ClientOf) -> None:
    alice, bob = client_of("alice acme elsewhere"), client_of("bob other elsewhere")
    await alice.store.put_item(["a"], "k", {"x": 1})
    assert (await bob.store.get_item(["b"], "k"))["namespace"] == ["one", "place"]


async def test_filter_narrows_a_search_of_shared_items(client_of: ClientOf) -> None:
    alice, bob = client_of("alice acme mine"), client_of("bob acme mine")
    await alice.store.put_item(["notes"], "a", {"by": "alice", "x": 1})
    await bob.store.put_item(["notes"], "b", {"by": "bob", "x": 1})
    for who, key in ((alice, "a"), (bob, "b")):
        for wanted in (None, {"x": 1}, {"by": {"$ne": "unknown"}}):
            assert [one["key"] for one in (await who.store.search_items([], filter=wanted))["items"]] == [key]


async def test_store_operation_uses_the_values_the_handler_changed(client_of: ClientOf) -> None:
    alice = client_of("alice acme stamp")
    for key in ("A", "B"):
        await alice.store.put_item(["notes"], key, {"x": 1})
    assert (await alice.store.get_item(["notes"], "a"))["value"] == {"x": 1, "by": "alice"}
    assert [one["key"] for one in (await alice.store.search_items(["notes"], limit=5))["items"]] == ["b"]


async def test_invalid_namespace_set_by_a_handler_is_refused(client_of: ClientOf) -> None:
    alice = client_of("alice acme broken")
    said = "namespace, as this server's auth handler rewrote it"
    for call in (
        alice.store.put_item(["notes"], "k", {"x": 1}),
        alice.store.get_item(["notes"], "k"),
        alice.store.delete_item(["notes"], "k"),
        alice.store.search_items(["notes"]),
        alice.store.list_namespaces(),
    ):
        with pytest.raises(UnprocessableEntityError, match=said):
            await call
