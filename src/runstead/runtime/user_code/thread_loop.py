"""An event loop in a daemon thread of its own, and work that is started on it from other threads."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any, Final, Generic, TypeVar

from .scope import CURRENT_SCOPE, WorkScope
from .sync_threads import LIMIT, SyncThreads

T = TypeVar("T")

_CANCEL_WITHIN: Final = 1.0
"""Seconds that tasks which are left at the end may take to react to their cancellation."""


class LoopLost(Exception):
    """The loop did not come back from ``culprit``'s code, and was given up with everything on it."""

    def __init__(self, culprit: WorkScope | None) -> None:
        self.culprit = culprit
        super().__init__(f"the event loop of user code does not come back from {culprit.work if culprit else 'a call'}")


class UserCodeExit(RuntimeError):
    """User code raised SystemExit or KeyboardInterrupt, or was cancelled: its loop and the server go on."""


class UserCodeCancelled(UserCodeExit):
    """User code was cancelled, by itself or because its server stops."""


class CodeAbandoned(BaseException):
    """Raised in code that blocks a loop which was given up. No Exception, so that most code does not handle it."""


class LoopTask(Generic[T]):
    """Work that was started on a ThreadLoop. Its methods are for other threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop, scope: WorkScope | None) -> None:
        self._loop, self.scope = loop, scope
        self._future: Future[T] = Future()
        self._task: asyncio.Task[T] | None = None
        self._is_cancelled = False

    @property
    def ended(self) -> bool:
        return self._future.done()

    async def wait(self, seconds: float | None = None) -> bool:
        """True when the work has ended, within ``seconds``; None waits for ever. Never raises what the work raised.

        Giving up the wait does not cancel the work.
        """
        if not self._future.done():
            # asyncio.wait, for giving up the wait must not cancel the work.
            waiting = asyncio.wrap_future(self._future)
            waiting.add_done_callback(_retrieve)
            await asyncio.wait({waiting}, timeout=seconds)
        return self._future.done()

    def settle(self, seconds: float) -> bool:
        """`wait` for a thread that has no event loop: True when the work has ended well."""
        try:
            self._future.result(timeout=seconds)
        except Exception:
            return False
        return True

    def result(self) -> T:
        """Return what the work returned, or raise what it raised. Only after it has ended.

        Raises LoopLost when its loop was given up, UserCodeCancelled when it was cancelled.
        """
        try:
            return self._future.result(timeout=0)
        except CancelledError as error:
            # Never asyncio's: that one would cancel the caller, which is on another loop and has nothing to do with it.
            raise UserCodeCancelled("user code was cancelled") from error

    def call(self, function: Callable[[], object]) -> None:
        """Run a quick function on the work's loop, soon. Ignored when the loop is gone."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def cancel(self) -> None:
        """Cancel the work, soon."""
        self._is_cancelled = True
        self.call(lambda: self._task and self._task.cancel())

    def when_ended(self, do: Callable[[], object]) -> None:
        """Call ``do`` once the work has ended, in any thread."""
        self._future.add_done_callback(lambda _: do())

    def start(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        """Start ``work``, once. It is lost at once when the loop is closed."""
        try:
            # The handle made here copies the caller's context, so the actor is bound on the other side too.
            self._loop.call_soon_threadsafe(self._begin, work)
        except RuntimeError:
            self.lose(LoopLost(None))

    def _begin(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        CURRENT_SCOPE.set(self.scope)
        self._task = self._loop.create_task(_started(work))
        self._task.add_done_callback(self._finish)
        if self._is_cancelled:
            self._task.cancel()

    def lose(self, error: LoopLost) -> None:
        """End with ``error``, for those who wait: the work itself cannot be reached any more."""
        with contextlib.suppress(InvalidStateError):
            self._future.set_exception(error)

    def _finish(self, task: asyncio.Task[T]) -> None:
        # Lost in the meantime: it has ended for everybody, and what it came to is dropped.
        with contextlib.suppress(InvalidStateError):
            if task.cancelled():
                self._future.set_exception(CancelledError())
            elif (error := task.exception()) is not None:
                self._future.set_exception(error)
            else:
                self._future.set_result(task.result())


async def _started(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    try:
        return await work()
    except (SystemExit, KeyboardInterrupt) as error:
        raise UserCodeExit(f"user code raised {type(error).__name__}") from error


def submit_to(loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, T]]) -> LoopTask[T]:
    """Start ``work`` on a loop that is not ours to keep, with the caller's context variables. For any thread."""
    task: LoopTask[T] = LoopTask(loop, None)
    task.start(work)
    return task


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


class _Turns(selectors.DefaultSelector):
    """A selector that counts the turns of its loop: between two waits for events, a loop runs what is due."""

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
    """An event loop that runs in a daemon thread until it is closed. Its synchronous calls go to threads of its own."""

    def __init__(self, name: str, *, sync_threads: int = LIMIT) -> None:
        # Of asyncio itself, whatever the server's loop is: the watchdog can look into it.
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

    def submit(self, work: Callable[[], Coroutine[Any, Any, T]], scope: WorkScope | None = None) -> LoopTask[T]:
        """Start ``work``, with the caller's context variables. For any thread."""
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
        """The number of the turn that the loop makes, None while it waits for events. For any thread.

        Always 0 on Windows, whose loop has no selector.
        """
        return None if self._turns.is_waiting else self._turns.count

    @property
    def tasks(self) -> list[LoopTask[Any]]:
        """What was submitted and has not ended."""
        return list(self._tasks)

    def lose(self, culprit: WorkScope | None) -> None:
        """Give the loop up: everything on it ends with LoopLost, and if its thread ever comes back it ends too."""
        self._culprit, self._is_lost = culprit, True
        for task in self.tasks:
            # One for each: they are raised in different places.
            task.lose(LoopLost(culprit))
        self.stop()

    def end_blocking_code(self, turn: int | None) -> None:
        """Raise CodeAbandoned in what blocks the loop, if it is still in that ``turn``. A call into C code ends first.

        Only for a loop that is given up: the exception may come between any two instructions. For any thread. Does
        nothing on Windows, where turns are not counted.
        """
        if turn and turn == self.turn and self.thread.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self.thread.ident), ctypes.py_object(CodeAbandoned)
            )

    def stop(self) -> None:
        """Let the thread end soon, and cancel what is left. Returns at once; safe to call twice."""
        self._closing = True
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)

    def clear(self) -> bool:
        """Cancel what is left on it; False when the loop does not react. Blocks; not for the loop's own thread."""
        return self.submit(_cancel_others).settle(_CANCEL_WITHIN)

    def close(self) -> None:
        """Cancel what is left, stop, and wait a moment for it. Blocks; not for the loop's own thread."""
        if self.clear():
            self.submit(self.loop.shutdown_asyncgens).settle(_CANCEL_WITHIN)
        self.stop()
        self.thread.join(timeout=_CANCEL_WITHIN)

    def _serve(self) -> None:
        while not self._closing:
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                # Raised by a node. Its task has it as its result; asyncio lets these two fall through the loop as
                # well, which would leave every other task, and so every other run, hanging for ever.
                continue
            except CodeAbandoned:
                # Raised beside the code that it was meant for, and the callback that was at work is lost.
                break
        with contextlib.suppress(BaseException):
            # The rest of a run that was given up, which no caller waits for any more.
            self.loop.run_until_complete(_cancel_others())
        self.loop.close()


async def _cancel_others() -> None:
    """Cancel all other tasks of the loop, and wait a moment for them."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_CANCEL_WITHIN / 2)
