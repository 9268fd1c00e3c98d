"""The log of one run: its events within a window, their ids, and who waits for the next one.

Knows nothing of other runs, of time, or of how long a log is kept: that is the bridge's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final
from weakref import WeakSet

from runstead.runtime.stream_bridge import (
    ResumeResult,
    StreamBridgeError,
    StreamEvent,
    StreamStatus,
    TerminalKind,
)

from .places import LogShape

_STATUS_AFTER: Final[dict[TerminalKind, StreamStatus]] = {
    "end": StreamStatus.ENDED,
    "error": StreamStatus.ERRORED,
    "cancel": StreamStatus.CANCELLED,
}


class RunLog:
    """An append-only log with a window over its end.

    A place in the log is the number of events published before it, so that it stays true while the
    window moves. The terminal event stands behind the window and is no part of it.
    """

    __slots__ = (
        "__weakref__",
        "_begun",
        "_events",
        "_max_bytes",
        "_max_events",
        "_published",
        "_seq",
        "_waiting",
        "asked",
        "attempt",
        "gone",
        "kept_bytes",
        "readers",
        "run_id",
        "status",
        "terminal",
    )

    def __init__(self, run_id: str, attempt: int, *, max_events: int, max_bytes: int) -> None:
        self.run_id = run_id
        self.attempt = attempt
        self.status = StreamStatus.OPEN
        self.terminal: StreamEvent | None = None
        self.asked = False
        """The run has asked a human; outlives the status, which goes back when more is published."""
        self.gone: Callable[[], StreamBridgeError] | None = None
        """Why nothing will follow although the run has not ended, once that is so."""
        self.kept_bytes = 0
        self.readers: WeakSet[object] = WeakSet()
        """Who reads. Weak, so that a reader that was dropped without a word counts no more."""
        self._max_events, self._max_bytes = max_events, max_bytes
        self._events: deque[StreamEvent] = deque()
        self._published = 0
        self._seq = 0
        # (attempt, place of its first event), for the attempts that published: turns an id into a place.
        self._begun: list[tuple[int, int]] = []
        # In the order of their arrival, so that a simulation can be repeated: a set's order is that of addresses.
        self._waiting: dict[asyncio.Future[None], None] = {}

    @property
    def kept_events(self) -> int:
        return len(self._events)

    @property
    def first_kept(self) -> int:
        """The place of the first event that is still kept."""
        return self._published - len(self._events)

    @property
    def end(self) -> int:
        """The place behind the last event."""
        return self._published + (self.terminal is not None)

    @property
    def oldest(self) -> str | None:
        if self._events:
            return self._events[0].id
        return self.terminal.id if self.terminal else None

    @property
    def shape(self) -> LogShape:
        ended = self.terminal is not None
        return LogShape(self.attempt, self._published, ended, self.first_kept, self.oldest, self._begun)

    def take_over(self, attempt: int) -> None:
        """Let a higher attempt publish: its ids start at 1 again, behind its own number."""
        self.attempt, self._seq = attempt, 0
        self.status, self.asked = StreamStatus.OPEN, False

    def append(self, name: str, data: bytes) -> str:
        """Append, move the window, wake. The cost does not depend on the log's length."""
        event = StreamEvent(self._next_id(), name, data)
        events = self._events
        events.append(event)
        self._published += 1
        self.kept_bytes += len(data)
        # The event that has just come in stays, however large it is: readers who keep up get it.
        while len(events) > 1 and (len(events) > self._max_events or self.kept_bytes > self._max_bytes):
            self.kept_bytes -= len(events.popleft().data)
        if self._waiting:
            self.wake()
        return event.id

    def append_terminal(self, kind: TerminalKind, data: bytes) -> str:
        self.terminal = StreamEvent(self._next_id(), kind, data, terminal=kind)
        self.status = _STATUS_AFTER[kind]
        self.wake()
        return self.terminal.id

    def since(self, place: int, at_most: int) -> list[StreamEvent]:
        """The next ``at_most`` events from ``place`` on, which must not lie before ``first_kept``.

        Costs what it returns, and for a reader who is far behind no more than a walk along the log.
        """
        missing = max(self._published - place, 0)
        if missing > at_most:
            start = len(self._events) - missing
            return list(islice(self._events, start, start + at_most))
        events = list(islice(reversed(self._events), missing))
        events.reverse()
        if self.terminal and place < self.end:
            events.append(self.terminal)
        return events

    def resume(self, last_event_id: str | None) -> tuple[int, ResumeResult]:
        """Where a reader starts who has seen ``last_event_id``; see ResumeResult."""
        return self.shape.resume(last_event_id)

    def waiter(self) -> asyncio.Future[None]:
        """Done at the next `wake`. Hand it back with `leave`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = None
        return future

    def leave(self, future: asyncio.Future[None]) -> None:
        self._waiting.pop(future, None)

    def wake(self) -> None:
        """Wake whoever waits. Those who were woken and have not read yet are not woken again."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def shut(self, gone: Callable[[], StreamBridgeError]) -> None:
        """Nothing will follow: readers get ``gone`` once they have read what is there, unless the run has ended."""
        self.gone = gone
        self.wake()

    def _next_id(self) -> str:
        if self._seq == 0:
            self._begun.append((self.attempt, self._published))
        self._seq += 1
        return f"{self.attempt}-{self._seq}"
