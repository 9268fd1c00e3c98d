"""Figures about the queue of all users: waiting and executing runs, dead letters, webhooks, crons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select

from runstead.runtime.clock import Clock

from .database import Database
from .run_predicates import IS_HEAD, NOW, WAITS
from .schema import crons, runs, sweeps, webhook_deliveries
from .sweeps import RETENTION

_MOST: Final = 10_000
"""Claimable runs are counted up to this number."""

_DUE: Final = (WAITS, runs.c.due_at <= NOW)
_WAITING: Final = select(func.count().filter(runs.c.due_at <= NOW), func.count(), func.min(runs.c.due_at)).where(WAITS)
_HEADS: Final = select(runs.c.due_at).where(*_DUE, IS_HEAD)
_CLAIMABLE: Final = select(func.count()).select_from(_HEADS.limit(_MOST).subquery())
_OLDEST_CLAIMABLE: Final = _HEADS.order_by(runs.c.due_at).limit(1)
_HELD: Final = select(func.count(), func.count().filter(runs.c.lease_until < NOW)).where(
    runs.c.lease_until.is_not(None)
)
_DEAD: Final = select(func.count()).select_from(runs).where(runs.c.dead_letter)
_OWED: Final = select(func.count(), func.min(webhook_deliveries.c.next_attempt_at)).where(
    webhook_deliveries.c.status == "pending"
)
_CRONS: Final = select(func.count(), func.min(crons.c.next_run_date)).where(crons.c.enabled)

_RETENTION: Final = select(sweeps.c.next_at).where(sweeps.c.name == RETENTION)


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """The queue at one moment. Times are in seconds.

    ``due`` runs wait, ``claimable`` ones of these for a worker only (counted up to 10,000), the others behind a run of
    their thread. ``delayed`` runs are not due yet. ``expired_leases``: runs whose worker is lost and that no other has
    taken over yet. ``webhooks_overdue``: age of the oldest due delivery. ``cron_lateness``: of the latest cron.
    ``retention_due``: time for which the current pass of retention has been due.
    """

    due: int = 0
    delayed: int = 0
    claimable: int = 0
    running: int = 0
    expired_leases: int = 0
    dead_letters: int = 0
    oldest_due: float = 0.0
    median_due: float = 0.0
    oldest_claimable: float = 0.0
    webhooks_owed: int = 0
    webhooks_overdue: float = 0.0
    crons: int = 0
    cron_lateness: float = 0.0
    retention_due: float = 0.0


class SqlQueueFigures:
    """Reader of QueueFigures. Unscoped, since it serves the operator: it counts, and returns no data of users."""

    def __init__(self, database: Database, clock: Clock, *, has_retention: bool = False) -> None:
        """``has_retention``: there are rules; without them, a pass that was under way is not late."""
        self._database, self._clock, self._has_retention = database, clock, has_retention

    async def read(self) -> QueueFigures:
        """Return the figures of one snapshot."""
        now = self._clock.now()
        figures = await self._database.read(lambda connection: queue_figures(connection, now), slow=True)
        return figures if self._has_retention else replace(figures, retention_due=0.0)


def queue_figures(connection: Connection, now: datetime) -> QueueFigures:
    """Return the figures at ``now``."""
    due, waiting, oldest = connection.execute(_WAITING, {"now": now}).one()
    running, expired = connection.execute(_HELD, {"now": now}).one()
    owed, next_attempt = connection.execute(_OWED).one()
    active, next_run = connection.execute(_CRONS).one()
    median = select(runs.c.due_at).where(*_DUE).order_by(runs.c.due_at).limit(1).offset(due // 2)
    return QueueFigures(
        due=due,
        delayed=waiting - due,
        claimable=connection.execute(_CLAIMABLE, {"now": now}).scalar_one() if due else 0,
        running=running,
        expired_leases=expired,
        dead_letters=connection.execute(_DEAD).scalar_one(),
        oldest_due=_age(oldest, now),
        median_due=_age(connection.execute(median, {"now": now}).scalar(), now) if due else 0.0,
        oldest_claimable=_age(connection.execute(_OLDEST_CLAIMABLE, {"now": now}).scalar(), now) if due else 0.0,
        webhooks_owed=owed,
        webhooks_overdue=_age(next_attempt, now),
        crons=active,
        cron_lateness=_age(next_run, now),
        retention_due=_age(connection.execute(_RETENTION).scalar(), now),
    )


def _age(moment: datetime | None, now: datetime) -> float:
    """Return the seconds since ``moment``; 0 if there is none, or if it lies in the future."""
    return 0.0 if moment is None else max(0.0, (now - moment).total_seconds())
