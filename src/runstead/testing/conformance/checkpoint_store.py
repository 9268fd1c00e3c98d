"""What every RunCheckpointStore must do, sentence by sentence of its contract, with real graphs that write to it.

Subclass it and give it ``checkpoints``. Beside this, run langgraph-checkpoint-conformance over its saver.
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

from runstead.runtime.runs.store import RunCheckpointStore
from runstead.runtime.runs.types import RunId, ThreadId

DURABILITIES: Final = ("sync", "async", "exit")


class Said(TypedDict):
    """The state of the suite's graphs."""

    said: Annotated[list[str], operator.add]


def _ask(state: Said) -> dict[str, list[str]]:
    return {"said": [f"child heard {interrupt('well?')}"]}


def _asking() -> StateGraph[Any, Any, Any, Any]:
    """Says something, asks in a subgraph that keeps a state of its own, and says something more."""
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
    """Subclass it and give it ``checkpoints``."""

    async def test_a_mark_is_the_latest_root_checkpoint(self, checkpoints: RunCheckpointStore) -> None:
        assert await checkpoints.mark("t-1", "r-1") is None
        await _run(checkpoints, "r-1", {"said": ["hi"]})
        latest = await checkpoints.saver.aget_tuple(_config("t-1"))
        assert await checkpoints.mark("t-1", "r-2") == latest.checkpoint["id"]
        assert await checkpoints.mark("t-2", "r-3") is None

    async def test_marking_twice_keeps_the_first_mark(self, checkpoints: RunCheckpointStore) -> None:
        await _run(checkpoints, "r-1", {"said": ["hi"]})
        before = await _everything(checkpoints.saver)
        first = await checkpoints.mark("t-1", "r-2")
        await _run(checkpoints, "r-2", Command(resume="yes"))
        assert await checkpoints.mark("t-1", "r-2") == first
        await checkpoints.undo("t-1", "r-2")
        assert await _everything(checkpoints.saver) == before

    @pytest.mark.parametrize("durability", DURABILITIES)
    async def test_the_first_run_of_a_thread_is_undone_to_nothing(
        self, checkpoints: RunCheckpointStore, durability: str
    ) -> None:
        await checkpoints.mark("t-1", "r-1")
        await _run(checkpoints, "r-1", {"said": ["hi"]}, durability=durability)
        assert await _everything(checkpoints.saver) != []
        await checkpoints.undo("t-1", "r-1")
        assert await _everything(checkpoints.saver) == []

    @pytest.mark.parametrize("durability", DURABILITIES)
    async def test_a_resume_is_undone_with_what_it_wrote_onto_older_checkpoints(
        self, checkpoints: RunCheckpointStore, durability: str
    ) -> None:
        await _run(checkpoints, "r-1", {"said": ["hi"]})
        before = await _everything(checkpoints.saver)
        await checkpoints.mark("t-1", "r-2")
        said = await _run(checkpoints, "r-2", Command(resume="yes"), durability=durability)
        assert said[-1] == "after"
        assert await _everything(checkpoints.saver) != before
        await checkpoints.undo("t-1", "r-2")
        assert await _everything(checkpoints.saver) == before
        assert "child heard no" in await _run(checkpoints, "r-3", Command(resume="no"))

    async def test_a_run_that_starts_again_from_an_older_checkpoint_is_undone(
        self, checkpoints: RunCheckpointStore
    ) -> None:
        await _run(checkpoints, "r-1", {"said": ["hi"]})
        history = [found async for found in checkpoints.saver.alist(_config("t-1"))]
        older = history[-1].config["configurable"]["checkpoint_id"]
        before = await _everything(checkpoints.saver)
        await checkpoints.mark("t-1", "r-2")
        await _run(checkpoints, "r-2", None, checkpoint_id=older)
        await checkpoints.undo("t-1", "r-2")
        assert await _everything(checkpoints.saver) == before

    async def test_measure_counts_what_is_stored_of_one_thread(self, checkpoints: RunCheckpointStore) -> None:
        nothing = await checkpoints.measure("t-1")
        assert (nothing.count, nothing.stored, nothing.channels, nothing.writes, nothing.written) == (0, 0, {}, 0, 0)
        await _run(checkpoints, "r-1", {"said": ["x" * 10_000]})
        small = await checkpoints.measure("t-1")
        stored = [found async for found in checkpoints.saver.alist({"configurable": {"thread_id": "t-1"}})]
        assert small.count == len(stored)
        assert small.writes == sum(len(found.pending_writes or ()) for found in stored)
        assert small.stored > 10_000
        assert small.written > 0
        # Each version of it counts once: the input, and what the first node added.
        assert 10_000 * small.channels["said"].versions <= small.channels["said"].size < small.stored + small.written
        await _run(checkpoints, "r-2", Command(resume="yes"))
        large = await checkpoints.measure("t-1")
        assert large.count > small.count
        assert large.channels["said"].versions > small.channels["said"].versions
        assert (await checkpoints.measure("t-2")).count == 0
        await checkpoints.delete_thread("t-1")
        assert await checkpoints.measure("t-1") == nothing

    async def test_latest_checkpoint_is_the_one_written_last_whatever_its_id(
        self, checkpoints: RunCheckpointStore
    ) -> None:
        await write_checkpoints(checkpoints, "9", "2", "5")
        assert await _ids(checkpoints) == ["5", "2", "9"]
        latest = await checkpoints.saver.aget_tuple(_config("t-1"))
        assert latest.checkpoint["id"] == "5"
        assert await checkpoints.mark("t-1", "r-1") == "5"

    async def test_history_before_a_checkpoint_is_what_was_written_before_it(
        self, checkpoints: RunCheckpointStore
    ) -> None:
        await write_checkpoints(checkpoints, "9", "2", "5")
        before = {"configurable": {"checkpoint_id": "2"}}
        assert await _ids(checkpoints, before=before) == ["9"]
        assert await _ids(checkpoints, limit=2) == ["5", "2"]

    async def test_pruning_keeps_the_checkpoint_written_last_whatever_its_id(
        self, checkpoints: RunCheckpointStore
    ) -> None:
        await write_checkpoints(checkpoints, "9", "2", "5")
        assert await checkpoints.keep_latest("t-1")
        assert await _ids(checkpoints) == ["5"]

    async def test_copy_has_its_checkpoints_in_the_order_of_the_original(self, checkpoints: RunCheckpointStore) -> None:
        await write_checkpoints(checkpoints, "9", "2", "5")
        await checkpoints.copy_thread("t-1", "t-2")
        assert await _ids(checkpoints, "t-2") == ["5", "2", "9"]

    async def test_undo_restores_the_order_of_checkpoints_that_the_run_wrote_over(
        self, checkpoints: RunCheckpointStore
    ) -> None:
        await write_checkpoints(checkpoints, "9", "2", "5")
        await checkpoints.mark("t-1", "r-1")
        await write_checkpoints(checkpoints, "9", "7", run_id="r-1")
        await checkpoints.undo("t-1", "r-1")
        assert await _ids(checkpoints) == ["5", "2", "9"]

    async def test_undoing_twice_is_undoing_once(self, checkpoints: RunCheckpointStore) -> None:
        await _run(checkpoints, "r-1", {"said": ["hi"]})
        await checkpoints.mark("t-1", "r-2")
        await _run(checkpoints, "r-2", Command(resume="yes"))
        await checkpoints.undo("t-1", "r-2")
        before = await _everything(checkpoints.saver)
        await checkpoints.undo("t-1", "r-2")
        assert await _everything(checkpoints.saver) == before

    async def test_undoing_leaves_other_threads_alone(self, checkpoints: RunCheckpointStore) -> None:
        await checkpoints.mark("t-1", "r-1")
        await checkpoints.mark("t-2", "r-2")
        await _run(checkpoints, "r-2", {"said": ["there"]}, thread_id="t-2")
        before = await _everything(checkpoints.saver)
        await _run(checkpoints, "r-1", {"said": ["here"]})
        await checkpoints.undo("t-1", "r-1")
        assert await _everything(checkpoints.saver) == before

    async def test_a_run_can_be_undone_after_other_attempts_of_it(self, checkpoints: RunCheckpointStore) -> None:
        await _run(checkpoints, "r-1", {"said": ["hi"]})
        before = await _everything(checkpoints.saver)
        for answer in ("one", "two"):
            await checkpoints.mark("t-1", "r-2")
            await _run(checkpoints, "r-2", Command(resume=answer))
        await checkpoints.undo("t-1", "r-2")
        assert await _everything(checkpoints.saver) == before

    async def test_a_settled_run_is_kept_when_a_later_one_is_undone(self, checkpoints: RunCheckpointStore) -> None:
        await checkpoints.mark("t-1", "r-1")
        await _run(checkpoints, "r-1", {"said": ["hi"]})
        await checkpoints.forget_mark("t-1", "r-1")
        before = await _everything(checkpoints.saver)
        await checkpoints.mark("t-1", "r-2")
        await _run(checkpoints, "r-2", Command(resume="yes"))
        await checkpoints.undo("t-1", "r-2")
        assert await _everything(checkpoints.saver) == before
        await checkpoints.forget_mark("t-1", "r-2")
        await checkpoints.forget_mark("t-none", "r-none")
        assert await _everything(checkpoints.saver) == before

    async def test_a_deleted_thread_has_no_checkpoints(self, checkpoints: RunCheckpointStore) -> None:
        await checkpoints.mark("t-1", "r-1")
        await _run(checkpoints, "r-1", {"said": ["here"]})
        await _run(checkpoints, "r-2", {"said": ["there"]}, thread_id="t-2")
        await checkpoints.delete_thread("t-1")
        await checkpoints.delete_thread("t-none")
        left = await _everything(checkpoints.saver)
        assert {config["configurable"]["thread_id"] for config, *_ in left} == {"t-2"}
        assert await checkpoints.mark("t-1", "r-1") is None

    async def test_a_copy_has_all_of_the_thread(self, checkpoints: RunCheckpointStore) -> None:
        await _run(checkpoints, "r-1", {"said": ["hi"]})
        await checkpoints.copy_thread("t-1", "t-2")
        whole = await _everything(checkpoints.saver)
        assert len(whole) > 2
        assert _of(whole, "t-2") == _of(whole, "t-1")
        # What the thread was asked can be answered on its copy.
        assert "child heard yes" in await _run(checkpoints, "r-2", Command(resume="yes"), thread_id="t-2")

    async def test_a_thread_and_its_copy_go_different_ways(self, checkpoints: RunCheckpointStore) -> None:
        await _run(checkpoints, "r-1", {"said": ["hi"]})
        await checkpoints.copy_thread("t-1", "t-2")
        before = await _everything(checkpoints.saver)
        await _run(checkpoints, "r-2", Command(resume="yes"), thread_id="t-2")
        after = await _everything(checkpoints.saver)
        assert _of(after, "t-1") == _of(before, "t-1")
        assert _of(after, "t-2") != _of(before, "t-2")
        await checkpoints.delete_thread("t-1")
        assert _of(await _everything(checkpoints.saver), "t-2") == _of(after, "t-2")

    async def test_a_copy_is_not_undone_with_the_run_it_was_copied_from(self, checkpoints: RunCheckpointStore) -> None:
        await checkpoints.mark("t-1", "r-1")
        await _run(checkpoints, "r-1", {"said": ["hi"]})
        await checkpoints.copy_thread("t-1", "t-2")
        before = _of(await _everything(checkpoints.saver), "t-2")
        await checkpoints.undo("t-1", "r-1")
        assert _of(await _everything(checkpoints.saver), "t-1") == []
        assert _of(await _everything(checkpoints.saver), "t-2") == before
        # Nor is it marked: it can be pruned.
        assert await checkpoints.keep_latest("t-2")

    async def test_a_thread_without_a_state_is_copied_to_nothing(self, checkpoints: RunCheckpointStore) -> None:
        await checkpoints.copy_thread("t-none", "t-2")
        assert await _everything(checkpoints.saver) == []

    async def test_the_latest_state_stays_and_the_older_ones_go(self, checkpoints: RunCheckpointStore) -> None:
        await _run(checkpoints, "r-1", {"said": ["hi"]})
        await _run(checkpoints, "r-2", {"said": ["hi"]}, thread_id="t-2")
        before = await _everything(checkpoints.saver)
        latest = await checkpoints.saver.aget_tuple(_config("t-1"))
        assert await checkpoints.keep_latest("t-1")
        after = await _everything(checkpoints.saver)
        assert _of(after, "t-2") == _of(before, "t-2")
        assert await checkpoints.saver.aget_tuple(_config("t-1")) == latest
        namespaces = [found.config["configurable"]["checkpoint_ns"] async for found in _listed(checkpoints, "t-1")]
        assert len(namespaces) == len(set(namespaces)) == 2
        assert len(_of(after, "t-1")) < len(_of(before, "t-1"))
        # And the thread goes on from there, subgraph and all.
        said = await _run(checkpoints, "r-3", Command(resume="yes"))
        assert ("child heard yes" in said, said[-1]) == (True, "after")

    async def test_keeping_the_latest_twice_is_keeping_it_once(self, checkpoints: RunCheckpointStore) -> None:
        await _run(checkpoints, "r-1", {"said": ["hi"]})
        assert await checkpoints.keep_latest("t-1")
        before = await _everything(checkpoints.saver)
        assert await checkpoints.keep_latest("t-1")
        assert await checkpoints.keep_latest("t-none")
        assert await _everything(checkpoints.saver) == before

    async def test_nothing_goes_while_a_run_could_be_undone(self, checkpoints: RunCheckpointStore) -> None:
        await _run(checkpoints, "r-1", {"said": ["hi"]})
        before = await _everything(checkpoints.saver)
        await checkpoints.mark("t-1", "r-2")
        await _run(checkpoints, "r-2", Command(resume="yes"))
        assert not await checkpoints.keep_latest("t-1")
        await checkpoints.undo("t-1", "r-2")
        await checkpoints.forget_mark("t-1", "r-2")
        assert await _everything(checkpoints.saver) == before
        assert await checkpoints.keep_latest("t-1")


def _config(thread_id: ThreadId, run_id: RunId | None = None, checkpoint_id: str | None = None) -> RunnableConfig:
    configurable: dict[str, Any] = {"thread_id": thread_id, "checkpoint_ns": ""}
    if checkpoint_id is not None:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable, "metadata": {} if run_id is None else {"run_id": run_id}}


async def _run(
    checkpoints: RunCheckpointStore,
    run_id: RunId,
    given: Any,
    *,
    thread_id: ThreadId = "t-1",
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
    """All that can be read back, in an order of its own: checkpoints and their pending writes, in every namespace."""
    found = [_plain(one) async for one in saver.alist(None)]
    return sorted(found, key=lambda one: repr(one[0]))


def _listed(checkpoints: RunCheckpointStore, thread_id: ThreadId) -> AsyncIterator[CheckpointTuple]:
    listed: AsyncIterator[CheckpointTuple] = checkpoints.saver.alist({"configurable": {"thread_id": thread_id}})
    return listed


def _of(everything: Sequence[Any], thread_id: ThreadId) -> list[Any]:
    """What one thread has, without its name."""
    mine = [each for each in everything if each[0]["configurable"]["thread_id"] == thread_id]
    return [_nameless(each) for each in mine]


def _nameless(value: Any) -> Any:
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
        await checkpoints.saver.aput(_config("t-1"), checkpoint, {"run_id": run_id} if run_id else {}, {})


async def _ids(checkpoints: RunCheckpointStore, thread_id: ThreadId = "t-1", **options: Any) -> list[str]:
    """The ids of a thread's checkpoints, the latest first."""
    return [found.checkpoint["id"] async for found in checkpoints.saver.alist(_config(thread_id), **options)]
