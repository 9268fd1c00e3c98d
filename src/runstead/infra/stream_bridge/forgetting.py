"""How streams in Redis are forgotten: now, after a while, or to make room for another."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from runstead.infra.engines.redis import RedisConnections
from runstead.runtime.clock import Clock

from .alarms import Alarms
from .index import StreamIndex
from .keys import KeySpace
from .outbox import Outbox
from .scripts import script

LINGER: Final = 60
"""Seconds for which those in the middle of a log can read on after it was forgotten, or its time has passed."""
_REMEMBERED: Final = 600
"""Seconds for which it is remembered that a stream was forgotten, so that a late event does not bring it back."""


class Forgetting:
    """``later`` runs what has to be done at a later time, and takes care of what goes wrong with it."""

    def __init__(
        self,
        connections: RedisConnections,
        keys: KeySpace,
        index: StreamIndex,
        outbox: Outbox,
        alarms: Alarms,
        clock: Clock,
        later: Callable[[Coroutine[Any, Any, object]], None],
    ) -> None:
        self._connections, self._keys, self._index, self._outbox = connections, keys, index, outbox
        self._alarms, self._clock, self._later = alarms, clock, later
        self._orders: dict[str, object] = {}

    async def make_room(self, run_id: str) -> None:
        """For a run whose stream may be there already. Raises CapacityExceeded, and StorageError."""
        leaver = await self._index.enter(run_id)
        if leaver is not None:
            await self._forget(leaver, 0, "")

    async def forget(self, run_id: str, delay: float) -> bool:
        """After ``delay`` seconds. Raises StorageError."""
        self._orders.pop(run_id, None)
        word, attempt = await self._forget(run_id, delay, "")
        if word == b"later":
            # A stream that goes on may be another attempt's by then: it is looked at again, and not timed by Redis.
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
