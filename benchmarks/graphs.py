"""Measured graphs: one that does nothing, a model that streams, an agent with a tool, and one that only waits.

All servers use the same graphs.
"""

# No `from __future__ import annotations`: LangGraph reads the annotations of states and nodes.
import asyncio
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from typing_extensions import TypedDict

from runstead.graphs.scripted import ScriptedChatModel, turns


class Small(TypedDict, total=False):
    n: int


async def _noop(state: Small) -> Small:
    return {"n": state.get("n", 0) + 1}


noop = StateGraph(Small).add_node("noop", _noop).add_edge(START, "noop").add_edge("noop", END).compile(name="noop")


class Talk(MessagesState, total=False):
    count: int


async def _talk(state: Talk) -> dict[str, Any]:
    # At full speed: the benchmark measures the path of a token, not the speed of a model.
    text = " ".join(["word"] * state.get("count", 10))
    model = ScriptedChatModel(script=lambda _: AIMessage(text))
    return {"messages": [await model.ainvoke(state["messages"])]}


tokens = StateGraph(Talk).add_node("talk", _talk).add_edge(START, "talk").add_edge("talk", END).compile(name="tokens")


def _look(number: int) -> str:
    """Look something up."""
    return f"result {number}"


def _step(number: int) -> AIMessage:
    text = " ".join(["word"] * 200)
    call = {"name": "look", "args": {"number": number}, "id": f"call-{number}", "type": "tool_call"}
    return AIMessage(text, tool_calls=[] if number == 4 else [call])


agent = create_agent(ScriptedChatModel(script=turns(*map(_step, range(5)))), [tool("look")(_look)], name="agent")


async def _idle(state: Small) -> Small:
    await asyncio.sleep(60)
    return {}


idle = StateGraph(Small).add_node("idle", _idle).add_edge(START, "idle").add_edge("idle", END).compile(name="idle")
