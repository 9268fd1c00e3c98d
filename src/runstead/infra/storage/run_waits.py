"""Reasons of waiting runs in SQL, read in one snapshot."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, and_, func, or_, select

from runstead.resources.run_waits import HeldRun, RunWait
from runstead.runtime.actor_context import ActorContext, across_tenants, require_actor_context
from runstead.runtime.clock import Clock
from runstead.runtime.runs.types import RunId

from .access_predicates import access_predicate, is_storable
from .database import Database
from .run_predicates import NOW
from .schema import runs

_MOST: Final = 20
"""Held runs that are named."""
_HELD: Final = (runs.c.run_id, runs.c.thread_id, runs.c.worker, runs.c.attempt, runs.c.lease_until)
_PLACE: Final = (runs.c.queue_seq, runs.c.due_at, runs.c.started_at)


class SqlRunWaitReader:
    """RunWaitReader over a Database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def read(self, run_id: RunId) -> RunWait | None:
        actor = require_actor_context("reading what a run waits for")
        if not is_storable(run_id):
            return None
        # Slots are of all tenants. Of other users' runs only the number is read.
        with across_tenants():
            return await self._database.read(lambda connection: self._read(connection, run_id, actor))

    def _read(self, connection: Connection, run_id: RunId, actor: ActorContext) -> RunWait | None:
        own = access_predicate(runs, actor)
        found = connection.execute(
            select(*_HELD, *_PLACE).where(runs.c.run_id == run_id, runs.c.ended_at.is_(None), own)
        ).first()
        if found is None:
            return None
        now = self._clock.now()
        if found.lease_until is not None:
            return RunWait(now, found.due_at, own_lease=_held_run(found))
        before = connection.execute(_before(found), {"now": now}).first()
        held = runs.c.lease_until.is_not(None)
        mine = select(*_HELD).where(held, own).order_by(runs.c.lease_until).limit(_MOST)
        return RunWait(
            now,
            found.due_at,
            before=None if before is None else RunId(before.run_id),
            held=None if before is None or before.lease_until is None else _held_run(before),
            held_runs=connection.execute(select(func.count()).select_from(runs).where(held)).scalar_one(),
            own_held=[_held_run(row) for row in connection.execute(mine)],
        )


def _before(found: Any) -> Any:
    """Return the query for the run of the same thread that a run waits for, as in `IS_HEAD`: the held one first."""
    earlier = and_(runs.c.queue_seq < found.queue_seq, runs.c.due_at <= NOW)
    precedes = and_(earlier, runs.c.started_at.is_not(None))
    if found.started_at is None:
        precedes = or_(earlier, runs.c.started_at.is_not(None))
    return (
        select(*_HELD)
        .where(
            runs.c.thread_id == found.thread_id,
            runs.c.run_id != found.run_id,
            runs.c.ended_at.is_(None),
            or_(runs.c.lease_until.is_not(None), precedes),
        )
        .order_by(runs.c.lease_until.is_(None), runs.c.started_at.is_(None), runs.c.queue_seq)
        .limit(1)
    )


def _held_run(row: Any) -> HeldRun:
    return HeldRun(row.run_id, row.thread_id, row.worker, row.attempt, row.lease_until)
