"""A limit on concurrent slow reads, so that quick ones always find a thread and a connection."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Final, TypeAlias

MOST_WAITING: Final = 64
TOO_MANY_SEARCHES: Final = (
    "is asked for too many searches at once; try again in a moment, and narrow them by ids, status or metadata"
)

_Call: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...]]


class TooManySlowQueries(Exception):
    """The queue of slow reads is full."""


class SlowQueryPool:
    """Passes calls to ``executor``, at most ``at_once`` of them at a time; the others wait in order."""

    def __init__(self, executor: Executor, at_once: int) -> None:
        self._executor, self._at_once = executor, at_once
        self._lock = threading.Lock()
        self._running = 0
        self._waiting: deque[_Call] = deque()

    def submit(self, function: Callable[..., Any], *arguments: object) -> None:
        """Call ``function`` soon, in a thread. Raises TooManySlowQueries, or RuntimeError if the executor is closed."""
        with self._lock:
            if self._running >= self._at_once:
                if len(self._waiting) >= MOST_WAITING:
                    raise TooManySlowQueries
                self._waiting.append((function, arguments))
                return
            self._running += 1
        try:
            self._executor.submit(self._run, (function, arguments))
        except RuntimeError:
            with self._lock:
                self._running -= 1
            raise

    def _run(self, call: _Call) -> None:
        function, arguments = call
        try:
            function(*arguments)
        finally:
            with self._lock:
                following = self._waiting.popleft() if self._waiting else None
                self._running -= following is None
            if following is not None:
                # Through the executor's queue again, behind the work submitted meanwhile.
                self._follow(following)

    def _follow(self, call: _Call) -> None:
        try:
            self._executor.submit(self._run, call)
        except RuntimeError:
            # The executor is closing and finishes work that was submitted before.
            self._run(call)
