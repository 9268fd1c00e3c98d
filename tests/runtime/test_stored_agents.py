"""Information from a checkpoint without its graph, compared with that from its graph."""

from __future__ import annotations

import contextlib
import operator
from typing import Annotated, Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from runstead.runtime.runs.internal.execution.snapshot import read_stored
from runstead.runtime.runs.stored_state import nodes_of_step

CONFIG: Any = {"configurable": {"thread_id": "t"}}


class Said(TypedDict, total=False):
    said: Annotated[list[str], operator.add]


def says(*words: str) -> Any:
    return lambda _: {"said": list(words)}


def fails(state: Said) -> Any:
    raise ValueError("boom")


def asks(state: Said) -> Any:
    return {"said": [interrupt("?")]}


def fan_out(state: Said) -> Any:
    return Command(goto=[Send("a", {}), Send("failing", {})])


def line() -> Any:
    graph = StateGraph(Said).add_node("a", says("a")).add_node("b", says("b")).add_node("failing", fails)
    return graph.add_edge(START, "a").add_edge("a", "b").add_edge("b", END)


def joined() -> Any:
    graph = StateGraph(Said)
    for name in "abc":
        graph = graph.add_node(name, says(name))
    return graph.add_edge(START, "a").add_edge(START, "b").add_edge(["a", "b"], "c")


def branched() -> Any:
    graph = StateGraph(Said).add_node("a", says("a")).add_node("failing", fails)
    return graph.add_edge(START, "a").add_edge(START, "failing")


def sent() -> Any:
    graph = StateGraph(Said).add_node("fan", fan_out).add_node("a", says("a")).add_node("failing", fails)
    return graph.add_edge(START, "fan")


def asking() -> Any:
    return StateGraph(Said).add_node("ask", asks).add_edge(START, "ask")


def function(checkpointer: Any, *, fails: bool) -> Any:
    @entrypoint(checkpointer=checkpointer)
    def work(given: Any) -> str:
        if fails:
            raise ValueError("boom")
        return "done"

    return work


@pytest.mark.parametrize(
    ("make", "stops_before"),
    [
        (line, None),
        (line, ["a"]),
        (line, ["b"]),
        (joined, None),
        (joined, ["c"]),
        (joined, ["a", "b"]),
        (branched, None),
        (sent, ["a"]),
        (sent, None),
        (asking, None),
        *((lambda saver, fails=fails: function(saver, fails=fails), None) for fails in (False, True)),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
async def test_stored_state_waits_when_the_graph_says_what_comes_next(make: Any, stops_before: Any) -> None:
    saver = InMemorySaver()
    graph = make(saver) if make.__name__ == "<lambda>" else make().compile(checkpointer=saver)
    with contextlib.suppress(ValueError):
        await graph.ainvoke({"said": ["hi"]}, CONFIG, interrupt_before=stops_before)
    state = await graph.aget_state(CONFIG)
    assert (await read_stored(saver, "t")).is_waiting == bool(state.next)
    saved = await saver.aget_tuple(CONFIG)
    assert saved is not None
    if make.__name__ != "<lambda>":
        (latest,) = [each async for each in graph.aget_state_history(CONFIG, limit=1)]
        assert sorted(nodes_of_step(saved)) == sorted(latest.next)
