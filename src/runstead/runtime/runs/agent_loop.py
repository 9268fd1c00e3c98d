"""Where agent code runs: an event loop in a thread of its own, so that it cannot hurt the server.

A node that blocks its loop stops its own run and nothing else: heartbeats, leases, other runs and the
HTTP side live on other loops. Loops are reused, the last used first, so that clients which an
agent's module caches keep meeting the same loop while runs come one after another. (docs/adr/0001)
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar

from .sync_threads import SyncThreads

T = TypeVar("T")
R = TypeVar("R", covariant=True)


class AgentTask(Protocol[R]):
    """Work going on on an agent loop."""

    async def wait(self, seconds: float | None = None) -> bool:
        """True when the work has ended, within ``seconds``; None waits for ever. Never raises what the work raised."""
        ...

    def result(self) -> R:
        """What the work returned, or raise what it raised. Only after it has ended."""
        ...

    def call(self, function: Callable[[], object]) -> None:
        """Run a quick function on the work's loop, soon. Ignored when the loop is gone."""
        ...


class AgentLoop(Protocol):
    """One event loop for one run's code at a time."""

    def submit(self, work: Callable[[], Coroutine[Any, Any, T]]) -> AgentTask[T]:
        """Begin ``work`` on this loop, with the caller's context variables. Called from the server's loop."""
        ...

    async def threads_idle(self) -> None:
        """Called on this loop: return when the threads that carry synchronous nodes have come home."""
        ...


class AgentLoops(Protocol):
    """Lends agent loops."""

    def lease(self) -> AbstractAsyncContextManager[AgentLoop]:
        """A loop for the length of a block. Work that has not ended by then makes the loop be given up, not reused."""
        ...

    async def close(self) -> None:
        """Stop the idle loops. Loops that are stuck in user code die with the process."""
        ...


class _ThreadTask(Generic[T]):
    def __init__(self, loop: asyncio.AbstractEventLoop, future: Future[T]) -> None:
        self._loop, self._future = loop, future

    @property
    def ended(self) -> bool:
        return self._future.done()

    async def wait(self, seconds: float | None = None) -> bool:
        if not self._future.done():
            # asyncio.wait, for giving up the wait must not cancel the work.
            waiting = asyncio.wrap_future(self._future)
            waiting.add_done_callback(_retrieve)
            await asyncio.wait({waiting}, timeout=seconds)
        return self._future.done()

    def result(self) -> T:
        return self._future.result(timeout=0)

    def when_ended(self, do: Callable[[], None]) -> None:
        self._future.add_done_callback(lambda _: do())

    def call(self, function: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


class _ThreadLoop:
    """An event loop that runs in a daemon thread until it is closed."""

    def __init__(self, name: str, sync_threads: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._threads = SyncThreads(sync_threads, f"{name}-sync")
        self._loop.set_default_executor(self._threads)
        self._tasks: list[_ThreadTask[Any]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], Coroutine[Any, Any, T]]) -> AgentTask[T]:
        # The handle made here copies the caller's context, so the actor is bound on the other side too.
        task = _ThreadTask(self._loop, asyncio.run_coroutine_threadsafe(_started(work), self._loop))
        self._tasks.append(task)
        return task

    async def threads_idle(self) -> None:
        while outstanding := [asyncio.wrap_future(future) for future in list(self._threads.outstanding)]:
            await asyncio.wait(outstanding)

    def reusable(self) -> bool:
        """Whether all that was submitted has ended. Forgets it. One that is not closes itself when it has ended."""
        stuck = [task for task in self._tasks if not task.ended]
        self._tasks.clear()
        for task in stuck:
            task.when_ended(self.stop)
        return not stuck

    def stop(self) -> None:
        """Let the thread end. Returns at once; safe to call twice."""
        self._closing = True
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.stop)

    def close(self) -> None:
        """Stop, and wait a moment for it."""
        self.stop()
        self._thread.join(timeout=1)

    def _serve(self) -> None:
        while not self._closing:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                # Raised by a node. Its task has it as its result; asyncio lets these two fall through the loop as
                # well, which would leave every other task of the run, and so the run itself, hanging for ever.
                continue
        self._loop.close()


async def _started(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return await work()


class ThreadAgentLoops:
    """Loops in threads, made when needed, kept for the next run. ``sync_threads`` bounds a run's synchronous nodes at
    once.
    """

    def __init__(self, *, max_idle: int = 64, sync_threads: int = 16) -> None:
        self._idle: deque[_ThreadLoop] = deque()
        self._max_idle, self._sync_threads = max_idle, sync_threads
        self._made = 0

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[AgentLoop]:
        loop = self._idle.pop() if self._idle else self._new()
        try:
            yield loop
        finally:
            if loop.reusable():
                self._keep(loop)

    async def close(self) -> None:
        while self._idle:
            await asyncio.to_thread(self._idle.pop().close)

    def _keep(self, loop: _ThreadLoop) -> None:
        if len(self._idle) < self._max_idle:
            self._idle.append(loop)
        else:
            loop.stop()

    def _new(self) -> _ThreadLoop:
        self._made += 1
        return _ThreadLoop(f"agent-loop-{self._made}", self._sync_threads)


class _InlineTask(Generic[T]):
    def __init__(self, task: asyncio.Task[T]) -> None:
        self._task = task
        task.add_done_callback(_retrieve)

    async def wait(self, seconds: float | None = None) -> bool:
        if not self._task.done():
            await asyncio.wait({self._task}, timeout=seconds)
        return self._task.done()

    def result(self) -> T:
        return self._task.result()

    def call(self, function: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_soon(function)


class InlineAgentLoops:
    """Runs agent code on the caller's own loop: for simulations on virtual time, and agents that are trusted not to
    block.
    """

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[AgentLoop]:
        yield self

    def submit(self, work: Callable[[], Coroutine[Any, Any, T]]) -> AgentTask[T]:
        return _InlineTask(asyncio.ensure_future(work()))

    async def threads_idle(self) -> None:
        return

    async def close(self) -> None:
        return
