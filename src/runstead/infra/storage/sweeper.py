"""Deletion of expired data: rows of ended stateless runs, and the remains of their threads."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy import BindParameter, Connection, bindparam, delete, func, literal_column, or_, select, tuple_, update

from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.types import RunId, ThreadId

from .budget_notices import delete_expired_notices
from .database import Database
from .schema import (
    channel_messages,
    idempotency_keys,
    run_event_threads,
    run_events,
    runs,
    threads,
    webhook_deliveries,
)
from .thread_status import forget_temporary
from .webhook_deliveries import forget_deliveries

_log = logging.getLogger(__name__)

BATCH: Final = 500
"""Rows per transaction, few enough not to delay other writes."""

_LIMIT: Final[BindParameter[int]] = bindparam("the_limit")
_CUTOFF: Final = bindparam("cutoff", type_=runs.c.ended_at.type)
_OLD_RUNS: Final = (
    select(runs.c.run_id, runs.c.thread_id)
    .where(runs.c.temporary, runs.c.ended_at.is_not(None), runs.c.ended_at <= _CUTOFF)
    .limit(_LIMIT)
    # Another server may be sweeping: each takes different rows.
    .with_for_update(skip_locked=True)
)
# Separated from the check of their events, which should be made for these few threads only: the offset prevents
# PostgreSQL from making it for every thread.
_LEFT: Final = (
    select(run_event_threads.c.thread_id)
    .where(~select(threads.c.thread_id).where(threads.c.thread_id == run_event_threads.c.thread_id).exists())
    .offset(literal_column("0"))
    .subquery()
)
_LEFT_THREADS: Final = (
    select(_LEFT.c.thread_id)
    .where(
        func.coalesce(
            select(func.max(run_events.c.created_at))
            .where(run_events.c.thread_id == _LEFT.c.thread_id)
            .scalar_subquery(),
            _CUTOFF,
        )
        <= _CUTOFF
    )
    .limit(_LIMIT)
)
_OWN_KEY: Final = tuple(idempotency_keys.primary_key)
_OLD_KEYS: Final = (
    select(*_OWN_KEY).where(idempotency_keys.c.created_at <= _CUTOFF).limit(_LIMIT).with_for_update(skip_locked=True)
)
_OLD_DELIVERIES: Final = (
    select(webhook_deliveries.c.delivery_id)
    .where(webhook_deliveries.c.ended_at.is_not(None), webhook_deliveries.c.ended_at <= _CUTOFF)
    .limit(_LIMIT)
    .with_for_update(skip_locked=True)
)
_OLD_MESSAGES: Final = (
    select(channel_messages.c.seq)
    .where(channel_messages.c.ended_at.is_not(None), channel_messages.c.ended_at <= _CUTOFF)
    .limit(_LIMIT)
    .with_for_update(skip_locked=True)
)

REMEMBERED: Final = timedelta(days=1)
"""Retention of idempotency keys, longer than any client retries."""


CHANNEL_MESSAGES_KEPT: Final = timedelta(days=7)
"""Retention of answered messages of chat services, whose buttons can be pressed until then."""
DELIVERIES_KEPT: Final = timedelta(days=7)
"""Retention of ended webhook deliveries, for inspection and redelivery."""


@dataclass(frozen=True, slots=True)
class Swept:
    """The result of a sweep. Nothing is left of ``threads`` in the storage: their checkpoints can be deleted too."""

    runs: tuple[RunId, ...] = ()
    threads: tuple[ThreadId, ...] = ()


@dataclass(frozen=True, slots=True)
class _Piece:
    """The result of one transaction of a sweep; the last one deletes fewer ``rows`` than BATCH."""

    rows: int
    swept: Swept = Swept()


class StorageSweeper:
    """Deletes data that no caller can ask for any more. Called periodically; not limited to an actor."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def sweep(self, retention: timedelta) -> Swept:
        """Delete runs of temporary threads that ended longer than ``retention`` ago, and events of deleted threads.

        They are retained until then so that a late waiter gets its result.
        """
        now = self._clock.now()
        await self.correct_times()
        pieces: list[_Piece] = []
        for what, sweep, kept in (
            ("runs", _sweep_runs, retention),
            ("events", _sweep_events, retention),
            ("idempotency keys", _sweep_keys, max(REMEMBERED, retention)),
            ("webhook deliveries", _sweep_deliveries, max(DELIVERIES_KEPT, retention)),
            ("messages of chat services", _sweep_channel_messages, CHANNEL_MESSAGES_KEPT),
            ("notices of budgets", _sweep_notices, timedelta()),
        ):
            try:
                while True:
                    pieces.append(await self._database.write(partial(sweep, cutoff=now - kept)))
                    if pieces[-1].rows < BATCH:
                        break
            except Exception:
                # The other sweeps need not wait until this one succeeds.
                _log.exception("sweeping %s failed", what)
        return Swept(
            tuple(run_id for piece in pieces for run_id in piece.swept.runs),
            tuple(thread_id for piece in pieces for thread_id in piece.swept.threads),
        )

    async def correct_times(self) -> None:
        """Correct runs whose times are in the future, after the clock was set back. A failure is logged."""
        try:
            corrected = await self._database.write(lambda connection: correct_times(connection, self._clock.now()))
        except Exception:
            _log.exception("correcting times that lie in the future failed")
        else:
            if corrected:
                _log.warning("the clock was set back: corrected the times of %d runs", corrected)


def _sweep_runs(connection: Connection, cutoff: datetime) -> _Piece:
    found = connection.execute(_OLD_RUNS, {"cutoff": cutoff, "the_limit": BATCH}).all()
    if not found:
        return _Piece(0)
    run_ids = [run_id for run_id, _ in found]
    connection.execute(delete(runs).where(runs.c.run_id.in_(run_ids)))
    gone = _gone(connection, {thread_id for _, thread_id in found})
    return _Piece(len(found), Swept(tuple(run_ids), gone))


def _gone(connection: Connection, thread_ids: set[ThreadId]) -> tuple[ThreadId, ...]:
    """Return the threads that no longer exist, including temporary ones that only a dead letter had kept."""
    statement = select(threads.c.thread_id, threads.c.temporary).where(threads.c.thread_id.in_(thread_ids))
    # In order, since other transactions may lock several of them too.
    statement = statement.order_by(threads.c.thread_id)
    stay = {
        thread_id
        for thread_id, temporary in connection.execute(statement).all()
        if not (temporary and forget_temporary(connection, thread_id))
    }
    return tuple(sorted(thread_ids - stay))


def _sweep_events(connection: Connection, cutoff: datetime) -> _Piece:
    left = connection.execute(_LEFT_THREADS, {"cutoff": cutoff, "the_limit": BATCH}).scalars().all()
    if left:
        connection.execute(delete(run_events).where(run_events.c.thread_id.in_(left)))
        connection.execute(delete(run_event_threads).where(run_event_threads.c.thread_id.in_(left)))
    return _Piece(len(left))


def _sweep_keys(connection: Connection, cutoff: datetime) -> _Piece:
    old = [tuple(row) for row in connection.execute(_OLD_KEYS, {"cutoff": cutoff, "the_limit": BATCH})]
    if old:
        connection.execute(delete(idempotency_keys).where(tuple_(*_OWN_KEY).in_(old)))
    return _Piece(len(old))


def _sweep_deliveries(connection: Connection, cutoff: datetime) -> _Piece:
    over = connection.execute(_OLD_DELIVERIES, {"cutoff": cutoff, "the_limit": BATCH}).scalars().all()
    if over:
        forget_deliveries(connection, webhook_deliveries.c.delivery_id.in_(over))
    return _Piece(len(over))


def _sweep_notices(connection: Connection, cutoff: datetime) -> _Piece:
    return _Piece(delete_expired_notices(connection, cutoff, BATCH))


def _sweep_channel_messages(connection: Connection, cutoff: datetime) -> _Piece:
    over = connection.execute(_OLD_MESSAGES, {"cutoff": cutoff, "the_limit": BATCH}).scalars().all()
    if over:
        connection.execute(delete(channel_messages).where(channel_messages.c.seq.in_(over)))
    return _Piece(len(over))


TOLERANCE: Final = timedelta(minutes=1)
"""Tolerance for differences between the clocks of servers that share a database; smaller ones are not corrected."""

_TIME: Final = runs.c.updated_at.type
_AHEAD: Final = (
    select(runs.c.run_id, runs.c.created_at, runs.c.updated_at, runs.c.due_at, runs.c.lease_until)
    .where(
        runs.c.ended_at.is_(None),
        or_(
            runs.c.created_at > bindparam("the_latest", type_=_TIME),
            runs.c.updated_at > bindparam("the_latest", type_=_TIME),
        ),
    )
    .with_for_update(skip_locked=True)
)


def correct_times(connection: Connection, now: datetime) -> int:
    """Move open runs whose times are in the future to now, keeping delays and lease terms; return their number."""
    found = connection.execute(_AHEAD, {"the_latest": now + TOLERANCE}).all()
    for run_id, created_at, updated_at, due_at, lease_until in found:
        values: JsonObject = {"updated_at": now}
        if created_at > now:
            values |= {"created_at": now, "due_at": now + (due_at - created_at)}
        # A lease that was renewed after the clock was set back ends before its claim was made, and is right.
        if lease_until is not None and lease_until > updated_at:
            values["lease_until"] = now + (lease_until - updated_at)
        connection.execute(update(runs).where(runs.c.run_id == run_id).values(values))
    return len(found)
