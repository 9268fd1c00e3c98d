"""Checkpoints in a SQLite file of their own: they are many and large, and would hold up the runs' commits.

A killed process loses nothing. A power cut may lose the steps of runs in flight, from the end backwards, so that what
is left is a state the thread has been in; `sync` is called before a run is settled, and what was written before it
stays.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from langgraph.checkpoint.serde.base import SerializerProtocol

from runstead.infra.engines.sqlite import SqliteDatabase, open_sqlite
from runstead.runtime.field_encryption import FieldCipher

from .driver import driver_of
from .saver import SqlCheckpointSaver
from .schema import set_up
from .store import SqlCheckpoints

_SYNC: Final = "UPDATE syncs SET number = number + 1"


@asynccontextmanager
async def open_checkpoints(
    path: Path, *, serde: SerializerProtocol | None = None, field_cipher: FieldCipher | None = None
) -> AsyncIterator[SqliteCheckpoints]:
    """Open the checkpoint file, made when absent. Raises StorageError, saying what to do."""
    async with open_sqlite(path) as database:
        await database.write(lambda connection: set_up(driver_of(connection)))
        saver = SqlCheckpointSaver(database, serde=serde, near=True, durable=False, field_cipher=field_cipher)
        # No other process writes to it, so nobody else's word counts but the holder's own check.
        yield SqliteCheckpoints(database, saver)


class SqliteCheckpoints(SqlCheckpoints):
    """RunCheckpointStore over a file of its own, whose writes wait for the disk in `sync` alone."""

    _durable = False

    def __init__(self, database: SqliteDatabase, saver: SqlCheckpointSaver) -> None:
        super().__init__(database, saver)
        self.database = database

    async def sync(self) -> None:
        # A commit that changes something brings all that was committed before it to disk.
        await self._database.write(lambda connection: driver_of(connection).execute(_SYNC))
