"""Agents that call a model again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from runstead.graphs.scripted import ScriptedChatModel, turns

CALLS = 12


def work_on(history: Sequence[BaseMessage]) -> AIMessage:
    """Call the tool until the model was called CALLS times."""
    said = sum(isinstance(message, AIMessage) for message in history)
    if said + 1 >= CALLS:
        return AIMessage("It is done.")
    return AIMessage("", tool_calls=[{"name": "step", "args": {"number": said}, "id": f"call-{said}"}])


async def step(number: int) -> str:
    """Do one step."""
    return f"step {number} is done"


worker = create_agent(ScriptedChatModel(script=work_on), [step])


def call_model(state: MessagesState) -> dict[str, Any]:
    """Call the model in a thread."""
    return {"messages": [ScriptedChatModel(script=turns(AIMessage("Said in a thread."))).invoke(state["messages"])]}


blocking = (
    StateGraph(MessagesState)
    .add_node("a", call_model)
    .add_node("b", call_model)
    .add_edge(START, "a")
    .add_edge("a", "b")
    .compile()
)


async def ask_and_call(state: MessagesState) -> dict[str, Any]:
    """Ask, call the model, and ask again."""
    first = interrupt("first?")
    said = await ScriptedChatModel(script=turns(AIMessage("Said between."))).ainvoke(state["messages"])
    return {"messages": [said, AIMessage(f"{first}, {interrupt('second?')}")]}


asking = (
    StateGraph(MessagesState)
    .add_node("call", call_model)
    .add_node("ask", ask_and_call)
    .add_edge(START, "call")
    .add_edge("call", "ask")
    .compile()
)


async def wait_for_file(state: MessagesState) -> dict[str, Any]:
    """Wait for the file that the input names."""
    path = Path(state["messages"][0].text)
    while not path.exists():  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.02)
    return {}


slow = (
    StateGraph(MessagesState)
    .add_node("first", call_model)
    .add_node("wait", wait_for_file)
    .add_node("second", call_model)
    .add_node("third", call_model)
    .add_edge(START, "first")
    .add_edge("first", "wait")
    .add_edge("wait", "second")
    .add_edge("second", "third")
    .compile()
)


def ask_for(limit: int) -> Any:
    """Return a node whose model call asks for at most this many tokens."""

    async def call(state: MessagesState) -> dict[str, Any]:
        model = ScriptedChatModel(script=turns(AIMessage("Said."))).bind(max_tokens=limit)
        return {"messages": [await model.ainvoke(state["messages"])]}

    return call


limited = (
    StateGraph(MessagesState)
    .add_node("small", ask_for(300))
    .add_node("large", ask_for(6_000))
    .add_edge(START, "small")
    .add_edge("small", "large")
    .compile()
)
