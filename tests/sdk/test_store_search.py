"""Items with an index and a TTL, with every parameter that the Python SDK has for them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk.errors import UnprocessableEntityError

from .flavours import Flavour, client_of
from .server import serving

CODE = Path(__file__).parent / "store_graphs.py"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("store")
    config = place / "langgraph.json"
    graphs = {name: f"{CODE}:{name}" for name in ("searching", "searching_in_a_thread", "unstorable")}
    index = {"dims": 3, "embed": f"{CODE}:embed", "fields": ["text"]}
    config.write_text(json.dumps({"graphs": graphs, "store": {"index": index, "ttl": {"default_ttl": 60}}}))
    with serving(place, config) as url:
        yield url


@pytest.fixture
def client(flavour: Flavour, url: str) -> Any:
    return client_of(flavour, url)


@pytest.fixture
def room() -> str:
    return str(uuid.uuid4())


async def test_items_are_found_by_meaning(client: Any, room: str) -> None:
    await client.store.put_item([room], key="cat", value={"text": "a cat", "age": 3})
    await client.store.put_item([room, "in"], key="dog", value={"text": "a dog", "age": 5})
    await client.store.put_item([room], key="note", value={"note": "dog", "age": 1}, index=["note"])
    await client.store.put_item([room], key="hidden", value={"text": "dog"}, index=False)
    found = (await client.store.search_items([room], query="dog"))["items"]
    assert [(item["key"], round(item["score"], 5)) for item in found] == [("note", 1), ("dog", 1), ("cat", 0)]
    older = await client.store.search_items([room], query="dog", filter={"age": {"$gte": 3}}, limit=1)
    assert [item["key"] for item in older["items"]] == ["dog"]
    second = await client.store.search_items([room], query="dog", limit=1, offset=1, refresh_ttl=False)
    assert [item["key"] for item in second["items"]] == ["dog"]
    everything = (await client.store.search_items([room]))["items"]
    assert {item["key"]: item["score"] for item in everything} == dict.fromkeys(("cat", "dog", "note", "hidden"))


async def test_items_may_expire(client: Any, url: str, room: str) -> None:
    await client.store.put_item([room], key="k", value={"text": "cat"}, ttl=5)
    assert (await client.store.get_item([room], key="k", refresh_ttl=True))["value"] == {"text": "cat"}
    assert (await client.store.get_item([room], key="k", refresh_ttl=False)) is not None
    for ttl in (0, -1, "1", 1e12):
        with pytest.raises(UnprocessableEntityError, match="ttl"):
            await client.http.put("/store/items", json={"namespace": [room], "key": "k", "value": {}, "ttl": ttl})
    # The SDKs omit null; other clients send it, for an item without expiry.
    async with httpx.AsyncClient(base_url=url) as http:
        body: dict[str, Any] = {"namespace": [room], "key": "stays", "value": {}, "ttl": None}
        assert (await http.put("/store/items", json=body)).status_code == 204


@pytest.mark.parametrize("graph", ["searching", "searching_in_a_thread"])
async def test_graphs_search_what_clients_wrote(client: Any, room: str, graph: str) -> None:
    await client.store.put_item([room], key="client", value={"text": "a cat"})
    output = await client.runs.wait(None, graph, input={"room": room, "query": "cat"})
    assert output["keys"] == ["client", "graph"]
    assert output["scores"] == pytest.approx([1, 0.5**0.5], abs=1e-5)
    found = await client.store.search_items([room], query="car")
    assert found["items"][0]["key"] == "graph"


async def test_unstorable_item_fails_the_run_with_a_reason(client: Any, room: str) -> None:
    output = await client.runs.wait(None, "unstorable", input={"room": room}, raise_error=False)
    assert output["__error__"]["error"] == "InvalidItem"
    assert "cannot be stored as JSON" in output["__error__"]["message"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"filter": {"a": {"$in": [1]}}}, r"there is no operator '\\?\$in'"),
        ({"filter": {"$and": []}}, "stands where a field is expected"),
        ({"filter": {"a": {"$gt": None}}}, "compares numbers, or texts"),
        ({"filter": [1]}, "filter"),
        ({"limit": 0}, "limit"),
        ({"offset": -1}, "offset"),
        ({"query": 1}, "query"),
        ({"namespace_prefix": ["a.b"]}, "without periods"),
    ],
    ids=str,
)
async def test_invalid_search_is_refused(client: Any, room: str, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UnprocessableEntityError, match=message):
        await client.http.post("/store/items/search", json={"namespace_prefix": [room], **wrong})


@pytest.mark.parametrize("index", [True, [""], ["a["], [1], "text"], ids=str)
async def test_invalid_index_is_refused(client: Any, room: str, index: Any) -> None:
    with pytest.raises(UnprocessableEntityError, match="index"):
        await client.http.put("/store/items", json={"namespace": [room], "key": "k", "value": {}, "index": index})


async def test_namespaces_are_listed_by_every_parameter(client: Any, room: str) -> None:
    for path in (["a", "x", "1"], ["a", "y", "2"], ["b", "x", "1"]):
        await client.store.put_item([room, *path], key="k", value={"text": "cat"})

    async def listed(prefix: list[str], **where: Any) -> list[list[str]]:
        answer = await client.store.list_namespaces(prefix=[room, *prefix], **where)
        return [path[1:] for path in answer["namespaces"]]

    assert await listed(["*", "x"]) == [["a", "x", "1"], ["b", "x", "1"]]
    assert await listed([], suffix=["*", "2"]) == [["a", "y", "2"]]
    assert await listed(["a"], suffix=["x", "*"], max_depth=3) == [["a", "x"]]
    assert await listed([], max_depth=2) == [["a"], ["b"]]
    assert await listed([], limit=1, offset=1) == [["a", "y", "2"]]
