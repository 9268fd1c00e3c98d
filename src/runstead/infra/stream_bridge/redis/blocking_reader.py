"""One blocked connection that waits at the ends of some hundred streams, for all their readers in this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from redis.exceptions import ResponseError

from runstead.infra.encryption.cipher import CannotDecrypt, Cipher
from runstead.infra.engines.redis import Command, RedisConnections, RedisLine
from runstead.infra.engines.redis_errors import RedisUnavailable
from runstead.resources.storage_errors import StorageError
from runstead.runtime.backoff import Backoff
from runstead.runtime.stream_bridge.exceptions import StreamNotFound

from .flusher import PAUSES
from .scripts import event_of
from .tail_buffer import TailBuffer

BLOCK: Final = 5.0
"""Seconds that one command waits. A new event or a newly added stream ends the wait earlier."""
_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""Approximate maximum size of one reply, also if all streams have many events."""
_MOST_EACH: Final = 512
_AGAIN: Final = 0.005
"""Seconds until UNBLOCK is repeated for a connection that was not blocked yet."""

_log = logging.getLogger(__name__)


class BlockingReader:
    """Reads events for its tails until cancelled."""

    def __init__(self, connections: RedisConnections, cipher: Cipher | None = None) -> None:
        self._connections, self._cipher = connections, cipher
        self._tails: dict[str, TailBuffer] = {}
        self._changed = asyncio.Event()
        self._wanted = self._served = 0
        """Version numbers of the latest set of tails, and of the set in the waiting command."""
        self._client_id: int | None = None
        self._typical = 300.0
        """Recent average size of an event in bytes."""
        self._poking: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._tails)

    def add(self, tail: TailBuffer) -> None:
        """Read this tail too, from now on."""
        self._tails[tail.keys.log] = tail
        self._wanted += 1
        self._changed.set()
        if self._client_id is not None and (self._poking is None or self._poking.done()):
            self._poking = asyncio.create_task(self._poke(), name="stream-shard-poke")

    def remove(self, tail: TailBuffer) -> None:
        if self._tails.get(tail.keys.log) is tail:
            del self._tails[tail.keys.log]

    async def run(self) -> None:
        line: RedisLine | None = None
        backoff = Backoff(PAUSES)
        try:
            while True:
                self._changed.clear()
                if not self._tails:
                    await self._changed.wait()
                    continue
                try:
                    line = line or await self._connected()
                    await self._serve(line)
                    backoff.reset()
                except Exception as error:
                    if not isinstance(error, StorageError):
                        _log.exception("streams could not be read from Redis; trying again")
                    await self._hang_up(line)
                    line = None
                    await asyncio.sleep(next(backoff))
        finally:
            if self._poking is not None:
                self._poking.cancel()
            await self._hang_up(line)

    async def _connected(self) -> RedisLine:
        line = await self._connections.line(blocking=BLOCK)
        [client_id] = await line.ask([("CLIENT", "ID")])
        self._client_id = client_id if isinstance(client_id, int) else None
        return line

    async def _hang_up(self, line: RedisLine | None) -> None:
        self._client_id = None
        if line is not None:
            await line.close()

    async def _serve(self, line: RedisLine) -> None:
        """Wait once for new events."""
        asked = dict(self._tails)
        tails = list(asked.values())
        each = max(1, min(_MOST_EACH, int(_ANSWER_BYTES / (self._typical * len(tails)))))
        command: Command = ("XREAD", "COUNT", each, "BLOCK", int(BLOCK * 1000), "STREAMS")
        command += (*(tail.keys.log for tail in tails), *(tail.cursor for tail in tails))
        self._served = self._wanted
        [answer] = await line.ask([command])
        if isinstance(answer, ResponseError):
            raise RedisUnavailable(self._connections.place, str(answer))
        self._deliver(asked, answer or ())

    def _deliver(self, asked: Mapping[str, TailBuffer], answer: Sequence[Any]) -> None:
        size = count = 0
        for key, entries in answer:
            # The tail that was requested: a new tail of the same name may have replaced it, with another start.
            tail = asked[key.decode()]
            for event_id, fields in entries:
                count += 1
                size += sum(map(len, fields))
                if fields[0] == b"x" or not self._take(tail, event_id, fields):
                    tail.shut(partial(StreamNotFound, tail.run_id))
                    self.remove(tail)
            tail.wake()
        if count:
            self._typical += (max(size / count, 1.0) - self._typical) / 4

    def _take(self, tail: TailBuffer, event_id: bytes, fields: Sequence[bytes]) -> bool:
        """Add an event to its tail; return False if it cannot be decrypted, which must not block the other tails."""
        kind = fields[5] if len(fields) > 5 else b""
        try:
            tail.add(event_of(event_id, fields[1], fields[3], kind, self._cipher))
        except CannotDecrypt as error:
            _log.error("the stream of run %s cannot be decrypted and is closed: %s", tail.run_id, error)
            return False
        return True

    async def _poke(self) -> None:
        """Unblock until the waiting command includes the latest tail.

        A command that is still being sent cannot be unblocked.
        """
        while self._served < self._wanted and self._client_id is not None:
            try:
                await self._connections.ask("CLIENT", "UNBLOCK", self._client_id)
            except Exception as error:
                _log.debug("a reader could not be woken: %s", error)
            await asyncio.sleep(_AGAIN)
