"""Runs are forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select

from runstead.runtime.actor_context import require_actor_context
from runstead.runtime.clock import Clock
from runstead.runtime.runs.exceptions import ThreadBusy
from runstead.runtime.runs.types import RunId

from .announcing import Announce, the_rows_are_the_queue
from .database import Database
from .dialect import lock_thread
from .scope import is_storable
from .tables import runs, threads
from .thread_status import rest

_RUN: Final = select(runs.c.thread_id, runs.c.lease_until).where(
    runs.c.run_id == bindparam("the_run"),
    runs.c.tenant_id == bindparam("the_tenant"),
    runs.c.user_id == bindparam("the_user"),
)


class SqlRunDeleteStore:
    """RunDeleteStore over a Database. ``on_waiting`` is rung when a deletion may have let another run come up."""

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
        wanted = {"the_run": run_id, "the_tenant": actor.tenant_id, "the_user": actor.user_id}

        def work(connection: Connection) -> bool:
            found = connection.execute(_RUN, wanted).first()
            if found is None:
                return False
            lock_thread(connection, threads, found.thread_id)
            row = connection.execute(_RUN.with_for_update(), wanted).first()
            if row is None:
                return False
            if row.lease_until is not None:
                raise ThreadBusy([run_id])
            connection.execute(delete(runs).where(runs.c.run_id == run_id))
            rest(connection, row.thread_id, self._clock.now())
            self._announce(connection, row.thread_id)
            return True

        return await self._database.write(work, committed=lambda deleted: self._on_waiting() if deleted else None)
