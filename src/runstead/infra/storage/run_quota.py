"""Limits of runs per user and per tenant, checked in the transaction that creates runs."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, func, literal, select

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.limits import Limit, LimitExceeded, RunQuota

from .schema import runs

_RETRY_SECONDS: Final = 5


def lock_quota(connection: Connection, quota: RunQuota, actor: ActorContext) -> None:
    """Serialize creations that count the same runs, of all processes. SQLite has one writer anyway."""
    if connection.dialect.name != "postgresql":
        return
    # Sorted, so that no two transactions wait for each other.
    for name in sorted({"\x1f".join(("quota", limit.scope, *limit.owner(actor))) for limit in quota.limits}):
        turn = select(func.pg_advisory_xact_lock(func.hashtextextended(literal(name), 0)))
        connection.execute(turn).close()


def check_quota(connection: Connection, quota: RunQuota, actor: ActorContext) -> None:
    """Raise LimitExceeded if there are more runs than allowed, those of this transaction included."""
    for limit in quota.in_flight:
        if count_runs(connection, limit, actor, queued=False) > limit.amount:
            raise LimitExceeded("runs in flight", limit, _RETRY_SECONDS)
    for limit in quota.queued:
        if count_runs(connection, limit, actor, queued=True) > limit.amount:
            raise LimitExceeded("queued runs", limit, _RETRY_SECONDS)


def count_runs(connection: Connection, limit: Limit, actor: ActorContext, *, queued: bool) -> int:
    """Return the number of runs that count for a limit of the actor's."""
    conditions = [runs.c.ended_at.is_(None), runs.c.tenant_id == actor.tenant_id]
    if limit.scope == "user":
        conditions.append(runs.c.user_id == actor.user_id)
    if queued:
        conditions.append(runs.c.lease_until.is_(None))
    return connection.execute(select(func.count()).select_from(runs).where(*conditions)).scalar_one()
