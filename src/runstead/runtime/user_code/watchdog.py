"""Watchdog for code that blocks the user-code loop: reports the location, counts blocks, and abandons a loop that stays
blocked.

A thread checks the loop twenty times per second, or ten times while it is idle. A loop runs one callback after the
other; a callback that is still the same after a quarter of a second blocks all others. The loop's stack shows which
callback it is. The stack is read only if the loop has made no turn since the last check: reading the stack of a running
thread is not safe in itself, see `_no_collection`.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from asyncio import Handle
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from types import FrameType
from typing import Final, Protocol

from .scope import CURRENT_SCOPE, UserWork, WorkScope
from .thread_loop import ThreadLoop

_log = logging.getLogger(__name__)

PERIOD: Final = 0.05
"""Seconds between two checks."""
_PAUSE: Final = 5.0
"""Seconds to wait after a check that failed."""
BLOCK: Final = 0.25
"""Seconds after which a callback counts as blocking."""
_LONG: Final = 5.0
"""Seconds after which a block is logged although it has not ended."""
_STEP: Final = 4 * PERIOD
"""Maximum seconds that one check counts: a process that was suspended as a whole was not blocked by its user code."""


@dataclass(frozen=True, slots=True)
class Block:
    """User code that blocked the loop: its purpose, its location (``file:line in function``), and its duration so
    far."""

    work: UserWork
    node: str | None
    place: str
    seconds: float

    def __str__(self) -> str:
        node = f" node={self.node}" if self.node else ""
        return f"{self.work}{node} at {self.place}"


@dataclass(slots=True)
class BlockCount:
    """Number and duration of blocks since the start, for metrics."""

    blocks: int = 0
    seconds: float = 0.0
    last: Block | None = None


class WatchedLoop(Protocol):
    """Owner of the loop to watch. See UserLoop."""

    @property
    def thread_loop(self) -> ThreadLoop: ...


@dataclass(frozen=True, slots=True)
class WatchdogOptions:
    """Options of the watchdog.

    ``is_user_code`` decides by file name whether code belongs to the user. ``node_in`` returns the graph node whose
    code runs in a context. A loop that is blocked for ``lost_after`` seconds is abandoned.
    """

    is_user_code: Callable[[str], bool] = lambda _: True
    node_in: Callable[[Context], str | None] = lambda _: None
    lost_after: float = 60.0


class LoopWatchdog:
    """Watchdog of one loop. ``on_lost`` is called from the watchdog's thread, with the abandoned loop and the work that
    blocks it."""

    def __init__(
        self,
        watched: WatchedLoop,
        on_lost: Callable[[ThreadLoop, WorkScope | None], None],
        options: WatchdogOptions | None = None,
    ) -> None:
        self._watched, self._on_lost, self._options = watched, on_lost, options or WatchdogOptions()
        self.count = BlockCount()
        self._seen: _Callback | None = None
        self._turn: int | None = None
        self._turn_since = 0.0
        self._looked_at = time.monotonic()
        self._is_running = threading.Lock()
        """Held while the watchdog runs. Waiting for it with a timeout costs no more than a sleep; its release ends the
        wait."""

    @contextmanager
    def running(self) -> Iterator[BlockCount]:
        """Watch for the duration of a block."""
        thread = threading.Thread(target=self._watch, name="user-code-watchdog", daemon=True)
        self._is_running.acquire()
        thread.start()
        try:
            yield self.count
        finally:
            self._is_running.release()
            thread.join(timeout=1)

    def _watch(self) -> None:
        pause = 2 * PERIOD
        while not self._is_running.acquire(timeout=pause):
            try:
                self.look(time.monotonic())
                pause = 2 * PERIOD if self._turn is None else PERIOD
            except Exception:
                pause = _PAUSE
                # A process without memory cannot log either.
                with suppress(Exception):
                    _log.exception("the watchdog of user code could not check the loop")
        self._is_running.release()

    def look(self, now: float) -> None:
        """Check the loop once, at ``now`` (seconds on a monotonic clock)."""
        elapsed, self._looked_at = now - self._looked_at, now
        loop = self._watched.thread_loop
        turn = loop.turn
        if turn is not None and turn == self._turn:
            with _no_collection():
                self._look_at_stack(loop, now, elapsed)
            return
        self._turn = turn
        # The turn began at some time between the last check and this one.
        self._turn_since = now - min(elapsed / 2, PERIOD)
        self._end_seen(now - elapsed / 2)

    def _look_at_stack(self, loop: ThreadLoop, now: float, elapsed: float) -> None:
        frame = sys._current_frames().get(loop.thread.ident or 0)
        handle = _handle_in(frame)
        observed = min(now - self._turn_since, _STEP)
        if self._seen is not None and self._seen.handle is not handle:
            self._end_seen(now - elapsed / 2)
            observed = min(elapsed / 2, PERIOD)
        if handle is None or frame is None:
            return
        seen = self._seen
        if seen is None:
            self._seen = _Callback(handle, began=now - observed, observed=observed)
            return
        seen.observed += min(elapsed, _STEP)
        if seen.block is None and seen.observed >= BLOCK - PERIOD:
            seen.block = self._block(handle, frame, now - seen.began)
        if seen.block is not None and seen.observed >= _LONG and not seen.is_long:
            seen.is_long = True
            _log.warning("user code still blocks its event loop after %.1f s: %s", now - seen.began, seen.block)
        if seen.observed >= self._options.lost_after and not seen.is_lost:
            seen.is_lost = True
            self._on_lost(loop, _context_of(handle).get(CURRENT_SCOPE))

    def _end_seen(self, now: float) -> None:
        if self._seen is not None:
            self._ended(self._seen, now)
            self._seen = None

    def _ended(self, seen: _Callback, now: float) -> None:
        seconds = now - seen.began
        if seen.block is None or seconds < BLOCK:
            return
        block = Block(seen.block.work, seen.block.node, seen.block.place, seconds)
        self.count.blocks += 1
        self.count.seconds += seconds
        self.count.last = block
        if seen.is_lost:
            # The loop was abandoned, which has been logged; the block has not ended.
            return
        _log.warning(
            "user code blocked its event loop for %.2f s: %s; other runs, http.app and auth handlers waited; %s",
            seconds,
            block,
            remedy_for(block.work.graph_id),
        )

    def _block(self, handle: Handle, frame: FrameType, seconds: float) -> Block:
        context = _context_of(handle)
        scope = context.get(CURRENT_SCOPE)
        work = UserWork() if scope is None else scope.work
        return Block(work, self._options.node_in(context), self._place(frame), seconds)

    def _place(self, frame: FrameType) -> str:
        """Return the innermost frame of the user's code, or the innermost frame of all."""
        frames = list(_frames(frame))
        own = (one for one in frames if self._options.is_user_code(one.f_code.co_filename))
        found = next(own, frames[0])
        return f"{found.f_code.co_filename}:{found.f_lineno} in {found.f_code.co_qualname}"


def remedy_for(graph_id: str | None) -> str:
    """Return advice for the author of code that blocks."""
    ways = "await an asynchronous client, or make it a plain `def`, which gets a thread"
    return ways if graph_id is None else f'{ways}, or set "agent_isolation": "run" for graph {graph_id!r}'


@dataclass(slots=True)
class _Callback:
    """Callback that the loop was seen executing, its start, and how long it was observed (seconds)."""

    handle: Handle
    began: float
    observed: float = 0.0
    block: Block | None = None
    is_long: bool = False
    is_lost: bool = False


def _context_of(handle: Handle) -> Context:
    context: Context = handle._context  # type: ignore[attr-defined]
    return context


@contextmanager
def _no_collection() -> Iterator[None]:
    """Disable garbage collection, which allocations in this thread could start.

    Python creates the frame object when it is requested. Up to 3.11, that may start a collection, whose finalizers let
    the other thread continue: its frame is gone when the object is filled in, and the process crashes later.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _handle_in(frame: FrameType | None) -> Handle | None:
    """Return the callback that a loop's stack executes; None if the loop waits."""
    for one in _frames(frame):
        if one.f_code is Handle._run.__code__:
            handle = one.f_locals.get("self")
            return handle if isinstance(handle, Handle) else None
    return None
