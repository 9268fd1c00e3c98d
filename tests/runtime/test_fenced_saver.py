"""The fence around a graph's checkpoints: a worker without the lease writes nothing, and encoding blocks no other
code.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from runstead.infra.checkpoints.sqlite import open_checkpoints
from runstead.infra.checkpoints.store import SqlCheckpoints
from runstead.runtime.runs.agent_loop import ThreadAgentLoops
from runstead.runtime.runs.exceptions import LeaseLost
from runstead.runtime.runs.internal.execution.fenced_saver import FencedSaver
from runstead.runtime.runs.types import RunId

THREAD: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


class Holder:
    """The lease holder, as the executor reports it: lost or not, sure or not."""

    def __init__(self) -> None:
        self.lost, self.sure, self.asked = False, True, 0

    def check(self) -> bool:
        if self.lost:
            raise LeaseLost(RunId("r"), 1)
        return self.sure

    async def guard(self) -> None:
        self.asked += 1
        self.check()


class Watched(JsonPlusSerializer):
    """Records the threads in which it encoded."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        self.threads.add(threading.get_ident())
        return super().dumps_typed(obj)


def _checkpoint() -> Checkpoint:
    return empty_checkpoint()


async def _put(saver: FencedSaver) -> None:
    await saver.aput(THREAD, _checkpoint(), {"source": "loop", "step": 1, "parents": {}}, {})


@pytest.fixture
def holder() -> Holder:
    return Holder()


async def _fenced(checkpoints: SqlCheckpoints, holder: Holder) -> FencedSaver:
    stamp = {"run_id": "r", "run_attempt": 1}
    return FencedSaver(checkpoints.saver, asyncio.get_running_loop(), holder.guard, stamp, holder.check)


async def test_checkpoints_are_encoded_on_the_loop_of_the_graph(tmp_path: Path, holder: Holder) -> None:
    """Encoding a state of some megabytes would delay every other response."""
    serde, loops = Watched(), ThreadAgentLoops()
    async with open_checkpoints(tmp_path / "c.sqlite", serde=serde) as checkpoints:
        saver = await _fenced(checkpoints, holder)
        async with loops.lease() as loop:
            task = loop.submit(lambda: _put(saver))
            await task.wait()
            task.result()
        assert serde.threads
        assert threading.get_ident() not in serde.threads
        stored = await checkpoints.saver.aget_tuple(THREAD)
        assert stored is not None
        assert stored.metadata["run_id"] == "r"
    await loops.close()


async def test_lost_lease_refuses_writes(tmp_path: Path, holder: Holder) -> None:
    async with open_checkpoints(tmp_path / "c.sqlite") as checkpoints:
        saver = await _fenced(checkpoints, holder)
        holder.lost = True
        with pytest.raises(LeaseLost):
            await _put(saver)
        with pytest.raises(LeaseLost):
            await saver.aput_writes({"configurable": {**THREAD["configurable"], "checkpoint_id": "c"}}, [("a", 1)], "k")
        assert await saver.aget_tuple(THREAD) is None


async def test_lease_lost_while_a_write_is_queued_refuses_the_write(tmp_path: Path, holder: Holder) -> None:
    """The fence is inside the transaction: passing it before queueing up would not be enough."""
    entered, opened = threading.Event(), threading.Event()

    async with open_checkpoints(tmp_path / "c.sqlite") as checkpoints:
        saver = await _fenced(checkpoints, holder)

        def hold() -> None:
            entered.set()
            assert opened.wait(10)

        holding = asyncio.create_task(
            checkpoints.saver.fenced(hold).adelete_thread("another")  # it blocks the writer, ahead of the others
        )
        await asyncio.to_thread(entered.wait, 10)
        writing = asyncio.create_task(_put(saver))
        await asyncio.sleep(0)
        holder.lost = True
        opened.set()
        await holding
        with pytest.raises(LeaseLost):
            await writing
        assert await saver.aget_tuple(THREAD) is None


async def test_holder_unsure_of_its_lease_checks_before_writing(tmp_path: Path, holder: Holder) -> None:
    async with open_checkpoints(tmp_path / "c.sqlite") as checkpoints:
        saver = await _fenced(checkpoints, holder)
        await _put(saver)
        assert holder.asked == 0
        holder.sure = False
        await _put(saver)
        assert holder.asked == 1


async def test_saver_that_lives_on_one_loop_is_called_there(holder: Holder) -> None:
    home = threading.get_ident()
    threads: list[int] = []

    class Local(InMemorySaver):
        async def aput(self, *args: Any, **kwargs: Any) -> RunnableConfig:
            threads.append(threading.get_ident())
            return await super().aput(*args, **kwargs)

    saver = FencedSaver(Local(), asyncio.get_running_loop(), holder.guard, {"run_id": "r"}, holder.check)
    loops = ThreadAgentLoops()
    async with loops.lease() as loop:
        task = loop.submit(lambda: _put(saver))
        await task.wait()
        task.result()
        assert threads == [home]
        assert holder.asked == 1
        holder.lost = True
        task = loop.submit(lambda: _put(saver))
        await task.wait()
        with pytest.raises(LeaseLost):
            task.result()
    assert threads == [home]
    await loops.close()


class Slow(InMemorySaver):
    """Stores when permitted."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed, self.stored = asyncio.Event(), 0

    async def aput(self, *given: Any) -> Any:
        await self.allowed.wait()
        self.stored += 1
        return await super().aput(*given)


async def test_writes_ended_returns_after_writes_that_wait_for_each_other(holder: Holder) -> None:
    """Like LangGraph, which chains checkpoints in the background, also for a stopped graph."""
    slow = Slow()
    saver = FencedSaver(slow, asyncio.get_running_loop(), holder.guard, {}, holder.check)

    async def put_after(previous: asyncio.Task[None] | None) -> None:
        if previous is not None:
            await previous
        await _put(saver)

    first = asyncio.create_task(put_after(None))
    second = asyncio.create_task(put_after(first))
    third = asyncio.create_task(put_after(second))
    await asyncio.sleep(0)
    ended = asyncio.create_task(saver.writes_ended())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not ended.done()
    slow.allowed.set()
    await ended
    assert slow.stored == 3
    await third


async def test_writes_ended_knows_of_the_savers_of_subgraphs(holder: Holder) -> None:
    slow = Slow()
    saver = FencedSaver(slow, asyncio.get_running_loop(), holder.guard, {}, holder.check)
    put = asyncio.create_task(_put(saver.with_allowlist(())))
    await asyncio.sleep(0)
    ended = asyncio.create_task(saver.writes_ended())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not ended.done()
    slow.allowed.set()
    await ended
    await put
