"""Servers of tests: crashes over the same storage, time that moves, and clients in this process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from runstead.testing import AgentServer, CrashPoint, HandClock, ScriptedModel, agent_client, tool_call

Start = Callable[..., AgentServer]


class Chat(TypedDict):
    messages: Annotated[list[Any], add_messages]


def _graph(**nodes: Any) -> Any:
    graph = StateGraph(Chat)
    for name, node in nodes.items():
        graph.add_node(name, node)
    graph.add_edge(START, next(iter(nodes)))
    for before, after in zip(nodes, list(nodes)[1:], strict=False):
        graph.add_edge(before, after)
    return graph


def test_crash_in_the_code_of_the_agent_continues_from_the_last_checkpoint(
    runstead_agent: Start, runstead_crash: CrashPoint
) -> None:
    effects = list[str]()

    def first(state: Chat) -> Any:
        effects.append("first")
        return {"messages": [AIMessage("one")]}

    def second(state: Chat) -> Any:
        effects.append("second")
        runstead_crash()
        return {"messages": [AIMessage("two")]}

    run = runstead_agent(_graph(first=first, second=second)).run("hi")
    assert (run.status, run.attempts, run.answer) == ("success", 2, "two")
    assert effects == ["first", "second", "second"]
    assert run.stream.nodes.count("second") == 1


async def _say(state: Chat) -> Any:
    return {"messages": [AIMessage("done")]}


@pytest.mark.parametrize("listens", [False, True])
def test_crash_before_and_after_a_node(listens: bool, runstead_agent: Start, runstead_server: Start) -> None:
    server = (runstead_server if listens else runstead_agent)(_graph(say=_say))
    client = server.client
    before = server.run("hi", crash_before="say")
    after = server.run("hi", crash_after="say")
    assert [(run.attempts, run.answer) for run in (before, after)] == [(2, "done"), (2, "done")]
    assert client.runs.get(before.thread_id, before.run_id)["status"] == "success"


def test_crash_between_runs_keeps_threads(runstead_agent: Start) -> None:
    server = runstead_agent(_graph(say=_say))
    run = server.run("hi")
    server.crash()
    server.crash()
    assert len(run.send("again").messages) == 4


def test_point_that_is_not_reached_fails_with_those_that_were(runstead_agent: Start) -> None:
    server = runstead_agent(_graph(say=_say))
    with pytest.raises(AssertionError, match=r"did not reach 'shout' to crash there; it passed: .*say"):
        server.run("hi", crash_before="shout")
    assert server.run("hi").attempts == 1


def test_delayed_run_begins_when_time_has_moved(runstead_agent: Start, runstead_clock: HandClock) -> None:
    server = runstead_agent(_graph(say=_say))
    thread_id = server.client.threads.create()["thread_id"]
    run_id = server.client.runs.create(thread_id, "agent", input={"messages": []}, after_seconds=7200)["run_id"]
    assert server.client.runs.get(thread_id, run_id)["status"] == "pending"
    runstead_clock.advance(hours=2)
    assert server.run_of(thread_id, run_id).answer == "done"
    assert runstead_clock.now() > datetime.now(UTC)


async def test_asynchronous_client_streams(tmp_path: Any) -> None:
    async with agent_client(_graph(say=_say), folder=tmp_path) as client:
        parts = [
            part async for part in client.runs.stream(None, "agent", input={"messages": []}, stream_mode="updates")
        ]
    assert [part.event for part in parts] == ["metadata", "updates"]


def test_scripted_model_raises_each_error_once_and_repeats_the_last_reply() -> None:
    model = ScriptedModel("one", TimeoutError("first"), TimeoutError("second"), tool_call("search", query="x"))
    question = HumanMessage("hi", id="h")
    assert model.invoke([question]).text == "one"
    history = [question, AIMessage("one", id="a")]
    for problem in ("first", "second"):
        with pytest.raises(TimeoutError, match=problem):
            model.invoke(history)
    assert [call["name"] for call in model.invoke(history).tool_calls] == ["search"]
    assert model.invoke([*history, AIMessage("x", id="b")]).tool_calls
    assert len(model.prompts) == 5


def test_scripted_model_needs_a_reply() -> None:
    with pytest.raises(ValueError, match="needs a reply"):
        ScriptedModel()


async def test_hand_clock_wakes_sleepers_of_other_threads() -> None:
    import asyncio

    clock = HandClock()
    sleeping = asyncio.create_task(clock.sleep(3600))
    waiting = asyncio.create_task(clock.wait(asyncio.Event(), 3600))
    await asyncio.sleep(0.01)
    await asyncio.to_thread(clock.advance, hours=1)
    await asyncio.wait_for(sleeping, 30)
    assert await asyncio.wait_for(waiting, 30) is False
    with pytest.raises(ValueError, match="forward only"):
        clock.advance(seconds=-1)
