"""The event protocol as the unmodified clients speak it: langgraph_sdk's thread streams, and RemoteGraph."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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
        said = await collected(thread.messages, 1, words)
    assert said == [["echo:", " ", "hi", " ", "there"]]


async def test_values_are_snapshots(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(20), threads.stream(assistant_id="fanout", transport=transport) as thread:
        await thread.run.start(input={})
        seen = [
            values.get("log") async for values in until(thread.values, lambda values: len(values.get("log", [])) == 4)
        ]
    # The first is what the client has read from the state: how far the run has come by then is chance.
    assert seen[1:] in (
        [["plan"], ["plan", "work 0", "work 1", "work 2"]],
        [["plan", "work 0", "work 1", "work 2"]],
        [],
    )


async def test_tool_calls_have_inputs_and_outputs(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(20), threads.stream(assistant_id="tools", transport=transport) as thread:
        await thread.run.start(input=HI)
        ((call, output),) = await collected(thread.tool_calls, 1, with_output)
    assert (call.name, call.input, output["content"]) == ("add", {"a": 2, "b": 3}, "5")


async def test_subgraphs_are_found_and_read(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(20), threads.stream(assistant_id="nested", transport=transport) as thread:
        await thread.run.start(input=HI)
        (said,) = await collected(thread.subgraphs, 1, said_by)
    assert said == ("child", ["from", " ", "child"])


async def test_an_interrupt_is_answered(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(20), threads.stream(assistant_id="nested_hitl", transport=transport) as thread:
        await thread.run.start(input=HI)
        await collected(thread.subscribe(["input"]), 1, itself)
        while not thread.interrupted:  # noqa: ASYNC110 - the client says it in a field, a moment after the event
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
        events = await collected(again.events, 19, itself)
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
            said = await collected(run.messages, 1, words)
            output = await run.output()
    assert said == [["echo:", " ", "hi", " ", "there"]]
    assert output["messages"][-1]["content"] == "echo: hi there"


async def until(items: Any, is_last: Callable[[Any], bool]) -> Any:
    async for item in items:
        yield item
        if is_last(item):
            return


async def with_output(call: Any) -> tuple[Any, Any]:
    return call, await call.output


async def said_by(child: Any) -> tuple[str, list[str]]:
    (said,) = await collected(child.messages, 1, words)
    return child.graph_name, said


async def words(message: Any) -> list[str]:
    return [piece async for piece in message.text]


async def collected(items: Any, count: int, use: Callable[[Any], Awaitable[Any]]) -> list[Any]:
    """What ``use`` makes of the first so many. The client hands out what belongs to an item only while somebody waits
    for the next one, so each is read beside that.
    """
    results: list[Any] = []
    enough = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def one(item: Any) -> None:
        results.append(await use(item))
        if len(results) == count:
            enough.set()

    async def each() -> None:
        async for item in items:
            tasks.append(asyncio.create_task(one(item)))

    reading = asyncio.create_task(each())
    waiting = asyncio.create_task(enough.wait())
    try:
        await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
        # Streams of threads have no end; those of graphs have, and then what was begun is read to its end.
        await (asyncio.gather(*tasks) if reading.done() else waiting)
        return results
    finally:
        for task in (reading, waiting, *tasks):
            task.cancel()
        await asyncio.gather(reading, waiting, *tasks, return_exceptions=True)


async def itself(item: Any) -> Any:
    return item
