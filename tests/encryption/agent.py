"""A graph that outputs its input through every output of a graph."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from langgraph.config import get_store, get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt


class State(TypedDict, total=False):
    """A text, and a title for the thread."""

    messages: Annotated[list[Any], add_messages]
    title: str
    given: str
    answer: str
    fails: str


class Context(TypedDict, total=False):
    """Values of a run beside its input."""

    who: str


async def remember(state: State) -> State:
    get_stream_writer()({"custom": state.get("given", "") + "-streamed"})
    await get_store().aput(("notes",), "one", {"note": state.get("given", "") + "-item"})
    return {"messages": [("ai", state.get("given", "") + "-said")], "title": state.get("given", "") + "-title"}


async def ask(state: State) -> State:
    if state.get("fails"):
        raise ValueError(state["fails"])
    return {"answer": interrupt(state.get("given", "") + "-question")}


graph = (
    StateGraph(State, context_schema=Context)
    .add_node("remember", remember)
    .add_node("ask", ask)
    .add_edge(START, "remember")
    .add_edge("remember", "ask")
    .compile()
)
