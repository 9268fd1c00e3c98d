"""Agents that work until a file appears, and say which messages of the user they have got."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import RetryPolicy, interrupt

import runstead
from runstead.graphs.scripted import ScriptedChatModel


def heard(history: Sequence[BaseMessage]) -> str:
    return " | ".join(str(message.content) for message in history if isinstance(message, HumanMessage))


def work_once(history: Sequence[BaseMessage]) -> AIMessage:
    """Call the tool for the latest message of the user that names a file, then say what was heard."""
    last = history[-1]
    if isinstance(last, HumanMessage) and str(last.content).startswith("/"):
        return AIMessage(
            "", tool_calls=[{"name": "wait_for", "args": {"path": last.content}, "id": f"c-{len(history)}"}]
        )
    return AIMessage(f"heard {heard(history)}")


async def wait_for(path: str) -> str:
    """Wait for a file."""
    await asyncio.to_thread(begun_until, path)
    return "it is there"


def begun_until(path: str) -> None:
    Path(f"{path}.begun").touch()
    while not Path(path).exists():
        time.sleep(0.01)


worker = create_agent(ScriptedChatModel(script=work_once), [wait_for], middleware=[runstead.SteeringMiddleware()])
without = create_agent(ScriptedChatModel(script=work_once), [wait_for])
deep = create_deep_agent(ScriptedChatModel(script=work_once), [wait_for], middleware=[runstead.SteeringMiddleware()])


def wait_blocking(state: MessagesState) -> dict[str, Any]:
    last = str(state["messages"][-1].content)
    if last.startswith("/"):
        begun_until(last)
    return {}


def take_blocking(state: MessagesState) -> dict[str, Any]:
    taken = runstead.take_messages()
    return {"messages": [*taken, AIMessage(f"heard {heard([*state['messages'], *taken])}")]}


async def take_async(state: MessagesState) -> dict[str, Any]:
    taken = await runstead.atake_messages()
    return {"messages": [*taken, AIMessage(f"heard {heard([*state['messages'], *taken])}")]}


def own(take: Any) -> Any:
    return (
        StateGraph(MessagesState)
        .add_node("wait", wait_blocking)
        .add_node("take", take)
        .add_edge(START, "wait")
        .add_edge("wait", "take")
        .compile()
    )


def ask(state: MessagesState) -> dict[str, Any]:
    interrupt("really?")
    return {}


asking = (
    StateGraph(MessagesState)
    .add_node("wait", wait_blocking)
    .add_node("ask", ask)
    .add_node("take", take_async)
    .add_edge(START, "wait")
    .add_edge("wait", "ask")
    .add_edge("ask", "take")
    .compile()
)
blocking, waiting = own(take_blocking), own(take_async)


async def fail_once(state: MessagesState) -> dict[str, Any]:
    """Take the messages, and fail in the run that begins with a file."""
    taken = await runstead.atake_messages()
    if str(state["messages"][-1].content).startswith("/"):
        raise RuntimeError("broken")
    return {"messages": [*taken, AIMessage(f"heard {heard([*state['messages'], *taken])}")]}


failing = own(fail_once)


def taking_twice(take: Any) -> Any:
    """A graph whose node takes messages twice in each execution, and whose first execution of two fails."""

    async def take_twice(state: MessagesState, runtime: Runtime[None]) -> dict[str, Any]:
        taken = [*await take(), *await take()]
        assert runtime.execution_info is not None
        if runtime.execution_info.node_attempt == 1:
            raise RuntimeError("broken")
        return {"messages": [*taken, AIMessage(f"heard {heard([*state['messages'], *taken])}")]}

    retry = RetryPolicy(initial_interval=0, max_attempts=2, retry_on=RuntimeError)
    node = StateGraph(MessagesState).add_node("wait", wait_blocking).add_node("take", take_twice, retry_policy=retry)
    return node.add_edge(START, "wait").add_edge("wait", "take").compile()


async def take_in_thread() -> Sequence[BaseMessage]:
    return await asyncio.to_thread(runstead.take_messages)


twice, twice_blocking = taking_twice(runstead.atake_messages), taking_twice(take_in_thread)
