"""langgraph's RemoteGraph, unmodified, with its newest stream: ``astream_events(version="v3")`` and
``stream_events``.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command
from langgraph_sdk import get_client, get_sync_client

from .test_runs import HELLO as HI
from .test_runs import texts
from .test_thread_streams import collected, words
from .test_thread_streams_sync import come_true

CHANNELS = {"updates": 3, "checkpoints": 7, "tasks": 6, "custom": 2, "messages": 1, "tool_calls": 0, "subgraphs": 1}
"""Number of events of a run of a graph with a subgraph, by kind; of messages, only the root's."""


def a_place() -> RunnableConfig:
    return {"configurable": {"thread_id": str(uuid4())}}


class TestAsynchronous:
    async def test_messages_in_pieces_and_the_output(self, url: str) -> None:
        async with asyncio.timeout(60), await RemoteGraph("agent", url=url).astream_events(HI, version="v3") as run:
            said = await collected(run.messages, 1, words)
            output = await run.output()
        assert said == [["echo:", " ", "hi", " ", "there"]]
        assert texts(output) == ["hi there", "echo: hi there"]

    async def test_every_event(self, url: str) -> None:
        async with asyncio.timeout(60), await RemoteGraph("nested", url=url).astream_events(HI, version="v3") as run:
            events: list[Any] = []
            async for event in run:
                events.append(event)
                if (event["method"], event["params"]["namespace"]) == ("lifecycle", []) and len(events) > 1:
                    break
        assert (events[0]["method"], events[-1]["params"]["data"]["event"]) == ("lifecycle", "completed")
        assert {event["method"] for event in events} >= {"values", "updates", "messages", "custom", "tasks"}
        assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)

    @pytest.mark.parametrize("channel", CHANNELS)
    async def test_projection_by_name(self, url: str, channel: str) -> None:
        async with asyncio.timeout(60), await RemoteGraph("nested", url=url).astream_events(HI, version="v3") as run:
            items = [item async for item in run.extensions[channel]]
        assert len(items) == CHANNELS[channel]

    async def test_values(self, url: str) -> None:
        async with asyncio.timeout(60), await RemoteGraph("fanout", url=url).astream_events({}, version="v3") as run:
            seen = [values["log"] async for values in run.values if values and "log" in values]
        assert seen[-1] == ["plan", "work 0", "work 1", "work 2"]

    async def test_tools_and_subgraphs(self, url: str) -> None:
        async with asyncio.timeout(60), await RemoteGraph("tools", url=url).astream_events(HI, version="v3") as run:
            (call,) = [call async for call in run.tool_calls]
            assert (call.name, (await call.output)["content"]) == ("add", "5")
        async with asyncio.timeout(60), await RemoteGraph("nested", url=url).astream_events(HI, version="v3") as run:
            assert [child.graph_name async for child in run.subgraphs] == ["child"]

    async def test_interrupt_is_resumed(self, url: str) -> None:
        graph, place = RemoteGraph("hitl", url=url), a_place()
        async with asyncio.timeout(60), await graph.astream_events(HI, place, version="v3") as run:
            async for _ in run.values:
                pass
            while not await run.interrupted():  # noqa: ASYNC110 - the client says it in a field, a moment later
                await asyncio.sleep(0.01)
            assert [one["value"] for one in await run.interrupts()] == [{"question": "approve?"}]
        answer: Any = Command(resume="yes")
        async with asyncio.timeout(60), await graph.astream_events(answer, place, version="v3") as run:
            assert (await run.output())["answer"] == "yes"

    async def test_run_is_aborted(self, url: str) -> None:
        place = a_place()
        stream = await RemoteGraph("slow", url=url).astream_events({"steps": 200, "delay": 0.05}, place, version="v3")
        async with asyncio.timeout(60), stream as run:
            await run.abort()
        client = get_client(url=url, api_key=None)
        (record,) = await client.runs.list(place["configurable"]["thread_id"])
        await client.runs.join(record["thread_id"], record["run_id"])
        assert (await client.runs.get(record["thread_id"], record["run_id"]))["status"] == "interrupted"

    async def test_config_and_metadata_reach_the_run(self, url: str) -> None:
        graph = RemoteGraph("ctx", url=url).with_config(tags=["t"], configurable={"color": "red"})
        async with asyncio.timeout(60), await graph.astream_events({}, version="v3", metadata={"of": "me"}) as run:
            seen = (await run.output())["seen"]
        assert (seen["tags"], seen["configurable"]["color"], seen["metadata"]["of"]) == (["t"], "red", "me")

    async def test_errors(self, url: str) -> None:
        async with asyncio.timeout(60), await RemoteGraph("fail", url=url).astream_events(HI, version="v3") as run:
            with pytest.raises(RuntimeError, match="Run errored: boom"):
                await run.output()
        with pytest.raises(RuntimeError, match="Invalid assistant: 'nope'"):
            async with await RemoteGraph("nope", url=url).astream_events(HI, version="v3"):
                pass

    async def test_older_event_versions_are_refused_by_the_client(self, url: str) -> None:
        with pytest.raises(NotImplementedError):
            await RemoteGraph("agent", url=url).astream_events(HI, version="v2")


class TestSynchronous:
    def test_messages_in_pieces_and_the_output(self, url: str) -> None:
        with RemoteGraph("agent", url=url).stream_events(HI, version="v3") as run:
            said = [list(message.text) for message in run.messages]
            assert texts(run.output) == ["hi there", "echo: hi there"]
        assert said == [["echo:", " ", "hi", " ", "there"]]

    def test_every_event(self, url: str) -> None:
        with RemoteGraph("nested", url=url).stream_events(HI, version="v3") as run:
            methods = [event["method"] for event in run]
        assert (methods[0], methods[-1]) == ("lifecycle", "lifecycle")
        assert set(methods) >= {"values", "updates", "messages", "custom", "tasks"}

    @pytest.mark.parametrize("channel", CHANNELS)
    def test_projection_by_name(self, url: str, channel: str) -> None:
        with RemoteGraph("nested", url=url).stream_events(HI, version="v3") as run:
            items = list(run.extensions[channel])
        assert len(items) == CHANNELS[channel]

    def test_values_tools_and_subgraphs(self, url: str) -> None:
        with RemoteGraph("fanout", url=url).stream_events({}, version="v3") as run:
            assert list(run.values)[-1]["log"] == ["plan", "work 0", "work 1", "work 2"]
        with RemoteGraph("tools", url=url).stream_events(HI, version="v3") as run:
            assert [(call.name, call.output["content"]) for call in run.tool_calls] == [("add", "5")]
        with RemoteGraph("nested", url=url).stream_events(HI, version="v3") as run:
            assert [child.graph_name for child in run.subgraphs] == ["child"]

    def test_several_side_by_side(self, url: str) -> None:
        with RemoteGraph("tools", url=url).stream_events(HI, version="v3") as run:
            told = [name for name, _ in run.interleave("values", "messages", "tool_calls")]
        assert (told.count("values"), told.count("messages"), told.count("tool_calls")) == (4, 2, 1)

    def test_interrupt_is_resumed(self, url: str) -> None:
        graph, place = RemoteGraph("hitl", url=url), a_place()
        with graph.stream_events(HI, place, version="v3") as run:
            come_true(lambda: bool(run.interrupted))
            assert [one["value"] for one in run.interrupts] == [{"question": "approve?"}]
        with graph.stream_events(Command(resume="yes"), place, version="v3") as run:
            assert run.output["answer"] == "yes"

    def test_run_is_aborted(self, url: str) -> None:
        place = a_place()
        graph = RemoteGraph("slow", url=url)
        begun = time.monotonic()
        with graph.stream_events({"steps": 2_000, "delay": 0.05}, place, version="v3") as run:
            run.abort()
        client = get_sync_client(url=url, api_key=None)
        (record,) = client.runs.list(place["configurable"]["thread_id"])
        client.runs.join(record["thread_id"], record["run_id"])
        assert client.runs.get(record["thread_id"], record["run_id"])["status"] == "interrupted"
        assert time.monotonic() - begun < 60

    def test_errors(self, url: str) -> None:
        with (
            RemoteGraph("fail", url=url).stream_events(HI, version="v3") as run,
            pytest.raises(RuntimeError, match="Run errored: boom"),
        ):
            _ = run.output
