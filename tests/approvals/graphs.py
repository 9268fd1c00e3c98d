"""Graphs that ask: once by a schema, twice in one node, with LangChain's middleware, and with a deadline."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

import runstead
from runstead.graphs.scripted import ScriptedChatModel, turns


class State(TypedDict, total=False):
    rules: dict[str, Any]
    answers: Annotated[list[Any], operator.add]


async def _ask(state: State) -> dict[str, Any]:
    return {"answers": [interrupt({"question": "may I?"}, response_schema={"type": "boolean"})]}


async def _ask_twice(state: State) -> dict[str, Any]:
    return {"answers": [interrupt("first?"), interrupt("second?")]}


async def _ask_with_rules(state: State) -> dict[str, Any]:
    return {"answers": [runstead.approval("may I?", **state.get("rules", {}))]}


def _graph(node: Any) -> Any:
    return StateGraph(State).add_node("ask", node).add_edge(START, "ask").compile()


asker, twice, timed = _graph(_ask), _graph(_ask_twice), _graph(_ask_with_rules)


@tool
def pay(amount: int) -> str:
    """Pay an amount."""
    return f"paid {amount}"


hitl = create_agent(
    ScriptedChatModel(
        script=turns(
            AIMessage("", tool_calls=[{"name": "pay", "args": {"amount": 7}, "id": "call-1"}]), AIMessage("done")
        )
    ),
    tools=[pay],
    middleware=[HumanInTheLoopMiddleware(interrupt_on={"pay": True})],
)
