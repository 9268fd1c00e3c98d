"""What is kept for a while only: rows of stateless runs that have ended, and what their threads left behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import BindParameter, Connection, bindparam, delete, func, select

from runstead.runtime.clock import Clock
from runstead.runtime.runs.types import RunId, ThreadId

from .database import Database
from .tables import idempotency_keys, run_event_threads, run_events, runs, threads, webhook_deliveries
from .thread_status import forget_temporary
from .webhook_deliveries import forget_deliveries

BATCH: Final = 500
"""Rows per transaction: nobody waits long for a sweep."""

_LIMIT: Final[BindParameter[int]] = bindparam("the_limit")
_CUTOFF: Final = bindparam("cutoff", type_=runs.c.ended_at.type)
_OLD_RUNS: Final = (
    select(runs.c.run_id, runs.c.thread_id)
    .where(runs.c.temporary, runs.c.ended_at.is_not(None), runs.c.ended_at <= _CUTOFF)
    .limit(_LIMIT)
    # Another server may be sweeping: each takes its own.
    .with_for_update(skip_locked=True)
)
_LEFT_THREADS: Final = (
    select(run_event_threads.c.thread_id)
    .where(~select(threads.c.thread_id).where(threads.c.thread_id == run_event_threads.c.thread_id).exists())
    .where(
        func.coalesce(
            select(func.max(run_events.c.created_at))
            .where(run_events.c.thread_id == run_event_threads.c.thread_id)
            .scalar_subquery(),
            _CUTOFF,
        )
        <= _CUTOFF
    )
    .limit(_LIMIT)
)

REMEMBERED: Final = timedelta(days=1)
"""How long it is known which run an idempotency key has made; longer than any client goes on trying."""


DELIVERIES_KEPT: Final = timedelta(days=7)
"""How long a webhook delivery that is over can be looked at, and sent again."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep deleted. Of ``threads`` nothing is left in the storage: what checkpoints they have left can go."""

    runs: tuple[RunId, ...] = ()
    threads: tuple[ThreadId, ...] = ()


class StorageSweeper:
    """Deletes what nobody can ask for any more. Called from time to time; unscoped, for it serves the server."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def sweep(self, retention: timedelta) -> Swept:
        """Forget the runs of temporary threads that ended longer than ``retention`` ago, and events of threads that
        are gone. Retained until then so that a late waiter gets an answer.
        """
        cutoff = self._clock.now() - retention
        swept_runs: list[RunId] = []
        swept_threads: list[ThreadId] = []
        while True:
            batch = await self._database.write(lambda connection: _sweep_runs(connection, cutoff))
            swept_runs += batch.runs
            swept_threads += batch.threads
            if len(batch.runs) < BATCH:
                break
        while await self._database.write(lambda connection: _sweep_events(connection, cutoff)) == BATCH:
            pass
        forgotten = self._clock.now() - max(REMEMBERED, retention)
        await self._database.write(lambda connection: _sweep_keys(connection, forgotten))
        ended = webhook_deliveries.c.ended_at <= self._clock.now() - max(DELIVERIES_KEPT, retention)
        await self._database.write(lambda connection: forget_deliveries(connection, ended))
        return Swept(tuple(swept_runs), tuple(swept_threads))


def _sweep_runs(connection: Connection, cutoff: datetime) -> Swept:
    found = connection.execute(_OLD_RUNS, {"cutoff": cutoff, "the_limit": BATCH}).all()
    if not found:
        return Swept()
    run_ids = [run_id for run_id, _ in found]
    connection.execute(delete(runs).where(runs.c.run_id.in_(run_ids)))
    return Swept(tuple(run_ids), _gone(connection, {thread_id for _, thread_id in found}))


def _gone(connection: Connection, thread_ids: set[ThreadId]) -> tuple[ThreadId, ...]:
    """Those that are not there any more, among them temporary ones that only a dead letter had kept."""
    statement = select(threads.c.thread_id, threads.c.temporary).where(threads.c.thread_id.in_(thread_ids))
    # In order, for others may lock several of them too.
    statement = statement.order_by(threads.c.thread_id)
    stay = {
        thread_id
        for thread_id, temporary in connection.execute(statement).all()
        if not (temporary and forget_temporary(connection, thread_id))
    }
    return tuple(sorted(thread_ids - stay))


def _sweep_events(connection: Connection, cutoff: datetime) -> int:
    left = connection.execute(_LEFT_THREADS, {"cutoff": cutoff, "the_limit": BATCH}).scalars().all()
    if left:
        connection.execute(delete(run_events).where(run_events.c.thread_id.in_(left)))
        connection.execute(delete(run_event_threads).where(run_event_threads.c.thread_id.in_(left)))
    return len(left)


def _sweep_keys(connection: Connection, cutoff: datetime) -> None:
    connection.execute(delete(idempotency_keys).where(idempotency_keys.c.created_at <= cutoff))
