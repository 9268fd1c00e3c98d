"""Graphs whose node does not react to a stop, until the file named by the input exists."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class Gated(TypedDict, total=False):
    gate: str
    first: str
    done: bool


def _reached(gate: str) -> Callable[[], bool]:
    Path(gate).with_suffix(".reached").touch()
    return Path(gate).exists


def _sleep(state: Gated) -> dict[str, Any]:
    is_open = _reached(state["gate"])
    while not is_open():
        time.sleep(0.005)
    return {"done": True}


async def _spin(state: Gated) -> dict[str, Any]:
    is_open = _reached(state["gate"])
    while not is_open():
        pass
    return {"done": True}


sleeping = StateGraph(Gated).add_node("n", _sleep).add_edge(START, "n").compile()
spinning = StateGraph(Gated).add_node("n", _spin).add_edge(START, "n").compile()
after_another = (
    StateGraph(Gated)
    .add_node("a", lambda _: {"first": "was here"})
    .add_node("n", _sleep)
    .add_edge(START, "a")
    .add_edge("a", "n")
    .compile()
)
