"""Messages of chat users during a run, where the settings send them to that run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, StateGraph

import runstead
from runstead.bootstrap.application import Application
from tests.channels.conftest import ChatServer
from tests.channels.graphs import Gate, State
from tests.channels.memory import MemoryChannel
from tests.channels.test_conversations import ALICE, runs_of
from tests.processes.client import eventually
from tests.servers.sqlite import current_data


def agent_that_waits(gate: Gate, *, takes: bool) -> Any:
    async def wait(state: State) -> State:
        if str(state["messages"][-1].content) == "wait":
            await gate.passed()
        return {}

    async def talk(state: State) -> State:
        taken = await runstead.atake_messages() if takes else []
        history = [*state["messages"], *taken]
        said = ", ".join(str(one.content) for one in history if isinstance(one, HumanMessage))
        return {"messages": [*taken, AIMessage(f"you said {said}")]}

    graph = StateGraph(State).add_node("wait", wait).add_node("talk", talk)
    return graph.add_edge(START, "wait").add_edge("wait", "talk").compile()


@pytest.fixture(params=[True, False], ids=["takes messages", "takes none"])
async def chats(tmp_path: Path, gate: Gate, request: pytest.FixtureRequest) -> AsyncIterator[ChatServer]:
    channel = MemoryChannel()
    server = Application(
        {"agent": agent_that_waits(gate, takes=request.param)},
        data_dir=current_data(tmp_path / "data"),
        port=0,
        shutdown_grace_seconds=0.1,
        channels=[channel],
        channel_steering=True,
    )
    async with server.running():
        yield ChatServer(server, channel, gate)


async def test_message_during_a_run_is_answered_once(chats: ChatServer, request: pytest.FixtureRequest) -> None:
    alice = await chats.link("alice")
    for text in ("wait", "two"):
        await chats.channel.say("alice", text)

    async def sent() -> bool:
        runs = await runs_of(chats, alice)
        with runstead.acting(alice):
            return bool(runs and await chats.services.steering.list(runs[0].thread_id))

    await eventually(sent)
    gate: Gate = chats.gate
    gate.is_open = True
    await chats.channel.answer(ALICE, "you said wait, two")
    answers = [text for text in chats.channel.texts(ALICE) if text.startswith("you said")]
    if "takes messages" in request.node.name:
        assert (answers, len(await runs_of(chats, alice))) == (["you said wait, two"], 1)
    else:
        assert (answers, len(await runs_of(chats, alice))) == (["you said wait", "you said wait, two"], 2)
