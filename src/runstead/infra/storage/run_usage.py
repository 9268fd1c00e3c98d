"""Usage of models in SQL: one row for each attempt, model and caller, replaced as the attempt goes on.

The rows have absolute counts, so that writing one twice changes nothing, and they stay when their run is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from itertools import groupby
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Connection, and_, cast, func, select

from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.runs.store import DailyUsage, ThreadUsage
from runstead.runtime.runs.types import USAGE_COUNTS, ModelUsage, RunRecord, ThreadId

from .access_predicates import is_storable
from .database import Database
from .dialect import put_row
from .schema import run_usage

_KEY: Final = (run_usage.c.model, run_usage.c.provider, run_usage.c.caller)
_SUMS: Final = tuple(cast(func.sum(run_usage.c[name]), BigInteger).label(name) for name in USAGE_COUNTS)


def write_usage(
    connection: Connection, run: RunRecord, attempt: int, usage: Iterable[ModelUsage], now: datetime
) -> None:
    """Write the usage of an attempt so far. The caller has checked that the attempt holds the run."""
    for one in usage:
        row = {
            "run_id": run.run_id,
            "attempt": attempt,
            "model": _storable(one.model),
            "provider": _storable(one.provider or ""),
            "caller": one.caller,
            "thread_id": run.thread_id,
            "tenant_id": run.actor.tenant_id,
            "user_id": run.actor.user_id,
            "day": now.date().isoformat(),
            **{name: getattr(one, name) for name in USAGE_COUNTS},
        }
        put_row(connection, run_usage, row, kept=("thread_id", "tenant_id", "user_id", "day"))


class SqlRunUsageStore:
    """RunUsageStore over a Database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_thread(self, thread_id: ThreadId) -> ThreadUsage:
        actor = require_actor_context("reading usage")
        if not is_storable(thread_id):
            return ThreadUsage()
        where = and_(run_usage.c.thread_id == thread_id, _visible(actor, thread_id))
        sums = select(*_KEY, *_SUMS).where(where).group_by(*_KEY).order_by(*_KEY)
        count = select(func.count(run_usage.c.run_id.distinct())).where(where)

        def work(connection: Connection) -> ThreadUsage:
            models = tuple(_to_usage(row) for row in connection.execute(sums))
            return ThreadUsage(connection.execute(count).scalar_one() if models else 0, models)

        return await self._database.read(work)

    async def by_day(self, since: date, until: date) -> Sequence[DailyUsage]:
        actor = require_actor_context("reading usage")
        table = run_usage.c
        statement = (
            select(table.day, *_KEY, *_SUMS)
            .where(table.tenant_id == actor.tenant_id, table.user_id == actor.user_id)
            .where(table.day >= since.isoformat(), table.day <= until.isoformat())
            .group_by(table.day, *_KEY)
            .order_by(table.day, *_KEY)
        )

        def work(connection: Connection) -> Sequence[DailyUsage]:
            rows = connection.execute(statement).all()
            return [
                DailyUsage(date.fromisoformat(day), tuple(_to_usage(row[1:]) for row in found))
                for day, found in groupby(rows, key=lambda row: row[0])
            ]

        return await self._database.read(work)


def _visible(actor: ActorContext, thread_id: ThreadId) -> ColumnElement[bool]:
    in_tenant = run_usage.c.tenant_id == actor.tenant_id
    if thread_id in actor.access_scope.thread_ids:
        return in_tenant
    return and_(in_tenant, run_usage.c.user_id == actor.user_id)


def _to_usage(row: Sequence[Any]) -> ModelUsage:
    model, provider, caller, *counts = row
    return ModelUsage(model, provider or None, caller, **dict(zip(USAGE_COUNTS, map(int, counts), strict=True)))


def _storable(name: str) -> str:
    """Return a name that every database can store; names of models come from providers."""
    return name.replace("\0", "").encode("utf-8", "replace").decode()[:200]
