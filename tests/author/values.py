"""States with values that are not plain data, and a context with a secret."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pandas as pd
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class Measured(TypedDict, total=False):
    kind: str
    value: Any
    seen: str
    answer: Any


KINDS: dict[str, Any] = {
    "scalar": lambda: {"scores": [np.float32(0.25), np.float64(0.5), np.int64(7)]},
    "array": lambda: np.array([[1.0, 2.0]]),
    "frame": lambda: pd.DataFrame({"a": [1, 2]}),
    "complex": lambda: 1 + 2j,
    "masked": lambda: np.ma.masked_array([1, 2], [False, True]),
    "structured": lambda: np.array([(1, 0.5)], dtype=[("a", "i4"), ("b", "f8")]),
    "period": lambda: pd.Period("2026-01"),
    "levels": lambda: pd.MultiIndex.from_tuples([(1, "x"), (2, "y")]),
    "doubled": lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]),
    "error": lambda: ValueError("boom"),
    "large": lambda: {"deep": [2**100]},
    "lock": lambda: {"deep": [threading.Lock()]},
}


def _make(state: Measured) -> dict[str, Any]:
    return {"value": KINDS[state["kind"]]()}


def _see(state: Measured) -> dict[str, Any]:
    return {"seen": type(state["value"]).__name__}


measuring = (
    StateGraph(Measured)
    .add_node("make", _make)
    .add_node("ask", lambda _: {"answer": interrupt("go on?")})
    .add_node("see", _see)
    .add_edge(START, "make")
    .add_edge("make", "ask")
    .add_edge("ask", "see")
    .compile()
)


# Interrupts with a value of the requested kind.
asking = (
    StateGraph(Measured)
    .add_node("ask", lambda state: {"answer": interrupt(KINDS[state["kind"]]())})
    .add_edge(START, "ask")
    .compile()
)


class Secrets(TypedDict, total=False):
    user: str
    jwt: str


contextual = (
    StateGraph(Measured, context_schema=Secrets).add_node("n", lambda _: {"seen": "ran"}).add_edge(START, "n").compile()
)
