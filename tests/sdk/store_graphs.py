"""Graphs that store and search items, on an event loop and in a thread, and a user's embedder."""

from __future__ import annotations

import time
from typing import Any, TypedDict

from langgraph.config import get_store
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime

WORDS = ("cat", "dog", "car")


def embed(texts: list[str]) -> list[list[float]]:
    """One dimension for each word that it knows. It blocks, like real ones."""
    time.sleep(0.02)
    return [[float(text.count(word)) for word in WORDS] for text in texts]


class Asked(TypedDict, total=False):
    """A search, and its results."""

    room: str
    query: str
    keys: list[str]
    scores: list[float | None]


def _answer(found: Any) -> Asked:
    return {"keys": [item.key for item in found], "scores": [item.score for item in found]}


async def _on_the_loop(state: Asked, runtime: Runtime) -> Asked:
    assert runtime.store is not None
    await runtime.store.aput((state["room"],), "graph", {"text": "a cat and a car"})
    return _answer(await runtime.store.asearch((state["room"],), query=state["query"]))


def _in_a_thread(state: Asked) -> Asked:
    store = get_store()
    store.put((state["room"],), "graph", {"text": "a cat and a car"})
    return _answer(store.search((state["room"],), query=state["query"]))


def _cannot(state: Asked) -> Asked:
    get_store().put((state["room"],), "k", {"it": {1, 2}})
    return {}


searching = StateGraph(Asked).add_node("search", _on_the_loop).add_edge(START, "search").compile()
searching_in_a_thread = StateGraph(Asked).add_node("search", _in_a_thread).add_edge(START, "search").compile()
unstorable = StateGraph(Asked).add_node("put", _cannot).add_edge(START, "put").compile()
