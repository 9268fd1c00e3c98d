"""Deletion of runs."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, delete, select

from runstead.runtime.actor_context import require_actor_context
from runstead.runtime.clock import Clock
from runstead.runtime.runs.exceptions import ThreadBusy
from runstead.runtime.runs.types import RunId

from .access_predicates import is_storable, reached_by
from .announcing import Announce, the_rows_are_the_queue
from .database import Database
from .dialect import lock_thread
from .schema import runs, threads
from .thread_status import rest


class SqlRunDeleteStore:
    """RunDeleteStore over a Database. ``on_waiting`` is called if a deletion may have made another run claimable."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        on_waiting: Callable[[], None],
        announce: Announce = the_rows_are_the_queue,
    ) -> None:
        self._database = database
        self._clock = clock
        self._on_waiting = on_waiting
        self._announce = announce

    async def delete_run(self, run_id: RunId) -> bool:
        actor = require_actor_context("deleting a run")
        if not is_storable(run_id):
            return False
        wanted = select(runs.c.thread_id, runs.c.lease_until).where(runs.c.run_id == run_id, reached_by(runs, actor))

        def work(connection: Connection) -> bool:
            found = connection.execute(wanted).first()
            if found is None:
                return False
            lock_thread(connection, threads, found.thread_id)
            row = connection.execute(wanted.with_for_update()).first()
            if row is None:
                return False
            if row.lease_until is not None:
                raise ThreadBusy([run_id])
            connection.execute(delete(runs).where(runs.c.run_id == run_id))
            rest(connection, row.thread_id, self._clock.now())
            self._announce(connection, row.thread_id)
            return True

        return await self._database.write(work, committed=lambda deleted: self._on_waiting() if deleted else None)
