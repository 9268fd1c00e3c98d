"""The conformance suite of the RunCheckpointStore port, with real graphs that write to it.

Subclass it and provide ``checkpoints``. In addition, run langgraph-checkpoint-conformance over its saver.
"""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Final, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, empty_checkpoint
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.store import RunCheckpointStore
from runstead.runtime.runs.types import RunId, ThreadId

DURABILITIES: Final = ("sync", "async", "exit")


class Said(TypedDict):
    """The state of the suite's graphs."""

    said: Annotated[list[str], operator.add]


def _ask(state: Said) -> dict[str, list[str]]:
    return {"said": [f"child heard {interrupt('well?')}"]}


def _asking() -> StateGraph[Any, Any, Any, Any]:
    """Return a graph that writes, asks in a subgraph with its own state, and writes again."""
    child = StateGraph(Said).add_node("ask", _ask).add_edge(START, "ask").compile(checkpointer=True)
    graph = StateGraph(Said)
    graph.add_node("before", lambda state: {"said": ["before"]})
    graph.add_node("child", child)
    graph.add_node("beside", lambda state: {"said": ["beside"]})
    graph.add_node("after", lambda state: {"said": ["after"]})
    graph.add_edge(START, "before")
    graph.add_edge("before", "child")
    graph.add_edge("before", "beside")
    graph.add_edge(["child", "beside"], "after")
    return graph


class CheckpointStoreConformance:
    """The suite of RunCheckpointStore. Subclass it and provide ``checkpoints``."""

    async def test_mark_returns_the_latest_root_checkpoint(self, checkpoints: RunCheckpointStore) -> None:
        assert await checkpoints.mark(ThreadId("t-1"), RunId("r-1")) is None
        await _run(checkpoints, RunId("r-1"), {"said": ["hi"]})
        latest = await checkpoints.saver.aget_tuple(_config(ThreadId("t-1")))
        assert await checkpoints.mark(ThreadId("t-1"), RunId("r-2")) == latest.checkpoint["id"]
        assert await checkpoints.mark(ThreadId("t-2"), RunId("r-3")) is None

    async def test_mark_twice_keeps_the_first_mark(self, checkpoints: RunCheckpointStore) -> None:
        await _run(checkpoints, RunId("r-1"), {"said": ["hi"]})
        before = await _everything(checkpoints.saver)
        first = await checkpoints.mark(ThreadId("t-1"), RunId("r-2"))
        await _run(checkpoints, RunId("r-2"), Command(resume="yes"))
        assert await checkpoints.mark(ThreadId("t-1"), RunId("r-2")) == first
        await checkpoints.undo(ThreadId("t-1"), RunId("r-2"))
        assert await _everything(checkpoints.saver) == before

    @pytest.mark.parametrize("durability", DURABILITIES)
    async def test_undo_of_the_first_run_leaves_nothing(self, checkpoints: RunCheckpointStore, durability: str) -> None:
        await checkpoints.mark(ThreadId("t-1"), RunId("r-1"))
        await _run(checkpoints, RunId("r-1"), {"said": ["hi"]}, durability=durability)
        assert await _everything(checkpoints.saver) != []
        await checkpoints.undo(ThreadId("t-1"), RunId("r-1"))
        assert await _everything(checkpoints.saver) == []

    @pytest.mark.parametrize("durability", DURABILITIES)
    async def test_undo_of_a_resume_restores_older_checkpoints(
        self, checkpoints: RunCheckpointStore, durability: str
    ) -> None:
        await _run(checkpoints, RunId("r-1"), {"said": ["hi"]})
        before = await _everything(checkpoints.saver)
        await checkpoints.mark(ThreadId("t-1"), RunId("r-2"))
        said = await _run(checkpoints, RunId("r-2"), Command(resume="yes"), durability=durability)
        assert said[-1] == "after"
        assert await _everything(checkpoints.saver) != before
        await checkpoints.undo(ThreadId("t-1"), RunId("r-2"))
        assert await _everything(checkpoints.saver) == before
        assert "child heard no" in await _run(checkpoints, RunId("r-3"), Command(resume="no"))

    async def test_undo_of_a_run_from_an_older_checkpoint_restores_the_thread(
        self, checkpoints: RunCheckpointStore
    ) -> None:
        await _run(checkpoints, RunId("r-1"), {"said": ["hi"]})
        history = [found async for found in checkpoints.saver.alist(_config(ThreadId("t-1")))]
        older = history[-1].config["configurable"]["checkpoint_id"]
        before = await _everything(checkpoints.saver)
        await checkpoints.mark(ThreadId("t-1"), RunId("r-2"))
        await _run(checkpoints, RunId("r-2"), None, checkpoint_id=older)
        await checkpoints.undo(ThreadId("t-1"), RunId("r-2"))
        assert await _everything(checkpoints.saver) == before

    async def test_measure_counts_the_data_of_one_thread(self, checkpoints: RunCheckpointStore) -> None:
        nothing = await checkpoints.measure(ThreadId("t-1"))
        assert (nothing.count, nothing.stored, nothing.channels, nothing.writes, nothing.written) == (0, 0, {}, 0, 0)
        await _run(checkpoints, RunId("r-1"), {"said": ["x" * 10_000]})
        small = await checkpoints.measure(ThreadId("t-1"))
        stored = [found async for found in checkpoints.saver.alist({"configurable": {"thread_id": "t-1"}})]
        assert small.count == len(stored)
        assert small.writes == sum(len(found.pending_writes or ()) for found in stored)
        assert small.stored > 10_000
        assert small.written > 0
        # Each of its versions counts once: the input, and the addition of the first node.
        assert 10_000 * small.channels["said"].versions <= small.channels["said"].size < small.stored + small.written
        await _run(checkpoints, RunId("r-2"), Command(resume="yes"))
        large = await checkpoints.measure(ThreadId("t-1"))
        assert large.count > small.count
        assert large.channels["said"].versions > small.channels["said"].versions
        assert (await checkpoints.measure(ThreadId("t-2"))).count == 0
        await checkpoints.delete_thread(ThreadId("t-1"))
        assert await checkpoints.measure(ThreadId("t-1")) == nothing

    async def test_latest_checkpoint_is_the_last_written_regardless_of_ids(
        self, checkpoints: RunCheckpointStore
    ) -> None:
        await write_checkpoints(checkpoints, "9", "2", "5")
        assert await _ids(checkpoints) == ["5", "2", "9"]
        latest = await checkpoints.saver.aget_tuple(_config(ThreadId("t-1")))
        assert latest.checkpoint["id"] == "5"
        assert await checkpoints.mark(ThreadId("t-1"), RunId("r-1")) == "5"

    async def test_list_before_a_checkpoint_returns_those_written_before_it(
        self, checkpoints: RunCheckpointStore
    ) -> None:
        await write_checkpoints(checkpoints, "9", "2", "5")
        before = {"configurable": {"checkpoint_id": "2"}}
        assert await _ids(checkpoints, before=before) == ["9"]
        assert await _ids(checkpoints, limit=2) == ["5", "2"]

    async def test_keep_latest_keeps_the_last_written_regardless_of_ids(self, checkpoints: RunCheckpointStore) -> None:
        await write_checkpoints(checkpoints, "9", "2", "5")
        assert await checkpoints.keep_latest(ThreadId("t-1"))
        assert await _ids(checkpoints) == ["5"]

    async def test_copy_keeps_the_order_of_checkpoints(self, checkpoints: RunCheckpointStore) -> None:
        await write_checkpoints(checkpoints, "9", "2", "5")
        await checkpoints.copy_thread(ThreadId("t-1"), ThreadId("t-2"))
        assert await _ids(checkpoints, ThreadId("t-2")) == ["5", "2", "9"]

    async def test_undo_restores_the_order_of_overwritten_checkpoints(self, checkpoints: RunCheckpointStore) -> None:
        await write_checkpoints(checkpoints, "9", "2", "5")
        await checkpoints.mark(ThreadId("t-1"), RunId("r-1"))
        await write_checkpoints(checkpoints, "9", "7", run_id="r-1")
        await checkpoints.undo(ThreadId("t-1"), RunId("r-1"))
        assert await _ids(checkpoints) == ["5", "2", "9"]

    async def test_undo_twice_has_the_effect_of_one(self, checkpoints: RunCheckpointStore) -> None:
        await _run(checkpoints, RunId("r-1"), {"said": ["hi"]})
        await checkpoints.mark(ThreadId("t-1"), RunId("r-2"))
        await _run(checkpoints, RunId("r-2"), Command(resume="yes"))
        await checkpoints.undo(ThreadId("t-1"), RunId("r-2"))
        before = await _everything(checkpoints.saver)
        await checkpoints.undo(ThreadId("t-1"), RunId("r-2"))
        assert await _everything(checkpoints.saver) == before

    async def test_undo_does_not_change_other_threads(self, checkpoints: RunCheckpointStore) -> None:
        await checkpoints.mark(ThreadId("t-1"), RunId("r-1"))
        await checkpoints.mark(ThreadId("t-2"), RunId("r-2"))
        await _run(checkpoints, RunId("r-2"), {"said": ["there"]}, thread_id=ThreadId("t-2"))
        before = await _everything(checkpoints.saver)
        await _run(checkpoints, RunId("r-1"), {"said": ["here"]})
        await checkpoints.undo(ThreadId("t-1"), RunId("r-1"))
        assert await _everything(checkpoints.saver) == before

    async def test_undo_covers_all_attempts_of_a_run(self, checkpoints: RunCheckpointStore) -> None:
        await _run(checkpoints, RunId("r-1"), {"said": ["hi"]})
        before = await _everything(checkpoints.saver)
        for answer in ("one", "two"):
            await checkpoints.mark(ThreadId("t-1"), RunId("r-2"))
            await _run(checkpoints, RunId("r-2"), Command(resume=answer))
        await checkpoints.undo(ThreadId("t-1"), RunId("r-2"))
        assert await _everything(checkpoints.saver) == before

    async def test_undo_keeps_an_earlier_settled_run(self, checkpoints: RunCheckpointStore) -> None:
        await checkpoints.mark(ThreadId("t-1"), RunId("r-1"))
        await _run(checkpoints, RunId("r-1"), {"said": ["hi"]})
        await checkpoints.forget_mark(ThreadId("t-1"), RunId("r-1"))
        before = await _everything(checkpoints.saver)
        await checkpoints.mark(ThreadId("t-1"), RunId("r-2"))
        await _run(checkpoints, RunId("r-2"), Command(resume="yes"))
        await checkpoints.undo(ThreadId("t-1"), RunId("r-2"))
        assert await _everything(checkpoints.saver) == before
        await checkpoints.forget_mark(ThreadId("t-1"), RunId("r-2"))
        await checkpoints.forget_mark(ThreadId("t-none"), RunId("r-none"))
        assert await _everything(checkpoints.saver) == before

    async def test_delete_thread_removes_its_checkpoints(self, checkpoints: RunCheckpointStore) -> None:
        await checkpoints.mark(ThreadId("t-1"), RunId("r-1"))
        await _run(checkpoints, RunId("r-1"), {"said": ["here"]})
        await _run(checkpoints, RunId("r-2"), {"said": ["there"]}, thread_id=ThreadId("t-2"))
        await checkpoints.delete_thread(ThreadId("t-1"))
        await checkpoints.delete_thread(ThreadId("t-none"))
        left = await _everything(checkpoints.saver)
        assert {config["configurable"]["thread_id"] for config, *_ in left} == {"t-2"}
        assert await checkpoints.mark(ThreadId("t-1"), RunId("r-1")) is None

    async def test_copy_has_all_data_of_the_thread(self, checkpoints: RunCheckpointStore) -> None:
        await _run(checkpoints, RunId("r-1"), {"said": ["hi"]})
        await checkpoints.copy_thread(ThreadId("t-1"), ThreadId("t-2"))
        whole = await _everything(checkpoints.saver)
        assert len(whole) > 2
        assert _of(whole, ThreadId("t-2")) == _of(whole, ThreadId("t-1"))
        # A question of the thread can be answered on its copy.
        assert "child heard yes" in await _run(
            checkpoints, RunId("r-2"), Command(resume="yes"), thread_id=ThreadId("t-2")
        )

    async def test_copy_is_independent_of_the_original(self, checkpoints: RunCheckpointStore) -> None:
        await _run(checkpoints, RunId("r-1"), {"said": ["hi"]})
        await checkpoints.copy_thread(ThreadId("t-1"), ThreadId("t-2"))
        before = await _everything(checkpoints.saver)
        await _run(checkpoints, RunId("r-2"), Command(resume="yes"), thread_id=ThreadId("t-2"))
        after = await _everything(checkpoints.saver)
        assert _of(after, ThreadId("t-1")) == _of(before, ThreadId("t-1"))
        assert _of(after, ThreadId("t-2")) != _of(before, ThreadId("t-2"))
        await checkpoints.delete_thread(ThreadId("t-1"))
        assert _of(await _everything(checkpoints.saver), ThreadId("t-2")) == _of(after, ThreadId("t-2"))

    async def test_undo_of_a_run_does_not_change_a_copy_of_its_thread(self, checkpoints: RunCheckpointStore) -> None:
        await checkpoints.mark(ThreadId("t-1"), RunId("r-1"))
        await _run(checkpoints, RunId("r-1"), {"said": ["hi"]})
        await checkpoints.copy_thread(ThreadId("t-1"), ThreadId("t-2"))
        before = _of(await _everything(checkpoints.saver), ThreadId("t-2"))
        await checkpoints.undo(ThreadId("t-1"), RunId("r-1"))
        assert _of(await _everything(checkpoints.saver), ThreadId("t-1")) == []
        assert _of(await _everything(checkpoints.saver), ThreadId("t-2")) == before
        # It is not marked either: it can be pruned.
        assert await checkpoints.keep_latest(ThreadId("t-2"))

    async def test_copy_of_a_thread_without_state_is_empty(self, checkpoints: RunCheckpointStore) -> None:
        await checkpoints.copy_thread(ThreadId("t-none"), ThreadId("t-2"))
        assert await _everything(checkpoints.saver) == []

    async def test_keep_latest_deletes_older_checkpoints(self, checkpoints: RunCheckpointStore) -> None:
        await _run(checkpoints, RunId("r-1"), {"said": ["hi"]})
        await _run(checkpoints, RunId("r-2"), {"said": ["hi"]}, thread_id=ThreadId("t-2"))
        before = await _everything(checkpoints.saver)
        latest = await checkpoints.saver.aget_tuple(_config(ThreadId("t-1")))
        assert await checkpoints.keep_latest(ThreadId("t-1"))
        after = await _everything(checkpoints.saver)
        assert _of(after, ThreadId("t-2")) == _of(before, ThreadId("t-2"))
        assert await checkpoints.saver.aget_tuple(_config(ThreadId("t-1"))) == latest
        namespaces = [
            found.config["configurable"]["checkpoint_ns"] async for found in _listed(checkpoints, ThreadId("t-1"))
        ]
        assert len(namespaces) == len(set(namespaces)) == 2
        assert len(_of(after, ThreadId("t-1"))) < len(_of(before, ThreadId("t-1")))
        # The thread continues from there, including the subgraph.
        said = await _run(checkpoints, RunId("r-3"), Command(resume="yes"))
        assert ("child heard yes" in said, said[-1]) == (True, "after")

    async def test_keep_latest_twice_has_the_effect_of_one(self, checkpoints: RunCheckpointStore) -> None:
        await _run(checkpoints, RunId("r-1"), {"said": ["hi"]})
        assert await checkpoints.keep_latest(ThreadId("t-1"))
        before = await _everything(checkpoints.saver)
        assert await checkpoints.keep_latest(ThreadId("t-1"))
        assert await checkpoints.keep_latest(ThreadId("t-none"))
        assert await _everything(checkpoints.saver) == before

    async def test_keep_latest_deletes_nothing_while_a_run_could_be_undone(
        self, checkpoints: RunCheckpointStore
    ) -> None:
        await _run(checkpoints, RunId("r-1"), {"said": ["hi"]})
        before = await _everything(checkpoints.saver)
        await checkpoints.mark(ThreadId("t-1"), RunId("r-2"))
        await _run(checkpoints, RunId("r-2"), Command(resume="yes"))
        assert not await checkpoints.keep_latest(ThreadId("t-1"))
        await checkpoints.undo(ThreadId("t-1"), RunId("r-2"))
        await checkpoints.forget_mark(ThreadId("t-1"), RunId("r-2"))
        assert await _everything(checkpoints.saver) == before
        assert await checkpoints.keep_latest(ThreadId("t-1"))


def _config(thread_id: ThreadId, run_id: RunId | None = None, checkpoint_id: str | None = None) -> RunnableConfig:
    configurable: JsonObject = {"thread_id": thread_id, "checkpoint_ns": ""}
    if checkpoint_id is not None:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable, "metadata": {} if run_id is None else {"run_id": run_id}}


async def _run(
    checkpoints: RunCheckpointStore,
    run_id: RunId,
    given: object,
    *,
    thread_id: ThreadId = ThreadId("t-1"),
    durability: str = "async",
    checkpoint_id: str | None = None,
) -> Sequence[str]:
    """Run the suite's graph as the kernel does: with the run's id in the metadata of every checkpoint."""
    agent = _asking().compile(checkpointer=checkpoints.saver)
    config = _config(thread_id, run_id, checkpoint_id)
    state = await agent.ainvoke(given, config, durability=durability)  # type: ignore[call-overload]
    said: Sequence[str] = state["said"]
    return said


async def _everything(saver: BaseCheckpointSaver[Any]) -> list[Any]:
    """Return all readable data in a fixed order: checkpoints and their pending writes in every namespace."""
    found = [_plain(one) async for one in saver.alist(None)]
    return sorted(found, key=lambda one: repr(one[0]))


def _listed(checkpoints: RunCheckpointStore, thread_id: ThreadId) -> AsyncIterator[CheckpointTuple]:
    listed: AsyncIterator[CheckpointTuple] = checkpoints.saver.alist({"configurable": {"thread_id": thread_id}})
    return listed


def _of(everything: Sequence[Any], thread_id: ThreadId) -> list[Any]:
    """Return the data of one thread without its id."""
    mine = [each for each in everything if each[0]["configurable"]["thread_id"] == thread_id]
    return [_nameless(each) for each in mine]


def _nameless(value: object) -> object:
    if isinstance(value, dict):
        return {key: _nameless(inner) for key, inner in value.items() if key != "thread_id"}
    return [_nameless(inner) for inner in value] if isinstance(value, list | tuple) else value


def _plain(found: CheckpointTuple) -> Any:
    return (
        found.config,
        found.checkpoint,
        found.metadata,
        found.parent_config,
        sorted(found.pending_writes or (), key=repr),
    )


async def write_checkpoints(checkpoints: RunCheckpointStore, *checkpoint_ids: str, run_id: str | None = None) -> None:
    """Write checkpoints of thread t-1 with these ids, one after the other."""
    for checkpoint_id in checkpoint_ids:
        checkpoint = {**empty_checkpoint(), "id": checkpoint_id}
        await checkpoints.saver.aput(_config(ThreadId("t-1")), checkpoint, {"run_id": run_id} if run_id else {}, {})


async def _ids(checkpoints: RunCheckpointStore, thread_id: ThreadId = ThreadId("t-1"), **options: object) -> list[str]:
    """Return the ids of a thread's checkpoints, the latest first."""
    return [found.checkpoint["id"] async for found in checkpoints.saver.alist(_config(thread_id), **options)]
