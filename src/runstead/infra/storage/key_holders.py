"""Record of the encryption keys that each running server and worker of a cluster has.

A command that is about to encrypt data with a key must not do so while a process runs that could not read it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, delete, select

from runstead.runtime.clock import Clock
from runstead.runtime.periodic import beside, repeat

from .database import Database
from .dialect import put_row
from .schema import key_holders

_log = logging.getLogger(__name__)

_EVERY: Final = 10.0
"""Seconds between two records of a running process."""
GONE_AFTER: Final = timedelta(seconds=60)
"""Time without a record after which a process is assumed to have ended."""
_FAREWELL: Final = 3.0
"""Seconds that an ending process may take to remove its record."""


@asynccontextmanager
async def announced_keys(database: Database, clock: Clock, key_ids: Collection[str]) -> AsyncIterator[None]:
    """Record that this process runs and has these keys, for the length of a block. Raises StorageError.

    The record is written before the block begins: so a process that reads the data's keys after that cannot miss a
    command that records its key before it reads the processes, and vice versa.
    """
    holder = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"

    def record(connection: Connection) -> None:
        row = {"holder_id": holder, "key_ids": " ".join(sorted(key_ids)), "seen_at": clock.now()}
        put_row(connection, key_holders, row)
        gone = key_holders.c.seen_at < clock.now() - 10 * GONE_AFTER
        connection.execute(delete(key_holders).where(gone)).close()

    def forget(connection: Connection) -> None:
        connection.execute(delete(key_holders).where(key_holders.c.holder_id == holder)).close()

    def failed() -> None:
        _log.warning("the keys of this process could not be recorded; trying again", exc_info=True)

    await database.write(record)
    recording = repeat(lambda: database.write(record), _EVERY, clock, failed=failed)
    try:
        async with beside(recording, "keys of this process"):
            yield
    finally:
        try:
            await asyncio.wait_for(database.write(forget), _FAREWELL)
        except Exception as error:
            _log.info("the record of this process's keys could not be removed and will expire: %s", error)


def processes_without(connection: Connection, clock: Clock, key_id: str) -> Sequence[str]:
    """Return the names of running processes that do not have a key."""
    alive = select(key_holders.c.holder_id, key_holders.c.key_ids).where(
        key_holders.c.seen_at >= clock.now() - GONE_AFTER
    )
    return sorted(holder for holder, key_ids in connection.execute(alive) if key_id not in key_ids.split())
