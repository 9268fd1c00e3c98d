"""Checkpoints on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability
from langgraph.graph import START, StateGraph

from runstead.infra.checkpoints.postgres import PostgresCheckpoints
from runstead.infra.checkpoints.sqlite import open_checkpoints
from runstead.infra.checkpoints.store import SqlCheckpoints
from runstead.runtime.runs.types import RunId, ThreadId
from runstead.testing.conformance.checkpoint_store import CheckpointStoreConformance
from tests.servers.postgres import PostgresSchema


@pytest.fixture(params=["sqlite", "postgres"])
async def checkpoints(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlCheckpoints]:
    """The same for each of the tests below, on either engine."""
    async with checkpoints_on(request.param, request, tmp_path) as checkpoints:
        yield checkpoints


@asynccontextmanager
async def checkpoints_on(engine: str, request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[SqlCheckpoints]:
    if engine == "sqlite":
        async with open_checkpoints(folder / "checkpoints.sqlite") as checkpoints:
            yield checkpoints
    else:
        schema: PostgresSchema = request.getfixturevalue("postgres_schema")
        yield PostgresCheckpoints(await schema.emptied())


class TestCheckpoints(CheckpointStoreConformance):
    pass


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_saver_passes_langgraphs_own_conformance_suite(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    @checkpointer_test(name=f"SqlCheckpointSaver on {engine}")
    async def our_saver() -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
        with TemporaryDirectory(dir=tmp_path) as folder:
            async with checkpoints_on(engine, request, Path(folder)) as checkpoints:
                yield checkpoints.saver

    report = await validate(our_saver)
    failures = {name: result.failures for name, result in report.results.items() if result.failures}
    assert failures == {}
    assert {name for name, result in report.results.items() if result.passed} == {one.value for one in Capability}


class Notes(TypedDict):
    """The state of the graph below."""

    notes: Annotated[list[Any], operator.add]


def noting() -> StateGraph[Any, Any, Any, Any]:
    return StateGraph(Notes).add_node("note", lambda state: {"notes": [1]}).add_edge(START, "note")


def thread(thread_id: str = "t-1") -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}


def a_checkpoint(checkpoint_id: str) -> Any:
    empty: dict[str, Any] = {"channel_values": {}, "channel_versions": {}, "versions_seen": {}}
    return {"v": 4, "id": checkpoint_id, "ts": "2030-01-01T00:00:00+00:00", **empty}


async def test_graph_can_run_on_an_event_loop_of_its_own(checkpoints: SqlCheckpoints) -> None:
    agent = noting().compile(checkpointer=checkpoints.saver)

    async def both() -> Any:
        await agent.ainvoke({"notes": [0]}, thread())
        return (await agent.aget_state(thread())).values

    assert await asyncio.to_thread(lambda: asyncio.run(both())) == {"notes": [0, 1]}


async def test_synchronous_graph_can_run_in_a_thread(checkpoints: SqlCheckpoints) -> None:
    agent = noting().compile(checkpointer=checkpoints.saver)

    def both() -> tuple[Any, int]:
        agent.invoke({"notes": [0]}, thread())
        return agent.get_state(thread()).values, len(list(agent.get_state_history(thread(), limit=2)))

    assert await asyncio.to_thread(both) == ({"notes": [0, 1]}, 2)


async def test_call_that_would_block_its_own_loop_is_refused(checkpoints: SqlCheckpoints) -> None:
    with pytest.raises(asyncio.InvalidStateError, match="use the async method"):
        checkpoints.saver.get_tuple(thread())


async def test_listing_can_be_abandoned_and_interleaved(checkpoints: SqlCheckpoints) -> None:
    saver = checkpoints.saver
    for n in range(130):
        await saver.aput(thread(f"t-{n % 3}"), a_checkpoint(f"c-{n // 3:03}"), {"step": n}, {})
    seen = []
    async for found in saver.alist(None):
        seen.append((found.config["configurable"]["thread_id"], found.checkpoint["id"]))
        if len(seen) == 60:
            await saver.aput(thread("t-new"), a_checkpoint("c-999"), {"step": 0}, {})
            assert await saver.aget_tuple(thread("t-new")) is not None
    assert len(seen) == len(set(seen)) == 130
    assert [found.metadata["step"] async for found in saver.alist(thread("t-1"), limit=2)] == [127, 124]
    assert [found.checkpoint["id"] async for found in saver.alist(None, filter={"step": 0})] == ["c-999", "c-000"]
    async for _ in saver.alist(None):
        break


async def test_metadata_hard_to_express_in_json_is_stored_and_found(checkpoints: SqlCheckpoints) -> None:
    odd: Any = {"source": "loop", "step": 1, "nan": float("nan"), "half": "a\ud800b", "what": object(), "run_id": "r-1"}
    await checkpoints.mark(ThreadId("t-1"), RunId("r-1"))
    await checkpoints.saver.aput(thread(), a_checkpoint("c-1"), odd, {})
    found = await checkpoints.saver.aget_tuple(thread())
    assert found is not None
    kept: dict[str, Any] = {**found.metadata}
    assert (kept["step"], kept["half"]) == (1, "ab")
    assert [one.checkpoint["id"] async for one in checkpoints.saver.alist(thread(), filter={"step": 1})] == ["c-1"]
    await checkpoints.undo(ThreadId("t-1"), RunId("r-1"))
    assert await checkpoints.saver.aget_tuple(thread()) is None


async def test_overwritten_older_checkpoint_is_restored_with_its_writes(
    checkpoints: SqlCheckpoints,
) -> None:
    saver = checkpoints.saver
    at = await saver.aput(thread(), a_checkpoint("c-1"), {"run_id": "r-1", "step": 1}, {})
    await saver.aput_writes(at, [("x", "before")], "task-1")
    await checkpoints.mark(ThreadId("t-1"), RunId("r-2"))
    await saver.aput(thread(), a_checkpoint("c-1"), {"run_id": "r-2", "step": 2}, {})
    await saver.aput_writes(at, [("y", "after")], "task-2")
    await checkpoints.undo(ThreadId("t-1"), RunId("r-2"))
    restored = await saver.aget_tuple(thread())
    assert restored is not None
    assert restored.metadata["step"] == 1
    assert restored.pending_writes == [("task-1", "x", "before")]


async def test_writes_stored_before_their_checkpoint_are_undone_with_the_run(checkpoints: SqlCheckpoints) -> None:
    saver = checkpoints.saver
    at = await saver.aput(thread(), a_checkpoint("c-1"), {"run_id": "r-1"}, {})
    await checkpoints.mark(ThreadId("t-1"), RunId("r-2"))
    ahead: RunnableConfig = {"configurable": {**at["configurable"], "checkpoint_id": "c-2"}}
    await saver.aput_writes(ahead, [("x", 1)], "task-1")
    await checkpoints.undo(ThreadId("t-1"), RunId("r-2"))
    await saver.aput(at, a_checkpoint("c-2"), {"run_id": "r-3"}, {})
    found = await saver.aget_tuple(thread())
    assert found is not None
    assert found.pending_writes == []


async def test_undo_records_left_by_a_crash_are_removed_with_the_next_run(checkpoints: SqlCheckpoints) -> None:
    saver = checkpoints.saver
    at = await saver.aput(thread(), a_checkpoint("c-1"), {"run_id": "r-0"}, {})
    for run_id in ("r-1", "r-2"):
        await checkpoints.mark(ThreadId("t-1"), RunId(run_id))
        await saver.aput_writes(at, [("__resume__", run_id)], "task-1")
    await checkpoints.forget_mark(ThreadId("t-1"), RunId("r-2"))
    await checkpoints.undo(ThreadId("t-1"), RunId("r-1"))
    found = await saver.aget_tuple(thread())
    assert found is not None
    assert found.pending_writes == [("task-1", "__resume__", "r-2")]


async def test_cancelled_write_is_stored_completely_or_not_at_all(checkpoints: SqlCheckpoints) -> None:
    saver = checkpoints.saver
    at = await saver.aput(thread(), a_checkpoint("c-1"), {}, {})
    for n in range(30):
        writing = asyncio.create_task(saver.aput_writes(at, [("x", n), ("y", n), ("z", n)], f"task-{n}"))
        for _ in range(n % 4):
            await asyncio.sleep(0)
        writing.cancel()
    found = await saver.aget_tuple(thread())
    assert found is not None
    tasks = [task_id for task_id, _, _ in found.pending_writes or ()]
    assert all(tasks.count(task_id) == 3 for task_id in tasks)


class Sums(TypedDict):
    """A state whose list is stored as differences."""

    said: Annotated[list[Any], DeltaChannel(lambda kept, more: [*kept, *(one for many in more for one in many)])]


async def test_channels_that_store_differences_are_rebuilt_after_copying_and_pruning(
    checkpoints: SqlCheckpoints,
) -> None:
    graph = StateGraph(Sums).add_node("say", lambda state: {"said": [len(state["said"])]}).add_edge(START, "say")
    agent = graph.compile(checkpointer=checkpoints.saver)
    for _ in range(4):
        await agent.ainvoke({"said": ["hi"]}, thread())
    whole = (await agent.aget_state(thread())).values["said"]
    assert whole == ["hi", 1, "hi", 3, "hi", 5, "hi", 7]
    await checkpoints.saver.acopy_thread("t-1", "t-2")
    for thread_id in ("t-1", "t-2"):
        await checkpoints.saver.aprune([thread_id])
        assert (await agent.aget_state(thread(thread_id))).values["said"] == whole
    await checkpoints.mark(ThreadId("t-2"), RunId("r-1"))
    await agent.ainvoke({"said": ["ho"]}, {**thread("t-2"), "metadata": {"run_id": "r-1"}}, durability="exit")
    await checkpoints.undo(ThreadId("t-2"), RunId("r-1"))
    assert (await agent.aget_state(thread("t-2"))).values["said"] == whole


async def test_unknown_prune_strategy_is_refused(checkpoints: SqlCheckpoints) -> None:
    with pytest.raises(ValueError, match="keep_latest"):
        await checkpoints.saver.aprune(["t-1"], strategy="all")
