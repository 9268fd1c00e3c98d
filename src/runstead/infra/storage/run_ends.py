"""Writes that belong to the end of a run, in its transaction: webhooks, approvals, and notifications of required
observers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, delete, select, update

from runstead.runtime.clock import Clock
from runstead.runtime.runs.approvals import GraphRules
from runstead.runtime.runs.store import EndNotification
from runstead.runtime.runs.types import Outcome, RunRecord, RunStatus, StopReason

from .approval_changes import reopen_taken
from .database import Database
from .dialect import put_row
from .schema import end_notifications
from .webhook_outbox import enqueue_delivery

_COLUMNS: Final = tuple(
    end_notifications.c[name]
    for name in (
        "run_id", "attempt", "thread_id", "tenant_id", "user_id", "status", "reason", "occurred_at", "tries",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunEnds:
    """Writer of what follows the end of a run. ``notifies``: the deployment has required observers. ``approvals`` are
    the rules of questions."""

    notifies: bool = False
    approvals: GraphRules = field(default_factory=GraphRules)

    def write(self, connection: Connection, ended: RunRecord, now: datetime, outcome: Outcome | None = None) -> None:
        """Write for ``ended``, the record of the run at its end; ``outcome`` is None if it never got so far."""
        enqueue_delivery(connection, ended, now, outcome)
        if outcome is None:
            reopen_taken(connection, ended, now, self.approvals)
        if self.notifies:
            row = {
                "run_id": ended.run_id,
                "attempt": ended.attempt,
                "thread_id": ended.thread_id,
                "tenant_id": ended.actor.tenant_id,
                "user_id": ended.actor.user_id,
                "status": ended.status.value,
                "reason": None if ended.stop_requested is None else ended.stop_requested.value,
                "occurred_at": now,
                "next_at": now,
                "tries": 0,
            }
            put_row(connection, end_notifications, row)


WEBHOOKS_ONLY: Final = RunEnds()


class SqlRunEndOutbox:
    """RunEndOutbox over a Database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def claim(self, limit: int, term: timedelta) -> Sequence[EndNotification]:
        def work(connection: Connection) -> Sequence[EndNotification]:
            now = self._clock.now()
            due = select(*_COLUMNS).where(end_notifications.c.next_at <= now)
            due = due.order_by(end_notifications.c.next_at, end_notifications.c.run_id).limit(limit)
            # Two processes do not wait for each other: each skips the rows that the other has locked.
            found = [_to_notification(row) for row in connection.execute(due.with_for_update(skip_locked=True))]
            for one in found:
                _change(connection, one, tries=one.tries, next_at=now + term)
            return found

        # If a claim is lost, the notification is claimed again.
        return await self._database.write(work, durable=False)

    async def postpone(self, notification: EndNotification, pause: timedelta) -> None:
        def work(connection: Connection) -> None:
            _change(connection, notification, tries=notification.tries, next_at=self._clock.now() + pause)

        await self._database.write(work)

    async def done(self, notification: EndNotification) -> None:
        statement = delete(end_notifications).where(_same(notification))
        await self._database.write(lambda connection: connection.execute(statement).close())


def _change(connection: Connection, notification: EndNotification, *, tries: int, next_at: datetime) -> None:
    connection.execute(update(end_notifications).where(_same(notification)).values(tries=tries, next_at=next_at))


def _same(one: EndNotification) -> ColumnElement[bool]:
    return and_(end_notifications.c.run_id == one.run_id, end_notifications.c.attempt == one.attempt)


def _to_notification(row: Sequence[Any]) -> EndNotification:
    run_id, attempt, thread_id, tenant_id, user_id, status, reason, occurred_at, tries = row
    why = None if reason is None else StopReason(reason)
    return EndNotification(
        run_id, attempt, thread_id, tenant_id, user_id, RunStatus(status), why, occurred_at, tries + 1
    )
