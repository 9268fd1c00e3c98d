"""Usage of models in SQL: one row for each attempt, model, caller and day, replaced as the attempt goes on.

The rows have absolute counts, so that writing one twice changes nothing, and they stay when their run is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, assert_never

from sqlalchemy import BigInteger, Column, ColumnElement, Connection, and_, cast, func, select, tuple_

from runstead.runtime.actor_context import ActorContext, across_tenants, require_actor_context
from runstead.runtime.runs.store import ThreadUsage, UsageGroup, UsageQuery
from runstead.runtime.runs.store.usage_store import UsageDimension
from runstead.runtime.runs.types import USAGE_COUNTS, ModelUsage, RunRecord, ThreadId

from .access_predicates import is_storable
from .database import Database
from .dialect import put_row
from .schema import run_usage

_KEY: Final = (run_usage.c.model, run_usage.c.provider, run_usage.c.caller)
_COLUMNS: Final[Mapping[UsageDimension, Column[str]]] = {
    "day": run_usage.c.day,
    "tenant": run_usage.c.tenant_id,
    "user": run_usage.c.user_id,
    "graph": run_usage.c.graph_id,
    "model": run_usage.c.model,
    "caller": run_usage.c.caller,
}
_SUMS: Final = tuple(cast(func.sum(run_usage.c[name]), BigInteger).label(name) for name in USAGE_COUNTS)


def write_usage(
    connection: Connection, run: RunRecord, attempt: int, usage: Iterable[ModelUsage], now: datetime
) -> None:
    """Write the usage of an attempt so far, of which the part since midnight (UTC) counts for the day of ``now``.

    The caller has checked that the attempt holds the run.
    """
    day = now.date()
    before = {}
    if run.started_at is not None and run.started_at.date() < day:
        before = _before(connection, run, attempt, day.isoformat())
    for one in usage:
        key = (_storable(one.model), _storable(one.provider or ""), one.caller)
        today = one.minus(before[key]) if key in before else one
        row = {
            "run_id": run.run_id,
            "attempt": attempt,
            **dict(zip(("model", "provider", "caller"), key, strict=True)),
            "day": day.isoformat(),
            "thread_id": run.thread_id,
            "tenant_id": run.actor.tenant_id,
            "user_id": run.actor.user_id,
            "graph_id": run.spec.graph_id,
            **{name: getattr(today, name) for name in USAGE_COUNTS},
        }
        if today.calls or key not in before:
            put_row(connection, run_usage, row, kept=("thread_id", "tenant_id", "user_id", "graph_id"))


def _before(connection: Connection, run: RunRecord, attempt: int, day: str) -> dict[tuple[str, str, str], ModelUsage]:
    """Return what an attempt used on earlier days."""
    table = run_usage.c
    earlier = and_(table.run_id == run.run_id, table.attempt == attempt, table.day < day)
    rows = connection.execute(select(*_KEY, *_SUMS).where(earlier).group_by(*_KEY))
    return {(row[0], row[1], row[2]): _to_usage(row) for row in rows}


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

    async def grouped(self, query: UsageQuery) -> Sequence[UsageGroup]:
        actor = require_actor_context("reading usage")
        columns = [_COLUMNS[name] for name in query.dimensions]
        order = [column.desc() if column is _COLUMNS["day"] else column for column in columns]
        day = run_usage.c.day
        where = and_(day >= query.since.isoformat(), day <= query.until.isoformat(), *_reach(actor, query))
        page = select(*columns, func.count(run_usage.c.run_id.distinct())).where(where).group_by(*columns)
        page = page.order_by(*order).limit(query.limit).offset(query.offset)

        def work(connection: Connection) -> Sequence[UsageGroup]:
            found = {tuple(key): runs for *key, runs in connection.execute(page)}
            models: dict[tuple[str, ...], list[ModelUsage]] = {key: [] for key in found}
            within = [tuple_(*columns).in_(found)] if columns else []
            sums = select(*columns, *_KEY, *_SUMS).where(where, *within).group_by(*columns, *_KEY).order_by(*_KEY)
            for row in connection.execute(sums) if found else ():
                models[tuple(row[: len(columns)])].append(_to_usage(row[len(columns) :]))
            return [UsageGroup(key, runs, tuple(models[key])) for key, runs in found.items() if models[key]]

        if query.reach == "all":
            with across_tenants():
                return await self._database.read(work)
        return await self._database.read(work)


def _reach(actor: ActorContext, query: UsageQuery) -> Sequence[ColumnElement[bool]]:
    match query.reach:
        case "own":
            return (run_usage.c.tenant_id == actor.tenant_id, run_usage.c.user_id == actor.user_id)
        case "tenant":
            return (run_usage.c.tenant_id == actor.tenant_id,)
        case "all":
            return ()
        case _:
            assert_never(query.reach)


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
