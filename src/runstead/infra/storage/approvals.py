"""Approvals in SQL. They are created and closed in `approval_changes`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, func, select, union

from runstead.resources.approvals import (
    MAX_EVENTS,
    ApprovalClosed,
    ApprovalEvent,
    ApprovalFilter,
    ApprovalFull,
    ApprovalId,
    ApprovalNotFound,
    ApprovalRecord,
)
from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.clock import Clock
from runstead.runtime.page_budget import page_budget
from runstead.runtime.runs.approvals import GraphRules
from runstead.runtime.runs.types import ThreadId

from . import json_text
from .access_predicates import access_predicate, is_storable
from .approval_events import add_event, change
from .database import Database
from .dialect import lock_thread
from .page_rows import rows_of_page
from .run_queries import clamp_limit
from .schema import approval_events as events
from .schema import approvals as table
from .schema import threads

_CONTENT: Final = frozenset(("value", "response_schema"))
_PLAIN: Final = (
    "approval_id", "thread_id", "user_id", "graph_id", "assistant_id", "interrupt_id", "state", "created_at",
    "updated_at", "run_id", "deadline_at", "remind_at", "escalate_at", "reminded_at", "escalated_at", "closed_at",
    "escalate_to", "has_default", "answered_by",
)  # fmt: skip


class SqlApprovalStore:
    """ApprovalStore over a Database. ``on_change`` is called with the thread of an approval that was delegated or
    commented on."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        rules: GraphRules | None = None,
        on_change: Callable[[ThreadId], Awaitable[None]] | None = None,
    ) -> None:
        self._database, self._clock, self._rules = database, clock, rules or GraphRules()
        self._on_change = on_change

    async def get(self, approval_id: ApprovalId) -> ApprovalRecord | None:
        actor = require_actor_context("reading an approval")
        if not is_storable(approval_id):
            return None

        def work(connection: Connection) -> ApprovalRecord | None:
            row = _found(connection, approval_id, actor)
            return None if row is None else to_approval(row)

        return await self._database.read(work)

    async def search(self, where: ApprovalFilter, *, limit: int = 10, offset: int = 0) -> Sequence[ApprovalRecord]:
        actor = require_actor_context("searching approvals")
        if not _can_match(where):
            return []
        statement = (
            select(table)
            .where(_matching(where, actor))
            .order_by(table.c.created_at, table.c.approval_id)
            .limit(clamp_limit(limit))
            .offset(clamp_limit(offset))
        )
        budget = page_budget()
        return await self._database.read(
            lambda connection: [to_approval(row) for row in rows_of_page(connection, statement, budget)]
        )

    async def count(self, where: ApprovalFilter) -> int:
        actor = require_actor_context("counting approvals")
        if not _can_match(where):
            return 0
        statement = select(func.count()).select_from(table).where(_matching(where, actor))
        return await self._database.read(lambda connection: connection.execute(statement).scalar_one())

    async def events(self, approval_id: ApprovalId) -> Sequence[ApprovalEvent]:
        actor = require_actor_context("reading the events of an approval")
        if not is_storable(approval_id):
            return []
        statement = _events(actor).where(events.c.approval_id == approval_id).order_by(events.c.number)
        return await self._database.read(lambda connection: [_to_event(row) for row in connection.execute(statement)])

    async def events_of_thread(self, thread_id: ThreadId, after: datetime | None = None) -> Sequence[ApprovalEvent]:
        actor = require_actor_context("reading the events of approvals")
        if not is_storable(thread_id):
            return []
        statement = _events(actor).where(events.c.thread_id == thread_id)
        if after is not None:
            statement = statement.where(events.c.at > after)
        latest_first = (events.c.at.desc(), events.c.approval_id.desc(), events.c.number.desc())
        statement = statement.order_by(*latest_first).limit(MAX_EVENTS)

        def work(connection: Connection) -> Sequence[ApprovalEvent]:
            return [_to_event(row) for row in reversed(connection.execute(statement).all())]

        return await self._database.read(work)

    async def latest_event_at(self, thread_id: ThreadId) -> datetime | None:
        actor = require_actor_context("reading the events of approvals")
        if not is_storable(thread_id):
            return None
        statement = _reached(select(func.max(events.c.at)), actor).where(events.c.thread_id == thread_id)

        def work(connection: Connection) -> datetime | None:
            at: datetime | None = connection.execute(statement).scalar()
            return at

        return await self._database.read(work)

    async def delegate(self, approval_id: ApprovalId, user_id: str | None) -> ApprovalRecord:
        actor = require_actor_context("delegating an approval")

        def work(connection: Connection) -> ApprovalRecord:
            row = _locked(connection, approval_id, actor)
            if row.state != "open":
                raise ApprovalClosed(approval_id, row.state, row.decider_id, row.closed_at)
            _check_room(row)
            now = self._clock.now()
            changed = change(connection, approval_id, now, delegate_id=user_id)
            details = {"delegate": user_id}
            add_event(connection, changed, "delegated", now, self._rules, actor_id=actor.user_id, details=details)
            return to_approval(changed)

        record = await self._database.write(work)
        await self._changed(record.thread_id)
        return record

    async def comment(self, approval_id: ApprovalId, text: str) -> ApprovalEvent:
        actor = require_actor_context("commenting on an approval")

        def work(connection: Connection) -> ApprovalEvent:
            row, now, details = _locked(connection, approval_id, actor), self._clock.now(), {"comment": text}
            _check_room(row)
            row = change(connection, approval_id, now)
            return add_event(connection, row, "commented", now, self._rules, actor_id=actor.user_id, details=details)

        event = await self._database.write(work)
        await self._changed(event.thread_id)
        return event

    async def _changed(self, thread_id: ThreadId) -> None:
        if self._on_change is not None:
            await self._on_change(thread_id)

    async def asker(self, approval_id: ApprovalId) -> ActorContext | None:
        actor = require_actor_context("answering an approval")
        if not is_storable(approval_id):
            return None

        def work(connection: Connection) -> ActorContext | None:
            row = _found(connection, approval_id, actor)
            return None if row is None else ActorContext.from_json(json_text.load(row.actor))

        return await self._database.read(work)


def _found(connection: Connection, approval_id: ApprovalId, actor: ActorContext) -> Row[Any] | None:
    found = select(table).where(table.c.approval_id == approval_id, access_predicate(table, actor))
    return connection.execute(found).first()


def _locked(connection: Connection, approval_id: ApprovalId, actor: ActorContext) -> Row[Any]:
    """Return an approval with its thread locked, as all changes of approvals do. Raises ApprovalNotFound."""
    row = _found(connection, approval_id, actor) if is_storable(approval_id) else None
    if row is not None:
        lock_thread(connection, threads, row.thread_id)
        row = _found(connection, approval_id, actor)
    if row is None:
        raise ApprovalNotFound(approval_id)
    return row


def _check_room(row: Row[Any]) -> None:
    if row.events >= MAX_EVENTS:
        raise ApprovalFull(row.approval_id)


def _events(actor: ActorContext) -> Any:
    return _reached(select(events), actor)


def _reached(statement: Any, actor: ActorContext) -> Any:
    """Return a statement over events with the condition for access."""
    reached = select(table.c.approval_id).where(
        table.c.approval_id == events.c.approval_id, access_predicate(table, actor)
    )
    return statement.where(reached.exists())


def _can_match(where: ApprovalFilter) -> bool:
    texts = (where.thread_id, where.run_id, where.graph_id, where.delegate)
    return all(is_storable(text) for text in texts if text is not None)


def _matching(where: ApprovalFilter, actor: ActorContext) -> ColumnElement[bool]:
    conditions = [_listed(where, actor)]
    for column, value in (
        (table.c.state, where.state),
        (table.c.thread_id, where.thread_id),
        (table.c.run_id, where.run_id),
        (table.c.graph_id, where.graph_id),
        (table.c.delegate_id, where.delegate),
    ):
        if value is not None:
            conditions.append(column == value)
    return and_(*conditions)


def _listed(where: ApprovalFilter, actor: ActorContext) -> ColumnElement[bool]:
    """Return the condition for access. For the user's own and delegated approvals, each is found by its index: engines
    would read all of the tenant for one of two columns."""
    scope = actor.access_scope
    if scope.threads is not None or scope.thread_ids:
        return access_predicate(table, actor)
    state = [] if where.state is None else [table.c.state == where.state]
    mine = [
        select(table.c.approval_id).where(table.c.tenant_id == actor.tenant_id, column == actor.user_id, *state)
        for column in (table.c.user_id, table.c.delegate_id)
    ]
    return table.c.approval_id.in_(union(*mine))


def to_approval(row: Row[Any]) -> ApprovalRecord:
    """Return the approval in a row of its table. Content that handlers have encrypted stays so."""
    content = json_text.load(row.question)
    return ApprovalRecord(
        **{name: row._mapping[name] for name in _PLAIN},
        question=content.get("value") if content.keys() <= _CONTENT else content,
        response_schema=content.get("response_schema"),
        # NO_RUN is of no interest to clients.
        answer_run_id=row.answer_run_id or None,
        delegate=row.delegate_id,
        decider=row.decider_id,
        default=None if row.default_answer is None else json_text.load(row.default_answer),
        decision=None if row.decision is None else json_text.load(row.decision),
    )


def _to_event(row: Row[Any]) -> ApprovalEvent:
    return ApprovalEvent(
        row.approval_id, row.number, row.thread_id, row.at, row.kind, row.actor_id, json_text.load(row.details)
    )
