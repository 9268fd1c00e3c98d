"""Registry of the live tails that this process reads, and of the shards that read them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runstead.infra.encryption.cipher import Cipher
from runstead.infra.engines.cancellation import cancel_and_wait
from runstead.infra.engines.redis import RedisConnections
from runstead.runtime.clock import SystemClock
from runstead.runtime.periodic import keep_running
from runstead.runtime.stream_bridge.exceptions import StreamBridgeError

from .blocking_reader import BlockingReader
from .keys import RunKeys
from .tail_buffer import TailBudget, TailBuffer, TailReader


@dataclass(slots=True)
class _Place:
    tail: TailBuffer
    shard: BlockingReader
    group: int


class TailRegistry:
    """The tails of this process.

    ``streams_per_shard`` is the maximum number of streams that one command waits for; ``bound`` is in bytes.
    """

    def __init__(
        self, connections: RedisConnections, *, streams_per_shard: int, bound: int, cipher: Cipher | None = None
    ) -> None:
        self._connections, self._per_shard, self._cipher = connections, streams_per_shard, cipher
        self._budget = TailBudget(bound)
        self._places: dict[str, _Place] = {}
        self._shards: dict[int, list[tuple[BlockingReader, asyncio.Task[None]]]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed: Callable[[], StreamBridgeError] | None = None

    def __len__(self) -> int:
        return len(self._places)

    @property
    def shards(self) -> int:
        return sum(map(len, self._shards.values()))

    @property
    def bytes_held(self) -> int:
        return self._budget.held

    @property
    def tails(self) -> Iterator[TailBuffer]:
        return (place.tail for place in list(self._places.values()))

    def follow(self, run_id: str, keys: RunKeys, reader: TailReader, attempt: int, seq: int) -> TailBuffer:
        """Return the tail of a run; a new one begins after the event with ``attempt`` and ``seq``."""
        place = self._places.get(run_id)
        if place is not None and place.tail.gone is not None:
            # The tail of a deleted stream. There may be a new stream by now.
            self._drop(run_id)
            place = None
        if place is None:
            tail = TailBuffer(run_id, keys, attempt, seq, self._budget)
            if self._closed is not None:
                tail.shut(self._closed)
                return tail
            # In a cluster, one command may only read streams of one slot.
            group = keys.group if self._connections.is_cluster else 0
            place = self._places[run_id] = _Place(tail, self._shard(group), group)
            place.shard.add(tail)
        place.tail.readers.add(reader)
        return place.tail

    def leave(self, tail: TailBuffer, reader: TailReader) -> None:
        tail.readers.discard(reader)
        if not tail.readers:
            self.close_idle(tail)

    def close_idle(self, tail: TailBuffer) -> None:
        """Stop reading a tail without readers."""
        place = self._places.get(tail.run_id)
        if place is not None and place.tail is tail and not tail.readers:
            self._drop(tail.run_id)

    async def close(self, gone: Callable[[], StreamBridgeError]) -> None:
        """Close all tails and wake every reader with the error that ``gone`` creates."""
        self._closed = gone
        for place in self._places.values():
            place.tail.shut(gone)
        await cancel_and_wait(task for shards in self._shards.values() for _, task in shards)
        await asyncio.gather(*self._leaving)

    def _shard(self, group: int) -> BlockingReader:
        shards = self._shards.setdefault(group, [])
        for shard, _ in shards:
            if len(shard) < self._per_shard:
                return shard
        shard = BlockingReader(self._connections, self._cipher)
        shards.append(
            (
                shard,
                asyncio.create_task(
                    keep_running(shard.run, "reading streams", SystemClock()),
                    name=f"stream-shard-{group}-{len(shards)}",
                ),
            )
        )
        return shard

    def _drop(self, run_id: str) -> None:
        place = self._places.pop(run_id)
        place.shard.remove(place.tail)
        place.tail.close()
        shards = self._shards[place.group]
        if not len(place.shard) and len(shards) > 1:
            # The first shard of a group stays, so that readers that come and go do not reconnect each time.
            for entry in shards[1:]:
                if entry[0] is place.shard:
                    shards.remove(entry)
                    leaving = asyncio.create_task(cancel_and_wait([entry[1]]), name="stream-shard-leaves")
                    self._leaving.add(leaving)
                    leaving.add_done_callback(self._leaving.discard)
