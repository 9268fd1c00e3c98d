"""Notices of budgets in SQL: each is found once in its window, by one of all processes, with its webhook delivery."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, select, tuple_

from runstead.runtime.actor_context import SERVER_ACTOR
from runstead.runtime.runs.budgets import Budget, BudgetNotice, BudgetPlace
from runstead.runtime.runs.types import RunRecord
from runstead.wire.webhooks import budget_notice

from .dialect import add_unless_there
from .schema import budget_notices
from .webhook_outbox import enqueue_of_server

_KEPT: Final = timedelta(days=30)
"""Retention after the window of a day, and of those per run, whose end is not known."""


def write_notices(
    connection: Connection,
    run: RunRecord,
    place: BudgetPlace,
    found: Iterable[BudgetNotice],
    webhook: str | None,
    now: datetime,
) -> tuple[BudgetNotice, ...]:
    """Write the notices that were not found before in their windows, each with a delivery to ``webhook``; return them.

    They survive with the caller's transaction.
    """
    # Sorted, so that no two transactions wait for each other.
    ordered = sorted(found, key=lambda notice: (notice.level.budget.key(place), notice.kind))
    first = {notice for notice in ordered if _is_first(connection, run, place, notice, now)}
    new = tuple(notice for notice in found if notice in first)
    if webhook is not None:
        actor = replace(SERVER_ACTOR, tenant_id=place.tenant_id)
        for notice in new:
            enqueue_of_server(connection, run, actor, webhook, budget_notice(run, notice), now)
    return new


def delete_expired_notices(connection: Connection, cutoff: datetime, limit: int) -> int:
    """Delete notices whose window is over; return their number, at most ``limit``."""
    key = tuple(budget_notices.primary_key)
    over = select(*key).where(budget_notices.c.expires_at.is_not(None), budget_notices.c.expires_at <= cutoff)
    rows = connection.execute(over.limit(limit).with_for_update(skip_locked=True)).all()
    if rows:
        connection.execute(delete(budget_notices).where(tuple_(*key).in_([tuple(row) for row in rows])))
    return len(rows)


def _is_first(connection: Connection, run: RunRecord, place: BudgetPlace, notice: BudgetNotice, now: datetime) -> bool:
    level = notice.level
    row = {
        "budget": level.budget.key(place),
        "kind": notice.kind,
        "amount": str(level.limit.normalize()),
        "run_id": run.run_id,
        "at": now,
        "expires_at": _expiry(level.budget, level.resets_at, now),
    }
    return add_unless_there(connection, budget_notices, row)


def _expiry(budget: Budget, resets_at: datetime | None, now: datetime) -> datetime | None:
    """Return when a notice is not needed any more; None for a window without an end."""
    if resets_at is not None:
        return resets_at + _KEPT
    return now + _KEPT if "run" in budget.per else None
