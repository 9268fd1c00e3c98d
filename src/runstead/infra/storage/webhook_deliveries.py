"""Webhook deliveries in SQL. They are created in `webhook_outbox`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, insert, literal_column, or_, select, update

from runstead.resources.webhooks import DeliveryAttempt, DeliveryFilter, DeliveryRecord, DueDelivery
from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.clock import Clock

from . import json_text
from .access_predicates import access_predicate, is_storable
from .database import Database
from .dialect import containing
from .run_queries import clamp_limit
from .schema import webhook_attempts as attempts
from .schema import webhook_deliveries as deliveries

_RECORD: Final = (
    deliveries.c.delivery_id,
    deliveries.c.run_id,
    deliveries.c.thread_id,
    deliveries.c.url,
    deliveries.c.status,
    deliveries.c.attempts,
    deliveries.c.created_at,
    deliveries.c.next_attempt_at,
    deliveries.c.ended_at,
    deliveries.c.metadata,
)
# Literally as in the index over them, which a bound value would not match.
_PENDING: Final = deliveries.c.status == literal_column("'pending'")
_FREE_AT: Final = case(
    (deliveries.c.lease_until > deliveries.c.next_attempt_at, deliveries.c.lease_until),
    else_=deliveries.c.next_attempt_at,
)


class SqlDeliveryStore:
    """DeliveryStore over a Database. ``on_due`` is called when a redelivery was requested."""

    def __init__(self, database: Database, clock: Clock, on_due: Callable[[], None]) -> None:
        self._database, self._clock, self._on_due = database, clock, on_due

    async def get(self, delivery_id: str) -> DeliveryRecord | None:
        actor = require_actor_context("reading a webhook delivery")
        if not is_storable(delivery_id):
            return None
        return await self._database.read(lambda connection: _find(connection, _mine(actor, delivery_id)))

    async def search(self, where: DeliveryFilter, *, limit: int = 10, offset: int = 0) -> Sequence[DeliveryRecord]:
        actor = require_actor_context("searching webhook deliveries")
        if not _can_match(where):
            return []
        statement = (
            select(*_RECORD)
            .where(_matching(where, actor))
            .order_by(deliveries.c.created_at.desc(), deliveries.c.delivery_id.desc())
            .limit(clamp_limit(limit))
            .offset(clamp_limit(offset))
        )
        return await self._database.read(lambda connection: [_to_record(row) for row in connection.execute(statement)])

    async def count(self, where: DeliveryFilter) -> int:
        actor = require_actor_context("counting webhook deliveries")
        if not _can_match(where):
            return 0
        statement = select(func.count()).select_from(deliveries).where(_matching(where, actor))
        return await self._database.read(lambda connection: connection.execute(statement).scalar_one())

    async def attempts(self, delivery_id: str) -> Sequence[DeliveryAttempt]:
        actor = require_actor_context("reading the attempts of a webhook delivery")
        if not is_storable(delivery_id):
            return []
        statement = (
            select(
                attempts.c.number, attempts.c.started_at, attempts.c.ended_at, attempts.c.status_code, attempts.c.error
            )
            .join(deliveries, deliveries.c.delivery_id == attempts.c.delivery_id)
            .where(_mine(actor, delivery_id))
            .order_by(attempts.c.number)
        )
        return await self._database.read(
            lambda connection: [DeliveryAttempt(*row) for row in connection.execute(statement)]
        )

    async def redeliver(self, delivery_id: str) -> DeliveryRecord | None:
        actor = require_actor_context("sending a webhook again")
        if not is_storable(delivery_id):
            return None

        def work(connection: Connection) -> DeliveryRecord | None:
            again = {"status": "pending", "next_attempt_at": self._clock.now(), "ended_at": None}
            connection.execute(update(deliveries).where(_mine(actor, delivery_id)).values(again))
            return _find(connection, _mine(actor, delivery_id))

        return await self._database.write(work, committed=lambda found: self._on_due() if found else None)

    async def claim(self, limit: int, term: timedelta) -> Sequence[DueDelivery]:
        def work(connection: Connection) -> Sequence[DueDelivery]:
            now = self._clock.now()
            due = (
                select(deliveries.c.delivery_id)
                .where(_PENDING, deliveries.c.next_attempt_at <= now)
                .where(or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until <= now))
                .order_by(deliveries.c.next_attempt_at, deliveries.c.delivery_id)
                .limit(limit)
                # Two senders do not wait for each other: each skips the rows that the other has locked.
                .with_for_update(skip_locked=True)
            )
            ids = connection.execute(due).scalars().all()
            return _claim(connection, ids, now + term) if ids else []

        # If a claim is lost, the delivery is claimed again.
        return await self._database.write(work, durable=False)

    async def settle(self, due: DueDelivery, attempt: DeliveryAttempt, again_at: datetime | None) -> bool:
        def work(connection: Connection) -> bool:
            is_over = again_at is None
            ended = "delivered" if attempt.status_code is not None and 200 <= attempt.status_code < 300 else "failed"
            written = connection.execute(
                update(deliveries)
                .where(deliveries.c.delivery_id == due.delivery_id, deliveries.c.claims == due.claim)
                .where(deliveries.c.lease_until.is_not(None))
                .values(
                    status=ended if is_over else "pending",
                    attempts=attempt.number,
                    next_attempt_at=again_at,
                    ended_at=attempt.ended_at if is_over else None,
                    lease_until=None,
                )
                .returning(deliveries.c.delivery_id)
            ).first()
            if written is None:
                return False
            connection.execute(
                insert(attempts).values(
                    delivery_id=due.delivery_id,
                    number=attempt.number,
                    started_at=attempt.started_at,
                    ended_at=attempt.ended_at,
                    status_code=attempt.status_code,
                    error=attempt.error,
                )
            )
            return True

        return await self._database.write(work)

    async def next_due(self) -> datetime | None:
        statement = select(func.min(_FREE_AT, type_=deliveries.c.next_attempt_at.type)).where(_PENDING)
        return await self._database.read(lambda connection: connection.execute(statement).scalar(), single=True)

    async def abandon_all(self) -> int:
        statement = update(deliveries).where(deliveries.c.lease_until.is_not(None)).values(lease_until=None)
        return await self._database.write(lambda connection: connection.execute(statement).rowcount)


def forget_deliveries(connection: Connection, condition: ColumnElement[bool]) -> int:
    """Delete deliveries that have ended and meet the condition. Pending deliveries stay."""
    ended = and_(deliveries.c.ended_at.is_not(None), condition)
    connection.execute(
        delete(attempts).where(attempts.c.delivery_id.in_(select(deliveries.c.delivery_id).where(ended)))
    )
    return connection.execute(delete(deliveries).where(ended)).rowcount


def _claim(connection: Connection, ids: Sequence[str], until: datetime) -> Sequence[DueDelivery]:
    rows = connection.execute(
        update(deliveries)
        .where(deliveries.c.delivery_id.in_(ids))
        .values(lease_until=until, claims=deliveries.c.claims + 1)
        .returning(
            deliveries.c.delivery_id,
            deliveries.c.url,
            deliveries.c.body,
            deliveries.c.actor,
            deliveries.c.attempts,
            deliveries.c.claims,
        )
    ).all()
    claimed = {
        row.delivery_id: DueDelivery(
            delivery_id=row.delivery_id,
            url=row.url,
            body=bytes(row.body),
            actor=ActorContext.from_json(json_text.load(row.actor)),
            number=row.attempts + 1,
            claim=row.claims,
        )
        for row in rows
    }
    return [claimed[delivery_id] for delivery_id in ids]


def _mine(actor: ActorContext, delivery_id: str) -> ColumnElement[bool]:
    return and_(deliveries.c.delivery_id == delivery_id, access_predicate(deliveries, actor))


def _find(connection: Connection, condition: ColumnElement[bool]) -> DeliveryRecord | None:
    row = connection.execute(select(*_RECORD).where(condition)).first()
    return None if row is None else _to_record(row)


def _can_match(where: DeliveryFilter) -> bool:
    return all(is_storable(text) for text in (where.run_id, where.thread_id) if text is not None)


def _matching(where: DeliveryFilter, actor: ActorContext) -> ColumnElement[bool]:
    conditions = [access_predicate(deliveries, actor)]
    for column, value in (
        (deliveries.c.run_id, where.run_id),
        (deliveries.c.thread_id, where.thread_id),
        (deliveries.c.status, where.status),
    ):
        if value is not None:
            conditions.append(column == value)
    if where.metadata:
        conditions.append(containing(deliveries.c.metadata, where.metadata))
    return and_(*conditions)


def _to_record(row: Any) -> DeliveryRecord:
    fields = dict(row._mapping)
    return DeliveryRecord(**{**fields, "metadata": json_text.load(fields["metadata"])})
