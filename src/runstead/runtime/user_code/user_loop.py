"""Single event loop for all user code of a server, in its own thread, so that user code never delays the server.

Asyncio clients, locks, pools and sessions belong to the loop on which they are first used. Graphs, ``http.app``, auth
handlers and embedding functions share such objects through their modules, so they share this loop. (docs/adr/0020)
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import Any, Final, Self, TypeVar

from .scope import CURRENT_SCOPE, UserWork, WorkScope
from .thread_loop import LoopLost, LoopTask, ThreadLoop, UserCodeExit

T = TypeVar("T")

_UNNAMED: Final = UserWork()


class UserCodeTimeout(TimeoutError):
    """User code did not return within its time limit."""


class _ProcessLoop:
    """User-code loop of this process. It is kept for the next server when the last one has stopped: modules are loaded
    once per process, and their objects belong to the loop on which they were first used."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._started, self._users = 0, 0
        self._current: ThreadLoop | None = None

    def enter(self) -> None:
        with self._gate:
            self._users += 1

    def leave(self) -> None:
        """Deregister a server, and cancel the remaining tasks if no other server uses the loop. Blocks."""
        with self._gate:
            self._users -= 1
            current = self._current if self._users == 0 else None
        # Not under the lock: cancelled code may still ask for the loop.
        if current is not None and not current.clear():
            self.lose(current, None)

    def current(self) -> ThreadLoop:
        with self._gate:
            if self._current is None:
                self._started += 1
                self._current = ThreadLoop("user-code" if self._started == 1 else f"user-code-{self._started}")
            return self._current

    def lose(self, lost: ThreadLoop, culprit: WorkScope | None) -> None:
        with self._gate:
            if self._current is lost:
                self._current = None
        lost.lose(culprit)

    def close(self) -> None:
        """Close the loop at the end of the process."""
        if self._current is not None:
            self._current.close()


_PROCESS: Final = _ProcessLoop()
atexit.register(_PROCESS.close)


class UserLoop:
    """Runner of one server's user code. Its methods may be called from any thread, and from user code itself.

    All servers of a process share the loop itself, since they share the modules.
    """

    def __init__(self) -> None:
        self._tasks: set[LoopTask[Any]] = set()
        self._closed = False
        _PROCESS.enter()
        # Created now: later there may be no file descriptors left for a loop.
        _PROCESS.current()

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator[Self]:
        """Yield a user loop for the duration of a block. Remaining tasks are cancelled at its end."""
        user_loop = cls()
        try:
            yield user_loop
        finally:
            await user_loop.close()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The asyncio loop that is currently in use."""
        return _PROCESS.current().loop

    @property
    def is_current(self) -> bool:
        """True if the caller runs on this loop."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    def submit(
        self, work: Callable[[], Coroutine[object, object, T]], scope: WorkScope | UserWork = _UNNAMED
    ) -> LoopTask[T]:
        """Start ``work`` with the caller's context variables. ``scope`` describes it in log lines."""
        current, scope = _PROCESS.current(), scope if isinstance(scope, WorkScope) else WorkScope(scope, self)
        if self._closed:
            closed: LoopTask[T] = LoopTask(current.loop, scope)
            closed.lose(LoopLost(None))
            return closed
        task = current.submit(work, scope)
        self._tasks.add(task)
        task.when_ended(lambda: self._tasks.discard(task))
        return task

    async def run(
        self,
        work: Callable[[], Coroutine[object, object, T]],
        timeout: float | None = None,
        *,
        named: UserWork = _UNNAMED,
    ) -> T:
        """Run ``work`` on this loop with the caller's context variables, and return its result or raise its error.

        A cancelled caller cancels the work. Raises UserCodeTimeout, and cancels the work, if it takes longer than
        ``timeout`` seconds; UserCodeExit for SystemExit and KeyboardInterrupt; LoopLost if the loop was abandoned.
        """
        if self.is_current:
            return await self._here(work, timeout, named)
        task = self.submit(work, named)
        try:
            if not await task.wait(timeout):
                raise UserCodeTimeout(f"no answer within {timeout:g} seconds")
        except BaseException:
            task.cancel()
            raise
        return task.result()

    async def run_sync(
        self, function: Callable[[], T], timeout: float | None = None, *, named: UserWork = _UNNAMED
    ) -> T:
        """Call the synchronous ``function`` in a thread with the caller's context variables, and return its result or
        raise its error.

        The call does not wait for the loop, which other code may block. Raises as `run` does.
        """
        context = copy_context()
        context.run(CURRENT_SCOPE.set, CURRENT_SCOPE.get() or WorkScope(named, self))
        call: Future[T] = _PROCESS.current().threads.submit(lambda: context.run(function))
        waiting = asyncio.wrap_future(call)
        await asyncio.wait({waiting}, timeout=timeout)
        if not waiting.done():
            waiting.cancel()
            raise UserCodeTimeout(f"no answer within {timeout:g} seconds")
        try:
            return waiting.result()
        except (SystemExit, KeyboardInterrupt) as error:
            raise UserCodeExit(f"user code raised {type(error).__name__}") from error

    async def _here(
        self, work: Callable[[], Coroutine[object, object, T]], timeout: float | None, named: UserWork
    ) -> T:
        """Run user code that was called by user code, as part of the caller's work."""
        scope = CURRENT_SCOPE.get()
        token = CURRENT_SCOPE.set(scope or WorkScope(named, self))
        try:
            async with asyncio.timeout(timeout) as limit:
                return await work()
        except TimeoutError as error:
            if limit.expired():
                raise UserCodeTimeout(f"no answer within {timeout:g} seconds") from error
            raise
        finally:
            CURRENT_SCOPE.reset(token)

    @property
    def thread_loop(self) -> ThreadLoop:
        """The loop that is currently in use, with its thread."""
        return _PROCESS.current()

    @staticmethod
    def replace(lost: ThreadLoop, culprit: WorkScope | None = None) -> None:
        """Abandon a loop that is permanently blocked; the next call starts a new one in a new thread.

        Everything on the old loop fails with LoopLost. Asyncio objects that modules created on it do not work on the
        new one, so this is only a last resort for processes that cannot be replaced.
        """
        _PROCESS.lose(lost, culprit)

    async def close(self) -> None:
        """Cancel the remaining tasks. A loop that user code blocks is abandoned, and ends with the process."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.to_thread(_PROCESS.leave)
