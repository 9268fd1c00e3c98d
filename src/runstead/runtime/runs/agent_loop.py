"""Event loops for graph code: one loop shared by all user code, or a separate loop for each run.

Both are separate from the server's loop, so that a blocking node delays neither the API nor heartbeats nor leases. On
the shared loop it delays other user code. On a separate loop it delays only its own run, and shares no asyncio client,
lock or pool with other code. (docs/adr/0020)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar

from runstead.runtime.user_code.scope import UserWork, WorkScope
from runstead.runtime.user_code.sync_threads import LIMIT
from runstead.runtime.user_code.thread_loop import LoopTask, ThreadLoop
from runstead.runtime.user_code.user_loop import UserLoop
from runstead.runtime.user_code.watchdog import BLOCK

T = TypeVar("T")
R = TypeVar("R", covariant=True)

Isolation: TypeAlias = Literal["shared", "run"]
"""``shared``: the loop of all user code. ``run``: a separate loop for each run, read and update."""

_GRAPH: Final = UserWork("graph")


class AgentTask(Protocol[R]):
    """Work that executes on an agent loop."""

    @property
    def ended(self) -> bool: ...

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait up to ``seconds`` (None: without limit). Return whether the work has ended. Never raises the work's
        error."""
        ...

    def result(self) -> R:
        """Return the work's result or raise its error. Call only after it has ended. Raises LoopLost if its loop was
        abandoned."""
        ...

    def call(self, function: Callable[[], object]) -> None:
        """Schedule a quick function on the work's loop. Ignored if the loop is gone."""
        ...

    def when_ended(self, do: Callable[[], object]) -> None:
        """Call ``do`` once the work has ended, from any thread."""
        ...


class AgentLoop(Protocol):
    """Event loop for the code of one run, read or update."""

    def submit(self, work: Callable[[], Coroutine[object, object, T]]) -> AgentTask[T]:
        """Start ``work`` on this loop with the caller's context variables. Call from the server's loop."""
        ...

    async def threads_idle(self) -> None:
        """Wait until the threads of this work's synchronous nodes are free. Call on this loop."""
        ...


class AgentLoops(Protocol):
    """Pool of agent loops."""

    def lease(self, work: UserWork = _GRAPH, *, apart: bool = False) -> AbstractAsyncContextManager[AgentLoop]:
        """Lease a loop for ``work`` for the duration of a block.

        Work that has not ended by then can no longer be awaited. A separate loop is abandoned with it: CodeAbandoned
        ends the code that blocks it. With ``apart``, the loop is separate whatever the graph's isolation is, if
        separate loops exist.
        """
        ...

    async def close(self) -> None:
        """Stop the idle loops. Loops that are blocked by user code end with the process."""
        ...


class _Leased:
    """A loop, and the scope of the work on it."""

    def __init__(self, submit: Callable[..., LoopTask[Any]], work: UserWork, server: object | None) -> None:
        self._submit, self._scope = submit, WorkScope(work, server)

    def submit(self, work: Callable[[], Coroutine[object, object, T]]) -> AgentTask[T]:
        return self._submit(work, self._scope)

    async def threads_idle(self) -> None:
        await self._scope.threads_idle()


class SharedAgentLoops:
    """All graphs on the loop of all user code. The loop is kept after each run."""

    def __init__(self, user_loop: UserLoop) -> None:
        self._user_loop = user_loop

    @asynccontextmanager
    async def lease(self, work: UserWork = _GRAPH, *, apart: bool = False) -> AsyncIterator[AgentLoop]:
        yield _Leased(self._user_loop.submit, work, self._user_loop)

    async def close(self) -> None:
        return


class ThreadAgentLoops:
    """One thread and loop per run, created on demand and reused, the most recently used first.

    ``sync_threads`` limits the threads for one run's synchronous nodes; ``server`` identifies the server, see
    `current_server`.
    """

    def __init__(self, *, max_idle: int = 64, sync_threads: int = LIMIT, server: object | None = None) -> None:
        self._server = server
        self._idle: deque[ThreadLoop] = deque()
        self._max_idle, self._sync_threads = max_idle, sync_threads
        self._made = 0

    @asynccontextmanager
    async def lease(self, work: UserWork = _GRAPH, *, apart: bool = False) -> AsyncIterator[AgentLoop]:
        loop = self._idle.pop() if self._idle else self._new()
        try:
            yield _Leased(loop.submit, work, self._server)
        finally:
            if not (stuck := loop.tasks):
                self._keep(loop)
            for task in stuck:
                task.when_ended(loop.stop)
            if stuck:
                # With a delay: a loop that is merely busy for a moment is not blocked.
                asyncio.get_running_loop().call_later(BLOCK, loop.end_blocking_code, loop.turn)

    async def close(self) -> None:
        while self._idle:
            await asyncio.to_thread(self._idle.pop().close)

    def _keep(self, loop: ThreadLoop) -> None:
        if len(self._idle) < self._max_idle:
            self._idle.append(loop)
        else:
            loop.stop()

    def _new(self) -> ThreadLoop:
        self._made += 1
        return ThreadLoop(f"agent-loop-{self._made}", sync_threads=self._sync_threads)


class AgentLoopsByGraph:
    """Loops chosen by the ``isolation`` of each graph."""

    def __init__(self, user_loop: UserLoop, isolation: Callable[[str | None], Isolation]) -> None:
        self._isolation = isolation
        self._shared, self._own = SharedAgentLoops(user_loop), ThreadAgentLoops(server=user_loop)

    def lease(self, work: UserWork = _GRAPH, *, apart: bool = False) -> AbstractAsyncContextManager[AgentLoop]:
        is_own = apart or self._isolation(work.graph_id) == "run"
        loops: AgentLoops = self._own if is_own else self._shared
        return loops.lease(work)

    async def close(self) -> None:
        await self._own.close()


class _InlineTask(Generic[T]):
    def __init__(self, task: asyncio.Task[T]) -> None:
        self._task = task
        task.add_done_callback(_retrieve)

    @property
    def ended(self) -> bool:
        return self._task.done()

    async def wait(self, seconds: float | None = None) -> bool:
        if not self._task.done():
            await asyncio.wait({self._task}, timeout=seconds)
        return self._task.done()

    def result(self) -> T:
        return self._task.result()

    def call(self, function: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_soon(function)

    def when_ended(self, do: Callable[[], object]) -> None:
        self._task.add_done_callback(lambda _: do())


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


class InlineAgentLoops:
    """Agent code on the caller's own loop, for simulations on virtual time."""

    @asynccontextmanager
    async def lease(self, work: UserWork = _GRAPH, *, apart: bool = False) -> AsyncIterator[AgentLoop]:
        yield self

    def submit(self, work: Callable[[], Coroutine[object, object, T]]) -> AgentTask[T]:
        return _InlineTask(asyncio.ensure_future(work()))

    async def threads_idle(self) -> None:
        return

    async def close(self) -> None:
        return
