"""The one loop of all user code, and the threads of its synchronous calls."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar

import pytest

from runstead.runtime.runs.agent_loop import AgentLoop, AgentLoopsByGraph, Isolation, SharedAgentLoops
from runstead.runtime.user_code.scope import UserWork, WorkScope
from runstead.runtime.user_code.sync_threads import SyncThreads
from runstead.runtime.user_code.thread_loop import LoopLost, ThreadLoop, UserCodeExit
from runstead.runtime.user_code.user_loop import UserCodeTimeout, UserLoop

WHO: ContextVar[str] = ContextVar("who", default="unknown")


@pytest.fixture
async def user_loop() -> AsyncIterator[UserLoop]:
    async with UserLoop.running() as user_loop:
        yield user_loop


async def test_run_uses_the_callers_context_and_another_thread(user_loop: UserLoop) -> None:
    async def work() -> tuple[str, int, bool]:
        return WHO.get(), threading.get_ident(), user_loop.is_current

    WHO.set("alice")
    who, thread, is_current = await user_loop.run(work)
    assert (who, is_current, user_loop.is_current) == ("alice", True, False)
    assert thread != threading.get_ident()


async def test_run_called_by_user_code_stays_in_its_task(user_loop: UserLoop) -> None:
    async def inner() -> asyncio.Task[object] | None:
        return asyncio.current_task()

    async def outer() -> bool:
        return await user_loop.run(inner) is asyncio.current_task()

    assert await user_loop.run(outer)


@pytest.mark.parametrize("nested", [False, True])
async def test_run_cancels_work_that_takes_too_long(user_loop: UserLoop, nested: bool) -> None:
    began, cancelled = threading.Event(), threading.Event()

    async def for_ever() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def within() -> None:
        await user_loop.run(for_ever, 0.02)

    with pytest.raises(UserCodeTimeout, match=r"no answer within 0\.02 seconds"):
        await (user_loop.run(within) if nested else within())
    # On a busy machine it may be cancelled before its first step, and then has nothing to clean up.
    assert await asyncio.to_thread(cancelled.wait, 5) or not began.is_set()


async def test_run_sync_times_out_without_its_thread(user_loop: UserLoop) -> None:
    release = threading.Event()
    with pytest.raises(UserCodeTimeout):
        await user_loop.run_sync(lambda: release.wait(20), 0.02)
    WHO.set("bob")
    assert await user_loop.run_sync(WHO.get) == "bob"
    release.set()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_system_exit_of_user_code_ends_neither_loop_nor_caller(
    user_loop: UserLoop, error: type[BaseException]
) -> None:
    async def rude() -> None:
        raise error

    def rude_and_synchronous() -> None:
        raise error

    with pytest.raises(UserCodeExit):
        await user_loop.run(rude)
    if error is not asyncio.CancelledError:
        with pytest.raises(UserCodeExit):
            await user_loop.run_sync(rude_and_synchronous)
    assert await user_loop.run(_alive)


async def _alive() -> bool:
    return True


async def test_cancelled_caller_cancels_the_work(user_loop: UserLoop) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    calling = asyncio.create_task(user_loop.run(work))
    await asyncio.to_thread(begun.wait, 5)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert await asyncio.to_thread(cancelled.wait, 5)


async def test_close_cancels_what_is_left() -> None:
    seen: list[str] = []

    async def left_behind() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    async def work() -> None:
        task = asyncio.ensure_future(left_behind())
        await asyncio.sleep(0)
        assert not task.done()

    async with UserLoop.running() as user_loop:
        await user_loop.run(work)
    assert seen == ["cancelled"]
    with pytest.raises(LoopLost):
        await user_loop.run(work)


async def test_servers_of_one_process_share_the_loop_also_one_after_the_other() -> None:
    lock = asyncio.Lock()

    async def use() -> asyncio.AbstractEventLoop:
        async with lock:
            await asyncio.sleep(0)
        return asyncio.get_running_loop()

    async def twice() -> asyncio.AbstractEventLoop:
        return (await asyncio.gather(use(), use()))[0]

    async with UserLoop.running() as one, UserLoop.running() as other:
        first = await one.run(twice)
        assert await other.run(twice) is first
    async with UserLoop.running() as later:
        assert await later.run(twice) is first


async def test_close_cancels_the_work_of_one_server_alone(user_loop: UserLoop) -> None:
    begun = threading.Barrier(3)

    async def for_ever() -> None:
        await asyncio.to_thread(begun.wait, 10)
        await asyncio.Event().wait()

    async with UserLoop.running() as other:
        mine, theirs = user_loop.submit(for_ever), other.submit(for_ever)
        await asyncio.to_thread(begun.wait, 10)
    assert await theirs.wait(5)
    assert not mine.ended


async def test_loop_stuck_at_close_is_not_reused_by_the_next_server() -> None:
    release, begun = threading.Event(), threading.Event()

    async def stuck() -> None:
        begun.set()
        release.wait(20)

    async with UserLoop.running() as user_loop:
        user_loop.submit(stuck)
        await asyncio.to_thread(begun.wait, 5)
        stuck_loop = user_loop.loop
    async with UserLoop.running() as user_loop:
        assert await user_loop.run(_alive)
        assert user_loop.loop is not stuck_loop
    release.set()


async def test_unresponsive_loop_is_replaced(user_loop: UserLoop) -> None:
    release, begun = threading.Event(), threading.Event()

    async def stuck() -> None:
        begun.set()
        release.wait(20)

    async def waiting() -> None:
        await asyncio.Event().wait()

    culprit = WorkScope(UserWork("run", "agent", "r-1"))
    tasks = [user_loop.submit(waiting), user_loop.submit(stuck, culprit)]
    await asyncio.to_thread(begun.wait, 5)
    old = user_loop.loop
    user_loop.replace(user_loop.thread_loop, culprit)
    for task in tasks:
        assert await task.wait(5)
        with pytest.raises(LoopLost) as lost:
            task.result()
        assert lost.value.culprit is culprit
    assert await user_loop.run(_alive)
    assert user_loop.loop is not old
    release.set()
    # Its thread returned: it ends, and its result has no effect.
    for _ in range(500):
        if old.is_closed():
            break
        await asyncio.sleep(0.01)
    assert old.is_closed()


async def test_run_waits_for_its_own_threads_only(user_loop: UserLoop) -> None:
    loops = SharedAgentLoops(user_loop)
    release_mine, release_theirs, begun = threading.Event(), threading.Event(), threading.Barrier(3)

    def begin(loop: AgentLoop, release: threading.Event) -> object:
        async def node() -> None:
            def synchronous() -> None:
                begun.wait(20)
                release.wait(20)

            asyncio.get_running_loop().run_in_executor(None, synchronous)

        return loop.submit(node)

    async with loops.lease(UserWork("run", "a")) as mine, loops.lease(UserWork("run", "b")) as theirs:
        begin(mine, release_mine)
        begin(theirs, release_theirs)
        await asyncio.to_thread(begun.wait, 20)
        idle = mine.submit(mine.threads_idle)
        assert not await idle.wait(0.05)
        release_mine.set()
        assert await idle.wait(10)
        assert not await theirs.submit(theirs.threads_idle).wait(0.05)
        release_theirs.set()


@pytest.mark.parametrize(("isolation", "same"), [("shared", True), ("run", False)])
async def test_graph_runs_on_the_loop_of_its_isolation(user_loop: UserLoop, isolation: Isolation, same: bool) -> None:
    def of(graph_id: str | None) -> Isolation:
        return isolation if graph_id == "agent" else "shared"

    async def is_current() -> bool:
        return user_loop.is_current

    loops = AgentLoopsByGraph(user_loop, of)
    for graph_id, expected in (("agent", same), ("other", True)):
        async with loops.lease(UserWork("run", graph_id)) as loop:
            task = loop.submit(is_current)
            await task.wait()
            assert task.result() is expected
    await loops.close()


def test_threads_grow_while_all_of_them_wait_and_end_when_they_are_idle() -> None:
    pool = SyncThreads("test-sync", idle_seconds=0.05)

    def chain(depth: int) -> int:
        """Each call waits for the next one: with a bounded pool, the last would never start."""
        return pool.size if depth == 0 else pool.submit(chain, depth - 1).result(60)

    assert pool.submit(chain, 100).result(60) >= 100
    for _ in range(3_000):
        if pool.size == 0:
            break
        threading.Event().wait(0.01)
    assert pool.size == 0
    assert pool.submit(chain, 3).result(60) >= 3


def test_pool_at_its_limit_makes_calls_wait() -> None:
    pool = SyncThreads("test-sync", limit=2)
    release, begun = threading.Event(), threading.Barrier(3)

    def work() -> None:
        begun.wait(20)
        release.wait(20)

    held = [pool.submit(work) for _ in range(2)]
    begun.wait(20)
    later = [pool.submit(threading.get_ident) for _ in range(5)]
    assert not any(call.done() for call in later)
    release.set()
    assert len({call.result(20) for call in later}) <= 2
    assert [call.result(20) for call in held] == [None, None]
    assert pool.size == 2
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(work)


async def test_thread_loop_continues_after_an_error_of_asyncio_itself() -> None:
    """Without memory, asyncio fails to log the error of a callback, and the error leaves the loop."""

    def without_memory(record: logging.LogRecord) -> bool:
        raise MemoryError

    async def answer() -> int:
        return 42

    loop = ThreadLoop("test")
    asyncio_log = logging.getLogger("asyncio")
    asyncio_log.addFilter(without_memory)
    try:
        loop.loop.call_soon_threadsafe(lambda: 1 / 0)
        task = loop.submit(answer)
        assert await task.wait(30)
    finally:
        asyncio_log.removeFilter(without_memory)
        loop.close()
    assert task.result() == 42
