"""Assistants: one per graph, found, read and described by the Python SDK."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from langgraph_sdk.errors import NotFoundError, UnprocessableEntityError

AGENT = "fe096781-5601-53d2-b2f6-0d3403f7e9ca"
GRAPHS = {
    "agent", "hitl", "multi", "nested", "nested_hitl", "slow", "fail", "ctx", "tools", "memory", "fanout", "factory",
}  # fmt: skip


async def test_every_graph_has_an_assistant_with_the_id_it_has_everywhere(client: Any) -> None:
    found = await client.assistants.search(limit=100)
    assert {assistant["graph_id"] for assistant in found} == GRAPHS
    (agent,) = [assistant for assistant in found if assistant["graph_id"] == "agent"]
    assert (agent["assistant_id"], agent["name"], agent["version"]) == (AGENT, "agent", 1)
    assert agent["metadata"] == {"created_by": "system"}
    assert await client.assistants.get(AGENT) == agent
    assert await client.assistants.get("agent") == agent


async def test_assistants_are_found(client: Any) -> None:
    assert [one["graph_id"] for one in await client.assistants.search(graph_id="ctx")] == ["ctx"]
    assert await client.assistants.search(graph_id="nobody") == []
    by_name = await client.assistants.search(sort_by="name", sort_order="asc", limit=2, offset=1)
    assert [one["name"] for one in by_name] == sorted(GRAPHS)[1:3]
    assert await client.assistants.search(graph_id="ctx", select=["graph_id"]) == [{"graph_id": "ctx"}]
    assert await client.assistants.count() == len(GRAPHS)
    assert await client.assistants.count(graph_id="ctx") == 1
    page = await client.assistants.search(limit=5, response_format="object")
    assert (len(page["assistants"]), page["next"]) == (5, "5")


async def test_an_assistant_that_does_not_exist(client: Any) -> None:
    with pytest.raises(NotFoundError):
        await client.assistants.get(str(uuid.uuid4()))
    with pytest.raises(UnprocessableEntityError, match="Must be either"):
        await client.assistants.get("nope")


async def test_schemas(client: Any) -> None:
    schemas = await client.assistants.get_schemas("ctx")
    assert schemas["graph_id"] == "ctx"
    assert schemas["context_schema"]["properties"]["color"]["type"] == "string"
    assert schemas["input_schema"]["properties"]["seen"]["type"] == "object"
    assert (await client.assistants.get_schemas(AGENT))["context_schema"] is None
    assert "messages" in (await client.assistants.get_schemas("factory"))["state_schema"]["properties"]


async def test_graphs_are_drawn_as_deep_as_asked(client: Any) -> None:
    flat = await client.assistants.get_graph("nested")
    assert [node["id"] for node in flat["nodes"]] == ["__start__", "before", "child", "__end__"]
    for xray in (True, 1):
        deep = await client.assistants.get_graph("nested", xray=xray)
        assert "child:child_model" in {node["id"] for node in deep["nodes"]}
    with pytest.raises(UnprocessableEntityError, match="xray"):
        await client.assistants.get_graph("nested", xray=-1)


async def test_subgraphs(client: Any) -> None:
    assert list(await client.assistants.get_subgraphs("nested")) == ["child"]
    assert list(await client.assistants.get_subgraphs("nested", recurse=True)) == ["child"]
    assert list(await client.assistants.get_subgraphs("nested", namespace="child")) == ["child"]
    assert await client.assistants.get_subgraphs("agent") == {}
    with pytest.raises(NotFoundError):
        await client.assistants.get_subgraphs("nested", namespace="nobody")
