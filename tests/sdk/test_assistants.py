"""Assistants: created, found, updated, restored, described and deleted by the Python SDK, with every method."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from langgraph_sdk.errors import BadRequestError, ConflictError, NotFoundError, UnprocessableEntityError

AGENT = "fe096781-5601-53d2-b2f6-0d3403f7e9ca"
GRAPHS = {
    "agent", "hitl", "multi", "nested", "nested_hitl", "slow", "fail", "ctx", "tools", "memory", "fanout", "factory",
}  # fmt: skip


SYSTEM = {"created_by": "system"}
"""Distinguishes the default assistants from those that other tests create here."""


async def a_new(client: Any, **fields: Any) -> Any:
    return await client.assistants.create("ctx", **fields)


async def test_every_graph_has_an_assistant_with_the_id_it_has_everywhere(client: Any) -> None:
    found = await client.assistants.search(metadata=SYSTEM, limit=100)
    assert {assistant["graph_id"] for assistant in found} == GRAPHS
    (agent,) = [assistant for assistant in found if assistant["graph_id"] == "agent"]
    assert (agent["assistant_id"], agent["name"], agent["version"]) == (AGENT, "agent", 1)
    assert agent["metadata"] == SYSTEM
    assert await client.assistants.get(AGENT) == agent
    assert await client.assistants.get("agent") == agent


async def test_assistants_are_found(client: Any) -> None:
    assert [one["graph_id"] for one in await client.assistants.search(graph_id="hitl")] == ["hitl"]
    assert await client.assistants.search(graph_id="unknown") == []
    by_name = await client.assistants.search(metadata=SYSTEM, sort_by="name", sort_order="asc", limit=2, offset=1)
    assert [one["name"] for one in by_name] == sorted(GRAPHS)[1:3]
    assert await client.assistants.search(graph_id="hitl", select=["graph_id"]) == [{"graph_id": "hitl"}]
    assert await client.assistants.count(metadata=SYSTEM) == len(GRAPHS)
    assert await client.assistants.count(graph_id="hitl") == 1
    page = await client.assistants.search(limit=5, response_format="object")
    assert (len(page["assistants"]), page["next"]) == (5, "5")
    last = await client.assistants.search(metadata=SYSTEM, limit=5, offset=10, response_format="object")
    assert (len(last["assistants"]), last["next"]) == (len(GRAPHS) - 10, None)


async def test_created_assistant_is_found_by_every_field(client: Any) -> None:
    mark = str(uuid.uuid4())
    made = await client.assistants.create(
        "ctx",
        {"tags": ["t"], "recursion_limit": 7},
        context={"color": "red"},
        metadata={"mark": mark},
        name=f"Red {mark}",
        description="paints",
    )
    assert uuid.UUID(made["assistant_id"])
    assert (made["graph_id"], made["version"], made["name"], made["description"]) == (
        "ctx", 1, f"Red {mark}", "paints",
    )  # fmt: skip
    assert made["config"] == {"tags": ["t"], "recursion_limit": 7, "configurable": {"color": "red"}}
    assert (made["context"], made["metadata"]) == ({"color": "red"}, {"mark": mark})
    assert await client.assistants.get(made["assistant_id"]) == made
    for where in ({"metadata": {"mark": mark}}, {"name": mark.upper()}, {"graph_id": "ctx", "name": mark[:20]}):
        assert await client.assistants.search(**where) == [made], where
        assert await client.assistants.count(**where) == 1
    assert await client.assistants.count(metadata={"mark": mark}, graph_id="agent") == 0


async def test_assistant_created_with_only_a_graph_has_defaults(client: Any) -> None:
    made = await a_new(client)
    assert (made["name"], made["config"], made["context"], made["metadata"], made["description"]) == (
        "Untitled", {}, {}, {}, None,
    )  # fmt: skip


async def test_create_with_own_id_and_if_exists(client: Any) -> None:
    assistant_id = str(uuid.uuid4())
    made = await a_new(client, assistant_id=assistant_id, name="first")
    assert made["assistant_id"] == assistant_id
    for options in ({}, {"if_exists": "raise"}):
        with pytest.raises(ConflictError, match="already exists"):
            await a_new(client, assistant_id=assistant_id, **options)
    assert await a_new(client, assistant_id=assistant_id, name="second", if_exists="do_nothing") == made
    assert await client.assistants.create("agent", assistant_id=AGENT, if_exists="do_nothing") == (
        await client.assistants.get("agent")
    )


async def test_assistant_names_are_not_ids(client: Any) -> None:
    """Names need not be unique or differ from graph names: a graph name refers to its default assistant."""
    name = str(uuid.uuid4())
    both = {(await a_new(client, name=name))["assistant_id"] for _ in range(2)}
    assert {one["assistant_id"] for one in await client.assistants.search(name=name)} == both
    like_a_graph = await a_new(client, name="agent")
    assert (await client.assistants.get("agent"))["assistant_id"] == AGENT
    await client.assistants.delete(like_a_graph["assistant_id"])


async def test_update_creates_a_version_and_keeps_other_fields(client: Any) -> None:
    made = await a_new(
        client, config={"tags": ["t"]}, context={"color": "red"}, metadata={"a": 1}, name="n", description="d"
    )
    assistant_id = made["assistant_id"]
    second = await client.assistants.update(assistant_id, context={"color": "blue"}, metadata={"b": 2})
    assert second == {
        **made,
        "version": 2,
        "config": {"tags": ["t"], "configurable": {"color": "blue"}},
        "context": {"color": "blue"},
        "metadata": {"a": 1, "b": 2},
        "updated_at": second["updated_at"],
    }
    assert second["updated_at"] > made["updated_at"]
    third = await client.assistants.update(assistant_id, graph_id="agent", name="m", description="e")
    assert (third["version"], third["graph_id"], third["name"], third["description"]) == (3, "agent", "m", "e")
    assert (third["config"], third["context"]) == (second["config"], second["context"])
    fourth = await client.assistants.update(assistant_id, config={"configurable": {"color": "teal"}})
    assert (fourth["config"], fourth["context"]) == ({"configurable": {"color": "teal"}}, {"color": "teal"})
    fifth = await client.assistants.update(assistant_id, config={"tags": ["x"]})
    assert fifth["config"] == {"tags": ["x"], "configurable": {"color": "teal"}}
    sixth = await client.assistants.update(assistant_id, config={})
    assert sixth["config"] == {"configurable": {"color": "teal"}}
    seventh = await client.assistants.update(assistant_id, context={})
    assert (seventh["config"], seventh["context"]) == ({}, {})
    # An empty update creates a version too, as on the reference server.
    eighth = await client.assistants.update(assistant_id)
    assert eighth == {**seventh, "version": 8, "updated_at": eighth["updated_at"]}
    assert await client.assistants.get(assistant_id) == eighth


async def test_assistant_that_was_read_can_be_sent_back(client: Any) -> None:
    made = await a_new(client, context={"color": "red"}, config={"tags": ["t"]}, metadata={"a": 1})
    again = await client.assistants.update(
        made["assistant_id"], config=made["config"], context=made["context"], metadata=made["metadata"]
    )
    assert (again["config"], again["context"], again["version"]) == (made["config"], made["context"], 2)


async def test_versions_are_listed_and_restored_completely(client: Any) -> None:
    made = await a_new(client, context={"color": "red"}, metadata={"n": 1}, name="one", description="d")
    assistant_id = made["assistant_id"]
    for n in (2, 3):
        await client.assistants.update(
            assistant_id, context={"color": f"c{n}"}, metadata={"n": n}, name=f"name {n}", graph_id="agent"
        )
    versions = await client.assistants.get_versions(assistant_id)
    assert [(one["version"], one["metadata"], one["context"]) for one in versions] == [
        (3, {"n": 3}, {"color": "c3"}),
        (2, {"n": 2}, {"color": "c2"}),
        (1, {"n": 1}, {"color": "red"}),
    ]
    assert {**versions[-1], "updated_at": made["updated_at"]} == made
    assert [one["version"] for one in await client.assistants.get_versions(assistant_id, limit=1, offset=1)] == [2]
    assert [one["version"] for one in await client.assistants.get_versions(assistant_id, metadata={"n": 1})] == [1]
    back = await client.assistants.set_latest(assistant_id, 1)
    assert back == {**made, "updated_at": back["updated_at"]} == await client.assistants.get(assistant_id)
    assert (await client.assistants.update(assistant_id, metadata={"n": 4}))["version"] == 4
    assert [one["version"] for one in await client.assistants.get_versions(assistant_id)] == [4, 3, 2, 1]
    assert [one["version"] for one in await client.assistants.get_versions("agent")] == [1]


async def test_run_uses_the_current_version(client: Any) -> None:
    made = await a_new(client, config={"tags": ["t"]}, context={"color": "red"}, metadata={"k": "v"})
    assistant_id = made["assistant_id"]

    async def seen() -> dict[str, Any]:
        found: dict[str, Any] = (await client.runs.wait(None, assistant_id, input={}))["seen"]
        return found

    first = await seen()
    assert (first["context"], first["configurable"]["color"], first["tags"]) == ({"color": "red"}, "red", ["t"])
    assert (first["metadata"]["k"], first["metadata"]["assistant_id"]) == ("v", assistant_id)
    await client.assistants.update(assistant_id, context={"color": "blue"}, metadata={"k": "w"})
    second = await seen()
    assert (second["context"], second["configurable"]["color"], second["metadata"]["k"]) == (
        {"color": "blue"}, "blue", "w",
    )  # fmt: skip
    await client.assistants.set_latest(assistant_id, 1)
    third = await seen()
    assert (third["context"], third["configurable"]["color"], third["metadata"]["k"]) == ({"color": "red"}, "red", "v")


async def test_delete_assistant(client: Any) -> None:
    made = await a_new(client)
    assert await client.assistants.delete(made["assistant_id"]) is None
    for call in (
        client.assistants.get(made["assistant_id"]),
        client.assistants.delete(made["assistant_id"]),
        client.assistants.update(made["assistant_id"], name="x"),
        client.assistants.get_versions(made["assistant_id"]),
        client.assistants.set_latest(made["assistant_id"], 1),
        client.assistants.get_schemas(made["assistant_id"]),
        client.assistants.get_graph(made["assistant_id"]),
        client.assistants.get_subgraphs(made["assistant_id"]),
        client.runs.create(None, made["assistant_id"], input={}),
    ):
        with pytest.raises(NotFoundError):
            await call


async def test_delete_assistant_with_its_threads(client: Any) -> None:
    made, other = await a_new(client), await a_new(client)
    used, kept = await client.threads.create(), await client.threads.create()
    for thread, assistant in ((used, made), (kept, other)):
        await client.runs.wait(thread["thread_id"], assistant["assistant_id"], input={})
    await client.assistants.delete(made["assistant_id"], delete_threads=True)
    with pytest.raises(NotFoundError):
        await client.threads.get(used["thread_id"])
    assert (await client.threads.get(kept["thread_id"]))["status"] == "idle"
    await client.assistants.delete(other["assistant_id"])
    assert len(await client.runs.list(kept["thread_id"])) == 1
    assert (await client.threads.get_state(kept["thread_id"]))["values"]["seen"]


async def test_default_assistant_of_a_served_graph_cannot_be_deleted(client: Any) -> None:
    for name in ("agent", AGENT):
        with pytest.raises(ConflictError, match="as long as the graph is served"):
            await client.assistants.delete(name)
    with pytest.raises(ConflictError, match="stays with it"):
        await client.assistants.update("agent", graph_id="ctx")
    assert (await client.assistants.get("agent"))["version"] == 1


async def test_unknown_assistant_is_not_found(client: Any) -> None:
    unknown = str(uuid.uuid4())
    for name, error in ((unknown, NotFoundError), ("nope", UnprocessableEntityError)):
        for call in (
            client.assistants.get(name),
            client.assistants.update(name, name="x"),
            client.assistants.delete(name),
            client.assistants.delete(name, delete_threads=True),
            client.assistants.get_versions(name),
            client.assistants.set_latest(name, 1),
            client.assistants.get_graph(name),
            client.assistants.get_schemas(name),
            client.assistants.get_subgraphs(name),
            client.assistants.get_subgraphs(name, namespace="child"),
        ):
            with pytest.raises(error):
                await call


async def test_invalid_requests_are_refused_with_a_detail(client: Any) -> None:
    made = await a_new(client)
    assistant_id = made["assistant_id"]
    for call, error, text in (
        (client.assistants.create("nope"), NotFoundError, "Graph 'nope' not found. Expected one of"),
        (client.assistants.create(None), UnprocessableEntityError, "graph_id"),
        (a_new(client, assistant_id="mine"), UnprocessableEntityError, "must be a UUID"),
        (a_new(client, if_exists="replace"), UnprocessableEntityError, "if_exists"),
        (a_new(client, config={"tags": "t"}), UnprocessableEntityError, r"config\.tags"),
        (a_new(client, config={"recursion_limit": 0}), UnprocessableEntityError, r"config\.recursion_limit"),
        (a_new(client, metadata=["x"]), UnprocessableEntityError, "metadata"),
        (
            a_new(client, context={"a": 1}, config={"configurable": {"a": 2}}),
            BadRequestError,
            "Cannot specify both configurable and context",
        ),
        (client.assistants.update(assistant_id, graph_id="nope"), NotFoundError, "Graph 'nope' not found"),
        (
            client.assistants.update(assistant_id, context={"a": 1}, config={"configurable": {"a": 2}}),
            BadRequestError,
            "Cannot specify both configurable and context",
        ),
        (client.assistants.set_latest(assistant_id, 9), NotFoundError, "Version 9 not found"),
        (client.assistants.set_latest(assistant_id, 0), UnprocessableEntityError, "version"),
        (client.assistants.set_latest(assistant_id, "1"), UnprocessableEntityError, "version"),
        (client.assistants.get_versions(assistant_id, limit=0), UnprocessableEntityError, "limit"),
        (client.assistants.get_versions(assistant_id, offset=-1), UnprocessableEntityError, "offset"),
        (client.assistants.search(sort_by="color"), UnprocessableEntityError, "sort_by"),
        (client.assistants.search(select=["color"]), UnprocessableEntityError, "select"),
        (client.assistants.search(limit=100_000), UnprocessableEntityError, "limit"),
    ):
        with pytest.raises(error, match=text):
            await call
    assert await client.assistants.get(assistant_id) == made


async def test_concurrent_updates_lose_nothing(client: Any) -> None:
    made = await a_new(client)
    answers = await asyncio.gather(
        *(of(client.assistants.update(made["assistant_id"], metadata={f"k{n}": n})) for n in range(8))
    )
    assert sorted(one["version"] for one in answers) == list(range(2, 10))
    assert (await client.assistants.get(made["assistant_id"]))["metadata"] == {f"k{n}": n for n in range(8)}
    versions = await client.assistants.get_versions(made["assistant_id"], limit=100)
    assert [len(one["metadata"]) for one in versions] == list(range(8, -1, -1))


async def of(call: Any) -> Any:
    return await call


async def test_schemas(client: Any) -> None:
    schemas = await client.assistants.get_schemas("ctx")
    assert schemas["graph_id"] == "ctx"
    assert schemas["context_schema"]["properties"]["color"]["type"] == "string"
    assert schemas["input_schema"]["properties"]["seen"]["type"] == "object"
    assert (await client.assistants.get_schemas(AGENT))["context_schema"] is None
    assert "messages" in (await client.assistants.get_schemas("factory"))["state_schema"]["properties"]


async def test_graphs_are_drawn_to_the_requested_depth(client: Any) -> None:
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
        await client.assistants.get_subgraphs("nested", namespace="unknown")


async def test_assistant_is_described_by_its_graph(client: Any) -> None:
    made = await client.assistants.create("nested")
    assistant_id = made["assistant_id"]
    for describe in (client.assistants.get_schemas, client.assistants.get_graph, client.assistants.get_subgraphs):
        assert await describe(assistant_id) == await describe("nested")
    by_namespace = await client.assistants.get_subgraphs(assistant_id, namespace="child", recurse=True)
    assert by_namespace == await client.assistants.get_subgraphs("nested")
