"""Threads for the synchronous nodes of agents. The standard library's executor would keep the process from ending.

A synchronous node cannot be stopped. Its thread is a daemon, so that one which hangs dies with the process
instead of being waited for at exit; and what is still running is known, for a run has not ended before it has.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeAlias, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

_Job: TypeAlias = tuple[Future[Any], Callable[[], Any]]


class SyncThreads(ThreadPoolExecutor):
    """An executor with at most ``max_workers`` daemon threads, made when needed.

    It is a ThreadPoolExecutor by name only, because event loops accept nothing else as their own.
    """

    def __init__(self, max_workers: int, name: str) -> None:
        super().__init__(max_workers, thread_name_prefix=name)
        self.outstanding: set[Future[Any]] = set()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._free = threading.Semaphore(0)
        self._gate = threading.Lock()
        self._most, self._made, self._name, self._over = max_workers, 0, name, False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        with self._gate:
            if self._over:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self.outstanding.add(future)
            future.add_done_callback(self.outstanding.discard)
            self._jobs.put((future, partial(fn, *args, **kwargs)))
            if not self._free.acquire(blocking=False) and self._made < self._most:
                threading.Thread(target=self._work, name=f"{self._name}-{self._made}", daemon=True).start()
                self._made += 1
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let every thread end once it is free. Never waits: what hangs would hang the caller."""
        with self._gate:
            if not self._over:
                self._over = True
                for _ in range(self._made):
                    self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._do(*job)
            # An idle thread must not hold on to what it did last.
            del job

    def _do(self, future: Future[Any], work: Callable[[], Any]) -> None:
        result, failure = None, None
        if wanted := future.set_running_or_notify_cancel():
            try:
                result = work()
            except BaseException as error:
                failure = error
        # Free before anybody hears of the result: who then submits at once gets this thread, and not a new one.
        self._free.release()
        if failure is not None:
            future.set_exception(failure)
            # Its traceback knows this frame, and this frame would know it: a circle around all that the node held.
            failure = None
        elif wanted:
            future.set_result(result)
