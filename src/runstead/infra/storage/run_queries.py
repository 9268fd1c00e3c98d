"""Queries of runs, and their deletion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, func, not_, select

from runstead.runtime.actor_context import ActorContext, across_tenants, require_actor_context
from runstead.runtime.clock import Clock
from runstead.runtime.page_budget import page_budget
from runstead.runtime.runs.exceptions import ThreadBusy
from runstead.runtime.runs.types import RunFilter, RunId, RunRecord, ThreadId

from .access_predicates import access_predicate, granted_access, is_storable, own_or_granted
from .database import Database, EnqueueHook, no_enqueue
from .dialect import containing, lock_thread
from .page_rows import rows_of_page
from .prepared import Prepared
from .run_rows import RECORD, to_record
from .schema import runs, threads
from .thread_status import derive_status

_RUN: Final = Prepared(select(*RECORD).where(runs.c.run_id == bindparam("the_run"), own_or_granted(runs)))
_LATEST: Final = Prepared(
    select(*RECORD)
    .where(
        runs.c.thread_id == bindparam("the_thread"),
        runs.c.attempt > 0,
        own_or_granted(runs),
    )
    .order_by(runs.c.queue_seq.desc())
    .limit(1)
)
MANY: Final = 2**31 - 1
"""More than any caller can ask for, and a valid limit for every engine."""


class SqlRunQueryStore:
    """RunQueryStore over a Database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_run(self, run_id: RunId) -> RunRecord | None:
        actor = require_actor_context("reading a run")
        if not is_storable(run_id):
            return None

        def work(connection: Connection) -> RunRecord | None:
            if (access := granted_access(actor)) is not None:
                row = _RUN.first(connection, {**access, "the_run": run_id})
            else:
                reached = select(*RECORD).where(runs.c.run_id == run_id, access_predicate(runs, actor))
                row = connection.execute(reached).first()
            return None if row is None else to_record(row)

        return await self._database.read(work, quick=True)

    async def get_latest_run(self, thread_id: ThreadId) -> RunRecord | None:
        actor = require_actor_context("reading a run")
        if not is_storable(thread_id):
            return None

        def work(connection: Connection) -> RunRecord | None:
            if (access := granted_access(actor)) is not None:
                row = _LATEST.first(connection, {**access, "the_thread": thread_id})
            else:
                reached = (
                    select(*RECORD)
                    .where(runs.c.thread_id == thread_id, runs.c.attempt > 0, access_predicate(runs, actor))
                    .order_by(runs.c.queue_seq.desc())
                    .limit(1)
                )
                row = connection.execute(reached).first()
            return None if row is None else to_record(row)

        return await self._database.read(work, quick=True)

    async def list_runs(self, where: RunFilter, *, limit: int = 10, offset: int = 0) -> Sequence[RunRecord]:
        actor = require_actor_context("listing runs")
        if not _can_match(where):
            return []
        statement = (
            select(*RECORD)
            .where(_matching(where, actor))
            .order_by(runs.c.queue_seq.desc())
            .limit(clamp_limit(limit))
            .offset(clamp_limit(offset))
        )
        budget = page_budget()
        return await self._database.read(
            lambda connection: [to_record(row) for row in rows_of_page(connection, statement, budget)]
        )

    async def is_foreign_thread(self, thread_id: ThreadId) -> bool:
        actor = require_actor_context("looking for a thread")
        if not is_storable(thread_id):
            return False
        foreign = select(threads.c.thread_id).where(
            threads.c.thread_id == thread_id, not_(access_predicate(threads, actor))
        )
        with across_tenants():
            return await self._database.read(lambda connection: connection.execute(foreign).first() is not None)

    async def count_runs(self, where: RunFilter) -> int:
        actor = require_actor_context("counting runs")
        if not _can_match(where):
            return 0
        statement = select(func.count()).select_from(runs).where(_matching(where, actor))
        return await self._database.read(lambda connection: connection.execute(statement).scalar_one())


def clamp_limit(number: int) -> int:
    """Return a limit or offset that every engine accepts; for some engines a negative one means "all"."""
    return max(0, min(number, MANY))


def _can_match(where: RunFilter) -> bool:
    """Return whether the filter can match: ids that cannot be stored match no row."""
    return all(is_storable(name) for name in (where.thread_id, where.assistant_id) if name is not None)


def _matching(where: RunFilter, actor: ActorContext) -> ColumnElement[bool]:
    conditions: list[ColumnElement[Any]] = [access_predicate(runs, actor)]
    if where.thread_id is not None:
        conditions.append(runs.c.thread_id == where.thread_id)
    if where.statuses:
        conditions.append(runs.c.status.in_([status.value for status in where.statuses]))
    if where.assistant_id is not None:
        conditions.append(runs.c.assistant_id == where.assistant_id)
    if where.dead_letters_only:
        conditions.append(runs.c.dead_letter)
    if where.tags:
        conditions.append(containing(runs.c.spec, {"config": {"tags": list(where.tags)}}))
    if where.error is not None:
        conditions.append(containing(runs.c.failure, {"error": where.error}))
    if where.metadata:
        conditions.append(containing(runs.c.metadata, where.metadata))
    return and_(*conditions)


class SqlRunDeleteStore:
    """RunDeleteStore over a Database. ``on_waiting`` is called if a deletion may have made another run claimable."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        on_waiting: Callable[[], None],
        announce: EnqueueHook = no_enqueue,
    ) -> None:
        self._database = database
        self._clock = clock
        self._on_waiting = on_waiting
        self._announce = announce

    async def delete_run(self, run_id: RunId) -> bool:
        actor = require_actor_context("deleting a run")
        if not is_storable(run_id):
            return False
        wanted = select(runs.c.thread_id, runs.c.lease_until).where(
            runs.c.run_id == run_id, access_predicate(runs, actor)
        )

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
            derive_status(connection, row.thread_id, self._clock.now())
            self._announce(connection, row.thread_id)
            return True

        return await self._database.write(work, committed=lambda deleted: self._on_waiting() if deleted else None)
