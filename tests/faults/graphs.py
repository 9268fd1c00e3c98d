"""A graph that waits at a gate of the test: it reports its position, and continues when a file appears."""

# No `from __future__ import annotations`: LangGraph reads the annotations of states and nodes.
import asyncio
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph


class Gated(MessagesState, total=False):
    gate: str


async def _say_first(state: Gated) -> dict[str, Any]:
    return {"messages": [AIMessage("before the gate")]}


async def _wait(state: Gated) -> dict[str, Any]:
    get_stream_writer()({"at": "the gate"})
    # A file, since an event object does not reach another loop or process.
    while not await asyncio.to_thread(Path(state["gate"]).exists):  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    return {"messages": [AIMessage("behind the gate")]}


class Chatty(MessagesState, total=False):
    times: int


async def _chat(state: Chatty) -> dict[str, Any]:
    tell = get_stream_writer()
    for number in range(state["times"]):
        tell({"number": number, "text": "x" * 200})
        if number % 50 == 0:
            await asyncio.sleep(0)
    return {"messages": [AIMessage("done")]}


chatty = StateGraph(Chatty).add_node("chat", _chat).add_edge(START, "chat").compile(name="chatty")

gated = (
    StateGraph(Gated)
    .add_node("say_first", _say_first)
    .add_node("wait", _wait)
    .add_edge(START, "say_first")
    .add_edge("say_first", "wait")
    .add_edge("wait", END)
    .compile(name="gated")
)
