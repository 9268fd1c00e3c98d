"""A graph that uses a secret of its run, and shows that it had it."""

from __future__ import annotations

import hashlib
from typing import Any, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph

import runstead


class State(TypedDict, total=False):
    digest: str


def use(state: State) -> State:
    return {"digest": hashlib.sha256(runstead.secrets()["api_token"].encode()).hexdigest()}


graph: CompiledStateGraph[Any, Any, Any, Any] = StateGraph(State).add_node("use", use).add_edge(START, "use").compile()
