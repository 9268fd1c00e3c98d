"""A graph with two levels of subgraphs."""

from __future__ import annotations

from typing import Any, TypedDict

from langgraph.graph import START, StateGraph


class Depth(TypedDict, total=False):
    depth: int


async def _leaf(state: Depth) -> dict[str, Any]:
    return {"depth": state.get("depth", 0) + 1}


_inner = StateGraph(Depth).add_node("leaf", _leaf).add_edge(START, "leaf").compile(name="inner")
_middle = StateGraph(Depth).add_node("inner", _inner).add_edge(START, "inner").compile(name="middle")
outer = StateGraph(Depth).add_node("middle", _middle).add_edge(START, "middle").compile(name="outer")
