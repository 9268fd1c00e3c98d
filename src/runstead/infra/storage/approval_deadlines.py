"""Reminders, escalations and deadlines of approvals in SQL: each is written once, with its event and its delivery."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from runstead.resources.approvals import ApprovalRecord, DueApproval, Fired
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.clock import Clock
from runstead.runtime.runs.approvals import GraphRules, is_address

from . import json_text
from .approval_changes import next_time
from .approval_events import add_event, change
from .approvals import to_approval
from .database import Database
from .dialect import lock_thread
from .schema import approvals as table
from .schema import threads


class SqlApprovalDeadlines:
    """ApprovalDeadlineStore over a Database."""

    def __init__(self, database: Database, clock: Clock, rules: GraphRules) -> None:
        self._database, self._clock, self._rules = database, clock, rules

    async def due(self, limit: int) -> Sequence[DueApproval]:
        def work(connection: Connection) -> Sequence[DueApproval]:
            found = select(table.c.approval_id, table.c.thread_id).where(table.c.next_at <= self._clock.now())
            found = found.order_by(table.c.next_at, table.c.approval_id).limit(limit)
            return [DueApproval(*row) for row in connection.execute(found)]

        return await self._database.read(work)

    async def next_due(self) -> datetime | None:
        statement = select(func.min(table.c.next_at)).where(table.c.next_at.is_not(None))
        return await self._database.read(lambda connection: connection.execute(statement).scalar())

    async def fire(self, due: DueApproval) -> Fired | None:
        def work(connection: Connection) -> Fired | None:
            row, now = self._open(connection, due), self._clock.now()
            if row is None or row.next_at is None or row.next_at > now:
                return None
            if row.deadline_at is not None and row.deadline_at <= now:
                return self._at_deadline(connection, row, now)
            return Fired(to_approval(self._repeat(connection, row, now)))

        return await self._database.write(work)

    async def expire(self, due: DueApproval, reason: str) -> ApprovalRecord | None:
        def work(connection: Connection) -> ApprovalRecord | None:
            row = self._open(connection, due)
            return None if row is None else to_approval(self._expire(connection, row, self._clock.now(), reason))

        return await self._database.write(work)

    async def postpone(self, due: DueApproval, until: datetime) -> None:
        def work(connection: Connection) -> None:
            now = self._clock.now()
            is_due = (table.c.approval_id == due.approval_id, table.c.next_at <= now)
            connection.execute(update(table).where(*is_due).values(next_at=until))

        await self._database.write(work)

    def _open(self, connection: Connection, due: DueApproval) -> Row[Any] | None:
        # The lock of all changes of approvals: of two processes, the second one finds what the first one wrote.
        lock_thread(connection, threads, due.thread_id)
        found = select(table).where(table.c.approval_id == due.approval_id, table.c.state == "open")
        return connection.execute(found).first()

    def _at_deadline(self, connection: Connection, row: Row[Any], now: datetime) -> Fired:
        if row.has_default:
            # Closed by the transaction that creates the run with this answer.
            return Fired(to_approval(row), ActorContext.from_json(json_text.load(row.actor)))
        return Fired(to_approval(self._expire(connection, row, now, None)))

    def _expire(self, connection: Connection, row: Row[Any], now: datetime, reason: str | None) -> Row[Any]:
        expired = change(connection, row.approval_id, now, state="expired", closed_at=now, next_at=None)
        details = {} if reason is None else {"reason": reason}
        add_event(connection, expired, "expired", now, self._rules, details=details)
        return expired

    def _repeat(self, connection: Connection, row: Row[Any], now: datetime) -> Row[Any]:
        """Remind and escalate, as far as both are due."""
        if row.reminded_at is None and row.remind_at is not None and row.remind_at <= now:
            row = change(connection, row.approval_id, now, reminded_at=now)
            add_event(connection, row, "reminded", now, self._rules)
        if row.escalated_at is None and row.escalate_at is not None and row.escalate_at <= now:
            target = row.escalate_to
            to_user = {} if is_address(target) else {"delegate_id": target}
            row = change(connection, row.approval_id, now, escalated_at=now, **to_user)
            # An address may contain a secret.
            details = {"delegate": target} if to_user else {"webhook": True}
            add_event(connection, row, "escalated", now, self._rules, details=details)
        return change(connection, row.approval_id, now, next_at=next_time(row))
