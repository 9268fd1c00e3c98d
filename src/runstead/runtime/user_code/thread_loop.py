"""Event loop in a daemon thread of its own, and tasks that other threads start on it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any, Final, Generic, TypeVar

from .scope import CURRENT_SCOPE, WorkScope
from .sync_threads import LIMIT, SyncThreads

T = TypeVar("T")

_log = logging.getLogger(__name__)

_CANCEL_WITHIN: Final = 1.0
"""Seconds that remaining tasks have to react to their cancellation."""


class LoopLost(Exception):
    """The code of ``culprit`` blocked the loop permanently, and the loop was abandoned with everything on it."""

    def __init__(self, culprit: WorkScope | None) -> None:
        self.culprit = culprit
        super().__init__(f"user code blocked its event loop: {culprit.work if culprit else 'a call'}")


class UserCodeExit(RuntimeError):
    """User code raised SystemExit or KeyboardInterrupt, or was cancelled. Its loop and the server continue."""


class UserCodeCancelled(UserCodeExit):
    """User code was cancelled, by itself or because its server stops."""


class CodeAbandoned(BaseException):
    """Raised in code that blocks an abandoned loop. Not derived from Exception, so that most code does not catch it."""


class LoopTask(Generic[T]):
    """Task on a ThreadLoop. Call its methods from other threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop, scope: WorkScope | None) -> None:
        self._loop, self.scope = loop, scope
        self._future: Future[T] = Future()
        self._task: asyncio.Task[T] | None = None
        self._is_cancelled = False

    @property
    def ended(self) -> bool:
        return self._future.done()

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait up to ``seconds`` (None: without limit). Return whether the work has ended. Never raises the work's
        error.

        Cancelling the wait does not cancel the work.
        """
        if not self._future.done():
            # asyncio.wait, because cancelling the wait must not cancel the work.
            waiting = asyncio.wrap_future(self._future)
            waiting.add_done_callback(_retrieve)
            await asyncio.wait({waiting}, timeout=seconds)
        return self._future.done()

    def settle(self, seconds: float) -> bool:
        """Wait in a thread that has no event loop. Return whether the work has ended without an error."""
        try:
            self._future.result(timeout=seconds)
        except Exception:
            return False
        return True

    def result(self) -> T:
        """Return the work's result or raise its error. Call only after it has ended.

        Raises LoopLost if its loop was abandoned, UserCodeCancelled if it was cancelled.
        """
        try:
            return self._future.result(timeout=0)
        except CancelledError as error:
            # Never asyncio's CancelledError: it would cancel the caller, which runs on another loop and is unrelated.
            raise UserCodeCancelled("user code was cancelled") from error

    def call(self, function: Callable[[], object]) -> None:
        """Schedule a quick function on the work's loop. Ignored if the loop is gone."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def cancel(self) -> None:
        """Request cancellation of the work."""
        self._is_cancelled = True
        self.call(lambda: self._task and self._task.cancel())

    def when_ended(self, do: Callable[[], object]) -> None:
        """Call ``do`` once the work has ended, from any thread."""
        self._future.add_done_callback(lambda _: do())

    def start(self, work: Callable[[], Coroutine[object, object, T]]) -> None:
        """Start ``work``, once. If the loop is closed, the task fails at once with LoopLost."""
        try:
            # The handle created here copies the caller's context, so the actor is bound on the loop too.
            self._loop.call_soon_threadsafe(self._begin, work)
        except RuntimeError:
            self.lose(LoopLost(None))

    def _begin(self, work: Callable[[], Coroutine[object, object, T]]) -> None:
        CURRENT_SCOPE.set(self.scope)
        self._task = self._loop.create_task(_started(work))
        self._task.add_done_callback(self._finish)
        if self._is_cancelled:
            self._task.cancel()

    def lose(self, error: LoopLost) -> None:
        """Fail with ``error`` for all waiters: the work itself can no longer be reached."""
        with contextlib.suppress(InvalidStateError):
            self._future.set_exception(error)

    def _finish(self, task: asyncio.Task[T]) -> None:
        # If the task was lost in the meantime, it has already ended for all waiters, and its result is dropped.
        with contextlib.suppress(InvalidStateError):
            if task.cancelled():
                self._future.set_exception(CancelledError())
            elif (error := task.exception()) is not None:
                self._future.set_exception(error)
            else:
                self._future.set_result(task.result())


async def _started(work: Callable[[], Coroutine[object, object, T]]) -> T:
    try:
        return await work()
    except (SystemExit, KeyboardInterrupt) as error:
        raise UserCodeExit(f"user code raised {type(error).__name__}") from error


def submit_to(loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[object, object, T]]) -> LoopTask[T]:
    """Start ``work`` on a loop that another component owns, with the caller's context variables. Callable from any
    thread."""
    task: LoopTask[T] = LoopTask(loop, None)
    task.start(work)
    return task


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


class _Turns(selectors.DefaultSelector):
    """Selector that counts the turns of its loop. Between two waits for events, a loop runs its due callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.is_waiting = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.is_waiting = True
        try:
            return super().select(timeout)
        finally:
            self.count += 1
            self.is_waiting = False


class ThreadLoop:
    """Event loop that runs in a daemon thread until it is closed. Its synchronous calls run in its own thread pool."""

    def __init__(self, name: str, *, sync_threads: int = LIMIT) -> None:
        # Always asyncio's own loop, whichever loop the server uses: the watchdog can inspect it.
        self._turns = _Turns()
        proactor = getattr(asyncio, "ProactorEventLoop", None)
        self.loop: asyncio.AbstractEventLoop = proactor() if proactor else asyncio.SelectorEventLoop(self._turns)
        self.threads = SyncThreads(f"{name}-sync", limit=sync_threads)
        self.loop.set_default_executor(self.threads)
        self._tasks: set[LoopTask[Any]] = set()
        self._closing = False
        self._is_lost = False
        self._culprit: WorkScope | None = None
        self.thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self.thread.start()

    def submit(self, work: Callable[[], Coroutine[object, object, T]], scope: WorkScope | None = None) -> LoopTask[T]:
        """Start ``work`` with the caller's context variables. Callable from any thread."""
        task: LoopTask[T] = LoopTask(self.loop, scope)
        self._tasks.add(task)
        task.when_ended(lambda: self._tasks.discard(task))
        if self._is_lost:
            task.lose(LoopLost(self._culprit))
            return task
        task.start(work)
        return task

    @property
    def turn(self) -> int | None:
        """Number of the loop's current turn; None while it waits for events. Readable from any thread.

        Always 0 on Windows, whose loop has no selector.
        """
        return None if self._turns.is_waiting else self._turns.count

    @property
    def tasks(self) -> list[LoopTask[Any]]:
        """Submitted tasks that have not ended."""
        return list(self._tasks)

    def lose(self, culprit: WorkScope | None) -> None:
        """Abandon the loop: all its tasks fail with LoopLost, and its thread ends if it ever responds again."""
        self._culprit, self._is_lost = culprit, True
        for task in self.tasks:
            # One instance for each, since they are raised in different places.
            task.lose(LoopLost(culprit))
        self.stop()

    def end_blocking_code(self, turn: int | None) -> None:
        """Raise CodeAbandoned in the code that blocks the loop, if the loop is still in that ``turn``. A call into C
        code ends first.

        Only for an abandoned loop: the exception may occur between any two instructions. Callable from any thread. Does
        nothing on Windows, where turns are not counted.
        """
        if turn and turn == self.turn and self.thread.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self.thread.ident), ctypes.py_object(CodeAbandoned)
            )

    def stop(self) -> None:
        """Let the thread end soon. Returns at once; idempotent."""
        self._closing = True
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)

    def clear(self) -> bool:
        """Cancel remaining tasks. Return False if the loop does not react. Blocks; do not call from the loop's own
        thread."""
        return self.submit(_cancel_others).settle(_CANCEL_WITHIN)

    def close(self) -> None:
        """Cancel remaining tasks, stop, and wait briefly for the thread. Blocks; do not call from the loop's own
        thread."""
        if self.clear():
            self.submit(self.loop.shutdown_asyncgens).settle(_CANCEL_WITHIN)
        self.stop()
        self.thread.join(timeout=_CANCEL_WITHIN)

    def _serve(self) -> None:
        while not self._closing:
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                # Raised by a node. Its task has it as its result, but asyncio also lets these two escape from the loop,
                # which would leave all other tasks, and so all other runs, hanging.
                continue
            except CodeAbandoned:
                # Raised outside the code that it was meant for; the callback that was executing is lost.
                break
            except Exception:
                # Raised by asyncio itself when memory is exhausted, such as while it logs a failed callback. All runs
                # on this loop would hang. The other callbacks are still queued.
                with contextlib.suppress(Exception):
                    _log.exception("an event loop of user code failed; it continues")
        with contextlib.suppress(BaseException):
            # Remaining tasks of an abandoned run, for which no caller waits any more.
            self.loop.run_until_complete(_cancel_others())
        self.loop.close()


async def _cancel_others() -> None:
    """Cancel all other tasks of the loop, and wait briefly for them."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_CANCEL_WITHIN / 2)
