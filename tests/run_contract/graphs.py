"""Graphs for what a run is given and gives back: contexts, questions, output schemas, user keys."""

from __future__ import annotations

import operator
from typing import Annotated, Any, Literal, TypedDict

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel

from runstead.graphs.scripted import ScriptedChatModel, turns


class Log(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]
    seen: Any


class Decision(BaseModel):
    """An answer that `interrupt` checks."""

    type: Literal["approve", "reject"]
    amount: int | None = None


def _decide(state: Log) -> dict[str, Any]:
    decision = interrupt({"question": "pay?"}, response_schema=Decision)
    return {"log": [f"{decision.type} {decision.amount}"]}


decide = StateGraph(Log).add_node("decide", _decide).add_edge(START, "decide").compile(name="decide")
decide_below = StateGraph(Log).add_node("child", decide).add_edge(START, "child").compile(name="decide_below")


def _form(state: Log) -> dict[str, Any]:
    schema = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "minLength": 2}}}
    return {"log": [interrupt("who?", response_schema=schema)]}


form = StateGraph(Log).add_node("form", _form).add_edge(START, "form").compile(name="form")


def _ask(state: Log) -> dict[str, Any]:
    return {"seen": [interrupt("one?")]}


ask = StateGraph(Log).add_node("ask", _ask).add_edge(START, "ask").compile(name="ask")


@tool
def pay(number: str) -> str:
    """Pay an invoice."""
    return f"paid {number}"


_CALLS = [{"name": "pay", "args": {"number": number}, "id": f"call-{number}"} for number in ("1", "2")]

payments = create_agent(
    ScriptedChatModel(script=turns(AIMessage("", tool_calls=_CALLS), AIMessage("done"))),
    tools=[pay],
    middleware=[
        HumanInTheLoopMiddleware(
            interrupt_on={"pay": {"allowed_decisions": ["approve", "reject"]}}, interrupt_mode="per_call"
        )
    ],
)
"""Asks about each of two calls by itself."""
