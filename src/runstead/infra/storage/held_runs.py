"""Runs that workers hold, of all users, for operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, select

from runstead.resources.run_waits import HeldRun
from runstead.runtime.actor_context import across_tenants

from .database import Database
from .schema import runs

_HELD: Final = (
    select(runs.c.run_id, runs.c.thread_id, runs.c.worker, runs.c.attempt, runs.c.lease_until)
    .where(runs.c.lease_until.is_not(None))
    .order_by(runs.c.lease_until)
)


class SqlHeldRuns:
    """Reader of held runs. Unscoped: the caller has checked that an operator asks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, most: int) -> Sequence[HeldRun]:
        """Return held runs, those whose lease ends first before the others."""

        def work(connection: Connection) -> Sequence[HeldRun]:
            rows = connection.execute(_HELD.limit(most))
            return [HeldRun(run_id, thread, worker, attempt, until) for run_id, thread, worker, attempt, until in rows]

        with across_tenants():
            return await self._database.read(work, slow=True)
