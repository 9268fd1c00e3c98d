"""Checkpoints in a SQLite file of their own: they are many and large, and would hold up the runs' commits.

A killed process loses nothing; a power cut may lose the last moments before it (synchronous=NORMAL), from the end
backwards, so that what is left is a state the thread has been in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from langgraph.checkpoint.serde.base import SerializerProtocol

from runstead.infra.engines.sqlite import open_sqlite

from .driver import driver_of
from .saver import SqlCheckpointSaver
from .schema import set_up
from .store import SqlCheckpoints


@asynccontextmanager
async def open_checkpoints(path: Path, *, serde: SerializerProtocol | None = None) -> AsyncIterator[SqlCheckpoints]:
    """Open the checkpoint file, made when absent. Raises StorageError, saying what to do."""
    async with open_sqlite(path, synchronous="NORMAL") as database:
        await database.write(lambda connection: set_up(driver_of(connection)))
        # No other process writes to it, so nobody else's word counts but the holder's own check.
        yield SqlCheckpoints(database, SqlCheckpointSaver(database, serde=serde, near=True))
