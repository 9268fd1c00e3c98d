"""Crons in SQL. The run for a due time is created in the transaction that advances the cron: see `tick`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update

from runstead.resources.crons import Change, CronFilter, CronRecord, CronSortField
from runstead.runtime.actor_context import OWN_ONLY, ActorContext, require_actor_context
from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonObject
from runstead.runtime.page_budget import page_budget
from runstead.runtime.runs.exceptions import CronMoved, ThreadNotFound
from runstead.runtime.runs.types import CronId, CronTick, RunId

from . import json_text
from .access_predicates import access_predicate, is_storable
from .database import Database
from .dialect import containing
from .page_rows import rows_of_page
from .run_queries import clamp_limit
from .schema import crons, threads

_FIELDS: Final = (
    "cron_id", "assistant_id", "thread_id", "schedule", "timezone", "end_time", "on_run_completed", "enabled",
    "next_run_date", "last_run_id", "last_error", "created_at", "updated_at",
)  # fmt: skip
_DOCUMENTS: Final = ("payload", "metadata")
_CHANGING: Final = (
    "schedule", "timezone", "end_time", "on_run_completed", "enabled", "next_run_date", "updated_at",
)  # fmt: skip
_ENABLED: Final = and_(crons.c.enabled, crons.c.next_run_date.is_not(None))


class SqlCronStore:
    """CronStore over a Database. ``on_change`` is called when a next date may have become earlier."""

    def __init__(self, database: Database, clock: Clock, on_change: Callable[[], None]) -> None:
        self._database, self._clock, self._on_change = database, clock, on_change

    async def create(self, cron: CronRecord) -> CronRecord:
        actor = require_actor_context("creating a cron")

        def work(connection: Connection) -> CronRecord:
            if cron.thread_id is not None:
                # Locked until the end, so that the thread cannot be deleted meanwhile and leave the cron behind.
                mine = and_(threads.c.thread_id == cron.thread_id, access_predicate(threads, actor))
                if connection.execute(select(threads.c.thread_id).where(mine).with_for_update()).first() is None:
                    raise ThreadNotFound(cron.thread_id)
            connection.execute(insert(crons).values(_new_row(cron, actor)))
            return cron

        return await self._database.write(work, committed=lambda _: self._on_change())

    async def get(self, cron_id: CronId) -> CronRecord | None:
        actor = require_actor_context("reading a cron")
        if not is_storable(cron_id):
            return None
        return await self._database.read(lambda connection: _find(connection, _mine(actor, cron_id)))

    async def search(
        self,
        where: CronFilter,
        *,
        sort_by: CronSortField = "created_at",
        sort_order: Literal["asc", "desc"] = "desc",
        limit: int = 10,
        offset: int = 0,
    ) -> Sequence[CronRecord]:
        actor = require_actor_context("searching crons")
        if not _can_match(where):
            return []
        column = crons.c[sort_by]
        statement = (
            select(crons)
            .where(_matching(where, actor))
            .order_by(column.is_(None), column.desc() if sort_order == "desc" else column.asc(), crons.c.cron_id)
            .limit(clamp_limit(limit))
            .offset(clamp_limit(offset))
        )
        budget = page_budget()
        return await self._database.read(
            lambda connection: [_to_record(row) for row in rows_of_page(connection, statement, budget)]
        )

    async def count(self, where: CronFilter) -> int:
        actor = require_actor_context("counting crons")
        if not _can_match(where):
            return 0
        statement = select(func.count()).select_from(crons).where(_matching(where, actor))
        return await self._database.read(lambda connection: connection.execute(statement).scalar_one())

    async def update(self, cron_id: CronId, change: Change) -> CronRecord | None:
        actor = require_actor_context("changing a cron")
        if not is_storable(cron_id):
            return None

        def work(connection: Connection) -> CronRecord | None:
            found = _find(connection, _mine(actor, cron_id), for_update=True)
            if found is None:
                return None
            changed = change(found)
            values = {name: getattr(changed, name) for name in _CHANGING}
            values |= {name: json_text.dump(getattr(changed, name)) for name in _DOCUMENTS}
            if (actor.tenant_id, actor.user_id) == (found.actor.tenant_id, found.actor.user_id):
                # Its user has authenticated again: from now on the cron runs with the latest credentials.
                changed = replace(changed, actor=actor.with_scope(OWN_ONLY))
                values["actor"] = json_text.dump(changed.actor.to_json())
            connection.execute(update(crons).where(crons.c.cron_id == cron_id).values(values))
            return changed

        return await self._database.write(work, committed=lambda _: self._on_change())

    async def delete(self, cron_id: CronId) -> bool:
        actor = require_actor_context("deleting a cron")
        if not is_storable(cron_id):
            return False
        statement = delete(crons).where(_mine(actor, cron_id)).returning(crons.c.cron_id)
        return await self._database.write(lambda connection: connection.execute(statement).first() is not None)

    async def due(self, limit: int) -> Sequence[CronRecord]:
        def work(connection: Connection) -> Sequence[CronRecord]:
            statement = (
                select(crons)
                .where(_ENABLED, crons.c.next_run_date <= self._clock.now())
                .order_by(crons.c.next_run_date, crons.c.cron_id)
                .limit(clamp_limit(limit))
            )
            return [_to_record(row) for row in connection.execute(statement)]

        return await self._database.read(work, single=True)

    async def next_due(self) -> datetime | None:
        statement = select(func.min(crons.c.next_run_date)).where(_ENABLED)
        return await self._database.read(lambda connection: connection.execute(statement).scalar(), single=True)

    async def skip(self, cron_id: CronId, due_at: datetime, next_at: datetime | None, error: str) -> bool:
        statement = (
            update(crons)
            .where(crons.c.cron_id == cron_id, crons.c.next_run_date == due_at, crons.c.enabled)
            .values(next_run_date=next_at, last_error=error[:1000])
            .returning(crons.c.cron_id)
        )
        return await self._database.write(lambda connection: connection.execute(statement).first() is not None)


def tick(connection: Connection, spec_tick: CronTick, run_id: RunId, actor: ActorContext) -> None:
    """Advance the cron in the transaction that writes its run.

    Raises CronMoved, which rolls back both, if another process has advanced the cron, or if it was changed, disabled
    or deleted.
    """
    moved = connection.execute(
        update(crons)
        .where(_mine(actor, spec_tick.cron_id), crons.c.enabled)
        .where(crons.c.next_run_date == datetime.fromisoformat(spec_tick.due_at))
        .values(
            next_run_date=None if spec_tick.next_at is None else datetime.fromisoformat(spec_tick.next_at),
            last_run_id=run_id,
            last_error=None,
        )
        .returning(crons.c.cron_id)
    )
    if moved.first() is None:
        raise CronMoved(spec_tick.cron_id)


def _new_row(cron: CronRecord, actor: ActorContext) -> JsonObject:
    row = {name: getattr(cron, name) for name in _FIELDS}
    row |= {name: json_text.dump(getattr(cron, name)) for name in _DOCUMENTS}
    return {
        **row,
        "tenant_id": actor.tenant_id,
        "user_id": actor.user_id,
        "actor": json_text.dump(actor.to_json()),
    }


def _mine(actor: ActorContext, cron_id: CronId) -> ColumnElement[bool]:
    return and_(crons.c.cron_id == cron_id, access_predicate(crons, actor))


def _find(connection: Connection, condition: ColumnElement[bool], *, for_update: bool = False) -> CronRecord | None:
    statement = select(crons).where(condition)
    row = connection.execute(statement.with_for_update() if for_update else statement).first()
    return None if row is None else _to_record(row)


def _can_match(where: CronFilter) -> bool:
    return all(is_storable(text) for text in (where.assistant_id, where.thread_id) if text is not None)


def _matching(where: CronFilter, actor: ActorContext) -> ColumnElement[bool]:
    conditions = [access_predicate(crons, actor)]
    if where.assistant_id is not None:
        conditions.append(crons.c.assistant_id == where.assistant_id)
    if where.thread_id is not None:
        conditions.append(crons.c.thread_id == where.thread_id)
    if where.enabled is not None:
        conditions.append(crons.c.enabled if where.enabled else ~crons.c.enabled)
    if where.metadata:
        conditions.append(containing(crons.c.metadata, where.metadata))
    return and_(*conditions)


def _to_record(row: Any) -> CronRecord:
    fields = {name: row._mapping[name] for name in _FIELDS}
    documents = {name: json_text.load(row._mapping[name]) for name in _DOCUMENTS}
    return CronRecord(**fields, **documents, actor=ActorContext.from_json(json_text.load(row._mapping["actor"])))
