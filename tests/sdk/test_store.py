"""Store items, with the methods that the Python SDK has for them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from langgraph_sdk.errors import UnprocessableEntityError


@pytest.fixture
def room() -> str:
    return str(uuid.uuid4())


async def test_item_is_written_read_and_deleted(client: Any, room: str) -> None:
    await client.store.put_item([room, "b"], key="k", value={"x": 1})
    item = await client.store.get_item([room, "b"], key="k")
    assert (item["namespace"], item["key"], item["value"]) == ([room, "b"], "k", {"x": 1})
    await client.store.put_item([room, "b"], key="k", value={"x": 2})
    assert (await client.store.get_item([room, "b"], key="k"))["value"] == {"x": 2}
    await client.store.delete_item([room, "b"], key="k")
    assert await client.store.get_item([room, "b"], key="k") is None


async def test_items_are_searched(client: Any, room: str) -> None:
    for number in range(4):
        await client.store.put_item([room, "n"], key=str(number), value={"n": number, "even": number % 2 == 0})
    found = await client.store.search_items([room], limit=10)
    assert {item["value"]["n"] for item in found["items"]} == {0, 1, 2, 3}
    even = await client.store.search_items([room], filter={"even": True})
    assert {item["value"]["n"] for item in even["items"]} == {0, 2}
    assert len((await client.store.search_items([room], limit=3, offset=2))["items"]) == 2


async def test_query_without_index_matches_words(client: Any, room: str) -> None:
    await client.store.put_item([room], key="fox", value={"text": "The quick brown fox"})
    await client.store.put_item([room], key="dog", value={"text": "The lazy dog", "legs": 4}, index=["text"])
    found = (await client.store.search_items([room], query="a FOX"))["items"]
    assert [item["key"] for item in found] == ["fox"]
    assert found[0]["score"] > 0
    assert (await client.store.search_items([room], query="the dog"))["items"][0]["key"] == "dog"
    assert (await client.store.search_items([room], query="4"))["items"] == []


async def test_namespaces_are_listed(client: Any, room: str) -> None:
    for path in (["a", "x"], ["a", "y"], ["b", "x"]):
        await client.store.put_item([room, *path], key="k", value={})

    async def listed(**where: Any) -> list[list[str]]:
        return sorted(path[1:] for path in (await client.store.list_namespaces(prefix=[room], **where))["namespaces"])

    assert await listed() == [["a", "x"], ["a", "y"], ["b", "x"]]
    assert await listed(max_depth=2) == [["a"], ["b"]]
    assert await listed(suffix=["x"]) == [["a", "x"], ["b", "x"]]


async def test_graph_and_a_client_see_the_same_items(client: Any) -> None:
    before = await client.store.get_item(["gauntlet", "counter"], key="n")
    await client.runs.wait(None, "memory", input={})
    after = await client.store.get_item(["gauntlet", "counter"], key="n")
    assert after["value"]["n"] == (before["value"]["n"] if before else 0) + 1


async def test_namespace_with_a_period_is_refused(client: Any) -> None:
    # The SDK itself refuses the plain call, so the request is sent directly.
    with pytest.raises(UnprocessableEntityError, match=r"Namespace label 'a\.b' must be"):
        await client.http.put("/store/items", json={"namespace": ["a.b"], "key": "k", "value": {}})
