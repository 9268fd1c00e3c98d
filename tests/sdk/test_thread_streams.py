"""The event protocol as the unmodified clients speak it: langgraph_sdk's thread streams, and RemoteGraph."""

from __future__ import annotations

import asyncio
from typing import Any, Literal
from uuid import uuid4

import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_client, get_sync_client

HI = {"messages": [{"role": "human", "content": "hi there"}]}

Transport = Literal["sse", "websocket"]


@pytest.fixture(params=["sse", "websocket"])
def transport(request: pytest.FixtureRequest) -> Transport:
    chosen: Transport = request.param
    return chosen


@pytest.fixture
def threads(url: str) -> Any:
    return get_client(url=url, api_key=None).threads


async def test_the_output_of_a_run(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(20), threads.stream(assistant_id="agent", transport=transport) as thread:
        await thread.run.start(input=HI)
        output = await thread.output
    assert [message["content"] for message in output["messages"]] == ["hi there", "echo: hi there"]


async def test_messages_arrive_in_pieces(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(20), threads.stream(assistant_id="agent", transport=transport) as thread:
        await thread.run.start(input=HI)
        said = [[piece async for piece in message.text] async for message in first(thread.messages, 1)]
    assert said == [["echo:", " ", "hi", " ", "there"]]


async def test_values_are_snapshots(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(20), threads.stream(assistant_id="fanout", transport=transport) as thread:
        await thread.run.start(input={})
        seen = [values["log"] async for values in first(thread.values, 2)]
    assert seen == [["plan"], ["plan", "work 0", "work 1", "work 2"]]


async def test_tool_calls_have_inputs_and_outputs(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(20), threads.stream(assistant_id="tools", transport=transport) as thread:
        await thread.run.start(input=HI)
        (call,) = [call async for call in first(thread.tool_calls, 1)]
        output = await call.output
    assert (call.name, call.input, output["content"]) == ("add", {"a": 2, "b": 3}, "5")


async def test_subgraphs_are_found_and_read(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(20), threads.stream(assistant_id="nested", transport=transport) as thread:
        await thread.run.start(input=HI)
        async for child in first(thread.subgraphs, 1):
            assert child.graph_name == "child"
            said = ["".join([piece async for piece in message.text]) async for message in first(child.messages, 1)]
    assert said == ["from child"]


async def test_an_interrupt_is_answered(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(20), threads.stream(assistant_id="nested_hitl", transport=transport) as thread:
        await thread.run.start(input=HI)
        while not thread.interrupted:
            await asyncio.sleep(0.01)
        (asked,) = thread.interrupts
        assert asked["value"] == {"question": "approve?"}
        await thread.run.respond("yes")
        output = await thread.output
    assert output["answer"] == "yes"


async def test_a_run_that_fails_says_why(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(20), threads.stream(assistant_id="fail", transport=transport) as thread:
        await thread.run.start(input=HI)
        with pytest.raises(RuntimeError, match="boom"):
            await thread.output


async def test_a_thread_is_joined_by_a_second_client(threads: Any) -> None:
    thread_id = str(uuid4())
    async with asyncio.timeout(20), threads.stream(thread_id, assistant_id="agent") as thread:
        await thread.run.start(input=HI)
        output = await thread.output
    async with asyncio.timeout(20), threads.stream(thread_id, assistant_id="agent") as again:
        assert await again.output == output
        events = [event async for event in first(again.events, 19)]
    assert events[-1]["params"]["data"]["event"] == "completed"


def test_the_synchronous_client(url: str, transport: Transport) -> None:
    threads = get_sync_client(url=url, api_key=None).threads
    with threads.stream(assistant_id="agent", transport=transport) as thread:
        thread.run.start(input=HI)
        said = [str(message.text) for message in thread.messages]
        output = thread.output
    assert said == ["echo: hi there"]
    assert output["messages"][-1]["content"] == "echo: hi there"


async def test_a_remote_graph_streams_events(url: str) -> None:
    graph = RemoteGraph("agent", url=url)
    async with asyncio.timeout(20):
        run = await graph.astream_events(HI, version="v3")
        async with run:
            said = ["".join([piece async for piece in message.text]) async for message in first(run.messages, 1)]
            output = await run.output()
    assert said == ["echo: hi there"]
    assert output["messages"][-1]["content"] == "echo: hi there"


async def first(items: Any, count: int) -> Any:
    """The first so many: streams of threads have no end."""
    async for item in items:
        yield item
        count -= 1
        if not count:
            return
