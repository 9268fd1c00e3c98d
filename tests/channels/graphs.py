"""Agent for tests of channels: the last word of a human decides what it does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.config import get_config
from langgraph.graph import START, StateGraph, add_messages
from langgraph.types import interrupt

import runstead
from runstead.graphs.scripted import ScriptedChatModel
from runstead.workspace import current_workspace

APPROVAL = {
    "action_requests": [{"name": "pay", "args": {"amount": 5}, "description": "May I pay?"}],
    "review_configs": [{"action_name": "pay", "allowed_decisions": ["approve", "reject"]}],
}


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]


def _echo(history: Sequence[BaseMessage]) -> AIMessage:
    return AIMessage(f"you said {_last(history)}")


def _secret(_: Sequence[BaseMessage]) -> AIMessage:
    return AIMessage("a note of the subagent")


def _last(messages: Sequence[BaseMessage]) -> str:
    return str(next(one.content for one in reversed(messages) if isinstance(one, HumanMessage)))


class Gate:
    """Lets runs with the word ``wait`` go on, from any loop."""

    def __init__(self) -> None:
        self.is_open = False

    async def passed(self) -> None:
        while not self.is_open:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def agent(gate: Gate) -> Any:
    lead, sub = ScriptedChatModel(script=_echo), ScriptedChatModel(script=_secret)

    async def talk(state: State) -> State:
        said = _last(state["messages"])
        if "wait" in said:
            await gate.passed()
        if "fail" in said:
            raise ValueError("out of order")
        if "long" in said:
            return {"messages": [AIMessage(" ".join(f"word{number}" for number in range(100)))]}
        if "files" in said:
            files = current_workspace()
            found = sorted(path.name for path in files.uploads.glob("*"))
            (files.outputs / "report.txt").write_text("made for you")
            return {"messages": [AIMessage(f"read {', '.join(found)}")]}
        if "pay" in said:
            decision = interrupt(APPROVAL)
            return {"messages": [AIMessage(f"payment: {decision['decisions'][0]['type']}")]}
        if "name" in said:
            return {"messages": [AIMessage(f"hello {interrupt('What is your name?')}")]}
        if "who" in said:
            actor = runstead.actor()
            return {"messages": [AIMessage(f"{actor.tenant_id}/{actor.user_id} by {actor.auth_source}")]}
        if "team" in said:
            note = await sub.with_config(tags=["subagent:notes"]).ainvoke("x", get_config())
            tool = ToolMessage("result of a tool", tool_call_id="1")
            return {"messages": [note, tool, await lead.ainvoke(state["messages"])]}
        return {"messages": [await lead.ainvoke(state["messages"])]}

    return StateGraph(State).add_node("talk", talk).add_edge(START, "talk").compile()
