"""Thread pool for synchronous user code, which grows on demand and shrinks when idle.

The standard library's executor has a fixed size: a synchronous task that waits for another one occupies its thread, and
if all threads wait, the tasks that they wait for never start. It also keeps the process from exiting while a thread
hangs. Threads of this pool are daemons and end with the process.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

from .scope import CURRENT_SCOPE

T = TypeVar("T")
P = ParamSpec("P")

_Call: TypeAlias = tuple[Future[Any], Callable[[], Any]]

_log = logging.getLogger(__name__)

LIMIT: Final = 2_000
"""Maximum number of threads of one pool. A safety limit: code that needs more starts calls without bound."""
IDLE_SECONDS: Final = 30.0


class SyncThreads(ThreadPoolExecutor):
    """Executor that starts a thread whenever none is idle, up to ``limit``; further calls wait for a free one.

    A thread that was idle for ``idle_seconds`` ends. The class derives from ThreadPoolExecutor only because event loops
    accept no other type.
    """

    def __init__(self, name: str, *, limit: int = LIMIT, idle_seconds: float = IDLE_SECONDS) -> None:
        super().__init__(max_workers=limit, thread_name_prefix=name)
        self._name, self._limit, self._idle_seconds = name, limit, idle_seconds
        self._gate = threading.Lock()
        # The thread that became idle last is used first, so that surplus threads reach their idle timeout.
        self._idle: list[_Worker] = []
        self._backlog: deque[_Call] = deque()
        self._alive, self._started, self._closed = 0, 0, False

    @property
    def size(self) -> int:
        """Number of live threads."""
        return self._alive

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call ``fn`` in a thread. The call counts for the scope that is current on submission."""
        future: Future[T] = Future()
        if (scope := CURRENT_SCOPE.get()) is not None:
            scope.add(future)
        call: _Call = (future, partial(fn, *args, **kwargs))
        with self._gate:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._idle:
                self._idle.pop().calls.put(call)
            elif self._alive >= self._limit or not self._start(call):
                self._backlog.append(call)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let every thread end once it is free. Never waits: a call that hangs would block the caller."""
        with self._gate:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.calls.put(None)

    def _start(self, call: _Call) -> bool:
        """Start a thread with ``call`` as its first call. Return False if the machine refuses a new thread and existing
        ones can take the call."""
        worker = _Worker()
        worker.calls.put(call)
        thread = threading.Thread(target=self._work, args=(worker,), name=f"{self._name}-{self._started}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._alive:
                raise
            _log.warning("%s: could not start a thread in addition to %d", self._name, self._alive)
            return False
        self._started += 1
        self._alive += 1
        return True

    def _work(self, worker: _Worker) -> None:
        while (call := self._next(worker)) is not None:
            self._do(worker, *call)
            # An idle thread must not keep references to its last call.
            del call

    def _next(self, worker: _Worker) -> _Call | None:
        """Return the next call for ``worker``; None if its thread is to end."""
        try:
            call = worker.calls.get(timeout=self._idle_seconds)
        except Empty:
            with self._gate:
                if worker in self._idle:
                    self._idle.remove(worker)
                    self._alive -= 1
                    return None
            # It was given a call, or the signal to end, at the last moment.
            call = worker.calls.get()
        if call is None:
            with self._gate:
                self._alive -= 1
        return call

    def _do(self, worker: _Worker, future: Future[Any], work: Callable[[], Any]) -> None:
        result, failure = None, None
        if wanted := future.set_running_or_notify_cancel():
            try:
                result = work()
            except BaseException as error:
                failure = error
        # Mark the thread free before publishing the result: code that submits at once gets this thread instead of a new
        # one.
        try:
            self._free(worker)
        finally:
            # Also without memory: a node must not wait for a result that is never published.
            if failure is not None:
                future.set_exception(failure)
                # The exception's traceback references this frame, and this frame the exception: a cycle that would
                # keep everything that the call held.
                failure = None
            elif wanted:
                future.set_result(result)

    def _free(self, worker: _Worker) -> None:
        with self._gate:
            if self._backlog:
                worker.calls.put(self._backlog.popleft())
            elif self._closed:
                worker.calls.put(None)
            else:
                self._idle.append(worker)


class _Worker:
    """Thread of the pool. ``calls`` delivers its calls, and None as the signal to end."""

    __slots__ = ("calls",)

    def __init__(self) -> None:
        self.calls: SimpleQueue[_Call | None] = SimpleQueue()
