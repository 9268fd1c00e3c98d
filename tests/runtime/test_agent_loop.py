"""Agent code on its own loops: its failures stay there."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator

import pytest

from runstead.runtime.runs.agent_loop import AgentLoop, ThreadAgentLoops


@pytest.fixture
async def loops() -> AsyncIterator[ThreadAgentLoops]:
    loops = ThreadAgentLoops(max_idle=2)
    yield loops
    await loops.close()


def _alive() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("agent-loop")}


async def _gone(threads: set[threading.Thread]) -> bool:
    """True if they have ended, within a moment."""
    for thread in threads:
        await asyncio.to_thread(thread.join, 30)
    return not threads & _alive()


async def _thread_of(loop: AgentLoop) -> threading.Thread:
    async def thread() -> threading.Thread:
        return threading.current_thread()

    task = loop.submit(thread)
    await task.wait()
    return task.result()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
async def test_system_exit_in_a_node_ends_only_its_task(loops: ThreadAgentLoops, error: type[BaseException]) -> None:
    async def rude() -> None:
        raise error

    async def agent() -> str:
        # Like langgraph: each node is a task, and the graph awaits it.
        node = asyncio.ensure_future(rude())
        await asyncio.wait({node})
        return type(node.exception()).__name__

    async with loops.lease() as loop:
        task = loop.submit(agent)
        assert await task.wait(5), "the loop died with the node"
        assert task.result() == error.__name__
        before = await _thread_of(loop)
    async with loops.lease() as again:
        assert await _thread_of(again) is before


async def test_loop_with_unending_code_is_abandoned_and_closes_later(loops: ThreadAgentLoops) -> None:
    release = threading.Event()

    async def stubborn() -> None:
        release.wait(10)

    before = _alive()
    async with loops.lease() as loop:
        assert not await loop.submit(stubborn).wait(0.05)
    mine = _alive() - before
    async with loops.lease() as other:
        assert await _thread_of(other) not in mine
        mine_too = _alive() - before - mine
    assert mine_too
    release.set()
    assert await _gone(mine)
    assert mine_too <= _alive()


async def test_code_blocking_an_abandoned_loop_is_ended(loops: ThreadAgentLoops) -> None:
    begun = threading.Event()

    async def node() -> None:
        while True:
            # Like retrying code.
            with contextlib.suppress(Exception):
                begun.set()

    async def agent() -> None:
        await asyncio.wait({asyncio.ensure_future(node())})

    before = _alive()
    async with loops.lease() as loop:
        task = loop.submit(agent)
        assert await asyncio.to_thread(begun.wait, 30)
    assert await _gone(_alive() - before)
    assert await task.wait(30)


async def test_synchronous_node_of_an_abandoned_loop_runs_to_its_end(loops: ThreadAgentLoops) -> None:
    release, begun = threading.Event(), threading.Event()

    def node() -> str:
        begun.set()
        release.wait(30)
        return "ended"

    async def agent() -> str:
        return await asyncio.to_thread(node)

    before = _alive()
    async with loops.lease() as loop:
        task = loop.submit(agent)
        assert await asyncio.to_thread(begun.wait, 30)
    mine = _alive() - before
    release.set()
    assert await task.wait(30)
    assert task.result() == "ended"
    assert await _gone(mine)


async def test_loops_above_the_idle_limit_are_closed(loops: ThreadAgentLoops) -> None:
    async def nothing() -> None:
        return

    async def use(together: asyncio.Barrier) -> None:
        async with loops.lease() as loop:
            await together.wait()
            await loop.submit(nothing).wait()

    before = _alive()
    together = asyncio.Barrier(6)
    await asyncio.gather(*(use(together) for _ in range(6)))
    async with loops.lease() as one, loops.lease() as other:
        kept = {await _thread_of(one), await _thread_of(other)}
        assert await _gone(_alive() - before - kept)


async def test_synchronous_nodes_share_a_bounded_number_of_threads_and_are_waited_for() -> None:
    loops = ThreadAgentLoops(sync_threads=3)
    threads: set[str] = set()
    running: list[int] = []

    def node() -> None:
        threads.add(threading.current_thread().name)
        running.append(1)
        time.sleep(0.02)
        running.pop()

    async def agent() -> list[int]:
        for _ in range(9):
            asyncio.get_running_loop().run_in_executor(None, node)
        await loop.threads_idle()
        return list(running)

    async with loops.lease() as loop:
        task = loop.submit(agent)
        assert await task.wait(5)
        assert task.result() == []
    assert len(threads) == 3
    await loops.close()


async def test_idle_loop_reuses_its_thread(loops: ThreadAgentLoops) -> None:
    async def agent() -> str:
        return await asyncio.to_thread(lambda: threading.current_thread().name)

    names = set()
    for _ in range(20):
        async with loops.lease() as loop:
            task = loop.submit(agent)
            await task.wait()
            names.add(task.result())
    assert len(names) == 1


async def test_exception_of_a_synchronous_node_reaches_the_awaiting_task(loops: ThreadAgentLoops) -> None:
    def node() -> None:
        raise ValueError("boom")

    async def agent() -> None:
        await asyncio.to_thread(node)

    async with loops.lease() as loop:
        task = loop.submit(agent)
        await task.wait()
        with pytest.raises(ValueError, match="boom"):
            task.result()


def test_synchronous_node_that_hangs_does_not_keep_the_process_from_ending() -> None:
    program = """
import asyncio, time
from runstead.runtime.runs.agent_loop import ThreadAgentLoops

async def agent():
    await asyncio.to_thread(time.sleep, 60)

async def main():
    loops = ThreadAgentLoops()
    async with loops.lease() as loop:
        await loop.submit(agent).wait(0.1)
    await loops.close()

asyncio.run(main())
"""
    began = time.monotonic()
    assert subprocess.run([sys.executable, "-c", program], timeout=50, check=False).returncode == 0
    assert time.monotonic() - began < 30
