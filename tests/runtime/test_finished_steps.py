"""A run that was stopped after a step's nodes had ended, and before the next checkpoint was stored."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Send, interrupt

from runstead.runtime.runs.exceptions import LeaseLost
from runstead.runtime.runs.internal.execution.finished_steps import finish_step
from runstead.runtime.runs.types import RunId

CONFIG: Any = {"configurable": {"thread_id": "t"}}


class State(TypedDict, total=False):
    done: Annotated[list[str], operator.add]


class Stopping(InMemorySaver):
    """A saver that does not store the checkpoint after ``last_step``."""

    last_step: int | None = 0
    failure: Exception = RuntimeError("stopped")

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        if self.last_step is not None and metadata["step"] > self.last_step:
            raise self.failure
        return await super().aput(config, checkpoint, metadata, new_versions)


@pytest.fixture
def executed() -> list[str]:
    return []


@pytest.fixture
def node(executed: list[str]) -> Callable[[str], Any]:
    def make(name: str) -> Any:
        def execute(state: State) -> State:
            executed.append(name)
            return {"done": [name]}

        return execute

    return make


async def stopped(builder: Any) -> Any:
    """Return a graph on whose thread the first step has ended, and its checkpoint is missing."""
    saver = Stopping()
    graph = builder.compile(checkpointer=saver)
    with pytest.raises(RuntimeError, match="stopped"):
        await graph.ainvoke({"done": []}, CONFIG, durability="sync")
    saver.last_step = None
    return graph


async def test_finish_step_names_the_node_that_comes_next(executed: list[str], node: Any) -> None:
    graph = await stopped(
        StateGraph(State).add_node("a", node("a")).add_node("b", node("b")).add_edge(START, "a").add_edge("a", "b")
    )
    state = await graph.aget_state(CONFIG)
    assert state.next == ()
    assert await finish_step(graph, CONFIG, state)
    state = await graph.aget_state(CONFIG)
    assert (state.next, state.values, executed) == (("b",), {"done": ["a"]}, ["a"])
    assert await graph.ainvoke(None, CONFIG) == {"done": ["a", "b"]}
    assert executed == ["a", "b"]


async def test_finish_step_keeps_what_was_written_for_a_run_with_new_input(node: Any) -> None:
    graph = await stopped(
        StateGraph(State).add_node("a", node("a")).add_node("b", node("b")).add_edge(START, "a").add_edge("a", "b")
    )
    await finish_step(graph, CONFIG, await graph.aget_state(CONFIG))
    assert await graph.ainvoke({"done": ["new"]}, CONFIG) == {"done": ["a", "new", "a", "b"]}


async def test_finish_step_ends_a_graph_whose_last_node_had_ended(executed: list[str], node: Any) -> None:
    graph = await stopped(StateGraph(State).add_node("a", node("a")).add_edge(START, "a"))
    assert await finish_step(graph, CONFIG, await graph.aget_state(CONFIG))
    state = await graph.aget_state(CONFIG)
    assert (state.next, state.tasks, state.values) == ((), (), {"done": ["a"]})
    assert not await finish_step(graph, CONFIG, state)
    assert executed == ["a"]


async def test_finish_step_sends_to_all_that_come_next(executed: list[str], node: Any) -> None:
    builder = StateGraph(State).add_node("a", node("a")).add_node("b", node("b")).add_edge(START, "a")
    graph = await stopped(builder.add_conditional_edges("a", lambda state: [Send("b", {}), Send("b", {})]))
    assert await finish_step(graph, CONFIG, await graph.aget_state(CONFIG))
    assert (await graph.aget_state(CONFIG)).next == ("b", "b")
    assert executed == ["a"]


async def test_finish_step_keeps_an_interrupted_node(executed: list[str]) -> None:
    def ask(state: State) -> State:
        return {"done": [interrupt("really?")]}

    builder = StateGraph(State).add_node("ask", ask).add_edge(START, "ask")
    graph: Any = builder.compile(checkpointer=InMemorySaver())
    await graph.ainvoke({"done": []}, CONFIG)
    state = await graph.aget_state(CONFIG)
    assert not await finish_step(graph, CONFIG, state)
    assert (await graph.aget_state(CONFIG)).config == state.config


async def test_finish_step_failure_leaves_the_thread_unchanged(node: Any) -> None:
    graph = await stopped(StateGraph(State).add_node("a", node("a")).add_edge(START, "a"))
    state = await graph.aget_state(CONFIG)
    graph.checkpointer.last_step = 0
    assert not await finish_step(graph, CONFIG, state)
    assert (await graph.aget_state(CONFIG)).config == state.config


async def test_finish_step_raises_lease_lost_without_a_warning(node: Any, caplog: pytest.LogCaptureFixture) -> None:
    graph = await stopped(StateGraph(State).add_node("a", node("a")).add_edge(START, "a"))
    graph.checkpointer.last_step, graph.checkpointer.failure = 0, LeaseLost(RunId("r"), 1)
    with pytest.raises(LeaseLost):
        await finish_step(graph, CONFIG, await graph.aget_state(CONFIG))
    assert caplog.records == []
