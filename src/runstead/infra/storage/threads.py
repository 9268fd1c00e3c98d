"""Threads in SQL, limited to those that the actor has access to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, Integer, and_, bindparam, delete, false, func, select, update
from uuid_utils.compat import uuid7

from runstead.resources.threads import (
    SortOrder,
    ThreadExists,
    ThreadFilter,
    ThreadRecord,
    ThreadSortField,
    ThreadTtl,
    values_within,
)
from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.approvals import GraphRules
from runstead.runtime.runs.exceptions import ThreadBusy
from runstead.runtime.runs.types import ThreadId, ThreadOutcome

from . import json_text
from .access_predicates import access_predicate, granted_access, is_storable, own_or_granted
from .approval_changes import settle_approvals
from .database import Database
from .dialect import containing
from .prepared import Prepared
from .run_queries import clamp_limit
from .schema import runs, threads, webhook_deliveries
from .thread_rows import ADD_THREAD, new_thread, set_ttl, ttl_of
from .thread_status import TITLE_LENGTH, apply_outcome, forget_thread, set_title
from .webhook_deliveries import forget_deliveries

_NO_RULES: Final = GraphRules()
RECORD: Final = (
    threads.c.thread_id,
    threads.c.status,
    threads.c.metadata,
    threads.c.config,
    threads.c.created_at,
    threads.c.updated_at,
    threads.c.state_updated_at,
    threads.c.state_values,
    threads.c.interrupts,
    threads.c.error,
)
_MEASURED: Final = tuple(
    func.length(one, type_=Integer()).label("values_bytes") if one is threads.c.state_values else one for one in RECORD
)
"""The same columns, with the size of the values in bytes instead of the values."""
_ONE: Final = threads.c.thread_id == bindparam("the_thread")
_MINE: Final = and_(_ONE, own_or_granted(threads))
_THREAD: Final = Prepared(select(*RECORD).where(_MINE))
_ANY: Final = Prepared(select(*RECORD).where(_ONE))
_LOCKED: Final = Prepared(select(threads.c.metadata).where(_MINE).with_for_update())
_DESCRIBE: Final = Prepared(
    update(threads)
    .where(threads.c.thread_id == bindparam("the_thread"))
    .values(metadata=bindparam("the_metadata"), updated_at=bindparam("now", type_=threads.c.updated_at.type))
)
_HELD: Final = Prepared(
    select(runs.c.run_id).where(runs.c.thread_id == bindparam("the_thread"), runs.c.lease_until.is_not(None))
)


class SqlThreadStore:
    """ThreadStore over a Database.

    ``default_ttl`` is for threads without a ttl of their own; None keeps them forever. ``approvals`` are the rules of
    questions.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        default_ttl: ThreadTtl | None = None,
        approvals: GraphRules = _NO_RULES,
    ) -> None:
        self._database = database
        self._clock = clock
        self._default_ttl = default_ttl
        self._approvals = approvals

    async def create(
        self,
        thread_id: ThreadId | None = None,
        *,
        metadata: JsonMapping | None = None,
        config: JsonMapping | None = None,
        ttl: ThreadTtl | None = None,
        if_exists: Literal["raise", "do_nothing"] = "raise",
    ) -> ThreadRecord:
        actor = require_actor_context("creating a thread")
        if thread_id is None:
            thread_id = ThreadId(str(uuid7()))
        elif not thread_id or not is_storable(thread_id):
            raise ValueError(f"thread_id {thread_id!a} cannot be used as an id; leave it out to get a new one")
        described, configured = json_text.dump(metadata or {}), json_text.dump(config or {})

        def work(connection: Connection) -> ThreadRecord:
            now = self._clock.now()
            row = new_thread(thread_id, actor, now, described, config=configured)
            is_new = bool(ADD_THREAD.rows(connection, row))
            if is_new:
                set_ttl(connection, thread_id, ttl or self._default_ttl, now)
            if is_new:
                return _record_of(connection, thread_id)
            found = _found(connection, thread_id, actor) if if_exists == "do_nothing" else None
            if found is None:
                raise ThreadExists(thread_id)
            return _to_record(found)

        return await self._database.write(work)

    async def get(self, thread_id: ThreadId) -> ThreadRecord | None:
        actor = require_actor_context("reading a thread")
        if not is_storable(thread_id):
            return None

        def work(connection: Connection) -> ThreadRecord | None:
            row = _found(connection, thread_id, actor)
            return None if row is None else _to_record(row)

        return await self._database.read(work, quick=True)

    async def get_ttl(self, thread_id: ThreadId) -> ThreadTtl | None:
        actor = require_actor_context("reading a thread's ttl")
        if not is_storable(thread_id):
            return None

        def work(connection: Connection) -> ThreadTtl | None:
            return None if _found(connection, thread_id, actor) is None else ttl_of(connection, thread_id)

        return await self._database.read(work)

    async def update(
        self, thread_id: ThreadId, *, metadata: JsonMapping, ttl: ThreadTtl | None = None
    ) -> ThreadRecord | None:
        actor = require_actor_context("updating a thread")
        if not is_storable(thread_id):
            return None

        def work(connection: Connection) -> ThreadRecord | None:
            row = _locked(connection, thread_id, actor)
            if row is None:
                return None
            merged = json_text.dump({**json_text.load(row[0]), **metadata})
            now = self._clock.now()
            _DESCRIBE.rows(connection, {"the_thread": thread_id, "the_metadata": merged, "now": now})
            set_ttl(connection, thread_id, ttl, now)
            # Returned in its new state, even if the change has removed the actor's access to it.
            return _record_of(connection, thread_id)

        return await self._database.write(work)

    async def delete(self, thread_id: ThreadId) -> bool:
        actor = require_actor_context("deleting a thread")
        if not is_storable(thread_id):
            return False

        def work(connection: Connection) -> bool:
            if _locked(connection, thread_id, actor) is None:
                return False
            if held := _HELD.rows(connection, {"the_thread": thread_id}):
                raise ThreadBusy([run_id for (run_id,) in held])
            connection.execute(delete(runs).where(runs.c.thread_id == thread_id))
            forget_deliveries(connection, webhook_deliveries.c.thread_id == thread_id)
            forget_thread(connection, thread_id)
            return True

        return await self._database.write(work)

    async def search(
        self,
        where: ThreadFilter,
        *,
        sort_by: ThreadSortField = "updated_at",
        sort_order: SortOrder = "desc",
        limit: int = 10,
        offset: int = 0,
        values_bytes: int | None = None,
    ) -> Sequence[ThreadRecord]:
        actor = require_actor_context("searching threads")
        statement = (
            select(*(RECORD if values_bytes is None else _MEASURED))
            .where(_matching(where, actor))
            .order_by(*_order(sort_by, sort_order))
            .limit(clamp_limit(limit))
            .offset(clamp_limit(offset))
        )

        def work(connection: Connection) -> Sequence[ThreadRecord]:
            rows = connection.execute(statement).all()
            if values_bytes is None:
                return [_to_record(row) for row in rows]
            return _with_values(connection, rows, values_bytes)

        return await self._database.read(work, slow=bool(where.values))

    async def count(self, where: ThreadFilter) -> int:
        actor = require_actor_context("counting threads")
        statement = select(func.count()).select_from(threads).where(_matching(where, actor))
        return await self._database.read(
            lambda connection: connection.execute(statement).scalar_one(), slow=bool(where.values)
        )

    async def set_state(self, thread_id: ThreadId, after: ThreadOutcome) -> None:
        actor = require_actor_context("updating a thread's state")
        if not is_storable(thread_id):
            return

        def work(connection: Connection) -> None:
            if _locked(connection, thread_id, actor) is not None:
                now = self._clock.now()
                apply_outcome(connection, thread_id, after, now)
                settle_approvals(connection, thread_id, after, now, self._approvals, actor=actor)

        await self._database.write(work)

    async def set_title(self, thread_id: ThreadId, title: str) -> None:
        actor = require_actor_context("naming a thread")
        if not is_storable(thread_id):
            return

        def work(connection: Connection) -> None:
            row = _locked(connection, thread_id, actor)
            if row is not None:
                set_title(connection, thread_id, row[0], {"title": title[:TITLE_LENGTH]})

        await self._database.write(work)


def _found(connection: Connection, thread_id: ThreadId, actor: ActorContext) -> object:
    """Return the row of a thread that the actor has access to."""
    if (access := granted_access(actor)) is not None:
        return _THREAD.first(connection, {**access, "the_thread": thread_id})
    return connection.execute(
        select(*RECORD).where(_ONE, access_predicate(threads, actor)), {"the_thread": thread_id}
    ).first()


def _locked(connection: Connection, thread_id: ThreadId, actor: ActorContext) -> Any:
    """Return the metadata of a thread that the actor has access to, locked until the transaction ends."""
    if (access := granted_access(actor)) is not None:
        return _LOCKED.first(connection, {**access, "the_thread": thread_id})
    reached = select(threads.c.metadata).where(_ONE, access_predicate(threads, actor)).with_for_update()
    return connection.execute(reached, {"the_thread": thread_id}).first()


def _record_of(connection: Connection, thread_id: ThreadId) -> ThreadRecord:
    """Return a thread that must exist."""
    row = _ANY.first(connection, {"the_thread": thread_id})
    assert row is not None, "a row that this transaction wrote is there"
    return _to_record(row)


def _matching(where: ThreadFilter, actor: ActorContext) -> ColumnElement[bool]:
    conditions: list[ColumnElement[Any]] = [access_predicate(threads, actor)]
    if where.ids is not None:
        ids = [thread_id for thread_id in where.ids if is_storable(thread_id)]
        conditions.append(threads.c.thread_id.in_(ids) if ids else false())
    if where.status is not None:
        conditions.append(threads.c.status == where.status)
    if where.metadata:
        conditions.append(containing(threads.c.metadata, where.metadata))
    if where.values:
        conditions.append(containing(threads.c.state_values, where.values))
    return and_(*conditions)


def _order(sort_by: ThreadSortField, sort_order: SortOrder) -> list[ColumnElement[Any]]:
    column = threads.c[sort_by]
    order: list[ColumnElement[Any]] = [column.desc() if sort_order == "desc" else column.asc(), threads.c.thread_id]
    # Threads without a state come last in either order; engines disagree about the position of NULL.
    return [column.is_(None), *order] if column.nullable else order


def _with_values(connection: Connection, rows: Sequence[Any], limit: int) -> list[ThreadRecord]:
    """Return the threads of ``rows``, which have the size of their values; include values up to ``limit`` bytes."""
    kept = values_within(limit, [(row.thread_id, row.values_bytes) for row in rows])
    values: dict[ThreadId, bytes] = {}
    if kept:
        found = select(threads.c.thread_id, threads.c.state_values).where(threads.c.thread_id.in_(kept))
        values = {row.thread_id: row.state_values for row in connection.execute(found)}
    return [
        replace(
            _to_record(row),
            values=values.get(row.thread_id),
            omits_values=bool(row.values_bytes) and row.thread_id not in kept,
        )
        for row in rows
    ]


def _to_record(row: Any) -> ThreadRecord:
    thread_id, status, metadata, config, created, updated, state_updated, values, interrupts, error = row
    return ThreadRecord(
        thread_id=thread_id,
        status=status,
        metadata=json_text.load(metadata),
        config=json_text.load(config),
        created_at=created,
        updated_at=updated,
        state_updated_at=state_updated,
        values=values,
        interrupts=interrupts,
        error=json_text.load(error),
    )
