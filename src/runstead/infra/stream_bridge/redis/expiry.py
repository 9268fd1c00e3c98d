"""Deletion of streams in Redis: now, after a delay, or to free capacity for another one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Final

from runstead.infra.engines.redis import RedisConnections
from runstead.runtime.clock import Clock

from ..timers import DeadlineScheduler
from .keys import KeySpace
from .scripts import script
from .stream_index import StreamIndex
from .write_buffer import WriteBuffer

LINGER: Final = 60
"""Seconds for which active readers can continue to read a log after it was deleted or has expired."""
_REMEMBERED: Final = 600
"""Seconds for which the deletion of a stream is remembered, so that a late event does not create it again."""


class StreamExpiry:
    """Deletes streams. ``later`` runs a coroutine in the background and handles its errors."""

    def __init__(
        self,
        connections: RedisConnections,
        keys: KeySpace,
        index: StreamIndex,
        outbox: WriteBuffer,
        alarms: DeadlineScheduler,
        clock: Clock,
        later: Callable[[Coroutine[object, object, object]], None],
    ) -> None:
        self._connections, self._keys, self._index, self._outbox = connections, keys, index, outbox
        self._alarms, self._clock, self._later = alarms, clock, later
        self._orders: dict[str, object] = {}

    async def make_room(self, run_id: str) -> None:
        """Free capacity for a run, whose stream may already exist. Raises CapacityExceeded, and StorageError."""
        leaver = await self._index.enter(run_id)
        if leaver is not None:
            await self._forget(leaver, 0, "")

    async def forget(self, run_id: str, delay: float) -> bool:
        """Delete a stream after ``delay`` seconds. Raises StorageError."""
        self._orders.pop(run_id, None)
        word, attempt = await self._forget(run_id, delay, "")
        if word == b"later":
            # An open stream may belong to a later attempt by then: check again instead of setting a TTL in Redis.
            order = self._orders[run_id] = object()
            self._alarms.call_at(self._clock.monotonic() + delay, partial(self._due, run_id, str(attempt), order))
        return True

    async def _forget(self, run_id: str, delay: float, meant: str) -> tuple[bytes, int]:
        keys = self._keys.of(run_id)
        words = (round(delay * 1000), meant, LINGER * 1000, _REMEMBERED * 1000)
        word, attempt = await self._connections.run(script("forget"), (keys.meta, keys.log), words)
        if word == b"done" and delay <= 0:
            if (writer := self._outbox.find(run_id)) is not None:
                self._outbox.forget(writer)
            await self._index.leave(run_id)
        return word, attempt

    def _due(self, run_id: str, attempt: str, order: object) -> None:
        if self._orders.get(run_id) is order:
            del self._orders[run_id]
            self._later(self._forget(run_id, 0, attempt))
