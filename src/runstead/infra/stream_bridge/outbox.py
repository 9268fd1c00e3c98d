"""What this process has to say to the streams in Redis and has not been heard with yet, run by run, in order.

Saying is an append. While Redis is away the outbox grows to its bound; past that, the oldest events of the longest
queue go, as they would from a window, and readers are told of the gap by the numbers that are missing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from runstead.runtime.stream_bridge import StaleAttempt, StreamTerminated

from .keys import KeySpace, RunKeys
from .scripts import Applied, Standing

OrderKind: TypeAlias = Literal["open", "event", "end", "await", "look", "restore"]

_EVENT_COST: Final = 200
"""What an event takes in memory besides its data, in bytes, as measured."""
_ROUND_EVENTS: Final = 512
_ROUND_BYTES: Final = 1024 * 1024
"""Of one run in one round: a long backlog of one must not make all the others wait."""
_IDLE_WRITERS: Final = 1_000
_LOW: Final = 0.9
"""The part of the bound that is left after room was made, so that it is not made for every event."""


@dataclass(slots=True)
class Order:
    """One thing to be done to a stream. ``answer`` gets what became of it, if anybody waits."""

    kind: OrderKind
    attempt: int
    seq: int = 0
    name: str = ""
    data: bytes = b""
    answer: asyncio.Future[Applied] | None = None

    @property
    def cost(self) -> int:
        return len(self.data) + _EVENT_COST if self.kind == "event" else 0

    def tell(self, applied: Applied) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(applied)


class RunWriter:
    """This process's side of one stream: the number of the next event, and the orders not yet heard."""

    __slots__ = (
        "attempt",
        "cost",
        "ending",
        "keys",
        "known",
        "listed",
        "orders",
        "owns",
        "queued",
        "run_id",
        "seq",
        "told",
    )

    def __init__(self, run_id: str, keys: RunKeys) -> None:
        self.run_id, self.keys = run_id, keys
        self.attempt = self.seq = 0
        """The attempt that publishes, and the last number that it has used, as far as we know."""
        self.known = False
        """Whether we may number events: Redis has told where the stream stands, or nobody else can have begun."""
        self.owns = False
        """Has published here: the stream is kept alive for it."""
        self.listed = True
        """Stands in the list of streams, or will when it is opened: false where Redis could not be asked for that."""
        self.ending = False
        """The terminal event has been published, or is on its way."""
        self.told: Standing | None = None
        """How the stream stood at the last answer."""
        self.orders: deque[Order] = deque()
        self.cost = 0
        self.queued = False

    def take_over(self, attempt: int) -> None:
        """A later attempt publishes here from now on."""
        self.attempt, self.seq = attempt, 0

    def number_event(self, attempt: int) -> int:
        """The number of this attempt's next event. Raises StreamTerminated and StaleAttempt."""
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
        """The number of the terminal event as far as we know; 0 leaves it, and whether it may be said, to Redis."""
        if not self.known or self.ending or attempt < self.attempt:
            return 0
        if attempt > self.attempt:
            self.take_over(attempt)
        self.ending = True
        self.seq += 1
        return self.seq

    def learn(self, standing: Standing) -> None:
        """Others have published since, or taken over."""
        if (standing.attempt, standing.seq) > (self.attempt, self.seq):
            self.attempt, self.seq = standing.attempt, standing.seq
        self.known = True
        self.told = standing

    def next_round(self) -> list[Order]:
        """The first orders, in a size for one round. They stay until they are `drop_first`ed."""
        taken: list[Order] = []
        size = 0
        for order in self.orders:
            size += order.cost
            if taken and (size > _ROUND_BYTES or len(taken) >= _ROUND_EVENTS):
                break
            taken.append(order)
        return taken

    def renumber(self, seq: int) -> None:
        """Another publisher of this attempt has come to ``seq``: what waits goes behind it, for not to be lost."""
        for order in self.orders:
            if order.kind in ("event", "end") and order.attempt == self.attempt:
                seq += 1
                order.seq = seq
        self.seq = seq


class Outbox:
    """The writers of this process, and which of them have something to say. ``bound`` is in bytes."""

    def __init__(self, keys: KeySpace, *, bound: int) -> None:
        self._keys, self._bound = keys, bound
        self._writers: dict[str, RunWriter] = {}
        self._queued: deque[RunWriter] = deque()
        self._cost = 0
        self.dropped = 0
        """Events that were given up since the process began, for want of room."""
        self.bell = asyncio.Event()
        self.empty = asyncio.Event()
        self.empty.set()

    def __len__(self) -> int:
        return len(self._writers)

    @property
    def cost(self) -> int:
        """Bytes of memory, roughly, that what waits here takes."""
        return self._cost

    @property
    def owners(self) -> Iterator[RunWriter]:
        """Those who have published and not ended."""
        return (writer for writer in list(self._writers.values()) if writer.owns and not writer.ending)

    def find(self, run_id: str) -> RunWriter | None:
        return self._writers.get(run_id)

    def writer(self, run_id: str) -> RunWriter:
        """The one of this run, made when there is none."""
        writer = self._writers.get(run_id)
        if writer is None:
            if len(self._writers) >= _IDLE_WRITERS:
                self._forget_idle()
            writer = self._writers[run_id] = RunWriter(run_id, self._keys.of(run_id))
        return writer

    def forget(self, writer: RunWriter) -> None:
        """Nothing more is to be said for this run; what waits is given up."""
        if self._writers.get(writer.run_id) is writer:
            del self._writers[writer.run_id]
        self._cost -= writer.cost
        writer.cost = 0
        writer.orders.clear()

    def put(self, writer: RunWriter, order: Order) -> None:
        """Append, and let it be known."""
        writer.orders.append(order)
        cost = order.cost
        writer.cost += cost
        self._cost += cost
        if not writer.queued:
            self.again(writer)
        if self._cost > self._bound:
            self._make_room()

    def put_first(self, writer: RunWriter, order: Order) -> None:
        writer.orders.appendleft(order)

    def again(self, writer: RunWriter) -> None:
        """It has something to say still."""
        if writer.orders and not writer.queued:
            writer.queued = True
            self._queued.append(writer)
            self.empty.clear()
            self.bell.set()

    def take(self, at_most: int) -> list[RunWriter]:
        """Those who wait longest; each is to be handed back by `again` or `settle`."""
        taken: list[RunWriter] = []
        while self._queued and len(taken) < at_most:
            writer = self._queued.popleft()
            writer.queued = False
            if writer.orders:
                taken.append(writer)
        if not self._queued:
            self.bell.clear()
        return taken

    def settle(self) -> None:
        """A round is over: is there anything left?"""
        if not self._queued:
            self.empty.set()

    def drop(self, writer: RunWriter, orders: list[Order]) -> None:
        """These first orders of the writer are done with, as far as they still wait."""
        done = {id(order) for order in orders}
        while writer.orders and id(writer.orders[0]) in done:
            self._pop(writer)

    def take_out(self, writer: RunWriter, unwanted: Callable[[Order], bool]) -> list[Order]:
        """Take out what can no longer be said."""
        out = [order for order in writer.orders if unwanted(order)]
        writer.orders = deque(order for order in writer.orders if not unwanted(order))
        for order in out:
            self._uncount(writer, order)
        return out

    def _pop(self, writer: RunWriter) -> Order:
        order = writer.orders.popleft()
        self._uncount(writer, order)
        return order

    def _uncount(self, writer: RunWriter, order: Order) -> None:
        writer.cost -= order.cost
        self._cost -= order.cost

    def _make_room(self) -> None:
        while self._cost > self._bound * _LOW:
            longest = max(self._writers.values(), key=lambda writer: writer.cost)
            if not self._drop_oldest(longest, longest.cost - (self._cost - self._bound * _LOW)):
                return

    def _drop_oldest(self, writer: RunWriter, down_to: float) -> bool:
        """Give up events, but for the last, until no more than so many bytes wait. Other orders stay."""
        kept: list[Order] = []
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
