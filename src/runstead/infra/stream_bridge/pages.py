"""Pieces of logs, read from Redis for those who are not at the end: new readers, and slow ones."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from runstead.infra.encryption.cipher import CannotDecrypt, Cipher
from runstead.infra.engines.exceptions import StorageError
from runstead.infra.engines.redis import RedisConnections

from .flusher import PAUSES
from .keys import RunKeys
from .scripts import Page, script

PAGE_EVENTS: Final = 512
PAGE_BYTES: Final = 256 * 1024
"""Of one page, of which each reader who is behind holds a copy of its own."""
_AT_ONCE: Final = 16
"""Pages that are read at the same time: many who come back together must not take all connections."""

_log = logging.getLogger(__name__)


class Pages:
    """Reads pages."""

    def __init__(self, connections: RedisConnections, cipher: Cipher | None = None) -> None:
        self._connections, self._cipher = connections, cipher
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def read(self, keys: RunKeys, after: str) -> Page:
        """The page after this id; see ``page.lua`` for its special values. Raises StorageError."""
        async with self._turns:
            answer = await self._connections.run(
                script("page"), (keys.meta, keys.log), (after, PAGE_EVENTS, PAGE_BYTES)
            )
        try:
            return Page.of(answer, self._cipher)
        except CannotDecrypt as error:
            # As if Redis had lost it: the run's record answers.
            _log.error("the stream %s is given up: %s", keys.log, error)
            return Page.of([0, *answer[1:10]])

    async def read_patiently(self, keys: RunKeys, after: str) -> Page:
        """The same, over any outage."""
        failures = 0
        while True:
            try:
                return await self.read(keys, after)
            except StorageError as error:
                _log.debug("a page could not be read: %s", error)
            except Exception:
                _log.exception("a page could not be read; trying again")
            failures += 1
            await asyncio.sleep(max(PAUSES[min(failures, len(PAUSES) - 1)], 0.05))
