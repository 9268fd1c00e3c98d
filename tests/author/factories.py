"""Factories that build a different graph for each config."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class Said(TypedDict, total=False):
    said: Annotated[list[str], operator.add]
    answer: Any


def flavoured(config: RunnableConfig) -> StateGraph[Said]:
    """Interrupt in a node named after the flavour of the config."""
    flavour = config.get("configurable", {}).get("flavour", "plain")

    def ask(state: Said) -> dict[str, Any]:
        return {"said": [flavour], "answer": interrupt(f"{flavour}?")}

    def done(state: Said) -> dict[str, Any]:
        return {"said": [f"{flavour} done {state.get('answer')}"]}

    graph = StateGraph(Said).add_node(f"ask_{flavour}", ask).add_node(f"done_{flavour}", done)
    return graph.add_edge(START, f"ask_{flavour}").add_edge(f"ask_{flavour}", f"done_{flavour}")
