"""Keep alive the streams that this process owns or reads. Streams without renewal expire.

So a stream expires by lost ownership and never by silence: a run may publish nothing for any length of time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

from runstead.infra.engines.redis import RedisConnections
from runstead.runtime.clock import Clock
from runstead.runtime.stream_bridge.exceptions import StreamNotFound

from .scripts import script
from .stream_index import StreamIndex
from .tail_buffer import TailBuffer
from .tail_registry import TailRegistry
from .write_buffer import WriteBuffer, WriteCommand

_AT_ONCE: Final = 200
MISSING_TIMEOUT: Final = 60.0
"""Seconds for which a stream lost by Redis may be missing before its readers get StreamNotFound."""

_log = logging.getLogger(__name__)


class StreamKeepalive:
    """Renews every ``interval`` seconds, and when rung: after an outage, lost streams are restored at once."""

    def __init__(
        self,
        connections: RedisConnections,
        outbox: WriteBuffer,
        follower: TailRegistry,
        index: StreamIndex,
        clock: Clock,
        *,
        interval: float,
        words: Sequence[int],
    ) -> None:
        self._connections, self._outbox, self._follower = connections, outbox, follower
        self._index, self._clock = index, clock
        self._interval, self._words = interval, tuple(words)
        self._bell = asyncio.Event()

    def notify(self) -> None:
        self._bell.set()

    async def run(self) -> None:
        while True:
            await self._clock.wait(self._bell, self._interval)
            self._bell.clear()
            try:
                await self._renew_owned()
                await self._watch()
            except Exception as error:
                # The next renewal comes long before anything expires.
                _log.debug("streams were not renewed: %s", error)

    async def _renew_owned(self) -> None:
        owners = list(self._outbox.writers)
        for writer in owners:
            if not any(order.kind == "look" for order in writer.orders):
                self._outbox.put(writer, WriteCommand("look", writer.attempt))
        for start in range(0, len(owners), _AT_ONCE):
            await self._index.renew([writer.run_id for writer in owners[start : start + _AT_ONCE]])

    async def _watch(self) -> None:
        tails = [tail for tail in self._follower.tails if tail.gone is None]
        for tail in tails:
            self._follower.close_idle(tail)
        tails = [tail for tail in tails if tail.readers]
        for start in range(0, len(tails), _AT_ONCE):
            piece = tails[start : start + _AT_ONCE]
            answers = await asyncio.gather(
                *(
                    self._connections.run(script("watch"), (tail.keys.meta, tail.keys.log), self._words)
                    for tail in piece
                )
            )
            for tail, there in zip(piece, answers, strict=True):
                self._found(tail, bool(there))

    def _found(self, tail: TailBuffer, there: bool) -> None:
        now = self._clock.monotonic()
        if there:
            tail.missing_since = None
        elif tail.missing_since is None:
            tail.missing_since = now
        elif now - tail.missing_since >= MISSING_TIMEOUT:
            tail.shut(partial(StreamNotFound, tail.run_id))
