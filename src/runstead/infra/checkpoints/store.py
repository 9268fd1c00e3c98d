"""RunCheckpointStore over a Database: langgraph's saver, marks for rollbacks, and housekeeping.

What differs between engines is where the tables are, and who may write: see `sqlite` and `postgres`.
"""

from __future__ import annotations

from sqlalchemy import Connection

from runstead.infra.storage.database import Database
from runstead.runtime.runs.types import RunId, ThreadId

from . import housekeeping, marks
from .driver import Driver, driver_of
from .saver import SqlCheckpointSaver


class SqlCheckpoints:
    """RunCheckpointStore over a Database. The saver, and all methods, may be used from any event loop."""

    def __init__(self, database: Database, saver: SqlCheckpointSaver) -> None:
        self._database, self._saver = database, saver

    @property
    def saver(self) -> SqlCheckpointSaver:
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
        return await self._database.write(lambda connection: keep_latest(driver_of(connection), thread_id))


def keep_latest(driver: Driver, thread_id: ThreadId) -> bool:
    """Prune the thread, unless some run of it could still be undone; whether it was pruned."""
    if marks.is_marked(driver, thread_id):
        return False
    housekeeping.prune(driver, [thread_id], "keep_latest")
    return True
