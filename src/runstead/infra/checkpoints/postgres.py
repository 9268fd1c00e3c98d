"""Checkpoints in PostgreSQL, beside the runs: whoever writes for a run that is no longer theirs is refused there.

The row of the run is locked, in common with other writers of the same attempt, until the write is committed. Who
claims, frees, settles or undoes the run changes that row or locks it for itself, and so comes before such a write,
which is then refused, or after it, and then sees it.
"""

from __future__ import annotations

from typing import Final

from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy import Connection, bindparam, select

from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.holders import hold_on
from runstead.infra.storage.prepared import Prepared
from runstead.infra.storage.tables import runs
from runstead.runtime.field_encryption import FieldCipher
from runstead.runtime.runs.types import RunId, ThreadId

from . import marks
from .driver import Driver, driver_of
from .saver import SqlCheckpointSaver
from .store import SqlCheckpoints, keep_latest

_RUN: Final = Prepared(select(runs.c.attempt).where(runs.c.run_id == bindparam("the_run")).with_for_update())


class PostgresCheckpoints(SqlCheckpoints):
    """RunCheckpointStore over PostgreSQL, with the tables that the migrations of the storage made."""

    def __init__(
        self,
        database: PostgresDatabase,
        *,
        serde: SerializerProtocol | None = None,
        field_cipher: FieldCipher | None = None,
    ) -> None:
        super().__init__(database, SqlCheckpointSaver(database, serde=serde, hold=hold_on, field_cipher=field_cipher))

    async def mark(self, thread_id: ThreadId, run_id: RunId) -> str | None:
        def work(connection: Connection) -> str | None:
            driver = driver_of(connection)
            _line_up(driver, thread_id)
            return marks.mark(driver, thread_id, run_id)

        return await self._database.write(work)

    async def keep_latest(self, thread_id: ThreadId) -> bool:
        def work(connection: Connection) -> bool:
            driver = driver_of(connection)
            _line_up(driver, thread_id)
            return keep_latest(driver, thread_id)

        return await self._database.write(work)

    async def undo(self, thread_id: ThreadId, run_id: RunId) -> None:
        def work(connection: Connection) -> None:
            # What its agent is writing at this moment is there before, or is refused after.
            _RUN.first(connection, {"the_run": run_id})
            marks.undo(driver_of(connection), thread_id, run_id)

        await self._database.write(work)


def _line_up(driver: Driver, thread_id: ThreadId) -> None:
    """A run begins on the thread before its history is pruned, and keeps it, or after it, and sees what is left.

    Each statement sees what is committed by then, so that one who looks and then deletes has to have the others wait.
    """
    # Two threads may come to the same number: then one waits for the other for a moment.
    driver.execute("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (f"marks {thread_id}",))
