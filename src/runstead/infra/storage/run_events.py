"""Events of runs in SQL, in the database of the runs, so that deleting a thread also deletes its events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import orjson
from sqlalchemy import BindParameter, ColumnElement, Connection, and_, bindparam, delete, func, or_, select, update

from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.runtime.runs.store import RunEvent, RunEventCategory, StoredRunEvent
from runstead.runtime.runs.types import Holder, RunId, ThreadId
from runstead.runtime.serialization import encode

from .access_predicates import is_storable
from .database import Database
from .prepared import Prepared, PreparedInsert
from .run_events_at_once import append_at_once
from .run_predicates import lock_attempt
from .run_queries import clamp_limit
from .schema import run_event_threads, run_events, threads

_THREADS: Final = 200
"""Threads whose old events are deleted in one transaction."""
_THREAD: Final[BindParameter[str]] = bindparam("the_thread")
_COUNTER: Final = Prepared(
    select(run_event_threads.c.tenant_id, run_event_threads.c.user_id, run_event_threads.c.last_seq)
    .where(run_event_threads.c.thread_id == _THREAD)
    .with_for_update()
)
_OWNER: Final = Prepared(select(threads.c.tenant_id, threads.c.user_id).where(threads.c.thread_id == _THREAD))
_NEW_COUNTER: Final = PreparedInsert(
    run_event_threads, ("thread_id", "tenant_id", "user_id", "last_seq"), run_event_threads.c.last_seq
)
_ADVANCE: Final = Prepared(
    update(run_event_threads).where(run_event_threads.c.thread_id == _THREAD).values(last_seq=bindparam("the_last"))
)
_INSERT: Final = Prepared(run_events.insert())
_QUICK: Final = 16 * 1024
"""Characters of a batch that is written as quickly as it is handed to another thread."""
_RECORD: Final = (
    run_events.c.seq,
    run_events.c.run_id,
    run_events.c.thread_id,
    run_events.c.event_type,
    run_events.c.category,
    run_events.c.content,
    run_events.c.created_at,
    run_events.c.metadata,
)


class SqlRunEventStore:
    """RunEventStore over a Database.

    A thread's events belong to the thread's owner, or to the actor of the first event.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, events: Sequence[RunEvent], *, holder: Holder | None = None) -> Sequence[StoredRunEvent]:
        actor = require_actor_context("writing run events")
        if not events:
            return []
        thread_id = events[0].thread_id
        if any(event.thread_id != thread_id for event in events):
            raise ValueError("a batch of events belongs to one thread")
        if not is_storable(thread_id):
            raise ThreadNotFound(thread_id)
        rows = [_to_row(event) for event in events]

        def work(connection: Connection) -> list[StoredRunEvent]:
            if holder is not None and connection.dialect.name == "postgresql":
                last = append_at_once(connection, thread_id, actor, holder, rows)
                return [StoredRunEvent(seq, event) for seq, event in enumerate(events, start=last + 1)]
            if holder is not None:
                lock_attempt(connection, holder)
            last = _take_numbers(connection, thread_id, actor, len(rows))
            _INSERT.run_all(connection, [{**row, "seq": seq} for seq, row in enumerate(rows, start=last + 1)])
            return [StoredRunEvent(seq, event) for seq, event in enumerate(events, start=last + 1)]

        # The end of the run is durable before it is reported, and makes earlier writes durable too.
        size = sum(len(row["content"]) + len(row["metadata"]) for row in rows)
        quick = size <= _QUICK
        return await self._database.write(work, durable=False, quick=quick, single=holder is not None)

    async def list_events(
        self,
        thread_id: ThreadId,
        *,
        run_id: RunId | None = None,
        categories: Sequence[RunEventCategory] = (),
        event_types: Sequence[str] = (),
        after: int | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Sequence[StoredRunEvent]:
        actor = require_actor_context("reading run events")
        if not _can_match(thread_id, run_id, *event_types):
            return []
        conditions = [_visible(thread_id, actor), *_matching(run_id, categories, event_types)]
        if after is not None:
            conditions.append(run_events.c.seq > after)
        if before is not None:
            conditions.append(run_events.c.seq < before)
        # From the end, unless a start position is given.
        order = run_events.c.seq.asc() if after is not None else run_events.c.seq.desc()
        statement = select(*_RECORD).where(*conditions).order_by(order).limit(clamp_limit(limit))

        def work(connection: Connection) -> list[StoredRunEvent]:
            found = [_to_stored(row) for row in connection.execute(statement)]
            return found if after is not None else found[::-1]

        return await self._database.read(work)

    async def count_events(self, thread_id: ThreadId, *, categories: Sequence[RunEventCategory] = ()) -> int:
        actor = require_actor_context("counting run events")
        if not is_storable(thread_id):
            return 0
        conditions = [_visible(thread_id, actor), *_matching(None, categories, ())]
        statement = select(func.count()).select_from(run_events).where(*conditions)
        return await self._database.read(lambda connection: connection.execute(statement).scalar_one())

    async def delete_events(self, thread_id: ThreadId, *, run_id: RunId | None = None) -> int:
        actor = require_actor_context("deleting run events")
        if not _can_match(thread_id, run_id):
            return 0
        # The counter stays: its numbers must not be reused.
        statement = delete(run_events).where(_visible(thread_id, actor), *_matching(run_id, (), ()))
        return await self._database.write(lambda connection: connection.execute(statement).rowcount)

    async def delete_threads(self, thread_ids: Sequence[ThreadId]) -> None:
        if not thread_ids:
            return

        def work(connection: Connection) -> None:
            connection.execute(delete(run_events).where(run_events.c.thread_id.in_(thread_ids)))
            connection.execute(delete(run_event_threads).where(run_event_threads.c.thread_id.in_(thread_ids)))

        await self._database.write(work)

    async def delete_before(self, cutoff: datetime) -> int:
        # By threads, which have an index, in transactions that are short enough not to delay others.
        deleted, last = 0, ThreadId("")
        while found := await self._database.read(partial(_threads_after, last=last)):
            deleted += await self._database.write(partial(_delete_before, thread_ids=found, cutoff=cutoff))
            last = found[-1]
        return deleted


def _threads_after(connection: Connection, last: ThreadId) -> Sequence[ThreadId]:
    ids = run_event_threads.c.thread_id
    return connection.execute(select(ids).where(ids > last).order_by(ids).limit(_THREADS)).scalars().all()


def _delete_before(connection: Connection, thread_ids: Sequence[ThreadId], cutoff: datetime) -> int:
    old = delete(run_events).where(run_events.c.thread_id.in_(thread_ids), run_events.c.created_at < cutoff)
    return connection.execute(old).rowcount


def _take_numbers(connection: Connection, thread_id: ThreadId, actor: ActorContext, count: int) -> int:
    """Return the thread's last number before ``count`` new ones; the counter is locked until they are written.

    Raises ThreadNotFound if the actor has no access to the thread.
    """
    counter = _COUNTER.first(connection, {"the_thread": thread_id})
    if counter is None:
        owner = _OWNER.first(connection, {"the_thread": thread_id}) or (actor.tenant_id, actor.user_id)
        if not _reaches(actor, thread_id, *owner):
            raise ThreadNotFound(thread_id)
        row = {"thread_id": thread_id, "tenant_id": owner[0], "user_id": owner[1], "last_seq": count}
        if _NEW_COUNTER.first(connection, row) is not None:
            return 0
        # A concurrent transaction has created it, or row-level security hides it.
        counter = _COUNTER.first(connection, {"the_thread": thread_id})
    if counter is None or not _reaches(actor, thread_id, *counter[:2]):
        raise ThreadNotFound(thread_id)
    last: int = counter[2]
    _ADVANCE.rows(connection, {"the_thread": thread_id, "the_last": last + count})
    return last


def _reaches(actor: ActorContext, thread_id: ThreadId, tenant_id: str, user_id: str) -> bool:
    return tenant_id == actor.tenant_id and (user_id == actor.user_id or thread_id in actor.access_scope.thread_ids)


def _visible(thread_id: ThreadId, actor: ActorContext) -> ColumnElement[bool]:
    """Return the condition that the actor may see the thread's events.

    A metadata filter on threads is not applied here: the reader has found the thread by it, and passes its id in the
    reach.
    """
    table, ids = run_event_threads, actor.access_scope.thread_ids
    mine = or_(table.c.user_id == actor.user_id, table.c.thread_id.in_(ids))
    reached = select(table.c.thread_id).where(
        table.c.thread_id == thread_id, table.c.tenant_id == actor.tenant_id, mine
    )
    return and_(run_events.c.thread_id == thread_id, reached.exists())


def _matching(
    run_id: RunId | None, categories: Sequence[RunEventCategory], event_types: Sequence[str]
) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if run_id is not None:
        conditions.append(run_events.c.run_id == run_id)
    if categories:
        conditions.append(run_events.c.category.in_(categories))
    if event_types:
        conditions.append(run_events.c.event_type.in_(event_types))
    return conditions


def _can_match(*texts: str | None) -> bool:
    return all(is_storable(text) for text in texts if text is not None)


def _to_row(event: RunEvent) -> JsonObject:
    return {
        "thread_id": event.thread_id,
        "run_id": event.run_id,
        "event_type": event.event_type,
        "category": event.category,
        "created_at": event.created_at,
        # Stored in the closest form that JSON has; losing an event because of a stray NaN would help no one.
        "metadata": encode(event.metadata).decode(),
        "content": encode(event.content).decode(),
    }


def _to_stored(row: Any) -> StoredRunEvent:
    seq, run_id, thread_id, event_type, category, content, created_at, metadata = row
    event = RunEvent(
        run_id=run_id,
        thread_id=thread_id,
        event_type=event_type,
        category=category,
        content=orjson.loads(content),
        created_at=created_at,
        metadata=orjson.loads(metadata),
    )
    return StoredRunEvent(seq, event)
