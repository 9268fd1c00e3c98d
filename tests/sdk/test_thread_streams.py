"""The event protocol through langgraph_sdk's asynchronous client: the streams of threads."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Literal
from uuid import uuid4

import pytest
from langgraph_sdk import get_client

SIDE_BY_SIDE = {"values": 4, "messages": 2, "tool_calls": 1, "updates": 3, "tasks": 6, "checkpoints": 5}
"""Number of events of each kind in a run of a model, a tool and a model again."""
HI = {"messages": [{"role": "human", "content": "hi there"}]}

Transport = Literal["sse", "websocket"]


@pytest.fixture(params=["sse", "websocket"])
def transport(request: pytest.FixtureRequest) -> Transport:
    chosen: Transport = request.param
    return chosen


@pytest.fixture
def threads(url: str) -> Any:
    return get_client(url=url, api_key=None).threads


async def test_output_of_a_run(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(60), threads.stream(assistant_id="agent", transport=transport) as thread:
        await thread.run.start(input=HI)
        output = await thread.output
    assert [message["content"] for message in output["messages"]] == ["hi there", "echo: hi there"]


async def test_messages_arrive_in_pieces(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(60), threads.stream(assistant_id="agent", transport=transport) as thread:
        await thread.run.start(input=HI)
        said = await collected(thread.messages, 1, words)
    assert said == [["echo:", " ", "hi", " ", "there"]]


async def test_values_are_snapshots(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(60), threads.stream(assistant_id="fanout", transport=transport) as thread:
        await thread.run.start(input={})
        seen = [
            values.get("log") async for values in until(thread.values, lambda values: len(values.get("log", [])) == 4)
        ]
    # The first is the client's read of the state: the progress of the run at that time is random.
    assert seen[1:] in (
        [["plan"], ["plan", "work 0", "work 1", "work 2"]],
        [["plan", "work 0", "work 1", "work 2"]],
        [],
    )


async def test_tool_calls_have_inputs_and_outputs(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(60), threads.stream(assistant_id="tools", transport=transport) as thread:
        await thread.run.start(input=HI)
        ((call, output),) = await collected(thread.tool_calls, 1, with_output)
    assert (call.name, call.input, output["content"]) == ("add", {"a": 2, "b": 3}, "5")


async def test_subgraphs_are_found_and_read(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(60), threads.stream(assistant_id="nested", transport=transport) as thread:
        await thread.run.start(input=HI)
        (said,) = await collected(thread.subgraphs, 1, said_by)
    assert said == ("child", ["from", " ", "child"])


async def test_interrupt_is_answered(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(60), threads.stream(assistant_id="nested_hitl", transport=transport) as thread:
        await thread.run.start(input=HI)
        await collected(thread.subscribe(["input"]), 1, itself)
        while not thread.interrupted:  # noqa: ASYNC110 - the client says it in a field, a moment after the event
            await asyncio.sleep(0.01)
        (asked,) = thread.interrupts
        assert asked["value"] == {"question": "approve?"}
        await thread.run.respond("yes")
        output = await thread.output
    assert output["answer"] == "yes"


async def test_failed_run_reports_its_error(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(60), threads.stream(assistant_id="fail", transport=transport) as thread:
        await thread.run.start(input=HI)
        with pytest.raises(RuntimeError, match="boom"):
            await thread.output


async def test_thread_is_joined_by_a_second_client(threads: Any) -> None:
    thread_id = str(uuid4())
    async with asyncio.timeout(60), threads.stream(thread_id, assistant_id="agent") as thread:
        await thread.run.start(input=HI)
        output = await thread.output
    async with asyncio.timeout(60), threads.stream(thread_id, assistant_id="agent") as again:
        assert await again.output == output
        events = await collected(again.events, 19, itself)
    assert events[-1]["params"]["data"]["event"] == "completed"


@pytest.mark.parametrize(
    ("namespace", "received"),
    [([], ["custom", "updates", "updates"]), (["child"], ["custom", "updates"])],
)
async def test_all_events_of_some_channels(
    threads: Any, transport: Transport, namespace: list[str], received: list[str]
) -> None:
    async with asyncio.timeout(60), threads.stream(assistant_id="nested", transport=transport) as thread:
        await thread.run.start(input=HI)
        events = [event async for event in thread.subscribe(["custom", "updates"], namespaces=[namespace], depth=0)]
    assert [event["method"] for event in events] == received
    assert {event["params"]["namespace"][0].partition(":")[0] for event in events if namespace} == set(namespace)


@pytest.mark.parametrize(("name", "payloads"), [("progress", [{"percent": 50}, {"percent": 100}]), ("another", [1])])
async def test_custom_data_by_its_name(crew: str, transport: Transport, name: str, payloads: list[Any]) -> None:
    threads = get_client(url=crew, api_key=None).threads
    async with asyncio.timeout(60), threads.stream(assistant_id="announcing", transport=transport) as thread:
        await thread.run.start(input=HI)
        assert [data["payload"] async for data in thread.extensions[name]] == payloads


async def test_projections_side_by_side(threads: Any, transport: Transport) -> None:
    channels = ["values", "messages", "tool_calls", "updates", "tasks", "checkpoints"]
    async with asyncio.timeout(60), threads.stream(assistant_id="tools", transport=transport) as thread:
        await thread.run.start(input=HI)
        received = [name async for name, _ in thread.interleave_projections(channels)]
    assert dict(Counter(received)) == SIDE_BY_SIDE
    async with asyncio.timeout(60), threads.stream(assistant_id="nested", transport=transport) as thread:
        await thread.run.start(input=HI)
        children = [item.graph_name async for _, item in thread.interleave_projections(["subgraphs"])]
    assert children == ["child"]


async def test_subagents_are_subgraphs_by_another_name(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(60), threads.stream(assistant_id="nested", transport=transport) as thread:
        await thread.run.start(input=HI)
        children = [child async for child in thread.subagents]
    assert [(child.graph_name, child.status, child.error) for child in children] == [("child", "completed", None)]


async def test_one_of_two_interrupts_is_resumed(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(60), threads.stream(assistant_id="multi", transport=transport) as thread:
        await thread.run.start(input={})
        while len(thread.interrupts) < 2:  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="ambiguous"):
            await thread.run.respond("1")
        asked = {one["value"]: one["interrupt_id"] for one in thread.interrupts}
        assert set(asked) == {"a?", "b?"}
        received = await thread.run.respond("1", interrupt_id=asked["a?"])
    state = await threads.get_state(thread.thread_id)
    for _ in range(500):
        if len(state["interrupts"]) == 1 and state["values"].get("answers") == ["a=1"]:
            break
        await asyncio.sleep(0.01)
        state = await threads.get_state(thread.thread_id)
    assert [one["value"] for one in state["interrupts"]] == ["b?"]
    assert received["run_id"]


async def test_stream_attributes_and_graph_tree(threads: Any) -> None:
    thread_id = str(uuid4())
    async with asyncio.timeout(60), threads.stream(thread_id, assistant_id="nested") as thread:
        assert (thread.thread_id, thread.assistant_id) == (thread_id, "nested")
        assert (thread.interrupted, thread.interrupts) == (False, [])
        nodes = (await thread.agent.get_tree(xray=True))["nodes"]
        assert "child:child_model" in [node["id"] for node in nodes]


async def test_output_with_timeout_raises_when_it_expires(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(60), threads.stream(assistant_id="slow", transport=transport) as thread:
        await thread.run.start(input={"steps": 100, "delay": 0.1})
        with pytest.raises(asyncio.TimeoutError):
            await thread.output.with_timeout(0.1)
    await threads.delete(thread.thread_id)
    async with asyncio.timeout(60), threads.stream(assistant_id="slow", transport=transport) as thread:
        await thread.run.start(input={"steps": 2, "delay": 0.05})
        assert (await thread.output.with_timeout(15))["done"] == 2


async def test_stream_continues_after_the_applied_sequence(threads: Any) -> None:
    """The cursor that a command's response moves: no event before it is sent again."""
    thread_id = str(uuid4())
    async with asyncio.timeout(60), threads.stream(thread_id, assistant_id="agent") as thread:
        await thread.run.start(input=HI)
        first = [event async for event in thread.subscribe(["values"])]
        assert len(first) == 2
    async with asyncio.timeout(60), threads.stream(thread_id, assistant_id="agent") as thread:
        thread.observe_applied_through_seq(first[0]["seq"])
        received = await collected(thread.subscribe(["values"]), 1, itself)
    assert [event["event_id"] for event in received] == [first[1]["event_id"]]


async def test_closed_stream_yields_nothing(threads: Any, transport: Transport) -> None:
    async with asyncio.timeout(60), threads.stream(assistant_id="slow", transport=transport) as thread:
        await thread.run.start(input={"steps": 3, "delay": 0.05})
        await thread.close()
        with pytest.raises(asyncio.CancelledError):
            await thread.output
    # The run is independent: it continues.
    (run,) = await get_client(url=str(threads.http.client.base_url), api_key=None).runs.list(thread.thread_id)
    assert run["status"] in ("pending", "running", "success")


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
    """Apply ``use`` to the first ``count`` items. The client delivers an item's parts only while the next one is
    awaited, so both are read in parallel.
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
        # Streams of threads do not end; those of graphs do, and are then read to their end.
        await (asyncio.gather(*tasks) if reading.done() else waiting)
        return results
    finally:
        for task in (reading, waiting, *tasks):
            task.cancel()
        await asyncio.gather(reading, waiting, *tasks, return_exceptions=True)


async def itself(item: Any) -> Any:
    return item
