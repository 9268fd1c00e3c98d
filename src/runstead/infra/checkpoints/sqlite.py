"""RunCheckpointStore on a SQLite file of its own: checkpoints are many and large, and would hold up the runs' commits.

A killed process loses nothing; a power cut may lose the last moments before it (synchronous=NORMAL), from the end
backwards, so that what is left is a state the thread has been in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy import Connection

from runstead.infra.engines.sqlite import SqliteDatabase, open_sqlite
from runstead.runtime.runs.types import RunId, ThreadId

from . import housekeeping, marks
from .saver import SqliteCheckpointSaver, driver_of
from .schema import set_up


class SqliteCheckpoints:
    """RunCheckpointStore over SQLite. The saver, and all methods, may be used from any event loop."""

    def __init__(self, database: SqliteDatabase, *, serde: SerializerProtocol | None = None) -> None:
        self._database = database
        self._saver = SqliteCheckpointSaver(database, serde=serde)

    @property
    def saver(self) -> SqliteCheckpointSaver:
        return self._saver

    async def mark(self, thread_id: ThreadId, run_id: RunId) -> str | None:
        def work(connection: Connection) -> str | None:
            return marks.mark(driver_of(connection), thread_id, run_id)

        return await self._database.write(work)

    async def undo(self, thread_id: ThreadId, run_id: RunId) -> None:
        await self._database.write(lambda connection: marks.undo(driver_of(connection), thread_id, run_id))

    async def forget_mark(self, thread_id: ThreadId, run_id: RunId) -> None:
        await self._database.write(lambda connection: marks.forget(driver_of(connection), thread_id, run_id))

    async def delete_thread(self, thread_id: ThreadId) -> None:
        await self._database.write(lambda connection: housekeeping.delete_thread(driver_of(connection), thread_id))

    async def copy_thread(self, source: ThreadId, target: ThreadId) -> None:
        await self._database.write(lambda connection: housekeeping.copy_thread(driver_of(connection), source, target))

    async def keep_latest(self, thread_id: ThreadId) -> bool:
        def work(connection: Connection) -> bool:
            driver = driver_of(connection)
            if marks.is_marked(driver, thread_id):
                return False
            housekeeping.prune(driver, [thread_id], "keep_latest")
            return True

        return await self._database.write(work)


@asynccontextmanager
async def open_checkpoints(path: Path, *, serde: SerializerProtocol | None = None) -> AsyncIterator[SqliteCheckpoints]:
    """Open the checkpoint file, made when absent. Raises StorageError, saying what to do."""
    async with open_sqlite(path, synchronous="NORMAL") as database:
        await database.write(lambda connection: set_up(driver_of(connection)))
        yield SqliteCheckpoints(database, serde=serde)
