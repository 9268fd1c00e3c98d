"""Retention of runs and events, and the threads that rules apply to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, func, select

from runstead.resources.retention import RetentionReport, RetentionRule, rule_for
from runstead.runtime.clock import Clock
from runstead.runtime.runs.types import ThreadId

from . import json_text
from .approval_changes import forget_closed
from .database import Database
from .schema import feedback, run_events, runs, threads, webhook_deliveries
from .steering_tables import steering_messages
from .webhook_deliveries import forget_deliveries

_HIDDEN: Final = ""
"""Tenant of threads that are being deleted."""
_later: Final = runs.alias("later")


@dataclass(frozen=True, slots=True)
class RuledThread:
    """A thread, and the rule for it; None: everything is kept."""

    thread_id: ThreadId
    rule: RetentionRule | None


class SqlRetention:
    """Runs, events and threads in a database, for retention. Unscoped, since it serves the server."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def threads_after(
        self, last: ThreadId | None, rules: Sequence[RetentionRule], limit: int
    ) -> Sequence[RuledThread]:
        """Return up to ``limit`` threads in the order of their ids, after ``last``, with their rules."""
        page = select(threads.c.thread_id, threads.c.tenant_id, threads.c.metadata).where(
            threads.c.tenant_id != _HIDDEN, ~threads.c.temporary
        )
        if last is not None:
            page = page.where(threads.c.thread_id > last)
        page = page.order_by(threads.c.thread_id).limit(limit)

        def work(connection: Connection) -> list[RuledThread]:
            return [
                RuledThread(thread_id, rule_for(rules, _graph_of(metadata), tenant_id))
                for thread_id, tenant_id, metadata in connection.execute(page).all()
            ]

        return await self._database.read(work)

    async def planned(self, thread_id: ThreadId, rule: RetentionRule, now: datetime) -> RetentionReport:
        """Return what `apply` would delete now."""
        return await self._database.read(lambda connection: _count(connection, thread_id, rule, now))

    async def apply(self, thread_id: ThreadId, rule: RetentionRule, now: datetime) -> RetentionReport:
        """Delete runs and events of a thread, in one transaction."""

        def work(connection: Connection) -> RetentionReport:
            report = _count(connection, thread_id, rule, now)
            if report.events:
                connection.execute(delete(run_events).where(_old_events(thread_id, rule, now)))
            if report.runs:
                over = connection.execute(select(runs.c.run_id).where(_old_runs(thread_id, rule, now))).scalars().all()
                forget_deliveries(connection, webhook_deliveries.c.run_id.in_(over))
                forget_closed(connection, over)
                connection.execute(delete(runs).where(runs.c.run_id.in_(over)))
                connection.execute(
                    delete(steering_messages).where(
                        steering_messages.c.run_id.in_(over), steering_messages.c.ended_at.is_not(None)
                    )
                )
            return report

        return await self._database.write(work)


def _graph_of(metadata: str) -> str:
    described = json_text.load(metadata)
    return str(described.get("graph_id") or "") if isinstance(described, dict) else ""


def _count(connection: Connection, thread_id: ThreadId, rule: RetentionRule, now: datetime) -> RetentionReport:
    def number(table: Table, condition: ColumnElement[bool]) -> int:
        return connection.execute(select(func.count()).select_from(table).where(condition)).scalar_one()

    over = number(runs, _old_runs(thread_id, rule, now)) if rule.runs_days is not None else 0
    events = 0
    if rule.events_days is not None or over:
        events = number(run_events, _old_events(thread_id, rule, now))
    return RetentionReport(threads=1 if over or events else 0, runs=over, events=events)


def _old_runs(thread_id: ThreadId, rule: RetentionRule, now: datetime) -> ColumnElement[bool]:
    """Return the condition for runs to delete: ended, old, with a later run on their thread, neither a dead letter nor
    with feedback."""
    cutoff = now - timedelta(days=rule.runs_days or 0)
    return and_(
        runs.c.thread_id == thread_id,
        runs.c.ended_at.is_not(None),
        runs.c.ended_at < cutoff,
        ~runs.c.dead_letter,
        # The latest run says how the thread's graph is opened.
        exists().where(_later.c.thread_id == thread_id, _later.c.queue_seq > runs.c.queue_seq, _later.c.attempt > 0),
        ~exists().where(feedback.c.run_id == runs.c.run_id),
    )


def _old_events(thread_id: ThreadId, rule: RetentionRule, now: datetime) -> ColumnElement[bool]:
    """Return the condition for events to delete: old ones, and those of runs that are deleted."""
    conditions = []
    if rule.events_days is not None:
        conditions.append(run_events.c.created_at < now - timedelta(days=rule.events_days))
    if rule.runs_days is not None:
        conditions.append(run_events.c.run_id.in_(select(runs.c.run_id).where(_old_runs(thread_id, rule, now))))
    either = conditions[0] if len(conditions) == 1 else conditions[0] | conditions[1]
    return and_(run_events.c.thread_id == thread_id, either)
