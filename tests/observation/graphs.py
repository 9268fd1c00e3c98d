"""Graphs whose runs are observed: silent ones, agents, and graphs that title their threads."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, TypedDict

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.callbacks import adispatch_custom_event
from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from runstead.graphs.scripted import ScriptedChatModel, turns


class Waiting(TypedDict, total=False):
    """``release`` is the path of the file that is waited for."""

    messages: list[Any]
    release: str


async def wait(state: Waiting) -> Waiting:
    """Say nothing until the file exists."""
    while not Path(state["release"]).exists():  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.02)
    return {}


waiting = StateGraph(Waiting).add_node("wait", wait).add_edge(START, "wait").compile()


def model(*said: str) -> ScriptedChatModel:
    """Return a model that says these texts."""
    return ScriptedChatModel(script=turns(*map(AIMessage, said)))


async def think(state: Waiting) -> Waiting:
    """Call a model, and then wait."""
    await model("Thought.").ainvoke("Think.")
    return await wait(state)


thinking = StateGraph(Waiting).add_node("think", think).add_edge(START, "think").compile()


class TitleMiddleware(AgentMiddleware):
    """Asks a model for a title."""

    async def aafter_model(self, state: Any, runtime: Any) -> None:
        await model("A title that a model made").ainvoke("Give a title.")


agent = create_agent(model("Hello to you."))
titled = create_agent(model("Hello to you."), middleware=[TitleMiddleware()])


class Titled(TypedDict, total=False):
    """A state with a channel for the title."""

    name: str
    title: str


async def ask(state: Titled) -> Titled:
    """Give a title by a custom event, then ask a human."""
    await adispatch_custom_event(state["name"], {"title": "A title of an event"})
    interrupt("Go on?")
    return {}


async def write_title(state: Titled) -> Titled:
    """Give one title by a custom event, and another one by the state."""
    await adispatch_custom_event("title", "A title of an event")
    return {"title": "A title of the state"}


asking = StateGraph(Titled).add_node("ask", ask).add_edge(START, "ask").compile()
channel = StateGraph(Titled).add_node("write", write_title).add_edge(START, "write").compile()
