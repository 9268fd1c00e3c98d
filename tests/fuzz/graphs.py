"""Graphs and users of the fuzzed server: fast ones that accept most inputs."""

# No `from __future__ import annotations`: LangGraph reads the annotations of states and nodes.
import operator
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    said: Any
    log: Annotated[list[Any], operator.add]


def echo_node(state: State) -> State:
    return {"log": [state.get("said")]}


def ask_node(state: State) -> State:
    return {"log": [interrupt({"question": "what?"})]}


echo = StateGraph(State).add_node("echo", echo_node).add_edge(START, "echo").compile(name="echo")
asks = StateGraph(State).add_node("ask", ask_node).add_edge(START, "ask").compile(name="asks")
