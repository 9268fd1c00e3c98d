"""Bounded in-memory buffer of stream writes that Redis has not acknowledged, ordered per run.

A write is an append to the buffer. While Redis is unavailable the buffer grows to its limit; beyond it, the oldest
events of the longest queue are dropped, as from a window, and readers detect the gap by the missing numbers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from runstead.runtime.stream_bridge.exceptions import StaleAttempt, StreamTerminated

from .keys import KeySpace, RunKeys
from .scripts import ApplyResult, StreamState

CommandKind: TypeAlias = Literal["open", "event", "end", "await", "answer", "look", "restore"]

_EVENT_COST: Final = 200
"""Bytes of memory that an event takes in addition to its data, as measured."""
_ROUND_EVENTS: Final = 512
_ROUND_BYTES: Final = 1024 * 1024
"""Maximum size of one run's part of a round: a long backlog of one run must not delay all others."""
_IDLE_WRITERS: Final = 1_000
_LOW: Final = 0.9
"""The share of the limit that stays in use after events were dropped, so that not every event causes a drop."""


@dataclass(slots=True)
class WriteCommand:
    """One operation on a stream. ``answer`` is resolved with its result, if a caller waits for it."""

    kind: CommandKind
    attempt: int
    seq: int = 0
    name: str = ""
    data: bytes = b""
    answer: asyncio.Future[ApplyResult] | None = None

    @property
    def cost(self) -> int:
        return len(self.data) + _EVENT_COST if self.kind == "event" else 0

    def resolve(self, applied: ApplyResult) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(applied)


class StreamWriter:
    """This process's state of one stream: the number of the next event, and the unacknowledged orders."""

    __slots__ = (
        "attempt",
        "cost",
        "ending",
        "keys",
        "known",
        "last_state",
        "listed",
        "orders",
        "owns",
        "queued",
        "run_id",
        "seq",
    )

    def __init__(self, run_id: str, keys: RunKeys) -> None:
        self.run_id, self.keys = run_id, keys
        self.attempt = self.seq = 0
        """The publishing attempt and the last number that it has used, as far as we know."""
        self.known = False
        """True once this process may number events: Redis has reported the stream's state, or no other process can have
        published.
        """
        self.owns = False
        """True once this process has published events: it then keeps the stream alive."""
        self.listed = True
        """True if the stream is registered in the list of streams, or will be when opened; false if Redis was
        unavailable.
        """
        self.ending = False
        """True once the terminal event has been published or is in the buffer."""
        self.last_state: StreamState | None = None
        """The state of the stream at the last reply."""
        self.orders: deque[WriteCommand] = deque()
        self.cost = 0
        self.queued = False

    def take_over(self, attempt: int) -> None:
        """Start a later attempt, which publishes from now on."""
        self.attempt, self.seq = attempt, 0

    def number_event(self, attempt: int) -> int:
        """Return the number of this attempt's next event. Raises StreamTerminated and StaleAttempt."""
        if self.ending:
            raise StreamTerminated(self.run_id)
        if attempt < self.attempt:
            raise StaleAttempt(self.run_id, attempt, self.attempt)
        if attempt > self.attempt:
            self.take_over(attempt)
        self.owns = True
        self.seq += 1
        return self.seq

    def number_end(self, attempt: int) -> int:
        """Return the number of the terminal event as far as we know; 0 if Redis has to assign or refuse it."""
        if not self.known or self.ending or attempt < self.attempt:
            return 0
        if attempt > self.attempt:
            self.take_over(attempt)
        self.ending = True
        self.seq += 1
        return self.seq

    def learn(self, standing: StreamState) -> None:
        """Adopt the state that Redis reports: other processes may have published or taken over."""
        if (standing.attempt, standing.seq) > (self.attempt, self.seq):
            self.attempt, self.seq = standing.attempt, standing.seq
        self.known = True
        self.last_state = standing

    def next_round(self) -> list[WriteCommand]:
        """Return the first orders, up to the size of one round. They stay in the buffer until they are dropped."""
        taken: list[WriteCommand] = []
        size = 0
        for order in self.orders:
            size += order.cost
            if taken and (size > _ROUND_BYTES or len(taken) >= _ROUND_EVENTS):
                break
            taken.append(order)
        return taken

    def renumber(self, seq: int) -> None:
        """Renumber the waiting events after ``seq``, which another publisher of this attempt has used."""
        for order in self.orders:
            if order.kind in ("event", "end") and order.attempt == self.attempt:
                seq += 1
                order.seq = seq
        self.seq = seq


class WriteBuffer:
    """The writers of this process, and those with unsent orders. ``bound`` is in bytes."""

    def __init__(self, keys: KeySpace, *, bound: int) -> None:
        self._keys, self._bound = keys, bound
        self._writers: dict[str, StreamWriter] = {}
        self._queued: deque[StreamWriter] = deque()
        self._cost = 0
        self.dropped = 0
        """Number of events dropped since the start of the process because the buffer was full."""
        self.bell = asyncio.Event()
        self.empty = asyncio.Event()
        self.empty.set()

    def __len__(self) -> int:
        return len(self._writers)

    @property
    def cost(self) -> int:
        """Return the bytes of memory of the buffered orders, approximately."""
        return self._cost

    @property
    def writers(self) -> Iterator[StreamWriter]:
        """Yield the writers that have published and not ended."""
        return (writer for writer in list(self._writers.values()) if writer.owns and not writer.ending)

    def find(self, run_id: str) -> StreamWriter | None:
        return self._writers.get(run_id)

    def writer(self, run_id: str) -> StreamWriter:
        """Return the writer of this run; create it if it does not exist."""
        writer = self._writers.get(run_id)
        if writer is None:
            if len(self._writers) >= _IDLE_WRITERS:
                self._forget_idle()
            writer = self._writers[run_id] = StreamWriter(run_id, self._keys.of(run_id))
        return writer

    def unlist_waiting(self) -> None:
        """Let the streams with unsent orders be registered again with their next round."""
        for writer in self._writers.values():
            if writer.orders:
                writer.listed = False

    def forget(self, writer: StreamWriter) -> None:
        """Remove a writer and drop its waiting orders."""
        if self._writers.get(writer.run_id) is writer:
            del self._writers[writer.run_id]
        self._cost -= writer.cost
        writer.cost = 0
        writer.orders.clear()

    def put(self, writer: StreamWriter, order: WriteCommand) -> None:
        """Append an order and wake the flusher."""
        writer.orders.append(order)
        cost = order.cost
        writer.cost += cost
        self._cost += cost
        if not writer.queued:
            self.again(writer)
        if self._cost > self._bound:
            self._make_room()

    def put_first(self, writer: StreamWriter, order: WriteCommand) -> None:
        writer.orders.appendleft(order)

    def again(self, writer: StreamWriter) -> None:
        """Queue the writer again if it has unsent orders."""
        if writer.orders and not writer.queued:
            writer.queued = True
            self._queued.append(writer)
            self.empty.clear()
            self.bell.set()

    def take(self, at_most: int) -> list[StreamWriter]:
        """Return the writers that have waited longest; each must be passed to `again` afterwards."""
        taken: list[StreamWriter] = []
        while self._queued and len(taken) < at_most:
            writer = self._queued.popleft()
            writer.queued = False
            if writer.orders:
                taken.append(writer)
        if not self._queued:
            self.bell.clear()
        return taken

    def settle(self) -> None:
        """Finish a round: signal an empty buffer if nothing is queued."""
        if not self._queued:
            self.empty.set()

    def drop(self, writer: StreamWriter, orders: list[WriteCommand]) -> None:
        """Remove these orders from the front of the writer's queue, as far as they are still there."""
        done = {id(order) for order in orders}
        while writer.orders and id(writer.orders[0]) in done:
            self._pop(writer)

    def take_out(self, writer: StreamWriter, unwanted: Callable[[WriteCommand], bool]) -> list[WriteCommand]:
        """Remove and return all orders that can no longer succeed."""
        out = [order for order in writer.orders if unwanted(order)]
        writer.orders = deque(order for order in writer.orders if not unwanted(order))
        for order in out:
            self._uncount(writer, order)
        return out

    def _pop(self, writer: StreamWriter) -> WriteCommand:
        order = writer.orders.popleft()
        self._uncount(writer, order)
        return order

    def _uncount(self, writer: StreamWriter, order: WriteCommand) -> None:
        writer.cost -= order.cost
        self._cost -= order.cost

    def _make_room(self) -> None:
        while self._cost > self._bound * _LOW:
            longest = max(self._writers.values(), key=lambda writer: writer.cost)
            if not self._drop_oldest(longest, longest.cost - (self._cost - self._bound * _LOW)):
                return

    def _drop_oldest(self, writer: StreamWriter, down_to: float) -> bool:
        """Drop the oldest events, except the last one, until at most ``down_to`` bytes wait. Other orders stay."""
        kept: list[WriteCommand] = []
        dropped = 0
        while len(writer.orders) > 1 and writer.cost > down_to:
            order = self._pop(writer)
            if order.kind == "event":
                dropped += 1
            else:
                kept.append(order)
        writer.orders.extendleft(reversed(kept))
        self.dropped += dropped
        return dropped > 0

    def _forget_idle(self) -> None:
        for writer in list(self._writers.values()):
            if not writer.orders and not writer.owns:
                del self._writers[writer.run_id]
