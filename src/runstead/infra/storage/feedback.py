"""Feedback in SQL. A foreign key deletes it together with its run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update

from runstead.resources.feedback import MAX_PER_RUN, Feedback, FeedbackFilter, FeedbackFull, FeedbackRecord
from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.clock import Clock
from runstead.runtime.page_budget import page_budget
from runstead.runtime.runs.exceptions import RunNotFound
from runstead.runtime.runs.types import RunId, ThreadId

from . import json_text
from .access_predicates import access_predicate, is_storable
from .database import Database
from .page_rows import rows_of_page
from .run_queries import clamp_limit
from .run_rows import RECORD, to_record
from .schema import feedback as table
from .schema import runs
from .webhook_outbox import enqueue_feedback

_WHOLE_RUN: Final = ""
"""Message id in rows for feedback on the run as a whole; a null cannot be part of a key."""


class SqlFeedbackStore:
    """FeedbackStore over a Database.

    ``on_delivery``, if given, is called when feedback has written a webhook delivery; without it, feedback writes none.
    """

    def __init__(self, database: Database, clock: Clock, on_delivery: Callable[[], None] | None = None) -> None:
        self._database, self._clock, self._on_delivery = database, clock, on_delivery

    async def put(self, run_id: RunId, message_id: str | None, feedback: Feedback) -> FeedbackRecord:
        actor = require_actor_context("giving feedback")
        if not is_storable(run_id) or not is_storable(message_id or _WHOLE_RUN):
            raise RunNotFound(run_id)

        def work(connection: Connection) -> FeedbackRecord:
            # Locked until the end, so that two requests do not both insert, and the run is not deleted meanwhile.
            reached = select(*RECORD).where(runs.c.run_id == run_id, access_predicate(runs, actor))
            row = connection.execute(reached.with_for_update(key_share=True)).first()
            if row is None:
                raise RunNotFound(run_id)
            run = to_record(row)
            record = _write(connection, run_id, run.thread_id, message_id, feedback, actor, self._clock)
            if self._on_delivery is not None:
                enqueue_feedback(connection, run, record, self._clock.now())
            return record

        notify = self._on_delivery
        return await self._database.write(work, committed=None if notify is None else lambda _: notify())

    async def search(self, where: FeedbackFilter, *, limit: int = 10, offset: int = 0) -> Sequence[FeedbackRecord]:
        actor = require_actor_context("searching feedback")
        if not _can_match(where):
            return []
        statement = (
            select(table)
            .where(_matching(where, actor))
            .order_by(table.c.updated_at.desc(), table.c.run_id, table.c.message_id, table.c.user_id)
            .limit(clamp_limit(limit))
            .offset(clamp_limit(offset))
        )
        budget = page_budget()
        return await self._database.read(
            lambda connection: [_to_record(row) for row in rows_of_page(connection, statement, budget)]
        )

    async def count(self, where: FeedbackFilter) -> int:
        actor = require_actor_context("counting feedback")
        if not _can_match(where):
            return 0
        statement = select(func.count()).select_from(table).where(_matching(where, actor))
        return await self._database.read(lambda connection: connection.execute(statement).scalar_one())

    async def of_messages(self, thread_id: ThreadId, message_ids: Sequence[str]) -> Sequence[FeedbackRecord]:
        actor = require_actor_context("reading feedback")
        ids = [message_id for message_id in message_ids if is_storable(message_id)]
        if not ids or not is_storable(thread_id):
            return []
        statement = (
            select(table)
            .where(table.c.thread_id == thread_id, table.c.message_id.in_(ids), _reached(actor))
            .order_by(table.c.created_at, table.c.message_id, table.c.user_id)
        )
        return await self._database.read(lambda connection: [_to_record(row) for row in connection.execute(statement)])

    async def delete(self, run_id: RunId, message_id: str | None) -> bool:
        actor = require_actor_context("deleting feedback")
        if not is_storable(run_id) or not is_storable(message_id or _WHOLE_RUN):
            return False
        own = and_(_own(run_id, message_id, actor), _reached(actor))
        statement = delete(table).where(own).returning(table.c.run_id)
        return await self._database.write(lambda connection: connection.execute(statement).first() is not None)


def _write(
    connection: Connection,
    run_id: RunId,
    thread_id: str,
    message_id: str | None,
    given: Feedback,
    actor: ActorContext,
    clock: Clock,
) -> FeedbackRecord:
    values = {"score": given.score, "value": json_text.dump(given.value), "comment": given.comment}
    changed = update(table).where(_own(run_id, message_id, actor)).values(**values, updated_at=clock.now())
    row = connection.execute(changed.returning(table)).first()
    if row is not None:
        return _to_record(row)
    mine = and_(table.c.run_id == run_id, table.c.tenant_id == actor.tenant_id, table.c.user_id == actor.user_id)
    if connection.execute(select(func.count()).select_from(table).where(mine)).scalar_one() >= MAX_PER_RUN:
        raise FeedbackFull(run_id)
    key = {
        "run_id": run_id,
        "message_id": message_id or _WHOLE_RUN,
        "tenant_id": actor.tenant_id,
        "user_id": actor.user_id,
    }
    times = {"created_at": clock.now(), "updated_at": clock.now()}
    created = insert(table).values(**key, thread_id=thread_id, **values, **times).returning(table)
    return _to_record(connection.execute(created).one())


def _own(run_id: RunId, message_id: str | None, actor: ActorContext) -> ColumnElement[bool]:
    return and_(
        table.c.run_id == run_id,
        table.c.message_id == (message_id or _WHOLE_RUN),
        table.c.tenant_id == actor.tenant_id,
        table.c.user_id == actor.user_id,
    )


def _reached(actor: ActorContext) -> ColumnElement[bool]:
    """Return the condition that the actor has access to the run of the feedback."""
    run = select(runs.c.run_id).where(runs.c.run_id == table.c.run_id, access_predicate(runs, actor))
    return run.exists()


def _can_match(where: FeedbackFilter) -> bool:
    texts = (where.thread_id, where.run_id, where.message_id, where.user_id)
    return all(is_storable(text) for text in texts if text is not None)


def _matching(where: FeedbackFilter, actor: ActorContext) -> ColumnElement[bool]:
    # The owner's tenant again, for the index: a run is only ever reached within its tenant.
    conditions = [table.c.tenant_id == actor.tenant_id, _reached(actor)]
    for column, value in (
        (table.c.thread_id, where.thread_id),
        (table.c.run_id, where.run_id),
        (table.c.message_id, where.message_id),
        (table.c.user_id, where.user_id),
    ):
        if value is not None:
            conditions.append(column == value)
    if where.min_score is not None:
        conditions.append(table.c.score >= where.min_score)
    if where.max_score is not None:
        conditions.append(table.c.score <= where.max_score)
    return and_(*conditions)


def _to_record(row: Any) -> FeedbackRecord:
    return FeedbackRecord(
        run_id=row.run_id,
        thread_id=row.thread_id,
        message_id=row.message_id or None,
        user_id=row.user_id,
        feedback=Feedback(row.score, json_text.load(row.value), row.comment),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
