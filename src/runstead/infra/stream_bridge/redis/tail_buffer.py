"""The live end of one run's stream in this process's memory: the latest events, shared by all readers here.

It holds events of one attempt, without gaps. A reader at a position outside of it reads pages instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, Protocol
from weakref import WeakSet

from runstead.runtime.stream_bridge.contract import StreamEvent
from runstead.runtime.stream_bridge.event_ids import numbers_of
from runstead.runtime.stream_bridge.exceptions import StreamBridgeError

from .keys import RunKeys

MOST_EVENTS: Final = 1_000
MOST_BYTES: Final = 1024 * 1024
"""Maximum size of one tail. A reader that falls further behind reads from Redis, and costs no memory here."""


class TailReader(Protocol):
    """A reader at the end of a log."""

    def wake(self) -> None: ...


class TailBudget:
    """The memory limit of all tails of the process together, in bytes of data."""

    def __init__(self, bound: int) -> None:
        self.bound, self.held = bound, 0


class TailBuffer:
    """The events of one log since a reader here reached its end."""

    def __init__(self, run_id: str, keys: RunKeys, attempt: int, seq: int, budget: TailBudget) -> None:
        """Create it with ``attempt`` and ``seq`` of the last event before it; 0 and 0 for an empty log."""
        self.run_id, self.keys = run_id, keys
        self.version = 0
        """Changes with every event that arrives."""
        self.gone: Callable[[], StreamBridgeError] | None = None
        """Creates the error for readers if no more events will follow."""
        self.missing_since: float | None = None
        self.readers: WeakSet[TailReader] = WeakSet()
        """Weak, so that a reader that was dropped without being closed does not count."""
        self._attempt, self._next = attempt, seq + 1
        self._events: deque[StreamEvent] = deque()
        self._bytes = 0
        self._budget = budget

    @property
    def last(self) -> tuple[int, int]:
        """Return attempt and number of the last event that has arrived."""
        return self._attempt, self._next - 1

    @property
    def cursor(self) -> str:
        """Return the id to read after."""
        return f"{self._attempt}-{self._next - 1}"

    def since(self, attempt: int, seq: int, at_most: int) -> Sequence[StreamEvent] | None:
        """Return the next events after this one; None if that position is outside of the tail."""
        missing = self._next - 1 - seq
        if attempt != self._attempt or not 0 <= missing <= len(self._events):
            return None
        start = len(self._events) - missing
        return list(islice(self._events, start, start + at_most))

    def add(self, event: StreamEvent) -> None:
        """Add the event after `cursor`. After a gap, or a takeover, the tail restarts: pages then report the gap."""
        numbers = numbers_of(event.id)
        if numbers is None or numbers <= self.last:
            return
        self.version += 1
        if numbers != (self._attempt, self._next):
            self._clear()
            self._attempt, self._next = numbers[0], numbers[1] + 1
            return
        self._events.append(event)
        self._next += 1
        self._hold(len(event.data))
        while self._events and (len(self._events) > MOST_EVENTS or self._bytes > MOST_BYTES or self._is_over):
            self._hold(-len(self._events.popleft().data))

    def shut(self, gone: Callable[[], StreamBridgeError]) -> None:
        """Announce that no more events will follow."""
        self.gone = self.gone or gone
        self.wake()

    def wake(self) -> None:
        for reader in list(self.readers):
            reader.wake()

    def close(self) -> None:
        """Release the memory of a tail without readers."""
        self._clear()

    @property
    def _is_over(self) -> bool:
        # The last event stays: a single reader that keeps up can always be served from here.
        return self._budget.held > self._budget.bound and len(self._events) > 1

    def _hold(self, size: int) -> None:
        self._bytes += size
        self._budget.held += size

    def _clear(self) -> None:
        self._events.clear()
        self._hold(-self._bytes)
