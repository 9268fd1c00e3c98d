"""Retention of runs and events, and the threads that rules apply to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, delete, exists, func, or_, select

from runstead.resources.retention import RetentionReport, RetentionRule, Ruled, rule_for
from runstead.runtime.pace import Pace
from runstead.runtime.runs.types import ThreadId

from . import json_text
from .approval_changes import forget_closed
from .database import Database
from .schema import feedback, run_events, runs, threads, webhook_deliveries
from .steering_tables import steering_messages
from .webhook_deliveries import forget_deliveries

_HIDDEN: Final = ""
"""Tenant of threads that are being deleted."""
_EVENTS: Final = 200
_RUNS: Final = 20
"""Rows that one transaction deletes. A run has further rows: its deliveries and its archived stream."""
_later: Final = runs.alias("later")


@dataclass(frozen=True, slots=True)
class RuledThread:
    """A thread, and the rule for it; None: everything is kept."""

    thread_id: ThreadId
    rule: RetentionRule | None


class SqlRetention:
    """Runs, events and threads in a database, for retention. Unscoped, since it serves the server."""

    def __init__(self, database: Database) -> None:
        self._database = database

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

    async def with_old_rows(self, ruled: Sequence[RuledThread], now: datetime) -> set[ThreadId]:
        """Return those of the threads that may have runs or events to delete."""
        by_rule: dict[RetentionRule, list[ThreadId]] = defaultdict(list)
        for one in ruled:
            if one.rule is not None and (one.rule.runs_days is not None or one.rule.events_days is not None):
                by_rule[one.rule].append(one.thread_id)

        def work(connection: Connection) -> set[ThreadId]:
            return {
                ThreadId(thread_id)
                for rule, thread_ids in by_rule.items()
                for thread_id in connection.execute(_with_old_rows(thread_ids, rule, now)).scalars()
            }

        return await self._database.read(work) if by_rule else set()

    async def planned(self, ruled: Ruled, now: datetime, pace: Pace) -> Mapping[ThreadId, RetentionReport]:
        """Return what `apply` would delete now, by thread."""
        return {
            thread_id: await pace.step(self._database.read(partial(_count, thread_id=thread_id, rule=rule, now=now)))
            for thread_id, rule in ruled.items()
        }

    async def apply(self, ruled: Ruled, now: datetime, pace: Pace) -> Mapping[ThreadId, RetentionReport]:
        """Delete runs and events of threads, and return what was deleted by thread."""
        return {thread_id: await self._apply(thread_id, rule, now, pace) for thread_id, rule in ruled.items()}

    async def _apply(self, thread_id: ThreadId, rule: RetentionRule, now: datetime, pace: Pace) -> RetentionReport:
        report = RetentionReport()
        # Events first, so that none is ever without its run.
        for delete_some, size in ((_delete_events, _EVENTS), (_delete_runs, _RUNS)):
            work, deleted = partial(delete_some, thread_id=thread_id, rule=rule, now=now), size
            while deleted >= size:
                done = await pace.step(self._database.write(work, durable=False))
                deleted = done.runs + done.events
                report = report.plus(done)
        return report


def _with_old_rows(thread_ids: Sequence[ThreadId], rule: RetentionRule, now: datetime) -> Select[str]:
    conditions: list[ColumnElement[bool]] = []
    if rule.runs_days is not None:
        cutoff = now - timedelta(days=rule.runs_days)
        conditions.append(exists().where(runs.c.thread_id == threads.c.thread_id, runs.c.ended_at < cutoff))
    if rule.events_days is not None:
        # Events are in the order of their times: the first one is enough.
        first = select(run_events.c.created_at).where(run_events.c.thread_id == threads.c.thread_id)
        cutoff = now - timedelta(days=rule.events_days)
        conditions.append(first.order_by(run_events.c.seq).limit(1).scalar_subquery() < cutoff)
    return select(threads.c.thread_id).where(threads.c.thread_id.in_(thread_ids), or_(*conditions))


def _delete_events(connection: Connection, thread_id: ThreadId, rule: RetentionRule, now: datetime) -> RetentionReport:
    """Delete old events of a thread, up to _EVENTS of them."""
    old = select(run_events.c.seq).where(_old_events(thread_id, rule, now)).order_by(run_events.c.seq).limit(_EVENTS)
    over = connection.execute(old).scalars().all()
    if over:
        of_thread = run_events.c.thread_id == thread_id
        connection.execute(delete(run_events).where(of_thread, run_events.c.seq.in_(over)))
    return RetentionReport(events=len(over))


def _delete_runs(connection: Connection, thread_id: ThreadId, rule: RetentionRule, now: datetime) -> RetentionReport:
    """Delete old runs of a thread, up to _RUNS of them."""
    if rule.runs_days is None:
        return RetentionReport()
    old = select(runs.c.run_id).where(_old_runs(thread_id, rule, now)).order_by(runs.c.queue_seq).limit(_RUNS)
    over = connection.execute(old).scalars().all()
    if over:
        forget_deliveries(connection, webhook_deliveries.c.run_id.in_(over))
        forget_closed(connection, over)
        connection.execute(delete(runs).where(runs.c.run_id.in_(over)))
        connection.execute(
            delete(steering_messages).where(
                steering_messages.c.run_id.in_(over), steering_messages.c.ended_at.is_not(None)
            )
        )
    return RetentionReport(runs=len(over))


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
    return RetentionReport(runs=over, events=events)


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
