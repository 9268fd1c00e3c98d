"""The live end of one run's stream, in this process's memory: what has just come, shared by all who read here.

It holds events of one attempt, without a hole. A reader who is not within it reads pages instead, until it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, Protocol
from weakref import WeakSet

from runstead.runtime.stream_bridge import StreamBridgeError, StreamEvent, numbers_of

from .keys import RunKeys

MOST_EVENTS: Final = 1_000
MOST_BYTES: Final = 1024 * 1024
"""Of one tail. Who falls further behind reads from Redis, and is nobody's burden here."""


class TailReader(Protocol):
    """Who reads at the end of a log."""

    def wake(self) -> None: ...


class TailBudget:
    """What all tails of the process may hold together, in bytes of data."""

    def __init__(self, bound: int) -> None:
        self.bound, self.held = bound, 0


class Tail:
    """What was read of one log since somebody here came to its end."""

    def __init__(self, run_id: str, keys: RunKeys, attempt: int, seq: int, budget: TailBudget) -> None:
        """``attempt`` and ``seq`` of the last event before it; 0 and 0 for an empty log."""
        self.run_id, self.keys = run_id, keys
        self.version = 0
        """Changes with all that arrives."""
        self.gone: Callable[[], StreamBridgeError] | None = None
        """Why nothing will follow, once that is so."""
        self.missing_since: float | None = None
        self.readers: WeakSet[TailReader] = WeakSet()
        """Weak, so that a reader that was dropped without a word counts no more."""
        self._attempt, self._next = attempt, seq + 1
        self._events: deque[StreamEvent] = deque()
        self._bytes = 0
        self._budget = budget

    @property
    def last(self) -> tuple[int, int]:
        """Attempt and number of the last event that has come."""
        return self._attempt, self._next - 1

    @property
    def cursor(self) -> str:
        """The id to read after."""
        return f"{self._attempt}-{self._next - 1}"

    def since(self, attempt: int, seq: int, at_most: int) -> Sequence[StreamEvent] | None:
        """The next events behind this one; None for a place that is not within the tail."""
        missing = self._next - 1 - seq
        if attempt != self._attempt or not 0 <= missing <= len(self._events):
            return None
        start = len(self._events) - missing
        return list(islice(self._events, start, start + at_most))

    def add(self, event: StreamEvent) -> None:
        """What comes behind `cursor`. After a hole, or a takeover, the tail begins anew: pages tell what is missing."""
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
        """Nothing will follow."""
        self.gone = self.gone or gone
        self.wake()

    def wake(self) -> None:
        for reader in list(self.readers):
            reader.wake()

    def close(self) -> None:
        """Nobody reads here any more."""
        self._clear()

    @property
    def _is_over(self) -> bool:
        # The last one stays: a single reader who keeps up can always be served from here.
        return self._budget.held > self._budget.bound and len(self._events) > 1

    def _hold(self, size: int) -> None:
        self._bytes += size
        self._budget.held += size

    def _clear(self) -> None:
        self._events.clear()
        self._hold(-self._bytes)
