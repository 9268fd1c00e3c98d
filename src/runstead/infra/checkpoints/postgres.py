"""Checkpoints in PostgreSQL, beside the runs. Writes of an attempt that has lost its run are refused in SQL.

Each write takes a shared lock on the run's row, together with other writers of the same attempt, until it is
committed. Claiming, releasing, settling or undoing the run changes that row or locks it exclusively. So such an
operation comes either before the write, which is then refused, or after it, and then sees it.
"""

from __future__ import annotations

from typing import Final

from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy import Connection, bindparam, select

from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.storage.prepared import Prepared
from runstead.infra.storage.run_predicates import lock_attempt
from runstead.infra.storage.schema import runs
from runstead.runtime.field_encryption import FieldCipher
from runstead.runtime.runs.types import RunId, ThreadId

from . import postgres_writes, rollback
from .driver import Driver, driver_of
from .postgres_writes import WritesUnderWay
from .saver import SqlCheckpointSaver
from .store import SqlCheckpoints, keep_latest

_RUN: Final = Prepared(select(runs.c.attempt).where(runs.c.run_id == bindparam("the_run")).with_for_update())


class PostgresCheckpoints(SqlCheckpoints):
    """RunCheckpointStore over PostgreSQL, on the tables that the storage's migrations create."""

    def __init__(
        self,
        database: PostgresDatabase,
        *,
        serde: SerializerProtocol | None = None,
        field_cipher: FieldCipher | None = None,
    ) -> None:
        self._under_way = under_way = WritesUnderWay()
        self._place = database.place
        super().__init__(
            database,
            SqlCheckpointSaver(
                database, serde=serde, hold=lock_attempt, under_way=under_way, field_cipher=field_cipher
            ),
        )

    async def mark(self, thread_id: ThreadId, run_id: RunId) -> str | None:
        def work(connection: Connection) -> str | None:
            return postgres_writes.mark(driver_of(connection), thread_id, run_id, _line(thread_id))

        return await self._database.write(work, single=True)

    async def forget_mark(self, thread_id: ThreadId, run_id: RunId) -> None:
        def work(connection: Connection) -> None:
            postgres_writes.discard(driver_of(connection), thread_id, run_id)

        await self._database.write(work, single=True)

    async def keep_latest(self, thread_id: ThreadId) -> bool:
        def work(connection: Connection) -> bool:
            driver = driver_of(connection)
            _line_up(driver, thread_id)
            return keep_latest(driver, thread_id)

        return await self._database.write(work)

    async def undo(self, thread_id: ThreadId, run_id: RunId) -> None:
        def work(connection: Connection) -> None:
            # A write that the agent is making at this moment is either committed before, or refused after: in other
            # processes by the row, and in this one by its check.
            self._under_way.wait(run_id, self._place)
            _RUN.first(connection, {"the_run": run_id})
            rollback.undo(driver_of(connection), thread_id, run_id)

        await self._database.write(work)


def _line_up(driver: Driver, thread_id: ThreadId) -> None:
    """Serialize pruning a thread's history with the start of a run: the run begins before and keeps it, or after.

    Each statement sees only what is committed by then, so an operation that reads and then deletes needs a lock.
    """
    driver.execute("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (_line(thread_id),))


def _line(thread_id: ThreadId) -> str:
    """Return the name of the thread's lock.

    Two threads may have the same hash: then one waits briefly for the other.
    """
    return f"marks {thread_id}"
