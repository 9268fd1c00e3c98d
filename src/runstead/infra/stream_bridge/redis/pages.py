"""Pages of logs, read from Redis for readers that are not at the live end: new readers and slow ones."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from runstead.infra.encryption.cipher import CannotDecrypt, Cipher
from runstead.infra.engines.redis import RedisConnections
from runstead.resources.storage_errors import StorageError
from runstead.runtime.backoff import retry

from .flusher import PAUSES
from .keys import RunKeys
from .scripts import Page, script

PAGE_EVENTS: Final = 512
PAGE_BYTES: Final = 256 * 1024
"""Maximum size of one page; each reader that is behind holds its own copy of one."""
_AT_ONCE: Final = 16
"""Maximum number of concurrent page reads: many returning readers must not take all connections."""

_log = logging.getLogger(__name__)


class Pages:
    """Reads pages of logs."""

    def __init__(self, connections: RedisConnections, cipher: Cipher | None = None) -> None:
        self._connections, self._cipher = connections, cipher
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def read(self, keys: RunKeys, after: str) -> Page:
        """Return the page after this id; see ``page.lua`` for special values. Raises StorageError."""
        async with self._turns:
            answer = await self._connections.run(
                script("page"), (keys.meta, keys.log), (after, PAGE_EVENTS, PAGE_BYTES)
            )
        try:
            return Page.of(answer, self._cipher)
        except CannotDecrypt as error:
            # As if Redis had lost the stream: readers then use the run's record.
            _log.error("the stream %s cannot be decrypted and is closed: %s", keys.log, error)
            return Page.of([0, *answer[1:10]])

    async def read_patiently(self, keys: RunKeys, after: str) -> Page:
        """Read a page, with retries for as long as Redis is unavailable."""

        def failed(error: Exception) -> None:
            if isinstance(error, StorageError):
                _log.debug("a page could not be read: %s", error)
            else:
                _log.exception("a page could not be read; trying again")

        return await retry(lambda: self.read(keys, after), PAUSES[1:], asyncio.sleep, failed)
