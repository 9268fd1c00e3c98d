"""Checkpoints in a separate SQLite file: they are many and large, and would delay the commits of runs.

A killed process loses nothing. A power cut may lose the latest steps of runs in flight, so that each thread is left in
a state that it has been in before; `sync` is called before a run is settled and makes all earlier writes durable.
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
    """Open the checkpoint file, and create it if it is missing. Raises StorageError with the remedy."""
    async with open_sqlite(path) as database:
        await database.write(set_up)
        saver = SqlCheckpointSaver(database, serde=serde, near=True, durable=False, field_cipher=field_cipher)
        # No other process writes to the file, so the holder's own check is sufficient.
        yield SqliteCheckpoints(database, saver)


class SqliteCheckpoints(SqlCheckpoints):
    """RunCheckpointStore over a file of its own, whose writes wait for the disk only in `sync`."""

    _durable = False

    def __init__(self, database: SqliteDatabase, saver: SqlCheckpointSaver) -> None:
        super().__init__(database, saver)
        self.database = database

    async def sync(self) -> None:
        # A commit that changes a row brings all earlier commits to disk.
        await self._database.write(lambda connection: driver_of(connection).execute(_SYNC))
